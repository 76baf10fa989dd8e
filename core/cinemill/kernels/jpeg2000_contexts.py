"""Coding passes over the bit-planes of a code-block (T.800 Annex D), bit-sliced.

A code-block of at most 64 x 64 coefficients is held as *planes* of one bit a coefficient. A 64-bit word of a plane
covers 16 columns of one stripe, in scan order: the four rows of the first column from bit 0 on, then the next column.
So a neighbour is a shift away (`_Neighbours`), the context labels of D.3 are logical operations on whole words, and
no coefficient is looked at alone. A plane is laid out [group of 16 columns][stripe] with a margin of zeros on all
sides; a vector takes four stripes of one group.

A coefficient that becomes significant matters to those after it in the same pass. In the clean-up pass it is known
beforehand which do; in the significance propagation pass, significance spreads until nothing changes (`_spread`).

What a pass codes is read from each word in scan order (`_emit`): PEXT packs the bits of the coefficients that the pass
codes, PDEP makes room for a sign after each decision that needs one, and the six planes of label and decision become
one byte a symbol, ``CX << 3 | D``. That makes 0.6 ns a symbol, against 1.6 ns for a loop over the coefficients.

Bounds: up to `SYMBOL_SLACK` bytes after the last symbol are written. Coefficients are read in words of 4 rows and 16 columns: whatever lies beyond the code-block is masked
out, but must be there (`READ_AHEAD`).
"""

from __future__ import annotations

from typing import Any

from cinemill.kernels._jit import jit
from cinemill.kernels.bits import (
    Value,
    address,
    instructions,
    leading_zeros,
    shift_down,
    shift_up,
    store_64,
    trailing_zeros,
)
from cinemill.kernels.jpeg2000_instructions import (
    any_bits,
    count_ones,
    deposit_bits,
    extract_bits,
    mask_of,
    move_bits,
)

BLOCK = 64
"""Rows and columns of a code-block, at most (COD, T.800 A.6.1)."""
MAX_BIT_PLANES = 24
SYMBOL_SLACK = 64
READ_AHEAD = 16
"""Coefficients, beside three rows, that may be read after the last one of a code-block."""

LL, HL, LH, HH = range(4)
"""Orientation of a subband: horizontal, then vertical filter (B.5)."""

_GROUPS, _STRIPES = BLOCK // 16, BLOCK // 4
_VECTOR = 4  # stripes
_STRIDE = (_STRIPES + 4) * 8  # bytes from one group of columns to the next
PLANE_SIZE = (_GROUPS + 2) * _STRIDE
_ORIGIN = _STRIDE + 8  # bytes before the first stripe of the first group

# Planes. Those from _LABEL on describe the decisions and signs of one pass; from _BITS on, the magnitudes.
_INSIDE, _NEGATIVE, _SIGNIFICANT, _REFINED = range(4)
_ZERO = 4  # not significant before this bit-plane
_MEMBER = 5  # coded by this significance propagation pass
_NEW = 6  # found significant by it
_BEFORE = 7  # significant before the clean-up pass
_AFTER = 8  # significant after it
_AROUND = 9  # has a significant neighbour after the significance propagation pass
_LABEL, _SIGN_LABEL, _SIGN, _RUN = 10, 14, 17, 18  # 4 + 3 + 1 + 1 planes
_BITS = 19
PLANES_SIZE = (_BITS + MAX_BIT_PLANES) * PLANE_SIZE

_ROW_0, _ROW_3 = 0x1111111111111111, 0x8888888888888888
_NOT_ROW_0 = ~_ROW_0
_EVEN = 0x5555555555555555
_RUN_LENGTH, _UNIFORM = 17, 18  # labels of Table D.7
_SIXTEEN_RUNS = (_RUN_LENGTH << 3) * 0x0101010101010101 - (1 << 64)


