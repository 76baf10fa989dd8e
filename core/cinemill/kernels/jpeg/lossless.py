"""JPEG Lossless, Huffman-coded (ITU-T T.81 Annex H, process 14): the entropy-coded data of one scan.

A scan is decoded row by row in two steps. First Huffman decoding turns bits into differences of the row; tables
indexed by the next 12 bits give one of them, or up to three at once. Then the predictor (Table H.1) turns
differences into samples, modulo 2^16, one component after the other.

Before that, each restart interval is copied without the stuffed zeros, so that one read gives 57 bits from any
bit on. The copy is followed by as many zeros as a row takes at most (32 bits a sample), and the position is
checked after each row: no input leads outside the arrays.
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
)
from cinemill.kernels.machine import types
from cinemill.kernels.machine.bits import (
    address,
    load_i64,
    load_u16,
    load_word,
    shift_down,
    shift_up,
    store_16,
    store_64,
)
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.types import int64, uint8, uint16, void

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECODED, NO_SUCH_CODE, DATA_END, DATA_LEFT, NO_RESTART = range(5)
"""How a scan ended."""

INDEX_BITS = 12
_WORST_BYTES = 4
"""A code of 16 bits and a difference of 15 are less than 4 bytes a sample."""

_BYTES = types.Array(uint8, 1, "C", readonly=True)
_TABLES = types.Array(int64, 3, "C", readonly=True)
_CODES = types.Array(int64, 2, "C", readonly=True)
_PLACES = types.Array(int64, 1, "C", readonly=True)
_ROW = types.Array(uint16, 1, "C", readonly=True)


@inlined
def _difference(category: int, extra: int) -> int:
    """Give the difference of a category below 16 and its extra bits (H.1.2.2, Table H.2)."""
    return extra - ((1 << category) - 1 if extra >> (category - 1) == 0 and category else 0)


@jit(void(_CODES, int64[:, ::1]))
def fill_tables(codes: NDArray[np.int64], tables: NDArray[np.int64]) -> None:
    """Fill the lookup tables of one Huffman table, both indexed by the next 12 bits.

    Parameters
    ----------
    codes
        (codes, 3): code, its length and the category it stands for, of a valid Huffman table.
    tables
        (2, 4096): destination. First ``length | category << 8`` of the next code, 0 if it is longer than the
        index or its category is 16. Then the differences that fit into the index with their extra bits, up to
        three: a byte with the bits they take, a byte with their number, and 16 bits for each.
    """
    size = 1 << INDEX_BITS
    one, several = tables[0], tables[1]
    one[:] = 0
    for number in range(codes.shape[0]):
        code, length, category = codes[number, 0], codes[number, 1], codes[number, 2]
        if length <= INDEX_BITS and category < 16:
            unused = INDEX_BITS - length
            one[code << unused : (code + 1) << unused] = length | category << 8
    for index in range(size):
        found, used, entry = 0, 0, 0
        while found < 3:
            following = index << used & (size - 1)
            length, category = one[following] & 255, one[following] >> 8
            if length == 0 or used + length + category > INDEX_BITS:
                break
            extra = (following << length & (size - 1)) >> (INDEX_BITS - category)
            found += 1
            entry |= (_difference(category, extra) & 0xFFFF) << 16 * found
            used += length + category
        several[index] = entry | found << 8 | used


@inlined
def _is_dense(tables: NDArray[np.int64]) -> bool:
    """Tell whether a difference fits into the index in 3 of 4 cases, going by the lengths of codes."""
    empty = 0
    for index in range(1 << INDEX_BITS):
        empty += tables[0, 1, index] == 0
    return empty <= (1 << INDEX_BITS) // 4


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


@jit(int64(int64, int64, int64, int64, _TABLES, _TABLES))
def _row_by_one(
    data: int, bit: int, differences: int, count: int, tables: NDArray[np.int64], codes: NDArray[np.int64]
) -> int:
    """Decode the differences of a row one by one, each component by its own table.

    A word is loaded at the start of each difference and used for the next one, so that it is there when it is
    needed (1.4 times as fast): at most 7 + 27 have passed by then, and 27 are needed.

    Returns
    -------
    int
        The next bit, or ~bit of a code that is in no table.
    """
    components = tables.shape[0]
    first = address(tables)
    component = 0
    word, origin = load_word(data + (bit >> 3)), bit & -8
    for done in range(count):
        now = shift_up(word, bit - origin)
        word, origin = load_word(data + (bit >> 3)), bit & -8
        entry = load_u16(first + component * 16 * (1 << INDEX_BITS), 4 * shift_down(now, 64 - INDEX_BITS))
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


@jit(int64(int64, int64, int64, int64, _TABLES, _TABLES))
def _row_by_several(
    data: int, bit: int, differences: int, count: int, tables: NDArray[np.int64], codes: NDArray[np.int64]
) -> int:
    """Decode the differences of a row, up to three at once, otherwise as `_row_by_one`.

    Four times 12 bits are there once the word is filled.
    """
    one = address(tables)
    several = one + 8 * (1 << INDEX_BITS)
    reader = reader_at(data, bit)
    done = 0
    while done < count:
        reader = refilled(reader)
        word, used, number = reader.word, 0, 0
        if done + 12 <= count:
            for _ in range(4):
                entry = load_i64(several, shift_down(word, 64 - INDEX_BITS))
                number = entry >> 8 & 255
                if number == 0:
                    break
                store_64(differences + 2 * done, 0, entry >> 16)
                word = shift_up(word, entry)
                used += entry & 255
                done += number
            reader = refilled(Reader(word, reader.valid - used, reader.source, reader.following))
        if number == 0:
            entry = load_u16(one, 4 * shift_down(reader.word, 64 - INDEX_BITS))
            if entry:
                difference, length = _one_difference(reader.word, entry)
            else:
                difference, length = _rare_difference(reader.word, codes, 0)
                if length == 0:
                    return ~position_of(reader, data)
            store_16(differences, done, difference)
            reader = Reader(
                shift_up(reader.word, length), reader.valid - length, reader.source, reader.following
            )
            done += 1
    return position_of(reader, data)


@jit(void(int64, int64, _ROW, uint16[::1], uint16[::1]), error_model="numpy")
def _predict_row(
    selection: int,
    components: int,
    differences: NDArray[np.uint16],
    above: NDArray[np.uint16],
    row: NDArray[np.uint16],
) -> None:
    """Turn the differences of a row into samples (Table H.1), except for the first one of each component.

    Sums may grow beyond 16 bits; what is stored, or halved, is cut to them.
    """
    for component in range(components):
        a = np.int64(row[component])
        samples = row[component + components :: components]
        d = differences[component + components :: components]
        b, c = above[component + components :: components], above[component::components]
        if selection == 1:
            for x in range(samples.size):
                a += d[x]
                samples[x] = a
        elif selection == 2:
            for x in range(samples.size):
                samples[x] = b[x] + d[x]
        elif selection == 3:
            for x in range(samples.size):
                samples[x] = c[x] + d[x]
        elif selection == 4:
            for x in range(samples.size):
                a += np.int64(b[x]) - np.int64(c[x]) + d[x]
                samples[x] = a
        elif selection == 5:
            for x in range(samples.size):
                a += ((np.int64(b[x]) - np.int64(c[x])) >> 1) + d[x]
                samples[x] = a
        elif selection == 6:
            for x in range(samples.size):
                a = (np.int64(b[x]) + ((a - np.int64(c[x])) >> 1) + d[x]) & 0xFFFF
                samples[x] = a
        else:
            for x in range(samples.size):
                a = (((a + b[x]) >> 1) + d[x]) & 0xFFFF
                samples[x] = a


@jit(
    [
        types.UniTuple(int64, 3)(
            _BYTES,
            int64,
            int64,
            _TABLES,
            _TABLES,
            int64,
            int64,
            int64,
            int64,
            _PLACES,
            sample[:, ::1],
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
    several_at_once = tables.shape[0] == 1 and _is_dense(tables)
    in_order = scanned == components
    for component in range(scanned):
        in_order = in_order and places[component] == component
    neutral = 1 << (precision - point_transform - 1)
    position, interval = start, 0
    for first in range(0, rows, rows_an_interval):
        interval_start = position
        position, size = copy_unstuffed(source, position, end, address(data))
        data[size : size + slack] = 0
        bit = 0
        last = min(first + rows_an_interval, rows)
        for y in range(first, last):
            if several_at_once:
                bit = _row_by_several(address(data), bit, address(differences), count, tables, codes)
            else:
                bit = _row_by_one(address(data), bit, address(differences), count, tables, codes)
            used = ((bit if bit >= 0 else ~bit) + 7) >> 3
            if used > size or (bit < 0 and used + 4 > size):
                return DATA_END, position, y
            if bit < 0:
                return NO_SUCH_CODE, stuffed_offset(source, interval_start, end, used), y
            for component in range(scanned):
                a = neutral if y == first else np.int64(above[component])
                row[component] = (a + differences[component]) & 0xFFFF
            _predict_row(1 if y == first else selection, scanned, differences, above, row)
            samples = frame[y]
            if in_order:
                for index in range(count):
                    samples[index] = (row[index] << point_transform) & mask
            else:
                for index in range(count):
                    place = index // scanned * components + places[index % scanned]
                    samples[place] = (row[index] << point_transform) & mask
            above, row = row, above
        used = (bit + 7) >> 3
        for index in range(used, size):
            if data[index] != 0 and data[index] != 0xFF:
                return DATA_LEFT, stuffed_offset(source, interval_start, end, used), last
        if last < rows:
            while position + 1 < end and codestream[position + 1] == 0xFF:
                position += 1
            if position + 1 >= end or codestream[position + 1] != 0xD0 + interval % 8:
                return NO_RESTART, position, last
            position += 2
            interval += 1
    return DECODED, position, rows
