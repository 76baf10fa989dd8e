"""JPEG-LS lossless decoding of sixteen frames of equal geometry in lock-step, one a SIMD lane (T.87 Annex A).

All lanes stand at the same column. At each, `look` finds each lane's context and the zeros its code starts with; `decode` reads the code,
reconstructs the sample and updates the context. The start and the end of a run, and codes too long for the 25 bits that `look` sees, are
events, handled lane by lane in plain code between the two. Columns in which all lanes are inside runs are filled at once.

Memory
------
rows
    Two rows of lanes a component (see `jpegls_lanes`), taking turns as "above" and "current".
lines
    The current row of each frame and component, on its way to the frames.
contexts
    366 regular contexts of sixteen 64-bit words: A in 32 bits, N in 8, B in 8, C in 16 (B and C signed). Lanes that have no
    code to read share the last one, `IDLE`, whose content means nothing. Behind them, by lane, two run interruption
    contexts, then, by component and lane, run indices.
state
    What lasts from column to column; see the offsets below.

Bounds
------
Samples are masked to MAXVAL before they are stored, so that contexts are numbered 0 to 364. A grows by at most RANGE a
sample, which keeps k at or below the sample's bits and all shifts of lanes in regular mode below 32 (those of other lanes mean nothing, and
their results are dropped). Positions are limited to 8 bits behind the end of a lane's code, and nothing is read
further than 24 bytes from a position: `PADDING` covers that. Zeros end a run, so no loop outlasts its row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from cinemill.kernels._jit import inlined, jit
from cinemill.kernels.bits import (
    Value,
    address,
    copy_bytes,
    gathered,
    instructions,
    load_i32,
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    store_16,
    store_32,
    store_64,
    trailing_zeros,
)
from cinemill.kernels.jpegls_decode_model import (
    golomb,
    golomb_parameter,
    interruption,
    quantised,
    run_length,
    write_pixels,
)
from cinemill.kernels.jpegls_lanes import (
    GROUP,
    from_lanes,
    lines_of_lanes,
    load_words,
    rows_of_lanes,
    store_words,
)
from cinemill.kernels.jpegls_parameters import LANES, REGULAR_CONTEXTS, RUN_ORDERS, Coding

CONTEXT = 8 * LANES
"""Bytes of a context's sixteen words."""

IDLE = CONTEXT * REGULAR_CONTEXTS
INTERRUPTIONS = IDLE + CONTEXT
RUN_INDICES = INTERRUPTIONS + 32 * LANES
CONTEXT_BYTES = RUN_INDICES + 4 * LANES * 3

LEFT, ENDING, OFFSETS, SIGNS, POSITIONS, ENDS, WINDOWS, ZEROS, MAPPED, DATA, STATE_BYTES = (
    0,
    32,
    64,
    96,
    128,
    192,
    256,
    320,
    384,
    448,
    576,
)
"""Offsets in ``state``, by lane.

16 bits: how many samples of a run are left, whether its end is due (0 or -1), the context's offset and sign (0 or -1).
32 bits: the position in the code and its limit, the bits there, how many of them are leading zeros, a long code's value.
64 bits: the address of the code.
"""

VISIBLE = 25
"""Bits of code that a 32-bit window surely holds, whatever bit of a byte it starts at."""


