"""HTJ2K (JPEG 2000 Part 15), lossless encoding by OpenJPH, through imagecodecs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import imagecodecs

from cinemill.codecs.jpeg_2000.markers import with_precision
from cinemill.codecs.jpeg_2000.openjpeg import (
    OpenJpeg,
    check_encodable,
    check_values,
    takes_colour_transform,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.pixel_format import Buffer, PixelFormat, Samples


class OpenJph:
    """OpenJPH as an `cinemill.codecs.codec.Encoder`: reversible 5-3 wavelet, RPCL with TLM markers, RCT for RGB.

    The codestreams are those of HTJ2K Lossless RPCL (PS3.5 §A.4.8), which HTJ2K Lossless holds as well. OpenJPH codes the
    8 or 16 bits of an array; SIZ is made to say Bits Stored, after samples were moved to where that is the truth.
    """

    name = "openjph"
    version: str = imagecodecs.htj2k_version().rpartition(" ")[2]
    batch = 1

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames with OpenJPEG."""
        return OpenJpeg().decode(codestreams, pixels)

    def encode(self, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
        """Encode arrays of ``pixels.shape`` and ``pixels.dtype``: 1 or 3 samples of 1 to 16 bits.

        Raises
        ------
        UnsupportedPixelFormat
            Other samples than these, or values beyond ``bits_stored``.
        """
        check_encodable(pixels)
        return [_encode(frame, pixels) for frame in frames]


def _encode(frame: Samples, pixels: PixelFormat) -> bytes:
    check_values(frame, pixels)
    if pixels.bits_stored <= 8:
        frame = frame.astype(f"{frame.dtype.kind}1", copy=False)
    codestream = imagecodecs.htj2k_encode(
        _centred(frame, pixels.bits_stored),
        reversible=True,
        rgb=takes_colour_transform(pixels),
        planar=False,
        tlm=True,
    )
    return with_precision(bytes(codestream), pixels.bits_stored)


def _centred(frame: Samples, bits: int) -> Samples:
    """Move unsigned samples so that what OpenJPH subtracts, half of the range of all bits, leaves what half of fewer would.

    The DC level shift (T.800 G.1) is the only part of the reversible coding that depends on the precision: exponents in QCD may
    be larger than need be.
    """
    missing = (1 << 8 * frame.itemsize - 1) - (1 << bits - 1)
    return frame if frame.dtype.kind == "i" or not missing else frame + frame.dtype.type(missing)
