"""Keeps the frame index of a long cine in a file beside it, so that another process needs no second scan."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import xxhash

from cinemill.dicom.encapsulated import index_fits
from cinemill.dicom.fragments import FrameIndex, begins_frame
from cinemill.errors import OutputError, SourceError
from cinemill.storage.file import Sink
from cinemill.storage.location import State, state
from cinemill.storage.mapped import Bytes, map_file

_MAGIC = b"cinemill frame index 1\n"
_STATE = struct.Struct("<QqQQQ")
"""Size and modification time in ns of the file; where its first item and the end of its Pixel Data stand; frames."""

_DIGEST = 16


def kept_path(path: Path) -> Path:
    """Return where the index of a file is kept."""
    return path.with_name(f".{path.name}.frames")


def load(path: Path, data: Bytes, value: int, frames: int, warnings: list[str]) -> FrameIndex | None:
    """Return the kept index of a file, None where there is none that can be believed.

    It is of another state of the file, or does not fit its items; or its frames don't begin with what marks a frame, so
    that a wrong one would not be noticed.

    Parameters
    ----------
    path, data
        The file.
    value
        Where the first item of the Pixel Data stands.
    frames
        Number of frames that the file promises.
    warnings
        Takes a line where the index contradicts the file that it was made for.
    """
    try:
        kept = bytes(map_file(kept_path(path), follow=False))
    except SourceError:
        return None
    now = state(path)
    body, digest = kept[:-_DIGEST], kept[-_DIGEST:]
    start = len(_MAGIC) + _STATE.size
    if not body.startswith(_MAGIC) or xxhash.xxh3_128_digest(body) != digest or len(body) < start:
        return None
    size, modified, first, end, count = _STATE.unpack_from(body, len(_MAGIC))
    if (now, first, count) != (State(size, modified), value, frames):
        return None
    whole = len(body) - start == (frames + 1) * 8
    index = FrameIndex(np.frombuffer(body, "<i8", frames + 1 if whole else 0, start), end, kept=True)
    if not whole or not index_fits(data, value, index):
        warnings.append(f"{kept_path(path).name} does not fit the items of the pixel data; made anew")
        return None
    first = int(index.starts[0]) + 8
    return index if begins_frame(data[first : first + 8]) else None


def keep(path: Path, value: int, index: FrameIndex, warnings: list[str]) -> None:
    """Write the index of a file beside it, or say in a warning why it can't be written.

    Parameters
    ----------
    path
        The indexed file.
    value
        Where the first item of the Pixel Data stands.
    index
        What is kept.
    warnings
        Takes the line.
    """
    now = state(path)
    if now is None:
        return
    fields = now.size, now.modified, value, index.end, len(index.starts) - 1
    body = _MAGIC + _STATE.pack(*fields) + index.starts.astype("<i8").tobytes()
    try:
        with Sink(kept_path(path), overwrite=True) as sink:
            sink.write(body + xxhash.xxh3_128_digest(body))
            sink.finish()
            sink.commit()
    except OutputError as error:
        warnings.append(f"the frame index {error.message}")
