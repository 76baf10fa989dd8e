"""What the HT cleanup pass says of quads, 2 x 2 samples each (T.814 7.3): eight quads of a row at once.

A quad is a 32-bit lane of a vector. But for its place among the bits, no quad of a row waits for another one: the context of a
code word is made of the samples to the left and above, not of what was sent of them. So a step does exponents, predictors,
contexts, code words and their lengths for eight quads, and leaves to `cinemill.kernels.htj2k.encode_bits` to append them:
the bits of samples as a mask of four times 16 bits beside them, the code words for a pair of quads as one.

Samples are below 2**15 in magnitude, so that 2 (magnitude - 1) + sign has 16 bits (7.3.8).

Bounds: a step reads 16 samples of two rows, however many of them are inside, and 17 exponents of the row above from the one before
them on, and writes 16 exponents, for which `ROW_SIZE` has margins. What it leaves has its place in `QUADS_SIZE` bytes by its
number, 0 to 3. Indices into tables are cut to their size.
"""

from __future__ import annotations

from typing import Any

from cinemill.kernels.machine.deferred import ir
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.x86 import constant, entries, shuffled_bytes, subtracted_saturating

QUADS = 8
"""Quads in a step."""
ROW_SIZE = 256
"""Bytes of a row of 64 exponents of 16 bits, with a margin of 64 bytes on both sides."""

# What is left for the next step and for scalar code, in bytes of scratch memory.
LEFT = 0
"""Keys of the step before; the last one is that of the quad to the left."""
FIELDS = LEFT + 4 * QUADS
"""By quad: what may be sent of its four samples, 16 bits each."""
MASKS = FIELDS + 8 * 32
"""By quad: which of those bits are sent."""
WORDS = MASKS + 8 * 32
"""By pair of quads: code words, and their length from bit 32 on."""
US = WORDS + 8 * 16
"""By quad: u, in the first row."""
QUADS_SIZE = US + 4 * 32

