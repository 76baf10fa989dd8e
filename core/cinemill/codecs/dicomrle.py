"""RLE Lossless by imagecodecs: the second opinion on frames that cinemill's own kernel wrote.

It joins segments before it looks at their sizes, so it can't read those that hold a byte too many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

from cinemill.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.pixel_format import Buffer, PixelFormat, Samples


class DicomRle:
    """imagecodecs' DICOM RLE decoder as a `cinemill.codecs.codec.Codec`."""

    name = "imagecodecs-dicomrle"
    version: str = imagecodecs.dicomrle_version().rpartition(" ")[2]
    batch = 1

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames to arrays of ``pixels.shape`` and ``pixels.dtype``; single bits are bytes.

        Raises
        ------
        CodecError
            A codestream is damaged, or holds another number of bytes.
        """
        return [_decode(codestream, pixels, frame) for frame, codestream in enumerate(codestreams)]


def _decode(codestream: Buffer, pixels: PixelFormat, frame: int) -> Samples:
    try:
        data = imagecodecs.dicomrle_decode(codestream, pixels.dtype)  # type: ignore[arg-type]  # takes any buffer
    except (imagecodecs.DicomrleError, ValueError) as error:
        raise CodecError(f"imagecodecs: {error}", frame=frame) from error
    size = pixels.rows * pixels.columns
    if len(data) < pixels.nbytes:
        raise CodecError(f"imagecodecs: expected {pixels.nbytes} bytes, found {len(data)}", frame=frame)
    planes = np.frombuffer(data, pixels.dtype, pixels.samples * size)
    by_plane = planes.reshape(pixels.samples, pixels.rows, pixels.columns)
    return np.moveaxis(by_plane, 0, -1).reshape(pixels.shape)
