"""Where the resolutions, subbands, precincts and code-blocks of an image are (T.800 B.5 to B.7).

One tile, anchored at 0, precincts of 32768 x 32768 and code-blocks of 64 x 64: then the code-blocks of a subband begin at
multiples of 64 in it, whatever the precinct.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cinemill.kernels.jpeg2000_planes import BLOCK, HH, HL, LH, LL

MOST_LEVELS = 5
GUARD_BITS = 2
PRECINCT = 1 << 15
_SMALLEST_LL = 16
_GAIN = {LL: 0, HL: 1, LH: 1, HH: 2}


@dataclass(frozen=True, slots=True)
class Layout:
    """The tables that kernels work through, for one frame."""

    levels: int
    """Decomposition levels."""
    subbands: tuple[int, ...]
    """Orientation of each subband, in the order of QCD."""
    blocks: NDArray[np.int64]
    """Code-blocks x (start, stride, columns, rows, orientation), as `cinemill.kernels.jpeg2000_blocks` takes them."""
    areas: NDArray[np.int64]
    """Parts of subbands in a precinct x (code-blocks across, code-blocks down, first code-block, orientation)."""
    packets: NDArray[np.int64]
    """Packets x (first area, number of areas), in the order of LRCP."""


def exponent(bits: int, orientation: int, *, colour_transform: bool) -> int:
    """Return the exponent of a subband in QCD: bits of the samples, one more for Cb and Cr, and the wavelet's gain.

    With fewer than 6 bits, what the wavelet rounds weighs more than the samples do.
    """
    return max(bits, 6) + colour_transform + _GAIN[orientation]


def bit_planes(bits: int, orientation: int, *, colour_transform: bool) -> int:
    """Return M_b, the magnitude bit-planes that a subband can have (E.1)."""
    return GUARD_BITS + exponent(bits, orientation, colour_transform=colour_transform) - 1


@lru_cache(maxsize=16)
def lay_out(rows: int, columns: int, components: int) -> Layout:
    """Return the tables for a size of image, with as many levels as leave 16 rows or columns in LL, at most 5."""
    levels = 0
    while levels < MOST_LEVELS and max(rows, columns) >> (levels + 1) >= _SMALLEST_LL:
        levels += 1
    blocks: list[tuple[int, ...]] = []
    areas: list[tuple[int, ...]] = []
    packets = []
    for resolution in range(levels + 1):
        for component in range(components):
            plane = component * rows * columns
            for precinct in _precincts(rows, columns, levels - resolution, resolution):
                packets.append((len(areas), len(precinct)))
                for area in precinct:
                    across, down = -(-area.columns // BLOCK), -(-area.rows // BLOCK)
                    areas.append((across, down, len(blocks), area.orientation))
                    blocks += [
                        (plane + y * columns + x, columns, width, height, area.orientation)
                        for y, height in _cut(area.top, area.rows)
                        for x, width in _cut(area.left, area.columns)
                    ]
    tables = (np.array(table, np.int64) for table in (blocks, areas, packets))
    return Layout(levels, (LL, *(HL, LH, HH) * levels), *tables)


class _Area(NamedTuple):
    """Part of a subband; ``top`` and ``left`` count coefficients in the plane of its component."""

    orientation: int
    top: int
    left: int
    rows: int
    columns: int


def _precincts(rows: int, columns: int, reductions: int, resolution: int) -> Iterator[list[_Area]]:
    """Yield the precincts of a resolution, each as its parts of one subband, or of three."""
    rows, columns = (-(-side // (1 << reductions)) for side in (rows, columns))
    low_rows, low_columns = (rows + 1) // 2, (columns + 1) // 2
    for top, height in _cut(0, rows, PRECINCT):
        for left, width in _cut(0, columns, PRECINCT):
            if resolution == 0:
                yield [_Area(LL, top, left, height, width)]
                continue
            low_top, low_left, low_height, low_width = (
                top // 2,
                left // 2,
                (height + 1) // 2,
                (width + 1) // 2,
            )
            high_top, high_left, high_height, high_width = (
                low_rows + top // 2,
                low_columns + left // 2,
                height // 2,
                width // 2,
            )
            yield [
                _Area(HL, low_top, high_left, low_height, high_width),
                _Area(LH, high_top, low_left, high_height, low_width),
                _Area(HH, high_top, high_left, high_height, high_width),
            ]


def _cut(start: int, length: int, size: int = BLOCK) -> Iterator[tuple[int, int]]:
    """Cut a length into pieces: yield where each begins and how long it is."""
    for at in range(0, length, size):
        yield start + at, min(size, length - at)
