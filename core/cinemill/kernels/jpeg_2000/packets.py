"""Packets (T.800 Annex B): tag trees, packet headers, and the code-blocks' bytes in progression order."""

from __future__ import annotations

from typing import Any

import numpy as np

from cinemill.kernels.jpeg_2000.tables import ACROSS, AREAS, BIT_PLANES, DOWN, FIRST_AREA, FIRST_BLOCK
from cinemill.kernels.machine.bits import address, copy_bytes, leading_zeros
from cinemill.kernels.machine.jit import jit

_LEVELS = 18  # of a tag tree of up to 256 x 256 code-blocks, and more


def packets_room(packets: int, blocks: int, length: int) -> int:
    """Bytes for all packets of a frame of so many code-blocks, which have so many bytes together.

    A code-block has up to two nodes in either tag tree, which take 2 and 26 bits at most, 16 bits for the number of
    passes and 45 for the length: 18 bytes when each is stuffed.
    """
    return 64 * packets + 20 * blocks + length


@jit("void(uint8[::1], int64[::1], int64, int64)")
def _put_bits(out: Any, cursor: Any, value: int, count: int) -> None:
    """Append bits, most significant first, with a zero stuffed after each byte FF (B.10.1).

    ``cursor`` holds the offset of the byte to fill, its bits so far, and how many it still takes.
    """
    for bit in range(count - 1, -1, -1):
        cursor[2] -= 1
        cursor[1] |= ((value >> bit) & 1) << cursor[2]
        if cursor[2] == 0:
            out[cursor[0]] = cursor[1]
            cursor[0] += 1
            cursor[2] = 7 if cursor[1] == 0xFF else 8
            cursor[1] = 0


@jit("void(uint8[::1], int64[::1])")
def _align(out: Any, cursor: Any) -> None:
    """Pad to a whole byte; a packet header never ends in FF."""
    started = cursor[2] < 8
    if started:
        out[cursor[0]] = cursor[1]
        cursor[0] += 1
    cursor[1], cursor[2] = 0, 8


@jit("int64(int64[:, ::1], int64, int64, int64[:, ::1])")
def _grow_tree(tree: Any, across: int, down: int, levels: Any) -> int:
    """Fill in the inner nodes of a tag tree (B.10.2) and forget what was sent of it.

    Parameters
    ----------
    tree
        Nodes x (value, lower bound sent, whether the value is known); the leaves' values come first.
    levels
        Receives offset and width of each level.

    Returns
    -------
    int
        The root's level.
    """
    level, start = 0, 0
    levels[0, 0], levels[0, 1] = 0, across
    while across * down > 1:
        parents = start + across * down
        wide, high = (across + 1) // 2, (down + 1) // 2
        for y in range(high):
            for x in range(wide):
                least = np.int64(1 << 40)
                for child_y in range(2 * y, min(2 * y + 2, down)):
                    for child_x in range(2 * x, min(2 * x + 2, across)):
                        least = min(least, tree[start + child_y * across + child_x, 0])
                tree[parents + y * wide + x, 0] = least
        level, start, across, down = level + 1, parents, wide, high
        levels[level, 0], levels[level, 1] = start, wide
    tree[: start + 1, 1:] = 0
    return level


@jit("void(uint8[::1], int64[::1], int64[:, ::1], int64[:, ::1], int64, int64, int64, int64)")
def _put_leaf(out: Any, cursor: Any, tree: Any, levels: Any, root: int, x: int, y: int, limit: int) -> None:
    """Tell whether a leaf's value is below ``limit``, and if so which it is, as far as not yet known (B.10.2)."""
    bound = np.int64(0)
    for level in range(root, -1, -1):
        node = tree[levels[level, 0] + (y >> level) * levels[level, 1] + (x >> level)]
        bound = max(bound, node[1])
        while bound < limit:
            if bound >= node[0]:
                if node[2] == 0:
                    _put_bits(out, cursor, 1, 1)
                    node[2] = 1
                break
            _put_bits(out, cursor, 0, 1)
            bound += 1
        node[1] = bound


