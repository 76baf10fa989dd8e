"""JPEG Lossless, Huffman-coded (ITU-T T.81 Annex H, process 14): the entropy-coded data of one scan.

A scan is decoded row by row in two steps. First Huffman decoding turns bits into differences of the row: a table indexed
by the next 12 bits gives a code, or one by the next 10 up to eight differences at once. Then the predictor (Table H.1) turns
differences into samples, modulo 2^16, one component after the other.

Before that, each restart interval is copied without the stuffed zeros, so that one read gives 57 bits from any
bit on. The copy is followed by as many zeros as a row takes at most (32 bits a sample), and the position is
checked after each row: no input leads outside the arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.kernels.jpeg.data import copy_unstuffed, stuffed_offset
from cinemill.kernels.jpeg.lossless_differences import (
    CODES,
    ONES,
    SEVERAL,
    WORST_BYTES,
    row_by_one,
    row_by_several,
)
from cinemill.kernels.machine import types
from cinemill.kernels.machine.bits import address, load_u16, store_8, store_16
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.types import int64, uint8, uint16

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECODED, NO_SUCH_CODE, DATA_END, DATA_LEFT, NO_RESTART = range(5)
"""How a scan ended."""

ROWS = 3
"""Rows of memory that a frame takes: differences, and samples of two rows."""

_BYTES = types.Array(uint8, 1, "C", readonly=True)
_PLACES = types.Array(int64, 1, "C", readonly=True)


@inlined
def _predicted(selection: int, a: int, b: int, c: int) -> int:
    """Predict a sample by those to the left, above, and above to the left (Table H.1)."""
    if selection == 2:
        a = b
    elif selection == 3:
        a = c
    elif selection == 4:
        a += b - c
    elif selection == 5:
        a += (b - c) >> 1
    elif selection == 6:
        a = b + ((a - c) >> 1)
    elif selection == 7:
        a = (a + b) >> 1
    return a


@inlined
def predict(
    selection: int, components: int, count: int, neutral: int, differences: int, above: int, row: int
) -> None:
    """Turn the differences of a row into samples, modulo 2^16.

    Parameters
    ----------
    selection, components
        See `decode_scan`.
    count
        Samples of a row, of all components.
    neutral
        What the first sample of each component is predicted by; -1 for the one above.
    differences, above, row
        Addresses of the differences, of the row before, and of the destination, of 16 bits each.
    """
    for component in range(components):
        a = load_u16(above, component) if neutral < 0 else neutral
        a = (a + load_u16(differences, component)) & 0xFFFF
        store_16(row, component, a)
        if selection == 1:
            for x in range(component + components, count, components):
                a += load_u16(differences, x)
                store_16(row, x, a)
        else:
            for x in range(component + components, count, components):
                a = _predicted(selection, a, load_u16(above, x), load_u16(above, x - components))
                a = (a + load_u16(differences, x)) & 0xFFFF
                store_16(row, x, a)


@inlined
def write_row(row: int, count: int, point_transform: int, mask: int, itemsize: int, target: int) -> None:
    """Write samples of 16 bits as those of a frame, of one byte or two."""
    if itemsize == 1:
        for index in range(count):
            store_8(target, index, (load_u16(row, index) << point_transform) & mask)
    else:
        for index in range(count):
            store_16(target, index, (load_u16(row, index) << point_transform) & mask)


@inlined
def keep_ahead(differences: int, count: int, there: int) -> int:
    """Put the differences behind those of a row in their place, and return how many there are."""
    for index in range(count, there):
        store_16(differences, index - count, load_u16(differences, index))
    return max(there - count, 0)


@jit(
    types.UniTuple(int64, 3)(
        _BYTES,
        int64,
        int64,
        ONES,
        SEVERAL,
        CODES,
        int64,
        int64,
        int64,
        int64,
        _PLACES,
        int64,
        uint8[:, ::1],
        uint16[:, ::1],
    )
)
def decode_scan(
    codestream: NDArray[np.uint8],
    start: int,
    rows_an_interval: int,
    ones: NDArray[np.uint16],
    several: NDArray[np.int64],
    codes: NDArray[np.int64],
    selection: int,
    precision: int,
    point_transform: int,
    components: int,
    places: NDArray[np.int64],
    itemsize: int,
    frame: NDArray[np.uint8],
    memory: NDArray[np.uint16],
) -> tuple[int, int, int]:
    """Decode the entropy-coded data of one scan.

    Parameters
    ----------
    codestream, start
        The whole codestream, and where the scan's data begin.
    rows_an_interval
        Rows in a restart interval; the frame's rows if there are none.
    ones, several, codes
        What `fill_tables` makes and takes: for each component of the scan, or once if they share one; ``several`` is empty where
        it is of no use.
    selection, precision, point_transform
        Ss of the scan header (1-7), P of the frame header (2-16) and Al of the scan header.
    components, places
        Samples of a pixel in the frame, and for each component of the scan which of them it is.
    itemsize, frame
        Bytes of a sample, 1 or 2, and (rows, columns * components * itemsize): destination.
    memory
        (`ROWS`, columns * components + `AHEAD`): for the differences of a row, and two rows of samples.

    Returns
    -------
    tuple[int, int, int]
        How the scan ended; the offset where; the row where.
    """
    rows, columns = frame.shape[0], frame.shape[1] // (components * itemsize)
    scanned = places.size
    count = columns * scanned
    slack = WORST_BYTES * count + 16
    source, end = address(codestream), codestream.size
    data = np.empty(end - start + slack, np.uint8)
    differences = address(memory)
    above, row = differences + 2 * memory.shape[1], differences + 4 * memory.shape[1]
    mask = (1 << precision) - 1
    in_order = scanned == components
    for component in range(scanned):
        in_order = in_order and places[component] == component
    neutral = 1 << (precision - point_transform - 1)
    position, interval = start, 0
    for first in range(0, rows, rows_an_interval):
        interval_start = position
        position, size = copy_unstuffed(source, position, end, address(data))
        data[size : size + slack] = 0
        bit, there = 0, 0
        last = min(first + rows_an_interval, rows)
        for y in range(first, last):
            if several.size:
                bit, there = row_by_several(
                    address(data),
                    size,
                    bit,
                    differences,
                    there,
                    count,
                    (last - y) * count,
                    ones,
                    several,
                    codes,
                )
            else:
                bit = row_by_one(address(data), bit, differences, count, ones, codes)
            used = ((bit if bit >= 0 else ~bit) + 7) >> 3
            if used > size or (bit < 0 and used + 4 > size):
                return DATA_END, position, y
            if bit < 0:
                return NO_SUCH_CODE, stuffed_offset(source, interval_start, end, used), y
            predict(
                1 if y == first else selection,
                scanned,
                count,
                neutral if y == first else -1,
                differences,
                above,
                row,
            )
            there = keep_ahead(differences, count, there)
            target = address(frame) + y * frame.shape[1]
            if in_order:
                write_row(row, count, point_transform, mask, itemsize, target)
            else:
                for index in range(count):
                    place = index // scanned * components + places[index % scanned]
                    write_row(
                        row + 2 * index,
                        1,
                        point_transform,
                        mask,
                        itemsize,
                        target + itemsize * place,
                    )
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
