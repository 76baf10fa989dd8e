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
    One 16-bit number a sample: 81 * Q(Rd - Rb) + 9 * Q(Rb - Rc).
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

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from cinemill.kernels._jit import inlined, jit
from cinemill.kernels.bits import (
    Value,
    address,
    instructions,
    load_i16,
    load_i32,
    load_u8,
    load_u16,
    store_32,
    store_8,
    store_16,
)
from cinemill.kernels.jpegls_parameters import CODING, REGULAR_CONTEXTS, RUN_ORDERS, Coding
from cinemill.kernels.jpegls_decode_model import (
    golomb,
    golomb_parameter,
    interruption,
    quantised,
    reconstructed,
    run_length,
)

STEP = 32
"""Samples of a row that one vector operation handles."""

A, B, C, N, K, MAPPING, RECORD = 0, 1, 2, 3, 4, 5, 8
"""Fields of a context record, and its length."""

INTERRUPTIONS = RECORD * REGULAR_CONTEXTS
RUN_INDEX = INTERRUPTIONS + 8
"""Indices in ``contexts`` behind the regular ones."""


@instructions
def gradient_contexts(
    above: Value, target: Value, near: Value, t1: Value, t2: Value, t3: Value
) -> None:
    """Write 81 * Q(Rd - Rb) + 9 * Q(Rb - Rc) for `STEP` samples; ``above`` is the address of the first Rb."""
    rb, rc, rd = above.load(16, STEP), (above - 2).load(16, STEP), (above + 2).load(16, STEP)
    thresholds = [rb.like(threshold) for threshold in (near + 1, t1, t2, t3)]
    (quantised(rd, rb, thresholds) * 81 + quantised(rb, rc, thresholds) * 9).store(target)


@inlined
def _regular(contexts: int, q: int, ra: int, rb: int, rc: int, data: int, position: int, coding: Coding, exact: bool) -> tuple[int, int]:
    """Decode a sample in the regular mode (T.87 A.4 to A.6); ``q`` is the context number with its sign."""
    sign = q >> 63
    record = RECORD * ((q ^ sign) - sign)
    c = load_i32(contexts, record + C)
    prediction = min(max(ra + rb - rc, min(ra, rb)), max(ra, rb)) + ((c ^ sign) - sign)
    prediction = min(max(prediction, 0), coding.max_value)
    mapped, position = golomb(
        data, position, load_i32(contexts, record + K), coding.limit - coding.qbpp - 1, coding.qbpp
    )
    error = (mapped >> 1) ^ -(mapped & 1) ^ load_i32(contexts, record + MAPPING)
    value = reconstructed(prediction, (error ^ sign) - sign, coding, exact)

    a = load_i32(contexts, record + A) + min(abs(error), coding.range)
    b = load_i32(contexts, record + B) + error * (2 * coding.near + 1)
    n = load_i32(contexts, record + N)
    if n == coding.reset:
        a >>= 1
        b >>= 1
        n >>= 1
    n += 1
    if b <= -n:
        b = max(b + n, 1 - n)
        c = max(c - 1, -128)
    elif b > 0:
        b = min(b - n, 0)
        c = min(c + 1, 127)
    k = golomb_parameter(a, n)
    store_32(contexts, record + A, a)
    store_32(contexts, record + B, b)
    store_32(contexts, record + C, c)
    store_32(contexts, record + N, n)
    store_32(contexts, record + K, k)
    store_32(contexts, record + MAPPING, -1 if k == 0 and coding.near == 0 and 2 * b <= -n else 0)
    return value, position


@inlined
def _row(current: int, above: int, gradients: int, columns: int, contexts: int, run_index: int, lookup: int, orders: int,
         data: int, position: int, bits: int, coding: Coding, exact: bool) -> tuple[int, int]:
    """Decode a row of one component; returns the position, past ``bits`` if they did not suffice, and the run index."""
    ra, rc = load_u16(current, 0), load_u16(above, 0)
    x = 1
    while x <= columns and position <= bits:
        rb = load_u16(above, x)
        q = load_i16(gradients, x - 1) + load_i16(lookup, rc - ra)
        if q == 0:
            length, position, run_index = run_length(orders, data, position, run_index, columns + 1 - x)
            for run_x in range(x, x + length):
                store_16(current, run_x, ra)
            x += length
            if x > columns:
                break
            rb = load_u16(above, x)
            like_ra = 1 if abs(ra - rb) <= coding.near else 0
            ra, position = interruption(contexts + 4 * INTERRUPTIONS, load_u8(orders, run_index), like_ra, ra, rb, data, position, coding, exact)
            run_index = max(run_index - 1, 0)
        else:
            ra, position = _regular(contexts, q, ra, rb, rc, data, position, coding, exact)
        store_16(current, x, ra)
        rc = rb
        x += 1
    return position, run_index


