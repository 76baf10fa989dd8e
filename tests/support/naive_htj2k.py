"""The HT cleanup decoder as T.814 clause 7 states it, a bit at a time: what the kernels are compared with.

The code words for quads are the normative tables of the kernels, which the streams of other encoders confirm.
"""

from __future__ import annotations

import numpy as np

from cinemill.kernels.htj2k import tables

MEL_E = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5]
CODES = [
    {(code.context, code.length, code.word): code for code in tables._codes(table)}
    for table in (tables._FIRST_ROW, tables._OTHER_ROWS)
]


class Damaged(Exception):
    """The bytes can't be a code-block."""


class Bits:
    """The bytes of a code-block and its three bit-streams (7.1)."""

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        if self.length < 2:
            raise Damaged("fewer than two bytes")
        suffix = 16 * data[-1] + (data[-2] & 15)
        if not 2 <= suffix <= min(self.length, 4079):
            raise Damaged("Scup")
        self.suffix_start = self.length - suffix
        self.data = data[:-2] + bytes([data[-2] | 15, 0xFF])
        self.magsgn_position = self.magsgn_bits = self.magsgn_last = 0
        self.magsgn_byte = 0
        self.mel_position, self.mel_bits, self.mel_byte = self.suffix_start, 0, 0
        self.state = self.run = 0
        self.one = False
        self.vlc_position, self.vlc_last = self.length - 3, self.data[-2]
        self.vlc_byte = self.vlc_last >> 4
        self.vlc_bits = 3 if self.vlc_byte & 7 == 7 else 4

    def magsgn(self) -> int:
        if self.magsgn_bits == 0:
            self.magsgn_bits = 7 if self.magsgn_last == 0xFF else 8
            if self.magsgn_position < self.suffix_start:
                self.magsgn_byte = self.data[self.magsgn_position]
                if self.magsgn_bits == 7 and self.magsgn_byte & 0x80:
                    raise Damaged("stuffed bit")
            elif self.magsgn_position == self.suffix_start:
                self.magsgn_byte = 0xFF
            else:
                raise Damaged("too few MagSgn bits")
            self.magsgn_last = self.magsgn_byte
            self.magsgn_position += 1
        self.magsgn_bits -= 1
        bit = self.magsgn_byte & 1
        self.magsgn_byte >>= 1
        return bit

    def mel_bit(self) -> int:
        if self.mel_bits == 0:
            self.mel_bits = 7 if self.mel_byte == 0xFF else 8
            self.mel_byte = self.data[self.mel_position] if self.mel_position < self.length else 0xFF
            self.mel_position += 1
        self.mel_bits -= 1
        return self.mel_byte >> self.mel_bits & 1

    def mel(self) -> int:
        if self.run == 0 and not self.one:
            exponent = MEL_E[self.state]
            if self.mel_bit():
                self.run, self.state = 1 << exponent, min(12, self.state + 1)
            else:
                for _ in range(exponent):
                    self.run = 2 * self.run + self.mel_bit()
                self.state, self.one = max(0, self.state - 1), True
        if self.run > 0:
            self.run -= 1
            return 0
        self.one = False
        return 1

    def vlc(self) -> int:
        if self.vlc_bits == 0:
            if self.vlc_position < self.suffix_start:
                raise Damaged("too few VLC bits")
            self.vlc_byte, self.vlc_bits = self.data[self.vlc_position], 8
            if self.vlc_last > 0x8F and self.vlc_byte & 0x7F == 0x7F:
                if self.vlc_byte > 0x7F:
                    raise Damaged("stuffed bit")
                self.vlc_bits = 7
            self.vlc_last = self.vlc_byte
            self.vlc_position -= 1
        self.vlc_bits -= 1
        bit = self.vlc_byte & 1
        self.vlc_byte >>= 1
        return bit

    def number(self, bits: int) -> int:
        return sum(self.vlc() << at for at in range(bits))


def decode_prefix(bits: Bits) -> int:
    """Table 3: the prefix of u."""
    for prefix in (1, 2, 3):
        if bits.vlc():
            return prefix
    return 5


