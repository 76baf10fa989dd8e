"""Decodes the entropy-coded data of a sequential JPEG scan (ITU-T T.81 Annex F) that holds a whole frame, to planes of samples.

The next 10 bits tell whether a block has a DC coefficient alone, which is filled at once, or else one or two of its AC coefficients
with their values; what does not fit into them is looked up by itself. The other blocks wait for some more, and are transformed two
by two: no branch depends on which. What is damaged, or has coefficients that `dct` has no room for, is told from what is not, but
not what is wrong.

Before that, each restart interval is copied without the stuffed zeros and with `SLACK` zeros behind it. No block takes more than
64 symbols of 31 bits, and the position is checked after each block: no input leads outside the arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.kernels.jpeg.data import Reader, copy_unstuffed, position_of, reader_at, refilled
from cinemill.kernels.jpeg.dct import BLOCK, fill_block, inverse_dct
from cinemill.kernels.jpeg.huffman import SYMBOLS, code_length, code_size, code_symbol, code_zeros
from cinemill.kernels.machine import types
from cinemill.kernels.machine.bits import (
    address,
    clear_bytes,
    load_i32,
    load_i64,
    load_u8,
    load_u16,
    shift_down,
    shift_up,
    store_16,
    store_64,
)
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.types import int32, int64, uint8, uint16, void

if TYPE_CHECKING:
    from numpy.typing import NDArray

INDEX_BITS = 10
"""So all tables of a scan stay in the processor's first cache."""
SLACK = 512
PLACES = 128
"""Coefficients of a block, and those that a wrong code, or the one for its end, would stand for."""
COMPONENT, DC, AC, PAIR, START, ACROSS, DOWN, PITCH = range(8)
"""Columns of ``mcu``; see `decode_scan`."""

_AT_ONCE = 5
"""Times of 10 bits that are there once a word is filled."""
_NOWHERE, _ENDED = 64, 128
"""In an entry of ``lookup``: the place of a coefficient that is none; added to those of a block that has ended."""
_UNKNOWN = _NOWHERE << 8 | _NOWHERE << 16 | 64 << 24
_ROOM = 1 << 13
"""`dct` has room for what is smaller, on both sides of 0."""

_MOST_BLOCKS, _WAITING = 6, 48
"""Blocks of an MCU, and of those that wait to be transformed, at most."""
_PLACE, _RIGHT, _BELOW, _APART, _FACTORS, _PREDICTION, _DC, _AC, _FLAT = range(9)
"""What is kept of each block of an MCU: the address of the next one's samples, and what is added to that after an MCU and after
a row of them; how far its rows are apart; its component's factors and prediction; its tables."""
_KEPT, _TARGET = 8 * 9, 8 * 3
_TARGETS = BLOCK * (_WAITING + 2)
_STEPS = _TARGETS + _TARGET * (_WAITING + 2)
_PREDICTIONS = _STEPS + _KEPT * _MOST_BLOCKS
_OUTSIDE = _PREDICTIONS + 8 * 4
MEMORY = _OUTSIDE + 64
"""Bytes that `decode_scan` needs besides the data: coefficients, where they go, what is kept, and the samples of no block."""

_BYTES = types.Array(uint8, 1, "C", readonly=True)
_TABLE = types.Array(int64, 2, "C", readonly=True)
_FLATS = types.Array(int32, 2, "C", readonly=True)


@inlined
def _value_behind(word: int, code: int) -> int:
    """Return the value behind a code at the top of a word (F.2.2.1), without a branch."""
    size = code_size(code)
    word = shift_up(word, code_length(code))
    extra = shift_down(shift_down(word, 1), 63 - size)
    return extra + ((shift_up(-1, size) + 1) & ~(word >> 63))


@inlined
def _bits(code: int) -> int:
    """Bits of a code and the value behind it."""
    return code_length(code) + code_size(code)


@inlined
def _skipped(reader: Reader, bits: int) -> Reader:
    return Reader(shift_up(reader.word, bits), reader.valid - (bits & 63), reader.source, reader.following)


@inlined
def _next_code(word: int, codes: int, symbols: int) -> int:
    """Look up the code at the top of a word; 0 if there is no such code."""
    return load_u16(codes, shift_down(word, 64 - INDEX_BITS)) or load_u16(symbols, shift_down(word, 48))


@inlined
def _note_target(target: int, place: int, apart: int, factors: int) -> int:
    """Note where the samples of a block go, and its factors; return where the next one's are noted."""
    store_64(target, 0, place)
    store_64(target, 1, apart)
    store_64(target, 2, factors)
    return target + _TARGET


@inlined
def _transformed(pair: int, target: int) -> int:
    """Transform two blocks, to where it is noted; return what is beyond the room for it, shifted up."""
    first = load_i64(target, 0), load_i64(target, 1), load_i64(target, 2)
    second = load_i64(target, 3), load_i64(target, 4), load_i64(target, 5)
    return inverse_dct(pair, *first, *second) * 2 * _ROOM


