"""Where the decoders in 16-bit lanes have subbands and code-blocks in memory (see `cinemill.kernels.jpeg_2000.decode_rows`)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cinemill.codecs.jpeg_2000.parameters import Parameters
from cinemill.codecs.jpeg_2000.precincts import lay_out_packets
from cinemill.kernels.jpeg_2000.tables import BLOCK, COLUMNS, ROWS, START, STRIDE

if TYPE_CHECKING:
    from cinemill.pixel_format import PixelFormat

UNCODED_BIT = 31
"""Of the numbers by which code-blocks are put in order: whether one is left out, which makes it come after others of its size."""

STRIP_ROWS = BLOCK
"""Rows of the first level's subbands that are there at a time: no code-block is in two strips."""


class Places(NamedTuple):
    """Tables for one kind of frame."""

    bands: NDArray[np.int64]
    """The table of bands."""
    blocks: NDArray[np.int64]
    """The table of code-blocks: where they begin, stride, columns, rows, and the number of the band."""
    alike: NDArray[np.int64]
    """Of each code-block a number that orders them by strip, size, and where in the image they are, but for UNCODED_BIT."""
    strips: NDArray[np.int64]
    """In that order, where the code-blocks of each strip begin, then those of the lower levels, and where these end."""
    size: int
    """Samples of memory for all subbands."""


def kind_of_pixels(pixels: PixelFormat, parameters: Parameters) -> int | None:
    """Return what rows of such pixels are to `cinemill.kernels.jpeg_2000.decode_rows`, None if it doesn't put them out."""
    from cinemill.kernels.jpeg_2000.decode_rows import BYTES, RCT, RGB, WORDS

    kinds = {(1, 1): BYTES, (1, 2): WORDS, (3, 1): RCT if parameters.colour_transform else RGB}
    return kinds.get((pixels.samples, pixels.dtype.itemsize))


class Whole(NamedTuple):
    """Tables for one kind of frame, all of whose subbands are there at a time."""

    bands: NDArray[np.int64]
    """The table of bands."""
    blocks: NDArray[np.int64]
    """The table of code-blocks."""
    band_of: NDArray[np.int64]
    """Of each code-block, the number of its band: component x level x 4."""
    size: int
    """Samples of memory for all subbands."""
    coded: int
    """Those for subbands that have code-blocks, which come first; LL of other levels, made of them, lie behind."""


@lru_cache(maxsize=16)
def place_whole(parameters: Parameters) -> Whole | None:
    """Return the tables for codestreams with these parameters, None if they are nothing for 16-bit lanes.

    There must be a level to decompose, and rows that pixels can be put out of.
    """
    from cinemill.kernels.jpeg_2000.decode_rows import AT_ONCE

    tables = lay_out_packets(parameters)
    if tables is None or parameters.levels == 0 or parameters.columns < AT_ONCE:
        return None
    bands, sizes, coded, size = _place_bands(parameters, parameters.rows)
    blocks, band_of = tables.blocks.copy(), np.empty(len(tables.blocks), np.int64)
    for number, block in enumerate(blocks):
        component, level, band, y, x = _find(parameters, sizes, int(block[START]))
        first, pitch = bands[component, level, [band, 4 + band]]
        block[START], block[STRIDE] = first + y * pitch + x, pitch
        band_of[number] = (component * parameters.levels + level) * 4 + band
    return Whole(bands, blocks, band_of, size, coded)


