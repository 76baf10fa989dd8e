"""RLE Lossless (PS3.5 Annex G) by cinemill's own kernels."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

import cinemill
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels import rle
from cinemill.kernels.colour import deinterleave, interleave

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cinemill.model import Buffer, PixelFormat, Samples

_HEADER = struct.Struct("<16I")
_MOST_SEGMENTS = 15
_PADDING = b"\x00\x80"


class Rle:
    """Codec of RLE Lossless frames: 1, 8, 16 and 32 bits allocated, as many samples as fit into 15 segments.

    Frames of 1 bit allocated are written with their pixels packed into bytes (PS3.5 8.1.1) before they are encoded.
    They are read from that form, and from the other one in use: a byte a pixel.
    """

    name = "cinemill-rle"
    version = cinemill.__version__
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
        return [_decode(codestream, pixels, frame) for frame, codestream in enumerate(codestreams)]

    def encode(self, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
        """Encode frames, each row of each byte plane by itself, into segments of even length.

        Raises
        ------
        UnsupportedPixelFormat
            RLE can't hold such samples.
        """
        _check(pixels)
        return [_encode(frame, pixels) for frame in frames]


def _check(pixels: PixelFormat) -> None:
    if pixels.bits_allocated not in {1, 8, 16, 32} or not 1 <= _segments(pixels) <= _MOST_SEGMENTS:
        raise UnsupportedPixelFormat(
            "RLE Lossless holds 1, 8, 16 or 32 bits allocated in up to 15 segments, "
            f"not {pixels.samples} samples of {pixels.bits_allocated} bits"
        )


def _segments(pixels: PixelFormat) -> int:
    return pixels.samples * pixels.dtype.itemsize


def _decode(codestream: Buffer, pixels: PixelFormat, frame: int) -> Samples:
    bounds = _segment_bounds(codestream, _segments(pixels), frame)
    source = np.frombuffer(codestream, np.uint8)
    planes = np.empty((len(bounds) - 1, pixels.rows * pixels.columns), np.uint8)
    for segment, plane in enumerate(planes):
        start, end = bounds[segment], bounds[segment + 1]
        position, found, surplus = rle.unpack(source, start, end, plane)
        if found < plane.size and pixels.bits_allocated == 1 and found in _packed_sizes(plane.size):
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
    if len(planes) == 1:
        return planes.view(pixels.dtype).reshape(pixels.shape)
    if len(planes) == 3 and pixels.samples == 3:
        return interleave(planes.reshape(3, pixels.rows, pixels.columns)).view(pixels.dtype)
    frame = np.empty(pixels.shape, pixels.dtype)
    if len(planes) == 2 and pixels.samples == 1:
        rle.join_bytes(planes[0], planes[1], frame.view(np.uint16).reshape(-1))
        return frame
    for plane, place in zip(planes, _byte_places(frame, pixels), strict=True):
        place[:] = plane
    return frame


def _encode(frame: Samples, pixels: PixelFormat) -> bytes:
    if pixels.bits_allocated == 1:
        planes = _packed_plane(frame)
    else:
        planes = _split_planes(np.ascontiguousarray(frame), pixels)
    capacity = rle.packed_size(*planes.shape[1:])
    offsets = [0] * _MOST_SEGMENTS
    codestream = np.empty(_HEADER.size + len(planes) * capacity, np.uint8)
    end = _HEADER.size
    for segment, plane in enumerate(planes):
        offsets[segment] = end
        end += rle.pack(plane, codestream[end : end + capacity])
    return _HEADER.pack(len(planes), *offsets) + codestream[_HEADER.size : end].tobytes()


def _packed_plane(frame: Samples) -> NDArray[np.uint8]:
    """Pack bits into bytes, lowest first; rows that don't end with a byte are coded as one."""
    packed = np.packbits(frame, bitorder="little")
    rows, columns = frame.shape
    return packed.reshape((1, rows, columns // 8) if columns % 8 == 0 else (1, 1, -1))


def _split_planes(frame: Samples, pixels: PixelFormat) -> NDArray[np.uint8]:
    shape = _segments(pixels), pixels.rows, pixels.columns
    if shape[0] == 1:
        return frame.view(np.uint8).reshape(shape)
    if shape[0] == 3 and pixels.samples == 3:
        return deinterleave(frame.view(np.uint8))
    planes = np.empty(shape, np.uint8)
    if shape[0] == 2 and pixels.samples == 1:
        rle.split_bytes(frame.view(np.uint16).reshape(-1), planes[0].reshape(-1), planes[1].reshape(-1))
        return planes
    for plane, place in zip(planes, _byte_places(frame, pixels), strict=True):
        plane.reshape(-1)[:] = place
    return planes


def _byte_places(frame: NDArray[Any], pixels: PixelFormat) -> list[NDArray[np.uint8]]:
    """View a frame's bytes as planes in segment order: sample by sample, most significant byte first."""
    size = pixels.dtype.itemsize
    by_pixel = (
        frame.astype(frame.dtype.newbyteorder("<"), copy=False)
        .view(np.uint8)
        .reshape(-1, pixels.samples, size)
    )
    return [by_pixel[:, sample, byte] for sample in range(pixels.samples) for byte in reversed(range(size))]
