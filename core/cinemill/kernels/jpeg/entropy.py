"""Walks the entropy-coded data of a JPEG scan with DCT without computing anything from it, to find damage.

Blocks of the sequential processes (ITU-T T.81 Annex F) are walked by tables indexed by the next 12 bits, which tell
how many bits to skip and how many coefficients those hold: as many symbols at once as their codes fit into the
index. One table serves the start of a block, where a DC symbol stands, and one the rest. Scans of progressive frames
(Annex G) are walked symbol by symbol.

Before that, each restart interval is copied without the stuffed zeros and with `_SLACK` zeros behind it. No block
takes more than 63 symbols of 31 bits and 63 correction bits, and the position is checked between any two: no input
leads outside the arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import int64, types, uint8, uint16, void

from cinemill.kernels.jpeg.data import copy_unstuffed, stuffed_offset
from cinemill.kernels.machine.bits import (
    address,
    choose,
    load_i64,
    load_u16,
    load_word,
    shift_down,
    shift_up,
    store_64,
)
from cinemill.kernels.machine.jit import inlined, jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPLETE, NO_SUCH_CODE, PAST_BAND, RUN_TOO_LONG, DATA_END, DATA_LEFT, NO_RESTART = range(7)
"""How a scan ended."""

BLOCKS, DC_AGAIN, BAND, BAND_AGAIN = range(4)
"""Whole blocks or DC coefficients for the first time; their refinement; a band of AC coefficients; its refinement."""

INDEX_BITS = 12
_AT_ONCE = 3
_MOST_BITS = 18
"""What one look-up may skip: three of them stay within the 56 bits that a word holds at least."""
_ENDED = 64
_UNKNOWN = 255 << 8
_TABLE_BYTES = 2 << INDEX_BITS
_SLACK = 512

_BYTES = types.Array(uint8, 1, "C", readonly=True)
_MCU = types.Array(int64, 2, "C", readonly=True)
_SYMBOLS = types.Array(uint16, 2, "C", readonly=True)
_LOOKUP = types.Array(uint16, 3, "C", readonly=True)


@jit(int64(_BYTES, types.Array(types.boolean, 1, "C", readonly=True), uint16[::1]))
def fill_symbols(table: NDArray[np.uint8], known: NDArray[np.bool_], symbols: NDArray[np.uint16]) -> int:
    """Assign codes to the symbols of a Huffman table (T.81 Annex C).

    Parameters
    ----------
    table
        16 counts and the symbols, as they stand in a DHT segment.
    known
        (256,): which symbols have a meaning; the others get no code.
    symbols
        (65536,): destination, indexed by the next 16 bits: ``length of the code | symbol << 8``, or 0.

    Returns
    -------
    int
        0, or the length of which the table has too many codes.
    """
    symbols[:] = 0
    code, number = 0, 16
    for length in range(1, 17):
        unused = 16 - length
        for _ in range(table[length - 1]):
            if code >= 1 << length:
                return length
            symbol = np.int64(table[number])
            if known[symbol]:
                symbols[code << unused : (code + 1) << unused] = length | symbol << 8
            code += 1
            number += 1
        code <<= 1
    return 0


@jit(void(_SYMBOLS, int64, int64, uint16[:, ::1]))
def fill_lookup(symbols: NDArray[np.uint16], dc: int, ac: int, lookup: NDArray[np.uint16]) -> None:
    """Fill the tables for blocks with a DC and an AC table, given as rows of ``symbols``; `ac` is -1 if DC stands alone.

    Parameters
    ----------
    lookup
        (2, 4096): destination, for the start and for the rest of a block: ``bits | 64 if the block ended |
        coefficients << 8``; 255 coefficients where the next code does not fit into the index.
    """
    for rest in range(2):
        for index in range(1 << INDEX_BITS):
            bits, coefficients, ended = 0, 0, 0
            row = ac if rest else dc
            while row >= 0 and bits < INDEX_BITS and not ended:
                following = index << bits & ((1 << INDEX_BITS) - 1)
                entry = int(symbols[row, following << (16 - INDEX_BITS)])
                length, symbol = entry & 255, entry >> 8
                run = symbol >> 4
                if length == 0 or bits + length > INDEX_BITS or bits + length + (symbol & 15) > _MOST_BITS:
                    break
                if row == ac and symbol == 0:
                    ended = _ENDED
                elif coefficients + run + 1 > 63:
                    break
                else:
                    coefficients += run + 1
                    ended = _ENDED if ac < 0 else 0
                bits += length + (symbol & 15)
                row = ac
            lookup[rest, index] = bits | ended | coefficients << 8 if bits else _UNKNOWN


@inlined
def _word(data: int, bit: int) -> int:
    """Load the next 57 bits or more."""
    return shift_up(load_word(data + (bit >> 3)), bit & 7)


@jit(types.UniTuple(int64, 3)(int64, int64, int64, _MCU, _LOOKUP, _SYMBOLS))
def _walk_blocks(
    data: int,
    end: int,
    blocks: int,
    mcu: NDArray[np.int64],
    lookup: NDArray[np.uint16],
    symbols: NDArray[np.uint16],
) -> tuple[int, int, int]:
    """Walk whole blocks (F.2.2), or DC coefficients alone (G.1.2.1); no branch depends on where a block ends.

    Returns
    -------
    tuple[int, int, int]
        How that ended, at which bit, and how many blocks were left.
    """
    count = mcu.shape[0]
    first = address(lookup)
    cycle = np.empty((count, 2), np.int64)
    steps = address(cycle)
    for number in range(count):
        following = number + 1 if number + 1 < count else 0
        cycle[number, 0] = first + mcu[following, 0] * 2 * _TABLE_BYTES
        cycle[number, 1] = steps + 16 * following
    k, left = 0, blocks
    step, start = steps, first + mcu[0, 0] * 2 * _TABLE_BYTES
    table = start
    word, valid, source = _word(data, 0), 56, data + 7
    following = load_word(source)
    while left > 0:
        word |= shift_down(following, valid)
        source += (63 - valid) >> 3
        valid |= 56
        following = load_word(source)
        bit = 8 * (source - data) - valid
        if bit > end:
            return DATA_END, bit, left
        if left >= _AT_ONCE:
            sums = 0
            for _ in range(_AT_ONCE):
                entry = load_u16(table, shift_down(word, 64 - INDEX_BITS))
                reached = k + (entry >> 8)
                if reached > 63:
                    break
                word = shift_up(word, entry)
                sums += entry
                ended = entry & _ENDED
                next_start = load_i64(step, 0)
                table = choose(ended, next_start, start + _TABLE_BYTES)
                start = choose(ended, next_start, start)
                step = choose(ended, load_i64(step, 1), step)
                k = choose(ended, 0, reached)
            valid -= sums & 63
            left -= sums >> 6 & 3
            if reached <= 63:
                continue
            bit += sums & 63
        number = (step - steps) >> 4
        row = mcu[number, 2] if k else mcu[number, 1]
        symbol = int(symbols[row, shift_down(_word(data, bit), 48)])
        if symbol == 0:
            return NO_SUCH_CODE, bit, left
        bit += (symbol & 255) + (symbol >> 8 & 15)
        if symbol >> 8 or k == 0:
            k += 1 + (symbol >> 12)
        else:
            k = 64
        if k > 64:
            return PAST_BAND, bit, left
        if k == 64 or mcu[number, 2] < 0:
            k, left = 0, left - 1
            start, step = cycle[number, 0], cycle[number, 1]
        table = start + _TABLE_BYTES if k else start
        word, valid, source = _word(data, bit), 56 - (bit & 7), data + (bit >> 3) + 7
        following = load_word(source)
    bit = 8 * (source - data) - valid
    return (DATA_END if bit > end else COMPLETE), bit, 0


@jit(types.UniTuple(int64, 3)(int64, int64, int64, int64, int64, _SYMBOLS, int64[::1]))
def _walk_band(
    data: int,
    end: int,
    blocks: int,
    first: int,
    last: int,
    symbols: NDArray[np.uint16],
    nonzero: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Walk a band of AC coefficients (G.1.2.2), and note a bit in ``nonzero`` for each one found; as `_walk_blocks`."""
    bit, run = 0, 0
    for block in range(blocks):
        if bit > end:
            return DATA_END, bit, blocks - block
        if run:
            run -= 1
            continue
        k = first
        while k <= last:
            word = _word(data, bit)
            symbol = int(symbols[0, shift_down(word, 48)])
            length, zeros, size = symbol & 255, symbol >> 12, symbol >> 8 & 15
            if length == 0:
                return NO_SUCH_CODE, bit, blocks - block
            bit += length
            if size == 0 and zeros < 15:
                run = (1 << zeros) - 1 + shift_down(shift_down(shift_up(word, length), 1), 63 - zeros)
                bit += zeros
                break
            k += zeros
            if k > last:
                return PAST_BAND, bit, blocks - block
            if size:
                nonzero[block] |= 1 << k
            bit += size
            k += 1
    if bit > end:
        return DATA_END, bit, 0
    return (RUN_TOO_LONG if run else COMPLETE), bit, 0