@jit(void(SYMBOLS, int64, uint16[::1], int64[::1]))
def fill_entries(
    symbols: NDArray[np.uint16], row: int, codes: NDArray[np.uint16], entries: NDArray[np.int64]
) -> None:
    """Fill two tables that are indexed by the next bits.

    Parameters
    ----------
    symbols, row
        What `huffman.fill_symbols` made, and which row of it.
    codes
        (1024,): destination; as ``symbols``, 0 for longer codes, too.
    entries
        (1024,): destination, for the AC coefficients that fit into the index, up to two: a byte with the bits they take, one
        with the place of each from the current one on, one with how far that goes on, and 16 bits with the value of each.
        `_NOWHERE` is the place of what does not fit, `_ENDED` is added where the block ends then, `_UNKNOWN` is nothing.
    """
    for index in range(1 << INDEX_BITS):
        bits, reached, entry = 0, 0, 0
        for number in range(2):
            word = index << (64 - INDEX_BITS + bits)
            code = load_u16(address(symbols), row << 16 | shift_down(word, 48))
            if number == 0:
                codes[index] = code if code_length(code) <= INDEX_BITS else 0
            length = _bits(code)
            place, value = _NOWHERE, 0
            if code and bits + length <= INDEX_BITS and reached < _ENDED:
                bits += length
                if code_symbol(code) == 0:
                    reached += _ENDED
                else:
                    place = reached + code_zeros(code)
                    value = _value_behind(word, code)
                    reached = place + 1
            entry |= place << (8 + 8 * number) | (value & 0xFFFF) << (32 + 16 * number)
        entries[index] = entry | reached << 24 | bits if bits else _UNKNOWN


@jit(void(SYMBOLS, int64, int64, int32[::1]))
def fill_flat(symbols: NDArray[np.uint16], dc: int, ac: int, flat: NDArray[np.int32]) -> None:
    """Fill a table of blocks that have a DC coefficient alone, indexed by the next bits.

    Parameters
    ----------
    symbols, dc, ac
        What `huffman.fill_symbols` made, and which rows of it.
    flat
        (1024,): destination: ``bits | difference << 16``, 0 where the index is no whole block of this kind.
    """
    for index in range(1 << INDEX_BITS):
        word = index << (64 - INDEX_BITS)
        code = load_u16(address(symbols), dc << 16 | shift_down(word, 48))
        end = load_u16(address(symbols), ac << 16 | shift_down(shift_up(word, _bits(code)), 48))
        bits = _bits(code) + code_length(end)
        whole = code and end and code_symbol(end) == 0 and bits <= INDEX_BITS
        flat[index] = bits | _value_behind(word, code) << 16 if whole else 0


