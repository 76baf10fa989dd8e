"""Opens regular files only: no pipe is waited for, no device acts, and no link is followed where a helper file is meant."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def open_regular(path: Path, flags: int = os.O_RDONLY, mode: int = 0o666, *, follow: bool = False) -> int:
    """Open a file and return its descriptor, at once.

    Parameters
    ----------
    path
        The file.
    flags
        As `os.open` takes them.
    mode
        Permissions of a file that is made.
    follow
        Whether it may be a symbolic link; never for files whose names we choose ourselves.

    Raises
    ------
    OSError
        It can't be opened, or is no regular file (``EINVAL``; ``ELOOP`` for a link).
    """
    link = 0 if follow else os.O_NOFOLLOW
    file = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC | link, mode)
    kind = os.fstat(file).st_mode
    if stat.S_ISREG(kind):
        return file
    os.close(file)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_regular(path: Path, *, follow: bool = False) -> bytes:
    """Return what a file holds: see `open_regular`.

    Raises
    ------
    OSError
        It can't be read, or is no regular file.
    """
    with os.fdopen(open_regular(path, follow=follow), "rb") as file:
        return file.read()
