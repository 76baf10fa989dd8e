"""Temporary directories that end with the process that made them: those of killed ones go when another is made."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from cinemill.locks import claim, hold
from cinemill.storage.atomic import output_error

_PREFIX = "cinemill-scratch-"
_NEW = 60.0
"""Seconds in which one that was made may not be locked yet."""


@contextmanager
def scratch(where: Path | None = None) -> Iterator[Path]:
    """Yield a directory that only this user can enter, and remove it behind the context.

    Parameters
    ----------
    where
        A directory in which it is made; by default that for temporary files.

    Raises
    ------
    OutputError
        There is no room for it.
    FileNotFoundError
        There is nowhere to make it.
    """
    place = where or Path(gettempdir())
    _sweep(place)
    with _made(place, _PREFIX) as folder:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            hold(lock)
            yield Path(folder)
        finally:
            os.close(lock)


@contextmanager
def scratch_within(folder: Path) -> Iterator[Path]:
    """Yield a directory in a scratch one, for outputs: it has no lock that those would wait for.

    Raises
    ------
    OutputError
        There is no room for it.
    """
    with _made(folder) as within:
        yield Path(within)


def _made(place: Path, prefix: str | None = None) -> TemporaryDirectory[str]:
    try:
        return TemporaryDirectory(prefix=prefix, dir=place)
    except OSError as error:
        raise output_error(place, error) from None


def _sweep(folder: Path) -> None:
    """Remove what killed processes left; where there are no locks, it stays."""
    for left in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            there = left.lstat()
            if there.st_uid != os.geteuid() or time.time() - there.st_mtime < _NEW:
                continue
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if claim(lock):
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)