@jit(
    types.UniTuple(int64, 2)(
        _BYTES,
        int64,
        int64,
        int64,
        int64,
        _TABLE,
        _FLATS,
        SYMBOLS,
        _TABLE,
        SYMBOLS,
        SYMBOLS,
        _BYTES,
        uint8[::1],
        uint8[::1],
    )
)
def decode_scan(
    codestream: NDArray[np.uint8],
    start: int,
    across: int,
    mcus: int,
    interval: int,
    mcu: NDArray[np.int64],
    flat: NDArray[np.int32],
    codes: NDArray[np.uint16],
    lookup: NDArray[np.int64],
    symbols: NDArray[np.uint16],
    quantisation: NDArray[np.uint16],
    zigzag: NDArray[np.uint8],
    memory: NDArray[np.uint8],
    planes: NDArray[np.uint8],
) -> tuple[int, int]:
    """Decode a scan.

    Parameters
    ----------
    codestream, start
        The whole codestream, and where the scan's data begin.
    across, mcus, interval
        MCUs of a row, of the scan, and of a restart interval.
    mcu
        (blocks of an MCU, 8): component, DC and AC row of the tables, row of ``flat``, where in ``planes`` the block of the first
        MCU begins, how far from there are those of the next one to the right and below, and how long a row is.
    flat
        (pairs, 1024): what `fill_flat` makes.
    codes, lookup, symbols
        (tables, 1024), again, and (tables, 65536): what `fill_entries` and `huffman.fill_symbols` make.
    quantisation
        (components, 64): factors below 2^13, by row and column.
    zigzag
        (`PLACES`,): the place in a block of each coefficient; 64 where there is none.
    memory
        `MEMORY` bytes, `SLACK`, and as many as the data have, and 8.
    planes
        Destination.

    Returns
    -------
    tuple[int, int]
        Whether the scan is complete and sound, and the position behind it.
    """
    source, end = address(codestream), codestream.size
    blocks, targets = address(memory), address(memory) + _TARGETS
    steps, predictions = address(memory) + _STEPS, address(memory) + _PREDICTIONS
    outside, data = address(memory) + _OUTSIDE, address(memory) + MEMORY
    clear_bytes(blocks, _TARGETS)
    behind = steps
    for number in range(mcu.shape[0]):
        store_64(behind, _PLACE, address(planes) + mcu[number, START])
        store_64(behind, _RIGHT, mcu[number, ACROSS])
        store_64(behind, _BELOW, mcu[number, DOWN] - across * mcu[number, ACROSS])
        store_64(behind, _APART, mcu[number, PITCH])
        store_64(behind, _FACTORS, address(quantisation) + 128 * mcu[number, COMPONENT])
        store_64(behind, _PREDICTION, predictions + 8 * mcu[number, COMPONENT])
        store_64(behind, _DC, mcu[number, DC])
        store_64(behind, _AC, mcu[number, AC])
        store_64(behind, _FLAT, address(flat) + (mcu[number, PAIR] << 12))
        behind += _KEPT
    position, restarts, seen = start, 0, 0
    done, column = 0, 0
    while done < mcus:
        position, size = copy_unstuffed(source, position, end, data)
        clear_bytes(data + size, SLACK)
        clear_bytes(predictions, 32)
        reader = reader_at(data, 0)
        stop = min(done + interval, mcus)
        while done < stop:
            count = min(stop - done, across - column, _WAITING // mcu.shape[0])
            block, target, step = blocks, targets, steps
            for _ in range(count * mcu.shape[0]):
                place = load_i64(step, _PLACE)
                store_64(step, _PLACE, place + load_i64(step, _RIGHT))
                factors = load_i64(step, _FACTORS)
                reader = refilled(reader)
                entry = load_i32(load_i64(step, _FLAT), shift_down(reader.word, 64 - INDEX_BITS))
                difference, used, reached = entry >> 16, entry, 1 + _ENDED
                if entry == 0:
                    row = load_i64(step, _DC)
                    code = _next_code(
                        reader.word, address(codes) + (row << 11), address(symbols) + (row << 17)
                    )
                    if code == 0:
                        return 0, position
                    difference, used, reached = _value_behind(reader.word, code), _bits(code), 1
                reader = _skipped(reader, used)
                prediction = load_i64(load_i64(step, _PREDICTION), 0) + difference
                store_64(load_i64(step, _PREDICTION), 0, prediction)
                first = prediction * load_u16(factors, 0)
                seen |= first + _ROOM
                row, k = load_i64(step, _AC), 1
                while reached < 64:
                    reader = refilled(reader)
                    word, used = reader.word, 0
                    for _ in range(_AT_ONCE):
                        entry = load_i64(address(lookup) + (row << 13), shift_down(word, 64 - INDEX_BITS))
                        store_16(block, load_u8(address(zigzag), k + (entry >> 8 & 255)), entry >> 32)
                        store_16(block, load_u8(address(zigzag), k + (entry >> 16 & 255)), entry >> 48)
                        reached = k + (entry >> 24 & 255)
                        if reached > 63:
                            break
                        word = shift_up(word, entry)
                        used += entry
                        k = reached
                    reader = Reader(word, reader.valid - (used & 63), reader.source, reader.following)
                    if reached >> 6 == 2:
                        reader = _skipped(reader, entry)
                    elif reached > 63:
                        reader = refilled(reader)
                        code = _next_code(
                            reader.word, address(codes) + (row << 11), address(symbols) + (row << 17)
                        )
                        k += code_zeros(code)
                        if code == 0 or k > 63:
                            return 0, position
                        if code_symbol(code) == 0:
                            reached = k + _ENDED
                        else:
                            store_16(block, load_u8(address(zigzag), k), _value_behind(reader.word, code))
                            k += 1
                            reached = k
                        reader = _skipped(reader, _bits(code))
                if reader.source > data + size + 16:
                    return 0, position
                if reached == 1 + _ENDED:
                    fill_block(first, place, load_i64(step, _APART))
                else:
                    store_16(block, 0, prediction)
                    target = _note_target(target, place, load_i64(step, _APART), factors)
                    block += BLOCK
                step = step + _KEPT if step + _KEPT < behind else steps
            store_16(block, 0, 0)
            _note_target(target, outside, 8, address(quantisation))
            target = targets
            for pair in range(blocks, block, 2 * BLOCK):
                seen |= _transformed(pair, target)
                target += 2 * _TARGET
            done, column = done + count, column + count
            if column == across:
                column = 0
                for step in range(steps, behind, _KEPT):
                    store_64(step, _PLACE, load_i64(step, _PLACE) + load_i64(step, _BELOW))
        used = position_of(reader, data)
        if used > 8 * size:
            return 0, position
        for index in range((used + 7) >> 3, size):
            if load_u8(data, index) != 0 and load_u8(data, index) != 0xFF:
                return 0, position
        if done < mcus:
            while position + 1 < end and codestream[position + 1] == 0xFF:
                position += 1
            if position + 1 >= end or codestream[position + 1] != 0xD0 + restarts % 8:
                return 0, position
            position += 2
            restarts += 1
    return (1 if seen & -2 * _ROOM == 0 else 0), position
