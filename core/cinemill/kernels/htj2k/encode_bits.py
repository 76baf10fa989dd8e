"""The three bit-streams of an HT cleanup segment: MagSgn, MEL and VLC (T.814 7.1), written.

MagSgn goes forward from the segment's start; MEL goes forward after it; VLC goes back from the segment's end, and the last bytes of MEL
and of VLC may be one. Bits are first collected without stuffing, then stuffed: seven bytes at a time where none needs it.

Bounds: a code-block has up to 1024 quads in 512 pairs. MagSgn has 64 bits a quad, a pair 30 bits of VLC, MEL an event a quad and one
a pair of the first row, of up to 6 bits each; stuffing adds a bit to 7. So the bytes of a code-block fit `block_room`, and
`MAGSGN`, `VLC`, `MEL` and `BACK` have room for what is written, eight bytes at a time, and read.
"""

from __future__ import annotations

from cinemill.kernels.machine.bits import (
    copy_bytes,
    has_byte_ff,
    load_bits,
    load_u8,
    load_u32,
    shift_down,
    shift_up,
    store_8,
    store_64,
    store_word,
    trailing_zeros,
)
from cinemill.kernels.machine.jit import inlined, jit

_MAGSGN_SIZE, _VLC_SIZE, _MEL_SIZE, _BACK_SIZE = 8192 + 64, 2048 + 64, 1024, 2560
MAGSGN = 0
VLC = MAGSGN + _MAGSGN_SIZE
MEL = VLC + _VLC_SIZE
BACK = MEL + _MEL_SIZE
"""Where bits are collected in scratch memory, and where VLC is stuffed backwards."""
BITS_SIZE = BACK + _BACK_SIZE

_SEVEN_BYTES = (1 << 56) - 1


def block_room(quads: int) -> int:
    """Return the bytes that a code-block of so many quads takes at most: 13 a quad, and what is written at once."""
    return 13 * quads + 64


@inlined
def put(at: int, held: int, bits: int, word: int, count: int) -> tuple[int, int, int]:
    """Append up to 56 bits, the first one lowest, to the up to 7 held; eight bytes are written."""
    held |= shift_up(word, bits)
    store_64(at, 0, held)
    bits += count
    return at + (bits >> 3), shift_down(held, bits & 0x38), bits & 7


@inlined
def put_mel(at: int, held: int, bits: int, word: int, count: int) -> tuple[int, int, int]:
    """Append up to 56 bits, the first one highest, to the up to 7 held; eight bytes are written."""
    held = shift_up(held, count) | word
    bits += count
    store_word(at, shift_up(held, 63 - bits) << 1)
    return at + (bits >> 3), held & 127, bits & 7


@jit(
    "UniTuple(int64, 5)(int64, int64, int64, int64, int64, int64, int64, int64)",
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
)
def put_events(
    at: int, held: int, bits: int, run: int, state: int, events: int, count: int, table: int
) -> tuple[int, int, int, int, int]:
    """Append MEL events, up to 48, the first one lowest (7.3.3).

    Parameters
    ----------
    at, held, bits
        Where the bits go.
    run, state
        Zeros that wait for the end of their run, fewer than make one, and the coder's state.
    events, count
        What to append.
    table
        Address of `cinemill.kernels.htj2k.tables.mel_encoding`.
    """
    while events != 0:
        zeros = trailing_zeros(events)
        events = shift_down(shift_down(events, zeros), 1)
        count -= zeros + 1
        entry = load_u32(table, shift_up(state, 6) | (run + zeros))
        ones, exponent = entry & 255, shift_down(entry, 20)
        word = shift_up(shift_up(1, ones) - 1, exponent + 1) | (shift_down(entry, 8) & 255)
        at, held, bits = put_mel(at, held, bits, word, ones + 1 + exponent)
        run, state = 0, max((shift_down(entry, 16) & 15) - 1, 0)
    entry = load_u32(table, shift_up(state, 6) | (run + count))
    ones = entry & 255
    at, held, bits = put_mel(at, held, bits, shift_up(1, ones) - 1, ones)
    return at, held, bits, shift_down(entry, 8) & 255, shift_down(entry, 16) & 15


