"""A code-block as planes of one bit a coefficient, on which the coding passes work (T.800 Annex D).

A 64-bit word of a plane covers 16 columns of one stripe (D.1), in scan order: the four rows of the first column from bit 0
on, then the next column. So a neighbour is a shift away, what a pass needs to know of the coefficients are logical
operations on whole words, and no coefficient is looked at alone.

A plane is laid out [group of 16 columns][stripe] with a margin of zeros on all sides; a vector takes four stripes of
one group. All planes of a code-block follow each other, first those that say what is known of it so far, then those of
what the current pass codes, then the magnitudes from the lowest bit up.

Bounds: coefficients are read 4 rows by 16 columns at a time. What lies beyond the code-block is masked out, but must be
there: see `READ_AHEAD`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cinemill.kernels.jpeg_2000.tables import BLOCK
from cinemill.kernels.machine.bits import leading_zeros, shift_up, store_64
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.x86 import any_bits, mask_of

MAX_BIT_PLANES = 24
GROUPS, STRIPES = BLOCK // 16, BLOCK // 4
VECTOR = 4
"""Stripes in a vector."""
GROUP_STRIDE = (STRIPES + 4) * 8
"""Bytes from one group of columns to the next."""
PLANE = (GROUPS + 2) * GROUP_STRIDE
"""Bytes of a plane."""
ORIGIN = GROUP_STRIDE + 8
"""Bytes before the first stripe of the first group in a plane."""

INSIDE, NEGATIVE, SIGNIFICANT, REFINED = range(4)
ZERO = 4
"""Not significant before this bit-plane."""
MEMBER = 5
"""Coded by this significance propagation pass."""
NEW = 6
"""Found significant by it."""
BEFORE = 7
"""Significant before the clean-up pass."""
AFTER = 8
"""Significant after it."""
AROUND = 9
"""Has a significant neighbour after the significance propagation pass."""
LABEL = 10
"""Four planes: the context label of a zero coding decision."""
SIGN_LABEL = 14
"""Three planes: the lower bits of the context label of a sign."""
SIGN = 17
"""The decision that codes a sign."""
RUN = 18
"""Columns, marked in their first row, that are run-length coded."""
BITS = 19
"""As many planes as there are magnitude bits."""
PLANES_SIZE = (BITS + MAX_BIT_PLANES) * PLANE

ROW_0, ROW_3 = 0x1111111111111111, 0x8888888888888888
NOT_ROW_0 = ~ROW_0


class Planes:
    """Four stripes of one group of columns, in all planes."""

    def __init__(self, planes: Value, at: Value) -> None:
        self._base = planes + at

    def near(self, plane: Value | int, group: int, stripe: int) -> Value:
        """Words of a plane that lie some groups of columns and stripes further on."""
        offset = plane * PLANE
        return (self._base + offset + (group * GROUP_STRIDE + stripe * 8)).load(64, VECTOR)

    def __getitem__(self, plane: Value | int) -> Value:
        return self.near(plane, 0, 0)

    def __setitem__(self, plane: int, words: Value) -> None:
        words.store(self._base + plane * PLANE)


@instructions
def word(words: Value, plane: Value) -> Value:
    """Load a word, given its address in plane 0."""
    return (words + plane * PLANE).load(64)


def _slice(bits: int, first: int, count: int) -> Any:
    """Make the function that cuts some bits of 4 x 16 magnitudes, within one byte, into a word each."""

    @instructions
    def slice_bits(coefficients: Value, row_bytes: Value, inside: Value, planes: Value) -> None:
        halves = [
            half << (8 - count)
            for half in _joined(
                bits, coefficients, row_bytes, lambda row: row.magnitude().shifted_down(first) & 0xFF
            )
        ]
        for bit in reversed(range(first, first + count)):
            _store_top_bits(halves, inside, planes + (BITS + bit) * PLANE)
            halves = [half + half for half in halves]

    return slice_bits


def _slice_signs(bits: int) -> Any:
    """Make the function that cuts the signs of 4 x 16 coefficients into a word."""

    @instructions
    def slice_signs(coefficients: Value, row_bytes: Value, inside: Value, planes: Value) -> None:
        halves = _joined(bits, coefficients, row_bytes, lambda row: (row >> (bits - 1)) & 0xFF)
        _store_top_bits(halves, inside, planes + NEGATIVE * PLANE)

    return slice_signs


def _joined(bits: int, coefficients: Value, row_bytes: Value, cut: Callable[[Value], Value]) -> list[Value]:
    """Join four rows of 16 columns, cut to a byte a coefficient, column by column: eight columns in a vector."""
    rows = [coefficients + row_bytes * row for row in range(4)]
    if bits == 16:
        first, second, third, fourth = (cut(row.load(16, 16)) for row in rows)
        upper, lower = first | (second << 8), third | (fourth << 8)
        order = [column + other for column in range(16) for other in (0, 16)]
        return [upper.shuffled(order[at : at + 16], lower).recast(8, 32) for at in (0, 16)]
    halves = []
    for at in (0, 32):
        first, second, third, fourth = (
            cut((row + at).load(32, 8)) << (8 * index) for index, row in enumerate(rows)
        )
        halves.append((first | second | third | fourth).recast(8, 32))
    return halves


def _store_top_bits(halves: list[Value], inside: Value, target: Value) -> None:
    low, high = ((half < 0).packed() for half in halves)
    ((low | (high << 32)) & inside).store(target)


_wide_signs, _wide_0_to_3, _wide_0_to_7, _wide_8_to_15, _wide_16_to_23 = (
    _slice_signs(32),
    _slice(32, 0, 4),
    _slice(32, 0, 8),
    _slice(32, 8, 8),
    _slice(32, 16, 8),
)
_signs, _0_to_3, _0_to_7, _8_to_15 = _slice_signs(16), _slice(16, 0, 4), _slice(16, 0, 8), _slice(16, 8, 8)


@inlined
def _slice_wide(block: int, row_bytes: int, inside: int, at: int, bit_planes: int) -> None:
    _wide_signs(block, row_bytes, inside, at)
    if bit_planes <= 4:
        _wide_0_to_3(block, row_bytes, inside, at)
    else:
        _wide_0_to_7(block, row_bytes, inside, at)
    if bit_planes > 8:
        _wide_8_to_15(block, row_bytes, inside, at)
    if bit_planes > 16:
        _wide_16_to_23(block, row_bytes, inside, at)


@inlined
def _slice_narrow(block: int, row_bytes: int, inside: int, at: int, bit_planes: int) -> None:
    _signs(block, row_bytes, inside, at)
    if bit_planes <= 4:
        _0_to_3(block, row_bytes, inside, at)
    else:
        _0_to_7(block, row_bytes, inside, at)
    if bit_planes > 8:
        _8_to_15(block, row_bytes, inside, at)


@instructions
def _magnitudes(coefficients: Value, row_bytes: Value, columns: Value) -> Value:
    """Combine the magnitudes of four rows of up to 16 columns, a bit each in ``columns``, by OR."""
    rows = [(coefficients + row_bytes * row).load(16, 16).magnitude() for row in range(4)]
    return any_bits(mask_of(columns, 16).choose(rows[0] | rows[1] | rows[2] | rows[3], 0))


@instructions
def _wide_magnitudes(coefficients: Value, row_bytes: Value, columns: Value) -> Value:
    """Do what `_magnitudes` does for coefficients of 32 bits."""
    halves = []
    for first in (0, 8):
        rows = [(coefficients + (row_bytes * row + 4 * first)).load(32, 8).magnitude() for row in range(4)]
        halves.append(
            mask_of(columns.shifted_down(first), 8).choose(rows[0] | rows[1] | rows[2] | rows[3], 0)
        )
    return any_bits(halves[0] | halves[1])


@jit("int64(int64, boolean, int64, int64, int64)")
def count_bit_planes(coefficients: int, wide: bool, stride: int, columns: int, rows: int) -> int:
    """Bit-planes of a code-block from its highest one down."""
    every, size = 0, 4 if wide else 2
    # The last four rows may have been seen already; where there are fewer, each is seen four times.
    step, row_bytes = (4, size * stride) if rows >= 4 else (1, 0)
    for left in range(0, columns, 16):
        mask = shift_up(1, min(16, columns - left)) - 1
        for row in range(0, rows, step):
            at = coefficients + size * (stride * min(row, rows - step) + left)
            every |= _wide_magnitudes(at, row_bytes, mask) if wide else _magnitudes(at, row_bytes, mask)
    return 64 - leading_zeros(every)


@jit("void(int64, boolean, int64, int64, int64, int64, int64)")
def slice_block(
    coefficients: int, wide: bool, row_bytes: int, columns: int, rows: int, bit_planes: int, planes: int
) -> None:
    """Cut the code-block into planes of magnitude bits and of signs, and mark what is inside it.

    Parameters
    ----------
    coefficients, wide
        Address of the first one, and whether they have 32 bits, not 16.
    row_bytes
        From one row to the next.
    columns, rows, bit_planes
        Of the code-block.
    planes
        Address of the planes.
    """
    for group in range((columns + 15) // 16):
        for stripe in range((rows + 3) // 4):
            inside = -1
            if rows - 4 * stripe < 4:
                inside = ROW_0 * ((1 << (rows - 4 * stripe)) - 1)
            if columns - 16 * group < 16:
                inside &= (1 << 4 * (columns - 16 * group)) - 1
            at = planes + ORIGIN + group * GROUP_STRIDE + stripe * 8
            store_64(at + INSIDE * PLANE, 0, inside)
            block = coefficients + 4 * stripe * row_bytes + (64 if wide else 32) * group
            if wide:
                _slice_wide(block, row_bytes, inside, at, bit_planes)
            else:
                _slice_narrow(block, row_bytes, inside, at, bit_planes)
