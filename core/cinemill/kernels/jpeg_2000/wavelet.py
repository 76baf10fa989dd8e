"""Level shift, reversible colour transform (T.800 Annex G) and reversible 5-3 wavelet (Annex F), of whatever 32 bits hold.

Coefficients are 32-bit integers in one plane a component, with the subbands where a decomposition puts them: after
each level the upper left holds LL, to its right HL, below LH, and HH in the corner.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cinemill.kernels.machine.jit import jit

_READ_ONLY = "Array({}, 1, 'C', readonly=True)"
_SIGN = np.int32(31)


@jit([f"int64({_READ_ONLY.format(kind)}, int32, int32, int32[:, ::1])" for kind in ("uint8", "uint16")])
def shift_levels(samples: Any, sign: int, offset: int, planes: Any) -> int:
    """Move the range of samples to the middle around zero (G.1), and give each component a plane.

    Parameters
    ----------
    samples
        Those of all pixels, 1 or 3 components interleaved; signed ones are given as unsigned.
    sign
        Sign bit of signed samples, 0 for unsigned ones.
    offset
        What to subtract: half the range of unsigned samples, ``sign`` of signed ones.
    planes
        Receives components x pixels.

    Returns
    -------
    int
        The bits that are set in a shifted value, or clear in a negative one: what the range must hold.
    """
    every = np.int32(0)
    if planes.shape[0] == 1:
        plane = planes[0]
        for pixel in range(plane.size):
            value = np.int32((np.int32(samples[pixel]) ^ sign) - offset)
            plane[pixel] = value
            every |= value ^ (value >> _SIGN)
        return int(every)
    red, green, blue = planes[0], planes[1], planes[2]
    for pixel in range(red.size):
        r = np.int32((np.int32(samples[3 * pixel]) ^ sign) - offset)
        g = np.int32((np.int32(samples[3 * pixel + 1]) ^ sign) - offset)
        b = np.int32((np.int32(samples[3 * pixel + 2]) ^ sign) - offset)
        red[pixel], green[pixel], blue[pixel] = r, g, b
        every |= (r ^ (r >> _SIGN)) | (g ^ (g >> _SIGN)) | (b ^ (b >> _SIGN))
    return int(every)


@jit("void(int32[:, ::1])")
def transform_colour(planes: Any) -> None:
    """Turn R, G, B, shifted, into Y, Cb, Cr by the reversible component transform, in place (G.2.1)."""
    red, green, blue = planes[0], planes[1], planes[2]
    for pixel in range(red.size):
        r, g, b = red[pixel], green[pixel], blue[pixel]
        red[pixel] = np.int32(r + b + 2 * g) >> np.int32(2)
        green[pixel] = b - g
        blue[pixel] = r - g


@jit("int32(int32, int32)")
def _predicted(before: Any, after: Any) -> Any:
    """Predict a sample between two others (Equation F-9)."""
    return np.int32(np.int32(before + after) >> np.int32(1))


@jit("int32(int32, int32)")
def _updated(before: Any, after: Any) -> Any:
    """Return what two details add to the sample between them (Equation F-10)."""
    return np.int32(np.int32(np.int32(before + after) + np.int32(2)) >> np.int32(2))


@jit("void(int32[::1], int32[::1], int32[::1])")
def _lift_odd(row: Any, above: Any, below: Any) -> None:
    for column in range(row.size):
        row[column] -= _predicted(above[column], below[column])


@jit("void(int32[::1], int32[::1], int32[::1])")
def _lift_even(row: Any, above: Any, below: Any) -> None:
    for column in range(row.size):
        row[column] += _updated(above[column], below[column])


@jit("void(int32[::1], int32[::1], int32[::1], int32[::1], int32[::1])")
def _split_row(row: Any, low: Any, high: Any, even: Any, odd: Any) -> None:
    """Analyse one row (F.4.8.2) into its low and high half; ``even`` and ``odd`` are scratch of half a row and 2."""
    lows, highs = (row.size + 1) // 2, row.size // 2
    if highs == 0:
        low[0] = row[0]
        return
    for at in range(lows):
        even[at] = row[2 * at]
    even[lows] = even[lows - 1]
    for at in range(highs):
        odd[at + 1] = row[2 * at + 1] - _predicted(even[at], even[at + 1])
    odd[0], odd[highs + 1] = odd[1], odd[highs]
    for at in range(lows):
        low[at] = even[at] + _updated(odd[at], odd[at + 1])
    for at in range(highs):
        high[at] = odd[at + 1]


@jit("void(int32[:, ::1], int64, int32[:, ::1], int32[:, ::1], int32[:, ::1])")
def analyse(plane: Any, levels: int, spare: Any, scratch: Any, coefficients: Any) -> None:
    """Decompose one component (F.4).

    Parameters
    ----------
    plane
        Rows x columns; overwritten.
    levels
        Decomposition levels.
    spare
        As large as ``plane``; holds every other LL.
    scratch
        2 x half of the columns and 2 more.
    coefficients
        Receives rows x columns.
    """
    rows, columns = plane.shape
    for _ in range(levels):
        low_rows, low_columns = (rows + 1) // 2, (columns + 1) // 2
        for low_row in range(low_rows):
            row = 2 * low_row
            # Rows mirror at both ends (F.3.7).
            if row + 1 < rows:
                after = row + 2 if row + 2 < rows else row
                _lift_odd(plane[row + 1, :columns], plane[row, :columns], plane[after, :columns])
            if rows > 1:
                below = row + 1 if row + 1 < rows else row - 1
                above = row - 1 if row > 0 else below
                _lift_even(plane[row, :columns], plane[above, :columns], plane[below, :columns])
            for lifted in range(row, min(row + 2, rows)):
                low = spare[low_row] if lifted == row else coefficients[low_rows + low_row]
                high = coefficients[low_row if lifted == row else low_rows + low_row, low_columns:]
                _split_row(plane[lifted, :columns], low, high, scratch[0], scratch[1])
        plane, spare = spare, plane
        rows, columns = low_rows, low_columns
    for row in range(rows):
        for column in range(columns):
            coefficients[row, column] = plane[row, column]
