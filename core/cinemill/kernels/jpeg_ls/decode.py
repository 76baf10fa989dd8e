"""JPEG-LS decoding of one scan, one sample after the other (T.87 Annexes A, B and F): every mode, one frame.

Each row runs in two passes. The first needs only the row above and is vectorised: it computes the part of the context
number that the gradients Rd - Rb and Rb - Rc contribute. The second decodes the samples: a look-up adds
the part of Rc - Ra, the sign is split off, and one record of memory then holds all that the context knows.

Memory
------
rows
    Two rows of 16-bit samples a component, taking turns as "above" and "current", each with one sample of
    border to the left (Ra or Rc of the first sample) and one to the right (Rd of the last), plus vector slack.
gradients
    One 16-bit number a sample, rows as far apart: 81 * Q(Rd - Rb) + 9 * Q(Rb - Rc).
quantised
    Q(d) for each difference d of two samples, at index ``MAXVAL + d``.
contexts
    365 records of eight 32-bit integers: A, B, C, N, then k and the mapping of T.87 A.5.2 (-1 for inverted, else 0) as they
    follow from these: kept, because the next sample's code can't be read without them. Behind them two records of four for run
    interruptions, A, Nn, -, N, and a run index for each component.

Bounds
------
Samples are reduced to 0..MAXVAL before they are stored, so that differences index ``quantised`` and sums of three Q index ``contexts``.
A grows by at most RANGE a sample, which bounds k. Positions move by less than 600 bits a pixel (four components of LIMIT + 16 + 57
bits at most) and are checked at each pixel: `PADDING` bytes of zeros cover the rest. Zeros end a run, so no loop
outlasts its row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cinemill.kernels.jpeg_ls.decode_model import (
    golomb,
    golomb_parameter,
    interruption,
    quantised,
    reconstructed,
    run_length,
    write_pixels,
)
from cinemill.kernels.jpeg_ls.parameters import REGULAR_CONTEXTS, RUN_ORDERS, Coding
from cinemill.kernels.machine import types
from cinemill.kernels.machine.bits import address, load_i16, load_i32, load_u8, load_u16, store_16, store_32
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined, jit

STEP = 32
"""Samples of a row that one vector operation handles."""

A, B, C, N, K, MAPPING, RECORD = 0, 1, 2, 3, 4, 5, 8
"""Fields of a context record, and its length."""

INTERRUPTIONS = RECORD * REGULAR_CONTEXTS
RUN_INDEX = INTERRUPTIONS + 8
"""Indices in ``contexts`` behind the regular ones."""


@instructions
def gradient_contexts(above: Value, target: Value, near: Value, t1: Value, t2: Value, t3: Value) -> None:
    """Write 81 * Q(Rd - Rb) + 9 * Q(Rb - Rc) for `STEP` samples; ``above`` is the address of the first Rb."""
    rb, rc, rd = above.load(16, STEP), (above - 2).load(16, STEP), (above + 2).load(16, STEP)
    thresholds = [rb.like(threshold) for threshold in (near + 1, t1, t2, t3)]
    (quantised(rd, rb, thresholds) * 81 + quantised(rb, rc, thresholds) * 9).store(target)


def row_pitch(columns: int) -> int:
    """Return samples from one row to the next: a row, its borders, and what vectors touch behind it."""
    return columns + 2 + STEP


class _Scan(NamedTuple):
    """What stays the same throughout a scan: parameters, and addresses of memory described above."""

    coding: Coding
    exact: bool
    columns: int
    components: int
    pitch: int
    data: int
    bits: int
    contexts: int
    gradients: int
    quantised: int
    orders: int


@inlined
def _decode_regular(scan: _Scan, q: int, ra: int, rb: int, rc: int, position: int) -> tuple[int, int]:
    """Decode a sample in regular mode (T.87 A.4 to A.6); ``q`` is the context number with its sign.

    Returns the sample and the position behind its code.
    """
    coding = scan.coding
    sign = q >> 63
    context = scan.contexts + 4 * RECORD * ((q ^ sign) - sign)
    c = load_i32(context, C)
    prediction = min(max(ra + rb - rc, min(ra, rb)), max(ra, rb)) + ((c ^ sign) - sign)
    prediction = min(max(prediction, 0), coding.max_value)
    longest = coding.limit - coding.qbpp - 1
    mapped, position = golomb(scan.data, position, load_i32(context, K), longest, coding.qbpp)
    error = (mapped >> 1) ^ -(mapped & 1) ^ load_i32(context, MAPPING)
    sample = reconstructed(prediction, (error ^ sign) - sign, coding, scan.exact)

    a = load_i32(context, A) + min(abs(error), coding.range)
    b = load_i32(context, B) + error * (2 * coding.near + 1)
    n = load_i32(context, N)
    if n == coding.reset:
        a >>= 1
        b >>= 1
        n >>= 1
    n += 1
    low, high = (b + n - 1) >> 63, -b >> 63  # -1 where B <= -N, and where B > 0; branches are mispredicted
    b = min(max(b + (n & low) - (n & high), 1 - n), 0)
    k = golomb_parameter(a, n)
    store_32(context, A, a)
    store_32(context, B, b)
    store_32(context, C, c + (low & ((-128 - c) >> 63)) - (high & ((c - 127) >> 63)))
    store_32(context, N, n)
    store_32(context, K, k)
    store_32(context, MAPPING, -1 if k == 0 and coding.near == 0 and 2 * b <= -n else 0)
    return sample, position


@inlined
def _decode_interruption(
    scan: _Scan, like_ra: int, ra: int, rb: int, position: int, run_index: int
) -> tuple[int, int]:
    """Decode the sample that ends a run."""
    pair = scan.contexts + 4 * INTERRUPTIONS
    order = load_u8(scan.orders, run_index)
    return interruption(pair, order, like_ra, ra, rb, scan.data, position, scan.coding, scan.exact)


@inlined
def _decode_row(
    scan: _Scan, current: int, above: int, gradients: int, position: int, run_index: int
) -> tuple[int, int]:
    """Decode a row of one component; the rows' addresses are those of the first column.

    Returns the position, behind the end of the code if that did not suffice, and the run index.
    """
    ra, rc = load_u16(current, -1), load_u16(above, -1)
    x = 0
    while x < scan.columns and position <= scan.bits:
        q = load_i16(gradients, x) + load_i16(scan.quantised, rc - ra)
        if q == 0:
            length, position, run_index = run_length(
                scan.orders, scan.data, position, run_index, scan.columns - x
            )
            for column in range(x, x + length):
                store_16(current, column, ra)
            x += length
            if x == scan.columns:
                break
            rb = load_u16(above, x)
            like_ra = 1 if abs(ra - rb) <= scan.coding.near else 0
            ra, position = _decode_interruption(scan, like_ra, ra, rb, position, run_index)
            run_index = max(run_index - 1, 0)
        else:
            rb = load_u16(above, x)
            ra, position = _decode_regular(scan, q, ra, rb, rc, position)
        store_16(current, x, ra)
        rc = rb
        x += 1
    return position, run_index


@inlined
def _decode_pixels(
    scan: _Scan, current: int, above: int, gradients: int, position: int, run_index: int
) -> tuple[int, int]:
    """Decode a row of all components, interleaved by sample: a run is one of whole pixels (T.87 A.7, B.3).

    Addresses are those of the first component.
    """
    pitch = scan.pitch
    x = 0
    while x < scan.columns and position <= scan.bits:
        regular = 0
        for here in range(x, x + pitch * scan.components, pitch):
            difference = load_u16(above, here - 1) - load_u16(current, here - 1)
            regular |= load_i16(gradients, here) + load_i16(scan.quantised, difference)
        if regular == 0:
            length, position, run_index = run_length(
                scan.orders, scan.data, position, run_index, scan.columns - x
            )
            for here in range(x, x + pitch * scan.components, pitch):
                for column in range(here, here + length):
                    store_16(current, column, load_u16(current, here - 1))
            x += length
            if x == scan.columns:
                break
        for here in range(x, x + pitch * scan.components, pitch):
            ra, rb, rc = load_u16(current, here - 1), load_u16(above, here), load_u16(above, here - 1)
            if regular == 0:
                sample, position = _decode_interruption(scan, 0, ra, rb, position, run_index)
            else:
                q = load_i16(gradients, here) + load_i16(scan.quantised, rc - ra)
                sample, position = _decode_regular(scan, q, ra, rb, rc, position)
            store_16(current, here, sample)
        if regular == 0:
            run_index = max(run_index - 1, 0)
        x += 1
    return position, run_index


@inlined
def _initialise(scan: _Scan) -> None:
    """Fill contexts and ``quantised`` (T.87 A.2.1, A.3.3)."""
    coding = scan.coding
    k = golomb_parameter(coding.initial_a, 1)
    for field in range(0, INTERRUPTIONS, RECORD):
        store_32(scan.contexts, field + A, coding.initial_a)
        store_32(scan.contexts, field + B, 0)
        store_32(scan.contexts, field + C, 0)
        store_32(scan.contexts, field + N, 1)
        store_32(scan.contexts, field + K, k)
        store_32(scan.contexts, field + MAPPING, 0)
    for field in (INTERRUPTIONS, INTERRUPTIONS + 4):
        store_32(scan.contexts, field + A, coding.initial_a)
        store_32(scan.contexts, field + B, 0)
        store_32(scan.contexts, field + N, 1)
    for component in range(4):
        store_32(scan.contexts, RUN_INDEX + component, 0)
    for size in range(coding.max_value + 1):
        q = 0
        if size >= coding.t3:
            q = 4
        elif size >= coding.t2:
            q = 3
        elif size >= coding.t1:
            q = 2
        elif size > coding.near:
            q = 1
        store_16(scan.quantised, size, q)
        store_16(scan.quantised, -size, -q)


@inlined
def _model_row(scan: _Scan, current: int, above: int, gradients: int) -> None:
    """Set a row's borders (T.87 A.2.2) and compute what its contexts owe to the row above."""
    coding, columns = scan.coding, scan.columns
    store_16(current, -1, load_u16(above, 0))
    store_16(above, columns, load_u16(above, columns - 1))
    for x in range(0, columns, STEP):
        gradient_contexts(above + 2 * x, gradients + 2 * x, coding.near, coding.t1, coding.t2, coding.t3)


