"""Crops, masks and scales the frames of an instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cinemill.errors import Refused
from cinemill.pixel_format import Box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cinemill.dicom.source import Source
    from cinemill.pixel_format import PixelFormat, Samples

_PIXEL_ASPECT_RATIO = 0x00280034


@dataclass(frozen=True, slots=True)
class Geometry:
    """What is kept of each frame, and how large it becomes.

    Attributes
    ----------
    crop
        The rectangle that is kept.
    keep
        Everything outside these rectangles is blackened; None keeps all.
    size
        Rows and columns of the result.
    """

    crop: Box
    keep: tuple[Box, ...] | None
    size: tuple[int, int]

    def apply(self, frame: Samples, black: Sequence[int]) -> Samples:
        """Return the frame cropped, masked and scaled; the frame itself where nothing changes.

        Parameters
        ----------
        frame
            (rows, columns) or (rows, columns, samples); only 8-bit frames can be scaled.
        black
            Value of each sample outside the kept rectangles.
        """
        if self.keep is not None:
            frame = _mask(frame, self.keep, black)
        left, top, right, bottom = self.crop
        if (right - left + 1, bottom - top + 1) != (frame.shape[1], frame.shape[0]):
            frame = np.ascontiguousarray(frame[top : bottom + 1, left : right + 1])
        return resize(frame, self.size)


def resize(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale an 8-bit picture to (rows, columns), bicubic and free of aliases."""
    if picture.shape[:2] == size:
        return picture
    from PIL import Image

    scaled = Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(scaled)


def pixel_aspect(source: Source) -> float:
    """Return height over width of a pixel by Pixel Aspect Ratio (PS3.3 C.7.6.3.1.7), 1 where it is absent or wrong."""
    try:
        vertical, horizontal = (float(value) for value in source.text(_PIXEL_ASPECT_RATIO).split("\\"))
    except ValueError:
        return 1.0
    ratio = vertical / horizontal if vertical > 0 and horizontal > 0 else 1.0
    return ratio if 1 / 0xFFFF <= ratio <= 0xFFFF else 1.0


def square(shape: tuple[int, ...], aspect: float) -> tuple[int, int]:
    """Return the rows and columns at which pixels become square; no direction loses any."""
    rows, columns = shape[:2]
    return (round(rows * aspect), columns) if aspect >= 1 else (rows, round(columns / aspect))


def fit(shape: tuple[int, int], size: tuple[int, int] | None, scale: float | None) -> tuple[int, int]:
    """Return rows and columns of the result.

    Parameters
    ----------
    shape
        Rows and columns before.
    size
        Width and height asked for; one of them 0 follows from the other.
    scale
        Factor for both directions, in place of a size.

    Raises
    ------
    Refused
        The result would be empty or too large.
    """
    rows, columns = shape
    if size is not None:
        width, height = size
        width = width or round(columns * height / rows)
        height = height or round(rows * width / columns)
        rows, columns = height, width
    elif scale is not None:
        rows, columns = round(rows * scale), round(columns * scale)
    if not (0 < rows <= 0xFFFF and 0 < columns <= 0xFFFF):
        raise Refused(f"can't scale to {columns}x{rows}; expected 1 to 65535 pixels in each direction")
    return rows, columns


def black(pixels: PixelFormat) -> tuple[int, ...]:
    """Return the stored value of each sample that shows as black (of a palette, entry 0)."""
    lowest = -(1 << pixels.bits_stored - 1) if pixels.signed else 0
    match pixels.photometric_interpretation:
        case "MONOCHROME1":
            return (lowest + (1 << pixels.bits_stored) - 1,)
        case "YBR_FULL":
            neutral = 1 << pixels.bits_stored - 1
            return 0, neutral, neutral
        case _:
            return (lowest,) * pixels.samples


def _mask(frame: Samples, keep: tuple[Box, ...], black: Sequence[int]) -> Samples:
    masked = np.empty_like(frame)
    masked[:] = black if frame.ndim == 3 else black[0]
    for left, top, right, bottom in keep:
        masked[top : bottom + 1, left : right + 1] = frame[top : bottom + 1, left : right + 1]
    return masked
