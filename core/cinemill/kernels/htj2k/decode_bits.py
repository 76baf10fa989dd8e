"""The three bit-streams of a code-block (T.814 7.1), without the bits that are stuffed in: MagSgn, VLC and MEL.

MagSgn and VLC are unstuffed as a whole, seven bytes a step wherever none of them needs a stuffed bit. MEL is decoded to events, a bit each.

Bounds
------
`unstuff` reads the bytes of the code-block only, and writes at most as many as it reads and 8 more, which is less than MAGSGN_SIZE
and VLC_SIZE. `more_events` reads MEL's bytes, and 8 at once where there are more than 8; of events there are at most 31 more than
were wanted.
"""

from __future__ import annotations

from typing import Any

from cinemill.kernels.htj2k.decode_tables import EVENT
from cinemill.kernels.machine.bits import (
    load_bits,
    load_i64,
    load_u8,
    load_u32,
    load_word,
    shift_down,
    shift_up,
    store_8,
    store_64,
    trailing_zeros,
)
from cinemill.kernels.machine.jit import inlined, jit

MAGSGN, MAGSGN_SIZE = 0, 1 << 14
"""Where MagSgn bits are in the memory of a code-block, and how many bytes there are."""
VLC, VLC_SIZE = MAGSGN + MAGSGN_SIZE, 4096 + 64
EVENTS, EVENTS_SIZE = VLC + VLC_SIZE, 320
STREAMS_SIZE = EVENTS + EVENTS_SIZE

_SEVEN_BYTES = 0x00FFFFFFFFFFFFFF
_LOW_BITS = 0x007F7F7F7F7F7F7F
_HIGH_BITS = 0x0080808080808080
_MOST_SUFFIX = 4079
"""Bytes of MEL and VLC (7.1.1)."""

SOUND, DAMAGED, UNUSUAL, BEYOND = range(4)
"""What became of code-blocks: decoded; they can't be right; they may be, but no encoder known writes such; they don't fit 16-bit lanes."""

MAGSGN_BITS, VLC_BITS, SUFFIX = range(3)
"""What `unstuff` found: bits of MagSgn and of VLC, and bytes of MEL and VLC."""


@inlined
def _bytes_ff(word: int) -> int:
    """Tell (as non-zero) whether one of seven bytes is FF; the lowest bit set is that of the first one."""
    inverted = ~word
    return (inverted - 0x01010101010101) & word & _HIGH_BITS


@jit("int64(int64, int64, int64)")
def _unstuff_magsgn(source: int, count: int, out: int) -> int:
    """Write MagSgn bits, and ones behind them (7.1.3); return how many with the first eight ones, or -1 if a stuffed bit is set."""
    end, start = source + count, out
    held, bits, full = 0, 0, 0
    while source + 8 <= end:
        word = load_i64(source, 0) & _SEVEN_BYTES
        stuffed = _bytes_ff(word)
        whole = 7
        if stuffed:
            whole = (trailing_zeros(stuffed) >> 3) + 1
            word &= shift_up(1, 8 * whole) - 1
        held |= shift_up(word, bits)
        store_64(out, 0, held)
        out += whole
        source += whole
        held = shift_down(held, 8 * whole)
        if stuffed:
            byte = load_u8(source, 0)
            source += 1
            if byte > 0x7F:
                return -1
            held |= shift_up(byte, bits)
            bits += 7
            store_64(out, 0, held)
            out += bits >> 3
            held = shift_down(held, bits & 8)
            bits &= 7
    while source < end:
        byte = load_u8(source, 0)
        if full and byte > 0x7F:
            return -1
        held |= shift_up(byte, bits)
        bits += 8 - full
        full = 1 if byte == 0xFF else 0
        source += 1
        if bits >= 8:
            store_64(out, 0, held)
            out += 1
            held = shift_down(held, 8)
            bits -= 8
    store_64(out, 0, held | shift_up(-1, bits))
    store_64(out, 1, -1)
    return 8 * (out - start) + bits + 8 - full


