"""Inverse 5-3 wavelet (T.800 F.3) in 16-bit lanes, and with it colour transform and level shift (Annex G), two rows at a time.

What comes out of the last level is never there as a whole: a ring of four rows of each component is, of which pixels are made
while it is in the cache. Nor need the subbands of the first level be there as a whole: rows may come in by strips.

Ranges
------
Unless sums of two fit too, averages are taken without the carry that a sum would need, so 16 bits hold everything as long as
no reconstructed value is beyond them. A row or column of magnitudes up to L in the low subband and H in the high one
reconstructs to L + 3 H / 2 + 1 at most, so the largest magnitude of each subband tells whether a level fits, before it is
reconstructed (`reach`).

Memory
------
Each subband is an array of rows of its own in ``coefficients``, at places and pitches that the table of bands says (both counted in
samples), level by level: LL, HL, LH, HH. LL of a level is made of the four of the next one.

Bounds
------
A pitch is at least 16 samples more than there are columns and a multiple of 16, and MARGIN samples precede the first band
and follow each: vectors that begin in a row end within its pitch, and the three samples that rows are mirrored into lie within it
or directly before it. Rows of the ring have room for 64 samples more than the image has columns. Pixels are written
`AT_ONCE` at a time, the last ones once more: an image has that many columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cinemill.kernels.jpeg_2000.decode_lifting import (
    clear_lanes,
    largest_lane,
    make_lifting,
    make_note_magnitudes,
)
from cinemill.kernels.machine.bits import address, load_i16, store_16
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.x86 import constant, shuffled_bytes

LANES = 16
MARGIN = 32
AT_ONCE = 32
"""Pixels, and columns that an image has at least."""
_RING = 3
"""One less than the rows in the ring."""

LL, HL, LH, HH, PITCH = range(5)
"""Columns of the table of bands, component x level x 8: where each subband begins, and from PITCH on, its pitch."""

BYTES, WORDS, RGB, RCT = range(4)
"""Kinds of pixels: one component of 8 or 16 bits, three of 8 bits as they are, three from the reversible colour transform."""

SUMS_FIT = 4
"""Added to a kind where `fits_lanes` says so: a third less work."""

MOST = (1 << 15) - 1
"""What 16 bits hold."""
_MOST_OF_SUMS = (MOST - 2) // 2

_SEEN = 64
"""Before the ring, so many of its samples collect what bits pixels have."""


def pitch_of(columns: int) -> int:
    """Return how many samples lie from one row of a subband to the next."""
    return (columns + 31) // 16 * 16


def ring_room(columns: int, components: int) -> int:
    """Return how many samples of memory `synthesise_rows` needs."""
    return _SEEN + (_RING + 1) * components * (columns + 64)


def _make_synthesise_pair(*, narrow: bool) -> Any:
    """Make the reconstruction of two rows; ``narrow`` where sums of two values fit 16 bits."""
    join, lower, raise_ = make_lifting(LANES, narrow=narrow)

    @inlined
    def join_row(low: int, high: int, columns: int, row: int) -> None:
        """Reconstruct a row of which only the vertical part is left to undo; its ends are mirrored (F.3.7)."""
        lows, highs = (columns + 1) >> 1, columns >> 1
        if highs == 0:
            store_16(row, 0, load_i16(low, 0))
            return
        store_16(high, -1, load_i16(high, 0))
        store_16(low, lows, load_i16(low, lows - 1))
        store_16(
            high, highs, load_i16(high, highs - 1) if lows > highs else load_i16(high, max(highs - 2, 0))
        )
        for at in range(0, 2 * lows, 2 * LANES):
            join(low + at, high + at, row + 2 * at)

    @inlined
    def synthesise_pair(
        plane: int, pitch: int, ring: int, row: int, rows: int, columns: int, bands: Any
    ) -> None:
        half = row >> 1
        even, odd = plane + pitch * (row & ring), plane + pitch * ((row + 1) & ring)
        before, twice_before = plane + pitch * ((row - 1) & ring), plane + pitch * ((row - 2) & ring)
        if row < rows:
            join_row(
                bands[LL] + bands[PITCH + LL] * half, bands[HL] + bands[PITCH + HL] * half, columns, even
            )
        if row + 1 < rows:
            join_row(bands[LH] + bands[PITCH + LH] * half, bands[HH] + bands[PITCH + HH] * half, columns, odd)
        if row < rows and rows > 1:
            below = odd if row + 1 < rows else before
            above = before if row > 0 else below
            for at in range(0, 2 * columns, 2 * LANES):
                lower(even + at, above + at, below + at)
        if 0 < row <= rows:
            below = even if row < rows else twice_before
            for at in range(0, 2 * columns, 2 * LANES):
                raise_(before + at, twice_before + at, below + at)

    return synthesise_pair


_narrow_pair, _wide_pair = _make_synthesise_pair(narrow=True), _make_synthesise_pair(narrow=False)


@jit("void(boolean, int64, int64, int64, int64, int64, int64, int64[::1])")
def _synthesise_pair(
    narrow: bool, plane: int, pitch: int, ring: int, row: int, rows: int, columns: int, bands: Any
) -> None:
    """Bring in rows ``row`` and the next; then the two before them are done.

    Parameters
    ----------
    narrow
        Whether sums of two values fit 16 bits.
    plane, pitch
        Where the rows are, in bytes.
    ring
        A mask of row numbers: -1 where all rows are there.
    row, rows, columns
        The even row, up to two after the last one, and the size of the plane.
    bands
        Addresses and pitches, in bytes, of the subbands it is made of.
    """
    if narrow:
        _narrow_pair(plane, pitch, ring, row, rows, columns, bands)
    else:
        _wide_pair(plane, pitch, ring, row, rows, columns, bands)


_note_many, _note_some = make_note_magnitudes(4 * LANES), make_note_magnitudes(LANES)


@inlined
def _largest_magnitude(plane: int, pitch: int, rows: int, columns: int, memory: Any) -> int:
    """Return the largest magnitude of a plane; ``memory`` holds one of each of 16 lanes."""
    lanes = address(memory)
    clear_lanes(lanes)
    narrow = 0
    for row in range(rows):
        first = plane + pitch * row
        if columns >= 4 * LANES:
            for at in range(0, columns, 4 * LANES):
                _note_many(first + 2 * min(at, columns - 4 * LANES), lanes)
        elif columns >= LANES:
            for at in range(0, columns, LANES):
                _note_some(first + 2 * min(at, columns - LANES), lanes)
        else:
            for column in range(columns):
                narrow = max(narrow, abs(load_i16(first, column)))
    return max(narrow, largest_lane(lanes))


@inlined
def _reach_of_pair(low: int, high: int) -> int:
    """Return the largest magnitude that one direction reconstructs from these."""
    return low + high + (high >> 1) + 1


@jit("int64(int64[::1])")
def reach(largest: Any) -> int:
    """Return the largest magnitude that one level can reconstruct, from those in LL, HL, LH and HH."""
    return _reach_of_pair(_reach_of_pair(largest[LL], largest[HL]), _reach_of_pair(largest[LH], largest[HH]))


@jit("boolean(int16[::1], int64, int64, int64[:, :, ::1], int64[:, :, ::1])")
def synthesise_low(coefficients: Any, rows: int, columns: int, bands: Any, largest: Any) -> bool:
    """Reconstruct LL of the first level of all components.

    Parameters
    ----------
    coefficients
        All subbands.
    rows, columns
        Of the image.
    bands
        The table of bands; of each component as many levels as there are.
    largest
        The largest magnitude in each subband, component x level x LL, HL, LH, HH. Receives that of each LL that is reconstructed.

    Returns
    -------
    bool
        Whether all fitted the lanes; else what was reconstructed is wrong.
    """
    base = address(coefficients)
    source, lanes = np.empty(8, np.int64), np.empty(LANES // 4, np.int64)
    for component in range(bands.shape[0]):
        for level in range(bands.shape[1] - 1, 0, -1):
            most = reach(largest[component, level])
            if most > MOST:
                return False
            high, across = (rows + (1 << level) - 1) >> level, (columns + (1 << level) - 1) >> level
            plane = base + 2 * bands[component, level - 1, LL]
            pitch = 2 * bands[component, level - 1, PITCH + LL]
            for band in range(4):
                source[band] = base + 2 * bands[component, level, band]
                source[PITCH + band] = 2 * bands[component, level, PITCH + band]
            for row in range(0, high + 2, 2):
                _synthesise_pair(most <= _MOST_OF_SUMS, plane, pitch, -1, row, high, across, source)
            largest[component, level - 1, LL] = _largest_magnitude(plane, pitch, high, across, lanes)
    return True


@jit("int64(int64[:, :, ::1], int64, int64)")
def fits_lanes(largest: Any, kind: int, half: int) -> int:
    """Tell whether 16 bits hold all that the first level reconstructs.

    Parameters
    ----------
    largest
        As `synthesise_low` leaves it.
    kind
        Of the pixels.
    half
        What the level shift adds.

    Returns
    -------
    int
        0 if they don't, else 1, or `SUMS_FIT` if sums of two fit too.
    """
    most = 0
    for component in range(largest.shape[0]):
        most = max(most, reach(largest[component, 0]))
    if kind == RCT:
        # Cb + Cr are one sum, Y - (Cb + Cr) / 4 + Cr + half another.
        most += 2 * max(reach(largest[1, 0]), reach(largest[2, 0])) + half
    if most > MOST:
        return 0
    return SUMS_FIT if most <= _MOST_OF_SUMS else 1


def _note(seen: Value, *samples: Value) -> None:
    """Collect the bits that 32 samples of each component have."""
    total = samples[0]
    for others in samples[1:]:
        total |= others
    both = total.shuffled(range(LANES)) | total.shuffled(range(LANES, 2 * LANES))
    (seen.load(16, LANES) | both).store(seen)


@instructions
def _put_bytes(plane: Value, half: Value, back: Value, pixels: Value, seen: Value) -> None:
    samples = plane.load(16, AT_ONCE) + half
    _note(seen, samples)
    (samples - back).resized(8).store(pixels)


@instructions
def _put_words(plane: Value, half: Value, back: Value, pixels: Value, seen: Value) -> None:
    samples = plane.load(16, AT_ONCE) + half
    _note(seen, samples)
    (samples - back).store(pixels)


def _places(component: int, part: int) -> list[int]:
    """Say which pixel's sample stands at each of 16 bytes of pixels, the ``part``-th ones; 0x80 where another component's does."""
    bytes_ = range(16 * part, 16 * part + 16)
    return [at // 3 if at % 3 == component else 0x80 for at in bytes_]


def _make_put_rgb(*, transformed: bool) -> Any:
    @instructions
    def put_rgb(
        first: Value, second: Value, third: Value, half: Value, back: Value, pixels: Value, seen: Value
    ) -> None:
        planes = [plane.load(16, AT_ONCE) for plane in (first, second, third)]
        if transformed:
            luma, blue, red = planes
            green = luma - ((blue + red) >> 2)  # Equations G-6 to G-8
            planes = [red + green, green, blue + green]
        _note(seen, *(plane + half for plane in planes))
        samples = [(plane + half - back).resized(8) for plane in planes]
        for part in range(3):
            placed = [
                shuffled_bytes(sample, constant(sample, _places(component, part) * 2))
                for component, sample in enumerate(samples)
            ]
            joined = placed[0] | placed[1] | placed[2]
            joined.shuffled(range(16)).store(pixels + 16 * part)
            joined.shuffled(range(16, 32)).store(pixels + 48 + 16 * part)

    return put_rgb


_put_rgb, _put_rct = _make_put_rgb(transformed=False), _make_put_rgb(transformed=True)


@instructions
def _all_seen(seen: Value) -> Value:
    words = seen.load(64, 4)
    total = words.lane(0) | words.lane(1) | words.lane(2) | words.lane(3)
    total |= total.shifted_down(32)
    return (total | total.shifted_down(16)) & 0xFFFF


@inlined
def _put_row(
    plane: int, between: int, kind: int, columns: int, half: int, back: int, pixels: int, seen: int
) -> None:
    for step in range(0, columns, AT_ONCE):
        at = min(step, columns - AT_ONCE)
        first, second, third = plane + 2 * at, plane + between + 2 * at, plane + 2 * between + 2 * at
        if kind == RCT:
            _put_rct(first, second, third, half, back, pixels + 3 * at, seen)
        elif kind == RGB:
            _put_rgb(first, second, third, half, back, pixels + 3 * at, seen)
        elif kind == BYTES:
            _put_bytes(first, half, back, pixels + at, seen)
        else:
            _put_words(first, half, back, pixels + 2 * at, seen)


@jit(
    "int64(int16[::1], int64, int64, int64, int64, int64, int64[:, :, ::1], int64, int16[::1], uint8[::1], int64, int64)"
)
def synthesise_rows(
    coefficients: Any,
    kind: int,
    rows: int,
    columns: int,
    half: int,
    back: int,
    bands: Any,
    top: int,
    memory: Any,
    pixels: Any,
    start: int,
    stop: int,
) -> int:
    """Reconstruct some rows of an image from the first level, and put them out as pixels, two rows late.

    Parameters
    ----------
    coefficients, bands
        All subbands, and the table of them; LL of the first level is complete.
    kind, rows, columns
        Of pixels, with `SUMS_FIT` if they do, and the size of the image.
    half, back
        What the level shift adds, so that the smallest sample is 0, and what signed samples take back of it.
    top
        The even row of the image with which what there is of HL, LH and HH of the first level begins.
    memory
        As much as `ring_room` says, which goes on from one call to the next.
    pixels
        Receives the rows.
    start, stop
        Even rows, counted from 0; two rows more than there are end it.

    Returns
    -------
    int
        The bits that samples had so far: more than the precision allows if some were out of range.
    """
    first, base, seen = address(pixels), address(coefficients), address(memory)
    ring = seen + 2 * _SEEN
    if start == 0:
        clear_lanes(seen)
    narrow, kind = kind >= SUMS_FIT, kind & (SUMS_FIT - 1)
    components = 3 if kind >= RGB else 1
    size = columns * (3 if kind >= RGB else 1 + kind)
    pitch = 2 * (columns + 64)
    between = (_RING + 1) * pitch
    source = np.empty(8, np.int64)
    for row in range(start, min(stop, rows + 2), 2):
        for component in range(components):
            for band in range(4):
                source[PITCH + band] = 2 * bands[component, 0, PITCH + band]
                source[band] = base + 2 * bands[component, 0, band]
                if band != LL:
                    source[band] -= source[PITCH + band] * (top >> 1)
            _synthesise_pair(narrow, ring + between * component, pitch, _RING, row, rows, columns, source)
        for done in range(max(row - 2, 0), min(row, rows)):
            _put_row(
                ring + pitch * (done & _RING), between, kind, columns, half, back, first + size * done, seen
            )
    return _all_seen(seen)
