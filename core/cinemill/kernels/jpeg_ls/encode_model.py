"""What JPEG-LS encoders compute (T.87 Annex A), whether they work on one frame or on many.

Formulas over vectors are written on `Value`: their lanes are samples of a row, records of a frame, or frames. What
happens once in a run stands below them as plain loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cinemill.kernels.jpeg_ls.parameters import Coding
from cinemill.kernels.machine.bits import (
    leading_zeros,
    load_i32,
    load_u8,
    load_u16,
    shift_down,
    shift_up,
    signed_from,
    store_16,
    store_32,
    store_word,
)
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined

LONGEST_VALUE = 24
"""Bits of a symbol's value. A symbol is a 32-bit integer: its value, and in the top byte its length in bits, leading zeros included."""

A, B, C, N = 0, 1, 2, 3
"""Fields of a run interruption context, 32 bits each; Nn stands for B (T.87 A.7.2), C is unused."""


PIXELS = 16
"""Pixels that `read_pixels` takes apart at once."""


class Context(NamedTuple):
    """State of a regular context: A, B, C and N of T.87 A.2.1."""

    a: Value
    b: Value
    c: Value
    n: Value


class Neighbourhood(NamedTuple):
    """A sample and its causal neighbours (T.87 figure A.1), 16 bits, unsigned."""

    sample: Value
    ra: Value
    rb: Value
    rc: Value
    rd: Value


def quantised(high: Value, low: Value, thresholds: Sequence[Value]) -> Value:
    """Quantise the gradient ``high - low`` of two unsigned samples to -4..4 (T.87 A.3.3) by T1, T2, T3, all below 2**15."""
    size = high.maximum_unsigned(low) - high.minimum_unsigned(low)
    steps, limited = size.minimum_unsigned(1), size.minimum_unsigned(0x7FFF)
    for threshold in thresholds:
        steps = steps - (limited > threshold - 1).extended(16)
    negative = low.at_least_unsigned(high).extended(16)
    return (steps ^ negative) - negative


def modelled(
    near: Neighbourhood, gradients: tuple[Value, Value, Value], max_value: Value
) -> tuple[Value, Value, Value]:
    """Return context number, prediction and sample (T.87 A.3, A.4.1); context 0 stands for run mode.

    Gradients are Rd - Rb, Rb - Rc and Rc - Ra, quantised. Where the context's sign is negative, prediction and sample are
    complemented (MAXVAL - x), after which correction, error and clamping are the same for both signs.
    """
    sample, ra, rb, rc, _ = near
    q1, q2, q3 = gradients
    context = (q1 * 9 + q2) * 9 + q3
    complement = (context >> 15) & max_value
    high, low = ra.maximum_unsigned(rb), ra.minimum_unsigned(rb)
    flat = low.at_least_unsigned(rc).choose(high, ra + rb - rc)
    prediction = rc.at_least_unsigned(high).choose(low, flat)
    return context.magnitude(), prediction ^ complement, sample ^ complement


def golomb_symbol(context: Context, error: Value, longest: Value, qbpp: Value, limit: Value) -> Value:
    """Return the symbol of an error's limited-length Golomb code (T.87 A.5), before the context is updated.

    ``longest`` is the number of zeros, LIMIT - qbpp - 1, that announces an escape.
    """
    k = (context.a | context.n).floor_log2() - context.n.floor_log2()
    k = k - (context.n << k < context.a).extended(32)
    inverted = ((k - 1) & (context.b + context.b + context.n - 1)) >> 31  # -1 where k = 0 and 2B <= -N
    error = error ^ inverted
    mapped = (error << 1) ^ (error >> 31)
    zeros = mapped.shifted_down(k)
    one = mapped.like(1) << k
    escaped = zeros >= longest
    value = escaped.choose((mapped.like(1) << qbpp) | (mapped - 1), one | (mapped & (one - 1)))
    return value | (escaped.choose(mapped.like(limit), zeros + k + 1) << LONGEST_VALUE)


def updated(context: Context, error: Value) -> Context:
    """Update a context by an error, with RESET 64 (T.87 A.6)."""
    halve = context.n.shifted_down(6)
    a = (context.a + error.magnitude()).shifted_down(halve)
    b = (context.b + error) >> halve
    n = context.n.shifted_down(halve) + 1
    low, high = b <= -n, b > 0
    down, up = (context.c - 1).maximum(-128), (context.c + 1).minimum(127)
    c = low.choose(down, high.choose(up, context.c))
    b = low.choose((b + n).maximum(-n + 1), high.choose((b - n).minimum(0), b))
    return Context(a, b, c, n)


def joined(values: Value, lengths: Value, more: Value, more_lengths: Value) -> tuple[Value, Value]:
    """Append codes to others; the value is right as long as the joint length is below the bits that hold it."""
    return (values << more_lengths) | more, lengths + more_lengths


