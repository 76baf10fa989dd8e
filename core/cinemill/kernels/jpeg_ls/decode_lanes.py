"""JPEG-LS lossless decoding of frames of equal geometry in lock-step, one a SIMD lane (T.87 Annex A).

All lanes stand at the same column. At each, `look` finds each lane's context and the zeros its code starts with; `decode` reads the code,
reconstructs the sample and updates the context. The start and the end of a run, and codes too long for the 25 bits that `look` sees, are
events, handled lane by lane in plain code between the two. Columns in which all lanes are inside runs are filled at once.

Each step waits for the one before it. Banks of sixteen lanes take turns, and one fills the waits of the other: 32 frames
take a fifth less time than twice sixteen.

Memory
------
rows
    For each bank, two rows of lanes a component (see `lanes`), taking turns as "above" and "current".
lines
    The current row of each frame and component, on its way to the frames.
lanes
    What each bank knows, bank after bank; see the offsets below. Its 366 regular contexts are sixteen 64-bit words each: A in 32
    bits, N in 8, B in 8, C in 16 (B and C signed). Lanes that have no code to read share the last one, `IDLE`, whose
    content means nothing.

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
from numpy.typing import NDArray

from cinemill.kernels.jpeg_ls.decode_model import (
    golomb,
    golomb_parameter,
    interruption,
    quantised,
    run_length,
    write_pixels,
)
from cinemill.kernels.jpeg_ls.lanes import (
    GROUP,
    from_lanes,
    lines_of_lanes,
    load_words,
    rows_of_lanes,
    store_words,
)
from cinemill.kernels.jpeg_ls.parameters import LANES, REGULAR_CONTEXTS, RUN_ORDERS, Coding
from cinemill.kernels.machine import types
from cinemill.kernels.machine.bits import (
    address,
    copy_bytes,
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
from cinemill.kernels.machine.instructions import Value, gathered, instructions
from cinemill.kernels.machine.jit import inlined, jit

CONTEXT = 8 * LANES
"""Bytes of a context's sixteen words."""

IDLE = CONTEXT * REGULAR_CONTEXTS

LEFT, ENDING, OFFSETS, SIGNS = 0, 32, 64, 96
"""Offsets in ``lanes``, 16 bits a lane: how many samples of a run are left, whether its end is due (0 or -1), the context's
offset and sign (0 or -1)."""

POSITIONS, ENDS, WINDOWS, ZEROS, MAPPED = 128, 192, 256, 320, 384
"""32 bits a lane: the position in the code and its limit, the bits there, how many of them are leading zeros, a long code's value."""

DATA, EVENTS, CONTEXTS = 448, 576, 640
"""64 bits a lane: the address of the code. 64 bits: which lanes have an event in this column. Then, the contexts."""

INTERRUPTIONS = CONTEXTS + IDLE + CONTEXT
RUN_INDICES = INTERRUPTIONS + 32 * LANES
BANK_BYTES = RUN_INDICES + 4 * LANES * 3
"""Two run interruption contexts a lane; by component and lane, run indices; and all bytes of a bank."""

VISIBLE = 25
"""Bits of code that a 32-bit window surely holds, whatever bit of a byte it starts at."""


@instructions
def look(row: Value, above: Value, lanes: Value, t1: Value, t2: Value, t3: Value, most_zeros: Value) -> Value:
    """Find contexts and code lengths for a column; the sample to the left is written to it, for runs to go on.

    Returns the lanes inside a run.
    """
    ra, rb = (row - GROUP).load(16, LANES), above.load(16, LANES)
    rc, rd = (above - GROUP).load(16, LANES), (above + GROUP).load(16, LANES)
    thresholds = [ra.like(threshold) for threshold in (t1.like(1), t1, t2, t3)]
    q1, q2, q3 = (quantised(high, low, thresholds) for high, low in ((rd, rb), (rb, rc), (rc, ra)))
    context = q1 * 81 + q2 * 9 + q3
    running = (lanes + LEFT).load(16, LANES).differs(0).extended(16)
    ending = (lanes + ENDING).load(16, LANES)
    starting = context.equals(0).extended(16) & ~running
    events = ending | starting
    idle = (events | running).differs(0)
    idle.choose(context.like(IDLE), context.magnitude() * CONTEXT).store(lanes + OFFSETS)
    (context >> 15).store(lanes + SIGNS)
    ra.store(row)

    position = (lanes + POSITIONS).load(32, LANES)
    byte = position.shifted_down(3)
    windows = [
        ((lanes + (DATA + 8 * lane)).load(64) + byte.lane(lane).resized(64)).load(32) for lane in range(LANES)
    ]
    window = gathered(windows).bytes_reversed() << (position & 7)
    zeros = -(window.shifted_down(8).floor_log2() - (127 + 23))
    window.store(lanes + WINDOWS)
    zeros.store(lanes + ZEROS)
    long = (zeros >= most_zeros).extended(16) & ~idle.extended(16)
    (events | long).differs(0).packed().store(lanes + EVENTS)
    return running.differs(0).packed()


