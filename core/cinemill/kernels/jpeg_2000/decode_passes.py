"""The coding passes of up to 64 code-blocks at once (T.800 Annex D): from decisions of the MQ decoder to magnitude bits.

All lanes go through the same positions, bit-plane by bit-plane, so that all end with their lowest. What is known of one
coefficient is a bit in a 64-bit word whose other bits belong to the other lanes: the rules of a pass are logical operations
on whole words, and a position where no lane has something to decode is skipped. No lane is ever looked at alone. About
ten lanes have something to decode in each step, which makes 2.5 ns a symbol with AVX-512, where OpenJPEG takes 11.

Bounds: which words are read and written depends on the position and the bit-plane only, never on what is decoded.
"""

from __future__ import annotations

from cinemill.kernels.jpeg_2000.decode_mq import (
    DECODERS_SIZE,
    RUN_LENGTH,
    UNIFORM,
    decode_in,
    decode_refinement,
    decode_sign,
    decode_zero,
)
from cinemill.kernels.jpeg_2000.tables import BLOCK
from cinemill.kernels.machine.bits import load_i64, store_64
from cinemill.kernels.machine.jit import inlined, jit

MAX_BIT_PLANES = 24
MAX_MISSING = 3
"""Coding passes that may be left out: those of the lowest bit-plane."""

# Where things are in the memory of the lanes, in bytes, after what the decoders have there. Each is words, a bit a lane.
IN_ROW = DECODERS_SIZE
"""Which lanes have each row of a code-block,"""
IN_COLUMN = IN_ROW + 8 * BLOCK
"""and each column."""
LIVE = IN_COLUMN + 8 * BLOCK
"""Which take part in each coding pass, counted from the last one up."""
IN_HL = LIVE + 8 * 3 * MAX_BIT_PLANES
IN_HH = IN_HL + 8
"""Which are of these subbands."""

COLUMN = BLOCK + 2
"""Words from one column of a plane to the next; there is a margin of zeros on all sides."""
ORIGIN = COLUMN + 1
"""Words before the first coefficient."""
PLANE = 8 * COLUMN * COLUMN
"""Bytes of a plane."""
SIGNIFICANT = IN_HH + 8
NEGATIVE = SIGNIFICANT + PLANE
CODED = NEGATIVE + PLANE
"""Coded by this bit-plane's significance propagation pass."""
REFINED = CODED + PLANE
BITS = REFINED + PLANE
"""As many planes as there are magnitude bits, the lowest first."""


@inlined
def _any_around(lanes: int, at: int) -> int:
    """Which lanes have a significant neighbour."""
    plane = lanes + SIGNIFICANT
    west, east = at - COLUMN, at + COLUMN
    sides = load_i64(plane, west) | load_i64(plane, east) | load_i64(plane, at - 1) | load_i64(plane, at + 1)
    corners = load_i64(plane, west - 1) | load_i64(plane, west + 1)
    return sides | corners | load_i64(plane, east - 1) | load_i64(plane, east + 1)


@inlined
def _mixed(one: int, other: int, chosen: int) -> int:
    """Take the chosen lanes from ``other``."""
    return one ^ ((one ^ other) & chosen)


@inlined
def _decode_zero(lanes: int, at: int, members: int) -> int:
    """Decode whether coefficients become significant, in the contexts of Table D.1."""
    plane = lanes + SIGNIFICANT
    west, east = at - COLUMN, at + COLUMN
    w, e, n, s = (
        load_i64(plane, west),
        load_i64(plane, east),
        load_i64(plane, at - 1),
        load_i64(plane, at + 1),
    )
    nw, sw = load_i64(plane, west - 1), load_i64(plane, west + 1)
    ne, se = load_i64(plane, east - 1), load_i64(plane, east + 1)
    # The table has horizontal and vertical neighbours change places for HL.
    hl = load_i64(lanes + IN_HL, 0)
    h_one, h_two = _mixed(w ^ e, n ^ s, hl), _mixed(w & e, n & s, hl)
    v_one, v_two = _mixed(n ^ s, w ^ e, hl), _mixed(n & s, w & e, hl)
    h, v = h_one | h_two, v_one | v_two
    north_one, north_two, south_one, south_two = nw ^ ne, nw & ne, sw ^ se, sw & se
    d_two = north_two | south_two | (north_one & south_one)  # or more
    d_one = (north_one ^ south_one) & ~d_two
    d = d_one | d_two
    b0 = (h_one & (v | ~d)) | (~h & (v_one | (~v & d_one)))
    b1 = (h_one & (v | d)) | (~h & (v_one | (~v & d_two)))
    b2 = h_one | (v_two & ~h)
    b3 = h_two
    hh = load_i64(lanes + IN_HH, 0)
    if hh != 0:
        d_three = (north_two & (south_one | south_two)) | (south_two & north_one)  # or more
        d_two &= ~d_three
        hv_two = h_two | v_two | (h & v)  # or more
        hv_one = (h | v) & ~hv_two
        b0 = _mixed(b0, (d_two & (h | v)) | (d_one & ~hv_one) | (hv_one & ~d), hh)
        b1 = _mixed(b1, d_two | (d_one & ~(h | v)) | (hv_two & ~d), hh)
        b2 = _mixed(b2, d_two | (d_one & (h | v)), hh)
        b3 = _mixed(b3, d_three, hh)
    return decode_zero(lanes, members, b0, b1, b2, b3)