class _Planes:
    """Four stripes of one group of columns, in all planes."""

    def __init__(self, planes: Value, at: Value) -> None:
        self._base = planes + at

    def near(self, plane: Value | int, group: int, stripe: int) -> Value:
        """Words of a plane that lie some groups of columns and stripes further on."""
        offset = plane * PLANE_SIZE
        return (self._base + offset + (group * _STRIDE + stripe * 8)).load(64, _VECTOR)

    def __getitem__(self, plane: Value | int) -> Value:
        return self.near(plane, 0, 0)

    def __setitem__(self, plane: int, words: Value) -> None:
        words.store(self._base + plane * PLANE_SIZE)


class _Neighbours:
    """For each coefficient, what its neighbours are in a plane: ``seen`` for those before it in scan order."""

    def __init__(self, planes: _Planes, seen: Value | int, unseen: Value | int) -> None:
        above, below = planes.near(seen, 0, -1), planes.near(unseen, 0, 1)
        above_west = _from_west(above, planes.near(seen, -1, -1))
        above_east = _from_east(above, planes.near(seen, 1, -1))
        below_west = _from_west(below, planes.near(unseen, -1, 1))
        below_east = _from_east(below, planes.near(unseen, 1, 1))
        self.west = _from_west(planes[seen], planes.near(seen, -1, 0))
        self.east = _from_east(planes[unseen], planes.near(unseen, 1, 0))
        self.north = _from_north(planes[seen], above)
        self.south = _from_south(planes[unseen], below)
        self.north_west = _from_north(self.west, above_west)
        self.north_east = _from_north(self.east, above_east)
        self.south_west = _from_south(self.west, below_west)
        self.south_east = _from_south(self.east, below_east)
        self.above_stripe = (above | above_west | above_east).shifted_down(3) & _ROW_0
        self.below_stripe = ((below | below_west | below_east) << 3) & _ROW_3

    def any(self) -> Value:
        """Whether any of the eight is set."""
        sides = self.west | self.east | self.north | self.south
        return sides | self.north_west | self.north_east | self.south_west | self.south_east


def _from_north(here: Value, above: Value) -> Value:
    return ((here << 1) & _NOT_ROW_0) | (above.shifted_down(3) & _ROW_0)


def _from_south(here: Value, below: Value) -> Value:
    return (here.shifted_down(1) & ~_ROW_3) | ((below << 3) & _ROW_3)


def _from_west(here: Value, west: Value) -> Value:
    return (here << 4) | west.shifted_down(60)


def _from_east(here: Value, east: Value) -> Value:
    return here.shifted_down(4) | (east << 60)


def _zero_coding_label(near: _Neighbours, orientation: int) -> tuple[Value, ...]:
    """Bits 0 to 3 of the label (Table D.1)."""
    horizontal, vertical = (near.west, near.east), (near.north, near.south)
    if orientation == HL:
        horizontal, vertical = vertical, horizontal
    h_two, h_one = horizontal[0] & horizontal[1], horizontal[0] ^ horizontal[1]
    v_two, v_any = vertical[0] & vertical[1], vertical[0] | vertical[1]
    north_two, north_any = near.north_west & near.north_east, near.north_west | near.north_east
    south_two, south_any = near.south_west & near.south_east, near.south_west | near.south_east
    d_any = north_any | south_any
    d_two = north_two | south_two | (north_any & south_any)  # or more
    if orientation != HH:
        h_none, v_one = ~(h_two | h_one), v_any & ~v_two
        hv_none = h_none & ~v_any
        return (
            (h_one & (v_any | ~d_any)) | (h_none & v_one) | (hv_none & d_any & ~d_two),
            (h_one & (v_any | d_any)) | (h_none & v_one) | (hv_none & d_two),
            h_one | (h_none & v_two),
            h_two,
        )
    hv_any = h_two | h_one | v_any
    hv_two = h_two | v_two | (h_one & v_any)  # or more
    d_three = (north_two & south_any) | (south_two & north_any)  # or more
    two, one = d_two & ~d_three, d_any & ~d_two
    return (
        (two & hv_any) | (one & (hv_two | ~hv_any)) | (~d_any & hv_any & ~hv_two),
        two | (one & ~hv_any) | (~d_any & hv_two),
        two | (one & hv_any),
        d_three,
    )


