"""What JPEG-LS decoders compute (T.87 Annex A), whether they work on one frame or on many.

Nothing here is shared with the encoders, so that decoding what was encoded checks both.
"""

from __future__ import annotations

from collections.abc import Sequence

from cinemill.kernels.jpeg_ls.parameters import Coding
from cinemill.kernels.machine.bits import (
    leading_zeros,
    load_i32,
    load_u8,
    load_u16,
    load_word,
    shift_down,
    shift_up,
    store_8,
    store_16,
    store_32,
)
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined

A, B, C, N = 0, 1, 2, 3
"""Fields of a run interruption context, 32 bits each; Nn stands for B (T.87 A.7.2), C is unused."""


PIXELS = 32
"""Pixels that `write_pixels` puts together at once."""


def quantised(difference_of: Value, to: Value, thresholds: Sequence[Value]) -> Value:
    """Quantise the gradient ``difference_of - to`` of unsigned samples to -4..4 (T.87 A.3.3).

    Thresholds are NEAR + 1, T1, T2 and T3.
    """
    size = difference_of.maximum_unsigned(to) - difference_of.minimum_unsigned(to)
    steps = size.like(0)
    for threshold in thresholds:
        steps = steps - size.at_least_unsigned(threshold).extended(16)
    return difference_of.at_least_unsigned(to).choose(steps, -steps)


@inlined
def peek(data: int, position: int) -> int:
    """Return the bits from a position on in a word's top; at least 57 of them are real."""
    return shift_up(load_word(data + (position >> 3)), position & 7)


@inlined
def golomb(data: int, position: int, k: int, longest: int, qbpp: int) -> tuple[int, int]:
    """Read a limited-length Golomb code (T.87 A.5.3): up to ``longest`` zeros, or an escape to ``qbpp`` plain bits."""
    word = peek(data, position)
    zeros = leading_zeros(word)
    if zeros < longest and zeros + k < 56:
        low = shift_down(shift_down(shift_up(word, zeros + 1), 63 - k), 1)
        return shift_up(zeros, k) | low, position + zeros + 1 + k
    if zeros > 56:
        zeros = 56 + leading_zeros(peek(data, position + 56))
    if zeros >= longest:
        position += longest + 1
        return shift_down(peek(data, position), 64 - qbpp) + 1, position + qbpp
    position += zeros + 1
    return shift_up(zeros, k) | shift_down(shift_down(peek(data, position), 63 - k), 1), position + k


@inlined
def golomb_parameter(a: int, n: int) -> int:
    """Return the smallest k with N * 2**k >= A (T.87 A.5.1)."""
    k = leading_zeros(n) - leading_zeros(a | n)
    return k + (1 if shift_up(n, k) < a else 0)


@inlined
def reconstructed(prediction: int, error: int, coding: Coding, exact: bool) -> int:
    """Add an error to a prediction modulo RANGE (T.87 A.4.4, A.4.5)."""
    if exact:
        return (prediction + error) & coding.max_value
    step = 2 * coding.near + 1
    value = prediction + error * step
    if value < -coding.near:
        value += coding.range * step
    elif value > coding.max_value + coding.near:
        value -= coding.range * step
    return min(max(value, 0), coding.max_value)


@inlined
def run_length(orders: int, data: int, position: int, run_index: int, room: int) -> tuple[int, int, int]:
    """Read a run's length, at most ``room`` (T.87 A.7.1.2); ``room`` means that the run reaches the end of the row."""
    length = 0
    while True:
        order = load_u8(orders, run_index)
        word = peek(data, position)
        position += 1
        if word >= 0:
            length += shift_down(shift_down(shift_up(word, 1), 63 - order), 1)
            return min(length, room), position + order, run_index
        length += shift_up(1, order)
        if length <= room:
            run_index = min(run_index + 1, 31)
        if length >= room:
            return room, position, run_index


@inlined
def interruption(
    contexts: int,
    order: int,
    like_ra: int,
    ra: int,
    rb: int,
    data: int,
    position: int,
    coding: Coding,
    exact: bool,
) -> tuple[int, int]:
    """Decode the sample that ends a run (T.87 A.7.2); ``like_ra`` is RItype and picks one of two contexts of 16 bytes.

    Returns the sample and the position behind its code.
    """
    context = contexts + 16 * like_ra
    a, negative, n = load_i32(context, A), load_i32(context, B), load_i32(context, N)
    k = golomb_parameter(a + (n >> 1) * like_ra, n)
    mapped, position = golomb(data, position, k, coding.limit - order - 1 - coding.qbpp - 1, coding.qbpp)
    mapped = min(mapped, 2 * coding.range)
    odd = (mapped + like_ra) & 1
    size = (mapped + like_ra + odd) >> 1
    inverted = 1 if k != 0 or 2 * negative >= n else 0
    error = -size if odd == inverted else size
    negated = 0 if like_ra or ra <= rb else -1
    value = reconstructed(ra if like_ra else rb, (error ^ negated) - negated, coding, exact)
    a += (mapped + 1 - like_ra) >> 1
    negative += 1 if error < 0 else 0
    if n == coding.reset:
        a >>= 1
        negative >>= 1
        n >>= 1
    store_32(context, A, a)
    store_32(context, B, negative)
    store_32(context, N, n + 1)
    return value, position


def _places(component: int, part: int) -> list[int]:
    """Say which sample stands at each byte of a part of the pixels, in each 128 bits; behind the samples stand zeros."""
    places = [16 * part + at for at in range(16)]
    return [half + place // 3 if place % 3 == component else PIXELS for half in (0, 16) for place in places]


@instructions
def _join_pixels(line: Value, plane: Value, pixels: Value) -> None:
    """Gather three lines of `PIXELS` 16-bit samples into pixels of three bytes."""
    colours = [(line + plane * component).load(16, PIXELS).resized(8) for component in range(3)]
    zero = colours[0].like(0)
    for part in range(3):
        red, green, blue = (
            colour.shuffled(_places(component, part), zero) for component, colour in enumerate(colours)
        )
        joined = red | green | blue
        joined.shuffled(range(16)).store(pixels + 16 * part)
        joined.shuffled(range(16, 32)).store(pixels + 48 + 16 * part)


@inlined
def write_pixels(
    line: int,
    plane: int,
    columns: int,
    components: int,
    frame: int,
    sample_bytes: int,
    first: int,
    samples: int,
) -> None:
    """Gather one line of 16-bit samples a component into a row of pixels of so many samples, from sample ``first`` of a frame on.

    Lines are ``plane`` bytes apart.
    """
    x = 0
    if components == 3 and samples == 3 and sample_bytes == 1:
        while x + PIXELS <= columns:
            _join_pixels(line + 2 * x, plane, frame + first + 3 * x)
            x += PIXELS
    for component in range(components):
        source = line + plane * component
        target = first + component
        if sample_bytes == 2:
            for column in range(x, columns):
                store_16(frame, target + samples * column, load_u16(source, column))
        elif samples == 1:
            for column in range(x, columns):
                store_8(frame, target + column, load_u16(source, column))
        else:
            for column in range(x, columns):
                store_8(frame, target + samples * column, load_u16(source, column))
