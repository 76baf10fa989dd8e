"""JPEG-LS lossless encoding of sixteen frames of equal geometry in lock-step, one a SIMD lane (T.87 Annex A).

All lanes stand at the same column. At each, `classify` finds which lanes code a sample in regular mode, which are in a run,
and in which a run ends; `code` then makes the symbols of the regular ones and updates a context for each. A run's end is
an event, handled lane by lane in plain code. Columns at which all lanes stay in their runs are skipped.
A column is classified before the one in front of it is coded: neither waits for the other, which saves a sixth of the time.
Symbols fill slots of sixteen; as soon as four slots are full, `flush` joins four symbols in each lane and appends them to its code.

Memory
------
rows
    Two rows of lanes a component (see `jpegls_lanes`), taking turns as "above" and "current".
lines
    The current row of each frame and component, as it comes from the frames.
contexts
    366 regular contexts of sixteen 64-bit words: A in 32 bits, N in 8, B in 8, C in 16 (B and C signed). Lanes that have
    nothing to code share the last one, `IDLE`, whose content means nothing. Behind them, by lane, two run interruption
    contexts, then, by component and lane, run indices.
slots
    Symbols on their way to the codes (see `jpegls_slots`).
state
    What lasts from column to column, and what `classify` tells `code` about two columns; see the offsets below.
plain
    The codes as plain bits, ``capacity`` bytes a lane.

Bounds
------
Input is masked to MAXVAL, so that context numbers stay below `IDLE`. At most three slots are in use when a column begins, and it
takes at most four: of a run's up to 32 segments, 24 fit one symbol. No sample takes more than LIMIT bits, codes of
runs included; `plain_capacity` follows from that.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from cinemill.kernels.jpeg_ls.bitstream import stuffed
from cinemill.kernels.jpeg_ls.encode_model import (
    LONGEST_VALUE,
    Context,
    Neighbourhood,
    golomb_symbol,
    interruption_symbol,
    modelled,
    plain_capacity,
    read_pixels,
    run_segments,
    updated,
)
from cinemill.kernels.jpeg_ls.lanes import (
    GROUP,
    lines_of_lanes,
    load_words,
    rows_of_lanes,
    store_words,
    to_lanes,
)
from cinemill.kernels.jpeg_ls.parameters import LANES, REGULAR_CONTEXTS, RUN_ORDERS, Coding
from cinemill.kernels.jpeg_ls.slots import SLOT, SLOTS_BYTES, code_bits, flush, start_codes
from cinemill.kernels.machine.bits import (
    address,
    copy_bytes,
    load_i32,
    load_u8,
    load_u16,
    shift_up,
    store_16,
    store_32,
    store_64,
    trailing_zeros,
)
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined, jit

CONTEXT = 8 * LANES
"""Bytes of a context's sixteen words."""

IDLE = CONTEXT * REGULAR_CONTEXTS
INTERRUPTIONS = IDLE + CONTEXT
RUN_INDICES = INTERRUPTIONS + 32 * LANES
CONTEXT_BYTES = RUN_INDICES + 4 * LANES * 3

MOST_KEPT = 1 << 28
"""Bytes of address space that a thread keeps for codes; memory is taken by what codes really need."""

RUNNING, LENGTHS, COLUMNS = 0, GROUP, 2 * GROUP
"""Offsets in ``state``, by lane, 16 bits each: whether the lane is in a run (0 or -1), and the run's length so far; then,
taking turns, two columns."""

OFFSETS, PREDICTIONS, SAMPLES, ENDED, COLUMN = 0, GROUP, 2 * GROUP, 3 * GROUP, 4 * GROUP
"""Offsets in a column, by lane, 16 bits each: the context's offset, the prediction, the sample, the length of a run that ended;
and all bytes."""

STATE_BYTES = COLUMNS + 2 * COLUMN

ALL_RUNNING = 0xFFFF << 16
"""What `classify` returns where all lanes stay in their runs."""


