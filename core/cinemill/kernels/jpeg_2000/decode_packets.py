"""Packet headers (T.800 B.10), decoded: which code-blocks are there, how many passes they have, and where their bytes are.

Bounds: bytes are read at offsets compared with the end of the packets; all else is indexed by the tables of the frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cinemill.kernels.jpeg_2000.decode_passes import MAX_BIT_PLANES, MAX_MISSING
from cinemill.kernels.jpeg_2000.tables import ACROSS, AREAS, BIT_PLANES, DOWN, FIRST_AREA, FIRST_BLOCK
from cinemill.kernels.machine.bits import leading_zeros
from cinemill.kernels.machine.jit import inlined, jit

_MOST_LEVELS = 34
"""Of a tag tree."""
_MOST_LENGTH_BITS = 31


@inlined
def _bit(data: Any, end: int, cursor: Any) -> int:
    """Read one bit (B.10.1). ``cursor`` holds the offset of the next byte, the current one, and its bits still unread."""
    if cursor[2] == 0:
        width = 7 if cursor[1] == 0xFF else 8
        if cursor[0] < end:
            cursor[1] = data[cursor[0]]
        else:
            cursor[1] = 0
        cursor[0] += 1
        cursor[2] = width
    cursor[2] -= 1
    return (cursor[1] >> cursor[2]) & 1


@jit("int64(Array(uint8, 1, 'C', readonly=True), int64, int64[::1], int64)")
def _bits(data: Any, end: int, cursor: Any, count: int) -> int:
    value = 0
    for _ in range(count):
        value = value << 1 | _bit(data, end, cursor)
    return value


@jit("int64(int64[:, ::1], int64[:, ::1], int64, int64)")
def _plant(tree: Any, levels: Any, across: int, down: int) -> int:
    """Lay out a tag tree of which nothing is known yet (B.10.2): offset and width of each level; return the root's."""
    level, start = 0, 0
    while True:
        levels[level, 0], levels[level, 1] = start, across
        start += across * down
        if across * down == 1:
            break
        across, down, level = (across + 1) // 2, (down + 1) // 2, level + 1
    tree[:start] = 0
    return level


@jit(
    "int64(Array(uint8, 1, 'C', readonly=True), int64, int64[::1], int64[:, ::1], int64[:, ::1], int64, int64, int64, int64)"
)
def _leaf(
    data: Any, end: int, cursor: Any, tree: Any, levels: Any, root: int, x: int, y: int, limit: int
) -> int:
    """Read a leaf of a tag tree as far as ``limit``: its value, or ``limit`` if it is not less.

    ``tree`` has of each node a lower bound, and whether it is the value.
    """
    bound = 0
    for level in range(root, -1, -1):
        node = levels[level, 0] + (y >> level) * levels[level, 1] + (x >> level)
        bound = max(bound, tree[node, 0])
        while bound < limit and tree[node, 1] == 0:
            if _bit(data, end, cursor):
                tree[node, 1] = 1
            else:
                bound += 1
        tree[node, 0] = bound
    return bound


@jit("int64(Array(uint8, 1, 'C', readonly=True), int64, int64[::1])")
def _passes(data: Any, end: int, cursor: Any) -> int:
    """Read a number of coding passes (Table B.4)."""
    if _bit(data, end, cursor) == 0:
        return 1
    if _bit(data, end, cursor) == 0:
        return 2
    few = _bits(data, end, cursor, 2)
    if few < 3:
        return 3 + few
    some = _bits(data, end, cursor, 5)
    if some < 31:
        return 6 + some
    return 37 + _bits(data, end, cursor, 7)


@jit(
    "UniTuple(int64, 3)(Array(uint8, 1, 'C', readonly=True), int64, int64[::1], int64[:, ::1], int64[:, ::1], int64, int64,"
    " int64, int64)"
)
def _code_block(
    data: Any, end: int, cursor: Any, zeros: Any, levels: Any, root: int, x: int, y: int, most: int
) -> tuple[int, int, int]:
    """Read the header of an included code-block (B.10.5 to B.10.7): bit-planes, of ``most``, passes and length."""
    bit_planes = most - _leaf(data, end, cursor, zeros, levels, root, x, y, most)
    passes = _passes(data, end, cursor)
    width = 3 + 63 - leading_zeros(passes)
    while _bit(data, end, cursor) and width < _MOST_LENGTH_BITS:
        width += 1
    return bit_planes, passes, _bits(data, end, cursor, width)


@jit(
    "boolean(Array(uint8, 1, 'C', readonly=True), int64, int64, int64[:, ::1], int64[:, ::1], int64,"
    " int64[::1], int64[::1], int64[::1], int64[::1])"
)
def read_packets(
    data: Any,
    start: int,
    end: int,
    packets: Any,
    areas: Any,
    most: int,
    bit_planes: Any,
    missing: Any,
    starts: Any,
    lengths: Any,
) -> bool:
    """Read all packets of one frame that has one quality layer.

    Parameters
    ----------
    data
        The codestream, with packets from ``start`` to ``end``.
    packets, areas
        The tables of packets and of areas.
    most
        Code-blocks of the largest area.
    bit_planes
        Receives the coded bit-planes of each code-block of the frame; 0 if it is left out.
    missing
        Receives how many of their coding passes are left out.
    starts, lengths
        Receive where the bytes of each code-block are in ``data``.

    Returns
    -------
    bool
        Whether they end where they should, and code-blocks have at most MAX_BIT_PLANES and lack at most MAX_MISSING passes.
    """
    nodes = 2 * most + 64
    inclusion, zeros = np.empty((nodes, 2), np.int64), np.empty((nodes, 2), np.int64)
    levels = np.empty((_MOST_LEVELS, 2), np.int64)
    cursor = np.array([start, 0, 0])
    bit_planes[:], starts[:], lengths[:] = 0, 0, 0
    for packet in packets:
        first, last = packet[FIRST_AREA], packet[FIRST_AREA] + packet[AREAS]
        cursor[1], cursor[2] = 0, 0
        if _bit(data, end, cursor):
            for area in areas[first:last]:
                across, down, block = area[ACROSS], area[DOWN], area[FIRST_BLOCK]
                if across * down == 0:
                    continue
                root = _plant(inclusion, levels, across, down)
                _plant(zeros, levels, across, down)
                for y in range(down):
                    for x in range(across):
                        if _leaf(data, end, cursor, inclusion, levels, root, x, y, 1) == 0:
                            bit_planes[block], passes, lengths[block] = _code_block(
                                data, end, cursor, zeros, levels, root, x, y, area[BIT_PLANES]
                            )
                            missing[block] = 3 * bit_planes[block] - 2 - passes
                            if bit_planes[block] > MAX_BIT_PLANES or not 0 <= missing[block] <= MAX_MISSING:
                                return False
                        block += 1
        if cursor[1] == 0xFF:
            cursor[0] += 1  # the byte that holds the stuffed bit
        at = cursor[0]
        for area in areas[first:last]:
            for block in range(area[FIRST_BLOCK], area[FIRST_BLOCK] + area[ACROSS] * area[DOWN]):
                starts[block] = at
                at += lengths[block]
        if at > end:
            return False
        cursor[0] = at
    return cursor[0] == end