@instructions
def decode(row: Value, above: Value, lanes: Value, max_value: Value, most_zeros: Value) -> None:
    """Decode the samples of lanes in regular mode, update their contexts, and move runs on by a column."""
    ra, rb, rc = (row - GROUP).load(16, LANES), above.load(16, LANES), (above - GROUP).load(16, LANES)
    high, low = ra.maximum_unsigned(rb), ra.minimum_unsigned(rb)
    flat = low.at_least_unsigned(rc).choose(high, ra + rb - rc)
    prediction = rc.at_least_unsigned(high).choose(low, flat).resized(32)

    offsets = (lanes + OFFSETS).load(16, LANES)
    addresses = [lanes + CONTEXTS + offsets.lane(lane).resized(64) + 8 * lane for lane in range(LANES)]
    a, packed = load_words(addresses)
    n, b, c = packed & 0xFF, (packed << 16) >> 24, packed >> 16
    k = (a | n).floor_log2() - n.floor_log2()
    k = k - (n << k < a).extended(32)
    mapping = ((k - 1) & (b + b + n - 1)) >> 31  # -1 where k = 0 and 2B <= -N

    active = offsets.differs(IDLE)
    position = (lanes + POSITIONS).load(32, LANES)
    window, zeros = (lanes + WINDOWS).load(32, LANES), (lanes + ZEROS).load(32, LANES)
    short = zeros < most_zeros
    mapped = short.choose(
        ((zeros - 1) << k) + window.shifted_down(-(zeros + k) + 31), (lanes + MAPPED).load(32, LANES)
    )
    length = (zeros + k + 1) & active.extended(32) & short.extended(32)
    position = position + length
    position.minimum_unsigned((lanes + ENDS).load(32, LANES)).store(lanes + POSITIONS)

    sign = (lanes + SIGNS).load(16, LANES).extended(32)
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

    left = (lanes + LEFT).load(16, LANES)
    running = left.differs(0).extended(16)
    left = left + running
    left.store(lanes + LEFT)
    (running & left.equals(0).extended(16)).store(lanes + ENDING)


@instructions
def shortest_run(lanes: Value) -> Value:
    """Return how many samples are left in the run of each lane at least."""
    return (lanes + LEFT).load(16, LANES).least_unsigned().resized(64)


@instructions
def shorten(lanes: Value, columns: Value) -> None:
    """Move the runs of all lanes on by so many columns, at most `shortest_run`."""
    left = (lanes + LEFT).load(16, LANES)
    left = left - left.like(columns)
    left.store(lanes + LEFT)
    left.equals(0).extended(16).store(lanes + ENDING)


@inlined
def _handle_event(
    lane: int, row: int, above: int, room: int, lanes: int, component: int, orders: int, coding: Coding
) -> None:
    """Read the start of a run, the sample that ends one, or a long code; ``room`` is the number of columns from this one on."""
    data, position = load_i64(lanes + DATA, lane), load_u32(lanes + POSITIONS, lane)
    offset = load_u16(lanes + OFFSETS, lane)
    if offset != IDLE:
        word = lanes + CONTEXTS + offset + 8 * lane
        k = golomb_parameter(load_u32(word, 0), load_u8(word, 4))
        mapped, position = golomb(data, position, k, coding.limit - coding.qbpp - 1, coding.qbpp)
        store_32(lanes + MAPPED, lane, mapped)
    else:
        run_indices = lanes + RUN_INDICES + 4 * LANES * component
        run_index = load_i32(run_indices, lane)
        length = 0
        if load_u16(lanes + ENDING, lane) == 0:
            length, position, run_index = run_length(orders, data, position, run_index, room)
            store_16(lanes + LEFT, lane, length)
        if length == 0:
            ra, rb = load_u16(row - GROUP, lane), load_u16(above, lane)
            pair = lanes + INTERRUPTIONS + 32 * lane
            order = load_u8(orders, run_index)
            sample, position = interruption(
                pair, order, 1 if ra == rb else 0, ra, rb, data, position, coding, True
            )
            store_16(row, lane, sample)
            run_index = max(run_index - 1, 0)
        store_32(run_indices, lane, run_index)
    store_32(lanes + POSITIONS, lane, min(position, load_u32(lanes + ENDS, lane)))


