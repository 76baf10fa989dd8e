"""PNG and JPEG, a file for each frame."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

from cinemill.errors import UnsupportedPixelFormat
from cinemill.operations.extract.writers import Clip, FrameFiles
from cinemill.operations.extract.writers.codestreams import codestream

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cinemill.pixel_format import Buffer, Samples
    from cinemill.storage.folder import Staging

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREYSCALE, _TRUECOLOUR = 0, 2
_SUB = 1
_JPEG_QUALITY = 95


class Png(FrameFiles):
    """PNG of 8 or 16 bits, grey or three samples."""

    def files(self, indices: Sequence[int]) -> Iterable[Buffer]:
        """Return PNG files."""
        return map(encode_png, self.clip.frames(indices))


def encode_png(frame: Samples) -> bytes:
    """Encode one frame as PNG (ISO/IEC 15948): filter Sub in every row, and libdeflate's fastest level.

    libpng takes three times as long for the same size: it tries all filters, and zlib is slower than libdeflate.

    Parameters
    ----------
    frame
        uint8 or uint16, (rows, columns) or (rows, columns, 3).
    """
    rows, columns = frame.shape[:2]
    colour = _GREYSCALE if frame.ndim == 2 else _TRUECOLOUR
    pixel = frame.dtype.itemsize * (1 if frame.ndim == 2 else 3)
    samples = frame.astype(frame.dtype.newbyteorder(">"), copy=False).reshape(rows, -1).view(np.uint8)
    filtered = np.empty((rows, 1 + samples.shape[1]), np.uint8)
    filtered[:, 0] = _SUB
    filtered[:, 1 : 1 + pixel] = samples[:, :pixel]
    np.subtract(samples[:, pixel:], samples[:, :-pixel], out=filtered[:, 1 + pixel :])
    header = struct.pack(">LLBBBBB", columns, rows, 8 * frame.dtype.itemsize, colour, 0, 0, 0)
    data = bytes(imagecodecs.deflate_encode(filtered.tobytes(), 1))
    return _PNG_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return b"".join(
        (struct.pack(">L", len(data)), kind, data, struct.pack(">L", zlib.crc32(data, zlib.crc32(kind))))
    )


class Jpeg(FrameFiles):
    """JPEG of quality 95 without chrominance subsampling; 8-bit JPEG codestreams are copied where they show the same."""

    def __init__(self, clip: Clip, staging: Staging) -> None:
        stream = clip.cine.stream
        self._copied = (
            clip.as_coded
            and stream is not None
            and (stream.coding, stream.precision) == ("jpeg", 8)
            and (stream.components == 1 or stream.colour is not None)
        )
        if clip.pixels.photometric_interpretation == "PALETTE COLOR" and not self._copied:
            raise UnsupportedPixelFormat("jpeg can't hold palette entries; use --display, or png, tiff, npy")
        super().__init__(clip, staging)

    def files(self, indices: Sequence[int]) -> Iterable[Buffer]:
        """Return JPEG files."""
        if self._copied:
            return (codestream(self.clip, index) for index in indices)
        space = None
        if self.clip.pixels.samples == 3:
            space = "YCBCR" if self.clip.pixels.photometric_interpretation == "YBR_FULL" else "RGB"
        return (
            bytes(imagecodecs.jpeg8_encode(frame, _JPEG_QUALITY, colorspace=space, subsampling="444"))
            for frame in self.clip.frames(indices)
        )
