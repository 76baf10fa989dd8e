"""Temporary directories that end with the process that made them: those of killed ones go when another is made."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from cinemill.locks import claim, hold
from cinemill.storage.atomic import output_error

_PREFIX = "cinemill-scratch-"
_LOCK = ".lock"
"""A file of its own: directories are locked by who writes into them."""

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
    try:
        made = TemporaryDirectory(prefix=_PREFIX, dir=place)
    except OSError as error:
        raise output_error(place, error) from None
    with made as folder:
        lock = _open_lock(Path(folder))
        try:
            hold(lock)
            yield Path(folder)
        finally:
            os.close(lock)


def _open_lock(folder: Path) -> int:
    return os.open(folder / _LOCK, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _sweep(place: Path) -> None:
    """Remove what killed processes left; where there are no locks, it stays."""
    for left in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            there = left.lstat()
            is_ours = stat.S_ISDIR(there.st_mode) and there.st_uid == os.geteuid()
            if not is_ours or time.time() - there.st_mtime < _NEW:
                continue
            lock = _open_lock(left)
            try:
                if claim(lock):
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)
