"""One column of sixteen JPEG-LS encoders in lock-step: contexts, symbols and runs of all lanes, without branches (T.87 Annex A)."""

from __future__ import annotations

from cinemill.kernels.jpeg_ls.encode_lanes_state import Column, Row, Scan
from cinemill.kernels.jpeg_ls.encode_model import (
    LONGEST_VALUE,
    Context,
    Neighbourhood,
    golomb_symbol,
    modelled,
    quantised,
    updated,
)
from cinemill.kernels.jpeg_ls.lanes import (
    EVEN_FIRST,
    GROUP,
    load_words,
    low_bits,
    narrowed,
    store_words,
    upper,
    widened,
)
from cinemill.kernels.jpeg_ls.parameters import LANES, REGULAR_CONTEXTS
from cinemill.kernels.machine.instructions import Value, instructions

CONTEXT = 8 * LANES
"""Bytes of a context's sixteen words."""

IDLE = CONTEXT * REGULAR_CONTEXTS

LARGEST_NARROW = 255
"""MAXVAL up to which `code_narrow` does what `code` does: errors have up to 8 bits, A stays below 2**15, and k at or below 8."""


def _thresholds(scan: Scan, like: Value) -> list[Value]:
    return [like.like(threshold) for threshold in (scan.coding.t1, scan.coding.t2, scan.coding.t3)]


@instructions
def lead_to(row: Row, scan: Scan) -> None:
    """Set the gradient of the row above that leads to a column, for `classify`."""
    rb, rc = row.above.load(16, LANES), (row.above - GROUP).load(16, LANES)
    quantised(rb, rc, _thresholds(scan, rb)).store(scan.gradients)


@instructions
def classify(row: Row, scan: Scan, column: Column) -> Value:
    """Model a column, move runs on by it, and pick the contexts.

    Returns the lanes whose runs end here in bits 0 to 15, and those in a run or at its end in bits 16 to 31.
    """
    near = Neighbourhood(
        sample=row.current.load(16, LANES),
        ra=(row.current - GROUP).load(16, LANES),
        rb=row.above.load(16, LANES),
        rc=(row.above - GROUP).load(16, LANES),
        rd=(row.above + GROUP).load(16, LANES),
    )
    thresholds = _thresholds(scan, near.ra)
    q1, q2 = quantised(near.rd, near.rb, thresholds), scan.gradients.load(16, LANES)
    q1.store(scan.gradients)  # leads to the next column
    gradients = q1, q2, quantised(near.rc, near.ra, thresholds)
    context, prediction, sample = modelled(near, gradients, scan.coding.max_value)
    running = scan.running.load(16, LANES) | context.equals(0).extended(16)
    ended = running & near.sample.differs(near.ra).extended(16)
    lasting = running & ~ended
    lasting.store(scan.running)
    lengths = scan.lengths.load(16, LANES)
    ((lengths - lasting) & ~ended).store(scan.lengths)
    running.differs(0).choose(context.like(IDLE), context * CONTEXT).store(column.contexts)
    prediction.store(column.predictions)
    sample.store(column.samples)
    lengths.store(column.ended)
    result: Value = ended.differs(0).packed() | (running.differs(0).packed() << 16)
    return result


@instructions
def unchanged(row: Value) -> Value:
    """Tell (as non-zero) whether all lanes repeat the sample to the left."""
    return row.load(16, LANES).differs((row - GROUP).load(16, LANES)).packed().equals(0).resized(64)


@instructions
def lengthen(scan: Scan, columns: Value) -> None:
    """Add columns to the runs of all lanes."""
    lengths = scan.lengths.load(16, LANES)
    (lengths + lengths.like(columns)).store(scan.lengths)


def _addresses(scan: Scan, column: Column) -> list[Value]:
    """Return where the context of each lane is, `EVEN_FIRST`."""
    return [
        scan.contexts + (column.contexts + 2 * lane).load(16).resized(64) + 8 * lane for lane in EVEN_FIRST
    ]


