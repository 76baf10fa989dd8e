"""A cine as a sequence of arrays: any frame on demand, with its header, times, regions and display."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, overload

from cinemill.dicom.given import Given, taken
from cinemill.dicom.source import Source
from cinemill.errors import CinemillError, DamagedFile
from cinemill.frames.decode import FrameDecoder
from cinemill.frames.geometry import pixel_aspect, resize, square
from cinemill.frames.regions import SEQUENCE, Region, read_regions
from cinemill.frames.render import Renderer
from cinemill.frames.timing import frame_times
from cinemill.frames.video import VideoDecoder
from cinemill.frames.windows import full_window
from cinemill.pipeline import chunks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom import Dataset

    from cinemill.codecs.codestream import Codestream
    from cinemill.frames.depth import Depth
    from cinemill.pixel_format import PixelFormat, Samples


class Cine:
    """The frames of one instance: a sequence of arrays, each decoded when it is asked for.

    A frame has the shape (rows, columns), or (rows, columns, samples) for colour, and the dtype of ``pixels``; its
    colour space is that of the codestreams. Values are those of the Bits Stored, sign extended; overlays
    and other bits above these are not part of the frame.

    Parameters
    ----------
    file
        A DICOM Part 10 file with pixel data: its path, its bytes, an open binary file, a pydicom data set, or a `Source`.
    keep_index
        Write the offsets of the frames to a file beside the source (``.<name>.frames``), and use that file if it exists:
        a long cine without an offset table is then scanned only once.

    Attributes
    ----------
    source : Source
        The open file.
    pixels : PixelFormat
        Shape, dtype and photometric interpretation of the arrays.

    Raises
    ------
    CinemillError
        The file is damaged, holds no pixel data, or no decoder for it is installed.
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
        """What is wrong with the file, but does not keep its frames from being read."""
        return (*self.source.warnings, *self._decoder.warnings)

    @property
    def stream(self) -> Codestream | None:
        """What the markers of the first frame's codestream say; None where it has no markers, as native frames."""
        return self._decoder.stream

    @property
    def coding(self) -> str:
        """How the frames are coded, whatever the transfer syntax says: see ``coding`` of `cinemill.syntaxes.TransferSyntax`."""
        return self._decoder.coding

    @property
    def depth(self) -> Depth:
        """Which bits of the decoded values belong to the samples."""
        return self._decoder.depth

    @property
    def batch(self) -> int:
        """How many frames `decode` handles best in one call."""
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
        for indices in chunks(len(self), self.pixels.nbytes, self.batch, 1):
            try:
                frames: Iterable[Samples] = self.decode(indices)
            except CinemillError:
                frames = (self[index] for index in indices)  # those before one that does not decode
            yield from frames

    @cached_property
    def frame_times(self) -> NDArray[np.float64]:
        """Time of each frame in ms, shape (frames,): Frame Delay for the first one; NaN where the header gives no time.

        See `cinemill.frames.timing.frame_times`.
        """
        return frame_times(self.source)

    @cached_property
    def regions(self) -> list[Region]:
        """The ultrasound regions, in the order of the header."""
        return read_regions(self.source.part(SEQUENCE), self.pixels.rows, self.pixels.columns)

    @property
    def photometric_interpretation(self) -> str:
        """Colour space of the arrays, such as ``RGB`` or ``YBR_FULL``: that of the codestreams, even where the header differs."""
        return self.pixels.photometric_interpretation

    def decode(self, indices: Sequence[int], interpretation: str | None = None) -> list[Samples]:
        """Decode some frames in one call, which is faster than one by one; return an array for each.

        Parameters
        ----------
        indices
            Frames, counted from 0.
        interpretation
            Colour space of the result: ``RGB`` converts YBR_FULL of 8 bits; by default nothing is converted.

        Raises
        ------
        IndexError
            There is no such frame.
        CodecError
            A frame does not decode.
        """
        return self._decoder.samples(indices, interpretation)

    def renderer(
        self,
        *,
        window: tuple[float, float] | Literal["auto"] | None = None,
        function: str = "LINEAR",
        voi: int | None = None,
    ) -> Renderer:
        """Return a renderer for the frames of this cine: see `cinemill.frames.render.Renderer`.

        Parameters
        ----------
        window
            Window centre and width, instead of those of the header. ``auto``: the header's where it has a window, else from
            the least to the greatest value of all frames.
        function
            What a window given here is applied by.
        voi
            Which of the VOI LUTs or windows of the header, counted from 0.
        """
        wanted = self._full_window if window == "auto" else window
        return Renderer(self._decoder, window=wanted, function=function, voi=voi)

    @cached_property
    def _full_window(self) -> tuple[float, float] | None:
        return full_window(self._decoder)

    def render(self, index: int) -> NDArray[np.uint8]:
        """Decode one frame and render it for display, resized so that its pixels are square.

        Returns
        -------
        NDArray[np.uint8]
            Grey of shape (rows, columns), or RGB of shape (rows, columns, 3).
        """
        picture = self._display.render(self[index], self._number(index))
        return resize(picture, square(picture.shape, pixel_aspect(self.source)))

    @cached_property
    def _display(self) -> Renderer:
        return self.renderer()

    def __reduce__(self) -> tuple[partial[Cine], tuple[Path | bytes]]:
        """Pickle the path, so that the processes of a data loader open the file anew; a file in memory travels as its bytes."""
        file = bytes(self.source.file) if self.source.in_memory else self.source.path
        return partial(Cine, keep_index=self._keep_index), (file,)

    def close(self) -> None:
        """Close the file."""
        self.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open(path: Given, *, keep_index: bool = False) -> Cine:  # noqa: A001
    """Open a DICOM file as a sequence of frames: see `Cine`.

    Any thread may ask for any frame, and a data loader may send the cine to its processes, which open the file anew.
    Frames of uncompressed files are read-only views of the file; copy a frame before you change it.

    Parameters
    ----------
    path
        A path, the bytes of a file, an open binary file, or a pydicom data set.
    keep_index
        Keep the offsets of the frames in a file beside the source: see `Cine`.

    Raises
    ------
    CinemillError
        The file is damaged, holds no pixel data, or no decoder for it is installed.
    """
    return Cine(path, keep_index=keep_index)