def decode_suffixes(bits: Bits, prefixes: list[int]) -> list[int]:
    """Table 3: suffixes, then extensions."""
    suffixes = [bits.number({1: 0, 2: 0, 3: 1, 5: 5}.get(prefix, 0)) for prefix in prefixes]
    extensions = [bits.number(4) if suffix >= 28 else 0 for suffix in suffixes]
    return [sum(parts[:2]) + 4 * parts[2] for parts in zip(prefixes, suffixes, extensions, strict=True)]


def decode_us(bits: Bits, offsets: list[int], *, first_row: bool) -> list[int]:
    """7.3.6: u of a pair of quads."""
    if first_row and all(offsets) and len(offsets) == 2:
        if bits.mel():
            return [u + 2 for u in decode_suffixes(bits, [decode_prefix(bits), decode_prefix(bits)])]
        first = decode_prefix(bits)
        if first > 2:
            second = bits.vlc() + 1
            return [decode_suffixes(bits, [first])[0], second]
        return decode_suffixes(bits, [first, decode_prefix(bits)])
    return decode_suffixes(bits, [decode_prefix(bits) if offset else 0 for offset in offsets])


def decode_code(bits: Bits, context: int, *, first_row: bool) -> tables._Code:
    """C.1: a code word for a quad."""
    word = length = 0
    while length < 7:
        word |= bits.vlc() << length
        length += 1
        code = CODES[not first_row].get((context, length, word))
        if code:
            return code
    raise Damaged("no code word")


def decode(data: bytes, columns: int, rows: int, most_u: int) -> tuple[np.ndarray, int]:
    """Return the samples of a code-block, and how many bytes of MagSgn were not looked at."""
    bits = Bits(data)
    wide, high = (columns + 1) // 2, (rows + 1) // 2
    nothing = tables._Code(0, 0, 0, 0, 0, 0, 0)
    quads: dict[tuple[int, int], tables._Code] = {}
    us: dict[tuple[int, int], int] = {}
    for y in range(high):
        for first in range(0, wide, 2):
            pair = range(first, min(first + 2, wide))
            for x in pair:
                left, over = quads.get((y, x - 1), nothing).significance, quads.get((y - 1, x), nothing)
                before, after = quads.get((y - 1, x - 1), nothing), quads.get((y - 1, x + 1), nothing)
                if y == 0:
                    context = (left & 1 | left >> 1 & 1) | left >> 2 << 1
                else:
                    context = int(bool(before.significance & 8 or over.significance & 2))
                    context |= int(bool(left & 12)) << 1
                    context |= int(bool(over.significance & 8 or after.significance & 2)) << 2
                known = context > 0 or bits.mel()
                quads[y, x] = decode_code(bits, context, first_row=y == 0) if known else nothing
            found = decode_us(bits, [quads[y, x].offset for x in pair], first_row=y == 0)
            us.update(zip([(y, x) for x in pair], found, strict=True))
    samples = np.zeros((2 * high, 2 * wide + 2), np.int64)
    exponents = np.zeros((2 * high + 1, 2 * wide + 2), np.int64)  # with a margin above, and on both sides
    for y in range(high):
        for x in range(wide):
            code = quads[y, x]
            several = code.significance.bit_count() > 1
            predictor = max(1, exponents[2 * y, 2 * x : 2 * x + 4].max() - 1) if several and y else 1
            bound = us[y, x] + predictor
            if code.significance and bound > most_u:
                raise Damaged("U")
            for sample in range(4):
                if code.significance >> sample & 1:
                    width = int(bound - (code.known >> sample & 1))
                    value = sum(bits.magsgn() << at for at in range(width))
                    value |= (code.reaching >> sample & 1) << width
                    at = 2 * y + (sample & 1), 2 * x + (sample >> 1)
                    samples[at] = -(value // 2 + 1) if value & 1 else value // 2 + 1
                    exponents[at[0] + 1, at[1] + 1] = int(value | 1).bit_length()
    left_over = bits.suffix_start - bits.magsgn_position
    return samples[:rows, :columns], left_over