@jit("void(uint8[::1], int64[::1], int64)")
def _put_passes(out: Any, cursor: Any, passes: int) -> None:
    """Append a number of coding passes (Table B.4)."""
    if passes == 1:
        _put_bits(out, cursor, 0, 1)
    elif passes == 2:
        _put_bits(out, cursor, 0b10, 2)
    elif passes <= 5:
        _put_bits(out, cursor, 0b1100 | (passes - 3), 4)
    elif passes <= 36:
        _put_bits(out, cursor, 0b1111 << 5 | (passes - 6), 9)
    else:
        _put_bits(out, cursor, 0b111111111 << 7 | (passes - 37), 16)


@jit("void(uint8[::1], int64[::1], int64, int64)")
def _put_length(out: Any, cursor: Any, passes: int, length: int) -> None:
    """Append a code-block's length (B.10.7.1); Lblock begins at 3."""
    width = 3 + 63 - leading_zeros(passes)
    more = max(0, 64 - leading_zeros(length) - width)
    _put_bits(out, cursor, (1 << more) - 1, more)
    _put_bits(out, cursor, 0, 1)
    _put_bits(out, cursor, length, width + more)


@jit("int64(int64[:, ::1], int64[:, ::1], int64[::1], int64[::1], int64[::1], uint8[::1], uint8[::1])")
def write_packets(
    packets: Any, areas: Any, bit_planes: Any, starts: Any, lengths: Any, data: Any, out: Any
) -> int:
    """Write all packets of one frame: one quality layer, so each code-block is in one packet, whole.

    Parameters
    ----------
    packets, areas
        The tables of packets and of areas.
    bit_planes
        Coded bit-planes of each code-block of the frame; 0 leaves it out.
    starts, lengths
        Where the bytes of each code-block are in ``data``.
    out
        Receives the packets; needs `packets_room`.

    Returns
    -------
    int
        Bytes of all packets.
    """
    largest = np.int64(1)
    for area in areas:
        largest = max(largest, area[ACROSS] * area[DOWN])
    nodes = 2 * largest + 64
    inclusion, planes = np.empty((nodes, 3), np.int64), np.empty((nodes, 3), np.int64)
    levels = np.empty((_LEVELS, 2), np.int64)
    cursor = np.empty(3, np.int64)
    cursor[0], cursor[1], cursor[2] = 0, 0, 8
    for packet in packets:
        first, last = packet[FIRST_AREA], packet[FIRST_AREA] + packet[AREAS]
        _put_bits(out, cursor, 1, 1)
        for area in areas[first:last]:
            across, down, block = area[ACROSS], area[DOWN], area[FIRST_BLOCK]
            if across * down == 0:
                continue
            for leaf in range(across * down):
                inclusion[leaf, 0] = 0 if bit_planes[block + leaf] > 0 else 1
                planes[leaf, 0] = area[BIT_PLANES] - bit_planes[block + leaf]
            _grow_tree(inclusion, across, down, levels)
            root = _grow_tree(planes, across, down, levels)
            for y in range(down):
                for x in range(across):
                    _put_leaf(out, cursor, inclusion, levels, root, x, y, 1)
                    coded = bit_planes[block]
                    if coded > 0:
                        _put_leaf(out, cursor, planes, levels, root, x, y, area[BIT_PLANES] - coded + 1)
                        passes = 3 * coded - 2
                        _put_passes(out, cursor, passes)
                        _put_length(out, cursor, passes, lengths[block])
                    block += 1
        _align(out, cursor)
        for area in areas[first:last]:
            for block in range(area[FIRST_BLOCK], area[FIRST_BLOCK] + area[ACROSS] * area[DOWN]):
                copy_bytes(address(out) + cursor[0], address(data) + starts[block], lengths[block])
                cursor[0] += lengths[block]
    return int(cursor[0])
