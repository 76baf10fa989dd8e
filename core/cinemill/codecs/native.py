"""Uncompressed samples: native frames, and those that two encapsulated syntaxes merely wrap (PS3.5 §8.1, §A.4.11)."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from cinemill._version import __version__
from cinemill.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.pixel_format import Buffer, PixelFormat, Samples


class Native:
    """Little endian samples as an `cinemill.codecs.codec.Encoder`.

    Colour by plane becomes colour by pixel, bits become bytes, and YBR_FULL_422 gets a chrominance sample for
    each pixel; on encoding, bits are packed and everything else stays as it is.
    """

    name = "native"
    version = __version__
    batch = 1

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames to arrays of ``pixels.shape`` and ``pixels.dtype``; YBR_FULL_422 becomes YBR_FULL.

        Raises
        ------
        CodecError
            A frame is shorter than its samples.
        """
        return [_decode(data, pixels, frame) for frame, data in enumerate(codestreams)]

    def encode(self, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
        """Return the bytes of arrays of ``pixels.shape`` and ``pixels.dtype``."""
        if pixels.bits_allocated == 1:
            return [np.packbits(frame, bitorder="little").tobytes() for frame in frames]
        little_endian = pixels.dtype.newbyteorder("<")
        return [frame.astype(little_endian, copy=False).tobytes() for frame in frames]


class DeflatedFrame:
    """Deflated Image Frame Compression: each frame is one raw deflate stream (RFC 1951) of native samples."""

    name = "zlib"
    version = zlib.ZLIB_RUNTIME_VERSION
    batch = 1

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Inflate and decode frames; see `Native.decode`."""
        inflated = (_inflate(data, pixels.nbytes + 64, frame) for frame, data in enumerate(codestreams))
        return [_decode(data, pixels, frame) for frame, data in enumerate(inflated)]


def _decode(data: Buffer, pixels: PixelFormat, frame: int) -> Samples:
    if pixels.bits_allocated == 1:
        size = pixels.rows * pixels.columns * pixels.samples
        bits = np.unpackbits(
            np.frombuffer(_exactly(data, (size + 7) // 8, frame), np.uint8), bitorder="little"
        )
        return bits[:size].reshape(pixels.shape)
    if pixels.photometric_interpretation == "YBR_FULL_422":
        return _decode_422(data, pixels, frame)
    samples = np.frombuffer(_exactly(data, pixels.nbytes, frame), pixels.dtype.newbyteorder("<"))
    samples = np.require(samples, pixels.dtype, ["ALIGNED"])  # an element of odd length may stand before them
    if pixels.samples == 3 and pixels.planar_configuration:
        return _interleave(samples.reshape(3, pixels.rows, pixels.columns))
    return samples.reshape(pixels.shape)


def _decode_422(data: Buffer, pixels: PixelFormat, frame: int) -> Samples:
    from cinemill.kernels.colour import ybr_422_to_ybr_full

    wanted = pixels.rows * ((pixels.columns + 1) // 2) * 4
    packed = np.frombuffer(_exactly(data, wanted, frame), np.uint8)
    return ybr_422_to_ybr_full(packed, pixels.rows, pixels.columns).view(pixels.dtype)


def _interleave(planes: Samples) -> Samples:
    if planes.dtype.itemsize > 2:
        return np.ascontiguousarray(np.moveaxis(planes, 0, -1))
    from cinemill.kernels.colour import interleave

    return interleave(planes)


def _exactly(data: Buffer, size: int, frame: int) -> memoryview:
    if not size <= len(data) <= size + 1:
        raise CodecError(f"expected {size} bytes of samples, found {len(data)}", frame=frame)
    return memoryview(data)[:size]


def _inflate(data: Buffer, most: int, frame: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        samples = inflater.decompress(data, most)
    except zlib.error as error:
        raise CodecError(f"the deflated frame can't be inflated: {error}", frame=frame) from None
    if len(samples) == most:
        raise CodecError(f"expected less than {most} bytes of samples, found more", frame=frame)
    if not inflater.eof:
        raise CodecError("the deflated frame ends too early", offset=len(data), frame=frame)
    return samples
