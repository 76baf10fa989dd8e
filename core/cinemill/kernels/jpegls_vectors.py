"""The formulas of T.87 Annex A over many samples or many contexts at once, as `Value` expressions.

The encoders and decoders differ in where the numbers come from; what is done with them stands here once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cinemill.kernels.bits import Value, instructions

STEP = 32
"""Samples that one vector operation over a row handles."""


class Context(NamedTuple):
    """State of a regular context: A, B, C and N of T.87 A.2.1."""

    a: Value
    b: Value
    c: Value
    n: Value


def quantised(high: Value, low: Value, thresholds: Sequence[Value]) -> Value:
    """Quantise the gradient ``high - low`` of two unsigned samples to -4..4 (T.87 A.3.3).

    The first of four thresholds is NEAR + 1, the others are T1, T2 and T3.
    """
    size = high.maximum_unsigned(low) - high.minimum_unsigned(low)
    steps = high.like(0)
    for threshold in thresholds:
        steps = steps - size.at_least_unsigned(threshold).extended(16)
    return high.at_least_unsigned(low).choose(steps, -steps)


def predicted(ra: Value, rb: Value, rc: Value) -> Value:
    """Predict by the median edge detector (T.87 A.4.1): Ra + Rb - Rc, kept between Ra and Rb; samples are unsigned."""
    high, low = ra.maximum_unsigned(rb), ra.minimum_unsigned(rb)
    plane = ra + rb - rc
    return rc.at_least_unsigned(high).choose(low, low.at_least_unsigned(rc).choose(high, plane))


def golomb_parameter(a: Value, n: Value) -> Value:
    """Return the smallest k with N * 2**k >= A (T.87 A.5.1), for A and N above 0."""
    k = n.leading_zeros() - (a | n).leading_zeros()
    return (n << k < a).choose(k + 1, k)


def updated(context: Context, error: Value) -> Context:
    """Update a context by a prediction error, with RESET 64 (T.87 A.6.1, A.6.2)."""
    halve = context.n.shifted_down(6)
    a = (context.a + error.magnitude()).shifted_down(halve)
    b = (context.b + error) >> halve
    n = context.n.shifted_down(halve) + 1
    low, high = b <= -n, b > 0
    c = context.c + low.extended(b.bits) - high.extended(b.bits)
    b = low.choose(b + n, high.choose(b - n, b))
    return Context(a, b.clamped(-n + 1, 0), c.clamped(-128, 127), n)


@instructions
def gradient_contexts(above: Value, target: Value, pitch: Value, near: Value, t1: Value, t2: Value, t3: Value) -> None:
    """Write 81 * Q(Rd - Rb) + 9 * Q(Rb - Rc) for `STEP` samples.

    ``above`` is the address of the first Rb, ``pitch`` the distance in samples to its neighbours; ``target`` takes 16-bit numbers.
    """
    rb = above.load(16, STEP)
    rc = (above - pitch * 2).load(16, STEP)
    rd = (above + pitch * 2).load(16, STEP)
    thresholds = [rb.like(threshold) for threshold in (near + 1, t1, t2, t3)]
    (quantised(rd, rb, thresholds) * 81 + quantised(rb, rc, thresholds) * 9).store(target)


@instructions
def prepare(
    above: Value,
    current: Value,
    block: Value,
    max_value: Value,
    t1: Value,
    t2: Value,
    t3: Value,
) -> None:
    """Do for `STEP` samples what lossless coding needs from the row above and the samples to the left.

    ``above`` and ``current`` are the addresses of the first Rb and of the first sample. ``block`` takes three runs of `STEP` 16-bit
    numbers: the context (0 for run mode), the prediction, and the sample minus the prediction. Where the context's sign is
    negative, sample and prediction are complemented (MAXVAL - x): what follows is then the same for both signs (T.87 A.3.4, A.4.2).
    """
    rb, rc, rd = above.load(16, STEP), (above - 2).load(16, STEP), (above + 2).load(16, STEP)
    ra, sample = (current - 2).load(16, STEP), current.load(16, STEP)
    thresholds = [rb.like(threshold) for threshold in (t1.like(1), t1, t2, t3)]
    q1, q2, q3 = quantised(rd, rb, thresholds), quantised(rb, rc, thresholds), quantised(rc, ra, thresholds)
    context = q1 * 81 + q2 * 9 + q3
    complement = (context < 0).choose(rb.like(max_value), 0)
    prediction = predicted(ra, rb, rc) ^ complement
    context.magnitude().store(block)
    prediction.store(block + 2 * STEP)
    ((sample ^ complement) - prediction).store(block + 4 * STEP)


@instructions
def matching(current: Value, sample: Value) -> Value:
    """Count how many of the `STEP` samples at ``current`` equal ``sample`` before the first that does not."""
    samples = current.load(16, STEP)
    different = samples.differs(samples.like(sample)).packed()
    return different.trailing_zeros().minimum(STEP)


LONGEST_VALUE = 24
"""Bits of a symbol's value: a symbol is a 32-bit integer, its value below and its length in bits in the top byte."""


def golomb_symbol(context: Context, error: Value, longest: Value, qbpp: Value, limit: Value) -> tuple[Value, Value]:
    """Return value and length of an error's limited-length Golomb code (T.87 A.5.2, A.5.3)."""
    k = golomb_parameter(context.a, context.n)
    inverted = k.equals(0) & (context.b + context.b <= -context.n)
    error = inverted.choose(~error, error)
    mapped = (error << 1) ^ (error >> (error.bits - 1))
    zeros = mapped.shifted_down(k)
    one = mapped.like(1) << k
    escaped = zeros.at_least_unsigned(longest)
    value = escaped.choose((mapped.like(1) << qbpp) | (mapped - 1), one | (mapped & (one - 1)))
    return value, escaped.choose(mapped.like(limit), zeros + k + 1)


def joined(values: Value, lengths: Value) -> tuple[Value, Value]:
    """Join neighbours of a 64-bit vector to twice as long codes; right as long as they fit into 64 bits."""
    first, second = range(0, values.lanes, 2), range(1, values.lanes, 2)
    shift = lengths.shuffled(second).minimum_unsigned(63)
    value = (values.shuffled(first) << shift) | values.shuffled(second)
    return value, lengths.shuffled(first) + lengths.shuffled(second)
