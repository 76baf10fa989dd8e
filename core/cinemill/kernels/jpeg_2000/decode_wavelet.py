"""Inverse 5-3 wavelet (T.800 F.3), inverse reversible colour transform and level shift (Annex G)."""

from __future__ import annotations

from typing import Any

import numpy as np

from cinemill.kernels.machine.jit import inlined, jit


@jit("void(int32[::1], int32[::1], int32[::1], int32[::1], int32[::1])")
def _join_row(low: Any, high: Any, even: Any, odd: Any, row: Any) -> None:
    """Interleave and lift one row (F.3.8.2); ``even`` and ``odd`` are scratch of half a row and 2."""
    lows, highs = low.size, high.size
    if highs == 0:
        row[0] = low[0]
        return
    for at in range(highs):
        odd[at + 1] = high[at]
    odd[0], odd[highs + 1] = high[0], high[highs - 1]
    for at in range(lows):
        even[at] = low[at] - (np.int32(np.int32(odd[at] + odd[at + 1]) + np.int32(2)) >> np.int32(2))
    even[lows] = even[lows - 1]
    for at in range(highs):
        row[2 * at] = even[at]
        row[2 * at + 1] = odd[at + 1] + (np.int32(even[at] + even[at + 1]) >> np.int32(1))
    row[2 * lows - 2] = even[lows - 1]


@jit("void(int32[::1], int32[::1], int32[::1])")
def _lower(row: Any, above: Any, below: Any) -> None:
    """Undo the update of an even row (Equation F-5)."""
    for column in range(row.size):
        row[column] -= np.int32(np.int32(above[column] + below[column]) + np.int32(2)) >> np.int32(2)


@jit("void(int32[::1], int32[::1], int32[::1])")
def _raise(row: Any, above: Any, below: Any) -> None:
    """Undo the prediction of an odd row (Equation F-6)."""
    for column in range(row.size):
        row[column] += np.int32(above[column] + below[column]) >> np.int32(1)


@inlined
def _reduced(side: int, levels: int) -> int:
    """Rows or columns of LL after some decompositions."""
    return (side + (1 << levels) - 1) >> levels


@jit("void(int32[:, ::1], int64, int32[:, ::1], int32[:, ::1], int32[:, ::1])")
def synthesise(coefficients: Any, levels: int, spare: Any, scratch: Any, plane: Any) -> None:
    """Reconstruct one component (F.3).

    Parameters
    ----------
    coefficients
        Rows x columns, the subbands where a decomposition puts them.
    levels
        Decomposition levels.
    spare
        As large; holds every other LL.
    scratch
        2 x half of the columns and 2 more.
    plane
        Receives rows x columns.
    """
    target, source = (plane, spare) if levels % 2 == 1 else (spare, plane)  # `plane` is the last target
    low_rows, low_columns = _reduced(plane.shape[0], levels), _reduced(plane.shape[1], levels)
    for row in range(low_rows):
        for column in range(low_columns):
            source[row, column] = coefficients[row, column]
    for level in range(levels - 1, -1, -1):
        rows, columns = _reduced(plane.shape[0], level), _reduced(plane.shape[1], level)
        for row in range(0, rows + 2, 2):
            # Rows mirror at both ends (F.3.7): first what comes in, then what can be lifted with it.
            if row < rows:
                _join_row(
                    source[row // 2, :low_columns],
                    coefficients[row // 2, low_columns:columns],
                    scratch[0],
                    scratch[1],
                    target[row, :columns],
                )
            if row + 1 < rows:
                _join_row(
                    coefficients[low_rows + row // 2, :low_columns],
                    coefficients[low_rows + row // 2, low_columns:columns],
                    scratch[0],
                    scratch[1],
                    target[row + 1, :columns],
                )
            if rows == 1:
                break
            if row < rows:
                below = row + 1 if row + 1 < rows else row - 1
                above = row - 1 if row > 0 else below
                _lower(target[row, :columns], target[above, :columns], target[below, :columns])
            if 0 < row <= rows:
                below = row if row < rows else row - 2
                _raise(
                    target[row - 1, :columns],
                    target[row - 2, :columns],
                    target[below, :columns],
                )
        source, target = target, source
        low_rows, low_columns = rows, columns


@jit("void(int32[:, ::1])")
def restore_colour(planes: Any) -> None:
    """Turn Y, Cb, Cr into R, G, B by the inverse reversible component transform, in place (G.2.2)."""
    luma, blue, red = planes[0], planes[1], planes[2]
    for pixel in range(luma.size):
        y, cb, cr = luma[pixel], blue[pixel], red[pixel]
        green = np.int32(y - (np.int32(cb + cr) >> np.int32(2)))
        luma[pixel], blue[pixel], red[pixel] = cr + green, green, cb + green


@jit([f"void(int32[:, ::1], int32, int32, int32, {kind}[::1])" for kind in ("uint8", "uint16")])
def restore_levels(planes: Any, offset: int, lowest: int, highest: int, samples: Any) -> None:
    """Move the range of samples back (G.1), limit it, and interleave the components; signed ones as unsigned."""
    if planes.shape[0] == 1:
        plane = planes[0]
        for pixel in range(plane.size):
            samples[pixel] = min(max(np.int32(plane[pixel] + offset), lowest), highest)
        return
    red, green, blue = planes[0], planes[1], planes[2]
    for pixel in range(red.size):
        samples[3 * pixel] = min(max(np.int32(red[pixel] + offset), lowest), highest)
        samples[3 * pixel + 1] = min(max(np.int32(green[pixel] + offset), lowest), highest)
        samples[3 * pixel + 2] = min(max(np.int32(blue[pixel] + offset), lowest), highest)
