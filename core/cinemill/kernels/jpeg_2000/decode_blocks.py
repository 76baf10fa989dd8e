"""Bytes to code-blocks (T.800 Annexes C and D), up to 64 at once, from whichever component or frame.

Bounds: a lane's code-block has at most BLOCK rows and columns and MAX_BIT_PLANES bit-planes, for which there is memory; they
are read in fours of rows, and eights of columns and bit-planes, of which there is memory for 32. Coefficients are written row by row
where the whole row is in the array.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinemill.kernels.jpeg_2000.decode_mq import LANES, fill, start_lane, unstuff
from cinemill.kernels.jpeg_2000.decode_passes import (
    BITS,
    COLUMN,
    IN_COLUMN,
    IN_HH,
    IN_HL,
    IN_ROW,
    LIVE,
    NEGATIVE,
    ORIGIN,
    PLANE,
    decode_bit_plane,
)
from cinemill.kernels.jpeg_2000.tables import BLOCK, COLUMNS, HH, HL, ORIENTATION, ROWS, START, STRIDE
from cinemill.kernels.machine.bits import address, load_i64, load_u8, shift_up, store_16, store_32, store_64
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import jit

_ALIGNMENT = 64
"""Bytes: vectors that cross the lines of the cache take 10 % longer."""
_NARROW_BITS, _WIDE_BITS = 16, 32
MEMORY = BITS + _WIDE_BITS * PLANE + _ALIGNMENT
"""Bytes of memory for all lanes, of which only what the bit-planes need is used."""

_AT_ONCE = 8
"""Columns, planes, or lanes."""
_PIECE = 32
"""Bytes of four rows of eight columns."""
_OF_LANE = BLOCK // _AT_ONCE * _PIECE
_PART = LANES * _OF_LANE
"""Bytes of four rows of all lanes; what is not in the lowest byte of a coefficient follows in further parts."""
_ROOM = _WIDE_BITS // 8 * _PART + _AT_ONCE * _AT_ONCE * _PIECE
_MASKS = {1: 0x5555555555555555, 2: 0x3333333333333333, 4: 0x0F0F0F0F0F0F0F0F}
_BYTE_MASKS = {1: 0x00FF00FF00FF00FF, 2: 0x0000FFFF0000FFFF, 4: 0x00000000FFFFFFFF}


def unstuffed_room(lengths: Any) -> int:
    """Bytes for code-blocks of these lengths as `unstuff` leaves them."""
    return int(lengths.sum()) + 9 * LANES


def _transposed(vectors: list[Value], bits: int, masks: dict[int, int]) -> list[Value]:
    """Transpose squares of 8 x 8 fields of so many bits: a row is in each of eight vectors, in 64 bits of them."""
    for apart, mask in masks.items():
        for number in range(_AT_ONCE):
            if not number & apart:
                low, high = vectors[number], vectors[number + apart]
                differing = (low.shifted_down(bits * apart) ^ high) & mask
                vectors[number] = low ^ (differing << (bits * apart))
                vectors[number + apart] = high ^ differing
    return vectors


@instructions
def _turn_bits(words: Value, last: Value, target: Value) -> None:
    """Turn words of four coefficients of a column in eight planes into bytes: of every eighth lane in each of eight vectors.

    The last plane is given by itself.
    """
    planes = [(words + plane * PLANE).load(64, 4) for plane in range(_AT_ONCE - 1)]
    for lane, bytes_ in enumerate(_transposed([*planes, last.load(64, 4)], 1, _MASKS)):
        bytes_.store(target + _AT_ONCE * _PIECE * lane)


@instructions
def _turn_bytes(columns: Value, target: Value) -> None:
    """Turn eight columns of every eighth lane into a piece of each lane."""
    vectors = [(columns + _PIECE * column).load(64, 4) for column in range(_AT_ONCE)]
    for number, piece in enumerate(_transposed(vectors, 8, _BYTE_MASKS)):
        piece.store(target + _AT_ONCE * _OF_LANE * number)


def _put(parts: int, bits: int) -> Any:
    """Make what puts together eight coefficients, whose sign is the highest bit of their last byte."""

    @instructions
    def put(source: Value, target: Value) -> None:
        value, *higher = (
            (source + part * _PART).load(8, _AT_ONCE).resized(bits) << (bits - 8 * (parts - part))
            for part in range(parts)
        )
        for part in higher:
            value |= part
        sign = value >> (bits - 1)
        magnitude = (value + value).shifted_down(bits - 8 * parts + 1)
        ((magnitude ^ sign) - sign).store(target)

    return put


_put_bytes, _put_words, _put_double_words = (
    _put(1, _NARROW_BITS),
    _put(2, _NARROW_BITS),
    _put(4, _WIDE_BITS),
)


@jit("void(int64, int64, int64, int64)")
def _put_row(pieces: int, parts: int, columns: int, target: int) -> None:
    """Put together one row of a code-block."""
    whole = columns // _AT_ONCE * _AT_ONCE
    for at in range(0, whole, _AT_ONCE):
        source = pieces + _PIECE // _AT_ONCE * at
        if parts == 1:
            _put_bytes(source, target + 2 * at)
        elif parts == 2:
            _put_words(source, target + 2 * at)
        else:
            _put_double_words(source, target + 4 * at)
    for at in range(whole, columns):
        value, source = 0, pieces + _PIECE // _AT_ONCE * whole + at - whole
        for part in range(parts):
            value |= load_u8(source, part * _PART) << 8 * part
        sign = -(value >> (8 * parts - 1))
        magnitude = value & ((1 << 8 * parts - 1) - 1)
        if parts > 2:
            store_32(target, at, (magnitude ^ sign) - sign)
        else:
            store_16(target, at, (magnitude ^ sign) - sign)


@jit("void(int64, int64, int64, int64, int64[:, ::1], int64[::1], uint8[::1], int64, int64)")
def _collect(
    lanes: int,
    rows: int,
    columns: int,
    parts: int,
    blocks: Any,
    group: Any,
    room: Any,
    coefficients: int,
    size: int,
) -> None:
    """Put the coefficients in their places: four rows at a time become as many bytes as ``parts`` says."""
    pieces = address(room)
    turned = pieces + parts * _PART
    for top in range(0, rows, 4):
        for part in range(parts):
            plane = lanes + BITS + _AT_ONCE * part * PLANE
            last = lanes + NEGATIVE if part == parts - 1 else plane + (_AT_ONCE - 1) * PLANE
            for left in range(0, columns, _AT_ONCE):
                for column in range(_AT_ONCE):
                    words = 8 * (ORIGIN + (left + column) * COLUMN + top)
                    _turn_bits(plane + words, last + words, turned + _PIECE * column)
                for lane in range(_AT_ONCE):
                    target = pieces + _PART * part + _OF_LANE * lane + _PIECE // _AT_ONCE * left
                    _turn_bytes(turned + _AT_ONCE * _PIECE * lane, target)
        for lane in range(group.size):
            block = group[lane]
            for row in range(top, min(top + 4, blocks[block, ROWS])):
                start, width = blocks[block, START] + row * blocks[block, STRIDE], blocks[block, COLUMNS]
                if start >= 0 and start + width <= size:
                    source = pieces + _OF_LANE * lane + _AT_ONCE * (row - top)
                    _put_row(source, parts, width, coefficients + (4 if parts > 2 else 2) * start)


@jit("void(int64, int64, int64[::1], int64, int64)")
def _mark_lane(lanes: int, lane: int, block: Any, bit_planes: int, missing: int) -> None:
    """Say where a lane has coefficients."""
    bit = shift_up(1, lane)
    for row in range(block[ROWS]):
        store_64(lanes + IN_ROW, row, load_i64(lanes + IN_ROW, row) | bit)
    for column in range(block[COLUMNS]):
        store_64(lanes + IN_COLUMN, column, load_i64(lanes + IN_COLUMN, column) | bit)
    for coding_pass in range(missing, 3 * bit_planes - 2):
        store_64(lanes + LIVE, coding_pass, load_i64(lanes + LIVE, coding_pass) | bit)
    if block[ORIENTATION] == HL:
        store_64(lanes + IN_HL, 0, load_i64(lanes + IN_HL, 0) | bit)
    elif block[ORIENTATION] == HH:
        store_64(lanes + IN_HH, 0, load_i64(lanes + IN_HH, 0) | bit)


@jit(
    "void(Array(uint8, 1, 'C', readonly=True), int64[::1], int64[::1], int64[::1], int64[::1], int64[:, ::1],"
    " int64[::1], uint8[::1], uint8[::1], int64, int64, boolean)"
)
def _decode_blocks(
    data: Any,
    bit_planes: Any,
    missing: Any,
    starts: Any,
    lengths: Any,
    blocks: Any,
    group: Any,
    unstuffed: Any,
    memory: Any,
    coefficients: int,
    size: int,
    wide: bool,
) -> None:
    first = -address(memory) & (_ALIGNMENT - 1)
    lanes = address(memory) + first
    memory[first + IN_ROW : first + BITS] = 0
    rows, columns, most, end = 0, 0, 0, 0
    for lane in range(LANES):
        if lane < group.size:
            index = group[lane]
            ones = unstuff(data, starts[index], lengths[index], unstuffed, end)
            _mark_lane(lanes, lane, blocks[index], bit_planes[index], missing[index])
            rows, columns = max(rows, blocks[index, ROWS]), max(columns, blocks[index, COLUMNS])
            most = max(most, bit_planes[index])
        else:
            ones = unstuff(data, 0, 0, unstuffed, end)
        start_lane(lanes, lane, address(unstuffed) + end, address(unstuffed) + ones)
        end = ones + 8
    # A coefficient is collected with its sign, in whole bytes; one of 16 bits has at most 15 bit-planes.
    parts = _WIDE_BITS // 8 if wide else min((most + 8) // 8, _NARROW_BITS // 8)
    memory[first + BITS + most * PLANE : first + BITS + 8 * parts * PLANE] = 0
    fill(lanes)
    for bit_plane in range(most - 1, -1, -1):
        decode_bit_plane(lanes, bit_plane, rows, columns)
    room = np.empty(_ROOM, np.uint8)
    _collect(lanes, rows, columns, parts, blocks, group, room, coefficients, size)


def decode_blocks(
    data: NDArray[np.uint8],
    bit_planes: NDArray[np.int64],
    missing: NDArray[np.int64],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    blocks: NDArray[np.int64],
    group: NDArray[np.int64],
    unstuffed: NDArray[np.uint8],
    memory: NDArray[np.uint8],
    coefficients: NDArray[np.int16] | NDArray[np.int32],
) -> None:
    """Decode up to 64 code-blocks; the more alike they are, the fewer lanes are idle.

    Parameters
    ----------
    data
        The codestreams.
    bit_planes, missing, starts, lengths
        What `read_packets` found of each code-block.
    blocks
        The table of code-blocks.
    group
        Which code-blocks to decode.
    unstuffed
        Memory of `unstuffed_room`.
    memory
        MEMORY bytes.
    coefficients
        Receives the code-blocks; C-contiguous, of one dimension.
    """
    _decode_blocks(
        data,
        bit_planes,
        missing,
        starts,
        lengths,
        blocks,
        group,
        unstuffed,
        memory,
        coefficients.ctypes.data,
        coefficients.size,
        coefficients.itemsize == 4,
    )
