"""What writes extracted frames: one small module for each family of formats, behind one protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cinemill.frames.cine import Cine
    from cinemill.pixel_format import Buffer, PixelFormat, Samples
    from cinemill.storage.folder import Staging


@dataclass(frozen=True, slots=True)
class Clip:
    """The chosen frames of one instance, and how a writer gets them.

    Attributes
    ----------
    indices
        Chosen frames, ascending, counted from 0.
    times, durations
        When each is taken and for how long it is shown, in ms, shape (frames,); a time is NaN where it is unknown.
    pixels
        Format of the frames as they are handed to the writer.
    as_coded
        Whether the codestreams hold the frames just as they are wanted: nothing is cropped, masked, scaled or rendered.
    stem, suffix
        What the names of outputs begin and end with.
    single
        The one output's name, where it was given.
    frames
        Decodes and renders frames; thread-safe.
    """

    cine: Cine
    indices: Sequence[int]
    times: NDArray[np.float64]
    durations: NDArray[np.float64]
    pixels: PixelFormat
    as_coded: bool
    stem: str
    suffix: str
    single: str | None
    frames: Callable[[Sequence[int]], list[Samples]]

    def name(self, index: int | None = None) -> str:
        """Return the name of an output: of one frame, ``<stem>_0017.png``, or of all, ``<stem>.mp4``."""
        if self.single is not None:
            return self.single
        digits = max(4, len(str(len(self.cine) - 1)))
        number = "" if index is None else f"_{index:0{digits}}"
        return f"{self.stem}{number}{self.suffix}"


class Writer(Protocol):
    """Writes the frames of one clip in one format, to outputs it has reserved. Made from a `Clip` and a `Staging`."""

    def encode(self, indices: Sequence[int]) -> Any:
        """Prepare some frames, neighbours in the clip; called by several threads at once."""
        ...

    def write(self, encoded: Any) -> None:
        """Append prepared frames; called by one thread, in order."""
        ...

    def close(self) -> None:
        """Finish the outputs; after a failure too, to let go of files."""
        ...


class FrameFiles:
    """Base of writers that make one file a frame, which any thread can do alone."""

    def __init__(self, clip: Clip, staging: Staging) -> None:
        self.clip, self.staging = clip, staging
        self.paths = {index: staging.reserve(clip.name(index)) for index in clip.indices}

    def files(self, indices: Sequence[int]) -> Iterable[Buffer]:
        """Return the bytes of each frame's file."""
        raise NotImplementedError

    def encode(self, indices: Sequence[int]) -> None:
        """Write the files of some frames."""
        for index, data in zip(indices, self.files(indices), strict=True):
            self.staging.write(self.paths[index], data)

    def write(self, encoded: None) -> None:
        """Do nothing more."""

    def close(self) -> None:
        """Do nothing more."""
