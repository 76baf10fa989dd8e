"""Animated GIF and WebP, assembled from frames that are encoded one by one."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

from cinemill.errors import UnsupportedPixelFormat
from cinemill.operations.extract.writers import Clip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cinemill.pixel_format import Samples
    from cinemill.storage.folder import Staging

_GIF_HEADER, _GIF_PALETTE, _GIF_DESCRIPTOR = 13, 768, 10
_GIF_LOOP = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
_GIF_TRAILER = b"\x3b"
_GIF_LONGEST = 0xFFFF
_WEBP_LARGEST = 16382  # of the 16383 that the format holds, what imagecodecs takes
_WEBP_LONGEST = 0xFFFFFF
_WEBP_QUALITY = 90
_WEBP_METHOD = 2


class Gif:
    """GIF89a that loops, each frame with its own 256 colours. Times are kept to GIF's 10 ms without drift."""

    def __init__(self, clip: Clip, staging: Staging) -> None:
        self._clip = clip
        self._delays = whole_steps(clip.durations, 10, _GIF_LONGEST)
        self._file = staging.open(clip.name())
        size = struct.pack("<HH", clip.pixels.columns, clip.pixels.rows)
        self._file.write(b"GIF89a" + size + b"\x70\0\0" + _GIF_LOOP)
        self._position = 0

    def encode(self, indices: Sequence[int]) -> list[bytes]:
        """Return image blocks: descriptor, local colour table and compressed entries."""
        return [_gif_image(frame) for frame in self._clip.frames(indices)]

    def write(self, encoded: list[bytes]) -> None:
        """Append image blocks, each behind its delay."""
        for image in encoded:
            self._file.write(
                struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 0x04, self._delays[self._position], 0, 0) + image
            )
            self._position += 1

    def close(self) -> None:
        """Finish the file."""
        self._file.write(_GIF_TRAILER)
        self._file.close()


class WebP:
    """Lossy WebP that loops, with times to the millisecond."""

    def __init__(self, clip: Clip, staging: Staging) -> None:
        rows, columns = clip.pixels.rows, clip.pixels.columns
        if max(rows, columns) > _WEBP_LARGEST:
            raise UnsupportedPixelFormat(
                f"webp holds up to {_WEBP_LARGEST} pixels in each direction, found {columns}x{rows}; use --scale"
            )
        self._clip = clip
        self._delays = whole_steps(clip.durations, 1, _WEBP_LONGEST)
        self._size = struct.pack("<L", columns - 1)[:3] + struct.pack("<L", rows - 1)[:3]
        self._file = staging.open(clip.name())
        extended = _riff_chunk(b"VP8X", b"\x02\0\0\0" + self._size)
        self._file.write(b"RIFF\0\0\0\0WEBP" + extended + _riff_chunk(b"ANIM", bytes(6)))
        self._position = 0

    def encode(self, indices: Sequence[int]) -> list[bytes]:
        """Return the bitstream chunk of each frame."""
        frames = self._clip.frames(indices)
        colour = (frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, axis=2) for frame in frames)
        return [
            bytes(imagecodecs.webp_encode(frame, _WEBP_QUALITY, lossless=False, method=_WEBP_METHOD)[12:])
            for frame in colour
        ]

    def write(self, encoded: list[bytes]) -> None:
        """Append frames."""
        for bitstream in encoded:
            duration = struct.pack("<L", self._delays[self._position])[:3]
            self._file.write(_riff_chunk(b"ANMF", bytes(6) + self._size + duration + b"\x02" + bitstream))
            self._position += 1

    def close(self) -> None:
        """Fill in the size of the file."""
        size = self._file.tell() - 8
        self._file.seek(4)
        self._file.write(struct.pack("<L", size))
        self._file.close()


def whole_steps(durations: NDArray[np.float64], step: float, longest: int) -> list[int]:
    """Round durations to whole steps so that their running sum stays within half a step; none becomes 0.

    Parameters
    ----------
    durations
        Milliseconds, shape (frames,).
    step
        Milliseconds.
    longest
        Most steps that can be written.
    """
    ends = np.rint(np.cumsum(durations) / step).astype(np.int64)
    return [min(max(int(steps), 1), longest) for steps in np.diff(ends, prepend=0)]


def _gif_image(frame: Samples) -> bytes:
    if frame.ndim == 2:
        entries, palette = frame, np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(256, 3)
    else:
        entries, palette = _quantise(frame)
    # giflib's wrapper crashes on read-only arrays, which native frames are.
    writeable = np.require(entries, requirements="W")
    encoded = bytes(imagecodecs.gif_encode(writeable, colormap=palette, out=_most_gif_bytes(entries.size)))
    start = _GIF_HEADER + _GIF_PALETTE + _GIF_DESCRIPTOR
    rows, columns = frame.shape[:2]
    descriptor = struct.pack("<BHHHHB", 0x2C, 0, 0, columns, rows, 0x87)
    return descriptor + palette.tobytes() + encoded[start : -len(_GIF_TRAILER)]


def _most_gif_bytes(pixels: int) -> int:
    """Return what an image of noise takes at most: a code of 12 bits a pixel, with clear codes and block lengths between."""
    return 2 * pixels + 4096


def _quantise(frame: Samples) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return palette entries (rows, columns) and the palette (256, 3)."""
    from PIL import Image

    image = Image.fromarray(frame).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    colours = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colours)] = colours
    return np.asarray(image), palette


def _riff_chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<L", len(data)) + data + bytes(len(data) % 2)