@inlined
def _row(
    row: int,
    above: int,
    apart: int,
    columns: int,
    lanes: int,
    banks: int,
    component: int,
    orders: int,
    coding: Coding,
) -> None:
    """Decode a row of one component in each bank.

    ``row`` and ``above`` are the addresses of the first column for the first bank; those of the next are ``apart`` bytes on.
    """
    most_zeros = min(VISIBLE - coding.qbpp, coding.limit - coding.qbpp - 1)
    x = 0
    while x < columns:
        current, upper = row + GROUP * x, above + GROUP * x
        running = 0xFFFF
        for bank in range(banks):
            here, up, own = current + apart * bank, upper + apart * bank, lanes + BANK_BYTES * bank
            running &= look(here, up, own, coding.t1, coding.t2, coding.t3, most_zeros)
        if running == 0xFFFF:
            run = columns
            for bank in range(banks):
                run = min(run, shortest_run(lanes + BANK_BYTES * bank))
            for bank in range(banks):
                here = current + apart * bank
                for column in range(1, run):
                    copy_bytes(here + GROUP * column, here, GROUP)
                shorten(lanes + BANK_BYTES * bank, run)
            x += run
            continue
        for bank in range(banks):
            here, up, own = current + apart * bank, upper + apart * bank, lanes + BANK_BYTES * bank
            events = load_i64(own + EVENTS, 0)
            while events != 0:
                lane = trailing_zeros(events)
                _handle_event(lane, here, up, columns - x, own, component, orders, coding)
                events &= events - 1
        for bank in range(banks):
            here, up, own = current + apart * bank, upper + apart * bank, lanes + BANK_BYTES * bank
            decode(here, up, own, coding.max_value, most_zeros)
        x += 1


@inlined
def _initialise(coding: Coding, lanes: int) -> None:
    """Start a scan in every lane of a bank (T.87 A.2.1)."""
    for word in range(CONTEXTS // 8):
        store_64(lanes, word, 0)
    for word in range((INTERRUPTIONS - CONTEXTS) // 8):
        store_64(lanes + CONTEXTS, word, coding.initial_a | (1 << 32))
    for pair in range(2 * LANES):
        context = lanes + INTERRUPTIONS + 16 * pair
        store_32(context, 0, coding.initial_a)
        store_32(context, 1, 0)
        store_32(context, 3, 1)
    for index in range(3 * LANES):
        store_32(lanes + RUN_INDICES, index, 0)


@jit(
    types.void(
        types.Array(types.int64, 1, "C"),
        types.Array(types.int64, 1, "C"),
        types.Array(types.int64, 1, "C"),
        *[types.int64] * 6,
        types.NamedUniTuple(types.int64, len(Coding._fields), Coding),
        types.Array(types.uint16, 4, "C"),
        types.Array(types.uint16, 3, "C"),
        *[types.Array(types.uint8, 1, "C")] * 2,
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
    lanes_: NDArray[np.uint8],
    orders_: NDArray[np.uint8],
) -> None:
    """Decode the codes at addresses into the first ``live`` frames; ``bits`` becomes the position behind each."""
    rows, lines, lanes, orders = address(rows_), address(lines_), address(lanes_), address(orders_)
    banks = len(plain) // LANES
    for bank in range(banks):
        own = lanes + BANK_BYTES * bank
        _initialise(coding, own)
        for lane in range(LANES):
            store_64(own + DATA, lane, plain[LANES * bank + lane])
            store_32(own + ENDS, lane, bits[LANES * bank + lane] + 8)
    rows_[:] = 0
    row_bytes = GROUP * rows_.shape[2]
    apart = row_bytes * components
    pitch = lines_.shape[2]
    plane = GROUP * pitch
    for y in range(height):
        for component in range(components):
            above = rows + banks * apart * (y & 1) + row_bytes * component
            current = rows + banks * apart * (1 - (y & 1)) + row_bytes * component
            for bank in range(banks):
                here, up = current + apart * bank, above + apart * bank
                copy_bytes(here, up + GROUP, GROUP)
                copy_bytes(up + GROUP * (columns + 1), up + GROUP * columns, GROUP)
                for word in range(LANES // 4):
                    store_64(lanes + BANK_BYTES * bank + ENDING, word, 0)
            _row(current + GROUP, above + GROUP, apart, columns, lanes, banks, component, orders, coding)
            for bank in range(banks):
                line = lines + plane * (components * bank + component)
                from_lanes(current + apart * bank, line, pitch, columns)
        first = y * columns * samples
        for lane in range(live):
            line = lines + plane * components * (lane // LANES) + 2 * pitch * (lane % LANES)
            write_pixels(line, plane, columns, components, frames[lane], sample_bytes, first, samples)
    for lane in range(LANES * banks):
        bits[lane] = load_u32(lanes + BANK_BYTES * (lane // LANES) + POSITIONS, lane % LANES)


def decode_scans(
    codes: list[tuple[NDArray[np.uint8], int]],
    coding: Coding,
    frames: list[NDArray[Any]],
    first: int,
    components: int,
) -> list[int]:
    """Decode one scan of frames of the same shape, dtype and parameters.

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
    banks = -(-len(codes) // LANES)
    lanes = codes + codes[-1:] * (LANES * banks - len(codes))
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
        rows_of_lanes(banks * components, columns),
        lines_of_lanes(banks * components, columns),
        np.empty(banks * BANK_BYTES, np.uint8),
        RUN_ORDERS,
    )
    return [int(size) for size in bits[: len(codes)]]