@inlined
def _decode_signs(lanes: int, at: int, members: int) -> None:
    """Decode the signs of coefficients that become significant (Tables D.2, D.3)."""
    plane, negative = lanes + SIGNIFICANT, lanes + NEGATIVE
    west, east, north, south = at - COLUMN, at + COLUMN, at - 1, at + 1
    h_minus = load_i64(negative, west) | load_i64(negative, east)
    v_minus = load_i64(negative, north) | load_i64(negative, south)
    h_plus = (load_i64(plane, west) & ~load_i64(negative, west)) | (
        load_i64(plane, east) & ~load_i64(negative, east)
    )
    v_plus = (load_i64(plane, north) & ~load_i64(negative, north)) | (
        load_i64(plane, south) & ~load_i64(negative, south)
    )
    # Neighbours of both signs cancel each other out.
    h_plus, h_minus = h_plus & ~h_minus, h_minus & ~h_plus
    v_plus, v_minus = v_plus & ~v_minus, v_minus & ~v_plus
    h, v = h_plus | h_minus, v_plus | v_minus
    alike = (h_plus & v_plus) | (h_minus & v_minus)
    flip = h_minus | (v_minus & ~h)
    decision = decode_sign(lanes, members, h ^ v, h & ~alike, alike)
    store_64(plane, at, load_i64(plane, at) | members)
    store_64(negative, at, load_i64(negative, at) | ((decision ^ flip) & members))


@inlined
def _beside(lanes: int, at: int) -> int:
    """Which lanes have a significant coefficient to the left or the right."""
    return load_i64(lanes + SIGNIFICANT, at - COLUMN) | load_i64(lanes + SIGNIFICANT, at + COLUMN)


@inlined
def _propagate_significance(lanes: int, bits: int, live: int, top: int, column: int) -> None:
    """Decode one column of a stripe in the significance propagation pass (D.3.1)."""
    plane = lanes + SIGNIFICANT
    inside = live & load_i64(lanes + IN_COLUMN, column)
    first = ORIGIN + column * COLUMN + top
    beside_above, beside = _beside(lanes, first - 1), _beside(lanes, first)
    for at in range(first, first + 4):
        beside_below = _beside(lanes, at + 1)
        around = beside_above | beside | beside_below | load_i64(plane, at - 1) | load_i64(plane, at + 1)
        members = around & ~load_i64(plane, at) & inside & load_i64(lanes + IN_ROW, top + at - first)
        decision = 0
        if members != 0:
            decision = _decode_zero(lanes, at, members)
            if decision != 0:
                _decode_signs(lanes, at, decision)
        store_64(lanes + CODED, at, members)
        store_64(lanes + bits, at, decision)
        beside_above, beside = beside, beside_below


@inlined
def _refine_magnitude(lanes: int, bits: int, live: int, row: int, column: int) -> None:
    """Decode one coefficient in the magnitude refinement pass (D.3.3, Table D.4).

    Where the pass is left out, the bit is 1, which is the middle of what it can be (E.1.1.2, r = 1/2).
    """
    at = ORIGIN + column * COLUMN + row
    members = load_i64(lanes + SIGNIFICANT, at) & ~load_i64(lanes + CODED, at)
    if members != 0:
        again = load_i64(lanes + REFINED, at)
        decision = decode_refinement(lanes, members & live, _any_around(lanes, at) & ~again, again)
        store_64(lanes + bits, at, load_i64(lanes + bits, at) | decision | (members & ~live))
        store_64(lanes + REFINED, at, again | members)


@inlined
def _runs(lanes: int, inside: int, top: int, column: int) -> int:
    """Find in which lanes a column of a stripe is run-length coded (D.3.4).

    What this bit-plane has coded there had a significant neighbour.
    """
    runs = inside & load_i64(lanes + IN_ROW, top + 3)
    if runs != 0:
        first = ORIGIN + column * COLUMN + top
        for at in range(first - 1, first + 5):
            runs &= ~(_beside(lanes, at) | load_i64(lanes + SIGNIFICANT, at))
    return runs


@inlined
def _clean_up(lanes: int, bits: int, live: int, top: int, column: int) -> None:
    """Decode one column of a stripe in the clean-up pass (D.3.4, Table D.5)."""
    inside = live & load_i64(lanes + IN_COLUMN, column)
    runs = _runs(lanes, inside, top, column)
    ends = upper = lower = 0
    if runs != 0:
        inside &= ~runs
        ends = decode_in(lanes, RUN_LENGTH, runs)
        if ends != 0:
            upper = decode_in(lanes, UNIFORM, ends)
            lower = decode_in(lanes, UNIFORM, ends)
    for row in range(4):
        at = ORIGIN + column * COLUMN + top + row
        known = load_i64(lanes + SIGNIFICANT, at) | load_i64(lanes + CODED, at)
        members = inside & load_i64(lanes + IN_ROW, top + row) & ~known
        ends_here = ends & (upper if row & 2 else ~upper) & (lower if row & 1 else ~lower)
        decision = ends_here
        if members != 0:
            decision |= _decode_zero(lanes, at, members)
        if decision != 0:
            store_64(lanes + bits, at, load_i64(lanes + bits, at) | decision)
            _decode_signs(lanes, at, decision)
        inside |= ends_here


@jit("void(int64, int64, int64, int64)")
def decode_bit_plane(lanes: int, bit_plane: int, rows: int, columns: int) -> None:
    """Decode the three passes of a bit-plane; ``rows`` and ``columns`` are the most of any code-block."""
    bits, live = BITS + bit_plane * PLANE, lanes + LIVE
    for top in range(0, rows, 4):
        for column in range(columns):
            _propagate_significance(lanes, bits, load_i64(live, 3 * bit_plane + 2), top, column)
    for top in range(0, rows, 4):
        for column in range(columns):
            for row in range(top, top + 4):
                _refine_magnitude(lanes, bits, load_i64(live, 3 * bit_plane + 1), row, column)
    for top in range(0, rows, 4):
        for column in range(columns):
            _clean_up(lanes, bits, load_i64(live, 3 * bit_plane), top, column)