@jit(types.UniTuple(int64, 3)(int64, int64, int64, int64, int64, _SYMBOLS, int64[::1]))
def _walk_band_again(
    data: int,
    end: int,
    blocks: int,
    first: int,
    last: int,
    symbols: NDArray[np.uint16],
    nonzero: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Walk the refinement of a band (G.1.2.3): each coefficient found before takes a correction bit; as `_walk_band`."""
    bit, run = 0, 0
    for block in range(blocks):
        if bit > end:
            return DATA_END, bit, blocks - block
        known = nonzero[block]
        k = first
        while k <= last and run == 0:
            word = _word(data, bit)
            symbol = int(symbols[0, shift_down(word, 48)])
            length, zeros, size = symbol & 255, symbol >> 12, symbol >> 8 & 15
            if length == 0:
                return NO_SUCH_CODE, bit, blocks - block
            bit += length + size
            if size == 0 and zeros < 15:
                run = (1 << zeros) + shift_down(shift_down(shift_up(word, length), 1), 63 - zeros)
                bit += zeros
                break
            while k <= last and (zeros or known >> k & 1):
                if known >> k & 1:
                    bit += 1
                else:
                    zeros -= 1
                k += 1
            if k > last:
                return PAST_BAND, bit, blocks - block
            if size:
                nonzero[block] |= 1 << k
            k += 1
        if run:
            run -= 1
            while k <= last and known >> k:
                bit += known >> k & 1
                k += 1
    if bit > end:
        return DATA_END, bit, 0
    return (RUN_TOO_LONG if run else COMPLETE), bit, 0


@jit(
    types.UniTuple(int64, 4)(
        _BYTES, int64, int64, int64, int64, int64, int64, _MCU, _LOOKUP, _SYMBOLS, int64[::1]
    )
)
def walk_scan(
    codestream: NDArray[np.uint8],
    start: int,
    process: int,
    mcus: int,
    interval: int,
    first: int,
    last: int,
    mcu: NDArray[np.int64],
    lookup: NDArray[np.uint16],
    symbols: NDArray[np.uint16],
    nonzero: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """Walk the entropy-coded data of one scan.

    Parameters
    ----------
    codestream, start
        The whole codestream, and where the scan's data begin.
    process
        `BLOCKS`, `DC_AGAIN`, `BAND` or `BAND_AGAIN`.
    mcus, interval
        MCUs of the scan, and of a restart interval.
    first, last
        The coefficients of a band.
    mcu
        (blocks of an MCU, 3): for each block its pair of ``lookup``, and its DC and AC row of ``symbols``.
    lookup, symbols
        (pairs, 2, 4096) and (tables, 65536): what `fill_lookup` and `fill_symbols` make. A band uses row 0.
    nonzero
        (blocks,): for each block of a band the coefficients that are not zero, one bit each; updated.

    Returns
    -------
    tuple[int, int, int, int]
        How the scan ended; the offset where; complete MCUs found; for `DATA_LEFT` the number of bytes left over.
    """
    source, end = address(codestream), codestream.size
    buffer = np.empty(end - start + _SLACK, np.uint8)
    data = address(buffer)
    position, restarts = start, 0
    for done in range(0, mcus, interval):
        interval_start = position
        position, size = copy_unstuffed(source, position, end, data)
        for offset in range(0, _SLACK, 8):
            store_64(data + size + offset, 0, 0)
        count = min(interval, mcus - done)
        if process == BLOCKS:
            outcome, bit, left = _walk_blocks(data, 8 * size, count * mcu.shape[0], mcu, lookup, symbols)
        elif process == DC_AGAIN:
            bit = count * mcu.shape[0]
            outcome, left = (DATA_END, max(bit - 8 * size, 0)) if bit > 8 * size else (COMPLETE, 0)
        elif process == BAND:
            outcome, bit, left = _walk_band(data, 8 * size, count, first, last, symbols, nonzero[done:])
        else:
            outcome, bit, left = _walk_band_again(data, 8 * size, count, first, last, symbols, nonzero[done:])
        used = (bit + 7) >> 3
        found = done + count - (left + mcu.shape[0] - 1) // mcu.shape[0]
        if outcome == DATA_END or (outcome in (NO_SUCH_CODE, PAST_BAND) and bit + 16 > 8 * size):
            return DATA_END, position, found, 0
        if outcome != COMPLETE:
            return outcome, stuffed_offset(source, interval_start, end, bit >> 3), found, 0
        for index in range(used, size):
            if buffer[index] != 0 and buffer[index] != 0xFF:
                return DATA_LEFT, position, found, size - used
        if done + count < mcus:
            while position + 1 < end and codestream[position + 1] == 0xFF:
                position += 1
            if position + 1 >= end or codestream[position + 1] != 0xD0 + restarts % 8:
                return NO_RESTART, position, found, 0
            position += 2
            restarts += 1
    return COMPLETE, position, mcus, 0
