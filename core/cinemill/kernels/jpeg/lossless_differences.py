"""JPEG Lossless, Huffman-coded (ITU-T T.81 Annex H, process 14): from bits to the differences of a row.

A table indexed by the next 12 bits gives a code, or one by the next 10 up to eight differences at once. Data are followed by as
many zeros as a row takes at most (32 bits a sample), and whoever has a row decoded checks the position after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.kernels.jpeg.data import Reader, position_of, reader_at, refilled
from cinemill.kernels.machine import types
from cinemill.kernels.machine.bits import (
    address,
    load_i64,
    load_u16,
    load_word,
    shift_down,
    shift_up,
    store_16,
)
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.types import int64, uint16, void

if TYPE_CHECKING:
    from numpy.typing import NDArray

INDEX_BITS, SEVERAL_BITS = 12, 10
AT_ONCE = 5
"""Times of 10 bits that are there once a word is filled."""
AHEAD = 8 * AT_ONCE
"""Differences that so many look-ups give at most."""
SAFE = 16
"""Bytes before the end of the data where no look-up reads beyond it."""
_LANES = 8
WORST_BYTES = 4
"""A code of 16 bits and a difference of 15 are less than 4 bytes a sample."""

ONES = types.Array(uint16, 2, "C", readonly=True)
SEVERAL = types.Array(int64, 1, "C", readonly=True)
CODES = types.Array(int64, 3, "C", readonly=True)
_CODES_OF_ONE = types.Array(int64, 2, "C", readonly=True)


@inlined
def _difference(category: int, extra: int) -> int:
    """Give the difference of a category below 16 and its extra bits (H.1.2.2, Table H.2)."""
    return extra - ((1 << category) - 1 if extra >> (category - 1) == 0 and category else 0)


@jit(void(_CODES_OF_ONE, uint16[::1], int64[::1]))
def fill_tables(codes: NDArray[np.int64], one: NDArray[np.uint16], several: NDArray[np.int64]) -> None:
    """Fill the lookup tables of one Huffman table.

    Parameters
    ----------
    codes
        (codes, 3): code, its length and the category it stands for, of a valid Huffman table.
    one
        (4096,): destination, indexed by the next 12 bits: ``length | category << 8`` of the next code, 0 if it is longer
        than the index or its category is 16.
    several
        (1024,): destination, indexed by the next 10 bits: the differences that fit into the index with their extra bits. A
        byte with the bits they take, a byte with their number, and a byte for each of the first six; a seventh and eighth
        are 0.
    """
    size = 1 << INDEX_BITS
    one[:] = 0
    for number in range(codes.shape[0]):
        code, length, category = codes[number, 0], codes[number, 1], codes[number, 2]
        if length <= INDEX_BITS and category < 16:
            unused = INDEX_BITS - length
            one[code << unused : (code + 1) << unused] = length | category << 8
    for index in range(1 << SEVERAL_BITS):
        found, used, entry = 0, 0, 0
        while found < _LANES:
            following = index << (INDEX_BITS - SEVERAL_BITS + used) & (size - 1)
            code = int(one[following])
            length, category = code & 255, code >> 8
            if length == 0 or used + length + category > SEVERAL_BITS or category > (7 if found < 6 else 0):
                break
            extra = (following << length & (size - 1)) >> (INDEX_BITS - category)
            if found < 6:
                entry |= (_difference(category, extra) & 255) << (16 + 8 * found)
            found += 1
            used += length + category
        several[index] = entry | found << 8 | used


@instructions
def store_several(entry: Value, where: Value) -> None:
    """Write eight differences, of which an entry has the number that counts."""
    entry.shifted_down(16).recast(8, _LANES).extended(16).store(where)


@inlined
def _one_difference(word: int, entry: int) -> tuple[int, int]:
    """Decode a word's first difference by its table entry, without a branch; return it and its bits."""
    length, category = entry & 255, entry >> 8
    word = shift_up(word, length)
    extra = shift_down(shift_down(word, 1), 63 - category)
    if_negative = shift_up(-1, category) + 1
    return extra + (if_negative & ~(word >> 63)), length + category


