"""Entropy-coded data of JPEG as they lie in a codestream: stuffed zeros, markers and offsets (ITU-T T.81 B.1.1.5); their bits."""

from __future__ import annotations

from typing import NamedTuple

from cinemill.kernels.machine.bits import (
    load_u8,
    load_word,
    shift_down,
    shift_up,
    store_8,
    trailing_zeros,
)
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined

_AT_ONCE = 32


@instructions
def _copy(source: Value, target: Value) -> Value:
    """Copy 32 bytes; tell by a bit for each which are 0xFF."""
    data = source.load(8, _AT_ONCE)
    data.store(target)
    return data.equals(0xFF).packed()


@inlined
def copy_unstuffed(source: int, start: int, end: int, target: int) -> tuple[int, int]:
    """Copy entropy-coded data up to a marker without the zeros after 0xFF; return its end and the size.

    The target has room for as many bytes as there are from start to end.
    """
    position, size = start, 0
    while position < end:
        if position + _AT_ONCE <= end:
            ff = _copy(source + position, target + size)
            ordinary = trailing_zeros(ff) if ff else _AT_ONCE
            position += ordinary
            size += ordinary
            if ff == 0:
                continue
        byte = load_u8(source, position)
        if byte == 0xFF:
            if position + 1 >= end or load_u8(source, position + 1) != 0:
                break
            position += 1
        store_8(target, size, byte)
        position += 1
        size += 1
    return position, size


@inlined
def stuffed_offset(source: int, start: int, end: int, size: int) -> int:
    """Find the offset at which so many bytes, not counting stuffed zeros, have been read."""
    position = start
    for _ in range(size):
        if position < end and load_u8(source, position) == 0xFF:
            position += 1
        position += 1
    return min(position, end)


@inlined
def word_at(data: int, bit: int) -> int:
    """Load the next 57 bits or more."""
    return shift_up(load_word(data + (bit >> 3)), bit & 7)


class Reader(NamedTuple):
    """The next bits: ``valid`` of them in a word, from the top, and more from an address on, which are loaded beforehand."""

    word: int
    valid: int
    source: int
    following: int


@inlined
def reader_at(data: int, bit: int) -> Reader:
    """Begin to read at a bit."""
    source = data + (bit >> 3) + 7
    return Reader(word_at(data, bit), 56 - (bit & 7), source, load_word(source))


@inlined
def refilled(reader: Reader) -> Reader:
    """Fill the word up to 56 bits or more."""
    word = reader.word | shift_down(reader.following, reader.valid)
    source = reader.source + ((63 - reader.valid) >> 3)
    return Reader(word, reader.valid | 56, source, load_word(source))


@inlined
def position_of(reader: Reader, data: int) -> int:
    """Return the number of the next bit."""
    return 8 * (reader.source - data) - reader.valid