def _contribution(near: tuple[Value, Value], negative: tuple[Value, Value]) -> tuple[Value, Value]:
    """Whether two opposite neighbours contribute +1, and whether -1 (Table D.2)."""
    plus = (near[0] & ~negative[0]) | (near[1] & ~negative[1])
    minus = (near[0] & negative[0]) | (near[1] & negative[1])
    return plus & ~minus, minus & ~plus


def _sign_coding_label(near: _Neighbours, negative: _Neighbours) -> tuple[Value, ...]:
    """Bits 0 to 2 of the label, whose bit 3 is always set, and the XOR bit (Table D.3)."""
    h_plus, h_minus = _contribution((near.west, near.east), (negative.west, negative.east))
    v_plus, v_minus = _contribution((near.north, near.south), (negative.north, negative.south))
    h_none, v_none = ~(h_plus | h_minus), ~(v_plus | v_minus)
    label_9 = h_none & v_none
    label_10 = h_none & ~v_none
    label_11 = (h_plus & v_minus) | (h_minus & v_plus)
    label_12 = ~h_none & v_none
    label_13 = (h_plus & v_plus) | (h_minus & v_minus)
    flip = h_minus | (h_none & v_minus)
    return label_9 | label_11 | label_13, label_10 | label_11, label_12 | label_13, flip


def _labels(orientation: int) -> Any:
    """Make the function that finds the labels of a pass in subbands of one orientation."""

    @instructions
    def labels(planes: Value, at: Value, seen: Value, unseen: Value) -> None:
        words = _Planes(planes, at)
        near = _Neighbours(words, seen, unseen)
        *sign_label, flip = _sign_coding_label(near, _Neighbours(words, _NEGATIVE, _NEGATIVE))
        for bit, label in enumerate(_zero_coding_label(near, orientation)):
            words[_LABEL + bit] = label
        for bit, label in enumerate(sign_label):
            words[_SIGN_LABEL + bit] = label
        words[_SIGN] = words[_NEGATIVE] ^ flip
        # A column is run-length coded if the pass codes all four, and none has a significant neighbour (D.3.4).
        not_run = near.west | near.east | near.above_stripe | near.below_stripe | words[_MEMBER] | ~words[_ZERO]
        not_run |= not_run.shifted_down(2)
        not_run |= not_run.shifted_down(1)
        words[_RUN] = ~not_run & _ROW_0

    return labels


_labels_in_low, _labels_in_hl, _labels_in_hh = _labels(LL), _labels(HL), _labels(HH)


@instructions
def _start(planes: Value, at: Value, bits: Value) -> None:
    """Begin a bit-plane: members so far of the significance propagation pass are what neighbours earlier ones."""
    words = _Planes(planes, at)
    words[_ZERO] = words[_INSIDE] & ~words[_SIGNIFICANT]
    words[_MEMBER] = words[_ZERO] & _Neighbours(words, _SIGNIFICANT, _SIGNIFICANT).any()
    words[_NEW] = words[_MEMBER] & words[bits]


