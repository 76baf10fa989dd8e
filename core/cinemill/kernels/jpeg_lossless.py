"""JPEG Lossless, Huffman-coded (ITU-T T.81 Annex H, process 14): the entropy-coded data of one scan.

A scan is decoded row by row in two steps. First Huffman decoding turns bits into the row's differences; a table
indexed by the next 12 bits gives up to three of them at once. Then the predictor (Table H.1) turns differences
into samples, modulo 2^16, one component after the other.

Before that, each restart interval is copied without the stuffed zero bytes, so that 57 bits can be had by one
read from any bit on. The copy is followed by as many zeros as a row can take at most (32 bits a sample), and the
bit position is checked after each row: no input leads outside the arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import int64, types, uint8, uint16, void

from cinemill.kernels._jit import inlined, jit
from cinemill.kernels.bits import (
    address,
    has_byte_ff,
    load_i64,
    load_u8,
    load_word,
    shift_down,
    shift_up,
    store_8,
    store_64,
    trailing_zeros,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECODED, NO_SUCH_CODE, DATA_END, DATA_LEFT, NO_RESTART = range(5)
"""How a scan ended."""

INDEX_BITS = 12
LONGEST_CODE = 16
_WORST_BYTES = 4
"""A code of 16 bits and a difference of 15 are less than 4 bytes a sample."""

_BYTES = types.Array(uint8, 1, "C", readonly=True)
_TABLES = types.Array(int64, 3, "C", readonly=True)
_CODES = types.Array(int64, 2, "C", readonly=True)
_PLACES = types.Array(int64, 1, "C", readonly=True)
_ROW = types.Array(uint16, 1, "C", readonly=True)

# Layout of a table entry: differences in three fields of 16 bits, then the bits they take (8) and their number (8).
# Number 0: only the code fits into the index; the first field is the category, or nothing fits and the bits are 0.
_DIFFERENCE = 0xFFFF
_LENGTH = 48
_NUMBER = 56


@inlined
def _signed_difference(category: int, extra: int) -> int:
    """Give the difference of a category and its extra bits (H.1.2.2, Table H.2), modulo 2^16."""
    if category == 0:
        return 0
    if category == 16:
        return 32768
    return (extra if extra >> (category - 1) else extra - (1 << category) + 1) & _DIFFERENCE


@jit(void(_CODES, int64[:, ::1]))
def fill_tables(codes: NDArray[np.int64], tables: NDArray[np.int64]) -> None:
    """Fill the lookup tables of one Huffman table.

    Parameters
    ----------
    codes
        (codes, 3): code, its length and the category it stands for, of a valid Huffman table.
    tables
        (2, 4096): destination; entries of one difference, and of as many as fit up to three.
    """
    size = 1 << INDEX_BITS
    single, several = tables[0], tables[1]
    single[:] = 0
    for number in range(codes.shape[0]):
        code, length, category = codes[number, 0], codes[number, 1], codes[number, 2]
        if length > INDEX_BITS:
            continue
        extra_bits = category if category < 16 else 0
        unused = INDEX_BITS - length - extra_bits
        if unused < 0:
            first = code << (INDEX_BITS - length)
            single[first : first + (1 << (INDEX_BITS - length))] = category | length << _LENGTH
            continue
        for extra in range(1 << extra_bits):
            first = (code << extra_bits | extra) << unused
            entry = _signed_difference(category, extra) | (length + extra_bits) << _LENGTH | 1 << _NUMBER
            single[first : first + (1 << unused)] = entry
    for index in range(size):
        found, used, entry = 0, 0, single[index]
        differences = entry & _DIFFERENCE
        following = index
        while found < 3:
            entry = single[following & (size - 1)]
            bits = entry >> _LENGTH & 255
            if entry >> _NUMBER == 0 or used + bits > INDEX_BITS:
                break
            differences = differences & ~(_DIFFERENCE << 16 * found) | (entry & _DIFFERENCE) << 16 * found
            found += 1
            used += bits
            following <<= bits
        several[index] = differences | used << _LENGTH | found << _NUMBER if found else single[index]


@inlined
def _long_code(word: int, codes: NDArray[np.int64]) -> tuple[int, int]:
    """Find the code at the start of a word; return its category and length, length 0 for none."""
    for number in range(codes.shape[0]):
        if shift_down(word, 64 - codes[number, 1]) == codes[number, 0]:
            return codes[number, 2], codes[number, 1]
    return 0, 0


@inlined
def _one_difference(data: int, bit: int, table: int, codes: NDArray[np.int64]) -> tuple[int, int]:
    """Decode one difference at a bit position; return it and its length in bits, length 0 for no such code."""
    word = shift_up(load_word(data + (bit >> 3)), bit & 7)
    entry = load_i64(table, shift_down(word, 64 - INDEX_BITS))
    length = entry >> _LENGTH & 255
    if entry >> _NUMBER:
        return entry & _DIFFERENCE, length
    category = entry & _DIFFERENCE
    if length == 0:
        category, length = _long_code(word, codes)
    if length == 0 or category == 0 or category == 16:
        return _signed_difference(category, 0), length
    extra = shift_down(shift_up(word, length), 64 - category)
    return _signed_difference(category, extra), length + category


@jit(int64(int64, int64, int64, int64, int64, _CODES))
def _row_of_one_table(
    data: int, bit: int, differences: int, count: int, tables: int, codes: NDArray[np.int64]
) -> int:
    """Decode the differences of a row whose components share a Huffman table; return the bit position, or ~bit."""
    several = tables + 8 * (1 << INDEX_BITS)
    done = 0
    while done < count:
        number = 0
        if done + 3 <= count:
            word = shift_up(load_word(data + (bit >> 3)), bit & 7)
            for _ in range(4):
                entry = load_i64(several, shift_down(word, 64 - INDEX_BITS))
                number = entry >> _NUMBER
                if number == 0 or done + 3 > count:
                    break
                store_64(differences + 2 * done, 0, entry)
                length = entry >> _LENGTH & 255
                word = shift_up(word, length)
                bit += length
                done += number
        if number == 0 and done < count:
            difference, length = _one_difference(data, bit, tables, codes)
            if length == 0:
                return ~bit
            store_8(differences, 2 * done, difference)
            store_8(differences, 2 * done + 1, difference >> 8)
            bit += length
            done += 1
    return bit


@jit(int64(int64, int64, int64, int64, _TABLES, _TABLES))
def _row_of_many_tables(
    data: int, bit: int, differences: int, columns: int, tables: NDArray[np.int64], codes: NDArray[np.int64]
) -> int:
    """Decode the differences of a row, each component by its own table; return the bit position, or ~bit."""
    components = tables.shape[0]
    for sample in range(columns * components):
        component = sample % components
        table = address(tables) + component * 16 * (1 << INDEX_BITS)
        difference, length = _one_difference(data, bit, table, codes[component])
        if length == 0:
            return ~bit
        store_8(differences, 2 * sample, difference)
        store_8(differences, 2 * sample + 1, difference >> 8)
        bit += length
    return bit


@jit(void(int64, int64, _ROW, uint16[::1], uint16[::1]), error_model="numpy")
def _predict_row(
    selection: int,
    components: int,
    differences: NDArray[np.uint16],
    above: NDArray[np.uint16],
    row: NDArray[np.uint16],
) -> None:
    """Turn the differences of a row into samples (H.1.2.1), except for the first one of each component."""
    for component in range(components):
        a = np.int64(row[component])
        if selection == 1:
            for sample in range(component + components, row.size, components):
                a = (a + differences[sample]) & 0xFFFF
                row[sample] = a
            continue
        c = np.int64(above[component])
        for sample in range(component + components, row.size, components):
            b = np.int64(above[sample])
            if selection == 2:
                prediction = b
            elif selection == 3:
                prediction = c
            elif selection == 4:
                prediction = a + b - c
            elif selection == 5:
                prediction = a + ((b - c) >> 1)
            elif selection == 6:
                prediction = b + ((a - c) >> 1)
            else:
                prediction = (a + b) >> 1
            a = (prediction + differences[sample]) & 0xFFFF
            row[sample] = a
            c = b


@inlined
def _copy_unstuffed(source: int, start: int, end: int, target: int) -> tuple[int, int]:
    """Copy entropy-coded data up to a marker without the zero after each 0xFF; return where it ends and the size."""
    position, size = start, 0
    while position < end:
        if position + 8 <= end:
            word = load_i64(source + position, 0)
            store_64(target + size, 0, word)
            ff = has_byte_ff(word)
            ordinary = trailing_zeros(ff) >> 3 if ff else 8
            position += ordinary
            size += ordinary
            if ff == 0:
                continue
        byte = load_u8(source, position)
        if byte == 0xFF:
            if position + 1 >= end or load_u8(source, position + 1) != 0:
                break
            position += 1
        store_8(target, size, byte)
        position += 1
        size += 1
    return position, size


@inlined
def _stuffed_offset(source: int, start: int, end: int, size: int) -> int:
    """Find the offset at which so many bytes, not counting stuffed zeros, have been read."""
    position = start
    for _ in range(size):
        if position < end and load_u8(source, position) == 0xFF:
            position += 1
        position += 1
    return min(position, end)


@jit(
    [
        types.UniTuple(int64, 3)(
            _BYTES, int64, int64, _TABLES, _TABLES, int64, int64, int64, int64, _PLACES, sample[:, ::1]
        )
        for sample in (uint8, uint16)
    ]
)
def decode_scan(
    codestream: NDArray[np.uint8],
    start: int,
    rows_an_interval: int,
    tables: NDArray[np.int64],
    codes: NDArray[np.int64],
    selection: int,
    precision: int,
    point_transform: int,
    components: int,
    places: NDArray[np.int64],
    frame: NDArray[np.unsignedinteger],
) -> tuple[int, int, int]:
    """Decode the entropy-coded data of one scan.

    Parameters
    ----------
    codestream, start
        The whole codestream, and where the scan's data begin.
    rows_an_interval
        Rows in a restart interval; the frame's rows if there are none.
    tables, codes
        For each component of the scan, or once if they share one, what `fill_tables` makes and takes.
    selection, precision, point_transform
        Ss of the scan header (1-7), P of the frame header (2-16) and Al of the scan header.
    components, places
        Samples of a pixel in the frame, and for each component of the scan which of them it is.
    frame
        (rows, columns * components): destination.

    Returns
    -------
    tuple[int, int, int]
        How the scan ended; the offset where; the row where.
    """
    rows, columns = frame.shape[0], frame.shape[1] // components
    scanned = places.size
    count = columns * scanned
    slack = _WORST_BYTES * count + 16
    source, end = address(codestream), codestream.size
    data = np.empty(end - start + slack, np.uint8)
    differences = np.empty(count + 4, np.uint16)
    above, row = np.empty(count, np.uint16), np.empty(count, np.uint16)
    mask = (1 << precision) - 1
    in_order = scanned == components
    for component in range(scanned):
        in_order = in_order and places[component] == component
    neutral = 1 << (precision - point_transform - 1)
    position, interval = start, 0
    for first in range(0, rows, rows_an_interval):
        interval_start = position
        position, size = _copy_unstuffed(source, position, end, address(data))
        data[size : size + slack] = 0
        bit = 0
        last = min(first + rows_an_interval, rows)
        for y in range(first, last):
            if tables.shape[0] == 1:
                bit = _row_of_one_table(
                    address(data), bit, address(differences), count, address(tables), codes[0]
                )
            else:
                bit = _row_of_many_tables(address(data), bit, address(differences), columns, tables, codes)
            used = ((bit if bit >= 0 else ~bit) + 7) >> 3
            if used > size or (bit < 0 and used + 4 > size):
                return DATA_END, position, y
            if bit < 0:
                return NO_SUCH_CODE, _stuffed_offset(source, interval_start, end, used), y
            for component in range(scanned):
                a = neutral if y == first else np.int64(above[component])
                row[component] = (a + differences[component]) & 0xFFFF
            _predict_row(1 if y == first else selection, scanned, differences, above, row)
            if in_order:
                for index in range(count):
                    frame[y, index] = (row[index] << point_transform) & mask
            else:
                for index in range(count):
                    place = index // scanned * components + places[index % scanned]
                    frame[y, place] = (row[index] << point_transform) & mask
            above, row = row, above
        used = (bit + 7) >> 3
        for index in range(used, size):
            if data[index] != 0 and data[index] != 0xFF:
                return DATA_LEFT, _stuffed_offset(source, interval_start, end, used), last
        if last < rows:
            while position + 1 < end and codestream[position + 1] == 0xFF:
                position += 1
            if position + 1 >= end or codestream[position + 1] != 0xD0 + interval % 8:
                return NO_RESTART, position, last
            position += 2
            interval += 1
    return DECODED, position, rows
