"""Decodes the entropy-coded data of a sequential JPEG scan (ITU-T T.81 Annex F) that holds a whole frame, to planes of samples.

A code is looked up by the next 10 bits, a longer one by 16; blocks are transformed two by two, those of a DC coefficient alone
at once. What is damaged, or has coefficients that `dct` has no room for, is told from what is not, but not what is wrong.

Before that, each restart interval is copied without the stuffed zeros and with `SLACK` zeros behind it. No block takes more than
64 symbols of 27 bits, and the position is checked after each block: no input leads outside the arrays.
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
    load_i64,
    load_u8,
    load_u16,
    shift_down,
    shift_up,
    store_16,
    store_64,
)
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.types import int64, uint8, uint16, void

if TYPE_CHECKING:
    from numpy.typing import NDArray

INDEX_BITS = 10
"""So all tables of a scan stay in the processor's first cache."""
SLACK = 512
PLACES = 128
"""Coefficients of a block, and those that a wrong code, or the one for its end, would stand for."""
COMPONENT, DC, AC, START, ACROSS, DOWN, PITCH = range(7)
"""Columns of ``mcu``; see `decode_scan`."""
MEMORY = 2 * BLOCK + 64 + 4 * 8
"""Bytes that `decode_scan` needs besides the data: two blocks, the samples of one that is none, and predictions."""

_END = 63
"""In place of coefficients of zero: the block ends."""
_TABLE_BYTES = 2 << INDEX_BITS
_MOST = 1 << 13
"""`dct` has room for what is smaller."""

_BYTES = types.Array(uint8, 1, "C", readonly=True)
_TABLE = types.Array(int64, 2, "C", readonly=True)


@inlined
def _entry(code: int, dc: int) -> int:
    """Turn an entry of ``symbols`` into bits to skip, those of the value, and coefficients of zero before it; 0 stays."""
    length, size, zeros = code_length(code), code_size(code), code_zeros(code)
    if dc:
        zeros = 0
    elif code and code_symbol(code) == 0:
        zeros = _END
    return length + size | size << 6 | zeros << 10


@inlined
def _zeros(entry: int) -> int:
    return entry >> 10


@inlined
def _value(word: int, entry: int) -> int:
    """Return the value behind a code at the top of a word (F.2.2.1), without a branch."""
    size = entry >> 6 & 15
    word = shift_up(word, (entry & 63) - size)
    extra = shift_down(shift_down(word, 1), 63 - size)
    return extra + ((shift_up(-1, size) + 1) & ~(word >> 63))


@inlined
def _magnitude(value: int) -> int:
    """Return a number with the same highest bit as the magnitude, or one below."""
    return value ^ (value >> 63)


@inlined
def _skipped(reader: Reader, entry: int) -> Reader:
    return Reader(shift_up(reader.word, entry), reader.valid - (entry & 63), reader.source, reader.following)


@jit(void(SYMBOLS, int64, int64, uint16[::1]))
def fill_entries(symbols: NDArray[np.uint16], row: int, dc: int, entries: NDArray[np.uint16]) -> None:
    """Fill a table that is indexed by the next bits; 0 where there is no code, or a longer one.

    Parameters
    ----------
    symbols, row
        What `huffman.fill_symbols` made, and which row of it.
    dc
        Whether it is a DC table.
    entries
        (1024,): destination.
    """
    for index in range(1 << INDEX_BITS):
        code = load_u16(address(symbols), row << 16 | index << (16 - INDEX_BITS))
        entries[index] = _entry(code, dc) if code_length(code) <= INDEX_BITS else 0


@inlined
def _next_entry(word: int, table: int, row: int, symbols: int, dc: int) -> int:
    """Look up the code at the top of a word; 0 if there is no such code."""
    entry = load_u16(table, shift_down(word, 64 - INDEX_BITS))
    return entry or _entry(load_u16(symbols, row << 16 | shift_down(word, 48)), dc)