@inlined
def _row_by_pixel(current: int, above: int, pitch: int, gradients: int, gradient_pitch: int, components: int, columns: int, contexts: int, run_index: int, lookup: int, orders: int,
                  data: int, position: int, bits: int, coding: Coding, exact: bool) -> tuple[int, int]:
    """Decode a row of all components, interleaved by sample: a run is one of whole pixels (T.87 B.3)."""
    x = 1
    while x <= columns and position <= bits:
        regular = 0
        for component in range(components):
            left = component * pitch + x - 1
            regular |= load_i16(gradients, component * gradient_pitch + x - 1) + load_i16(lookup, load_u16(above, left) - load_u16(current, left))
        if regular == 0:
            length, position, run_index = run_length(orders, data, position, run_index, columns + 1 - x)
            for component in range(components):
                ra = load_u16(current, component * pitch + x - 1)
                for run_x in range(x, x + length):
                    store_16(current, component * pitch + run_x, ra)
            x += length
            if x > columns:
                break
        for component in range(components):
            here = component * pitch + x
            ra, rb, rc = load_u16(current, here - 1), load_u16(above, here), load_u16(above, here - 1)
            if regular == 0:
                value, position = interruption(contexts + 4 * INTERRUPTIONS, load_u8(orders, run_index), 0, ra, rb, data, position, coding, exact)
            else:
                q = load_i16(gradients, component * gradient_pitch + x - 1) + load_i16(lookup, rc - ra)
                value, position = _regular(contexts, q, ra, rb, rc, data, position, coding, exact)
            store_16(current, here, value)
        if regular == 0:
            run_index = max(run_index - 1, 0)
        x += 1
    return position, run_index


@inlined
def _initialise(coding: Coding, contexts: int, lookup: int) -> None:
    """Start a scan (T.87 A.2.1, A.3.3); ``lookup`` is the address of Q(0)."""
    k = golomb_parameter(coding.initial_a, 1)
    for record in range(0, INTERRUPTIONS, RECORD):
        store_32(contexts, record + A, coding.initial_a)
        store_32(contexts, record + B, 0)
        store_32(contexts, record + C, 0)
        store_32(contexts, record + N, 1)
        store_32(contexts, record + K, k)
        store_32(contexts, record + MAPPING, 0)
    for record in (INTERRUPTIONS, INTERRUPTIONS + 4):
        store_32(contexts, record + A, coding.initial_a)
        store_32(contexts, record + B, 0)
        store_32(contexts, record + N, 1)
    for component in range(4):
        store_32(contexts, RUN_INDEX + component, 0)
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
        store_16(lookup, size, q)
        store_16(lookup, -size, -q)


SIGNATURE = types.int64(
    types.int64, types.int64, CODING, types.int64, types.boolean, types.int64, types.int64,
    types.int64, types.int64, types.int64, *[types.Array(kind, 1, "C") for kind in (types.uint16, types.int16, types.int16, types.int32)],
    types.Array(types.uint8, 1, "C"),
)

@jit(SIGNATURE, error_model="numpy")
def _decode_scan(data: int, bits: int, coding: Coding, components: int, by_pixel: bool, height: int, columns: int,
            frame: int, sample_bytes: int, samples: int, rows: NDArray[np.uint16], gradients_: NDArray[np.int16], quantised: NDArray[np.int16], contexts_: NDArray[np.int32], orders_: NDArray[np.uint8]) -> int:
    contexts, gradients, orders = address(contexts_), address(gradients_), address(orders_)
    lookup = address(quantised) + 2 * coding.max_value
    _initialise(coding, contexts, lookup)
    rows[:] = 0
    exact = coding.near == 0 and coding.max_value & (coding.max_value + 1) == 0
    pitch = columns + 2 + STEP
    gradient_pitch = columns + STEP
    position = 0
    for y in range(height):
        above = address(rows) + 2 * pitch * components * (y & 1)
        current = address(rows) + 2 * pitch * components * (1 - (y & 1))
        for component in range(components):
            row_above = above + 2 * pitch * component
            store_16(current, pitch * component, load_u16(row_above, 1))
            store_16(row_above, columns + 1, load_u16(row_above, columns))
            for x in range(0, columns, STEP):
                gradient_contexts(
                    row_above + 2 * (x + 1), gradients + 2 * (gradient_pitch * component + x), coding.near, coding.t1, coding.t2, coding.t3
                )
        if by_pixel:
            position, run_index = _row_by_pixel(current, above, pitch, gradients, gradient_pitch, components, columns, contexts, load_i32(contexts, RUN_INDEX), lookup, orders, data, position, bits, coding, exact)
            store_32(contexts, RUN_INDEX, run_index)
        else:
            for component in range(components):
                position, run_index = _row(current + 2 * pitch * component, above + 2 * pitch * component, gradients + 2 * gradient_pitch * component, columns, contexts, load_i32(contexts, RUN_INDEX + component), lookup, orders, data, position, bits, coding, exact)
                store_32(contexts, RUN_INDEX + component, run_index)
        if position > bits:
            break
        for component in range(components):
            row = current + 2 * pitch * component + 2
            first = y * columns * samples + component
            if sample_bytes == 1:
                for x in range(columns):
                    store_8(frame, first + x * samples, load_u16(row, x))
            else:
                for x in range(columns):
                    store_16(frame, first + x * samples, load_u16(row, x))
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
            np.empty(2 * components * (columns + 2 + STEP), np.uint16),
            np.empty(components * (columns + STEP), np.int16),
            np.empty(2 * coding.max_value + 1, np.int16),
            np.empty(RUN_INDEX + 4, np.int32),
            RUN_ORDERS,
        )
    )
