"""A cine as a sequence of arrays: any frame on demand, with the header and the time of each frame."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self, overload

import numpy as np

from cinemill.decode import FrameDecoder
from cinemill.errors import DamagedFile
from cinemill.source import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

    from cinemill.model import PixelFormat, Samples

_FRAME_TIME, _FRAME_TIME_VECTOR = 0x00181063, 0x00181065
_RECOMMENDED_RATE, _CINE_RATE = 0x00082144, 0x00180040
_FRAME_INCREMENT_POINTER = 0x00280009


class Cine:
    """The frames of one instance: a sequence of arrays, each decoded when it is asked for.

    Frames are (rows, columns) or (rows, columns, samples), in the colour space that is coded: see ``pixels``.

    Parameters
    ----------
    path
        A DICOM Part 10 file with pixel data.

    Attributes
    ----------
    source : Source
    pixels : PixelFormat
        Shape, type and photometric interpretation of the arrays.

    Raises
    ------
    CinemillError
        The file is damaged, holds no pixel data, or has no decoder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.source = Source(path)
        if self.source.pixel_data is None:
            raise DamagedFile("there is no pixel data", path=path)
        self._decoder = FrameDecoder(self.source)
        self.pixels: PixelFormat = self._decoder.pixels

    @property
    def header(self) -> Dataset:
        """All elements but the pixel data, as a pydicom data set with ``file_meta``."""
        return self.source.header

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the file but does no harm."""
        return (*self.source.warnings, *self._decoder.warnings)

    def __len__(self) -> int:
        return len(self.source)

    @overload
    def __getitem__(self, index: int) -> Samples: ...
    @overload
    def __getitem__(self, index: slice) -> list[Samples]: ...
    def __getitem__(self, index: int | slice) -> Samples | list[Samples]:
        """Decode one frame, or a slice of frames, without touching the others.

        Raises
        ------
        IndexError
            There is no such frame.
        CodecError
            The frame does not decode.
        """
        if isinstance(index, slice):
            return self._decoder.decode(range(len(self))[index])
        frame = index + len(self) if index < 0 else index
        return self._decoder.decode([frame])[0]

    def __iter__(self) -> Iterator[Samples]:
        return (self[index] for index in range(len(self)))

    @cached_property
    def frame_times(self) -> NDArray[np.float64]:
        """Time of each frame in ms since the first, shape (frames,): NaN where the header does not tell.

        Frame Increment Pointer decides between Frame Time and Frame Time Vector (PS3.3 C.7.6.5, C.7.6.6); without
        it, whichever is there, then Recommended Display Frame Rate, then Cine Rate.
        """
        frames = len(self)
        vector = self._numbers(_FRAME_TIME_VECTOR)
        if len(vector) == frames and self._points_to(_FRAME_TIME_VECTOR):
            return np.cumsum(vector, dtype=np.float64) - vector[0]
        step = next(iter(self._numbers(_FRAME_TIME)), 0.0)
        rates = [*self._numbers(_RECOMMENDED_RATE), *self._numbers(_CINE_RATE)]
        if step <= 0:
            step = next((1000 / rate for rate in rates if rate > 0), np.nan if frames > 1 else 0.0)
        return np.arange(frames, dtype=np.float64) * step

    def _points_to(self, tag: int) -> bool:
        pointer = self.source.value(_FRAME_INCREMENT_POINTER)
        if not pointer:
            return True
        order = self.source.encoding.order
        words = np.frombuffer(pointer[: len(pointer) // 4 * 4], f"{order}u2").reshape(-1, 2)
        return [tag >> 16, tag & 0xFFFF] in words.tolist()

    def _numbers(self, tag: int) -> list[float]:
        values = self.source.text(tag).split("\\")
        try:
            return [float(value) for value in values if value.strip()]
        except ValueError:
            return []

    def close(self) -> None:
        """Let go of the file."""
        self.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open(path: str | os.PathLike[str]) -> Cine:  # noqa: A001
    """Open a DICOM file as a sequence of frames; see `Cine`."""
    return Cine(path)