@instructions
def look(row: Value, above: Value, state: Value, t1: Value, t2: Value, t3: Value, most_zeros: Value) -> Value:
    """Find contexts and code lengths for a column; the sample to the left is written to it, for runs to go on.

    Returns the lanes with an event in bits 0 to 15, and those inside a run in bits 16 to 31.
    """
    ra, rb = (row - GROUP).load(16, LANES), above.load(16, LANES)
    rc, rd = (above - GROUP).load(16, LANES), (above + GROUP).load(16, LANES)
    thresholds = [ra.like(threshold) for threshold in (t1.like(1), t1, t2, t3)]
    q1, q2, q3 = (quantised(high, low, thresholds) for high, low in ((rd, rb), (rb, rc), (rc, ra)))
    context = q1 * 81 + q2 * 9 + q3
    running = (state + LEFT).load(16, LANES).differs(0).extended(16)
    ending = (state + ENDING).load(16, LANES)
    starting = context.equals(0).extended(16) & ~running
    events = ending | starting
    idle = (events | running).differs(0)
    idle.choose(context.like(IDLE), context.magnitude() * CONTEXT).store(state + OFFSETS)
    (context >> 15).store(state + SIGNS)
    ra.store(row)

    position = (state + POSITIONS).load(32, LANES)
    byte = position.shifted_down(3)
    windows = [
        ((state + (DATA + 8 * lane)).load(64) + byte.lane(lane).resized(64)).load(32) for lane in range(LANES)
    ]
    window = gathered(windows).bytes_reversed() << (position & 7)
    zeros = -(window.shifted_down(8).floor_log2() - (127 + 23))
    window.store(state + WINDOWS)
    zeros.store(state + ZEROS)
    long = (zeros >= most_zeros).extended(16) & ~idle.extended(16)
    return (events | long).differs(0).packed() | (running.differs(0).packed() << 16)


@instructions
def decode(
    row: Value, above: Value, contexts: Value, state: Value, max_value: Value, most_zeros: Value
) -> None:
    """Decode the samples of lanes in regular mode, update their contexts, and move runs on by a column."""
    ra, rb, rc = (row - GROUP).load(16, LANES), above.load(16, LANES), (above - GROUP).load(16, LANES)
    high, low = ra.maximum_unsigned(rb), ra.minimum_unsigned(rb)
    flat = low.at_least_unsigned(rc).choose(high, ra + rb - rc)
    prediction = rc.at_least_unsigned(high).choose(low, flat).resized(32)

    offsets = (state + OFFSETS).load(16, LANES)
    addresses = [contexts + offsets.lane(lane).resized(64) + 8 * lane for lane in range(LANES)]
    a, packed = load_words(addresses)
    n, b, c = packed & 0xFF, (packed << 16) >> 24, packed >> 16
    k = (a | n).floor_log2() - n.floor_log2()
    k = k - (n << k < a).extended(32)
    mapping = ((k - 1) & (b + b + n - 1)) >> 31  # -1 where k = 0 and 2B <= -N

    active = offsets.differs(IDLE)
    position = (state + POSITIONS).load(32, LANES)
    window, zeros = (state + WINDOWS).load(32, LANES), (state + ZEROS).load(32, LANES)
    short = zeros < most_zeros
    mapped = short.choose(
        ((zeros - 1) << k) + window.shifted_down(-(zeros + k) + 31), (state + MAPPED).load(32, LANES)
    )
    length = (zeros + k + 1) & active.extended(32) & short.extended(32)
    position = position + length
    position.minimum_unsigned((state + ENDS).load(32, LANES)).store(state + POSITIONS)

    sign = (state + SIGNS).load(16, LANES).extended(32)
    error = mapped.shifted_down(1) ^ -(mapped & 1) ^ mapping
    prediction = (prediction + ((c ^ sign) - sign)).clamped(0, max_value)
    value = (prediction + ((error ^ sign) - sign)) & max_value
    active.choose(value.resized(16), row.load(16, LANES)).store(row)

    halve = n.shifted_down(6)
    a = (a + error.magnitude().minimum(max_value)).shifted_down(halve)
    b = (b + error) >> halve
    n = n.shifted_down(halve) + 1
    below, beyond = b <= -n, b > 0
    c = (c + below.extended(32) - beyond.extended(32)).clamped(-128, 127)
    b = below.choose((b + n).maximum(-n + 1), beyond.choose((b - n).minimum(0), b))
    store_words(a, n | ((b & 0xFF) << 8) | (c << 16), addresses)

    left = (state + LEFT).load(16, LANES)
    running = left.differs(0).extended(16)
    left = left + running
    left.store(state + LEFT)
    (running & left.equals(0).extended(16)).store(state + ENDING)


