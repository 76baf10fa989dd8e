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

from cinemill.kernels.jpeg.data import (
    Reader,
    copy_unstuffed,
    position_of,
    reader_at,
    refilled,
    stuffed_offset,
    word_at,
)
from cinemill.kernels.jpeg.huffman import (
    BAND,
    BLOCKS,
    DC_AGAIN,
    SYMBOLS,
    code_length,
    code_size,
    code_symbol,
    code_zeros,
)
from cinemill.kernels.jpeg.lookup import ENDED, INDEX_BITS, entry_bits, entry_blocks, entry_coefficients
from cinemill.kernels.machine import types
from cinemill.kernels.machine.bits import (
    address,
    choose,
    load_i64,
    load_u16,
    shift_down,
    shift_up,
    store_64,
)
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.types import int64, uint8, uint16

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPLETE, NO_SUCH_CODE, PAST_BAND, RUN_TOO_LONG, DATA_END, DATA_LEFT, NO_RESTART = range(7)
"""How a scan ended."""

_AT_ONCE = 3
PAIR, DC, AC = range(3)
"""Columns of ``mcu``; see `walk_scan`."""
_TABLE_BYTES = 2 << INDEX_BITS
_SLACK = 512

_BYTES = types.Array(uint8, 1, "C", readonly=True)
_MCU = types.Array(int64, 2, "C", readonly=True)
_LOOKUP = types.Array(uint16, 3, "C", readonly=True)


@inlined
def _next_start(step: int) -> int:
    """Address of the table for the start of the block after this one; a step is the address of a row of ``cycle``."""
    return load_i64(step, 0)


@inlined
def _next_step(step: int) -> int:
    return load_i64(step, 1)


@inlined
def _fill_cycle(cycle: NDArray[np.int64], mcu: NDArray[np.int64], lookup: NDArray[np.uint16]) -> int:
    """Write what follows each block of an MCU, for `_next_start` and `_next_step`; returns the first block's table."""
    count = mcu.shape[0]
    for number in range(count):
        following = number + 1 if number + 1 < count else 0
        cycle[number, 0] = address(lookup) + mcu[following, PAIR] * 2 * _TABLE_BYTES
        cycle[number, 1] = address(cycle) + 16 * following
    return cycle[count - 1, 0]


@inlined
def _walk_symbol(
    data: int, bit: int, k: int, block: NDArray[np.int64], symbols: NDArray[np.uint16]
) -> tuple[int, int, int]:
    """Walk one symbol of a block that is at coefficient ``k``, where no table has it.

    Returns
    -------
    tuple[int, int, int]
        `COMPLETE` or what is wrong, the bit after it, and the next coefficient: 64 if the block has ended.
    """
    code = int(symbols[block[AC] if k else block[DC], shift_down(word_at(data, bit), 48)])
    if code == 0:
        return NO_SUCH_CODE, bit, k
    bit += code_length(code) + code_size(code)
    ended = k > 0 and code_symbol(code) == 0
    k = 64 if ended else k + 1 + code_zeros(code)
    if k > 64:
        return PAST_BAND, bit, k
    return COMPLETE, bit, k if block[AC] >= 0 else 64


@jit(types.UniTuple(int64, 3)(int64, int64, int64, _MCU, _LOOKUP, SYMBOLS, int64[:, ::1]))
def _walk_blocks(
    data: int,
    end: int,
    blocks: int,
    mcu: NDArray[np.int64],
    lookup: NDArray[np.uint16],
    symbols: NDArray[np.uint16],
    cycle: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Walk whole blocks (F.2.2), or DC coefficients alone (G.1.2.1); no branch depends on where a block ends.

    ``cycle``, (blocks of an MCU, 2), is the caller's, who keeps it: here, it would be freed once its address is known.

    Returns
    -------
    tuple[int, int, int]
        How that ended, at which bit, and how many blocks were left.
    """
    start = _fill_cycle(cycle, mcu, lookup)
    steps = address(cycle)
    k, left, step, table = 0, blocks, steps, start
    reader = reader_at(data, 0)
    while left > 0:
        reader = refilled(reader)
        bit = position_of(reader, data)
        if bit > end:
            return DATA_END, bit, left
        if left >= _AT_ONCE:
            word, sums = reader.word, 0
            for _ in range(_AT_ONCE):
                entry = load_u16(table, shift_down(word, 64 - INDEX_BITS))
                reached = k + entry_coefficients(entry)
                if reached > 63:
                    break
                word = shift_up(word, entry)
                sums += entry
                ended = entry & ENDED
                next_start = _next_start(step)
                table = choose(ended, next_start, start + _TABLE_BYTES)
                start = choose(ended, next_start, start)
                step = choose(ended, _next_step(step), step)
                k = choose(ended, 0, reached)
            left -= entry_blocks(sums)
            if reached <= 63:
                reader = Reader(word, reader.valid - entry_bits(sums), reader.source, reader.following)
                continue
            bit += entry_bits(sums)
        outcome, bit, k = _walk_symbol(data, bit, k, mcu[(step - steps) >> 4], symbols)
        if outcome != COMPLETE:
            return outcome, bit, left
        if k == 64:
            k, left = 0, left - 1
            start, step = _next_start(step), _next_step(step)
        table = start + _TABLE_BYTES if k else start
        reader = reader_at(data, bit)
    bit = position_of(reader, data)
    return (DATA_END if bit > end else COMPLETE), bit, 0


@jit(types.UniTuple(int64, 3)(int64, int64, int64, int64, int64, SYMBOLS, int64[::1]))
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
            word = word_at(data, bit)
            code = int(symbols[0, shift_down(word, 48)])
            length, zeros, size = code_length(code), code_zeros(code), code_size(code)
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


@jit(types.UniTuple(int64, 3)(int64, int64, int64, int64, int64, SYMBOLS, int64[::1]))
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
            word = word_at(data, bit)
            code = int(symbols[0, shift_down(word, 48)])
            length, zeros, size = code_length(code), code_zeros(code), code_size(code)
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
        _BYTES, int64, int64, int64, int64, int64, int64, _MCU, _LOOKUP, SYMBOLS, int64[::1]
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
        (pairs, 2, 4096) and (tables, 65536): what `huffman` makes. A band uses row 0.
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
    cycle = np.empty((mcu.shape[0], 2), np.int64)
    position, restarts = start, 0
    for done in range(0, mcus, interval):
        interval_start = position
        position, size = copy_unstuffed(source, position, end, data)
        for offset in range(0, _SLACK, 8):
            store_64(data + size + offset, 0, 0)
        count = min(interval, mcus - done)
        if process == BLOCKS:
            outcome, bit, left = _walk_blocks(
                data, 8 * size, count * mcu.shape[0], mcu, lookup, symbols, cycle
            )
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
