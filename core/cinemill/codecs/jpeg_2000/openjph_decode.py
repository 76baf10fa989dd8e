"""HTJ2K decoded by OpenJPH, for a second opinion on what cinemill's own kernels wrote: twice as fast as OpenJPEG."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

from cinemill.codecs.jpeg_2000.openjpeg import (
    OpenJpeg,
    check_codestream,
    decode_checked,
    takes_colour_transform,
)
from cinemill.codecs.jpeg_2000.openjph import OpenJph
from cinemill.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.codecs.jpeg_2000.markers import MainHeader
    from cinemill.pixel_format import Buffer, PixelFormat, Samples

_MOST_BITS = 12
"""Of samples with which the kernels never leave the encoding to OpenJPH; the colour transform takes one of them."""
_RANDOM = 4096


class OpenJphOpinion:
    """OpenJPH as a `cinemill.codecs.codec.Codec` whose samples are to be compared with those that were encoded.

    It keeps errors to itself, and leaves the rest of the frame as it was. So a frame is filled with random bytes before: what
    it did not decode is no frame that anybody encoded. What it might have encoded itself, and colour without transform, which it
    returns by plane, are decoded by OpenJPEG.
    """

    name = "openjph"
    version = f"{OpenJph.version} with openjpeg {OpenJpeg.version}"
    batch = 1

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames as `OpenJpeg.decode` does; one that is damaged may come out with any samples.

        Raises
        ------
        CodecError
            As `OpenJpeg.decode`.
        UnsupportedPixelFormat
            As `OpenJpeg.decode`.
        """
        return [_decode(data, pixels, frame) for frame, data in enumerate(codestreams)]


def _decode(data: Buffer, pixels: PixelFormat, frame: int) -> Samples:
    codestream, header = check_codestream(data, pixels, frame)
    if not _is_covered(header, pixels):
        return decode_checked(codestream, header, pixels, frame)
    samples = _anything(pixels.shape, f"{'i' if header.signed else 'u'}{1 if header.precision <= 8 else 2}")
    try:
        imagecodecs.htj2k_decode(codestream, out=samples)  # type: ignore[arg-type]  # takes any buffer
    except (imagecodecs.Htj2kError, ValueError) as error:
        raise CodecError(
            f"{len(codestream)} bytes of HTJ2K can't be decoded: {error}", frame=frame
        ) from error
    return samples.astype(pixels.dtype, copy=False)


def _is_covered(header: MainHeader, pixels: PixelFormat) -> bool:
    return (
        header.high_throughput
        and header.signed == pixels.signed
        and header.colour_transform == takes_colour_transform(pixels) == (pixels.samples == 3)
        and header.precision + header.colour_transform <= _MOST_BITS
    )


def _anything(shape: tuple[int, ...], kind: str) -> Samples:
    """Return an array of random bytes, the same few thousand again and again."""
    size = np.dtype(kind).itemsize * int(np.prod(shape))
    filled = bytearray(os.urandom(_RANDOM)) * -(-size // _RANDOM)
    return np.frombuffer(filled, kind, int(np.prod(shape))).reshape(shape)
