"""HT code-blocks to coefficients (T.814 clause 7), their cleanup pass, which is all that lossless encoders write; and frames of them.

A frame of 16-bit lanes is decoded from its lower levels up; the subbands of the first level exist one strip at a time, a row of
code-blocks high, and become pixels while they are in the cache.

Bounds
------
Addresses of bytes are those that packet headers told, within the codestream (`read_packets`). A code-block of 16-bit lanes writes up to
15 samples beyond its last column: tables of them are such that code-blocks to the right come later or overwrite nothing, and that
rows have a margin (`cinemill.codecs.jpeg_2000.subbands`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cinemill.kernels.htj2k.decode_bits import (
    BEYOND,
    DAMAGED,
    MAGSGN_BITS,
    MEL_SIZE,
    SOUND,
    SUFFIX,
    UNUSUAL,
    VLC_BITS,
    unstuff,
)
from cinemill.kernels.htj2k.decode_quads import decode_quads
from cinemill.kernels.htj2k.decode_samples import (
    BLOCK_MEMORY,
    decode_samples,
    decode_wide_samples,
    largest_magnitude,
)
from cinemill.kernels.jpeg_2000.decode_rows import SUMS_FIT, fits_lanes, synthesise_low, synthesise_rows
from cinemill.kernels.jpeg_2000.tables import COLUMNS, ROWS, START, STRIDE
from cinemill.kernels.machine.bits import address, clear_bytes, load_i64, store_64
from cinemill.kernels.machine.jit import jit

BAND = 4
"""In the table of code-blocks of 16-bit lanes, instead of the orientation: component x level x subband, as ``largest`` counts."""
NO_PIXELS = -1
"""Kind of pixels where only coefficients are wanted."""
MEMORY = 2 * BLOCK_MEMORY + 64
"""Bytes of memory: code-blocks are decoded two at a time."""
_MOST_LEFT = 15
"""MagSgn bits, with the byte of ones that is read behind them, that known encoders leave: they end in the byte of the last bit."""

_READ_ONLY = "Array({}, {}, 'C', readonly=True)"
_DATA = _READ_ONLY.format("uint8", 1)
_TABLES = ", ".join(_READ_ONLY.format(*kind) for kind in (("uint32", 2), ("uint64", 2), ("uint32", 1)))


@jit(
    f"int64({_DATA}, int64[:, ::1], int64[:, ::1], int64[::1], int64[::1], int64, uint8[::1], {_TABLES}, int16[::1],"
    " int64[:, :, ::1], int64[:, :, ::1], int64, int64, int64, int64, int64, int64, int64, int16[::1], uint8[::1])"
)
def decode_frame(
    data: Any,
    coded: Any,
    blocks: Any,
    order: Any,
    strips: Any,
    limit: int,
    memory: Any,
    quad_table: Any,
    u_table: Any,
    mel_table: Any,
    coefficients: Any,
    largest: Any,
    bands: Any,
    strip_rows: int,
    kind: int,
    rows: int,
    columns: int,
    half: int,
    back: int,
    most: int,
    ring: Any,
    pixels: Any,
) -> int:
    """Decode all code-blocks of a frame, and if they have 16 bits, make pixels of them.

    Parameters
    ----------
    data
        The codestream.
    coded
        What `read_packets` found of each code-block: bit-planes, passes left out, where its bytes are, and how many.
    blocks
        The table of code-blocks.
    order, strips
        In which order they are decoded, those of a size and place best one after the other; where in it those of each strip begin, then
        those of the lower levels, which come first, and where these end.
    limit
        Of U: up to `MOST_U` where coefficients have 16 bits; for 32 bits its negative, up to `MOST_WIDE_U`.
    memory
        MEMORY bytes.
    quad_table, u_table, mel_table
        `quad_codes`, `u_codes` and `mel_decoding`.
    coefficients, largest
        Receives the code-blocks, and of 16 bits the largest magnitude of each band, which is 0 before.
    bands, strip_rows
        The table of bands, and how many rows of the first level's there are at a time.
    kind, rows, columns, half, back, ring, pixels
        As in `synthesise_rows`, or `NO_PIXELS`.
    most
        The largest sample after the level shift.

    Returns
    -------
    int
        `SOUND`, `DAMAGED`, `UNUSUAL` or `BEYOND`; only in the first case all was decoded.
    """
    size = 4 if limit < 0 else 2
    source, base = address(data), address(coefficients)
    largest_at = address(largest)
    memory_a = (address(memory) + 63) & -64
    quad_at, u_at, mel_at = address(quad_table), address(u_table), address(mel_table)
    mel, used, sizes = np.empty((2, MEL_SIZE), np.int64), np.empty(2, np.int64), np.empty((2, 3), np.int64)
    count = len(strips) - 2
    seen = 0
    for step in range(count + 1):
        strip = step - 1 if step else count
        at, last = strips[strip], strips[strip + 1]
        while at < last:
            a = order[at]
            at += 1
            wide, high, stride = blocks[a, COLUMNS], blocks[a, ROWS], size * blocks[a, STRIDE]
            if coded[0, a] == 0:
                for row in range(high):
                    clear_bytes(base + size * blocks[a, START] + row * stride, size * wide)
                continue
            b, memory_b = a, memory_a
            if at < last:
                other = order[at]
                if coded[0, other] and blocks[other, COLUMNS] == wide and blocks[other, ROWS] == high:
                    b, memory_b = other, memory_a + BLOCK_MEMORY
                    at += 1
            end_a, end_b = source + coded[2, a] + coded[3, a], source + coded[2, b] + coded[3, b]
            for number in range(2):
                # Where there is no second one, the first is decoded twice, in the same memory.
                end, length = (end_b, coded[3, b]) if number else (end_a, coded[3, a])
                status = unstuff(end - length, length, memory_b if number else memory_a, sizes[number])
                if status != SOUND:
                    return status
            decode_quads(
                memory_a,
                memory_b,
                wide,
                high,
                end_a - sizes[0, SUFFIX],
                end_a - 1,
                end_b - sizes[1, SUFFIX],
                end_b - 1,
                quad_at,
                u_at,
                mel_at,
                mel,
                used,
            )
            for number in range(1 if b == a else 2):
                block, where = (b, memory_b) if number else (a, memory_a)
                target, stride = base + size * blocks[block, START], size * blocks[block, STRIDE]
                if used[number] > sizes[number, VLC_BITS]:
                    return DAMAGED
                if limit < 0:
                    read = decode_wide_samples(where, wide, high, target, stride, -limit)
                else:
                    read = decode_samples(where, wide, high, target, stride, limit)
                    band = blocks[block, BAND]
                    store_64(largest_at, band, max(load_i64(largest_at, band), largest_magnitude(where)))
                if read < 0:
                    return UNUSUAL if limit < 0 else BEYOND
                if read > sizes[number, MAGSGN_BITS]:
                    return DAMAGED
                if read < sizes[number, MAGSGN_BITS] - _MOST_LEFT:
                    return UNUSUAL
        if kind == NO_PIXELS:
            continue
        if step == 0:
            if not synthesise_low(coefficients, rows, columns, bands, largest):
                return BEYOND
        else:
            fits = fits_lanes(largest, kind, half)
            if not fits:
                return BEYOND
            how = kind | (fits & SUMS_FIT)
            start = 2 * strip_rows * strip
            stop = start + 2 * strip_rows if strip + 1 < count else rows + 2
            seen = synthesise_rows(
                coefficients, how, rows, columns, half, back, bands, start, ring, pixels, start, stop
            )
    return SOUND if seen <= most else UNUSUAL
