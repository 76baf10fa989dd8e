"""Code-blocks to bytes: the HT cleanup pass of all bit-planes at once (T.814 7).

Memory: a code-block's rows of quads are coded one after the other, and what `encode_quads` leaves of a row is taken up before the next.
Of samples, only exponents are kept: those of the lower row, for the row of quads below.

Bounds: 64 samples are read of each row, however many are inside, so 63 may follow the last row of a code-block.
"""

from __future__ import annotations

from typing import Any

from cinemill.kernels.htj2k.encode_bits import BITS_SIZE, MAGSGN, MEL, VLC, finish, put, put_events, put_mel
from cinemill.kernels.htj2k.encode_quads import (
    FIELDS,
    LEFT,
    MASKS,
    QUADS,
    QUADS_SIZE,
    ROW_SIZE,
    US,
    WORDS,
    any_near,
    any_of,
    clear_row,
    code_first_quads,
    code_quads,
    leave_nothing,
)
from cinemill.kernels.machine.bits import (
    address,
    leading_zeros,
    load_i64,
    load_u32,
    shift_down,
    shift_up,
    store_64,
    trailing_zeros,
)
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.x86 import count_ones, extract_bits

START, STRIDE, COLUMNS, ROWS = range(4)
"""Columns of the table of code-blocks: where their samples begin, and how many lie from one row to the next."""

_EXPONENTS = QUADS_SIZE + 64
_ZEROS = _EXPONENTS + 2 * ROW_SIZE
_BITS = _ZEROS + ROW_SIZE
SCRATCH = _BITS + BITS_SIZE
"""Bytes of scratch memory."""

_VLC_PER_ROW = 2048
"""Entries of a table of code words for quads; those for u are half as many, and twice as wide."""


@inlined
def _first_row_events(scratch: int, quads: int, told: int, significant: int) -> tuple[int, int]:
    """Return MEL events of the first row, and how many: a pair of quads that have u has one of its own (7.3.6)."""
    events, count = 0, 0
    for quad in range(0, quads, 2):
        both = shift_down(told, quad) & 3
        events |= shift_up(extract_bits(shift_down(significant, quad) & 3, both), count)
        count += count_ones(both)
        least = min(load_u32(scratch + US, quad), load_u32(scratch + US, quad + 1))
        if least > 0:
            events |= shift_up(1 if least > 2 else 0, count)
            count += 1
    return events, count


