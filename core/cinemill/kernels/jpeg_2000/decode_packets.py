"""Packet headers (T.800 B.10), decoded: which code-blocks are there, how many passes they have, and where their bytes are.

Bounds: bytes are read at offsets compared with the end of the packets, which lies within the codestream; all else is indexed by
the tables of the frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cinemill.kernels.jpeg_2000.decode_passes import MAX_BIT_PLANES, MAX_MISSING
from cinemill.kernels.jpeg_2000.tables import ACROSS, AREAS, BIT_PLANES, DOWN, FIRST_AREA, FIRST_BLOCK
from cinemill.kernels.machine.bits import address, leading_zeros, shift_down, shift_up
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined, jit

_MOST_LEVELS = 34
"""Of a tag tree."""
_MOST_LENGTH_BITS = 31


@instructions
def _codes(where: Value) -> Value:
    """Tell which of 32 bytes are FF and followed by 90 or more: a bit each."""
    full = where.load(8, 32).equals(-1)
    return (full & (where + 1).load(8, 32).at_least_unsigned(0x90)).packed()


@jit("int64(Array(uint8, 1, 'C', readonly=True), int64, int64)")
def marker_between(data: Any, start: int, end: int) -> int:
    """Return the offset of a marker code in packets, but for SOP and EPH, or -1: bit stuffing leaves none (B.10.1, C.2.5).

    Parameters
    ----------
    data
        The codestream.
    start, end
        Where packets begin and end.
    """
    first = address(data)
    for at in range(start, end - 1, 32):
        if at + 33 > end or _codes(first + at):
            for place in range(at, min(at + 32, end - 1)):
                code = data[place + 1]
                if data[place] == 0xFF and (code == 0x90 or code >= 0x93):
                    return place
    return -1


NEXT, HELD, LEFT, FULL, READ = range(5)
"""Of the bits of a packet header (B.10.1): the offset of the next byte, bits that were taken from bytes, the last one lowest, how many
of them are left, whether the last byte was FF, and how many bits were read."""


@inlined
def _fill(data: Any, end: int, cursor: Any) -> None:
    """Have 32 bits left, zeros after the end."""
    at, held, left, full = cursor[NEXT], cursor[HELD], cursor[LEFT], cursor[FULL]
    while left < 32:
        byte = np.int64(data[at]) if at < end else 0
        at += 1
        held = shift_up(held, 8 - full) | (byte & (0xFF >> full))
        left += 8 - full
        full = 1 if byte == 0xFF else 0
    cursor[NEXT], cursor[HELD], cursor[LEFT], cursor[FULL] = at, held, left, full


@inlined
def _bits(data: Any, end: int, cursor: Any, count: int) -> int:
    """Read up to 32 bits."""
    if cursor[LEFT] < count:
        _fill(data, end, cursor)
    cursor[LEFT] -= count
    cursor[READ] += count
    return shift_down(cursor[HELD], cursor[LEFT]) & (shift_up(1, count) - 1)


@inlined
def _zeros(data: Any, end: int, cursor: Any, most: int) -> int:
    """Read zeros, up to ``most`` of them, and the one that ends fewer; return how many there were."""
    zeros = 0
    while True:
        if cursor[LEFT] == 0:
            _fill(data, end, cursor)
        left = cursor[LEFT]
        some = min(leading_zeros(cursor[HELD] & (shift_up(1, left) - 1)) - 64 + left, most - zeros)
        zeros += some
        ended = some < left and zeros < most
        cursor[LEFT] -= some + ended
        cursor[READ] += some + ended
        if ended or zeros == most:
            return zeros


@jit("void(Array(uint8, 1, 'C', readonly=True), int64, int64, int64[::1])")
def _align(data: Any, start: int, end: int, cursor: Any) -> None:
    """Go to the byte after a packet header, which began at ``start``, and after the stuffed bit that its last byte may ask for."""
    at, bits, full = start, cursor[READ], 0
    while bits > 0 or full:
        byte = np.int64(data[at]) if at < end else 0
        at += 1
        bits -= 8 - full
        full = 1 if byte == 0xFF else 0
    cursor[:] = 0
    cursor[NEXT] = at


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
        if bound < limit and tree[node, 1] == 0:
            bound += _zeros(data, end, cursor, limit - bound)
            tree[node, 1] = bound < limit
        tree[node, 0] = bound
    return bound


@jit("int64(Array(uint8, 1, 'C', readonly=True), int64, int64[::1])")
def _passes(data: Any, end: int, cursor: Any) -> int:
    """Read a number of coding passes (Table B.4)."""
    if _bits(data, end, cursor, 1) == 0:
        return 1
    if _bits(data, end, cursor, 1) == 0:
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
    while _bits(data, end, cursor, 1) and width < _MOST_LENGTH_BITS:
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
    cursor = np.zeros(5, np.int64)
    cursor[NEXT] = start
    bit_planes[:], starts[:], lengths[:] = 0, 0, 0
    for packet in packets:
        first, last = packet[FIRST_AREA], packet[FIRST_AREA] + packet[AREAS]
        header = cursor[NEXT]
        if _bits(data, end, cursor, 1):
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
        _align(data, header, end, cursor)
        at = cursor[NEXT]
        for area in areas[first:last]:
            for block in range(area[FIRST_BLOCK], area[FIRST_BLOCK] + area[ACROSS] * area[DOWN]):
                starts[block] = at
                at += lengths[block]
        if at > end:
            return False
        cursor[NEXT] = at
    return cursor[NEXT] == end
