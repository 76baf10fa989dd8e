"""Bytes to code-blocks (T.800 Annexes C and D), up to 64 at once, from whichever component or frame.

Bounds: a lane's code-block has at most BLOCK rows and columns and MAX_BIT_PLANES bit-planes, for which there is memory;
its coefficients are written to a checked array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

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
from cinemill.kernels.machine.bits import address, load_i64, shift_up, store_64
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import jit
from cinemill.kernels.machine.x86 import mask_of, row_interleaver

_interleave = row_interleaver(LANES)

_ALIGNMENT = 64
"""Bytes: vectors that cross the lines of the cache take 10 % longer."""
MEMORY = BITS + MAX_BIT_PLANES * PLANE + _ALIGNMENT
"""Bytes of memory for all lanes, of which only what the bit-planes need is used."""


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


_KINDS = "int16", "int32"


@jit([f"void(int64, int64, int64, int64, int64[:, ::1], int64[::1], {kind}[::1])" for kind in _KINDS])
def _collect(
    lanes: int, rows: int, columns: int, bit_planes: int, blocks: Any, group: Any, coefficients: Any
) -> None:
    """Put the coefficients in their places, row by row: magnitudes in up to three bytes, and signs."""
    squares = np.empty((5, LANES, LANES), np.uint8)
    parts = (bit_planes + 7) // 8
    for row in range(rows):
        for part in range(parts + 1):
            plane = BITS + 8 * part * PLANE if part < parts else NEGATIVE
            for column in range(columns):
                words = lanes + plane + 8 * (ORIGIN + column * COLUMN + row)
                _eight_planes(words, address(squares[part, column]))
            _transpose(address(squares[part]), address(squares[4]))
        for lane in range(group.size):
            block = blocks[group[lane]]
            if row < block[ROWS]:
                start = block[START] + row * block[STRIDE]
                target = coefficients[start : start + block[COLUMNS]]
                low, middle, high, negative = (
                    squares[0, lane],
                    squares[1, lane],
                    squares[2, lane],
                    squares[parts, lane],
                )
                for column in range(target.size):
                    magnitude = np.int32(low[column])
                    if parts > 1:
                        magnitude |= np.int32(middle[column]) << np.int32(8)
                    if parts > 2:
                        magnitude |= np.int32(high[column]) << np.int32(16)
                    sign = -np.int32(negative[column] & np.uint8(1))
                    target[column] = (magnitude ^ sign) - sign


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
    [
        "void(Array(uint8, 1, 'C', readonly=True), int64[::1], int64[::1], int64[::1], int64[::1], int64[:, ::1],"
        f" int64[::1], uint8[::1], uint8[::1], {kind}[::1])"
        for kind in _KINDS
    ]
)
def decode_blocks(
    data: Any,
    bit_planes: Any,
    missing: Any,
    starts: Any,
    lengths: Any,
    blocks: Any,
    group: Any,
    unstuffed: Any,
    memory: Any,
    coefficients: Any,
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
        Receives the code-blocks.
    """
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
    _collect(lanes, rows, columns, most, blocks, group, coefficients)