@inlined
def _rare_difference(word: int, codes: NDArray[np.int64], component: int) -> tuple[int, int]:
    """Decode a difference with a long code, or of category 16, which has no extra bits; else 0 bits."""
    for number in range(codes.shape[1]):
        code = codes[component, number, 0]
        length, category = codes[component, number, 1], codes[component, number, 2]
        if length and shift_down(word, 64 - length) == code:
            if category == 16:
                return 32768, length
            return _one_difference(word, length | category << 8)
    return 0, 0


@jit(int64(int64, int64, int64, int64, ONES, CODES))
def row_by_one(
    data: int, bit: int, differences: int, count: int, ones: NDArray[np.uint16], codes: NDArray[np.int64]
) -> int:
    """Decode the differences of a row one by one, each component by its own table.

    A word is loaded at the start of each difference and used for the next one, so that it is there when it is
    needed (1.4 times as fast): at most 7 + 27 have passed by then, and 27 are needed.

    Returns
    -------
    int
        The next bit, or ~bit of a code that is in no table.
    """
    components = ones.shape[0]
    component = 0
    word, origin = load_word(data + (bit >> 3)), bit & -8
    for done in range(count):
        now = shift_up(word, bit - origin)
        word, origin = load_word(data + (bit >> 3)), bit & -8
        entry = load_u16(address(ones), component << INDEX_BITS | shift_down(now, 64 - INDEX_BITS))
        if entry:
            difference, length = _one_difference(now, entry)
            bit += length
        else:
            difference, length = _rare_difference(shift_up(word, bit - origin), codes, component)
            if length == 0:
                return ~bit
            bit += length
            word, origin = load_word(data + (bit >> 3)), bit & -8
        store_16(differences, done, difference)
        component = component + 1 if component + 1 < components else 0
    return bit


@inlined
def after_one(
    reader: Reader, differences: int, done: int, ones: NDArray[np.uint16], codes: NDArray[np.int64]
) -> Reader:
    """Decode one difference, of the only table; the same reader comes back where no code is."""
    entry = load_u16(address(ones), shift_down(reader.word, 64 - INDEX_BITS))
    if entry:
        difference, length = _one_difference(reader.word, entry)
    else:
        difference, length = _rare_difference(reader.word, codes, 0)
    store_16(differences, done, difference)
    return Reader(shift_up(reader.word, length), reader.valid - length, reader.source, reader.following)


@jit(types.UniTuple(int64, 2)(int64, int64, int64, int64, int64, int64, int64, ONES, SEVERAL, CODES))
def row_by_several(
    data: int,
    size: int,
    bit: int,
    differences: int,
    done: int,
    count: int,
    left: int,
    ones: NDArray[np.uint16],
    several: NDArray[np.int64],
    codes: NDArray[np.int64],
) -> tuple[int, int]:
    """Decode the differences of a row, up to eight at once, and some of those behind it.

    Parameters
    ----------
    data, size, bit
        The data, their bytes, and the next bit.
    differences, done, count, left
        Destination, how many differences are there already, how many there must be, and may be.
    ones, several, codes
        See `decode_scan`.

    Returns
    -------
    tuple[int, int]
        The next bit, or ~bit of a code that is in no table, and how many differences are there.
    """
    reader = reader_at(data, bit)
    while done < count:
        reader = refilled(reader)
        number = 0
        if done + AHEAD <= left and reader.source + SAFE <= data + size:
            word, used = reader.word, 0
            for _ in range(AT_ONCE):
                entry = load_i64(address(several), shift_down(word, 64 - SEVERAL_BITS))
                number = entry >> 8 & 255
                if number == 0:
                    break
                store_several(entry, differences + 2 * done)
                word = shift_up(word, entry)
                used += entry
                done += number
            reader = refilled(Reader(word, reader.valid - (used & 63), reader.source, reader.following))
        if number == 0 and done < count:
            valid = reader.valid
            reader = after_one(reader, differences, done, ones, codes)
            if reader.valid == valid:
                return ~position_of(reader, data), done
            done += 1
    return position_of(reader, data), done
