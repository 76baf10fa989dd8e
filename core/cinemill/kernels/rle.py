"""Run lengths of RLE Lossless (PS3.5 Annex G.3): one segment, which is one byte plane of a frame, at a time.

A segment is a sequence of packets. A control byte c of 0-127 announces c + 1 literal bytes, 129-255 announces
one byte to be repeated 257 - c times, and 128 stands for nothing.

Bytes are read and written at raw addresses, in vectors of 32 and 64 bytes that may reach beyond the packet.
Such an access is made only where 128 bytes are left in the buffer; elsewhere exactly the packet's bytes are
touched. So no input leads outside the arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.kernels.machine import types
from cinemill.kernels.machine.bits import address, copy_bytes, load_i64, load_u8, store_8, trailing_zeros
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.types import int64, uint8, uint16, void

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST_PACKET = 128

_BYTES = types.Array(uint8, 1, "C", readonly=True)
_PLANE = types.Array(uint8, 2, "C", readonly=True)
_EVERY_BYTE = 0x0101010101010101
_TOP_BITS = -0x7F7F7F7F7F7F7F80


@instructions
def _copy_32(target: Value, source: Value) -> None:
    source.load(8, 32).store(target)


@instructions
def _copy_96(target: Value, source: Value) -> None:
    source.load(8, 32).store(target)
    (source + 32).load(8, 64).store(target + 32)


@instructions
def _fill_64(target: Value, byte: Value) -> None:
    target.load(8, 64).like(byte).store(target)


@inlined
def _copy_packet(target: int, source: int, length: int, room: int) -> None:
    """Copy up to 128 bytes; where both addresses have room for 128, without a call of memcpy."""
    if room >= LONGEST_PACKET:
        _copy_32(target, source)
        if length > 32:
            _copy_96(target + 32, source + 32)
    else:
        copy_bytes(target, source, length)


@jit(types.UniTuple(int64, 3)(_BYTES, int64, int64, uint8[::1]))
def unpack(
    segments: NDArray[np.uint8], start: int, end: int, plane: NDArray[np.uint8]
) -> tuple[int, int, int]:
    """Decode ``segments[start:end]`` into `plane`, up to its size.

    Returns
    -------
    tuple[int, int, int]
        Where reading stopped; how many bytes of `plane` were written; how many more the last packet has.
    """
    source, target, size = address(segments), address(plane), plane.size
    end = min(end, segments.size)
    position, written, surplus = max(start, 0), 0, 0
    while written < size and position < end:
        control = load_u8(source, position)
        position += 1
        if control < 128:
            there = min(control + 1, end - position)
            length = min(there, size - written)
            _copy_packet(target + written, source + position, length, min(end - position, size - written))
            position += there
        elif control > 128:
            if position == end:
                break
            there = 257 - control
            length = min(there, size - written)
            byte = load_u8(source, position)
            position += 1
            if size - written >= LONGEST_PACKET:
                _fill_64(target + written, byte)
                if length > 64:
                    _fill_64(target + written + 64, byte)
            else:
                for index in range(length):
                    store_8(target, written + index, byte)
        else:
            continue
        written += length
        surplus = there - length
    return position, written, surplus if written == size else 0


@inlined
def _end_of_run(source: int, position: int, end: int) -> int:
    """Find where the bytes stop to be equal to the first."""
    byte = load_u8(source, position)
    pattern = byte * _EVERY_BYTE
    while position + 8 <= end:
        different = load_i64(source + position, 0) ^ pattern
        if different:
            return position + int(trailing_zeros(different) >> 3)
        position += 8
    while position < end and load_u8(source, position) == byte:
        position += 1
    return position


@inlined
def _next_run(source: int, position: int, end: int) -> int:
    """Find the next byte that is followed by two like it; else the end."""
    while position + 10 <= end:
        word = load_i64(source + position, 0)
        different = (word ^ load_i64(source + position + 1, 0)) | (word ^ load_i64(source + position + 2, 0))
        zero_bytes = (different - _EVERY_BYTE) & ~different & _TOP_BITS
        if zero_bytes:
            return position + int(trailing_zeros(zero_bytes) >> 3)
        position += 8
    while position + 2 < end:
        byte = load_u8(source, position)
        if byte == load_u8(source, position + 1) and byte == load_u8(source, position + 2):
            return position
        position += 1
    return end


def packed_size(rows: int, columns: int) -> int:
    """Return the bytes that `pack` may need for one plane.

    A row takes at most its bytes and one more for each started 128, since three or more equal bytes become
    two and pay for the next packet. One byte makes the length even; the last copy may reach 128 further.
    """
    return rows * (columns + (columns + LONGEST_PACKET - 1) // LONGEST_PACKET) + 1 + LONGEST_PACKET


@jit(int64(_PLANE, uint8[::1]))
def pack(plane: NDArray[np.uint8], segment: NDArray[np.uint8]) -> int:
    """Encode the rows of a plane, (rows, columns), one by one into `segment`, padded to an even length.

    Returns
    -------
    int
        Length of the segment; -1 if `segment` has less than `packed_size` bytes.
    """
    rows, columns = plane.shape
    if (
        segment.size
        < rows * (columns + (columns + LONGEST_PACKET - 1) // LONGEST_PACKET) + 1 + LONGEST_PACKET
    ):
        return -1
    source, target, size = address(plane), address(segment), rows * columns
    length = 0
    for row in range(rows):
        position, end = row * columns, (row + 1) * columns
        while position < end:
            run_end = _end_of_run(source, position, end)
            run = run_end - position
            literal_end = run_end if run >= 3 else _next_run(source, run_end, end)
            if run >= 2 and literal_end == run_end:
                byte = load_u8(source, position)
                position = run_end
                while run > 0:
                    packet = min(run, LONGEST_PACKET)
                    store_8(target, length, 257 - packet if packet > 1 else 0)
                    store_8(target, length + 1, byte)
                    length += 2
                    run -= packet
            else:
                while position < literal_end:
                    packet = min(literal_end - position, LONGEST_PACKET)
                    store_8(target, length, packet - 1)
                    _copy_packet(target + length + 1, source + position, packet, size - position)
                    length += packet + 1
                    position += packet
    if length & 1:
        store_8(target, length, 0)
        length += 1
    return length


@jit(void(_BYTES, _BYTES, uint16[::1]), error_model="numpy")
def join_bytes(high: NDArray[np.uint8], low: NDArray[np.uint8], samples: NDArray[np.uint16]) -> None:
    """Make 16-bit samples of their two byte planes, most significant first (G.2); all of one length."""
    for index in range(samples.size):
        samples[index] = high[index] << 8 | low[index]


@jit(void(types.Array(uint16, 1, "C", readonly=True), uint8[::1], uint8[::1]), error_model="numpy")
def split_bytes(samples: NDArray[np.uint16], high: NDArray[np.uint8], low: NDArray[np.uint8]) -> None:
    """Cut 16-bit samples into their two byte planes; all of one length."""
    for index in range(samples.size):
        high[index] = samples[index] >> 8
        low[index] = samples[index] & 255