@instructions
def classify(
    row: Value, above: Value, state: Value, column: Value, max_value: Value, t1: Value, t2: Value, t3: Value
) -> Value:
    """Model a column, move runs on by it, and pick the contexts.

    Returns the lanes whose runs end here in bits 0 to 15, and those in a run or at its end in bits 16 to 31.
    """
    near = Neighbourhood(
        sample=row.load(16, LANES),
        ra=(row - GROUP).load(16, LANES),
        rb=above.load(16, LANES),
        rc=(above - GROUP).load(16, LANES),
        rd=(above + GROUP).load(16, LANES),
    )
    thresholds = [near.ra.like(threshold) for threshold in (t1.like(1), t1, t2, t3)]
    context, prediction, sample = modelled(near, thresholds, max_value)
    running = (state + RUNNING).load(16, LANES) | context.equals(0).extended(16)
    ended = running & near.sample.differs(near.ra).extended(16)
    lasting = running & ~ended
    lasting.store(state + RUNNING)
    lengths = (state + LENGTHS).load(16, LANES)
    ((lengths - lasting) & ~ended).store(state + LENGTHS)
    running.differs(0).choose(context.like(IDLE), context * CONTEXT).store(column + OFFSETS)
    prediction.store(column + PREDICTIONS)
    sample.store(column + SAMPLES)
    lengths.store(column + ENDED)
    return ended.differs(0).packed() | (running.differs(0).packed() << 16)


@instructions
def unchanged(row: Value) -> Value:
    """Tell (as non-zero) whether all lanes repeat the sample to the left."""
    return row.load(16, LANES).differs((row - GROUP).load(16, LANES)).packed().equals(0).resized(64)


@instructions
def lengthen(state: Value, columns: Value) -> None:
    """Add columns to the runs of all lanes."""
    lengths = (state + LENGTHS).load(16, LANES)
    (lengths + lengths.like(columns)).store(state + LENGTHS)


@instructions
def code(contexts: Value, column: Value, slot: Value, qbpp: Value, longest: Value, limit: Value) -> None:
    """Write the symbols of lanes in regular mode to a slot, zeros for the others, and update contexts."""
    offsets = (column + OFFSETS).load(16, LANES)
    addresses = [contexts + offsets.lane(lane).resized(64) + 8 * lane for lane in range(LANES)]
    a, packed = load_words(addresses)
    context = Context(a, (packed << 16) >> 24, packed >> 16, packed & 0xFF)
    prediction = (column + PREDICTIONS).load(16, LANES).resized(32)
    sample = (column + SAMPLES).load(16, LANES).resized(32)
    max_value = (a.like(1) << qbpp) - 1
    corrected = (prediction + context.c).clamped(0, max_value)
    error = (sample - corrected).signed_from(a.like(qbpp))
    symbol = golomb_symbol(context, error, a.like(longest), a.like(qbpp), a.like(limit))
    (symbol & offsets.differs(IDLE).extended(32)).store(slot)
    after = updated(context, error)
    store_words(after.a, after.n | ((after.b & 0xFF) << 8) | (after.c << 16), addresses)


@inlined
def _end_run(
    lane: int,
    length: int,
    slots: int,
    count: int,
    contexts: int,
    run_indices: int,
    orders: int,
    row: int,
    above: int,
    at_end: bool,
    coding: Coding,
) -> int:
    """Write a lane's run, and the sample that ended it unless the row did; returns the first slot behind them."""
    run_index = load_i32(run_indices, lane)
    ones, rest, run_index = run_segments(orders, run_index, length)
    if at_end and rest > 0:
        ones += 1
    while ones > 0:
        some = min(ones, LONGEST_VALUE)
        store_32(slots + SLOT * count, lane, (shift_up(1, some) - 1) | shift_up(some, LONGEST_VALUE))
        count += 1
        ones -= some
    if not at_end:
        order = load_u8(orders, run_index)
        store_32(slots + SLOT * count, lane, rest | shift_up(order + 1, LONGEST_VALUE))
        ra, rb, sample = load_u16(row - GROUP, lane), load_u16(above, lane), load_u16(row, lane)
        symbol = interruption_symbol(contexts + INTERRUPTIONS + 32 * lane, order, ra, rb, sample, coding)
        store_32(slots + SLOT * (count + 1), lane, symbol)
        count += 2
        run_index = max(run_index - 1, 0)
    store_32(run_indices, lane, run_index)
    return count