@instructions
def code(scan: Scan, column: Column, slot: Value) -> None:
    """Write the symbols of lanes in regular mode to a slot, zeros for the others, and update contexts."""
    a, packed = load_words(_addresses(scan, column))
    context = Context(a, (packed << 16) >> 24, packed >> 16, packed & 0xFF)
    prediction = widened(column.predictions.load(16, LANES))
    sample = widened(column.samples.load(16, LANES))
    qbpp, limit = a.like(scan.coding.qbpp), a.like(scan.coding.limit)
    corrected = (prediction + context.c).clamped(0, (a.like(1) << qbpp) - 1)
    error = (sample - corrected).signed_from(qbpp)
    symbol = golomb_symbol(context, error, limit - qbpp - 1, qbpp, limit)
    active = widened(column.contexts.load(16, LANES)).differs(IDLE)
    (symbol & active.extended(32)).store(slot)
    after = updated(context, error)
    store_words(
        after.a,
        after.n | ((after.b & 0xFF) << 8) | (after.c << 16),
        _addresses(scan, column),
    )


def _either(mask: Value, true: Value, false: Value) -> Value:
    """Select by a mask of 0 and -1 as bytes; LLVM makes halving where a mask says so a shift by many counts, which AVX2 lacks."""
    chosen = (mask.recast(8, 2 * LANES) < 0).choose(true.recast(8, 2 * LANES), false.recast(8, 2 * LANES))
    return chosen.recast(16, LANES)


@instructions
def code_narrow(scan: Scan, column: Column, slot: Value) -> None:
    """Do the same in lanes of 16 bits, as many as fit a register twice: for samples up to `LARGEST_NARROW`."""
    wide_a, packed = load_words(_addresses(scan, column))
    a, n, b, c = narrowed(wide_a), narrowed(packed) & 0xFF, narrowed(packed) >> 8, upper(packed)
    qbpp, limit, range_half = scan.coding.qbpp, scan.coding.limit, scan.coding.range.shifted_down(1)
    corrected = (column.predictions.load(16, LANES) + c).clamped(0, scan.coding.max_value)
    error = column.samples.load(16, LANES) - corrected
    error = ((error + range_half) & scan.coding.max_value) - range_half

    # The smallest k with N * 2**k >= A (T.87 A.5.1) is the difference of their logarithms, rounded up.
    ratio = wide_a.float_bits() - (packed & 0xFF).float_bits() + ((1 << 23) - 1)
    k = (upper(ratio) >> 7).maximum(0)
    mapping = ((k - 1) & (b + b + n - 1)) >> 15  # -1 where k = 0 and 2B <= -N
    mapped = error ^ mapping
    mapped = (mapped << 1) ^ (mapped >> 15)
    rest = low_bits(k)
    zeros = (mapped * (low_bits(-k + 8) + 1)).shifted_down(8)
    escaped = zeros >= limit - qbpp - 1
    value = escaped.choose((mapped - 1) | scan.coding.range, (mapped & rest) + rest + 1)
    length = escaped.choose(n.like(limit), zeros + k + 1)
    active = column.contexts.load(16, LANES).differs(IDLE).extended(16)
    symbol = widened(value & active) | (widened(length & active) << LONGEST_VALUE)
    symbol.store(slot)

    full = (n >= 64).extended(16)
    a, b = a + error.magnitude(), b + error
    a, b = _either(full, a.shifted_down(1), a), _either(full, b >> 1, b)
    n = _either(full, n.shifted_down(1), n) + 1
    least = n.like(1) - n
    below, beyond = (b < least).extended(16), (b > 0).extended(16)
    c = (c + below - beyond).clamped(-128, 127)
    b = (b + (n & below) - (n & beyond)).clamped(least, 0)
    packed = widened(n | (b << 8)) | (widened(c) << 16)
    store_words(widened(a), packed, _addresses(scan, column))
