"""MagSgn bits to samples (T.814 7.3.7 and 7.3.8), once the quads of a code-block are known.

`decode_samples` has 8 quads in a step: how many bits each sample has, PDEP to spread the bits of a quad over four fields of 16 bits, and
the values. `decode_wide_samples` has one sample a step, and 32 bits for each.

Bounds
------
A step of 8 quads stores 16 samples in two rows, beyond the last column of the code-block too: who calls has room there, or writes
what lies there later. The second of the last two rows may not be there; its samples go to SPARE. The position in MagSgn bits is
compared with what there is memory for after each row of quads, which takes less than `_ROW_BYTES`. U does not matter: what is too
large for the lanes makes wrong samples, and is told in the end.
"""

from __future__ import annotations

from cinemill.kernels.htj2k.decode_bits import MAGSGN, MAGSGN_SIZE
from cinemill.kernels.htj2k.decode_quads import EMPTY, QUADS, QUADS_END, ROW, US
from cinemill.kernels.machine.bits import (
    leading_zeros,
    load_bits,
    load_i16,
    load_u8,
    load_u32,
    shift_down,
    shift_up,
    store_16,
    store_32,
)
from cinemill.kernels.machine.instructions import Value, gathered, instructions
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.x86 import (
    bits_deposited,
    constant,
    ones_counted,
    shuffled_bytes,
    subtracted_saturating,
)

STEP = 8
"""Quads."""
MOST_U = 14
"""Bits of a sample and its sign that the 16-bit lanes have room for."""
MOST_WIDE_U = 28

# In the memory of a code-block, after its quads: exponents of the lower samples of two rows of quads, 16 bits each, with margins; then
# the masks of a step, samples that are not there, and what there was in all steps: U that was too large, and the largest magnitude.
_EXPONENTS = (QUADS_END + 127) // 64 * 64
_EXPONENTS_SIZE = 256
_MASKS = _EXPONENTS + 2 * _EXPONENTS_SIZE
_SPARE = _MASKS + 8 * STEP
_TOO_LARGE = _SPARE + 256
_LARGEST = _TOO_LARGE + 4 * STEP
_ROW_BYTES = 512
BLOCK_MEMORY = (_LARGEST + 4 * STEP + _ROW_BYTES + 63) // 64 * 64
"""Bytes for one code-block."""

