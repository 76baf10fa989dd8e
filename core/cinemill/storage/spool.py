"""Streams written down in a temporary file, since frames and tables are reached by their offsets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cinemill.errors import UsageError

_PIECE = 1 << 20


@contextmanager
def spooled(stream: BinaryIO, name: str) -> Iterator[Path]:
    """Keep what a stream holds in a file in ``TMPDIR`` for the time of the context, piece by piece.

    Parameters
    ----------
    stream
        Open for reading.
    name
        Of the file.

    Raises
    ------
    UsageError
        There is no room for it.
    """
    from shutil import copyfileobj

    from cinemill.storage.scratch import scratch

    with scratch() as folder:
        spool = folder / name
        try:
            with spool.open("wb") as file:
                copyfileobj(stream, file, _PIECE)
        except OSError as error:
            raise UsageError(f"{name} can't be kept in {folder}: {error.strerror}; set TMPDIR") from None
        yield spool
