"""Level shift, reversible colour transform and reversible 5-3 wavelet (T.800 Annexes F and G), in 16-bit lanes.

Rows of an image are there for as long as the first decomposition needs them: each component has a ring of four. What it makes
of one strip, a row of code-blocks of HL, LH and HH, may be coded before the next strip overwrites it: so what is worked on stays in
the processor's cache. LL is decomposed further, in place, when it is whole.

Each subband is an array of its own in ``coefficients``. Its rows are padded so that a vector may run over their end, and
a row be continued by two samples where it is (F.3.7).

Ranges: unless sums of two fit too, they are formed without their carry, so that a lane need only hold coefficients. These are
below `GAIN` times half the range of samples in HH, and `LOW_GAIN` times as much in LL, beside what the samples' mean adds to it;
what is rounded adds less than `ROUNDED`.

Bounds: with n columns, vectors write up to the next multiple of 16 after a row's end and read up to 34 samples after it, where
`pitch_of` leaves 16 or more and `TAIL` follows the last row; a row of the ring has 64 samples more than columns. Pixels are read 32
at a time: rows for which the image has no room for that are copied first.
"""

from __future__ import annotations

from typing import Any

from cinemill.kernels.machine.bits import address, copy_bytes, load_i16, load_i64, store_16
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.x86 import any_bits, constant, shuffled_bytes

STRIP = 64
"""Rows of the first decomposition's subbands that are there at a time."""
TAIL = 256
"""Samples after the last subband."""
GAIN, LOW_GAIN, ROUNDED = 9, 3, 64
RGB, BYTES, WORDS = 3, 1, 2
"""Bytes of a pixel: interleaved, or of one component in its plane, of up to 8 and of up to 16 bits."""

_LANES = 16
_RING = 4
_CARRY = 128
_SEEN = 64


def pitch_of(columns: int) -> int:
    """Return samples from one row of a subband to the next."""
    return (columns + 31) // 16 * 16


def row_memory(columns: int, components: int) -> int:
    """Return bytes that `analyse` needs for its rows."""
    return _CARRY + _SEEN + _RING * components * 2 * (columns + 64) + 3 * columns + 96


def _make_analyse_pair(*, narrow: bool) -> Any:
    """Make the decomposition of two rows; ``narrow`` where sums of two values fit 16 bits."""

    def average(first: Value, second: Value) -> Value:
        return (first + second) >> 1 if narrow else (first & second) + ((first ^ second) >> 1)

    def updated(even: Value, before: Value, after: Value) -> Value:
        """Add to a sample a quarter of the details around it (Equation F-10)."""
        return even + ((before + after + 2) >> 2 if narrow else (average(before, after) + 1) >> 1)

    @instructions
    def lift_pair(even: Value, odd: Value, above: Value, after: Value) -> None:
        """Predict a row from those around it, and update the one before, below ``above``, which may be the other one."""
        samples = even.load(16, _LANES)
        detail = odd.load(16, _LANES) - average(samples, after.load(16, _LANES))
        detail.store(odd)
        updated(samples, above.load(16, _LANES), detail).store(even)

    @instructions
    def lift_last(row: Value, above: Value) -> None:
        """Update a row that ends the image."""
        detail = above.load(16, _LANES)
        updated(row.load(16, _LANES), detail, detail).store(row)

    @instructions
    def split(row: Value, low: Value, high: Value, carry: Value) -> None:
        """Analyse 32 samples of a row (F.4.8.2); the last lane of ``carry`` is the detail before them."""
        evens, odds = range(0, 2 * _LANES, 2), range(1, 2 * _LANES, 2)
        first, second = row.load(16, _LANES), (row + 2 * _LANES).load(16, _LANES)
        third, fourth = (row + 4).load(16, _LANES), (row + 4 + 2 * _LANES).load(16, _LANES)
        even, odd, after = (
            first.shuffled(evens, second),
            first.shuffled(odds, second),
            third.shuffled(evens, fourth),
        )
        detail = odd - average(even, after)
        before = carry.load(16, _LANES).shuffled(range(_LANES - 1, 2 * _LANES - 1), detail)
        detail.store(carry)
        detail.store(high)
        updated(even, before, detail).store(low)

    @inlined
    def analyse_pair(
        plane: int,
        pitch: int,
        ring: int,
        row: int,
        rows: int,
        columns: int,
        base: int,
        bands: int,
        strip: int,
        carry: int,
    ) -> None:
        even, odd = plane + pitch * (row & ring), plane + pitch * ((row + 1) & ring)
        before = plane + pitch * ((row - 1) & ring)
        if row + 1 < rows:
            after = plane + pitch * ((row + 2) & ring) if row + 2 < rows else even
            above = before if row > 0 else odd
            for at in range(0, 2 * columns, 2 * _LANES):
                lift_pair(even + at, odd + at, above + at, after + at)
        elif rows > 1:
            for at in range(0, 2 * columns, 2 * _LANES):
                lift_last(even + at, before + at)
        for number in range(min(2, rows - row)):
            line = odd if number else even
            half, at = row >> 1, bands + 16 * number
            low = base + load_i64(at, 0) + load_i64(at, 4) * (half & strip if number else half)
            high = base + load_i64(at, 1) + load_i64(at, 5) * (half & strip)
            if columns == 1:
                store_16(low, 0, load_i16(line, 0))
                continue
            store_16(line, columns, load_i16(line, columns - 2))
            store_16(line, columns + 1, load_i16(line, max(columns - 3, 0)))
            store_16(carry, _LANES - 1, load_i16(line, 1) - ((load_i16(line, 0) + load_i16(line, 2)) >> 1))
            for at in range(0, columns, 2 * _LANES):
                split(line + 2 * at, low + at, high + at, carry)

    return analyse_pair


