"""JPEG, JPEG Lossless and JPEG-LS by libjpeg of Thomas Richter (through pylibjpeg-libjpeg): the second opinion."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from cinemill.codecs.jpeg.libjpeg_turbo import sign_extended
from cinemill.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.pixel_format import Buffer, PixelFormat, Samples


class Pylibjpeg:
    """libjpeg as a `cinemill.codecs.codec.Codec`. It holds the GIL, and is several times slower than others."""

    name = "pylibjpeg-libjpeg"
    version = version("pylibjpeg-libjpeg")
    batch = 1

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames to arrays of ``pixels.shape`` and ``pixels.dtype``, colour as it is coded.

        Raises
        ------
        CodecError
            A codestream is damaged, or its geometry is not that of ``pixels``.
        """
        return [_decode(data, pixels, frame) for frame, data in enumerate(codestreams)]


def _decode(data: Buffer, pixels: PixelFormat, frame: int) -> Samples:
    import libjpeg

    try:
        samples = libjpeg.decode(bytes(data), 0)
    except (RuntimeError, ValueError, TypeError) as error:
        raise CodecError(f"libjpeg: {error}", frame=frame) from error
    if samples.shape != pixels.shape:
        raise CodecError(
            f"expected a frame of shape {pixels.shape}, the codestream holds {samples.shape}", frame=frame
        )
    if pixels.signed:
        return sign_extended(samples, pixels)
    return np.ascontiguousarray(samples, pixels.dtype)
