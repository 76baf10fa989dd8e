"""Some frames of a long cine as an instance of its own, which the real code can transcode."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from cinemill.dicom.source import Source
from cinemill.operations.origin import Origin
from cinemill.pipeline import chunks
from cinemill.storage.digests import data_digest

if TYPE_CHECKING:
    from cinemill.pixel_format import Buffer

BLOCKS = 2
"""Runs of frames that are taken of a cine."""

PIECE = 16 << 20
"""Bytes of a file from which the time of reading all of it is told."""


class Excerpt(Source):
    """Some frames of a source.

    Parameters
    ----------
    path
        The file.
    indices
        Of the frames.
    """

    def __init__(self, path: str | os.PathLike[str], indices: Sequence[int]) -> None:
        self._indices = indices
        super().__init__(path, scan=False)

    def __len__(self) -> int:
        """Return the number of frames taken."""
        return len(self._indices)

    @property
    def renumbered(self) -> bool:
        """Number of Frames has to be that of the excerpt."""
        return True

    def frame(self, index: int) -> Buffer:
        """Return the encoded bytes of one of the frames taken."""
        frames = self._native if self._encapsulated is None else self._encapsulated
        return frames.read(self._indices[index])


class PartlyRead(Origin):
    """The origin of an excerpt: of a long file a piece is digested, and told how much longer all of it would take.

    Attributes
    ----------
    seconds_left
        Processor time that the rest of the digest would take.
    """

    seconds_left = 0.0

    @cached_property
    def digest(self) -> str:
        """XXH3-128 of the beginning of the source."""
        file = self.source.file
        started = time.process_time()
        with memoryview(file) as whole, whole[:PIECE] as piece:
            digest = data_digest(piece)
        taken = time.process_time() - started
        self.seconds_left = taken * max(0, len(file) / PIECE - 1)
        return digest


def excerpt_of(frames: int, frame_bytes: int, batch: int) -> list[int]:
    """Return the frames that stand for all: a few runs, as long as those in which all would be encoded.

    Parameters
    ----------
    frames
        How many there are.
    frame_bytes
        Of one frame's samples.
    batch
        Frames that the encoder likes best in one call.
    """
    run = len(next(chunks(frames, frame_bytes, batch, 1)))
    if frames <= BLOCKS * run:
        return list(range(frames))
    starts = [round((frames - run) * (block + 0.5) / BLOCKS) for block in range(BLOCKS)]
    return [start + offset for start in starts for offset in range(run)]
