"""JPEG-LS by CharLS, through imagecodecs: every mode, one frame at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from cinemill.codecs.jpeg_ls.markers import EPILOGUE
from cinemill.errors import CodecError, UnsupportedPixelFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.pixel_format import Buffer, PixelFormat, Samples


class CharLS:
    """Decodes all of JPEG-LS; encodes lossless, colour interleaved by sample (imagecodecs offers nothing else)."""

    name = "charls"
    version = imagecodecs.jpegls_version().removeprefix("charls ")
    batch = 1

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames to arrays of ``pixels.shape`` and ``pixels.dtype``, in the codestream's colour space."""
        return [_decode(codestream, pixels, index) for index, codestream in enumerate(codestreams)]

    def encode(self, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
        """Encode arrays of ``pixels.shape`` and ``pixels.dtype`` losslessly, one codestream a frame.

        All allocated bits are coded; those above ``pixels.bits_stored`` as zeros.
        """
        if pixels.bits_allocated not in (8, 16) or pixels.samples not in (1, 3):
            raise UnsupportedPixelFormat(
                f"CharLS encodes 1 or 3 samples of 8 or 16 bits, not {pixels.samples} of {pixels.bits_allocated}"
            )
        return [_encode(frame, pixels) for frame in frames]


def _decode(codestream: Buffer, pixels: PixelFormat, index: int) -> Samples:
    """Decode up to the last EOI: where no marker ends the code, CharLS reads 2^31 zero bits behind it before it gives up."""
    stream = bytes(codestream)
    end = stream.rfind(EPILOGUE)
    if end < 0:
        raise CodecError("the codestream has no EOI: it is truncated", frame=index, offset=len(stream))
    try:
        frame: Samples = imagecodecs.jpegls_decode(stream[: end + len(EPILOGUE)])
    except (imagecodecs.JpeglsError, ValueError) as error:
        raise CodecError(f"CharLS: {error}", frame=index) from error
    if frame.shape != pixels.shape or frame.dtype.itemsize > pixels.dtype.itemsize:
        raise CodecError(
            f"expected {pixels.shape} {pixels.dtype}, found {frame.shape} {frame.dtype}", frame=index
        )
    frame = frame.astype(f"u{pixels.dtype.itemsize}", copy=False).view(pixels.dtype)
    unused = 8 * frame.itemsize - pixels.bits_stored
    if pixels.signed and unused:
        np.left_shift(frame, unused, out=frame)
        np.right_shift(frame, unused, out=frame)
    return frame


def _encode(frame: Samples, pixels: PixelFormat) -> bytes:
    if frame.shape != pixels.shape or frame.dtype != pixels.dtype:
        raise UnsupportedPixelFormat(
            f"expected a frame of {pixels.shape} {pixels.dtype}, found {frame.shape} {frame.dtype}"
        )
    unsigned: Any = np.ascontiguousarray(frame).view(f"u{frame.itemsize}") & ((1 << pixels.bits_stored) - 1)
    # Incompressible samples grow; imagecodecs would reserve the size of the frame only.
    room = np.empty(2 * unsigned.nbytes + 1024, np.uint8)
    try:
        return bytes(imagecodecs.jpegls_encode(unsigned, out=room))  # type: ignore[arg-type]  # takes any buffer
    except (imagecodecs.JpeglsError, ValueError) as error:
        raise UnsupportedPixelFormat(f"CharLS can't encode {pixels.shape} {pixels.dtype}: {error}") from error
