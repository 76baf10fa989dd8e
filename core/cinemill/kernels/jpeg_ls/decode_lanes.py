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
    The current row of each frame and component, on its way to the frames; where samples are bytes and frames have no others, what
    `tiles` calls ``room``, for each bank, and behind it a row that nobody wants.
lanes
    What each bank knows, bank after bank; offsets are in `decode_columns`. The 366 regular contexts are sixteen 64-bit words each: A in 32
    bits, N in 8, B in 8, C in 16 (B and C signed). Lanes that have no code to read share the last one, `IDLE`, whose
    content means nothing.

Bounds
------
Samples are masked to MAXVAL before they are stored, so that contexts are numbered 0 to 364. A grows by at most RANGE a
sample, which keeps k at or below the sample's bits and all shifts of lanes in regular mode below 32 (those of other lanes mean nothing, and
their results are dropped). Codes begin less than `REACH` bytes from the first one and have fewer than 2**26 bits, which the caller sees to,
so that positions count in 32 bits from there. They are limited to 8 bits behind the end of a lane's code, and nothing is read
further than 24 bytes from a position: `PADDING` covers that. Zeros end a run, so no loop outlasts its row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinemill.kernels.jpeg_ls.bitstream import PADDING
from cinemill.kernels.jpeg_ls.decode_columns import (
    BANK_BYTES,
    BYTES,
    CONTEXTS,
    ENDING,
    ENDS,
    EVENTS,
    IDLE,
    INTERRUPTIONS,
    LEFT,
    OFFSETS,
    POSITIONS,
    RUN_INDICES,
    WINDOWS,
    ZEROS,
    decode,
    lead_to,
    look,
    shorten,
    shortest_run,
)
from cinemill.kernels.jpeg_ls.decode_model import (
    golomb,
    golomb_parameter,
    interruption,
    run_length,
    write_pixels,
)
from cinemill.kernels.jpeg_ls.lanes import (
    GROUP,
    aligned,
    from_lanes,
    lines_of_lanes,
    rows_of_lanes,
    side_by_side,
)
from cinemill.kernels.jpeg_ls.parameters import (
    LANES,
    RUN_ORDERS,
    Coding,
)
from cinemill.kernels.jpeg_ls.tiles import ROOM, bytes_from_lanes
from cinemill.kernels.machine import types
from cinemill.kernels.machine.bits import (
    address,
    copy_bytes,
    load_i32,
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    shift_up,
    store_16,
    store_32,
    store_64,
    trailing_zeros,
)
from cinemill.kernels.machine.jit import inlined, jit

VISIBLE = 25
"""Bits of code that a 32-bit window surely holds, whatever bit of a byte it starts at."""


@inlined
def _handle_event(
    lane: int,
    row: int,
    above: int,
    room: int,
    lanes: int,
    data: int,
    component: int,
    orders: int,
    coding: Coding,
) -> None:
    """Read the start of a run, the sample that ends one, or a long code; ``room`` is the number of columns from this one on."""
    position = load_u32(lanes + POSITIONS, lane)
    offset = load_u16(lanes + OFFSETS, lane)
    if offset != IDLE:
        word = lanes + CONTEXTS + offset + 8 * lane
        k = golomb_parameter(load_u32(word, 0), load_u8(word, 4))
        mapped, position = golomb(data, position, k, coding.limit - coding.qbpp - 1, coding.qbpp)
        # `decode` finds the same in a window that it takes as a whole.
        position = min(position, load_u32(lanes + ENDS, lane)) - 32
        store_32(lanes + ZEROS, lane, 31 - k)
        store_32(lanes + WINDOWS, lane, mapped - shift_up(30 - k, k))
        store_32(lanes + POSITIONS, lane, position)
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
    data: int,
    component: int,
    orders: int,
    coding: Coding,
) -> None:
    """Decode a row of one component in each bank.

    ``row`` and ``above`` are the addresses of the first column for the first bank; those of the next are ``apart`` bytes on.
    """
    shortest = shift_up(1, 31 - min(VISIBLE - coding.qbpp, coding.limit - coding.qbpp - 1))
    for bank in range(banks):
        lead_to(above + apart * bank, lanes + BANK_BYTES * bank, coding.t1, coding.t2, coding.t3)
    x = 0
    while x < columns:
        current, upper = row + GROUP * x, above + GROUP * x
        running = 0xFFFF
        for bank in range(banks):
            here, up, own = current + apart * bank, upper + apart * bank, lanes + BANK_BYTES * bank
            running &= look(here, up, own, data, coding.t1, coding.t2, coding.t3, shortest)
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
            if run > 1 and x < columns:
                for bank in range(banks):
                    here, own = above + GROUP * x + apart * bank, lanes + BANK_BYTES * bank
                    lead_to(here, own, coding.t1, coding.t2, coding.t3)
            continue
        for bank in range(banks):
            here, up, own = current + apart * bank, upper + apart * bank, lanes + BANK_BYTES * bank
            events = load_i64(own + EVENTS, 0)
            while events != 0:
                lane = trailing_zeros(events)
                _handle_event(lane, here, up, columns - x, own, data, component, orders, coding)
                events &= events - 1
        for bank in range(banks):
            here, up, own = current + apart * bank, upper + apart * bank, lanes + BANK_BYTES * bank
            decode(here, up, own, coding.max_value)
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
        types.int64,
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
    data: int,
    starts: NDArray[np.int64],
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
    """Decode codes, which start at bits of ``data``, into the first ``live`` frames; ``bits`` becomes the bits read of each."""
    rows, lines, lanes, orders = address(rows_), address(lines_), address(lanes_), address(orders_)
    banks = len(starts) // LANES
    for bank in range(banks):
        own = lanes + BANK_BYTES * bank
        _initialise(coding, own)
        for lane in range(LANES):
            start = starts[LANES * bank + lane]
            store_32(own + POSITIONS, lane, start)
            store_32(own + BYTES, lane, start >> 3)
            store_32(own + ENDS, lane, start + bits[LANES * bank + lane] + 8)
    rows_[:] = 0
    row_bytes = GROUP * rows_.shape[2]
    apart = row_bytes * components
    pitch = lines_.shape[2]
    plane = GROUP * pitch
    tiled = sample_bytes == 1 and components == samples
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
            _row(
                current + GROUP, above + GROUP, apart, columns, lanes, banks, data, component, orders, coding
            )
            for bank in range(banks if not tiled else 0):
                line = lines + plane * (components * bank + component)
                from_lanes(current + apart * bank, line, pitch, columns)
        first = y * columns * samples
        for bank in range(banks if tiled else 0):
            room = lines + plane * components * bank
            for lane in range(LANES):
                number = LANES * bank + lane
                store_64(room, lane, frames[number] + first if number < live else room + ROOM)
            current = rows + banks * apart * (1 - (y & 1)) + apart * bank
            bytes_from_lanes(current, row_bytes, room, columns, components)
        for lane in range(live if not tiled else 0):
            line = lines + plane * components * (lane // LANES) + 2 * pitch * (lane % LANES)
            write_pixels(line, plane, columns, components, frames[lane], sample_bytes, first, samples)
    for lane in range(LANES * banks):
        position = load_u32(lanes + BANK_BYTES * (lane // LANES) + POSITIONS, lane % LANES)
        bits[lane] = position - starts[lane]


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
    data, starts, joined = side_by_side([plain[: size // 8 + 1 + PADDING] for plain, size in lanes])
    _decode_lanes(
        data,
        starts,
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
        aligned((banks * BANK_BYTES,), np.uint8),
        RUN_ORDERS,
    )
    del joined
    return [int(size) for size in bits[: len(codes)]]