_PER_QUAD = [lane // 4 * 4 for lane in range(4 * QUADS)]
_LOW_MASKS = [min(255, (2 << count) - 1) for count in range(16)]
_HIGH_MASKS = [((2 << count) - 1) >> 8 for count in range(16)]


def _lanes_below(count: Value, like: Value) -> Value:
    """Return all ones in the first lanes, zeros in others."""
    return (constant(like, list(range(like.lanes))) < count.resized(16)).extended(16)


def _exponents(magnitudes: Value) -> Value:
    """Return the exponents of samples (7.3.2): the bits of 2 magnitude - 1, 0 of 0."""
    odd = subtracted_saturating(magnitudes + magnitudes, 1).recast(32, QUADS)
    halves = (odd & 0xFFFF), odd.shifted_down(16)
    low, high = (_float_bits(half) for half in halves)
    low, high = low.shifted_down(23).recast(16, 2 * QUADS), high.shifted_down(7).recast(16, 2 * QUADS)
    both = low.shuffled([lane + (2 * QUADS if lane & 1 else 0) for lane in range(2 * QUADS)], high)
    return subtracted_saturating(both, 126)


def _float_bits(value: Value) -> Value:
    kind = ir.VectorType(ir.FloatType(), value.lanes)
    return Value(
        value.builder, value.builder.bitcast(value.builder.sitofp(value.value, kind), value.value.type)
    )


def _joined(by_parts: tuple[Value, Value]) -> tuple[Value, Value]:
    """Put 64-bit lanes that were interleaved within 128 bits into their order."""
    first, second = (part.recast(64, QUADS // 2) for part in by_parts)
    return first.shuffled([0, 1, 4, 5], second), first.shuffled([2, 3, 6, 7], second)


class _Quads:
    """Eight quads: the samples of the upper and the lower row, and what is known of them alone."""

    def __init__(self, top: Value, bottom: Value, columns: Value, below: Value) -> None:
        upper, lower = top.load(16, 2 * QUADS), bottom.load(16, 2 * QUADS)
        inside = _lanes_below(columns, upper)
        self.inside = inside.recast(32, QUADS) << 31 >> 31
        upper, lower = upper & inside, lower & inside
        magnitudes = upper.magnitude(), lower.magnitude()
        self.values = tuple(
            magnitude + magnitude + samples.shifted_down(15) - 2
            for magnitude, samples in zip(magnitudes, (upper, lower), strict=True)
        )
        exponents = tuple(_exponents(magnitude) for magnitude in magnitudes)
        exponents[1].store(below)
        larger = exponents[0].maximum(exponents[1]).recast(32, QUADS)
        larger = larger.recast(16, 2 * QUADS).maximum(larger.shifted_down(16).recast(16, 2 * QUADS))
        self.most = larger.recast(32, QUADS) & 0xFFFF
        by_sample = (exponents[0].recast(32, QUADS) | (exponents[1].recast(32, QUADS) << 8)).recast(
            8, 4 * QUADS
        )
        self.significant = (by_sample > 0).extended(8)
        largest = by_sample.equals(self.most.recast(8, 4 * QUADS).shuffled(_PER_QUAD)).extended(8)
        # Significance in bits 4 to 7, samples of the largest exponent in bits 0 to 3.
        key = (self.significant & constant(by_sample, [0x10, 0x20, 0x40, 0x80] * QUADS)) | (
            largest & constant(by_sample, [1, 2, 4, 8] * QUADS)
        )
        key = key.recast(32, QUADS)
        key |= key.shifted_down(16)
        self.key = (key | key.shifted_down(8)) & 0xFF


def _step(*, first: bool) -> Any:
    """Make the operation for eight quads of the first row of a code-block, or of others."""

    def code_quads(
        top: Value,
        bottom: Value,
        columns: Value,
        above: Value,
        below: Value,
        scratch: Value,
        number: Value,
        words: Value,
        us: Value,
    ) -> Value:
        quads = _Quads(top, bottom, columns, below)
        key, most = quads.key, quads.most
        significance = key & 0xF0
        before = (scratch + LEFT).load(32, QUADS)
        key.store(scratch + LEFT)
        left = before.shuffled(range(QUADS - 1, 2 * QUADS - 1), key)
        if first:
            context = (left.shifted_down(5) | (left.shifted_down(4) & 1)) & 7
            bound = most.maximum(1)
            u = bound - 1
        else:
            around = [(above + 2 * shift).load(16, 2 * QUADS) for shift in (-1, 0, 1, 2)]
            west, east = around[0].maximum(around[1]), around[2].maximum(around[3])
            several = (significance & (significance - 16)).differs(0).extended(32)
            predictor = (((west.maximum(east).recast(32, QUADS) & 0xFFFF) - 1) & several).maximum(1)
            context = (west.minimum(1) | (east.minimum(1) << 2)).recast(32, QUADS) & 5
            context |= ((left & 0xC0) > 0).extended(32) & 2
            bound = most.maximum(predictor)
            u = bound - predictor
        context &= quads.inside
        index = (context << 8) | (key & ((u > 0).extended(32) | 0xF0))
        entry = entries(words, index)
        _leave_samples(quads, bound, entry, scratch + number * 64)
        _leave_words(u, entry, us, scratch + number * 32)
        if first:
            u.store(scratch + number * 32 + US)
        told_by_mel = (context.equals(0).extended(32) & quads.inside) < 0
        return told_by_mel.packed() | significance.differs(0).packed() << 32

    return instructions(code_quads)


def _leave_samples(quads: _Quads, bound: Value, entry: Value, scratch: Value) -> None:
    """Leave which bits of samples are sent: as many as the bound, one less where an EMB tells the highest (7.3.8)."""
    known = entry.recast(8, 4 * QUADS) & 1
    counts = (bound.recast(8, 4 * QUADS).shuffled(_PER_QUAD) - 1 - known) | ~quads.significant
    # A byte above 127, that of a sample which is not significant, picks 0.
    low, high = (shuffled_bytes(constant(counts, 2 * masks), counts) for masks in (_LOW_MASKS, _HIGH_MASKS))
    upper, lower = quads.values
    for where, parts in ((FIELDS, upper.interleaved(lower)), (MASKS, low.interleaved(high))):
        for half, joined in enumerate(_joined(parts)):
            joined.store(scratch + where + 32 * half)


def _leave_words(u: Value, entry: Value, us: Value, scratch: Value) -> None:
    """Leave the code words of each pair of quads, and then of their u (7.3.5, 7.3.6)."""
    words, sizes = (
        (entry.shifted_down(at) & mask).recast(64, QUADS // 2) for at, mask in ((1, 0x7F), (9, 7))
    )
    pairs = u.recast(64, QUADS // 2)
    code = entries(us, (pairs | pairs.shifted_down(27)) & 0x3FF)
    first_size = sizes & 0xFFFFFFFF
    size = first_size + sizes.shifted_down(32)
    word = (words & 0xFFFFFFFF) | (words.shifted_down(32) << first_size) | ((code & 0xFFFFFFFF) << size)
    (word | ((size + code.shifted_down(32)) << 32)).store(scratch + WORDS)


code_first_quads, code_quads = _step(first=True), _step(first=False)
"""Code eight quads; returns which of them MEL tells of, and from bit 32 on, which are significant.

They take the addresses of 16 samples of the upper and the lower row, how many of these are inside, the exponents of the row
above and where to write those of the lower row, scratch memory and the number of the step, and code words for quads and for u.
"""


@instructions
def any_near(top: Value, bottom: Value, columns: Value, above: Value, scratch: Value) -> Value:
    """Tell (as non-zero) whether one of eight quads, or what their contexts depend on, is significant; as `code_quads` takes them."""
    samples = top.load(16, 2 * QUADS) | bottom.load(16, 2 * QUADS)
    found = samples & _lanes_below(columns, samples)
    found |= (above - 2).load(16, 2 * QUADS) | (above + 4).load(16, 2 * QUADS)
    left = (scratch + LEFT).load(32, QUADS) & constant(found.recast(32, QUADS), [0] * (QUADS - 1) + [-1])
    return (found.recast(32, QUADS) | left).differs(0).packed()


@instructions
def leave_nothing(below: Value, scratch: Value, number: Value) -> None:
    """Leave of eight quads that nothing is significant, nor near them."""
    zero = scratch.load(32, QUADS).like(0)
    zero.store(below)
    zero.store(scratch + LEFT)
    for where, size in ((MASKS, 64), (WORDS, 32), (US, 32)):
        for at in range(0, size, 32):
            zero.store(scratch + number * size + (where + at))


@instructions
def any_of(first: Value, second: Value, columns: Value) -> Value:
    """Tell (as non-zero) whether one of two rows of up to 64 samples has others than 0; 64 are read of each."""
    parts = []
    for at in range(0, 64, 16):
        samples = (first + 2 * at).load(16, 16) | (second + 2 * at).load(16, 16)
        parts.append(samples & _lanes_below(columns - at, samples))
    return (parts[0] | parts[1] | parts[2] | parts[3]).recast(64, 4).differs(0).packed()


@instructions
def clear_row(where: Value) -> None:
    """Clear a row of exponents and its margins, or 64 samples."""
    zero = where.load(64, 4).like(0)
    for at in range(-64, ROW_SIZE - 64, 32):
        zero.store(where + at)