@inlined
def _classified(x: int, row: int, above: int, state: int, coding: Coding) -> int:
    """Classify column ``x``; see `classify`."""
    column = state + COLUMNS + COLUMN * (x & 1)
    current, upper = row + GROUP * x, above + GROUP * x
    return classify(current, upper, state, column, coding.max_value, coding.t1, coding.t2, coding.t3)


@inlined
def _row(
    row: int,
    above: int,
    columns: int,
    slots: int,
    count: int,
    contexts: int,
    run_indices: int,
    orders: int,
    state: int,
    coding: Coding,
) -> int:
    """Encode a row of one component; ``row`` and ``above`` are the addresses of the first column."""
    longest = coding.limit - coding.qbpp - 1
    x = 0
    upcoming = _classified(0, row, above, state, coding)
    while x < columns:
        lanes, column = upcoming, state + COLUMNS + COLUMN * (x & 1)
        current, upper = row + GROUP * x, above + GROUP * x
        x += 1
        if lanes == ALL_RUNNING:
            skipped = x
            while x < columns and unchanged(row + GROUP * x) != 0:
                x += 1
            lengthen(state, x - skipped)
        if x < columns:
            upcoming = _classified(x, row, above, state, coding)
        if lanes == ALL_RUNNING:
            continue
        code(contexts, column, slots + SLOT * count, coding.qbpp, longest, coding.limit)
        ended = lanes & 0xFFFF
        used = count + 1
        while ended != 0:
            lane = trailing_zeros(ended)
            ended &= ended - 1
            length = load_u16(column + ENDED, lane)
            end = _end_run(
                lane, length, slots, count, contexts, run_indices, orders, current, upper, False, coding
            )
            used = max(used, end)
        count = used
        if count >= 4:
            count = flush(slots, count)
    used = count
    for lane in range(LANES):
        if load_u16(state + RUNNING, lane) != 0:
            length = load_u16(state + LENGTHS, lane)
            end = _end_run(lane, length, slots, count, contexts, run_indices, orders, 0, 0, True, coding)
            used = max(used, end)
            store_16(state + RUNNING, lane, 0)
            store_16(state + LENGTHS, lane, 0)
    return flush(slots, used)