@inlined
def _stuff_magsgn(source: int, count: int, out: int) -> int:
    """Write MagSgn bits with a zero after each byte FF, filled up with ones; returns their end (7.1.2).

    A last byte of FF is left out: the reader supplies it.
    """
    at, width = 0, 8
    while at + 64 <= count:
        word = load_bits(source, at)
        if width == 8 and has_byte_ff(word & _SEVEN_BYTES) == 0:
            store_64(out, 0, word)
            out += 7
            at += 56
            continue
        byte = word & (shift_up(1, width) - 1)
        store_8(out, 0, byte)
        out += 1
        at += width
        width = 7 if byte == 0xFF else 8
    while at < count:
        filled = max(at + width - count, 0)
        byte = load_bits(source, at) & (shift_up(1, width - filled) - 1)
        byte |= shift_up(1, width) - shift_up(1, width - filled)
        store_8(out, 0, byte)
        out += 1
        at += width
        width = 7 if byte == 0xFF else 8
    return out - 1 if width == 7 else out


@inlined
def _stuff_mel(source: int, count: int, out: int) -> tuple[int, int, int]:
    """Write MEL bits with a zero before what follows a byte FF (7.1.3); returns their end, the last byte, and bits it lacks."""
    at, width = 0, 8
    while True:
        byte = shift_down(
            (load_u8(source, at >> 3) << 8) | load_u8(source, (at >> 3) + 1), 16 - width - (at & 7)
        )
        byte &= shift_up(1, width) - 1
        if at + width > count:
            lacking = at + width - count
            return out, shift_up(shift_down(byte, lacking), lacking), lacking
        store_8(out, 0, byte)
        out += 1
        at += width
        width = 7 if byte == 0xFF else 8


@inlined
def _stuff_vlc(source: int, count: int, end: int) -> tuple[int, int, int]:
    """Write VLC bits downwards from ``end`` (7.1.4), seven in a byte where that is 7F and the one before is above 8F.

    Returns
    -------
    tuple of int
        Where the bytes begin, the last byte, which is not whole, and its bits.
    """
    at, above = 0, True
    while True:
        left = count - at
        if left >= 64:
            word = load_bits(source, at) & _SEVEN_BYTES
            # No byte of 7F or FF.
            if ((word & 0x7F7F7F7F7F7F7F) + 0x01010101010101) & 0x80808080808080 == 0:
                end -= 7
                store_word(end - 1, word)
                at += 56
                above = shift_down(word, 48) > 0x8F
                continue
        width = min(left, 8)
        byte = load_bits(source, at) & (shift_up(1, width) - 1)
        if above and left >= 7 and byte & 0x7F == 0x7F:
            byte, width = 0x7F, 7
        elif left < 8:
            return end, byte, left
        end -= 1
        store_8(end, 0, byte)
        at += width
        above = byte > 0x8F


@jit("int64(int64, int64, int64, int64, int64)", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def finish(bits: int, magsgn: int, mel: int, vlc: int, out: int) -> int:
    """Write a cleanup segment; returns its end.

    Parameters
    ----------
    bits
        Where bits were collected.
    magsgn, mel, vlc
        How many of each.
    out
        Where to write: `block_room`.
    """
    start = out = _stuff_magsgn(bits + MAGSGN, magsgn, out)
    out, mel_byte, lacking = _stuff_mel(bits + MEL, mel, out)
    last = bits + BACK + _BACK_SIZE - 16
    first, vlc_byte, used = _stuff_vlc(bits + VLC, vlc, last)
    # One byte serves both, if either's bits are what the other may have where it has none.
    mel_mask, vlc_mask = 0xFF ^ (shift_up(1, lacking) - 1), shift_up(1, used) - 1
    if mel_mask | vlc_mask:
        fused = mel_byte | vlc_byte
        clash = ((fused ^ mel_byte) & mel_mask) | ((fused ^ vlc_byte) & vlc_mask)
        if clash == 0 and fused != 0xFF and last > first:
            mel_byte = fused
        else:
            first -= 1
            store_8(first, 0, vlc_byte)
        store_8(out, 0, mel_byte)
        out += 1
    copy_bytes(out, first, last - first)
    out += last - first + 1
    # The suffix's length takes the place of the last 12 bits (7.1.1).
    suffix = out - start
    store_8(out - 1, 0, suffix >> 4)
    store_8(out - 2, 0, (load_u8(out - 2, 0) & 0xF0) | (suffix & 15))
    return out