_FOURTHS = [lane // 4 * 4 for lane in range(4 * STEP)]
_MASK_LOW = [min(255, (2 << bits) - 1) for bits in range(16)]
_MASK_HIGH = [((2 << bits) - 1) >> 8 for bits in range(16)]
_LAST_POSITION = 8 * (MAGSGN_SIZE - 16)


@instructions
def _decode_step(
    position: Value,
    quads: Value,
    us: Value,
    above: Value,
    below: Value,
    memory: Value,
    top: Value,
    bottom: Value,
    limit: Value,
) -> Value:
    """Decode the samples of 8 quads; return the position in MagSgn after them.

    ``above`` has the exponents of the samples above, ``below`` receives those of the lower samples.
    """
    quad = quads.load(32, STEP)
    sample_bits = constant(quad.recast(8, 4 * STEP), [1, 2, 4, 8] * STEP)
    significant, known = (
        (quad.recast(8, 4 * STEP).shuffled([lane + byte for lane in _FOURTHS]) & sample_bits)
        .differs(0)
        .extended(8)
        for byte in (2, 3)
    )

    # The predictor of U is the largest exponent above, less 1, where more than one sample is significant (Equation 5).
    left, over, right, after = ((above + 2 * column).load(16, 2 * STEP) for column in (-1, 0, 1, 2))
    most = left.maximum(over).maximum(right.maximum(after)).recast(32, STEP) & 0xFFFF
    rho = quad & 0xF0000
    several = (rho & (rho - 0x10000)).differs(0).extended(32)
    bound = us.load(8, STEP).resized(32) + ((most - 1) & several).maximum(1)
    too_large = (bound > bound.like(limit)).extended(32) & rho
    ((memory + _TOO_LARGE).load(32, STEP) | too_large).store(memory + _TOO_LARGE)

    # m = U - k bits of each sample, as masks of 16 bits; the tables count from one bit.
    bits = (bound.recast(8, 4 * STEP).shuffled(_FOURTHS) - 1 + known) | ~significant
    low, high = (shuffled_bytes(constant(bits, table * 2), bits) for table in (_MASK_LOW, _MASK_HIGH))
    outer = [part.recast(64, STEP // 2) for part in low.interleaved(high)]
    masks = [
        outer[0].shuffled([2 * half, 2 * half + 1, 4 + 2 * half, 5 + 2 * half], outer[1]) for half in (0, 1)
    ]
    for half, mask in enumerate(masks):
        mask.store(memory + _MASKS + 32 * half)

    fields = []
    for number in range(STEP):
        mask = (memory + _MASKS + 8 * number).load(64)
        word = (memory + MAGSGN + position.shifted_down(3)).load(64).shifted_down(position & 7)
        fields.append(bits_deposited(word, mask))
        position += ones_counted(mask)

    samples, values, exponents = [], [], []
    for half, mask in enumerate(masks):
        field, width = gathered(fields[4 * half : 4 * half + 4]).recast(16, 16), mask.recast(16, 16)
        spread = quad.shuffled([4 * half + number // 2 for number in range(8)]).recast(8, 32)
        flags = spread.shuffled([8 * (lane // 8) + 2 for lane in range(32)]).recast(16, 16)
        there = width.differs(0).extended(16)
        reaching = (flags & constant(flags, [16, 32, 64, 128] * 4)).differs(0).extended(16)
        value = field | ((width + 1) & reaching)  # the most significant bit, where EMB tells it
        doubled = (value | 1) & there  # 2 magnitude - 1
        sign = -(value & 1)
        samples.append((((value.shifted_down(1) + 1) ^ sign) - sign) & there)
        values.append(doubled)
        exponents.append(doubled.recast(32, 8).shifted_down(16).floor_log2())
    samples[0].shuffled(range(0, 32, 2), samples[1]).store(top)
    samples[0].shuffled(range(1, 32, 2), samples[1]).store(bottom)
    subtracted_saturating(exponents[0].shuffled(range(16), exponents[1]).resized(16), 126).store(below)
    largest = (memory + _LARGEST).load(16, 16).maximum_unsigned(values[0].maximum_unsigned(values[1]))
    largest.store(memory + _LARGEST)
    return position


@instructions
def _any_significant(quads: Value) -> Value:
    return (quads.load(32, STEP) & 0xF0000).differs(0).packed()


@instructions
def _clear_step(top: Value, bottom: Value, below: Value) -> None:
    """Leave samples of 0, and exponents."""
    zero = top.load(16, 2 * STEP).like(0)
    zero.store(top)
    zero.store(bottom)
    zero.store(below)


@instructions
def _clear_exponents(row: Value) -> None:
    """Clear the exponents of a row, and the margins around them."""
    zero = row.load(64, 4).like(0)
    for at in range(-32, 192, 32):
        zero.store(row + at)


@instructions
def _start(memory: Value) -> None:
    zero = memory.load(32, STEP).like(0)
    zero.store(memory + _TOO_LARGE)
    zero.store(memory + _LARGEST)


@instructions
def _any_too_large(memory: Value) -> Value:
    return (memory + _TOO_LARGE).load(32, STEP).differs(0).packed()


@instructions
def largest_magnitude(memory: Value) -> Value:
    """Return the largest magnitude of the code-block that `decode_samples` decoded last in this memory."""
    both = (memory + _LARGEST).load(16, 16)
    for half in (8, 4, 2, 1):
        both = both.maximum_unsigned(both.shuffled([(lane + half) % 16 for lane in range(16)]))
    return (both.lane(0).resized(64) + 1).shifted_down(1)


@jit("int64(int64, int64, int64, int64, int64, int64)")
def decode_samples(memory: int, columns: int, rows: int, samples: int, stride: int, limit: int) -> int:
    """Decode MagSgn in 16-bit lanes.

    Parameters
    ----------
    memory
        Of the code-block, with its bits and quads.
    columns, rows
        Of the code-block.
    samples, stride
        Where the rows begin, and how many bytes lie from one to the next.
    limit
        Of U, `MOST_U` or less.

    Returns
    -------
    int
        How many bits were read, or -1 if U is too large.
    """
    above, below = memory + _EXPONENTS + 32, memory + _EXPONENTS + 32 + _EXPONENTS_SIZE
    _clear_exponents(above)
    _clear_exponents(below)
    _start(memory)
    position = 0
    for row in range((rows + 1) >> 1):
        quads, us = memory + QUADS + 4 * ROW * row, memory + US + ROW * row
        top = samples + 2 * row * stride
        bottom = top + stride if 2 * row + 1 < rows else memory + _SPARE
        empty = load_u8(memory + EMPTY, row)
        for at in range(0, 2 * columns, 4 * STEP):
            if empty or _any_significant(quads + at) == 0:
                _clear_step(top + at, bottom + at, below + at)
            else:
                position = _decode_step(
                    position,
                    quads + at,
                    us + (at >> 2),
                    above + at,
                    below + at,
                    memory,
                    top + at,
                    bottom + at,
                    limit,
                )
        if position > _LAST_POSITION:
            return -1
        above, below = below, above
    return -1 if _any_too_large(memory) else position


@inlined
def _largest_above(above: int, quad: int) -> int:
    return max(
        load_i16(above, 2 * quad - 1),
        load_i16(above, 2 * quad),
        load_i16(above, 2 * quad + 1),
        load_i16(above, 2 * quad + 2),
    )


@jit("int64(int64, int64, int64, int64, int64, int64)")
def decode_wide_samples(memory: int, columns: int, rows: int, samples: int, stride: int, limit: int) -> int:
    """Decode MagSgn to 32 bits, within the code-block only; as `decode_samples`, but ``limit`` is `MOST_WIDE_U` or less."""
    above, below = memory + _EXPONENTS + 32, memory + _EXPONENTS + 32 + _EXPONENTS_SIZE
    _clear_exponents(above)
    _clear_exponents(below)
    position = 0
    for row in range((rows + 1) >> 1):
        empty = load_u8(memory + EMPTY, row)
        for quad in range((columns + 1) >> 1):
            entry = 0 if empty else load_u32(memory + QUADS + 4 * ROW * row, quad)
            rho = shift_down(entry, 16) & 15
            bound = 1
            if rho & (rho - 1):
                bound = max(bound, _largest_above(above, quad) - 1)
            bound += load_u8(memory + US + ROW * row, quad)
            if rho and bound > limit:
                return -1
            for sample in range(4):
                value, exponent = 0, 0
                if shift_down(rho, sample) & 1:
                    bits = bound - (shift_down(entry, 24 + sample) & 1)
                    value = load_bits(memory + MAGSGN, position) & (shift_up(1, bits) - 1)
                    value |= shift_up(shift_down(entry, 20 + sample) & 1, bits)
                    position += bits
                    exponent = 64 - leading_zeros(value | 1)
                    magnitude = shift_down(value, 1) + 1
                    value = -magnitude if value & 1 else magnitude
                column, line = 2 * quad + (sample >> 1), 2 * row + (sample & 1)
                if column < columns and line < rows:
                    store_32(samples + line * stride, column, value)
                if sample & 1:
                    store_16(below, column, exponent)
        if position > _LAST_POSITION:
            return -1
        above, below = below, above
    return position
