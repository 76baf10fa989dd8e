"""RLE Lossless (PS3.5 Annex G) by cinemill's own kernels."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from cinemill._version import __version__
from cinemill.codecs.memory import Memory
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels import rle
from cinemill.kernels.colour import deinterleave, interleave

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cinemill.pixel_format import Buffer, PixelFormat, Samples

_HEADER = struct.Struct("<16I")
_MOST_SEGMENTS = 15
_PADDING = b"\x00\x80"


_memory = Memory()


class Rle:
    """Codec of RLE Lossless frames: 1, 8, 16 and 32 bits allocated, as many samples as fit into 15 segments.

    Frames of 1 bit allocated have a byte a pixel: a composite pixel code that fills no byte is padded with zero bits to one
    (G.2). They are also read with eight pixels packed into a byte, as some wrote them, where the size of the segment shows
    that: see `has_packed_bits`.

    Attributes
    ----------
    reads_packed_bits : bool
        Whether that form is read.
    """

    reads_packed_bits = True
    name = "cinemill-rle"
    version = __version__
    batch = 1

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames to arrays of ``pixels.shape`` and ``pixels.dtype``, interleaved by pixel.

        A segment may hold one byte too many, and any padding.

        Raises
        ------
        CodecError
            A header contradicts itself or `pixels`, or a segment holds another number of bytes.
        UnsupportedPixelFormat
            RLE can't hold such samples.
        """
        _check(pixels)
        return [
            _decode(codestream, pixels, frame, packed_bits=self.reads_packed_bits)
            for frame, codestream in enumerate(codestreams)
        ]

    def encode(self, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
        """Encode frames, each row of each byte plane by itself, into segments of even length.

        Raises
        ------
        UnsupportedPixelFormat
            RLE can't hold such samples.
        """
        _check(pixels)
        return [_encode(frame, pixels) for frame in frames]


class RleOfBytes(Rle):
    """The same, which refuses packed bits: what was written has none."""

    reads_packed_bits = False


def has_packed_bits(codestream: Buffer, pixels: PixelFormat) -> bool:
    """Whether a frame of 1 bit allocated holds eight pixels a byte, in place of one."""
    if pixels.bits_allocated != 1 or len(codestream) < _HEADER.size:
        return False
    size = pixels.rows * pixels.columns
    _, found, _ = rle.unpack(
        np.frombuffer(codestream, np.uint8), _HEADER.size, len(codestream), np.empty(size, np.uint8)
    )
    return found < size and found in _packed_sizes(size)


def _check(pixels: PixelFormat) -> None:
    most = 1 if pixels.bits_allocated == 1 else _MOST_SEGMENTS
    if pixels.bits_allocated not in {1, 8, 16, 32} or not 1 <= _segments_of(pixels) <= most:
        raise UnsupportedPixelFormat(
            "RLE Lossless holds 1, 8, 16 or 32 bits allocated in up to 15 segments, "
            f"not {pixels.samples} samples of {pixels.bits_allocated} bits"
        )


def _segments_of(pixels: PixelFormat) -> int:
    return pixels.samples * pixels.dtype.itemsize


def _decode(codestream: Buffer, pixels: PixelFormat, frame: int, *, packed_bits: bool) -> Samples:
    bounds = _segment_bounds(codestream, _segments_of(pixels), frame)
    source = np.frombuffer(codestream, np.uint8)
    shape = len(bounds) - 1, pixels.rows * pixels.columns
    planes = np.empty(shape, np.uint8) if len(bounds) == 2 else _memory.array("planes", shape, np.uint8)
    for segment, plane in enumerate(planes):
        start, end = bounds[segment], bounds[segment + 1]
        position, found, surplus = rle.unpack(source, start, end, plane)
        packed = packed_bits and pixels.bits_allocated == 1 and found in _packed_sizes(plane.size)
        if found < plane.size and packed:
            plane[:] = np.unpackbits(plane[:found], bitorder="little", count=plane.size)
        elif found < plane.size:
            raise CodecError(
                f"RLE segment {segment + 1} of {len(planes)}: expected {plane.size} bytes, found {found}",
                offset=position,
                frame=frame,
            )
        if position < end:
            surplus += _bytes_behind(source, position, end)
        if surplus > 1:
            raise CodecError(
                f"RLE segment {segment + 1} of {len(planes)}: expected {plane.size} bytes, found more",
                offset=position,
                frame=frame,
            )
    if pixels.bits_allocated == 1 and planes.max(initial=0) > 1:
        raise CodecError("a pixel of 1 bit is neither 0 nor 1", frame=frame)
    return _join_planes(planes, pixels)


def _packed_sizes(pixels: int) -> tuple[int, int]:
    """Bytes that hold so many 1-bit pixels, without and with one byte too many."""
    size = (pixels + 7) // 8
    return size, size + 1


def _segment_bounds(codestream: Buffer, expected: int, frame: int) -> list[int]:
    """Read the header (G.5) and give the offsets of the segments and of the end."""
    if len(codestream) < _HEADER.size:
        raise CodecError(f"an RLE header takes 64 bytes, found {len(codestream)}", offset=0, frame=frame)
    found, *offsets = _HEADER.unpack_from(codestream)
    if found != expected:
        raise CodecError(f"expected {expected} RLE segments, found {found}", offset=0, frame=frame)
    bounds = [*offsets[:expected], len(codestream)]
    for segment in range(expected):
        if not _HEADER.size <= bounds[segment] <= bounds[segment + 1]:
            raise CodecError(
                f"RLE segment {segment + 1} of {expected} is said to lie at {bounds[segment]}, "
                f"the next one or the end at {bounds[segment + 1]}",
                offset=4 + 4 * segment,
                frame=frame,
            )
    return bounds


def _bytes_behind(source: NDArray[np.uint8], start: int, end: int) -> int:
    """Count the bytes, up to 2, that are encoded behind the last packet needed, apart from padding."""
    end = start + len(source[start:end].tobytes().rstrip(_PADDING))
    _, found, _ = rle.unpack(source, start, end, np.empty(2, np.uint8))
    return found


def _join_planes(planes: NDArray[np.uint8], pixels: PixelFormat) -> Samples:
    """Make a frame of its byte planes, sample by sample, most significant byte first (G.2); one is the frame."""
    size = pixels.dtype.itemsize
    of_samples = planes.reshape(pixels.samples, size, -1)
    if size == 1:
        by_plane = planes.view(pixels.dtype)
    elif size == 2:
        by_plane = np.empty((pixels.samples, planes.shape[1]), pixels.dtype)
        for (high, low), samples in zip(of_samples, by_plane, strict=True):
            rle.join_bytes(high, low, samples.view(np.uint16))
    else:
        big_endian = np.ascontiguousarray(np.moveaxis(of_samples, 1, -1)).view(pixels.dtype.newbyteorder(">"))
        by_plane = big_endian.astype(pixels.dtype)
    if pixels.samples == 1:
        return by_plane.reshape(pixels.shape)
    by_plane = by_plane.reshape(pixels.samples, pixels.rows, pixels.columns)
    if pixels.samples == 3 and size <= 2:
        return interleave(by_plane)
    return np.moveaxis(by_plane, 0, -1).copy()


def _encode(frame: Samples, pixels: PixelFormat) -> bytes:
    planes = _split_planes(np.ascontiguousarray(frame), pixels)
    capacity = rle.packed_size(*planes.shape[1:])
    offsets = [0] * _MOST_SEGMENTS
    codestream = _memory.array("segments", (_HEADER.size + len(planes) * capacity,), np.uint8)
    end = _HEADER.size
    for segment, plane in enumerate(planes):
        offsets[segment] = end
        end += rle.pack(plane, codestream[end : end + capacity])
    codestream[: _HEADER.size] = np.frombuffer(_HEADER.pack(len(planes), *offsets), np.uint8)
    return codestream[:end].tobytes()


def _split_planes(frame: Samples, pixels: PixelFormat) -> NDArray[np.uint8]:
    """Cut a frame into byte planes, (segments, rows, columns), in the order of `_join_planes`."""
    size = pixels.dtype.itemsize
    if pixels.samples == 3 and size <= 2:
        shape = 3, pixels.rows, pixels.columns * size
        by_plane = deinterleave(frame, _memory.array("planes", shape, np.uint8).view(pixels.dtype))
    else:
        by_plane = np.ascontiguousarray(np.moveaxis(frame.reshape(pixels.rows, pixels.columns, -1), -1, 0))
    if size == 1:
        return by_plane.view(np.uint8)
    planes = _memory.array("bytes", (pixels.samples, size, pixels.rows, pixels.columns), np.uint8)
    if size == 2:
        for samples, (high, low) in zip(by_plane, planes, strict=True):
            rle.split_bytes(samples.reshape(-1).view(np.uint16), high.reshape(-1), low.reshape(-1))
    else:
        big_endian = by_plane.astype(pixels.dtype.newbyteorder(">"))
        planes[:] = np.moveaxis(big_endian.view(np.uint8).reshape(*by_plane.shape, size), -1, 1)
    return planes.reshape(-1, pixels.rows, pixels.columns)