@instructions
def _spread(planes: Value, at: Value, bits: Value) -> Value:
    """Let new significance spread to later neighbours, two steps; return whether there are new members."""
    words = _Planes(planes, at)
    above, west = words.near(_NEW, 0, -1), words.near(_NEW, -1, 0)
    above_west = _from_west(above, words.near(_NEW, -1, -1))
    above_east = _from_east(above, words.near(_NEW, 1, -1))
    from_above = (above | above_west | above_east).shifted_down(3) & _ROW_0
    zero, plane = words[_ZERO], words[bits]
    new, reached = words[_NEW], from_above
    for _ in range(3):
        new |= zero & plane & reached
        column = _from_west(new, west)
        reached = (
            from_above | column | (((new | column) << 1) & _NOT_ROW_0) | (column.shifted_down(1) & ~_ROW_3)
        )
    member = words[_MEMBER] | (zero & reached)
    added = member ^ words[_MEMBER]
    words[_MEMBER] = member
    words[_NEW] = member & plane
    return any_bits(added)


@instructions
def _join_new(planes: Value, at: Value, bits: Value) -> None:
    """Prepare both further passes: what is significant before and after the clean-up pass."""
    words = _Planes(planes, at)
    words[_BEFORE] = words[_SIGNIFICANT] | words[_NEW]
    words[_AFTER] = words[_SIGNIFICANT] | (words[_ZERO] & words[bits])


@instructions
def _look_around(planes: Value, at: Value) -> None:
    words = _Planes(planes, at)
    words[_AROUND] = _Neighbours(words, _BEFORE, _BEFORE).any()


@instructions
def _finish(planes: Value, at: Value) -> None:
    """End a bit-plane."""
    words = _Planes(planes, at)
    words[_REFINED] = words[_SIGNIFICANT]
    words[_SIGNIFICANT] = words[_AFTER]


def _slice(first: int, count: int) -> Any:
    """Make the function that cuts some bits of 4 x 16 magnitudes, within one byte, into a word each."""

    @instructions
    def slice_bits(coefficients: Value, row_bytes: Value, inside: Value, planes: Value) -> None:
        rows = [coefficients + row_bytes * row for row in range(4)]
        halves = [
            _joined([(row + half).load(32, 8).magnitude().shifted_down(first) & 0xFF for row in rows], 8 - count)
            for half in (0, 32)
        ]
        for bit in reversed(range(first, first + count)):
            _store_top_bits(halves, inside, planes + (_BITS + bit) * PLANE_SIZE)
            halves = [half + half for half in halves]

    return slice_bits


@instructions
def _slice_signs(coefficients: Value, row_bytes: Value, inside: Value, planes: Value) -> None:
    rows = [coefficients + row_bytes * row for row in range(4)]
    halves = [_joined([(row + half).load(32, 8).shifted_down(31) for row in rows], 7) for half in (0, 32)]
    _store_top_bits(halves, inside, planes + _NEGATIVE * PLANE_SIZE)


def _joined(rows: list[Value], shift: int) -> Value:
    """Join four rows of eight columns, a byte a coefficient, column by column, shifted up within the byte."""
    first, second, third, fourth = (row << (8 * index) for index, row in enumerate(rows))
    return (first | second | third | fourth).recast(8, 32) << shift


def _store_top_bits(halves: list[Value], inside: Value, target: Value) -> None:
    low, high = ((half < 0).packed() for half in halves)
    ((low | (high << 32)) & inside).store(target)


_slice_0_to_3, _slice_0_to_7, _slice_8_to_15, _slice_16_to_23 = _slice(0, 4), _slice(0, 8), _slice(8, 8), _slice(16, 8)


@instructions
def _store_symbols(
    target: Value, first: Value, decision: Value, b0: Value, b1: Value, b2: Value, b3: Value, b4: Value
) -> None:
    """Store 32 symbols, given words of each of their bits and the first bit to take of them."""
    symbols = target.load(8, 32).like(0)
    for bits, weight in ((decision, 1), (b0, 8), (b1, 16), (b2, 32), (b3, 64), (b4, 128)):
        symbols |= mask_of(bits.shifted_down(first), 32).choose(symbols.like(weight), 0)
    symbols.store(target)


@instructions
def _word(words: Value, plane: Value) -> Value:
    """Load a word, given its address in plane 0."""
    return (words + plane * PLANE_SIZE).load(64)