@jit(
    "int64(int64, int64, int64, int64, int64, int64, int64, int64, int64)",
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
)
def _encode_block(
    samples: int,
    pitch: int,
    columns: int,
    rows: int,
    scratch: int,
    words: int,
    us: int,
    events_table: int,
    out: int,
) -> int:
    """Encode a code-block that is not all zero; returns the end of its bytes.

    Parameters
    ----------
    samples, pitch, columns, rows
        Where its samples are; ``pitch`` bytes from one row to the next.
    scratch
        `SCRATCH` bytes.
    words, us, events_table
        Addresses of the tables.
    out
        Receives up to `block_room` bytes.
    """
    quads, zeros = (columns + 1) >> 1, scratch + _ZEROS + 64
    bits = scratch + _BITS
    sample_at, sample_held, sample_bits = bits + MAGSGN, 0, 0
    # The first bits, which count as ones, have the place of the suffix's length.
    word_at, word_held, word_bits = bits + VLC, 15, 4
    mel_at, mel_held, mel_bits, run, state = bits + MEL, 0, 0, 0, 0
    above, below = scratch + _EXPONENTS + 64, scratch + _EXPONENTS + ROW_SIZE + 64
    clear_row(above)
    clear_row(below)
    any_above = 0
    for row in range(0, rows, 2):
        top = samples + pitch * row
        bottom = top + pitch if row + 1 < rows else zeros
        some = any_of(top, bottom, columns)
        if (some | any_above) == 0:
            # MEL tells of each quad that it is not significant.
            clear_row(below)
            above, below = below, above
            mel_at, mel_held, mel_bits, run, state = put_events(
                mel_at, mel_held, mel_bits, run, state, 0, quads, events_table
            )
            continue
        any_above = some
        store_64(scratch + LEFT + 4 * QUADS - 8, 0, 0)
        told, significant = 0, 0
        for step in range((quads + QUADS - 1) // QUADS):
            at, left = 4 * QUADS * step, columns - 2 * QUADS * step
            if any_near(top + at, bottom + at, left, above + at, scratch) == 0:
                leave_nothing(below + at, scratch, step)
                told |= shift_up(shift_up(1, min((left + 1) >> 1, QUADS)) - 1, QUADS * step)
                continue
            if row == 0:
                found = code_first_quads(
                    top + at, bottom + at, left, above + at, below + at, scratch, step, words, us
                )
            else:
                found = code_quads(
                    top + at,
                    bottom + at,
                    left,
                    above + at,
                    below + at,
                    scratch,
                    step,
                    words + 4 * _VLC_PER_ROW,
                    us + 4 * _VLC_PER_ROW,
                )
            told |= shift_up(found & 0xFFFFFFFF, QUADS * step)
            significant |= shift_up(shift_down(found, 32), QUADS * step)
        above, below = below, above
        events, count = extract_bits(significant, told), count_ones(told)
        if row == 0:
            events, count = _first_row_events(scratch, quads, told, significant)
        if count > 0:
            mel_at, mel_held, mel_bits, run, state = put_events(
                mel_at, mel_held, mel_bits, run, state, events, count, events_table
            )
        # MEL tells all of quads to the left and right of these.
        worded = (shift_up(1, quads) - 1) ^ (told & ~significant)
        for pair in range(trailing_zeros(worded) >> 1, (65 - leading_zeros(worded)) >> 1):
            word = load_i64(scratch + WORDS, pair)
            word_at, word_held, word_bits = put(
                word_at, word_held, word_bits, word & 0xFFFFFFFF, shift_down(word, 32)
            )
        for quad in range(trailing_zeros(significant) & -2, 64 - leading_zeros(significant), 2):
            first_mask, second_mask = load_i64(scratch + MASKS, quad), load_i64(scratch + MASKS, quad + 1)
            first = extract_bits(load_i64(scratch + FIELDS, quad), first_mask)
            second = extract_bits(load_i64(scratch + FIELDS, quad + 1), second_mask)
            size, second_size = count_ones(first_mask), count_ones(second_mask)
            if size + second_size <= 56:
                word = first | shift_up(second, size)
                sample_at, sample_held, sample_bits = put(
                    sample_at, sample_held, sample_bits, word, size + second_size
                )
                continue
            for part in range(4):
                low = min(size, 32)
                word = first & (shift_up(1, low) - 1)
                sample_at, sample_held, sample_bits = put(sample_at, sample_held, sample_bits, word, low)
                first, size = (second, second_size) if part == 1 else (shift_down(first, low), size - low)
    if run > 0:
        mel_at, mel_held, mel_bits = put_mel(mel_at, mel_held, mel_bits, 1, 1)
    store_64(sample_at, 0, sample_held)
    store_64(word_at, 0, word_held)
    return finish(
        bits,
        8 * (sample_at - bits - MAGSGN) + sample_bits,
        8 * (mel_at - bits - MEL) + mel_bits,
        8 * (word_at - bits - VLC) + word_bits,
        out,
    )


_TABLE = "Array({}, {}, 'C', readonly=True)"


@jit(
    "int64(int16[::1], int64[:, ::1], int64[::1], uint8[::1],"
    f" {_TABLE.format('uint32', 2)}, {_TABLE.format('uint64', 2)}, {_TABLE.format('uint32', 1)},"
    " uint8[::1], int64, int64[::1], int64[::1], int64[::1])"
)
def encode_blocks(
    coefficients: Any,
    blocks: Any,
    order: Any,
    memory: Any,
    words: Any,
    us: Any,
    events: Any,
    data: Any,
    offset: int,
    coded: Any,
    starts: Any,
    lengths: Any,
) -> int:
    """Encode some code-blocks of a frame.

    Parameters
    ----------
    coefficients, blocks
        Samples, and the table of code-blocks.
    order
        Which of them to encode.
    memory
        `SCRATCH` bytes.
    words, us, events
        `cinemill.kernels.htj2k.tables.vlc_encoding`, ``u_encoding`` and ``mel_encoding``.
    data, offset
        Receives their bytes from an offset on; each takes up to `block_room`.
    coded, starts, lengths
        Receive of each code-block the number of its bit-planes that are coded, 1 or 0, and where its bytes are.

    Returns
    -------
    int
        The end of their bytes.
    """
    scratch, first = address(memory), address(data)
    clear_row(scratch + _ZEROS + 64)
    end = first + offset
    for block in order:
        pitch, columns, rows = 2 * blocks[block, STRIDE], blocks[block, COLUMNS], blocks[block, ROWS]
        samples = address(coefficients) + 2 * blocks[block, START]
        row, some = 0, 0
        while some == 0 and row < rows:
            some = any_of(samples + pitch * row, samples + pitch * row, columns)
            row += 1
        starts[block], coded[block] = end - first, 1 if some else 0
        if some:
            end = _encode_block(
                samples, pitch, columns, rows, scratch, address(words), address(us), address(events), end
            )
        lengths[block] = end - first - starts[block]
    return end - first
