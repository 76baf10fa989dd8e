"""Puts planes of JPEG's components together by pixel, chrominance interpolated as libjpeg does ("fancy upsampling").

Subsampled chrominance lies between the samples of luminance: each of two neighbours counts by its distance, 3 to 1, across and
down. What is beyond an edge is like the edge. Ties are rounded up and down by turns.

Bounds: 32 pixels are read at a time, up to 63 beyond a row's end, and one before it; the last pixels of a row are put together
elsewhere and copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.kernels.machine.bits import address, copy_bytes, load_u8, store_8
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import jit
from cinemill.kernels.machine.types import int64, uint8, void

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARGIN, BETWEEN = 64, 16
"""Bytes before the first row of each plane and after the last one's; between two rows of the narrowest plane, at least 2."""

_PIXELS = 32
SPARE = 3 * _PIXELS
_HALF = _PIXELS // 2


def _store(planes: list[Value], pixels: Value) -> None:
    """Put the bytes of three planes together by pixel."""
    y, cb, cr = planes
    order = [sample * _PIXELS + pixel for pixel in range(_PIXELS) for sample in range(3)]
    y.shuffled(range(2 * _PIXELS), cb).shuffled(order, cr.shuffled(range(2 * _PIXELS))).store(pixels)


def _across(near: list[Value], even: int, odd: int, shift: int) -> Value:
    """Interpolate twice as many samples of a row, in bytes, from those before, at and after each."""
    before, here, after = near
    three = here * 3
    pair = [
        (three + other + rounding).shifted_down(shift).resized(8)
        for other, rounding in ((before, even), (after, odd))
    ]
    return pair[0].shuffled([lane + half for lane in range(_HALF) for half in (0, _HALF)], pair[1])


def _samples(where: Value) -> list[Value]:
    """Load a row's samples before, at and after an address."""
    return [(where + at).load(8, _HALF).resized(16) for at in (-1, 0, 1)]


def _blended(near: Value, far: Value) -> list[Value]:
    """Load samples of two rows, the nearer one counting three times."""
    return [one * 3 + other for one, other in zip(_samples(near), _samples(far), strict=True)]


@instructions
def _whole(y: Value, cb: Value, cr: Value, pixels: Value) -> None:
    """Put 32 pixels of a row together."""
    _store([plane.load(8, _PIXELS) for plane in (y, cb, cr)], pixels)


@instructions
def _halved(y: Value, cb: Value, cr: Value, pixels: Value) -> None:
    """Put 32 pixels of a row together that have 16 samples of chrominance."""
    found = [_across(_samples(plane), 1, 2, 2) for plane in (cb, cr)]
    _store([y.load(8, _PIXELS), *found], pixels)


@instructions
def _quartered(y: Value, cb: Value, cr: Value, far_cb: Value, far_cr: Value, pixels: Value) -> None:
    """Put 32 pixels of a row together that lie between two rows of 16 samples of chrominance."""
    found = [_across(_blended(near, far), 8, 7, 4) for near, far in ((cb, far_cb), (cr, far_cr))]
    _store([y.load(8, _PIXELS), *found], pixels)


@jit(void(uint8[::1], int64, int64, int64, int64, int64, int64, int64, uint8[::1], uint8[::1]))
def put_together(
    planes: NDArray[np.uint8],
    rows: int,
    columns: int,
    across: int,
    down: int,
    pitch: int,
    chroma: int,
    apart: int,
    spare: NDArray[np.uint8],
    pixels: NDArray[np.uint8],
) -> None:
    """Put three planes together by pixel.

    Parameters
    ----------
    planes
        What `sequential.decode_scan` made; the first component begins at `MARGIN`. Samples beyond the edges are overwritten.
    rows, columns
        Of the frame.
    across, down
        How many pixels have one sample of chrominance: 1 and 1, 2 and 1, or 2 and 2.
    pitch
        Bytes of a row of the first component; of the others, divided by ``across``.
    chroma, apart
        Where the second component begins, and how far behind it the third one does.
    spare
        `SPARE` bytes.
    pixels
        (rows * columns * 3,): destination.
    """
    first = address(planes) + MARGIN
    cb = address(planes) + chroma
    chroma_pitch = pitch // across
    width, height = (columns + across - 1) // across, (rows + down - 1) // down
    if across == 2:
        for row in range(height):
            for plane in range(2):
                line = cb + plane * apart + row * chroma_pitch
                store_8(line, -1, load_u8(line, 0))
                store_8(line, width, load_u8(line, width - 1))
    for row in range(rows):
        y = first + row * pitch
        near = cb + (row // down) * chroma_pitch
        beside = row // 2 + (1 if row & 1 else -1)
        far = cb + min(max(beside, 0), height - 1) * chroma_pitch
        line = address(pixels) + 3 * columns * row
        for column in range(0, columns, _PIXELS):
            left = columns - column
            target = line + 3 * column if left >= _PIXELS else address(spare)
            at = column // across
            if across == 1:
                _whole(y + column, near + at, near + apart + at, target)
            elif down == 1:
                _halved(y + column, near + at, near + apart + at, target)
            else:
                _quartered(y + column, near + at, near + apart + at, far + at, far + apart + at, target)
            if left < _PIXELS:
                copy_bytes(line + 3 * column, address(spare), 3 * left)
