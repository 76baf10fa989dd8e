"""One column of sixteen JPEG-LS decoders in lock-step: contexts, codes and samples of all lanes, without branches (T.87 Annex A).

What the lanes know is in memory that `cinemill.kernels.jpeg_ls.decode_lanes` tells of, as it does what keeps accesses in their bounds.
"""

from __future__ import annotations

from collections.abc import Sequence

from cinemill.kernels.jpeg_ls.lanes import GROUP, load_words, store_words
from cinemill.kernels.jpeg_ls.parameters import LANES, LARGEST_THRESHOLD, REGULAR_CONTEXTS
from cinemill.kernels.machine.instructions import Value, gathered, instructions

CONTEXT = 8 * LANES
"""Bytes of a context's sixteen words."""

IDLE = CONTEXT * REGULAR_CONTEXTS

LEFT, ENDING, OFFSETS, SIGNS, GRADIENTS = 0, 32, 64, 96, 128
"""Offsets in ``lanes``, 16 bits a lane: how many samples of a run are left, whether its end is due (0 or -1), the context's
offset and sign (0 or -1), and the quantised gradient of the row above that leads to this column."""

POSITIONS, BYTES, ENDS, WINDOWS, ZEROS = 192, 256, 320, 384, 448
"""32 bits a lane: the position in the code in bits and in bytes, its limit, the bits there, how many of them are leading zeros."""

EVENTS, CONTEXTS = 512, 576
"""64 bits: which lanes have an event in this column. Then, the contexts."""

INTERRUPTIONS = CONTEXTS + IDLE + CONTEXT
RUN_INDICES = INTERRUPTIONS + 32 * LANES
BANK_BYTES = RUN_INDICES + 4 * LANES * 3
"""Two run interruption contexts a lane; by component and lane, run indices; and all bytes of a bank."""


def _gradient(one: Value, other: Value, thresholds: Sequence[Value]) -> Value:
    """Quantise the difference of unsigned samples to -4..4 (T.87 A.3.3), given T1 to T3."""
    size = one.maximum_unsigned(other) - one.minimum_unsigned(other)
    steps, limited = size.minimum_unsigned(1), size.minimum_unsigned(LARGEST_THRESHOLD)
    for threshold in thresholds:
        steps -= (limited > threshold - 1).extended(16)
    negative = other.at_least_unsigned(one).extended(16)
    return (steps ^ negative) - negative


@instructions
def lead_to(above: Value, lanes: Value, t1: Value, t2: Value, t3: Value) -> None:
    """Set the gradient that leads to a column."""
    rb, rc = above.load(16, LANES), (above - GROUP).load(16, LANES)
    _gradient(rb, rc, [rb.like(threshold) for threshold in (t1, t2, t3)]).store(lanes + GRADIENTS)


@instructions
def look(
    row: Value, above: Value, lanes: Value, data: Value, t1: Value, t2: Value, t3: Value, shortest: Value
) -> Value:
    """Find contexts and code lengths for a column; the sample to the left is written to it, for runs to go on.

    Windows of ``shortest`` or more, shifted down by 1, start with few zeros. Returns the lanes inside a run.
    """
    ra, rb = (row - GROUP).load(16, LANES), above.load(16, LANES)
    rc, rd = (above - GROUP).load(16, LANES), (above + GROUP).load(16, LANES)
    thresholds = [ra.like(threshold) for threshold in (t1, t2, t3)]
    q1, q2 = _gradient(rd, rb, thresholds), (lanes + GRADIENTS).load(16, LANES)
    q1.store(lanes + GRADIENTS)  # leads to the next column
    context = (q1 * 9 + q2) * 9 + _gradient(rc, ra, thresholds)
    running = (lanes + LEFT).load(16, LANES).differs(0).extended(16)
    ending = (lanes + ENDING).load(16, LANES)
    starting = context.equals(0).extended(16) & ~running
    events = ending | starting
    idle = (events | running) < 0
    idle.choose(context.like(IDLE), context.magnitude() * CONTEXT).store(lanes + OFFSETS)
    (context >> 15).store(lanes + SIGNS)
    ra.store(row)

    position = (lanes + POSITIONS).load(32, LANES)
    places = [(lanes + (BYTES + 4 * lane)).load(32).resized(64) for lane in range(LANES)]
    window = gathered([(data + place).load(32) for place in places]).bytes_reversed() << (position & 7)
    zeros = -(window.shifted_down(8).floor_log2() - (127 + 23))
    window.store(lanes + WINDOWS)
    zeros.store(lanes + ZEROS)
    long = (window.shifted_down(1) < shortest).extended(16)
    ((events | (long & ~running)) < 0).packed().store(lanes + EVENTS)
    return (running < 0).packed()


def _addresses(lanes: Value) -> list[Value]:
    """Return where each lane's context is."""
    offsets = [(lanes + (OFFSETS + 2 * lane)).load(16).resized(64) for lane in range(LANES)]
    return [lanes + (CONTEXTS + 8 * lane) + offset for lane, offset in enumerate(offsets)]


@instructions
def decode(row: Value, above: Value, lanes: Value, max_value: Value) -> None:
    """Decode the samples of lanes in regular mode, update their contexts, and move runs on by a column."""
    a, packed = load_words(_addresses(lanes))
    n, b, c = packed & 0xFF, (packed << 16) >> 24, packed >> 16
    # The smallest k with N * 2**k >= A (T.87 A.5.1) is the difference of their logarithms, rounded up.
    k = ((a.float_bits() - n.float_bits() + ((1 << 23) - 1)) >> 23).maximum(0)
    mapping = ((k - 1) & (b + b + n - 1)) >> 31  # -1 where k = 0 and 2B <= -N

    active = (lanes + OFFSETS).load(16, LANES).differs(IDLE)
    window, zeros = (lanes + WINDOWS).load(32, LANES), (lanes + ZEROS).load(32, LANES)
    length = zeros + k
    mapped = ((zeros - 1) << k) + window.shifted_down(-length + 31)
    position = (lanes + POSITIONS).load(32, LANES) + ((length + 1) & active.extended(32))
    position = position.minimum_unsigned((lanes + ENDS).load(32, LANES))
    position.store(lanes + POSITIONS)
    position.shifted_down(3).store(lanes + BYTES)
    error = mapped.shifted_down(1) ^ -(mapped & 1) ^ mapping

    ra, rb, rc = (row - GROUP).load(16, LANES), above.load(16, LANES), (above - GROUP).load(16, LANES)
    high, low = ra.maximum_unsigned(rb), ra.minimum_unsigned(rb)
    flat = low.at_least_unsigned(rc).choose(high, ra + rb - rc)
    prediction = rc.at_least_unsigned(high).choose(low, flat)
    sign = (lanes + SIGNS).load(16, LANES)
    correction = (c.resized(16) ^ sign) - sign
    prediction = prediction.raised_by(correction.maximum(0)).reduced_by((-correction).maximum(0))
    value = prediction.minimum_unsigned(max_value) + ((error.resized(16) ^ sign) - sign)
    active.choose(value & max_value, row.load(16, LANES)).store(row)

    halve = n.shifted_down(6)
    a = (a + error.magnitude().minimum(max_value)).shifted_down(halve)
    b = (b + error) >> halve
    n = n.shifted_down(halve) + 1
    least = n.like(1) - n
    below, beyond = (b < least).extended(32), (b > 0).extended(32)
    c = (c + below - beyond).clamped(-128, 127)
    b = (b + (n & below) - (n & beyond)).clamped(least, 0)
    store_words(a, n | ((b & 0xFF) << 8) | (c << 16), _addresses(lanes))

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
