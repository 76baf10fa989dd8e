"""HTJ2K (T.814), lossless, by cinemill's own kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill._version import __version__
from cinemill.codecs.compiling import Spared, kernels_wanted
from cinemill.codecs.jpeg_2000 import htj2k_decode, htj2k_encode
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg
from cinemill.codecs.jpeg_2000.openjph import OpenJph
from cinemill.codecs.jpeg_2000.openjph_decode import OpenJphOpinion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.codecs.codec import Codec, Encoder
    from cinemill.pixel_format import Buffer, PixelFormat, Samples


def fastest() -> Encoder:
    """Return the kernels where they are wanted, else OpenJPH."""
    return Htj2k() if kernels_wanted() else OpenJph()


def fastest_decoder() -> Codec:
    """Return the kernels where they are wanted, else OpenJPEG."""
    return Htj2k() if kernels_wanted() else OpenJpeg()


def verifier() -> Codec:
    """Return `fastest_decoder` for what was written here."""
    return Htj2kWritten() if kernels_wanted() else OpenJpeg()


def second_decoder() -> Codec:
    """Return OpenJPH for a second opinion on what the kernels wrote; else OpenJPEG, for then OpenJPH encoded."""
    return OpenJphOpinion() if kernels_wanted() else OpenJpeg()


class Htj2k:
    """cinemill's HTJ2K coders as an `cinemill.codecs.codec.Encoder`.

    It writes what HTJ2K Lossless RPCL asks for (PS3.5 10.18), which HTJ2K Lossless holds as well: one tile, one quality layer,
    RPCL, TLM, an LL of 64 rows or columns at most, 64 x 64 code-blocks, the reversible 5-3 wavelet, and the reversible colour
    transform for RGB. Frames with wavelet coefficients of 16 bits or more are left to OpenJPH.

    It decodes what lossless encoders commonly write, refuses what can't be right, and has OpenJPEG decode the rest
    (`cinemill.codecs.jpeg_2000.htj2k_decode`).
    """

    name = "cinemill-htj2k"
    version = f"{__version__} with openjph {OpenJph.version}, openjpeg {OpenJpeg.version}"
    batch = 4

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames as `OpenJpeg.decode` does, to the same samples."""
        return [frame for frame, _ in self.attributed(codestreams, pixels)]

    def attributed(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[tuple[Samples, Codec]]:
        """Decode frames; with each comes who decoded it, this one or OpenJPEG."""
        told = htj2k_decode.attributed(codestreams, pixels)
        return [(frame, self if ours else OpenJpeg()) for frame, ours in told]

    def encode(self, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
        """Encode arrays of ``pixels.shape`` and ``pixels.dtype``: 1 or 3 samples of 1 to 16 bits.

        Raises
        ------
        UnsupportedPixelFormat
            Other samples than these, or values beyond ``bits_stored``.
        """
        return htj2k_encode.encode(frames, pixels)


class Htj2kWritten(Htj2k):
    """The same for codestreams whose samples are compared with those that were encoded.

    So OpenJPEG, which overlooks damage, may decode until compiling the kernels pays.
    """

    def attributed(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[tuple[Samples, Codec]]:
        """Decode frames; with each comes who decoded it."""
        if _spared.worth_compiling(len(codestreams) * pixels.rows * pixels.columns * pixels.samples):
            return super().attributed(codestreams, pixels)
        openjpeg = OpenJpeg()
        return [(frame, openjpeg) for frame in openjpeg.decode(codestreams, pixels)]


_spared = Spared(600_000_000, "cinemill.kernels.htj2k.decode_frames.decode_frames")
"""Samples."""
