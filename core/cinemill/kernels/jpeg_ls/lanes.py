"""Sixteen frames side by side: sample x of all of them stands together, one frame a SIMD lane.

An entropy coder is bound by the order of its steps, not by the width of the machine: a sample waits for its predecessor. The
frames of a cine do not wait for each other.

Memory
------
A row of lanes is (columns + 2) groups of `LANES` 16-bit samples: a border group, one group a column, a border group. A line is
one frame's part of it: contiguous 16-bit samples, one lane after the other, ``pitch`` samples apart.

`to_lanes` and `from_lanes` move 8 columns at a time and so touch up to 7 samples behind a line and 7 groups behind
the last column: `lines_of_lanes` and `rows_of_lanes` have room for them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinemill.kernels.jpeg_ls.parameters import LANES
from cinemill.kernels.machine import processor
from cinemill.kernels.machine.instructions import Value, gathered, instructions
from cinemill.kernels.machine.jit import inlined
from cinemill.kernels.machine.x86 import constant, shuffled_bytes

GROUP = 2 * LANES
"""Bytes from one column of a row of lanes to the next."""

TILE = 8

SLACK = 16
"""Groups behind the last column that may be written."""

REACH = 1 << 28
"""Bytes from the first code on in which the others may begin."""

EVEN_FIRST = (*range(0, LANES, 2), *range(1, LANES, 2))
"""Frames by lane where lanes are 32 bits wide, so that a register of 16-bit lanes becomes two by masking and by shifting."""

_LINE = 64


def aligned(shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
    """Make room that starts with a line of the cache: vectors across two of them cost the lanes a tenth of their speed."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    room = np.empty(size + _LINE, np.uint8)
    first = -room.ctypes.data % _LINE
    return room[first : first + size].view(kind).reshape(shape)


def rows_of_lanes(components: int, columns: int) -> NDArray[np.uint16]:
    """Make room for two rows a component: (2, components, columns with borders and slack, lanes)."""
    return aligned((2, components, columns + 2 + SLACK, LANES), np.uint16)


def lines_of_lanes(components: int, columns: int) -> NDArray[np.uint16]:
    """Make room for a line in each lane and component: (components, lanes, columns with slack).

    Lines are an odd number of cache lines apart, so that lanes don't compete for the same sets of the cache.
    """
    return aligned((components, LANES, ((columns + TILE + 31) // 32 | 1) * 32), np.uint16)


def side_by_side(codes: list[NDArray[np.uint8]]) -> tuple[int, NDArray[np.int64], NDArray[np.uint8] | None]:
    """Return an address and at which bit from there on each code starts, with 32-bit positions; they are moved if need be."""
    places = np.array([code.ctypes.data for code in codes], np.int64)
    first, joined = int(places.min()), None
    if int(places.max()) - first >= REACH:
        joined = np.concatenate(codes)
        first, sizes = joined.ctypes.data, np.array([code.size for code in codes], np.int64)
        places = first + np.cumsum(sizes) - sizes
    return first, 8 * (places - first), joined


def _transposed(rows: list[Value]) -> list[Value]:
    """Transpose 8 by 8 sixteen-bit integers in each 128 bits."""
    for _ in range(3):
        pairs = [rows[i].interleaved(rows[i + 4]) for i in range(4)]
        rows = [half for pair in pairs for half in pair]
    return rows


@instructions
def _tile_to_lanes(line: Value, pitch: Value, row: Value) -> None:
    lines = [(line + pitch * (2 * lane)).load(16, TILE) for lane in range(LANES)]
    joint = range(LANES)
    for x, group in enumerate(_transposed([lines[i].shuffled(joint, lines[i + TILE]) for i in range(TILE)])):
        group.store(row + GROUP * x)


@instructions
def _tile_from_lanes(row: Value, line: Value, pitch: Value) -> None:
    groups = [(row + GROUP * x).load(16, LANES) for x in range(TILE)]
    for lane, samples in enumerate(_transposed(groups)):
        samples.shuffled(range(TILE)).store(line + pitch * (2 * lane))
        samples.shuffled(range(TILE, LANES)).store(line + pitch * (2 * (lane + TILE)))


def load_words(addresses: list[Value]) -> tuple[Value, Value]:
    """Load context words; return the low halves and the high halves by lane."""
    low, high = [], []
    for part in range(0, LANES, 8):
        # Such an order that one shuffle within 128 bits puts eight halves in order.
        first = gathered([addresses[part + lane].load(64) for lane in (0, 1, 4, 5)]).recast(32, 8)
        second = gathered([addresses[part + lane].load(64) for lane in (2, 3, 6, 7)]).recast(32, 8)
        low.append(first.shuffled((0, 2, 8, 10, 4, 6, 12, 14), second))
        high.append(first.shuffled((1, 3, 9, 11, 5, 7, 13, 15), second))
    return low[0].shuffled(range(LANES), low[1]), high[0].shuffled(range(LANES), high[1])


def store_words(low: Value, high: Value, addresses: list[Value]) -> None:
    """Store what `load_words` loads."""
    for part in range(0, LANES, 4):
        order = [half for lane in range(part, part + 4) for half in (lane, LANES + lane)]
        words = low.shuffled(order, high).recast(64, 4)
        for lane in range(4):
            words.lane(lane).store(addresses[part + lane])


def widened(lanes: Value) -> Value:
    """Turn 16-bit lanes, unsigned, into 32-bit ones, `EVEN_FIRST`."""
    pairs = lanes.recast(32, LANES // 2)
    return (pairs & 0xFFFF).shuffled(range(LANES), pairs.shifted_down(16))


def narrowed(lanes: Value) -> Value:
    """Take the lower halves of 32-bit lanes, `EVEN_FIRST`, in the frames' order."""
    even, odd = _halves(lanes)
    return ((even & 0xFFFF) | (odd << 16)).recast(16, LANES)


def upper(lanes: Value) -> Value:
    """Take the upper halves of 32-bit lanes, `EVEN_FIRST`, in the frames' order."""
    even, odd = _halves(lanes)
    return (even.shifted_down(16) | (odd & 0xFFFF0000)).recast(16, LANES)


def _halves(lanes: Value) -> tuple[Value, Value]:
    return lanes.shuffled(range(LANES // 2)), lanes.shuffled(range(LANES // 2, LANES))


def low_bits(count: Value) -> Value:
    """Set so many bits of 16, from 0 to 8: AVX2 has no instruction that shifts 16-bit lanes each by its own count."""
    if processor.chosen() or not processor.has("avx2") or processor.has("avx512bw"):
        return (count.like(1) << count) - 1
    keys = (count | 0x8000).recast(8, 2 * LANES)
    table = constant(keys, [min((1 << bits) - 1, 255) for bits in range(16)] * (LANES // 8))
    return shuffled_bytes(table, keys).recast(16, LANES)


@inlined
def to_lanes(lines: int, pitch: int, row: int, columns: int) -> None:
    """Move sixteen lines into the columns of a row of lanes; ``row`` is the address of its left border."""
    for x in range(0, columns, TILE):
        _tile_to_lanes(lines + 2 * x, pitch, row + GROUP * (x + 1))


@inlined
def from_lanes(row: int, lines: int, pitch: int, columns: int) -> None:
    """Move the columns of a row of lanes into sixteen lines."""
    for x in range(0, columns, TILE):
        _tile_from_lanes(row + GROUP * (x + 1), lines + 2 * x, pitch)