@jit("int64(int64, int64, int64, int64, int64, int64)")
def _emit(target: int, words: int, coded: int, signed: int, run: int, bits: int) -> int:
    """Append the zero coding decisions of ``coded``, each followed by its sign if it is in ``signed``.

    Parameters
    ----------
    target
        Address of the next symbol.
    words
        Address of this word in plane 0.
    run
        Columns of ``coded`` whose decision is the run-length one.
    bits
        The magnitude bits to code.
    """
    while coded != 0:
        # Two slots a coefficient: 32 of them fill a word.
        part = coded if count_ones(coded) <= 32 else coded & 0xFFFFFFFF
        coded ^= part
        sign = signed & part
        slots = deposit_bits(shift_up(1, count_ones(part)) - 1, _EVEN)
        slots |= deposit_bits(extract_bits(sign, part), ~_EVEN)
        first, second = extract_bits(_EVEN, slots), extract_bits(~_EVEN, slots)
        decision = move_bits(bits, part, first) | move_bits(_word(words, _SIGN), sign, second)
        b0 = move_bits(_word(words, _LABEL) | run, part, first)
        b0 |= move_bits(_word(words, _SIGN_LABEL), sign, second)
        b1 = move_bits(_word(words, _LABEL + 1), part, first)
        b1 |= move_bits(_word(words, _SIGN_LABEL + 1), sign, second)
        b2 = move_bits(_word(words, _LABEL + 2), part, first)
        b2 |= move_bits(_word(words, _SIGN_LABEL + 2), sign, second)
        b3 = move_bits(_word(words, _LABEL + 3), part, first) | second
        b4 = move_bits(run, part, first)
        _store_symbols(target, 0, decision, b0, b1, b2, b3, b4)
        count = count_ones(slots)
        if count > 32:
            _store_symbols(target + 32, 32, decision, b0, b1, b2, b3, b4)
        target += count
    return target


@jit("int64(int64, int64, int64)")
def _emit_refinements(target: int, words: int, bits: int) -> int:
    """Append the decisions of the magnitude refinement pass (D.3.3, Table D.4) for one word."""
    coded = _word(words, _SIGNIFICANT)
    count = count_ones(coded)
    again = extract_bits(_word(words, _REFINED), coded)
    around = extract_bits(_word(words, _AROUND), coded) & ~again
    decision = extract_bits(bits, coded)
    _store_symbols(target, 0, decision, around, ~again, ~again, ~again, again)
    if count > 32:
        _store_symbols(target + 32, 32, decision, around, ~again, ~again, ~again, again)
    return target + count


@jit("int64(int64, int64, int64)")
def _emit_end_of_run(target: int, words: int, at: int) -> int:
    """Append the end of a run at one coefficient: two uniform decisions for its row, and its sign."""
    label = 8
    for bit in range(3):
        label |= (shift_down(_word(words, _SIGN_LABEL + bit), at) & 1) << bit
    sign = shift_down(_word(words, _SIGN), at) & 1
    store_64(
        target,
        0,
        (_RUN_LENGTH << 3 | 1)
        | (_UNIFORM << 3 | (at >> 1 & 1)) << 8
        | (_UNIFORM << 3 | (at & 1)) << 16
        | (label << 3 | sign) << 24,
    )
    return target + 4