@instructions
def shortest_run(state: Value) -> Value:
    """Return how many samples are left in the run of each lane at least."""
    return (state + LEFT).load(16, LANES).least_unsigned().resized(64)


@instructions
def shorten(state: Value, columns: Value) -> None:
    """Move the runs of all lanes on by so many columns, at most `shortest_run`."""
    left = (state + LEFT).load(16, LANES)
    left = left - left.like(columns)
    left.store(state + LEFT)
    left.equals(0).extended(16).store(state + ENDING)


@inlined
def _handle_event(
    lane: int,
    row: int,
    above: int,
    room: int,
    contexts: int,
    run_indices: int,
    orders: int,
    state: int,
    coding: Coding,
) -> None:
    """Read the start of a run, the sample that ends one, or a long code; ``room`` is the number of columns from this one on."""
    data, position = load_i64(state + DATA, lane), load_u32(state + POSITIONS, lane)
    offset = load_u16(state + OFFSETS, lane)
    if offset != IDLE:
        word = contexts + offset + 8 * lane
        k = golomb_parameter(load_u32(word, 0), load_u8(word, 4))
        mapped, position = golomb(data, position, k, coding.limit - coding.qbpp - 1, coding.qbpp)
        store_32(state + MAPPED, lane, mapped)
    else:
        run_index = load_i32(run_indices, lane)
        length = 0
        if load_u16(state + ENDING, lane) == 0:
            length, position, run_index = run_length(orders, data, position, run_index, room)
            store_16(state + LEFT, lane, length)
        if length == 0:
            ra, rb = load_u16(row - GROUP, lane), load_u16(above, lane)
            pair = contexts + INTERRUPTIONS + 32 * lane
            order = load_u8(orders, run_index)
            sample, position = interruption(
                pair, order, 1 if ra == rb else 0, ra, rb, data, position, coding, True
            )
            store_16(row, lane, sample)
            run_index = max(run_index - 1, 0)
        store_32(run_indices, lane, run_index)
    store_32(state + POSITIONS, lane, min(position, load_u32(state + ENDS, lane)))


@inlined
def _row(
    row: int,
    above: int,
    columns: int,
    contexts: int,
    run_indices: int,
    orders: int,
    state: int,
    coding: Coding,
) -> None:
    """Decode a row of one component; ``row`` and ``above`` are the addresses of the first column."""
    most_zeros = min(VISIBLE - coding.qbpp, coding.limit - coding.qbpp - 1)
    x = 0
    while x < columns:
        current, upper = row + GROUP * x, above + GROUP * x
        lanes = look(current, upper, state, coding.t1, coding.t2, coding.t3, most_zeros)
        if lanes >> 16 == 0xFFFF:
            run = shortest_run(state)
            for column in range(1, run):
                copy_bytes(current + GROUP * column, current, GROUP)
            shorten(state, run)
            x += run
            continue
        events = lanes & 0xFFFF
        while events != 0:
            _handle_event(
                trailing_zeros(events),
                current,
                upper,
                columns - x,
                contexts,
                run_indices,
                orders,
                state,
                coding,
            )
            events &= events - 1
        decode(current, upper, contexts, state, coding.max_value, most_zeros)
        x += 1


