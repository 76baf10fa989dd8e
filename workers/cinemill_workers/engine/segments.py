"""The files of a job's folder: segments of zstd frames, each some records as JSON lines, and a description of the job.

Every process that writes begins segments of its own. A record is in a file for good once `Segment.append` has returned.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from cinemill.errors import UsageError
from cinemill.storage.atomic import make_folder, output_error, sync
from cinemill.storage.file import Sink
from cinemill.storage.private import flush
from cinemill.storage.regular import open_regular
from cinemill_workers.ledger.model import Job

logger = logging.getLogger(__name__)

DESCRIPTION = "job.json"
LARGEST = 32 << 20
"""Bytes of a segment after which another one is begun."""

_SUFFIX = ".jsonl.zst"
_NAME = re.compile(r"[0-9]{6,}\.jsonl\.zst")
_MAGIC = (0xFD2FB528).to_bytes(4, "little")
_LEVEL = 1
_NOTHING = zstandard.ZstdCompressor().compress(b"")
"""Begins each segment, for an empty file is none."""

_SMALL_PIECE, _PIECE = 1 << 12, 1 << 17


def folder_of(job: Job) -> Path:
    """Return the folder of a job.

    Raises
    ------
    UsageError
        An earlier version of cinemill began the job.
    """
    if not job.folder:
        raise UsageError(
            f"job {job.id} was begun by an earlier version of cinemill, which kept its receipts elsewhere: "
            "read it with that version, or submit it again, finished outputs are kept"
        )
    return Path(job.folder)


class Segment:
    """A segment in the making, the last one of its folder when it is begun.

    Raises
    ------
    OutputError
        It can't be made.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        try:
            self.path = _begin(folder)
            sync(folder)
        except OSError as error:
            raise output_error(folder, error) from None
        self.size = len(_NOTHING)
        self._compress = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress

    @property
    def name(self) -> str:
        """Its name, which sorts behind those of all segments before it."""
        return self.path.name

    def append(self, records: Sequence[bytes]) -> None:
        """Bring records to the disk; a segment to which that failed must be given up.

        The file is opened each time: one that is not there any more takes nothing.

        Raises
        ------
        OutputError
            The disk is full or failed, or the file is not as it was left.
        """
        frame = memoryview(self._compress(b"".join(records)))
        size = self.size + len(frame)
        try:
            with os.fdopen(open_regular(self.path, os.O_WRONLY | os.O_APPEND), "ab", buffering=0) as file:
                if os.fstat(file.fileno()).st_size != self.size:
                    raise OSError(errno.ESTALE, "somebody else changed it")
                try:
                    while frame:
                        frame = frame[file.write(frame) :]
                    flush(file)
                except OSError:
                    with suppress(OSError):
                        file.truncate(self.size)
                    raise
        except OSError as error:
            raise output_error(self.path, error) from None
        self.size = size


def _begin(folder: Path) -> Path:
    """Make the next segment of a folder."""
    number = max((int(path.name.removesuffix(_SUFFIX)) for path in segments(folder)), default=0)
    while True:
        number += 1
        path = folder / f"{number:06}{_SUFFIX}"
        with suppress(FileExistsError), path.open("xb") as file:
            file.write(_NOTHING)
            return path


def mend(segment: Segment) -> None:
    """Cut off what of a frame a killed process left in the segment before this one, so that other programs can read it.

    Whoever may write it must be kept from letting records go that are in it.

    Raises
    ------
    OutputError
        The disk failed.
    """
    for path in [path for path in segments(segment.path.parent) if path < segment.path][-1:]:
        try:
            size = path.stat().st_size
            end = max((end for _, end in frames(path, size)), default=0)
            if end == 0:
                path.unlink()
            elif end < size:
                os.truncate(path, end)
                sync(path)
        except OSError as error:
            raise output_error(path, error) from None


def segments(folder: Path) -> list[Path]:
    """Return the segments of a folder, in the order in which they were begun; copies that others made are none."""
    with suppress(FileNotFoundError):
        return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    return []


def frames(path: Path, size: int) -> Iterator[tuple[bytes, int]]:
    """Yield what the whole frames of a segment hold, each with the place of its end.

    What is torn or damaged is passed over: after a power cut, it was written again. Damage before whole frames is told.

    Parameters
    ----------
    path
        The segment.
    size
        So many bytes of it.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        start = whole = 0
        while start < size:
            file.seek(start)
            found, end = _frame(file.read, start, size)
            if found is None:
                start = _next(file, start + 1, size)
                continue
            if start > whole:
                logger.warning("%s: bytes %d to %d are damaged; records are lost there", path, whole, start)
            yield found, end
            start = whole = end


def _frame(read: Callable[[int], bytes], start: int, size: int) -> tuple[bytes | None, int]:
    """Decompress the frame at which a file is; None if it is not whole."""
    decompress = zstandard.ZstdDecompressor().decompressobj()
    parts = []
    length = _SMALL_PIECE
    try:
        while start < size and (piece := read(min(length, size - start))):
            length = _PIECE
            parts.append(decompress.decompress(piece))
            start += len(piece)
            if decompress.eof:
                return b"".join(parts), start - len(decompress.unused_data)
    except zstandard.ZstdError:
        pass
    return None, start


def _next(file: BinaryIO, start: int, size: int) -> int:
    """Return where a frame may begin at or behind a place; the end if none does."""
    file.seek(start)
    rest = file.read(size - start).find(_MAGIC)
    return start + rest if rest >= 0 else size


def describe(folder: Path, about: dict[str, Any]) -> None:
    """Write down what the job of a folder is, and what became of it.

    Raises
    ------
    OutputError
        The disk is full or failed.
    """
    with Sink(folder / DESCRIPTION, overwrite=True) as sink:
        sink.write(json.dumps(about, indent=2).encode() + b"\n")
        sink.finish()
        sink.commit()


def description(folder: Path) -> dict[str, Any]:
    """Return what the description of a job's folder says; nothing if there is none."""
    try:
        about = json.loads((folder / DESCRIPTION).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}