@jit("int64(int64, int64, int64)")
def _unstuff_vlc(last: int, first: int, out: int) -> int:
    """Write VLC bits from the byte at ``last`` down to the one at ``first``, and zeros behind (7.1.4).

    Return how many, or -1 if a stuffed bit is set, which makes a marker code.
    """
    start = out
    held, bits = load_u8(last, 0) >> 4, 4
    big = 1 if held > 8 else 0  # whether the byte before is beyond 8F
    if held & 7 == 7:
        held, bits = 7, 3
    source = last - 1
    while source >= first:
        if source - 7 >= first:
            word = load_word(source - 7) & _SEVEN_BYTES
            low = word & _LOW_BITS
            large = (low + 0x70707070707070) & word & _HIGH_BITS
            stuffed = (low + 0x01010101010101) & (shift_up(large, 8) | shift_up(big, 7)) & _HIGH_BITS
            whole = 7 if stuffed == 0 else trailing_zeros(stuffed) >> 3
            word &= shift_up(1, 8 * whole) - 1
            held |= shift_up(word, bits)
            if stuffed == 0:
                store_64(out, 0, held)
                out += 7
                held = shift_down(held, 56)
                source -= 7
                big = shift_down(large, 55)
                continue
            if load_u8(source - whole, 0) > 0x7F:
                return -1
            held |= shift_up(0x7F, bits + 8 * whole)
            bits += 8 * whole + 7
            store_64(out, 0, held)
            out += bits >> 3
            held = shift_down(held, bits & 0x78)
            bits &= 7
            source -= whole + 1
            big = 0
            continue
        byte = load_u8(source, 0)
        source -= 1
        if big and byte == 0xFF:
            return -1
        width = 7 if big and byte == 0x7F else 8
        held |= shift_up(byte & (shift_up(1, width) - 1), bits)
        bits += width
        big = 1 if byte > 0x8F else 0
        if bits >= 8:
            store_64(out, 0, held)
            out += 1
            held = shift_down(held, 8)
            bits -= 8
    store_64(out, 0, held)
    store_64(out, 1, 0)
    return 8 * (out - start) + bits


@jit("int64(int64, int64, int64, int64[::1])")
def unstuff(start: int, length: int, memory: int, sizes: Any) -> int:
    """Unstuff the MagSgn and VLC bits of a code-block.

    Parameters
    ----------
    start, length
        Its bytes.
    memory
        Receives the bits.
    sizes
        Receives how many.

    Returns
    -------
    int
        `SOUND`, `DAMAGED`, or `UNUSUAL` if there is more than any lossless code-block has, or nothing.
    """
    if length < 2:
        return DAMAGED if length else UNUSUAL
    end = start + length
    suffix = shift_up(load_u8(end - 1, 0), 4) | (load_u8(end - 2, 0) & 15)
    if not 2 <= suffix <= min(length, _MOST_SUFFIX):
        return DAMAGED
    if length - suffix > MAGSGN_SIZE - 64:
        return UNUSUAL
    sizes[MAGSGN_BITS] = _unstuff_magsgn(start, length - suffix, memory + MAGSGN)
    sizes[VLC_BITS] = _unstuff_vlc(end - 2, end - suffix, memory + VLC)
    sizes[SUFFIX] = suffix
    return DAMAGED if min(sizes[MAGSGN_BITS], sizes[VLC_BITS]) < 0 else SOUND


NEXT, END, HELD, BITS, FULL, STATE, DECODED = range(7)
"""Of a MEL decoder: the addresses of the next byte and of the end, bits that were read and how many are left, whether the last byte
was FF, the state, and how many events were decoded."""
MEL_SIZE = 8


@inlined
def start_mel(memory: int, mel: Any, start: int, end: int) -> None:
    """Begin with no events; ``end`` is the last byte but one, whose lower half is not MEL's (7.1.2)."""
    mel[NEXT], mel[END] = start, end
    mel[HELD], mel[BITS], mel[FULL], mel[STATE], mel[DECODED] = 0, 0, 0, 0, 0
    for at in range(EVENTS_SIZE // 8):
        store_64(memory + EVENTS, at, 0)


@jit("void(int64, int64[::1], int64, int64)")
def more_events(events: int, mel: Any, wanted: int, table: int) -> None:
    """Decode MEL code words until there are ``wanted`` events (7.3.3)."""
    at, end, held, bits, full = mel[NEXT], mel[END], mel[HELD], mel[BITS], mel[FULL]
    state, count = mel[STATE], mel[DECODED]
    while count < wanted:
        if bits < 6:
            if at + 8 < end and full == 0 and _bytes_ff(load_i64(at, 0) & 0xFFFFFFFFFFFF) == 0:
                held = shift_up(held, 48) | shift_down(load_word(at), 16)
                bits += 48
                at += 6
            else:
                while bits < 6:
                    byte = 0xFF
                    if at < end:
                        byte = load_u8(at, 0)
                        if at == end - 1:
                            byte |= 15
                    at += 1
                    held = shift_up(held, 8 - full) | byte
                    bits += 8 - full
                    full = 1 if byte == 0xFF else 0
        entry = load_u32(table, state | (shift_down(held, bits - 6) & 63))
        bits -= entry & 63
        count += shift_down(entry, 8) & 255
        where = events + ((count - 1) >> 3)
        store_8(where, 0, load_u8(where, 0) | shift_up(shift_down(entry, 16) & 1, (count - 1) & 7))
        state = shift_down(entry, 14) & 0x3C0
    mel[NEXT], mel[HELD], mel[BITS], mel[FULL] = at, held, bits, full
    mel[STATE], mel[DECODED] = state, count


@inlined
def next_events(memory: int, mel: Any, position: int, table: int) -> int:
    """Return the 48 events from a position on, the first one in bit EVENT, and a one as bit 63."""
    if mel[DECODED] < position + 48:
        more_events(memory + EVENTS, mel, position + 48 + 80, table)
    return shift_up(load_bits(memory + EVENTS, position) & 0xFFFFFFFFFFFF, EVENT) | shift_up(1, 63)