_narrow_pair, _wide_pair = _make_analyse_pair(narrow=True), _make_analyse_pair(narrow=False)


def _component(component: int, part: int) -> list[int]:
    """Where one component of 16 pixels of 3 bytes is, in one of their three times 16 bytes; 128 where it is not."""
    places = range(component, 48, 3)
    return [place % 16 if place // 16 == part else 128 for place in places]


def _planes(pixels: Value) -> list[Value]:
    """Take 32 pixels of 3 bytes apart."""
    first, second = ([(pixels + 48 * half + 16 * part).load(8, 16) for part in range(3)] for half in (0, 1))
    parts = [one.shuffled(range(32), other) for one, other in zip(first, second, strict=True)]
    planes = []
    for component in range(3):
        a, b, c = (
            shuffled_bytes(part, constant(part, 2 * _component(component, number)))
            for number, part in enumerate(parts)
        )
        planes.append((a | b | c).resized(16))
    return planes


@instructions
def _from_rgb(pixels: Value, y: Value, cb: Value, cr: Value) -> None:
    """Shift levels of 32 pixels, and apply the reversible colour transform (G.1, G.2.1)."""
    red, green, blue = _planes(pixels)
    ((red + blue + green + green).shifted_down(2) - 128).store(y)
    (blue - green).store(cb)
    (red - green).store(cr)


@instructions
def _from_interleaved(pixels: Value, first: Value, second: Value, third: Value) -> None:
    """Shift levels of 32 pixels (G.1)."""
    for plane, target in zip(_planes(pixels), (first, second, third), strict=True):
        (plane - 128).store(target)


def _shift_levels(samples: Value, plane: Value, sign: Value, offset: Value, seen: Value) -> None:
    """Move 32 samples around zero (G.1), and note the bits that their values need."""
    shifted = (samples ^ sign) - offset
    shifted.store(plane)
    (seen.load(16, 32) | (shifted ^ (shifted >> 15))).store(seen)


@instructions
def _from_bytes(samples: Value, plane: Value, sign: Value, offset: Value, seen: Value) -> None:
    _shift_levels(samples.load(8, 32).resized(16), plane, sign, offset, seen)


@instructions
def _from_words(samples: Value, plane: Value, sign: Value, offset: Value, seen: Value) -> None:
    _shift_levels(samples.load(16, 32), plane, sign, offset, seen)


@instructions
def _transform_colour(first: Value, second: Value, third: Value) -> None:
    """Apply the reversible colour transform to 16 pixels, in place (G.2.1)."""
    red, green, blue = (plane.load(16, _LANES) for plane in (first, second, third))
    ((red + blue + green + green) >> 2).store(first)
    (blue - green).store(second)
    (red - green).store(third)


@instructions
def _clear(where: Value) -> None:
    """Clear 96 bytes."""
    for at in (0, 32, 64):
        where.load(64, 4).like(0).store(where + at)


@instructions
def _bits_in(seen: Value) -> Value:
    return any_bits(seen.load(16, 32))


@jit(
    "void(boolean, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)",
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
)
def _analyse_pair(
    narrow: bool,
    plane: int,
    pitch: int,
    ring: int,
    row: int,
    rows: int,
    columns: int,
    base: int,
    bands: int,
    strip: int,
    carry: int,
) -> None:
    """Decompose row ``row``, which is even, and the next one, by columns, then by rows (F.4.2).

    Parameters
    ----------
    narrow
        Whether sums of two values fit 16 bits.
    plane, pitch, ring
        Row n is at ``plane + pitch * (n & ring)``.
    base, bands
        Where, from ``base`` on, LL, HL, LH and HH begin, and the bytes of their rows.
    strip
        Row n of HL, LH and HH is at their place n & strip.
    carry
        32 bytes.
    """
    if narrow:
        _narrow_pair(plane, pitch, ring, row, rows, columns, base, bands, strip, carry)
    else:
        _wide_pair(plane, pitch, ring, row, rows, columns, base, bands, strip, carry)


@jit(
    "int64(Array(uint8, 1, 'C', readonly=True), int64, int64, int64, int64, int64, int64, boolean, int64, int64,"
    " int64[:, :, ::1], uint8[::1], int16[::1], int64)"
)
def analyse(
    pixels: Any,
    form: int,
    components: int,
    rows: int,
    columns: int,
    levels: int,
    colour: int,
    narrow: bool,
    sign: int,
    offset: int,
    bands: Any,
    memory: Any,
    coefficients: Any,
    strip: int,
) -> int:
    """Decompose a strip of an image, and after the last one all that is left.

    Parameters
    ----------
    pixels, form, components, rows, columns
        The image: `RGB`, or planes of `BYTES` or `WORDS`.
    levels
        Decomposition levels; with none, the samples are what LL holds.
    colour
        Whether the reversible colour transform is used.
    narrow
        Whether sums of two coefficients fit 16 bits: a quarter less work.
    sign, offset
        Sign bit of signed samples, else 0; what to subtract, half the range of unsigned samples, ``sign`` of signed ones.
    bands
        Components x levels, 1 at least, x (where LL, HL, LH and HH begin, and the bytes of their rows).
    memory
        `row_memory`, which has rows that the next strip needs.
    coefficients
        Where the subbands are; HL, LH and HH of the first level have `STRIP` rows at most.
    strip
        Number of the strip; it takes 2 `STRIP` rows. Its first rows of HL, LH and HH of the first level are put where ``bands`` have
        these begin.

    Returns
    -------
    int
        The bits that are set in a shifted value, or clear in a negative one; 0 of `RGB`.
    """
    carry, base, planes = address(memory), address(coefficients), components
    seen = carry + _CARRY
    ring, pitch = seen + _SEEN, 2 * (columns + 64)
    between, size = _RING * pitch, form * columns
    tail = ring + components * between
    if form == RGB:
        planes = 1
    start, stop = 2 * STRIP * strip, min(2 * STRIP * (strip + 1), rows)
    ready = min(start + 1, rows) if start else 0
    # What is read of a row must end before the image does.
    last = address(pixels) + size * rows * planes - form * ((columns + 31) & ~31)
    if start == 0:
        _clear(seen)
    for row in range(start, stop, 2):
        while ready < min(row + 3, rows):
            line = ring + pitch * (ready & (_RING - 1))
            for component in range(planes):
                source = address(pixels) + size * (component * rows + ready)
                target = line + component * between
                if source > last:
                    copy_bytes(tail, source, size)
                    _clear(tail + size)
                    source = tail
                if form == BYTES:
                    for at in range(0, columns, 32):
                        _from_bytes(source + at, target + 2 * at, sign, offset, seen)
                elif form == WORDS:
                    for at in range(0, columns, 32):
                        _from_words(source + 2 * at, target + 2 * at, sign, offset, seen)
                elif colour:
                    for at in range(0, columns, 32):
                        _from_rgb(
                            source + 3 * at,
                            target + 2 * at,
                            target + between + 2 * at,
                            target + 2 * between + 2 * at,
                        )
                else:
                    for at in range(0, columns, 32):
                        _from_interleaved(
                            source + 3 * at,
                            target + 2 * at,
                            target + between + 2 * at,
                            target + 2 * between + 2 * at,
                        )
            if colour and form != RGB:
                for at in range(0, 2 * columns, 2 * _LANES):
                    _transform_colour(line + at, line + between + at, line + 2 * between + at)
            ready += 1
        for component in range(components):
            plane, where = ring + component * between, address(bands) + 64 * component * max(levels, 1)
            if levels:
                _analyse_pair(
                    narrow, plane, pitch, _RING - 1, row, rows, columns, base, where, STRIP - 1, carry
                )
                continue
            for number in range(row, min(row + 2, rows)):
                target = base + load_i64(where, 0) + load_i64(where, 4) * number
                copy_bytes(target, plane + pitch * (number & (_RING - 1)), 2 * columns)
    if stop == rows:
        high, across = rows, columns
        for level in range(1, levels):
            high, across = (high + 1) >> 1, (across + 1) >> 1
            for component in range(components):
                where = address(bands) + 64 * (component * levels + level)
                plane, pitch = base + load_i64(where, -8), load_i64(where, -4)
                for row in range(0, high, 2):
                    _analyse_pair(narrow, plane, pitch, -1, row, high, across, base, where, -1, carry)
    return _bits_in(seen)
