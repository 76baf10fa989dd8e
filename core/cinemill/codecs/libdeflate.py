"""Deflated Image Frame Compression by libdeflate, in imagecodecs (PS3.5 §A.4.12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import imagecodecs

from cinemill.codecs.native import Native
from cinemill.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.pixel_format import Buffer, PixelFormat, Samples

_LEVEL = 6
"""Of libdeflate: on ultrasound as small as zlib's 6 to 9, and 3 to 12 times as fast; 9 takes thrice the time for 2 %."""


class Libdeflate(Native):
    """Each frame is one raw deflate stream of native samples; libdeflate shares no code with zlib."""

    name = "libdeflate"
    version = imagecodecs.deflate_version().rpartition(" ")[2]

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Inflate and decode frames; see `Native.decode`."""
        return super().decode(
            [_by_libdeflate(data, pixels.nbytes + 64, frame) for frame, data in enumerate(codestreams)],
            pixels,
        )

    def encode(self, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
        """Return the bytes of arrays of ``pixels.shape`` and ``pixels.dtype``, each as a raw deflate stream."""
        return [
            bytes(imagecodecs.deflate_encode(samples, _LEVEL, raw=True))
            for samples in super().encode(frames, pixels)
        ]


def _by_libdeflate(data: Buffer, most: int, frame: int) -> bytes:
    try:
        return bytes(imagecodecs.deflate_decode(bytes(data), raw=True, out=most))
    except (imagecodecs.DeflateError, ValueError) as error:
        raise CodecError(f"the deflated frame can't be inflated: {error}", frame=frame) from None
