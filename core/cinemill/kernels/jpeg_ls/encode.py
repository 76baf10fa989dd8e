"""JPEG-LS lossless encoding of one frame, one sample after the other (T.87 Annex A).

Lossless coding reconstructs exactly the samples it was given, so that all a sample needs from its neighbours is known
beforehand. Three stages run over blocks of a row; the first and the last are vectorised, which leaves the
middle one little to do:

1. `prepare` computes contexts, predictions and differences.
2. The context loop corrects predictions, updates contexts, and notes for each sample a record of A, B, N and the error.
   Runs, found by comparing vectors, become ready-made symbols among the records.
3. `symbols` turns records into Golomb codes and joins them by four; `emit` writes four at a time.

Several components are interleaved by line. Stuffed bits are inserted afterwards, by `bitstream.stuff`.

Memory
------
rows
    As for the decoder: two rows of 16-bit samples a component, with a border to either side and vector slack.
contexts
    367 records of four 32-bit integers, A, B, C and N; the last two belong to run interruptions and
    hold A, Nn, -, N. Behind them a run index for each component.
records
    Four columns of `CAPACITY` 32-bit integers: A, B, N, error. N is 0 for a ready-made symbol, which then stands for A.
plain
    The codes as plain bits.

Bounds
------
Input is masked to MAXVAL. A block adds at most four records a sample, so that packing whenever more than half of ``records`` is used keeps
within `CAPACITY`. No sample takes more than LIMIT bits, codes of runs included; `plain_capacity` follows from that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinemill.kernels.jpeg_ls.bitstream import stuffed
from cinemill.kernels.jpeg_ls.encode_model import (
    LONGEST_VALUE,
    Context,
    Neighbourhood,
    emit,
    emit_symbol,
    golomb_symbol,
    interruption_symbol,
    joined,
    modelled,
    plain_capacity,
    quantised,
    read_pixels,
    run_segments,
)
from cinemill.kernels.jpeg_ls.parameters import REGULAR_CONTEXTS, RUN_ORDERS, Coding
from cinemill.kernels.machine import types
from cinemill.kernels.machine.bits import (
    address,
    copy_bytes,
    load_i16,
    load_i32,
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    rarely,
    shift_down,
    shift_signed,
    shift_up,
    signed_from,
    store_16,
    store_32,
)
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined, jit

STEP = 32
"""Samples of a row that one vector operation handles."""

A, B, C, N, RECORD = 0, 1, 2, 3, 4
"""Fields of a context, and its length."""

RUN_INDEX = RECORD * (REGULAR_CONTEXTS + 2)

CAPACITY = 1024
COLUMN = 4 * CAPACITY
"""Records, and the bytes from one of their columns to the next."""

PACKED = 16
"""Records that `symbols` handles."""


@instructions
def prepare(
    above: Value, current: Value, block: Value, max_value: Value, t1: Value, t2: Value, t3: Value
) -> None:
    """Write contexts, predictions, and differences of sample and prediction to ``block``, for `STEP` samples.

    ``above`` and ``current`` are the addresses of the first Rb and of the first sample; ``block`` takes three runs of 16-bit numbers.
    """
    near = Neighbourhood(
        sample=current.load(16, STEP),
        ra=(current - 2).load(16, STEP),
        rb=above.load(16, STEP),
        rc=(above - 2).load(16, STEP),
        rd=(above + 2).load(16, STEP),
    )
    thresholds = [near.ra.like(threshold) for threshold in (t1, t2, t3)]
    pairs = (near.rd, near.rb), (near.rb, near.rc), (near.rc, near.ra)
    across, along, down = (quantised(high, low, thresholds) for high, low in pairs)
    context, prediction, sample = modelled(near, (across, along, down), max_value)
    context.store(block)
    prediction.store(block + 2 * STEP)
    (sample - prediction).store(block + 4 * STEP)


@instructions
def matching(current: Value, sample: Value) -> Value:
    """Count how many of the `STEP` samples at ``current`` equal ``sample`` before the first that does not."""
    samples = current.load(16, STEP)
    return samples.differs(sample).packed().trailing_zeros().minimum(STEP)


@instructions
def symbols(record: Value, codes: Value, longest: Value, qbpp: Value, limit: Value) -> Value:
    """Turn `PACKED` records at ``record`` into symbols, and these, four by four, into joined codes.

    ``codes`` takes four 64-bit values, four 64-bit lengths, and the symbols. Returns non-zero if a length exceeds 56
    bits: the symbols have then to be written one by one.
    """
    a, b, n, error = ((record + COLUMN * column).load(32, PACKED) for column in range(4))
    coded = golomb_symbol(Context(a, b, a, n), error, a.like(longest), a.like(qbpp), a.like(limit))
    symbol = n.equals(0).choose(a, coded)
    symbol.store(codes + 64)
    pairs = symbol.recast(64, PACKED // 2)
    first, second = pairs & 0xFFFFFFFF, pairs.shifted_down(32)
    values, lengths = joined(
        first & ((1 << LONGEST_VALUE) - 1),
        first.shifted_down(LONGEST_VALUE),
        second & ((1 << LONGEST_VALUE) - 1),
        second.shifted_down(LONGEST_VALUE),
    )
    even, odd = range(0, PACKED // 2, 2), range(1, PACKED // 2, 2)
    values, lengths = joined(
        values.shuffled(even), lengths.shuffled(even), values.shuffled(odd), lengths.shuffled(odd)
    )
    values.store(codes)
    lengths.store(codes + 32)
    return (lengths > 56).packed()


@inlined
def _note(records: int, count: int, symbol: int) -> int:
    """Add a ready-made symbol to the records."""
    store_32(records, count, symbol)
    store_32(records + 2 * COLUMN, count, 0)
    return count + 1


@inlined
def _encode_regular(contexts: int, block: int, most: int, records: int, coding: Coding) -> int:
    """Note records of the samples up to the next run, and update their contexts (T.87 A.4.2 to A.4.5, A.6).

    Returns their number.
    """
    count = 0
    while count < most:
        context = contexts + 4 * RECORD * load_u16(block, count)
        if context == contexts:
            break
        prediction, difference = load_u16(block + 2 * STEP, count), load_i16(block + 4 * STEP, count)
        a, b = load_i32(context, A), load_i32(context, B)
        c, n = load_i32(context, C), load_i32(context, N)
        error = difference - c
        corrected = prediction + c
        if rarely(corrected & ~coding.max_value) != 0:
            error = difference + prediction - (0 if corrected < 0 else coding.max_value)
        error = signed_from(error, coding.qbpp)
        store_32(records, count, a)
        store_32(records + COLUMN, count, b)
        store_32(records + 2 * COLUMN, count, n)
        store_32(records + 3 * COLUMN, count, error)
        halve = n >> 6  # as N = RESET = 64
        a = shift_down(a + abs(error), halve)
        b = shift_signed(b + error, halve)
        n = shift_down(n, halve) + 1
        # -1 where B <= -N, and where B > 0. Branches in their place cost 20 to 35 % on speckle, and save 10 % on smooth cines.
        low, high = (b + n - 1) >> 63, -b >> 63
        b = min(max(b + (n & low) - (n & high), 1 - n), 0)
        c += low - high
        if rarely(c - signed_from(c, 8)) != 0:
            c = min(max(c, -128), 127)
        store_32(context, A, a)
        store_32(context, B, b)
        store_32(context, C, c)
        store_32(context, N, n)
        count += 1
    return count


@inlined
def _pack(
    records: int, count: int, codes: int, word: int, held: int, out: int, coding: Coding
) -> tuple[int, int, int, int]:
    """Write records, `PACKED` at a time, as long as there are that many; the rest move to the front."""
    done = 0
    while done + PACKED <= count:
        long = symbols(records + 4 * done, codes, coding.limit - coding.qbpp - 1, coding.qbpp, coding.limit)
        if long == 0:
            for four in range(PACKED // 4):
                word, held, out = emit(word, held, out, load_i64(codes, four), load_i64(codes + 32, four))
        else:
            for one in range(PACKED):
                word, held, out = emit_symbol(word, held, out, load_u32(codes + 64, one))
        done += PACKED
    if done:
        for column in range(4):
            copy_bytes(records + COLUMN * column, records + COLUMN * column + 4 * done, 4 * PACKED)
    return count - done, word, held, out


@inlined
def _initialise(coding: Coding, contexts: int) -> None:
    """Start a scan (T.87 A.2.1)."""
    for context in range(0, RUN_INDEX, RECORD):
        store_32(contexts, context + A, coding.initial_a)
        store_32(contexts, context + B, 0)
        store_32(contexts, context + C, 0)
        store_32(contexts, context + N, 1)
    for component in range(4):
        store_32(contexts, RUN_INDEX + component, 0)


def row_pitch(columns: int) -> int:
    """Return samples from one row to the next: a row, its borders, and what vectors touch behind it."""
    return columns + 2 + STEP


@inlined
def _encode_run(
    current: int,
    above: int,
    x: int,
    columns: int,
    contexts: int,
    run_index: int,
    orders: int,
    records: int,
    count: int,
    coding: Coding,
) -> tuple[int, int, int]:
    """Encode a run that starts at column ``x``, and the sample that ends it (T.87 A.7).

    Returns the column behind them, the number of records and the run index.
    """
    ra = load_u16(current, x - 1)
    length = 0
    while x + length < columns:
        same = matching(current + 2 * (x + length), ra)
        length += same
        if same < STEP:
            break
    length = min(length, columns - x)
    x += length
    ones, rest, run_index = run_segments(orders, run_index, length)
    if x == columns and rest > 0:
        ones += 1
    while ones > 0:
        some = min(ones, LONGEST_VALUE)
        count = _note(records, count, (shift_up(1, some) - 1) | shift_up(some, LONGEST_VALUE))
        ones -= some
    if x < columns:
        order = load_u8(orders, run_index)
        count = _note(records, count, rest | shift_up(order + 1, LONGEST_VALUE))
        interruptions = contexts + 4 * RECORD * REGULAR_CONTEXTS
        rb, sample = load_u16(above, x), load_u16(current, x)
        count = _note(records, count, interruption_symbol(interruptions, order, ra, rb, sample, coding))
        run_index = max(run_index - 1, 0)
        x += 1
    return x, count, run_index


@jit(
    types.int64(
        *[types.int64] * 5,
        types.NamedUniTuple(types.int64, len(Coding._fields), Coding),
        types.Array(types.uint16, 3, "C"),
        types.Array(types.int32, 1, "C"),
        types.Array(types.int32, 1, "C"),
        types.Array(types.uint8, 1, "C"),
        types.Array(types.uint8, 1, "C"),
    ),
    error_model="numpy",
)
def _encode_plain(
    frame: int,
    sample_bytes: int,
    height: int,
    columns: int,
    components: int,
    coding: Coding,
    rows_: NDArray[np.uint16],
    contexts_: NDArray[np.int32],
    records_: NDArray[np.int32],
    orders_: NDArray[np.uint8],
    plain: NDArray[np.uint8],
) -> int:
    """Write the plain bits of a frame's only scan; returns their number."""
    rows, contexts, records, orders = address(rows_), address(contexts_), address(records_), address(orders_)
    block = records + 4 * COLUMN
    codes = block + 6 * STEP
    _initialise(coding, contexts)
    rows_[:] = 0
    plane = 2 * rows_.shape[2]
    word, held, out = 0, 0, address(plain)
    count = 0
    for y in range(height):
        # Addresses of the first column, which a border sample precedes.
        all_above = rows + plane * components * (y & 1) + 2
        all_current = rows + plane * components * (1 - (y & 1)) + 2
        first = y * columns * components
        read_pixels(frame, sample_bytes, first, columns, components, all_current, plane, coding.max_value)
        for component in range(components):
            above, current = all_above + plane * component, all_current + plane * component
            store_16(current, -1, load_u16(above, 0))
            store_16(above, columns, load_u16(above, columns - 1))
            run_index = load_i32(contexts, RUN_INDEX + component)
            x = 0
            while x < columns:
                if count > CAPACITY // 2:
                    count, word, held, out = _pack(records, count, codes, word, held, out, coding)
                start, end = x, min(x + STEP, columns)
                prepare(
                    above + 2 * x, current + 2 * x, block, coding.max_value, coding.t1, coding.t2, coding.t3
                )
                while x < end:
                    regular = _encode_regular(
                        contexts, block + 2 * (x - start), end - x, records + 4 * count, coding
                    )
                    x += regular
                    count += regular
                    if x < end:
                        x, count, run_index = _encode_run(
                            current, above, x, columns, contexts, run_index, orders, records, count, coding
                        )
            store_32(contexts, RUN_INDEX + component, run_index)
    for _ in range(PACKED - 1):
        count = _note(records, count, 0)
    _, _, held, out = _pack(records, count, codes, word, held, out, coding)
    return 8 * (out - address(plain)) + held


def encode_scan(frame: NDArray[Any], coding: Coding, prologue: bytes, epilogue: bytes) -> bytes:
    """Encode a frame, (rows, columns) or (rows, columns, components) of unsigned samples, C-contiguous, as one scan.

    Bits above those of MAXVAL are ignored. Returns the codestream: what comes before the entropy-coded segment, that, and what
    follows.
    """
    height, columns = frame.shape[:2]
    components = frame.shape[2] if frame.ndim == 3 else 1
    plain = np.empty(plain_capacity(frame.size, coding), np.uint8)
    bits = _encode_plain(
        frame.ctypes.data,
        frame.itemsize,
        height,
        columns,
        components,
        coding,
        np.empty((2, components, row_pitch(columns)), np.uint16),
        np.empty(RUN_INDEX + 4, np.int32),
        np.empty(4 * CAPACITY + 3 * STEP // 2 + 32, np.int32),
        RUN_ORDERS,
        plain,
    )
    return b"".join((prologue, stuffed(plain, bits).data, epilogue))
