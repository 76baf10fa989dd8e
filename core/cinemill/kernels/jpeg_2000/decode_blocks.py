"""Bytes to code-blocks (T.800 Annexes C and D), up to 64 at once, from whichever component or frame.

Bounds: a lane's code-block has at most BLOCK rows and columns and MAX_BIT_PLANES bit-planes, for which there is memory;
its coefficients are written row by row where the whole row is in the array.
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
    MAX_BIT_PLANES,
    NEGATIVE,
    ORIGIN,
    PLANE,
    decode_bit_plane,
)
from cinemill.kernels.jpeg_2000.tables import COLUMNS, HH, HL, ORIENTATION, ROWS, START, STRIDE
from cinemill.kernels.machine.bits import address, load_i64, load_u8, shift_up, store_16, store_32, store_64
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import jit
from cinemill.kernels.machine.x86 import mask_of, row_interleaver

_interleave = row_interleaver(LANES)

_ALIGNMENT = 64
"""Bytes: vectors that cross the lines of the cache take 10 % longer."""
MEMORY = BITS + MAX_BIT_PLANES * PLANE + _ALIGNMENT
"""Bytes of memory for all lanes, of which only what the bit-planes need is used."""


SQUARE = LANES * LANES


def unstuffed_room(lengths: Any) -> int:
    """Bytes for code-blocks of these lengths as `unstuff` leaves them."""
    return int(lengths.sum()) + 9 * LANES


@instructions
def _eight_planes(words: Value, target: Value) -> None:
    """Turn the words of a coefficient in eight planes into a byte a lane, the first plane lowest."""
    magnitude = words.load(8, LANES).like(0)
    for plane in range(8):
        word = (words + plane * PLANE).load(64)
        magnitude |= mask_of(word, LANES).choose(magnitude.like(1 << plane), 0)
    magnitude.store(target)


@jit("void(int64, int64)")
def _transpose(square: int, spare: int) -> None:
    """Transpose LANES x LANES bytes in place; the spare memory is as large."""
    for _ in range(3):
        for row in range(LANES // 2):
            _interleave(square + LANES * row, square + LANES * (row + LANES // 2), spare + 2 * LANES * row)
        for row in range(LANES // 2):
            _interleave(spare + LANES * row, spare + LANES * (row + LANES // 2), square + 2 * LANES * row)


_AT_ONCE = 16


def _signed(magnitude: Value, negative: Value) -> Value:
    sign = -(negative.load(8, _AT_ONCE).resized(magnitude.bits) & 1)
    return (magnitude ^ sign) - sign


@instructions
def _put_words(low: Value, middle: Value, negative: Value, target: Value) -> None:
    """Put together coefficients of 16 bits."""
    bytes_ = [part.load(8, _AT_ONCE).resized(16) for part in (low, middle)]
    _signed(bytes_[0] | (bytes_[1] << 8), negative).store(target)


@instructions
def _put_double_words(low: Value, middle: Value, high: Value, negative: Value, target: Value) -> None:
    """Put together coefficients of 32 bits."""
    bytes_ = [part.load(8, _AT_ONCE).resized(32) for part in (low, middle, high)]
    _signed(bytes_[0] | (bytes_[1] << 8) | (bytes_[2] << 16), negative).store(target)


@jit("void(int64, int64, int64, int64, boolean)")
def _put_row(squares: int, lane: int, columns: int, target: int, wide: bool) -> None:
    """Put together one row of a code-block, of bytes that are in four squares."""
    low = squares + LANES * lane
    middle, high, negative = low + SQUARE, low + 2 * SQUARE, low + 3 * SQUARE
    whole = columns // _AT_ONCE * _AT_ONCE
    for at in range(0, whole, _AT_ONCE):
        if wide:
            _put_double_words(low + at, middle + at, high + at, negative + at, target + 4 * at)
        else:
            _put_words(low + at, middle + at, negative + at, target + 2 * at)
    for at in range(whole, columns):
        magnitude = load_u8(low, at) | load_u8(middle, at) << 8 | load_u8(high, at) << 16
        sign = -(load_u8(negative, at) & 1)
        if wide:
            store_32(target, at, (magnitude ^ sign) - sign)
        else:
            store_16(target, at, (magnitude ^ sign) - sign)


@jit("void(int64, int64, int64, int64, int64[:, ::1], int64[::1], uint8[::1], int64, int64, boolean)")
def _collect(
    lanes: int,
    rows: int,
    columns: int,
    bit_planes: int,
    blocks: Any,
    group: Any,
    room: Any,
    coefficients: int,
    size: int,
    wide: bool,
) -> None:
    """Put the coefficients in their places, row by row: magnitudes in up to three bytes, and signs."""
    squares = address(room)
    for row in range(rows):
        for part in range(4):
            if part < 3 and 8 * part >= bit_planes:
                continue
            plane = BITS + 8 * part * PLANE if part < 3 else NEGATIVE
            square = squares + SQUARE * part
            for column in range(columns):
                words = lanes + plane + 8 * (ORIGIN + column * COLUMN + row)
                _eight_planes(words, square + LANES * column)
            _transpose(square, squares + 4 * SQUARE)
        for lane in range(group.size):
            block = group[lane]
            start, width = blocks[block, START] + row * blocks[block, STRIDE], blocks[block, COLUMNS]
            if row < blocks[block, ROWS] and start >= 0 and start + width <= size:
                _put_row(squares, lane, width, coefficients + (4 if wide else 2) * start, wide)


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
    # Bit-planes are collected eight by eight.
    memory[first + BITS + most * PLANE : first + BITS + (most + 7) // 8 * 8 * PLANE] = 0
    fill(lanes)
    for bit_plane in range(most - 1, -1, -1):
        decode_bit_plane(lanes, bit_plane, rows, columns)
    room = np.zeros(5 * SQUARE, np.uint8)
    _collect(lanes, rows, columns, most, blocks, group, room, coefficients, size, wide)


def compiled() -> bool:
    """Whether it needs no compiler to decode code-blocks."""
    kernel: Any = _decode_blocks
    return bool(kernel.is_made())


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
