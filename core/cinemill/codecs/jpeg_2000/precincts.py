"""Where the packets, precincts and code-blocks of a codestream are (T.800 B.5 to B.7, B.12), for decoding.

What the encoder lays out is of no use here, nor this there: so a mistake of the one is found by the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cinemill.codecs.jpeg_2000.parameters import Parameters
from cinemill.kernels.jpeg_2000.tables import HH, HL, LH, LL

_MOST = 1 << 14
"""Precincts, and code-blocks, of a frame; codestreams that have more are left to others."""


class Tables(NamedTuple):
    """The tables of `cinemill.kernels.jpeg_2000.tables` for one frame."""

    blocks: NDArray[np.int64]
    areas: NDArray[np.int64]
    packets: NDArray[np.int64]


class _Precinct(NamedTuple):
    """One precinct of one resolution of one component; ``top`` and ``left`` say where on the reference grid."""

    resolution: int
    component: int
    row: int
    column: int
    top: int
    left: int


class _Subband(NamedTuple):
    """One subband of one component, and where in the plane of all of them it begins."""

    orientation: int
    bit_planes: int
    top: int
    left: int
    rows: int
    columns: int


_Pieces = list[tuple[int, int]]
"""Where code-blocks begin, and how long they are."""
_Order = Callable[[_Precinct], tuple[int, ...]]
_ORDERS: tuple[_Order, ...] = (
    lambda p: (p.resolution, p.component, p.row, p.column),
    lambda p: (p.resolution, p.component, p.row, p.column),
    lambda p: (p.resolution, p.top, p.left, p.component),
    lambda p: (p.top, p.left, p.component, p.resolution),
    lambda p: (p.component, p.top, p.left, p.resolution),
)
"""LRCP, RLCP, RPCL, PCRL and CPRL (B.12.1), of one layer."""


@lru_cache(maxsize=16)
def lay_out_packets(parameters: Parameters) -> Tables | None:
    """Return the tables for codestreams with these parameters; None if there are too many precincts or code-blocks."""
    precincts: list[_Precinct] = []
    for resolution in range(parameters.levels + 1):
        wide, high = _precincts_in(parameters, resolution)
        if len(precincts) + wide * high * parameters.samples > _MOST:
            return None
        precincts += _precincts(parameters, resolution, wide, high)
    blocks: list[tuple[int, ...]] = []
    areas: list[tuple[int, ...]] = []
    packets: list[tuple[int, int]] = []
    for precinct in sorted(precincts, key=_ORDERS[parameters.progression]):
        subbands = _subbands(parameters, precinct.resolution)
        packets.append((len(areas), len(subbands)))
        for subband in subbands:
            columns, rows = _cut(parameters, precinct, subband)
            if len(blocks) + len(rows) * len(columns) > _MOST:
                return None
            areas.append((len(columns), len(rows), len(blocks), subband.bit_planes))
            first = (precinct.component * parameters.rows + subband.top) * parameters.columns + subband.left
            blocks += [
                (
                    first + top * parameters.columns + left,
                    parameters.columns,
                    width,
                    height,
                    subband.orientation,
                )
                for top, height in rows
                for left, width in columns
            ]
    return Tables(np.array(blocks, np.int64), np.array(areas, np.int64), np.array(packets, np.int64))


def _reduced(side: int, levels: int) -> int:
    """Divide by a power of two, rounding up (Equations B-14, B-16)."""
    return -(-side >> levels)


def _precincts_in(parameters: Parameters, resolution: int) -> tuple[int, int]:
    """Count the precincts of a resolution across and down (Equation B-16)."""
    reductions = parameters.levels - resolution
    across, down = parameters.precinct_exponents[resolution]
    return (
        _reduced(_reduced(parameters.columns, reductions), across),
        _reduced(_reduced(parameters.rows, reductions), down),
    )


def _precincts(parameters: Parameters, resolution: int, wide: int, high: int) -> Iterator[_Precinct]:
    """Yield the precincts of a resolution in all components."""
    reductions = parameters.levels - resolution
    across, down = parameters.precinct_exponents[resolution]
    for component, row, column in product(range(parameters.samples), range(high), range(wide)):
        yield _Precinct(
            resolution, component, row, column, row << down + reductions, column << across + reductions
        )


def _subbands(parameters: Parameters, resolution: int) -> list[_Subband]:
    """Return the subbands of a resolution (Equation B-15), as many levels below the image as it takes."""
    level = parameters.levels - max(resolution - 1, 0)
    low = _reduced(parameters.rows, level), _reduced(parameters.columns, level)
    if resolution == 0:
        return [_Subband(LL, parameters.bit_planes[0], 0, 0, *low)]
    whole = _reduced(parameters.rows, level - 1), _reduced(parameters.columns, level - 1)
    high = whole[0] - low[0], whole[1] - low[1]
    hl, lh, hh = parameters.bit_planes[3 * resolution - 2 : 3 * resolution + 1]
    return [
        _Subband(HL, hl, 0, low[1], low[0], high[1]),
        _Subband(LH, lh, low[0], 0, high[0], low[1]),
        _Subband(HH, hh, low[0], low[1], high[0], high[1]),
    ]


def _cut(parameters: Parameters, precinct: _Precinct, subband: _Subband) -> tuple[_Pieces, _Pieces]:
    """Cut what of a subband is in a precinct into code-blocks, across and down (B.6, B.7)."""
    # A precinct has half as many columns and rows of a subband as of the resolution that the subbands make up.
    across, down = (
        exponent - (precinct.resolution > 0)
        for exponent in parameters.precinct_exponents[precinct.resolution]
    )
    width, height = parameters.block_exponents
    return (
        _pieces(subband.columns, precinct.column, across, width),
        _pieces(subband.rows, precinct.row, down, height),
    )


def _pieces(length: int, number: int, precinct: int, block: int) -> _Pieces:
    """Cut the part of a length that is in a precinct; ``precinct`` and ``block`` are exponents of 2."""
    end = min((number + 1) << precinct, length)
    size = 1 << min(block, precinct)
    return [(at, min(size, end - at)) for at in range(number << precinct, end, size)]