@jit("int64(int64, int64, int64)")
def _emit_clean_up(target: int, words: int, bits: int) -> int:
    """Append the symbols of the clean-up pass (D.3.4) for one word."""
    coded = _word(words, _ZERO) & ~_word(words, _MEMBER)
    signed = coded & bits
    run = _word(words, _RUN)
    if coded == -1 and run == _ROW_0 and signed == 0:
        # Sixteen runs, as most words of the upper bit-planes are.
        store_64(target, 0, _SIXTEEN_RUNS)
        store_64(target + 8, 0, _SIXTEEN_RUNS)
        return target + 16
    in_runs = 15 * run
    ones = signed & in_runs
    if ones == 0:
        return _emit(target, words, (coded & ~in_runs) | run, signed, run, bits)
    # The first one of each column ends its run; the coefficients below it are coded as usual.
    below = (ones << 1) & _NOT_ROW_0
    below |= (below << 1) & _NOT_ROW_0
    below |= (below << 1) & _NOT_ROW_0
    ends = ones & ~below
    run &= ~(ones | shift_down(ones, 1) | shift_down(ones, 2) | shift_down(ones, 3))
    coded = (coded & ~in_runs) | run | (below & in_runs)
    while ends != 0:
        end = ends & -ends
        ends ^= end
        target = _emit(target, words, coded & (end - 1), signed, run, bits)
        coded &= ~(end - 1)
        target = _emit_end_of_run(target, words, trailing_zeros(end))
    return _emit(target, words, coded, signed, run, bits)


@instructions
def _magnitudes(coefficients: Value, row_bytes: Value, columns: Value) -> Value:
    """Combine the magnitudes of four rows of up to 16 columns, a bit each in ``columns``, by OR."""
    halves = []
    for first in (0, 8):
        rows = [(coefficients + (row_bytes * row + 4 * first)).load(32, 8).magnitude() for row in range(4)]
        halves.append(mask_of(columns.shifted_down(first), 8).choose(rows[0] | rows[1] | rows[2] | rows[3], 0))
    return any_bits(halves[0] | halves[1])


@jit("int64(int32[::1], int64, int64, int64, int64)")
def count_bit_planes(coefficients: Any, start: int, stride: int, columns: int, rows: int) -> int:
    """Bit-planes of a code-block from its highest one down."""
    every, first = 0, address(coefficients) + 4 * start
    # The last four rows may have been seen already; where there are fewer, each is seen four times.
    step, row_bytes = (4, 4 * stride) if rows >= 4 else (1, 0)
    for left in range(0, columns, 16):
        mask = shift_up(1, min(16, columns - left)) - 1
        for row in range(0, rows, step):
            at = min(row, rows - step)
            every |= _magnitudes(first + 4 * (stride * at + left), row_bytes, mask)
    return 64 - leading_zeros(every)


