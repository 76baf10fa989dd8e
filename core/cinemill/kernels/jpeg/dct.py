"""The inverse DCT of JPEG in integers, two blocks at once, to the very samples that libjpeg's accurate one gives.

Columns are transformed first, then rows, each by the algorithm of Loeffler, Ligtenberg and Moschytz (ICASSP 1989) with
factors of 13 bits; two bits below the point are kept in between. A register holds a row of both blocks, in halves of 128 bits.

Bounds: sums of two coefficients must fit 16 bits, so they are below 2^13. What has more between the two steps is no image; it
is saturated, and its sums are cut, as libjpeg-turbo does.
"""

from __future__ import annotations

from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.x86 import any_bits, high_product, packed_bytes, packed_words, summed_products

BLOCK = 128
"""Bytes of the 64 coefficients of a block."""

_POINT, _BETWEEN = 13, 2
_0_298, _0_390, _0_541, _0_765, _0_899, _1_175 = 2446, 3196, 4433, 6270, 7373, 9633
_1_501, _1_847, _1_961, _2_053, _2_562, _3_072 = 12299, 15137, 16069, 16819, 20995, 25172
"""Sums of cosines, times 2^13, named by their value."""


class _Pairs:
    """Two rows of 16 integers of 16 bits, from which sums of products are formed."""

    def __init__(self, first: Value, second: Value) -> None:
        self.halves = first.interleaved(second)

    def summed(self, factor: int, other: int) -> list[Value]:
        """Return factor * first + other * second in 32 bits, in two registers."""
        return [summed_products(half, factor, other) for half in self.halves]


def _added(one: list[Value], other: list[Value]) -> list[Value]:
    return [a + b for a, b in zip(one, other, strict=True)]


def _transformed(rows: list[Value], shift: int) -> list[Value]:
    """Transform columns of 8, and drop so many bits, rounded."""
    half = 1 << (shift - 1)
    outer, inner = _Pairs(rows[2], rows[6]), _Pairs(rows[0] + rows[4], rows[0] - rows[4])
    sixth, second = outer.summed(_0_541, _0_541 - _1_847), outer.summed(_0_541 + _0_765, _0_541)
    total, difference = (
        [value + half for value in inner.summed(*factors)] for factors in ((1 << _POINT, 0), (0, 1 << _POINT))
    )
    even = [_added(total, second), _added(difference, sixth)]
    even += [
        [a - b for a, b in zip(difference, sixth, strict=True)],
        [a - b for a, b in zip(total, second, strict=True)],
    ]
    sums = _Pairs(rows[7] + rows[3], rows[5] + rows[1])
    z3, z4 = sums.summed(_1_175 - _1_961, _1_175), sums.summed(_1_175, _1_175 - _0_390)
    ends, middle = _Pairs(rows[7], rows[1]), _Pairs(rows[5], rows[3])
    odd = [
        _added(ends.summed(-_0_899, _1_501 - _0_899), z4),
        _added(middle.summed(-_2_562, _3_072 - _2_562), z3),
        _added(middle.summed(_2_053 - _2_562, -_2_562), z4),
        _added(ends.summed(_0_298 - _0_899, -_0_899), z3),
    ]
    found = []
    for a, b in zip(even, odd, strict=True):
        found.append(packed_words(*((x + y) >> shift for x, y in zip(a, b, strict=True))))
    for a, b in zip(reversed(even), reversed(odd), strict=True):
        found.append(packed_words(*((x - y) >> shift for x, y in zip(a, b, strict=True))))
    return found


def _transposed(rows: list[Value]) -> list[Value]:
    """Transpose squares of 8 by 8 in each half."""
    for _ in range(3):
        rows = [half for number in range(4) for half in rows[number].interleaved(rows[number + 4])]
    return rows


@instructions
def inverse_dct(
    blocks: Value,
    first: Value,
    pitch: Value,
    factors: Value,
    second: Value,
    other_pitch: Value,
    other_factors: Value,
) -> Value:
    """Transform two blocks, one behind the other, clear them, and write 8 rows of 8 samples of each.

    ``first`` and ``second`` are where these begin, and their rows are ``pitch`` and ``other_pitch`` bytes apart. Factors of
    quantisation are 64 of 16 bits each, below 2^13. What comes back is not 0 where a coefficient reaches 2^13.
    """
    rows = []
    beyond = blocks.load(16, 16).like(0)
    for row in range(8):
        levels, scales = (
            (one + 16 * row).load(16, 8).shuffled(range(16), (other + 16 * row).load(16, 8))
            for one, other in ((blocks, blocks + BLOCK), (factors, other_factors))
        )
        rows.append(levels * scales)
        beyond = beyond | high_product(levels.magnitude(), scales << 3)
    for at in range(0, 2 * BLOCK, 32):
        rows[0].like(0).store(blocks + at)
    between = _transformed(rows, _POINT - _BETWEEN)
    columns = _transformed(_transposed(between), _POINT + _BETWEEN + 3)
    pairs = []
    for number in range(0, 8, 2):
        both = packed_bytes(columns[number], columns[number + 1])
        order = [16 * half + 8 * column + row for half in (0, 1) for row in range(8) for column in (0, 1)]
        pairs.append(both.shuffled(order).recast(16, 16))
    upper, lower = pairs[0].interleaved(pairs[1]), pairs[2].interleaved(pairs[3])
    found = [
        part
        for left, right in zip(upper, lower, strict=True)
        for part in left.recast(32, 8).interleaved(right.recast(32, 8))
    ]
    for number, part in enumerate(found):
        samples = (part.recast(8, 32) ^ 128).recast(64, 4)
        for row in range(2):
            samples.lane(row).store(first + pitch * (2 * number + row))
            samples.lane(2 + row).store(second + other_pitch * (2 * number + row))
    return any_bits(beyond)


@instructions
def fill_block(coefficient: Value, target: Value, pitch: Value) -> None:
    """Write 8 rows of 8 samples of a block that has a DC coefficient alone."""
    shift = _BETWEEN + 3
    level = ((coefficient << _BETWEEN) + (1 << (shift - 1))) >> shift
    samples = (level.clamped(-128, 127) + 128) * 0x0101010101010101
    for row in range(8):
        samples.store(target + pitch * row)
