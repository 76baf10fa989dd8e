"""Writes the entropy-coded data of a sequential JPEG scan anew: masked MCUs get one level, all others keep their coefficients.

A block that is kept has its AC symbols and the bits behind them as they are, by the code words of the tables that are written
(ITU-T T.81 F.1.2, F.2.2); its DC difference is taken anew, from what now stands before it. A masked block has the DC
coefficient that it is given, and no other. Restart markers stay where they are.

Bounds: each restart interval is copied without the stuffed zeros and with `SLACK` zeros behind it. No block takes more than 64
symbols of 31 bits, and the position is checked between any two. Nor does a block that is written: before each, `_ROOM` bytes
are left, which hold those bits with a zero stuffed after every byte, the end of an interval, and a marker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cinemill.kernels.jpeg.data import copy_unstuffed
from cinemill.kernels.jpeg.entropy import COMPLETE, DATA_END, NO_RESTART, NO_SUCH_CODE, PAST_BAND
from cinemill.kernels.jpeg.huffman import SYMBOLS, code_length, code_size, code_symbol, code_zeros
from cinemill.kernels.machine import types
from cinemill.kernels.machine.bits import (
    address,
    has_byte_ff,
    leading_zeros,
    load_word,
    shift_down,
    shift_up,
    store_8,
    store_64,
    store_word,
)
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.types import int64, uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_CODE_TO_WRITE, OUT_OF_RANGE, NO_ROOM = 16, 17, 18
"""Beside the outcomes of `entropy`: the tables that are written lack a symbol; a DC difference is too large; the target is full."""

COMPONENT, DC, AC = range(3)
"""Columns of ``mcu``; see `blacken_scan`."""

SLACK = 512
_ROOM = 640

_BYTES = types.Array(uint8, 1, "C", readonly=True)
_NUMBERS = types.Array(int64, 1, "C", readonly=True)
_TABLE = types.Array(int64, 2, "C", readonly=True)


class _Bits(NamedTuple):
    """Bits that are not written yet, fewer than 32 between two calls, and the address of the next byte."""

    word: int
    held: int
    target: int


@inlined
def _next_bits(data: int, bit: int) -> int:
    """Load the next 57 bits or more, at the top of a word."""
    return shift_up(load_word(data + (bit >> 3)), bit & 7)


@inlined
def _first(word: int, length: int, size: int) -> int:
    """Return ``size`` bits, 0 to 15, behind the first ``length``, 0 to 16."""
    return shift_down(shift_down(shift_up(word, length), 1), 63 - size)


@inlined
def _put_bytes(word: int, count: int, target: int) -> int:
    """Write the last ``count`` bytes of a word, with a zero after each 0xFF; return the address behind."""
    for number in range(count):
        byte = shift_down(word, 8 * (count - 1 - number)) & 0xFF
        store_8(target, 0, byte)
        target += 1
        if byte == 0xFF:
            store_8(target, 0, 0)
            target += 1
    return target


@inlined
def _put(bits: _Bits, value: int, count: int) -> _Bits:
    """Append ``count`` bits, 0 to 31."""
    word, held, target = shift_up(bits.word, count) | value, bits.held + count, bits.target
    if held >= 32:
        held -= 32
        whole = shift_down(word, held) & 0xFFFFFFFF
        if has_byte_ff(whole):
            target = _put_bytes(whole, 4, target)
        else:
            store_word(target, whole << 32)
            target += 4
        word &= (1 << held) - 1
    return _Bits(word, held, target)


@inlined
def _padded(bits: _Bits) -> int:
    """Write what is held, filled up to a byte with ones (F.1.2.3); return the address behind."""
    fill = -bits.held & 7
    return _put_bytes(shift_up(bits.word, fill) | ((1 << fill) - 1), (bits.held + fill) >> 3, bits.target)


@inlined
def _put_symbol(bits: _Bits, code: int, value: int, size: int) -> _Bits:
    """Append a code word, given as an entry of ``codes``, and the ``size`` bits that follow it."""
    return _put(bits, shift_up(code & 0xFFFF, size) | value, (code >> 16) + size)


@inlined
def _signed(value: int, size: int) -> int:
    """Undo `_unsigned` (F.2.2.1)."""
    return value if value >= (1 << size) >> 1 else value - (1 << size) + 1


@inlined
def _unsigned(value: int, size: int) -> int:
    """Return the bits that stand for a difference of a category (F.1.2.1)."""
    return value if value >= 0 else value + (1 << size) - 1


@inlined
def _category(value: int) -> int:
    return 64 - leading_zeros(abs(value))


@jit(
    types.UniTuple(int64, 4)(
        _BYTES, int64, int64, int64, int64, _TABLE, _BYTES, _NUMBERS, SYMBOLS, _TABLE, uint8[::1], uint8[::1]
    )
)
def blacken_scan(
    codestream: NDArray[np.uint8],
    start: int,
    mcus: int,
    interval: int,
    most: int,
    mcu: NDArray[np.int64],
    masked: NDArray[np.uint8],
    levels: NDArray[np.int64],
    symbols: NDArray[np.uint16],
    codes: NDArray[np.int64],
    buffer: NDArray[np.uint8],
    written: NDArray[np.uint8],
) -> tuple[int, int, int, int]:
    """Write the entropy-coded data of one scan anew.

    Parameters
    ----------
    codestream, start
        The whole codestream, and where the scan's data begin.
    mcus, interval
        MCUs of the scan, and of a restart interval.
    most
        The largest category of a DC difference.
    mcu
        (blocks of an MCU, 3): for each block its component, and its DC and AC row of ``symbols`` and ``codes``.
    masked
        (mcus,): not 0 where an MCU is masked.
    levels
        (components,): the DC coefficient of masked blocks.
    symbols
        (tables, 65536): what is read, by the next 16 bits; see `huffman.fill_symbols`.
    codes
        (tables, 256): what is written, by the symbol: ``code word | length << 16``, 0 where there is none.
    buffer
        At least `SLACK` bytes more than there are from ``start`` on. It is the caller's, who keeps it: an array of the kernel's
        own would be freed once its address is known.
    written
        Destination, without any marker before or behind.

    Returns
    -------
    tuple[int, int, int, int]
        How it ended; the offsets behind what was read and what was written; complete MCUs.
    """
    source, end = address(codestream), codestream.size
    data, first = address(buffer), address(written)
    full = first + written.size - _ROOM
    before, after = np.zeros(levels.size, np.int64), np.zeros(levels.size, np.int64)
    position, target, restarts = start, first, 0
    for done in range(0, mcus, interval):
        position, size = copy_unstuffed(source, position, end, data)
        for offset in range(0, SLACK, 8):
            store_64(data + size + offset, 0, 0)
        before[:] = 0
        after[:] = 0
        bit, bits = 0, _Bits(0, 0, target)
        count = min(interval, mcus - done)
        for number in range(done, done + count):
            for block in range(mcu.shape[0]):
                if bits.target > full:
                    return NO_ROOM, position, bits.target - first, number
                if bit > 8 * size:
                    return DATA_END, position, bits.target - first, number
                component, dc, ac = mcu[block, COMPONENT], mcu[block, DC], mcu[block, AC]
                word = _next_bits(data, bit)
                code = int(symbols[dc, shift_down(word, 48)])
                if code == 0:
                    return NO_SUCH_CODE, position, bits.target - first, number
                category = code_size(code)
                before[component] += _signed(_first(word, code_length(code), category), category)
                bit += code_length(code) + category
                level = levels[component] if masked[number] else before[component]
                difference = level - after[component]
                after[component] = level
                category = _category(difference)
                if category > most:
                    return OUT_OF_RANGE, position, bits.target - first, number
                new = codes[dc, category]
                if new == 0 or codes[ac, 0] == 0:
                    return NO_CODE_TO_WRITE, position, bits.target - first, number
                bits = _put_symbol(bits, new, _unsigned(difference, category), category)
                k = 1
                while k < 64:
                    word = _next_bits(data, bit)
                    code = int(symbols[ac, shift_down(word, 48)])
                    if code == 0:
                        return NO_SUCH_CODE, position, bits.target - first, number
                    length, coded = code_length(code), code_size(code)
                    bit += length + coded
                    if code_symbol(code) == 0:
                        break
                    k += code_zeros(code) + 1
                    if k > 64:
                        return PAST_BAND, position, bits.target - first, number
                    if not masked[number]:
                        new = codes[ac, code_symbol(code)]
                        if new == 0:
                            return NO_CODE_TO_WRITE, position, bits.target - first, number
                        bits = _put_symbol(bits, new, _first(word, length, coded), coded)
                if masked[number] or k < 64:
                    bits = _put_symbol(bits, codes[ac, 0], 0, 0)
        if bit > 8 * size:
            return DATA_END, position, bits.target - first, done + count - 1
        target = _padded(bits)
        if done + count < mcus:
            while position + 1 < end and codestream[position + 1] == 0xFF:
                position += 1
            if position + 1 >= end or codestream[position + 1] != 0xD0 + restarts % 8:
                return NO_RESTART, position, target - first, done + count
            position += 2
            store_8(target, 0, 0xFF)
            store_8(target, 1, 0xD0 + restarts % 8)
            target += 2
            restarts += 1
    return COMPLETE, position, target - first, mcus
