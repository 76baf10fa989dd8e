"""Which coefficients a coding pass codes, and in which contexts (T.800 D.3), for whole words at once.

A coefficient that becomes significant matters to those after it in the same pass. In the clean-up pass it is known
beforehand which do; in the significance propagation pass, significance spreads until nothing changes (`_spread`).
"""

from __future__ import annotations

from typing import Any

from cinemill.kernels.jpeg_2000.planes import (
    AFTER,
    AROUND,
    BEFORE,
    GROUP_STRIDE,
    INSIDE,
    LABEL,
    MEMBER,
    NEGATIVE,
    NEW,
    NOT_ROW_0,
    ORIGIN,
    REFINED,
    ROW_0,
    ROW_3,
    RUN,
    SIGN,
    SIGN_LABEL,
    SIGNIFICANT,
    VECTOR,
    ZERO,
    Planes,
)
from cinemill.kernels.jpeg_2000.tables import HH, HL, LL
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import jit
from cinemill.kernels.machine.x86 import any_bits


class _Neighbours:
    """For each coefficient, what its neighbours are in a plane: ``seen`` for those before it in scan order."""

    def __init__(self, planes: Planes, seen: Value | int, unseen: Value | int) -> None:
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
        self.above_stripe = (above | above_west | above_east).shifted_down(3) & ROW_0
        self.below_stripe = ((below | below_west | below_east) << 3) & ROW_3

    def any(self) -> Value:
        """Whether any of the eight is set."""
        sides = self.west | self.east | self.north | self.south
        return sides | self.north_west | self.north_east | self.south_west | self.south_east


def _from_north(here: Value, above: Value) -> Value:
    return ((here << 1) & NOT_ROW_0) | (above.shifted_down(3) & ROW_0)


def _from_south(here: Value, below: Value) -> Value:
    return (here.shifted_down(1) & ~ROW_3) | ((below << 3) & ROW_3)


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
        words = Planes(planes, at)
        near = _Neighbours(words, seen, unseen)
        *sign_label, flip = _sign_coding_label(near, _Neighbours(words, NEGATIVE, NEGATIVE))
        for bit, label in enumerate(_zero_coding_label(near, orientation)):
            words[LABEL + bit] = label
        for bit, label in enumerate(sign_label):
            words[SIGN_LABEL + bit] = label
        words[SIGN] = words[NEGATIVE] ^ flip
        # A column is run-length coded if the pass codes all four, and none has a significant neighbour (D.3.4).
        not_run = near.west | near.east | near.above_stripe | near.below_stripe | words[MEMBER] | ~words[ZERO]
        not_run |= not_run.shifted_down(2)
        not_run |= not_run.shifted_down(1)
        words[RUN] = ~not_run & ROW_0

    return labels


_labels_in_low, _labels_in_hl, _labels_in_hh = _labels(LL), _labels(HL), _labels(HH)


@instructions
def _start(planes: Value, at: Value, bits: Value) -> None:
    """Begin a bit-plane: members so far of the significance propagation pass are what neighbours earlier ones."""
    words = Planes(planes, at)
    words[ZERO] = words[INSIDE] & ~words[SIGNIFICANT]
    words[MEMBER] = words[ZERO] & _Neighbours(words, SIGNIFICANT, SIGNIFICANT).any()
    words[NEW] = words[MEMBER] & words[bits]


@instructions
def _spread(planes: Value, at: Value, bits: Value) -> Value:
    """Let new significance spread to later neighbours, two steps; return whether there are new members."""
    words = Planes(planes, at)
    above, west = words.near(NEW, 0, -1), words.near(NEW, -1, 0)
    above_west = _from_west(above, words.near(NEW, -1, -1))
    above_east = _from_east(above, words.near(NEW, 1, -1))
    from_above = (above | above_west | above_east).shifted_down(3) & ROW_0
    zero, plane = words[ZERO], words[bits]
    new, reached = words[NEW], from_above
    for _ in range(3):
        new |= zero & plane & reached
        column = _from_west(new, west)
        reached = (
            from_above | column | (((new | column) << 1) & NOT_ROW_0) | (column.shifted_down(1) & ~ROW_3)
        )
    member = words[MEMBER] | (zero & reached)
    added = member ^ words[MEMBER]
    words[MEMBER] = member
    words[NEW] = member & plane
    return any_bits(added)


@instructions
def _join_new(planes: Value, at: Value, bits: Value) -> None:
    """Prepare both further passes: what is significant before and after the clean-up pass."""
    words = Planes(planes, at)
    words[BEFORE] = words[SIGNIFICANT] | words[NEW]
    words[AFTER] = words[SIGNIFICANT] | (words[ZERO] & words[bits])


@instructions
def _look_around(planes: Value, at: Value) -> None:
    words = Planes(planes, at)
    words[AROUND] = _Neighbours(words, BEFORE, BEFORE).any()


@instructions
def _keep(planes: Value, at: Value) -> None:
    words = Planes(planes, at)
    words[REFINED] = words[SIGNIFICANT]
    words[SIGNIFICANT] = words[AFTER]


@jit("void(int64, int64, int64, int64)")
def find_members(planes: int, bits: int, groups: int, stripes: int) -> None:
    """Begin a bit-plane and find what the significance propagation pass codes (D.3.1)."""
    for group in range(groups):
        for stripe in range(0, stripes, VECTOR):
            _start(planes, ORIGIN + group * GROUP_STRIDE + stripe * 8, bits)
    for stripe in range(0, stripes, VECTOR):
        changed = 1
        while changed != 0:
            changed = 0
            for group in range(groups):
                changed |= _spread(planes, ORIGIN + group * GROUP_STRIDE + stripe * 8, bits)
    for group in range(groups):
        for stripe in range(0, stripes, VECTOR):
            _join_new(planes, ORIGIN + group * GROUP_STRIDE + stripe * 8, bits)
    for group in range(groups):
        for stripe in range(0, stripes, VECTOR):
            _look_around(planes, ORIGIN + group * GROUP_STRIDE + stripe * 8)


@jit("void(int64, int64, int64, int64, int64, int64)")
def find_labels(planes: int, orientation: int, seen: int, unseen: int, groups: int, stripes: int) -> None:
    """Find the labels of a pass; what is significant for a coefficient is in ``seen`` or ``unseen``."""
    for group in range(groups):
        for stripe in range(0, stripes, VECTOR):
            at = ORIGIN + group * GROUP_STRIDE + stripe * 8
            if orientation == HH:
                _labels_in_hh(planes, at, seen, unseen)
            elif orientation == HL:
                _labels_in_hl(planes, at, seen, unseen)
            else:
                _labels_in_low(planes, at, seen, unseen)


@jit("void(int64, int64, int64)")
def end_bit_plane(planes: int, groups: int, stripes: int) -> None:
    """Take what the passes of this bit-plane found as given for the next."""
    for group in range(groups):
        for stripe in range(0, stripes, VECTOR):
            _keep(planes, ORIGIN + group * GROUP_STRIDE + stripe * 8)
