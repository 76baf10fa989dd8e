"""A cine as a sequence of arrays: any frame on demand, with its header, times, regions and display."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, overload

from cinemill.dicom.given import Given, taken
from cinemill.dicom.source import Source
from cinemill.errors import DamagedFile
from cinemill.frames.decode import FrameDecoder
from cinemill.frames.geometry import pixel_aspect, resize, square
from cinemill.frames.regions import Region, read_regions
from cinemill.frames.render import Renderer
from cinemill.frames.timing import frame_times
from cinemill.frames.video import VideoDecoder
from cinemill.frames.windows import full_window

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom import Dataset

    from cinemill.codecs.codestream import Codestream
    from cinemill.frames.depth import Depth
    from cinemill.pixel_format import PixelFormat, Samples


class Cine:
    """The frames of one instance: a sequence of arrays, each decoded when it is asked for.

    Frames are (rows, columns) or (rows, columns, samples), in the colour space that is coded: see ``pixels``. Samples have
    Bits Stored bits; overlays and whatever else lies above them is no part of an image.

    Parameters
    ----------
    file
        A DICOM Part 10 file with pixel data: its path, its bytes, an open binary file, a pydicom data set, or one that is
        open already.
    keep_index
        Keep where the frames stand in a file beside it (``.<name>.frames``) and use the one that is there, so that the
        items of a long cine without an offset table are looked at once only.

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

    def __init__(self, file: Given | Source, *, keep_index: bool = False) -> None:
        self._keep_index = keep_index
        if not isinstance(file, Source):
            path, data = taken(file)
            file = Source(path, data=data, scan=False, keep_index=keep_index)
        self.source = file
        if self.source.pixel_data is None:
            raise DamagedFile("there is no pixel data", path=self.source.path)
        video = self.source.transfer_syntax.coding == "video"
        self._decoder = VideoDecoder(self.source) if video else FrameDecoder(self.source)
        depth, pixels = self._decoder.depth, self._decoder.pixels
        self.pixels: PixelFormat = pixels.with_(bits_stored=depth.stored) if depth.masked else pixels

    @property
    def header(self) -> Dataset:
        """All elements but the pixel data, as a pydicom data set with ``file_meta``."""
        return self.source.header

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the file but does no harm."""
        return (*self.source.warnings, *self._decoder.warnings)

    @property
    def stream(self) -> Codestream | None:
        """What the first frame's codestream says of itself, where it has markers."""
        return self._decoder.stream

    @property
    def coding(self) -> str:
        """How the frames are really coded: see `cinemill.syntaxes.TransferSyntax`."""
        return self._decoder.coding

    @property
    def depth(self) -> Depth:
        """Which bits of decoded values are the samples."""
        return self._decoder.depth

    @property
    def batch(self) -> int:
        """How many frames are best decoded at once."""
        return self._decoder.batch

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
            return self.decode(range(len(self))[index])
        return self.decode([self._number(index)])[0]

    def _number(self, index: int) -> int:
        """Return a frame's number, counted from 0."""
        try:
            return range(len(self))[index]
        except IndexError:
            raise IndexError(f"frame {index} of {len(self)}") from None

    def __repr__(self) -> str:
        return f"<Cine {self.source.path}: {len(self)} frames, {self.pixels}>"

    def __iter__(self) -> Iterator[Samples]:
        self.source.read_in_order()
        return (self[index] for index in range(len(self)))

    @cached_property
    def frame_times(self) -> NDArray[np.float64]:
        """Time of each frame in ms, shape (frames,): NaN where the header does not tell.

        See `cinemill.frames.timing.frame_times`.
        """
        return frame_times(self.source)

    @cached_property
    def regions(self) -> list[Region]:
        """The ultrasound regions, in the order of the header."""
        return read_regions(self.header, self.pixels.rows, self.pixels.columns)

    @property
    def photometric_interpretation(self) -> str:
        """Colour space of the arrays, such as ``RGB`` or ``YBR_FULL``: the codestreams', whatever the header says."""
        return self.pixels.photometric_interpretation

    def decode(self, indices: Sequence[int], interpretation: str | None = None) -> list[Samples]:
        """Decode some frames at once, which is faster than one by one.

        Parameters
        ----------
        indices
            Frames, counted from 0.
        interpretation
            Colour space to convert to: ``RGB`` for YBR_FULL of 8 bits; that of ``pixels`` by default.

        Raises
        ------
        IndexError
            There is no such frame.
        CodecError
            A frame does not decode.
        """
        return self._decoder.samples(indices, interpretation)

    def renderer(
        self, *, window: tuple[float, float] | Literal["auto"] | None = None, voi: int | None = None
    ) -> Renderer:
        """Return what renders this cine's frames for display: see `cinemill.frames.render.Renderer`.

        Parameters
        ----------
        window
            Centre and width. ``auto``: where the header has none, from the least to the greatest value of all frames.
        voi
            Which of the header's alternatives, counted from 0.
        """
        wanted = self._full_window if window == "auto" else window
        return Renderer(self._decoder, window=wanted, voi=voi)

    @cached_property
    def _full_window(self) -> tuple[float, float] | None:
        return full_window(self._decoder)

    def render(self, index: int) -> NDArray[np.uint8]:
        """Decode one frame and render it for display, its pixels made square.

        Returns
        -------
        NDArray[np.uint8]
            Grey (rows, columns), or RGB (rows, columns, 3).
        """
        picture = self._display.render(self[index], self._number(index))
        return resize(picture, square(picture.shape, pixel_aspect(self.source)))

    @cached_property
    def _display(self) -> Renderer:
        return self.renderer()

    def __reduce__(self) -> tuple[Callable[..., Cine], tuple[Path | bytes, bool]]:
        """Let processes of a data loader open the file by themselves; bytes travel with the cine."""
        file = bytes(self.source.file) if self.source.in_memory else self.source.path
        return _reopen, (file, self._keep_index)

    def close(self) -> None:
        """Let go of the file."""
        self.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open(path: Given, *, keep_index: bool = False) -> Cine:  # noqa: A001
    """Open a DICOM file as a sequence of frames: see `Cine`.

    In place of a path, the bytes of a file, an open binary file or a pydicom data set may be given.
    Any thread may ask for any frame, and a data loader may send the cine to its processes, which open the file anew.
    Frames of uncompressed files are read-only views of the file; copy what is to be changed.
    """
    return Cine(path, keep_index=keep_index)


def _reopen(file: Path | bytes, keep_index: bool) -> Cine:  # noqa: FBT001
    return Cine(file, keep_index=keep_index)