@jit("void(int64, int64, int64, int64, int64, int64)")
def _slice_block(coefficients: int, row_bytes: int, columns: int, rows: int, bit_planes: int, planes: int) -> None:
    """Cut the code-block into planes of magnitude bits and of signs, and mark what is inside it."""
    for group in range((columns + 15) // 16):
        for stripe in range((rows + 3) // 4):
            inside = -1
            if rows - 4 * stripe < 4:
                inside = _ROW_0 * ((1 << (rows - 4 * stripe)) - 1)
            if columns - 16 * group < 16:
                inside &= (1 << 4 * (columns - 16 * group)) - 1
            at = planes + _ORIGIN + group * _STRIDE + stripe * 8
            store_64(at + _INSIDE * PLANE_SIZE, 0, inside)
            block = coefficients + 4 * stripe * row_bytes + 64 * group
            _slice_signs(block, row_bytes, inside, at)
            if bit_planes <= 4:
                _slice_0_to_3(block, row_bytes, inside, at)
            else:
                _slice_0_to_7(block, row_bytes, inside, at)
            if bit_planes > 8:
                _slice_8_to_15(block, row_bytes, inside, at)
            if bit_planes > 16:
                _slice_16_to_23(block, row_bytes, inside, at)


@jit("void(int64, int64, int64, int64)")
def _find_members(planes: int, bits: int, groups: int, stripes: int) -> None:
    """Begin a bit-plane and find what the significance propagation pass codes (D.3.1)."""
    for group in range(groups):
        for stripe in range(0, stripes, _VECTOR):
            _start(planes, _ORIGIN + group * _STRIDE + stripe * 8, bits)
    for stripe in range(0, stripes, _VECTOR):
        changed = 1
        while changed != 0:
            changed = 0
            for group in range(groups):
                changed |= _spread(planes, _ORIGIN + group * _STRIDE + stripe * 8, bits)
    for group in range(groups):
        for stripe in range(0, stripes, _VECTOR):
            _join_new(planes, _ORIGIN + group * _STRIDE + stripe * 8, bits)
    for group in range(groups):
        for stripe in range(0, stripes, _VECTOR):
            _look_around(planes, _ORIGIN + group * _STRIDE + stripe * 8)


@jit("void(int64, int64, int64, int64, int64, int64)")
def _find_labels(planes: int, orientation: int, seen: int, unseen: int, groups: int, stripes: int) -> None:
    """Find the labels of a pass; what is significant for a coefficient is in ``seen`` or ``unseen``."""
    for group in range(groups):
        for stripe in range(0, stripes, _VECTOR):
            at = _ORIGIN + group * _STRIDE + stripe * 8
            if orientation == HH:
                _labels_in_hh(planes, at, seen, unseen)
            elif orientation == HL:
                _labels_in_hl(planes, at, seen, unseen)
            else:
                _labels_in_low(planes, at, seen, unseen)


@jit("int64(int32[::1], int64[::1], int64, uint8[::1], int64, uint64[::1])")
def form_symbols(
    coefficients: Any, block: Any, bit_planes: int, symbols: Any, first: int, workspace: Any
) -> int:
    """Turn a code-block into the symbols of all its coding passes.

    Parameters
    ----------
    coefficients
        Wavelet coefficients; there must be 3 x STRIDE + READ_AHEAD after the code-block.
    block
        START, STRIDE, COLUMNS, ROWS, ORIENTATION.
    bit_planes
        What `count_bit_planes` says, at most MAX_BIT_PLANES.
    symbols
        Receives ``CX << 3 | D`` from ``first`` on; needs room for `symbol_bound` and SYMBOL_SLACK.
    workspace
        PLANES_SIZE bytes.

    Returns
    -------
    int
        The number of symbols.
    """
    start, stride, columns, rows, orientation = block[0], block[1], block[2], block[3], block[4]
    planes = address(workspace)
    begin = address(symbols) + first
    target = begin
    workspace[: _BITS * PLANE_SIZE // 8] = 0
    groups, stripes = (columns + 15) // 16, (rows + 3) // 4
    _slice_block(address(coefficients) + 4 * start, 4 * stride, columns, rows, bit_planes, planes)
    for bit_plane in range(bit_planes - 1, -1, -1):
        bits = _BITS + bit_plane
        _find_members(planes, bits, groups, stripes)
        if bit_plane < bit_planes - 1:
            _find_labels(planes, orientation, _BEFORE, _SIGNIFICANT, groups, stripes)
            for stripe in range(stripes):
                for group in range(groups):
                    words = planes + _ORIGIN + group * _STRIDE + stripe * 8
                    members = _word(words, _MEMBER)
                    if members != 0:
                        new = _word(words, _NEW)
                        plane = _word(words, bits)
                        target = _emit(target, words, members, new, 0, plane)
            for stripe in range(stripes):
                for group in range(groups):
                    words = planes + _ORIGIN + group * _STRIDE + stripe * 8
                    if _word(words, _SIGNIFICANT) != 0:
                        target = _emit_refinements(target, words, _word(words, bits))
        _find_labels(planes, orientation, _AFTER, _BEFORE, groups, stripes)
        for stripe in range(stripes):
            for group in range(groups):
                words = planes + _ORIGIN + group * _STRIDE + stripe * 8
                target = _emit_clean_up(target, words, _word(words, bits))
        for group in range(groups):
            for stripe in range(0, stripes, _VECTOR):
                _finish(planes, _ORIGIN + group * _STRIDE + stripe * 8)
    return target - begin
