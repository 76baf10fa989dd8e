"""Entropy-coded segments of JPEG-LS as plain bits: removing and inserting the stuffed zero bits (T.87 9.1, A.1).

After a byte 0xFF the next byte's top bit is a stuffed 0, so that no marker (0xFF, then 0x80 or more) can appear inside.
The coders work on plain bits, most significant first, and these two passes run over them eight bytes at a time where no byte is 0xFF.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cinemill.kernels.machine.bits import (
    has_byte_ff,
    load_u8,
    load_word,
    shift_down,
    shift_up,
    store_8,
    store_64,
    store_word,
)
from cinemill.kernels.machine.jit import jit

PADDING = 128
"""Zero bytes behind the plain bits, for decoders that look ahead or run past the end before they notice."""


@jit("UniTuple(int64, 2)(int64, int64, int64)", error_model="numpy")
def unstuff(source: int, end: int, target: int) -> tuple[int, int]:
    """Copy an entropy-coded segment without its stuffed bits, up to the next marker.

    Reads ``end`` bytes at ``source`` and nothing else; writes at most ``end + 8 + PADDING`` bytes at
    ``target``: a byte read never yields more than a byte, and the last of them is followed by the padding.

    Returns
    -------
    length
        Position of the marker's 0xFF; ``end``, or the last byte if that is 0xFF, when there is no marker.
    bits
        Number of plain bits.
    """
    position = 0
    out = target
    pending, held = 0, 0  # the last `held` (0 to 7) bits wait in `pending` for a whole byte
    after_ff = 0
    while position < end:
        if after_ff == 0 and position + 8 <= end:
            word = load_word(source + position)
            if has_byte_ff(word) == 0:
                store_word(out, shift_up(shift_up(pending, 63 - held), 1) | shift_down(word, held))
                pending = word & (shift_up(1, held) - 1)
                position += 8
                out += 8
                continue
        byte = load_u8(source, position)
        if byte == 0xFF and (position + 1 == end or load_u8(source, position + 1) >= 0x80):
            break
        width = 8 - after_ff
        pending = shift_up(pending, width) | byte
        held += width
        if held >= 8:
            held -= 8
            store_8(out, 0, shift_down(pending, held))
            out += 1
            pending &= shift_up(1, held) - 1
        after_ff = 1 if byte == 0xFF else 0
        position += 1
    store_8(out, 0, shift_up(pending, 8 - held))
    for offset in range(0, PADDING, 8):
        store_64(out + 1 + offset, 0, 0)
    return position, 8 * (out - target) + held


@jit("int64(int64, int64, int64)", error_model="numpy")
def stuff(source: int, bits: int, target: int) -> int:
    """Write an entropy-coded segment: ``bits`` plain bits, filled up to a byte, with stuffed bits after each 0xFF.

    Reads up to 8 bytes past the last bit and writes at most ``ceil(bits / 7) + 8`` bytes at ``target``.

    Returns
    -------
    int
        Address behind the last byte written.
    """
    position = source
    end = source + ((bits + 7) >> 3)
    unused = 8 * (end - source) - bits
    out = target
    pending, held = 0, 0
    after_ff = 0
    while position < end:
        if after_ff == 0 and position + 8 <= end:
            word = load_word(position)
            shifted = shift_up(shift_up(pending, 63 - held), 1) | shift_down(word, held)
            if has_byte_ff(shifted) == 0:
                store_word(out, shifted)
                pending = word & (shift_up(1, held) - 1)
                position += 8
                out += 8
                continue
        pending = shift_up(pending, 8) | load_u8(position, 0)
        held += 8
        position += 1
        while held >= 8 - after_ff:
            held -= 8 - after_ff
            byte = shift_down(pending, held)
            store_8(out, 0, byte)
            out += 1
            pending &= shift_up(1, held) - 1
            after_ff = 1 if byte == 0xFF else 0
    held -= unused
    if held > 0 or after_ff:
        byte = shift_up(shift_down(pending, unused), 8 - after_ff - held)
        store_8(out, 0, byte)
        out += 1
    return out


def stuffed(plain: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Return the entropy-coded segment of so many plain bits."""
    segment = np.empty(bits // 7 + 16, np.uint8)
    end = stuff(plain.ctypes.data, bits, segment.ctypes.data)
    return segment[: end - segment.ctypes.data]