@inlined
def _initialise(coding: Coding, contexts: int, state: int) -> None:
    """Start a scan in every lane (T.87 A.2.1)."""
    for word in range(INTERRUPTIONS // 8):
        store_64(contexts, word, coding.initial_a | (1 << 32))
    for pair in range(2 * LANES):
        context = contexts + INTERRUPTIONS + 16 * pair
        store_32(context, 0, coding.initial_a)
        store_32(context, 1, 0)
        store_32(context, 3, 1)
    for index in range(3 * LANES):
        store_32(contexts + RUN_INDICES, index, 0)
    for word in range(STATE_BYTES // 8):
        store_64(state, word, 0)


@jit(
    types.void(
        types.Array(types.int64, 1, "C"),
        types.Array(types.int64, 1, "C"),
        types.Array(types.int64, 1, "C"),
        *[types.int64] * 6,
        types.NamedUniTuple(types.int64, len(Coding._fields), Coding),
        types.Array(types.uint16, 4, "C"),
        types.Array(types.uint16, 3, "C"),
        *[types.Array(types.uint8, 1, "C")] * 3,
    ),
    error_model="numpy",
)
def _decode_lanes(
    plain: NDArray[np.int64],
    bits: NDArray[np.int64],
    frames: NDArray[np.int64],
    live: int,
    sample_bytes: int,
    height: int,
    columns: int,
    components: int,
    samples: int,
    coding: Coding,
    rows_: NDArray[np.uint16],
    lines_: NDArray[np.uint16],
    contexts_: NDArray[np.uint8],
    state_: NDArray[np.uint8],
    orders_: NDArray[np.uint8],
) -> None:
    """Decode the codes at sixteen addresses into the first ``live`` frames; ``bits`` becomes the position behind each."""
    rows, lines, contexts = address(rows_), address(lines_), address(contexts_)
    state, orders = address(state_), address(orders_)
    _initialise(coding, contexts, state)
    for lane in range(LANES):
        store_64(state + DATA, lane, plain[lane])
        store_32(state + ENDS, lane, bits[lane] + 8)
    rows_[:] = 0
    row_bytes = GROUP * rows_.shape[2]
    pitch = lines_.shape[2]
    plane = GROUP * pitch
    for y in range(height):
        for component in range(components):
            above = rows + row_bytes * (components * (y & 1) + component)
            current = rows + row_bytes * (components * (1 - (y & 1)) + component)
            copy_bytes(current, above + GROUP, GROUP)
            copy_bytes(above + GROUP * (columns + 1), above + GROUP * columns, GROUP)
            for word in range(LANES // 4):
                store_64(state + ENDING, word, 0)
            run_indices = contexts + RUN_INDICES + 4 * LANES * component
            _row(current + GROUP, above + GROUP, columns, contexts, run_indices, orders, state, coding)
            from_lanes(current, lines + plane * component, pitch, columns)
        first = y * columns * samples
        for lane in range(live):
            line = lines + 2 * pitch * lane
            write_pixels(line, plane, columns, components, frames[lane], sample_bytes, first, samples)
    for lane in range(LANES):
        bits[lane] = load_u32(state + POSITIONS, lane)


def decode_scans(
    codes: list[tuple[NDArray[np.uint8], int]],
    coding: Coding,
    frames: list[NDArray[Any]],
    first: int,
    components: int,
) -> list[int]:
    """Decode one scan of up to sixteen frames of the same shape, dtype and parameters.

    Parameters
    ----------
    codes
        For each frame, the code without stuffed bits, followed by `PADDING` bytes of zeros, and its number of bits.
    coding
        Parameters; they must be `Coding.exact` and have RESET 64.
    frames
        (rows, columns) or (rows, columns, samples), unsigned, C-contiguous.
    first
        The sample of the frames' pixels that the scan's first component goes to.
    components
        Components in the scan, interleaved by line.

    Returns
    -------
    list of int
        Bits read from each code; more than there are when it is truncated, and the frame then wrong.
    """
    height, columns = frames[0].shape[:2]
    lanes = codes + codes[-1:] * (LANES - len(codes))
    bits = np.array([size for _, size in lanes], np.int64)
    _decode_lanes(
        np.array([plain.ctypes.data for plain, _ in lanes], np.int64),
        bits,
        np.array([frame.ctypes.data + first * frame.itemsize for frame in frames], np.int64),
        len(frames),
        frames[0].itemsize,
        height,
        columns,
        components,
        frames[0].shape[2] if frames[0].ndim == 3 else 1,
        coding,
        rows_of_lanes(components, columns),
        lines_of_lanes(components, columns),
        np.empty(CONTEXT_BYTES, np.uint8),
        np.empty(STATE_BYTES, np.uint8),
        RUN_ORDERS,
    )
    return [int(size) for size in bits[: len(codes)]]
