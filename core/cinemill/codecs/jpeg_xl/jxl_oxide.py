"""JPEG XL by jxl-oxide, a decoder in Rust that shares no code with libjxl, where micro-reader-codecs is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.codecs.jpeg.libjpeg_turbo import sign_extended
from cinemill.codecs.jpeg_xl.boxes import bare_codestream
from cinemill.codecs.jpeg_xl.libjxl import check_geometry
from cinemill.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.pixel_format import Buffer, PixelFormat, Samples

_PACKAGE = "micro_reader_codecs"


class JxlOxide:
    """jxl-oxide as a `cinemill.codecs.codec.Codec`, for lossless codestreams.

    Its samples fill 8 or 16 bits whatever the precision is, which is taken back here.
    """

    name = "jxl-oxide"
    batch = 1

    def __init__(self) -> None:
        from importlib.metadata import version

        self.version = f"(micro-reader-codecs {version(_PACKAGE)})"

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames to arrays of ``pixels.shape`` and ``pixels.dtype``.

        Raises
        ------
        CodecError
            A codestream is damaged, or its geometry is not that of ``pixels``.
        """
        return [_decode(data, pixels, frame) for frame, data in enumerate(codestreams)]


def _decode(data: Buffer, pixels: PixelFormat, frame: int) -> Samples:
    import micro_reader_codecs

    check_geometry(data, pixels, frame)
    wide = np.zeros(pixels.shape, np.uint8 if pixels.bits_stored <= 8 else np.uint16)
    try:
        *_, precision = micro_reader_codecs.jxl_decode_into(
            bytes(bare_codestream(data)), wide.reshape(-1).view(np.uint8)
        )
    except (ValueError, RuntimeError) as error:
        raise CodecError(f"jxl-oxide: {error}", frame=frame) from error
    if precision != pixels.bits_stored:
        raise CodecError(f"expected {pixels.bits_stored} bits, the codestream has {precision}", frame=frame)
    most, full = (1 << precision) - 1, (1 << 8 * wide.itemsize) - 1
    samples = wide
    if most != full:
        samples = ((wide.astype(np.uint32) * most + full // 2) // full).astype(wide.dtype)
    return sign_extended(samples, pixels) if pixels.signed else samples.astype(pixels.dtype, copy=False)
