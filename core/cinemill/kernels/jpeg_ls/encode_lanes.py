"""JPEG-LS lossless encoding of sixteen frames of equal geometry in lock-step, one a SIMD lane (T.87 Annex A).

All lanes stand at the same column. At each, `classify` finds which lanes code a sample in regular mode, which are in a run,
and in which a run ends; `code`, or `code_narrow`, then makes the symbols of the regular ones and updates a context for each. A run's end is
an event, handled lane by lane in plain code. Columns at which all lanes stay in their runs are skipped.
A column is classified before the one in front of it is coded: neither waits for the other, which saves a sixth of the time.
Symbols fill slots of sixteen; as soon as four slots are full, `flush` joins four symbols in each lane and appends them to its code.

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
from numpy.typing import NDArray

from cinemill.kernels.jpeg_ls.bitstream import stuffed
from cinemill.kernels.jpeg_ls.encode_columns import (
    LARGEST_NARROW,
    classify,
    code,
    code_narrow,
    lead_to,
    lengthen,
    unchanged,
)
from cinemill.kernels.jpeg_ls.encode_lanes_state import MEMORY, Column, Memory, Row, Scan
from cinemill.kernels.jpeg_ls.encode_model import (
    LONGEST_VALUE,
    A,
    N,
    interruption_symbol,
    plain_capacity,
    read_pixels,
    run_segments,
)
from cinemill.kernels.jpeg_ls.lanes import (
    GROUP,
    lines_of_lanes,
    rows_of_lanes,
    to_lanes,
)
from cinemill.kernels.jpeg_ls.parameters import LANES, REGULAR_CONTEXTS, RUN_ORDERS, Coding
from cinemill.kernels.jpeg_ls.slots import SLOT, SLOTS_BYTES, code_bits, flush, half_place, start_codes
from cinemill.kernels.jpeg_ls.tiles import bytes_to_lanes
from cinemill.kernels.machine import types
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
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.types import int64, uint8, void

MOST_KEPT = 1 << 28
"""Bytes of address space that a thread keeps for codes; memory is taken by what codes really need."""

ALL_RUNNING = 0xFFFF << 16
"""What `classify` returns where all lanes stay in their runs."""


@inlined
def _end_run(scan: Scan, row: Row, lane: int, length: int, count: int, at_end: bool) -> int:
    """Write a lane's run, and the sample that ended it unless the row did; returns the first slot behind them."""
    run_index = load_i32(row.run_indices, lane)
    place = half_place(lane)
    ones, rest, run_index = run_segments(scan.orders, run_index, length)
    if at_end and rest > 0:
        ones += 1
    while ones > 0:
        some = min(ones, LONGEST_VALUE)
        store_32(scan.slots + SLOT * count, place, (shift_up(1, some) - 1) | shift_up(some, LONGEST_VALUE))
        count += 1
        ones -= some
    if not at_end:
        order = load_u8(scan.orders, run_index)
        store_32(scan.slots + SLOT * count, place, rest | shift_up(order + 1, LONGEST_VALUE))
        ra, rb, sample = (
            load_u16(row.current - GROUP, lane),
            load_u16(row.above, lane),
            load_u16(row.current, lane),
        )
        pair = scan.interruptions + 32 * lane
        symbol = interruption_symbol(pair, order, ra, rb, sample, scan.coding)
        store_32(scan.slots + SLOT * (count + 1), place, symbol)
        count += 2
        run_index = max(run_index - 1, 0)
    store_32(row.run_indices, lane, run_index)
    return count


@inlined
def _moved(row: Row, x: int) -> Row:
    """Return the row from column ``x`` on."""
    return Row(row.current + GROUP * x, row.above + GROUP * x, row.run_indices)


@inlined
def _column(scan: Scan, x: int) -> Column:
    """Return where column ``x`` is described; two take turns."""
    first = scan.columns + 4 * GROUP * (x & 1)
    return Column(first, first + GROUP, first + 2 * GROUP, first + 3 * GROUP)


