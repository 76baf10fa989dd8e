"""JPEG with DCT (baseline, extended, progressive; 8 and 12 bit) and JPEG Lossless, by libjpeg-turbo in imagecodecs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

from cinemill.codecs.jpeg.scans import check_entropy_data
from cinemill.errors import CodecError, UnsupportedPixelFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.pixel_format import Buffer, PixelFormat, Samples

_JCS_GREY, _JCS_YCBCR = "GRAYSCALE", "YCBCR"


class LibjpegTurbo:
    """libjpeg-turbo as a `cinemill.codecs.codec.Codec`.

    Colour comes out as it is coded: subsampled chrominance is interpolated, nothing is converted. The inverse
    DCT is libjpeg's slow integer one. libjpeg conceals damage, which is therefore looked for before.
    """

    name = "libjpeg-turbo"
    version: str = imagecodecs.jpeg8_version().rpartition(" ")[2]
    batch = 1

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames to arrays of ``pixels.shape`` and ``pixels.dtype``.

        ``pixels.bits_stored`` is the codestream's precision; signed samples are its two's complement.

        Raises
        ------
        CodecError
            A codestream is damaged, or its geometry is not that of ``pixels``.
        UnsupportedPixelFormat
            A codestream uses arithmetic coding, the hierarchical mode, or a DNL marker.
        """
        return [self._decode(data, pixels, frame) for frame, data in enumerate(codestreams)]

    def _decode(self, data: Buffer, pixels: PixelFormat, frame: int) -> Samples:
        try:
            check_entropy_data(data)
        except (CodecError, UnsupportedPixelFormat) as error:
            raise error.locate(frame=frame) from None
        return _decoded(data, pixels, frame)


class LibjpegTurboOfSound(LibjpegTurbo):
    """The same for codestreams in which another decoder has looked for damage, so that concealing some is a dissent."""

    def _decode(self, data: Buffer, pixels: PixelFormat, frame: int) -> Samples:
        return _decoded(data, pixels, frame)


def _decoded(data: Buffer, pixels: PixelFormat, frame: int) -> Samples:
    # One colour space on both sides keeps libjpeg from converting: which one it is does not matter.
    space = _JCS_GREY if pixels.samples == 1 else _JCS_YCBCR
    try:
        samples = imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace=space)  # type: ignore[arg-type]  # takes any buffer
    except (imagecodecs.Jpeg8Error, ValueError) as error:
        raise CodecError(f"libjpeg-turbo: {error}", frame=frame) from error
    if samples.shape != pixels.shape:
        raise CodecError(
            f"expected a frame of shape {pixels.shape}, the codestream holds {samples.shape}", frame=frame
        )
    if pixels.signed:
        return sign_extended(samples, pixels)
    samples = samples.astype(pixels.dtype, copy=False)
    if (
        pixels.bits_stored < 8 * samples.itemsize
    ):  # JPEG Lossless has sums modulo 2^16, of which libjpeg keeps all
        samples &= (1 << pixels.bits_stored) - 1
    return samples


def sign_extended(samples: Samples, pixels: PixelFormat) -> Samples:
    """Read the lowest ``pixels.bits_stored`` bits of unsigned samples as two's complement."""
    shift = 8 * pixels.dtype.itemsize - pixels.bits_stored
    widened = samples.astype(np.dtype(f"u{pixels.dtype.itemsize}"), copy=False)
    return (widened << shift).view(pixels.dtype) >> shift
