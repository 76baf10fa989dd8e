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

from cinemill.kernels.jpeg_2000.tables import BLOCK, HH, HL, LH, LL, START

MOST_LEVELS = 5
GUARD_BITS = 2
_PRECINCT = 1 << 15
_SMALLEST_LL = 8
_GAIN = {LL: 0, HL: 1, LH: 1, HH: 2}


@dataclass(frozen=True, slots=True)
class Layout:
    """The tables of `cinemill.kernels.jpeg_2000.tables` for one frame, and what main headers say of them."""

    levels: int
    """Decomposition levels."""
    exponents: tuple[int, ...]
    """Of each subband, in the order of QCD."""
    blocks: NDArray[np.int64]
    """Code-blocks, those of an area from left to right and from top to bottom."""
    areas: NDArray[np.int64]
    """Parts of subbands within a precinct."""
    packets: NDArray[np.int64]
    """Packets, in the order of LRCP."""


def exponent(bits: int, orientation: int, *, colour_transform: bool) -> int:
    """Return the exponent of a subband: bits of the samples, one more for Cb and Cr, and the wavelet's gain (E.1).

    With fewer than 6 bits, what the wavelet rounds weighs more than the samples do.

    Parameters
    ----------
    bits
        Of a sample.
    orientation
        Of the subband: LL, HL, LH or HH.
    colour_transform
        Whether the component is Cb or Cr of the reversible transform.
    """
    return max(bits, 6) + colour_transform + _GAIN[orientation]


def _usual_levels(rows: int, columns: int) -> int:
    """Return as many decomposition levels as leave 8 rows and columns in LL, at most 5."""
    levels = 0
    while levels < MOST_LEVELS and min(rows, columns) >> (levels + 1) >= _SMALLEST_LL:
        levels += 1
    return levels


@lru_cache(maxsize=16)
def lay_out(
    rows: int, columns: int, components: int, bits: int, *, colour_transform: bool, levels: int | None = None
) -> Layout:
    """Return the tables for a kind of frame.

    Parameters
    ----------
    rows, columns, components
        Of a frame.
    bits
        Of a sample.
    colour_transform
        Whether the reversible colour transform is used.
    levels
        Decomposition levels; if not given, as many as leave 8 rows and columns in LL, at most 5.
    """
    levels = _usual_levels(rows, columns) if levels is None else levels
    exponents = {band: exponent(bits, band, colour_transform=colour_transform) for band in (LL, HL, LH, HH)}
    blocks: list[tuple[int, ...]] = []
    areas: list[tuple[int, ...]] = []
    packets: list[tuple[int, int]] = []
    for resolution in range(levels + 1):
        for component in range(components):
            plane = component * rows * columns
            for precinct in _precincts(rows, columns, levels - resolution, lowest=resolution == 0):
                packets.append((len(areas), len(precinct)))
                for band, top, height, left, width in precinct:
                    bit_planes = GUARD_BITS + exponents[band] - 1
                    areas.append((-(-width // BLOCK), -(-height // BLOCK), len(blocks), bit_planes))
                    blocks += [
                        (plane + y * columns + x, columns, block_columns, block_rows, band)
                        for y, block_rows in _cut(top, height)
                        for x, block_columns in _cut(left, width)
                    ]
    return Layout(
        levels,
        tuple(exponents[band] for band in (LL, *(HL, LH, HH) * levels)),
        np.array(blocks, np.int64),
        np.array(areas, np.int64),
        np.array(packets, np.int64),
    )


def repeated(blocks: NDArray[np.int64], frames: int, size: int) -> NDArray[np.int64]:
    """Return the code-blocks of several frames.

    Parameters
    ----------
    blocks
        Those of one.
    frames
        How many there are.
    size
        Coefficients from one to the next.
    """
    every = np.tile(blocks, (frames, 1))
    every[:, START] += np.repeat(np.arange(frames) * size, len(blocks))
    return every


class _Area(NamedTuple):
    """Part of a subband; ``top`` and ``left`` count coefficients in the plane of its component."""

    band: int
    top: int
    rows: int
    left: int
    columns: int


def _precincts(rows: int, columns: int, reductions: int, *, lowest: bool) -> Iterator[list[_Area]]:
    """Yield the precincts of a resolution, each as its part of LL, or of HL, LH and HH."""
    rows, columns = (-(-side // (1 << reductions)) for side in (rows, columns))
    for top, height in _cut(0, rows, _PRECINCT):
        for left, width in _cut(0, columns, _PRECINCT):
            if lowest:
                yield [_Area(LL, top, height, left, width)]
                continue
            low_y, high_y = (top // 2, (height + 1) // 2), ((rows + 1) // 2 + top // 2, height // 2)
            low_x, high_x = (left // 2, (width + 1) // 2), ((columns + 1) // 2 + left // 2, width // 2)
            yield [_Area(HL, *low_y, *high_x), _Area(LH, *high_y, *low_x), _Area(HH, *high_y, *high_x)]


def _cut(start: int, length: int, size: int = BLOCK) -> Iterator[tuple[int, int]]:
    """Cut a length into pieces: yield where each begins and how long it is."""
    for at in range(0, length, size):
        yield start + at, min(size, length - at)