@lru_cache(maxsize=16)
def place(parameters: Parameters) -> Places | None:
    """Return the tables for codestreams with these parameters, None if they are nothing for 16-bit lanes.

    There must be a level to decompose, rows that pixels can be put out of, and code-blocks that end at multiples of 16 samples, or
    at the end of a subband.
    """
    from cinemill.kernels.jpeg_2000.decode_rows import AT_ONCE, LANES, LL

    tables = lay_out_packets(parameters)
    if tables is None or parameters.levels == 0 or parameters.columns < AT_ONCE:
        return None
    bands, sizes, _, size = _place_bands(parameters, STRIP_ROWS)
    blocks, strip_of = tables.blocks.copy(), np.empty(len(tables.blocks), np.int64)
    where = np.empty((3, len(blocks)), np.int64)
    strips = -(-sizes[0][LL][0] // STRIP_ROWS)
    for number, block in enumerate(blocks):
        component, level, band, y, x = _find(parameters, sizes, int(block[START]))
        if block[COLUMNS] % LANES and x + block[COLUMNS] != sizes[level][band][1]:
            return None
        first, pitch = bands[component, level, [band, 4 + band]]
        in_strips = level == 0 and band != LL
        strip_of[number] = y // STRIP_ROWS if in_strips else strips
        where[:, number] = x, y, level
        block[START] = first + (y % STRIP_ROWS if in_strips else y) * pitch + x
        block[STRIDE] = pitch
        block[4] = (component * parameters.levels + level) * 4 + band
    alike = (strip_of << 16 | blocks[:, COLUMNS] << 8 | blocks[:, ROWS]) << UNCODED_BIT + 1
    alike[np.lexsort(where)] += np.arange(len(blocks))
    bounds = np.searchsorted(np.sort(strip_of), np.arange(strips + 2)).astype(np.int64)
    return Places(bands, blocks, alike, bounds, size)


_Sizes = list[list[tuple[int, int]]]
"""Rows and columns of LL, HL, LH and HH of each level."""


def _place_bands(parameters: Parameters, strip: int) -> tuple[NDArray[np.int64], _Sizes, int, int]:
    """Put all subbands one after the other, those that have no code-blocks last; of the first level's details at most so many rows.

    Returns
    -------
    tuple
        The table of bands, their sizes, and where the coded ones and where all of them end.
    """
    from cinemill.kernels.jpeg_2000.decode_rows import LL, MARGIN, pitch_of

    sizes: _Sizes = []
    rows, columns = parameters.rows, parameters.columns
    for _ in range(parameters.levels):
        low_rows, low_columns = (rows + 1) // 2, (columns + 1) // 2
        high_rows, high_columns = rows - low_rows, columns - low_columns
        sizes.append(
            [
                (low_rows, low_columns),
                (low_rows, high_columns),
                (high_rows, low_columns),
                (high_rows, high_columns),
            ]
        )
        rows, columns = low_rows, low_columns
    bands = np.zeros((parameters.samples, parameters.levels, 8), np.int64)
    at, coded = MARGIN, MARGIN
    every = list(np.ndindex(parameters.samples, parameters.levels, 4))
    made = [band == LL and level < parameters.levels - 1 for _, level, band in every]
    for number in np.argsort(made, kind="stable"):
        component, level, band = every[number]
        rows, columns = sizes[level][band]
        if level == 0 and band != LL:
            rows = min(rows, strip)
        bands[component, level, band], bands[component, level, 4 + band] = at, pitch_of(columns)
        at += rows * pitch_of(columns) + MARGIN
        if not made[number]:
            coded = at
    return bands, sizes, coded, at


def _find(parameters: Parameters, sizes: _Sizes, start: int) -> tuple[int, int, int, int, int]:
    """Find the component, level, band, row and column that is at a place in the planes of all coefficients."""
    from cinemill.kernels.jpeg_2000.decode_rows import LL

    component, rest = divmod(start, parameters.rows * parameters.columns)
    y, x = divmod(rest, parameters.columns)
    for level, bands in enumerate(sizes):
        low_rows, low_columns = bands[LL]
        band = (x >= low_columns) + 2 * (y >= low_rows)
        if band != LL or level == parameters.levels - 1:
            return (
                component,
                level,
                band,
                y - low_rows * (y >= low_rows),
                x - low_columns * (x >= low_columns),
            )
    raise AssertionError(start)
