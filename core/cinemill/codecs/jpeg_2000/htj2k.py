"""HTJ2K (T.814), lossless, by cinemill's own kernels."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cinemill._version import __version__
from cinemill.codecs.jpeg_2000 import htj2k_encode
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg
from cinemill.codecs.jpeg_2000.openjph import OpenJph
from cinemill.kernels.machine import x86

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.codecs.codec import Codec
    from cinemill.pixel_format import Buffer, PixelFormat, Samples


def available() -> bool:
    """Whether this machine can run the kernels."""
    return x86.available()


def fastest() -> Codec:
    """Return the kernels where they run, else OpenJPH; ``CINEMILL_KERNELS=portable`` asks for OpenJPH."""
    portable = os.environ.get("CINEMILL_KERNELS") == "portable"
    return OpenJph() if portable or not available() else Htj2k()


class Htj2k:
    """cinemill's HTJ2K coders as a `cinemill.codecs.codec.Codec`.

    It writes what HTJ2K Lossless RPCL asks for (PS3.5 10.18), which HTJ2K Lossless holds as well: one tile, one quality layer,
    RPCL, TLM, an LL of 64 rows or columns at most, 64 x 64 code-blocks, the reversible 5-3 wavelet, and the reversible colour
    transform for RGB. Frames with wavelet coefficients of 16 bits or more are left to OpenJPH.
    """

    name = "cinemill-htj2k"
    version = f"{__version__} with openjph {OpenJph.version}"
    batch = 4

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
        return htj2k_encode.encode(frames, pixels)