@jit(
    types.UniTuple(int64, 2)(
        _BYTES, int64, int64, int64, int64, _TABLE, SYMBOLS, SYMBOLS, _TABLE, _BYTES, uint8[::1], uint8[::1]
    )
)
def decode_scan(
    codestream: NDArray[np.uint8],
    start: int,
    across: int,
    mcus: int,
    interval: int,
    mcu: NDArray[np.int64],
    lookup: NDArray[np.uint16],
    symbols: NDArray[np.uint16],
    quantisation: NDArray[np.int64],
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
        (blocks of an MCU, 7): component, DC and AC row of ``lookup`` and ``symbols``, where in ``planes`` the block of the first
        MCU begins, how far from there are those of the next one to the right and below, and how long a row is.
    lookup, symbols
        (tables, 1024) and (tables, 65536): what `fill_entries` and `huffman.fill_symbols` make.
    quantisation
        (components, `PLACES`): factors in zigzag order; where no coefficient is, anything.
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
    pair = address(memory)
    nowhere, predictions, data = pair + 2 * BLOCK, pair + 2 * BLOCK + 64, pair + MEMORY
    clear_bytes(pair, 2 * BLOCK)
    block, waiting, waiting_pitch = pair, nowhere, 8
    position, restarts, seen = start, 0, 0
    done, row, column = 0, 0, 0
    while done < mcus:
        position, size = copy_unstuffed(source, position, end, data)
        clear_bytes(data + size, SLACK)
        clear_bytes(predictions, 32)
        reader = reader_at(data, 0)
        stop = min(done + interval, mcus)
        while done < stop:
            for number in range(mcu.shape[0]):
                component, dc, ac = mcu[number, COMPONENT], mcu[number, DC], mcu[number, AC]
                target, pitch = address(planes) + mcu[number, START], mcu[number, PITCH]
                target += column * mcu[number, ACROSS] + row * mcu[number, DOWN]
                factors = address(quantisation) + 8 * PLACES * component
                reader = refilled(reader)
                entry = _next_entry(reader.word, address(lookup) + _TABLE_BYTES * dc, dc, address(symbols), 1)
                if entry == 0:
                    return 0, position
                prediction = load_i64(predictions, component) + _value(reader.word, entry)
                store_64(predictions, component, prediction)
                first = prediction * load_i64(factors, 0)
                seen |= _magnitude(first)
                reader = _skipped(reader, entry)
                k, table = 1, address(lookup) + _TABLE_BYTES * ac
                while k < 64:
                    reader = refilled(reader)
                    entry = _next_entry(reader.word, table, ac, address(symbols), 0)
                    if entry == 0:
                        return 0, position
                    k += _zeros(entry)
                    value = _value(reader.word, entry) * load_i64(factors, k)
                    seen |= _magnitude(value)
                    store_16(block, load_u8(address(zigzag), k), value)
                    reader = _skipped(reader, entry)
                    k += 1
                ended = _zeros(entry) == _END
                if (k > 64 and not ended) or position_of(reader, data) > 8 * size:
                    return 0, position
                if ended and k == 1 + _END + 1:
                    fill_block(first, target, pitch)
                    continue
                store_16(block, 0, first)
                if block == pair:
                    block, waiting, waiting_pitch = pair + BLOCK, target, pitch
                else:
                    inverse_dct(pair, waiting, waiting_pitch, target, pitch)
                    block = pair
            done, column = done + 1, column + 1
            if column == across:
                row, column = row + 1, 0
        for index in range((position_of(reader, data) + 7) >> 3, size):
            if load_u8(data, index) != 0 and load_u8(data, index) != 0xFF:
                return 0, position
        if done < mcus:
            while position + 1 < end and codestream[position + 1] == 0xFF:
                position += 1
            if position + 1 >= end or codestream[position + 1] != 0xD0 + restarts % 8:
                return 0, position
            position += 2
            restarts += 1
    if block != pair:
        inverse_dct(pair, waiting, waiting_pitch, nowhere, 8)
    return (1 if seen < _MOST else 0), position