@inlined
def run_segments(orders: int, run_index: int, length: int) -> tuple[int, int, int]:
    """Split a run into whole segments, each a one in the code, and a rest (T.87 A.7.1.2).

    Returns the number of segments, the rest, and the run index after them.
    """
    segments = 0
    while length >= shift_up(1, load_u8(orders, run_index)):
        length -= shift_up(1, load_u8(orders, run_index))
        segments += 1
        run_index = min(run_index + 1, 31)
    return segments, length, run_index


@inlined
def interruption_symbol(contexts: int, order: int, ra: int, rb: int, sample: int, coding: Coding) -> int:
    """Return the symbol of the sample that ends a run, and update its context, one of the two at ``contexts`` (T.87 A.7.2)."""
    like_ra = 1 if ra == rb else 0
    context = contexts + 16 * like_ra
    a, negative, n = load_i32(context, A), load_i32(context, B), load_i32(context, N)
    error = signed_from(rb - sample if ra > rb else sample - rb, coding.qbpp)
    wanted = a + (n >> 1) * like_ra
    k = leading_zeros(n) - leading_zeros(wanted | n)
    k += 1 if shift_up(n, k) < wanted else 0
    inverted = 1 if k != 0 or 2 * negative >= n else 0
    mapping = 0
    if error < 0:
        mapping = inverted
        negative += 1
    elif error > 0:
        mapping = 1 - inverted
    mapped = 2 * abs(error) - like_ra - mapping
    limit = coding.limit - order - 1
    zeros = shift_down(mapped, k)
    value, length = shift_up(1, k) | (mapped & (shift_up(1, k) - 1)), zeros + 1 + k
    if zeros >= limit - coding.qbpp - 1:
        value, length = shift_up(1, coding.qbpp) | (mapped - 1), limit
    a += (mapped + 1 - like_ra) >> 1
    if n == coding.reset:
        a >>= 1
        negative >>= 1
        n >>= 1
    store_32(context, A, a)
    store_32(context, B, negative)
    store_32(context, N, n + 1)
    return value | shift_up(length, LONGEST_VALUE)


@inlined
def emit(word: int, held: int, out: int, value: int, length: int) -> tuple[int, int, int]:
    """Append at most 56 bits to the ``held`` (0 to 7) bits in the top of ``word``, and write all whole bytes to ``out``.

    Eight bytes are written each time, of which the later ones are not final: no branch depends on the length.
    """
    word |= shift_up(shift_up(value, 63 - held - length), 1)
    held += length
    store_word(out, word)
    return shift_up(word, held & 56), held & 7, out + (held >> 3)


@inlined
def emit_symbol(word: int, held: int, out: int, symbol: int) -> tuple[int, int, int]:
    """Append a symbol of up to 64 bits."""
    length = symbol >> LONGEST_VALUE
    zeros = max(length - 32, 0)
    word, held, out = emit(word, held, out, 0, zeros)
    return emit(word, held, out, symbol & ((1 << LONGEST_VALUE) - 1), length - zeros)


@instructions
def _split_pixels(pixels: Value, line: Value, plane: Value, mask: Value) -> None:
    """Spread `PIXELS` pixels of three bytes over three lines of 16-bit samples."""
    interleaved = pixels.load(8, 3 * PIXELS)
    for component in range(3):
        samples = interleaved.shuffled(range(component, 3 * PIXELS, 3)).resized(16)
        (samples & mask).store(line + plane * component)


@inlined
def read_pixels(
    frame: int, sample_bytes: int, first: int, columns: int, components: int, line: int, plane: int, mask: int
) -> None:
    """Spread a row of interleaved pixels, which starts at sample ``first`` of a frame, over one line of 16-bit samples a component.

    Lines are ``plane`` bytes apart.
    """
    x = 0
    if components == 3 and sample_bytes == 1:
        while x + PIXELS <= columns:
            _split_pixels(frame + first + 3 * x, line + 2 * x, plane, mask)
            x += PIXELS
    for component in range(components):
        source = first + component
        target = line + plane * component
        if sample_bytes == 2:
            for column in range(x, columns):
                store_16(target, column, load_u16(frame, source + components * column) & mask)
        elif components == 1:
            for column in range(x, columns):
                store_16(target, column, load_u8(frame, source + column) & mask)
        else:
            for column in range(x, columns):
                store_16(target, column, load_u8(frame, source + components * column) & mask)


def plain_capacity(samples: int, coding: Coding) -> int:
    """Return the bytes that the plain bits of so many samples may take: LIMIT bits each, and what `emit` writes behind."""
    return (samples * coding.limit + 7) // 8 + 64