@inlined
def _initialise(coding: Coding, contexts: int, slots: int, state: int, plain: int, capacity: int) -> None:
    """Start a scan in every lane (T.87 A.2.1)."""
    for word in range(INTERRUPTIONS // 8):
        store_64(contexts, word, coding.initial_a | (1 << 32))
    for lane in range(LANES):
        for like_ra in range(2):
            context = contexts + INTERRUPTIONS + 32 * lane + 16 * like_ra
            store_32(context, 0, coding.initial_a)
            store_32(context, 1, 0)
            store_32(context, 3, 1)
    for index in range(3 * LANES):
        store_32(contexts + RUN_INDICES, index, 0)
    for word in range(STATE_BYTES // 8):
        store_64(state, word, 0)
    start_codes(slots, plain, capacity)


@jit(
    types.void(
        types.Array(types.int64, 1, "C"),
        *[types.int64] * 4,
        types.NamedUniTuple(types.int64, len(Coding._fields), Coding),
        types.Array(types.uint16, 4, "C"),
        types.Array(types.uint16, 3, "C"),
        *[types.Array(types.uint8, 1, "C")] * 5,
        types.int64,
        types.Array(types.int64, 1, "C"),
    ),
    error_model="numpy",
)
def _encode_lanes(
    frames: NDArray[np.int64],
    sample_bytes: int,
    height: int,
    columns: int,
    components: int,
    coding: Coding,
    rows_: NDArray[np.uint16],
    lines_: NDArray[np.uint16],
    contexts_: NDArray[np.uint8],
    slots_: NDArray[np.uint8],
    state_: NDArray[np.uint8],
    orders_: NDArray[np.uint8],
    plain_: NDArray[np.uint8],
    capacity: int,
    bits: NDArray[np.int64],
) -> None:
    """Write the plain bits of sixteen frames, whose addresses are given, and their numbers to ``bits``."""
    rows, lines, contexts, slots = address(rows_), address(lines_), address(contexts_), address(slots_)
    state, orders, plain = address(state_), address(orders_), address(plain_)
    _initialise(coding, contexts, slots, state, plain, capacity)
    rows_[:] = 0
    row_bytes = GROUP * rows_.shape[2]
    pitch = lines_.shape[2]
    plane = GROUP * pitch
    count = 0
    for y in range(height):
        first = y * columns * components
        for lane in range(LANES):
            line = lines + 2 * pitch * lane
            read_pixels(frames[lane], sample_bytes, first, columns, components, line, plane, coding.max_value)
        for component in range(components):
            above = rows + row_bytes * (components * (y & 1) + component)
            current = rows + row_bytes * (components * (1 - (y & 1)) + component)
            to_lanes(lines + plane * component, pitch, current, columns)
            copy_bytes(current, above + GROUP, GROUP)
            copy_bytes(above + GROUP * (columns + 1), above + GROUP * columns, GROUP)
            run_indices = contexts + RUN_INDICES + 4 * LANES * component
            count = _row(
                current + GROUP,
                above + GROUP,
                columns,
                slots,
                count,
                contexts,
                run_indices,
                orders,
                state,
                coding,
            )
    flush(slots, (count + 3) & ~3)
    for lane in range(LANES):
        bits[lane] = code_bits(slots, lane, plain + capacity * lane)


_kept = threading.local()


def _room_for_codes(size: int) -> NDArray[np.uint8]:
    """Return at least so many bytes, the same as last time in this thread if they suffice.

    Fresh pages cost colour frames 15 %. What only the worst case of large frames needs is not kept.
    """
    room: NDArray[np.uint8] | None = getattr(_kept, "room", None)
    if room is None or room.size < size:
        room = np.empty(size, np.uint8)
        if size <= MOST_KEPT:
            _kept.room = room
    return room


def encode_scans(frames: list[NDArray[Any]], coding: Coding, prologue: bytes, epilogue: bytes) -> list[bytes]:
    """Encode up to sixteen frames of the same shape, dtype and parameters, each as one scan.

    Frames are (rows, columns) or (rows, columns, 3) of unsigned samples, C-contiguous; bits above those of MAXVAL are ignored.
    Unused lanes repeat the last frame. Returns codestreams: what comes before the entropy-coded segment, that, and what follows.
    """
    shape, size = frames[0].shape, frames[0].size
    height, columns = shape[:2]
    components = shape[2] if len(shape) == 3 else 1
    lanes = frames + frames[-1:] * (LANES - len(frames))
    capacity = plain_capacity(size, coding)
    plain = _room_for_codes(LANES * capacity)
    bits = np.empty(LANES, np.int64)
    _encode_lanes(
        np.array([frame.ctypes.data for frame in lanes], np.int64),
        frames[0].itemsize,
        height,
        columns,
        components,
        coding,
        rows_of_lanes(components, columns),
        lines_of_lanes(components, columns),
        np.empty(CONTEXT_BYTES, np.uint8),
        np.empty(SLOTS_BYTES, np.uint8),
        np.empty(STATE_BYTES, np.uint8),
        RUN_ORDERS,
        plain,
        capacity,
        bits,
    )
    segments = (stuffed(plain[lane * capacity :][:capacity], int(bits[lane])) for lane in range(len(frames)))
    return [b"".join((prologue, segment.data, epilogue)) for segment in segments]
