"""Locks of files and directories among processes, where the file system has them: network file systems may have none."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from typing import IO


def hold(file: IO[bytes] | int) -> None:
    """Wait until no other process has a file, and have it until it is closed; without locks, several may."""
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)


def share(file: IO[bytes] | int) -> None:
    """Wait until no other process has a file alone, and have it with others until it is closed; without locks, at once."""
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH)


def claim(file: IO[bytes] | int) -> bool:
    """Have a file until it is closed, unless another process has it: then return False.

    Raises
    ------
    OSError
        The file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def occupy(file: IO[bytes] | int) -> bool:
    """Do what `claim` does; without locks, several processes may have the file."""
    try:
        return claim(file)
    except OSError:
        return True
