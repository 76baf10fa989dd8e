"""HTJ2K (JPEG 2000 Part 15), lossless encoding by OpenJPH, through imagecodecs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import imagecodecs

from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg, check_encodable, takes_colour_transform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.pixel_format import Buffer, PixelFormat, Samples


class OpenJph:
    """OpenJPH as an encoding `cinemill.codecs.codec.Codec`: reversible 5-3 wavelet, RPCL with TLM markers, RCT for RGB.

    The codestreams are those of HTJ2K Lossless RPCL (PS3.5 §A.4.8), which HTJ2K Lossless holds as well. SIZ gives
    the depth of the array, not Bits Stored: OpenJPH is handed 8- or 16-bit samples.
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
            Other samples than these.
        """
        check_encodable(pixels)
        colour = takes_colour_transform(pixels)
        return [
            bytes(imagecodecs.htj2k_encode(frame, reversible=True, rgb=colour, planar=False, tlm=True))
            for frame in frames
        ]
