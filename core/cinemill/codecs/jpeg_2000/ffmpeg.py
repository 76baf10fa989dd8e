"""JPEG 2000 Part 1 by FFmpeg's own decoder, where PyAV is installed: an arbiter that shares no code with the others."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from cinemill.codecs.jpeg_2000.openjpeg import check_codestream
from cinemill.errors import CodecError, UnsupportedPixelFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.codecs.jpeg_2000.markers import MainHeader
    from cinemill.pixel_format import Buffer, PixelFormat, Samples

_DEPTHS = {"gray": 8, "rgb24": 8, "gray16le": 16, "rgb48le": 16}
"""Bits of a sample by FFmpeg's pixel format."""

_MARGIN = 128
"""Rows and columns that FFmpeg adds to a picture in memory."""


def available() -> bool:
    """Whether PyAV is installed: the extra ``video`` brings it."""
    return find_spec("av") is not None


class Ffmpeg:
    """FFmpeg's JPEG 2000 decoder as a `cinemill.codecs.codec.Codec`: exact for the reversible wavelet."""

    name = "ffmpeg"
    batch = 1
    tolerant = False

    def __init__(self) -> None:
        import av

        self.version: str = ".".join(map(str, av.library_versions["libavcodec"]))

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames as `OpenJpeg.decode` does.

        Raises
        ------
        CodecError
            A codestream is damaged, or its geometry is not that of ``pixels``.
        UnsupportedPixelFormat
            FFmpeg has another idea of its samples.
        """
        return [
            _decode(*check_codestream(data, pixels, frame, tolerant=self.tolerant), pixels, frame)
            for frame, data in enumerate(codestreams)
        ]


def _decode(codestream: Buffer, header: MainHeader, pixels: PixelFormat, frame: int) -> Samples:
    import av

    context = av.CodecContext.create("jpeg2000", "r")
    most = (header.rows + _MARGIN) * (header.columns + _MARGIN)
    context.options = {"max_pixels": str(most), "threads": "1"}
    try:
        images = [*context.decode(av.Packet(bytes(codestream))), *context.decode(None)]
    except av.FFmpegError as error:
        raise CodecError(f"FFmpeg: {error}", frame=frame) from None
    image = images[0] if images else None
    if not isinstance(image, av.VideoFrame) or image.format.name not in _DEPTHS:
        raise UnsupportedPixelFormat("FFmpeg reads other samples than grey or RGB", frame=frame)
    scaled = image.to_ndarray()
    if scaled.shape != pixels.shape:
        raise CodecError(f"FFmpeg: expected an array of {pixels.shape}, found {scaled.shape}", frame=frame)
    samples = scaled.astype(np.int64) >> _DEPTHS[image.format.name] - header.precision
    if header.signed:  # FFmpeg shifts signed samples to unsigned ones
        samples -= 1 << header.precision - 1
    modulus = 1 << header.precision
    samples %= modulus
    if pixels.signed:
        samples -= modulus * (samples >= modulus // 2)
    return samples.astype(pixels.dtype)