@inlined
def _encode_row(scan: Scan, row: Row, columns: int, count: int) -> int:
    """Encode a row of one component; ``count`` slots are in use before, and as many as it returns after."""
    x = 0
    lead_to(row, scan)
    upcoming = classify(row, scan, _column(scan, 0))
    while x < columns:
        lanes, here, column = upcoming, _moved(row, x), _column(scan, x)
        x += 1
        if lanes == ALL_RUNNING:
            skipped = x
            while x < columns and unchanged(row.current + GROUP * x) != 0:
                x += 1
            if x > skipped:
                lengthen(scan, x - skipped)
                lead_to(_moved(row, x), scan)
        if x < columns:
            upcoming = classify(_moved(row, x), scan, _column(scan, x))
        if lanes == ALL_RUNNING:
            continue
        if scan.coding.max_value <= LARGEST_NARROW:
            code_narrow(scan, column, scan.slots + SLOT * count)
        else:
            code(scan, column, scan.slots + SLOT * count)
        ended = lanes & 0xFFFF
        used = count + 1
        while ended != 0:
            lane = trailing_zeros(ended)
            ended &= ended - 1
            used = max(used, _end_run(scan, here, lane, load_u16(column.ended, lane), count, False))
        count = used
        if count >= 4:
            count = flush(scan.slots, count)
    used = count
    for lane in range(LANES):
        if load_u16(scan.running, lane) != 0:
            used = max(used, _end_run(scan, row, lane, load_u16(scan.lengths, lane), count, True))
            store_16(scan.running, lane, 0)
            store_16(scan.lengths, lane, 0)
    return flush(scan.slots, used)


@inlined
def _start(coding: Coding, memory: Memory, plain: int, capacity: int) -> Scan:
    """Start a scan in every lane (T.87 A.2.1)."""
    memory.rows[:] = 0
    memory.contexts[:] = coding.initial_a | (1 << 32)
    memory.interruptions[:] = 0
    memory.interruptions[:, :, A] = coding.initial_a
    memory.interruptions[:, :, N] = 1
    memory.run_indices[:] = 0
    memory.running[:] = 0
    memory.lengths[:] = 0
    start_codes(address(memory.slots), plain, capacity)
    return Scan(
        coding,
        address(memory.contexts),
        address(memory.interruptions),
        address(memory.running),
        address(memory.lengths),
        address(memory.gradients),
        address(memory.columns),
        address(memory.slots),
        address(memory.orders),
    )


@jit(
    void(
        int64[::1],
        int64,
        int64,
        int64,
        int64,
        types.NamedUniTuple(int64, len(Coding._fields), Coding),
        MEMORY,
        uint8[::1],
        int64,
        int64[::1],
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
    memory: Memory,
    codes: NDArray[np.uint8],
    capacity: int,
    bits: NDArray[np.int64],
) -> None:
    """Write the plain bits of sixteen frames, whose addresses are given, and their numbers to ``bits``."""
    plain, rows, lines = address(codes), address(memory.rows), address(memory.lines)
    run_indices = address(memory.run_indices)
    scan = _start(coding, memory, plain, capacity)
    row_bytes = GROUP * memory.rows.shape[2]
    pitch = memory.lines.shape[2]
    plane = GROUP * pitch
    count = 0
    for y in range(height):
        first = y * columns * components
        all_above = rows + row_bytes * components * (y & 1)
        all_current = rows + row_bytes * components * (1 - (y & 1))
        if sample_bytes == 1:
            for lane in range(LANES):
                store_64(lines, lane, frames[lane] + first)
            bytes_to_lanes(lines, all_current, row_bytes, columns, components, coding.max_value)
        else:
            for lane in range(LANES):
                line = lines + 2 * pitch * lane
                read_pixels(frames[lane], 2, first, columns, components, line, plane, coding.max_value)
        for component in range(components):
            above, current = all_above + row_bytes * component, all_current + row_bytes * component
            if sample_bytes == 2:
                to_lanes(lines + plane * component, pitch, current, columns)
            copy_bytes(current, above + GROUP, GROUP)
            copy_bytes(above + GROUP * (columns + 1), above + GROUP * columns, GROUP)
            row = Row(current + GROUP, above + GROUP, run_indices + 4 * LANES * component)
            count = _encode_row(scan, row, columns, count)
    flush(scan.slots, (count + 3) & ~3)
    for lane in range(LANES):
        bits[lane] = code_bits(scan.slots, lane, plain + capacity * lane)


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
        Memory(
            rows=rows_of_lanes(components, columns),
            lines=lines_of_lanes(components, columns),
            contexts=np.empty((REGULAR_CONTEXTS + 1, LANES), np.int64),
            interruptions=np.empty((LANES, 2, 4), np.int32),
            run_indices=np.empty((components, LANES), np.int32),
            running=np.empty(LANES, np.uint16),
            lengths=np.empty(LANES, np.uint16),
            gradients=np.empty(LANES, np.uint16),
            columns=np.empty((2, len(Column._fields), LANES), np.uint16),
            slots=np.empty(SLOTS_BYTES, np.uint8),
            orders=RUN_ORDERS,
        ),
        plain,
        capacity,
        bits,
    )
    segments = (stuffed(plain[lane * capacity :][:capacity], int(bits[lane])) for lane in range(len(frames)))
    return [b"".join((prologue, segment.data, epilogue)) for segment in segments]