@jit(
    types.int64(
        types.int64,
        types.int64,
        types.NamedUniTuple(types.int64, len(Coding._fields), Coding),
        types.int64,
        types.boolean,
        *[types.int64] * 5,
        types.Array(types.uint16, 3, "C"),
        types.Array(types.int16, 1, "C"),
        types.Array(types.int16, 1, "C"),
        types.Array(types.int32, 1, "C"),
        types.Array(types.uint8, 1, "C"),
    ),
    error_model="numpy",
)
def _decode_scan(
    data: int,
    bits: int,
    coding: Coding,
    components: int,
    by_pixel: bool,
    height: int,
    columns: int,
    frame: int,
    sample_bytes: int,
    samples: int,
    rows: NDArray[np.uint16],
    gradients: NDArray[np.int16],
    quantised: NDArray[np.int16],
    contexts: NDArray[np.int32],
    orders: NDArray[np.uint8],
) -> int:
    exact = coding.near == 0 and coding.max_value & (coding.max_value + 1) == 0
    scan = _Scan(
        coding,
        exact,
        columns,
        components,
        rows.shape[2],
        data,
        bits,
        address(contexts),
        address(gradients),
        address(quantised) + 2 * coding.max_value,
        address(orders),
    )
    _initialise(scan)
    rows[:] = 0
    plane = 2 * rows.shape[2]
    position = 0
    for y in range(height):
        # Addresses of the first column, which a border sample precedes.
        all_above = address(rows) + plane * components * (y & 1) + 2
        all_current = address(rows) + plane * components * (1 - (y & 1)) + 2
        for offset in range(0, plane * components, plane):
            _model_row(scan, all_current + offset, all_above + offset, scan.gradients + offset)
        if by_pixel:
            run_index = load_i32(scan.contexts, RUN_INDEX)
            position, run_index = _decode_pixels(
                scan, all_current, all_above, scan.gradients, position, run_index
            )
            store_32(scan.contexts, RUN_INDEX, run_index)
        else:
            for component in range(components):
                offset = plane * component
                run_index = load_i32(scan.contexts, RUN_INDEX + component)
                position, run_index = _decode_row(
                    scan,
                    all_current + offset,
                    all_above + offset,
                    scan.gradients + offset,
                    position,
                    run_index,
                )
                store_32(scan.contexts, RUN_INDEX + component, run_index)
        if position > bits:
            break
        write_pixels(
            all_current, plane, columns, components, frame, sample_bytes, y * columns * samples, samples
        )
    return position


