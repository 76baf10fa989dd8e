"""Files that only their owner reads: written once, or appended to by many processes under a lock."""

from __future__ import annotations

import fcntl
import os
import stat
import warnings
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from cinemill.storage.atomic import sync

_MODE = 0o600


def write_new(path: Path, data: bytes) -> None:
    """Write a file that was not there, and sync it; warn where others can read it all the same.

    Raises
    ------
    FileExistsError
        Something stands there.
    OSError
        It can't be written.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb") as file:
        file.write(data)
        flush(file)
        _warn_if_exposed(path, file)
    sync(path.absolute().parent)


def open_locked(path: Path) -> BinaryIO:
    """Open a file for reading and writing, made if need be; nobody else has it open in this way until it is closed.

    A new one that others can read all the same is warned of.

    Raises
    ------
    OSError
        It can't be opened, or locked: several processes append to it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    file = os.fdopen(handle, "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        file.close()
        raise OSError(error.errno, "its file system has no locks, which it needs; choose another") from None
    if not os.fstat(handle).st_size:
        _warn_if_exposed(path, file)
    return file


def _warn_if_exposed(path: Path, file: BinaryIO) -> None:
    mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    if mode & ~_MODE & 0o777:
        warnings.warn(
            f"{path} can be read by others: its file system gives it the mode {mode:o}, not {_MODE:o}; keep it on another",
            stacklevel=2,
        )


def flush(file: BinaryIO | FileIO) -> None:
    """Have the disk hold what was written."""
    file.flush()
    os.fsync(file.fileno())