def decode_scan(
    plain: NDArray[np.uint8],
    bits: int,
    coding: Coding,
    frame: NDArray[Any],
    first: int,
    components: int,
    *,
    by_pixel: bool,
) -> int:
    """Decode a scan, or the lines up to a restart marker, into a frame.

    Parameters
    ----------
    plain
        The code without stuffed bits, followed by `PADDING` bytes of zeros.
    bits
        Bits of code in ``plain``.
    coding
        The scan's parameters.
    frame
        (rows, columns) or (rows, columns, samples), unsigned, C-contiguous; rows and columns are the scan's.
    first
        The sample of the frame's pixels that the scan's first component goes to.
    components
        Components in the scan; ``first + components`` is at most samples.
    by_pixel
        Whether several components are interleaved by sample, else by line.

    Returns
    -------
    int
        Bits read; more than ``bits`` when the code is truncated, and the frame then incomplete.
    """
    height, columns = frame.shape[:2]
    return int(
        _decode_scan(
            plain.ctypes.data,
            bits,
            coding,
            components,
            by_pixel,
            height,
            columns,
            frame.ctypes.data + first * frame.itemsize,
            frame.itemsize,
            frame.shape[2] if frame.ndim == 3 else 1,
            np.empty((2, components, row_pitch(columns)), np.uint16),
            np.empty(components * row_pitch(columns), np.int16),
            np.empty(2 * coding.max_value + 1, np.int16),
            np.empty(RUN_INDEX + 4, np.int32),
            RUN_ORDERS,
        )
    )
