"""What a file takes over from another one: its mode, never wider than that or than the umask allows, and its time."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

_READABLE, _EXECUTABLE = 0o444, 0o111


class Likeness(NamedTuple):
    """The mode and the time of last modification for a file that is made from another.

    Attributes
    ----------
    mode
        Permissions of the other; the new file has no wider ones.
    modified
        In ns.
    whole
        Whether it is the other's mode that is given, and not only what any new file would have of it.
    """

    mode: int
    modified: int
    whole: bool

    @classmethod
    def of(cls, path: Path, *, preserve: bool) -> Likeness | None:
        """Return that of a file, its time being now unless it is preserved; None where there is no file."""
        try:
            there = path.stat()
        except OSError:
            return None
        modified = there.st_mtime_ns if preserve else time.time_ns()
        return cls(stat.S_IMODE(there.st_mode) & 0o777, modified, preserve)

    def restrict(self, file: int) -> None:
        """Narrow an open file that is still to be written; its owner can read it in any case."""
        self._set_mode(file, os.fstat(file).st_mode & (self.mode | stat.S_IRUSR | stat.S_IWUSR))

    def narrow(self, path: Path) -> None:
        """Narrow a file or a directory; who may read the one may enter the other."""
        now = path.stat().st_mode
        mode = self.mode | stat.S_IRUSR | stat.S_IWUSR
        if stat.S_ISDIR(now):
            mode |= (mode & _READABLE) >> 2
        with suppress(OSError):  # a file system without modes
            path.chmod(stat.S_IMODE(now & mode))

    def give(self, file: int) -> None:
        """Give an open file, which nothing more is written to, its mode and time."""
        new = os.fstat(file).st_mode
        if self.whole:
            new |= _EXECUTABLE & ~_umask()
        self._set_mode(file, new & (self.mode | stat.S_IRUSR))
        self.stamp(file)

    def stamp(self, file: int) -> int:
        """Give an open file its time, and return it as the file system keeps it."""
        with suppress(OSError):  # a file system that keeps no times, or another owner's file
            os.utime(file, ns=(time.time_ns(), self.modified))
        return os.fstat(file).st_mtime_ns

    @staticmethod
    def _set_mode(file: int, mode: int) -> None:
        with suppress(OSError):  # a file system without modes
            os.fchmod(file, stat.S_IMODE(mode))


@cache
def _umask() -> int:
    """Return the process's umask where it can be read without setting it, else one that forbids all execution."""
    with suppress(OSError, LookupError, ValueError):
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.partition("Umask:")[2].split()[0], 8)
    return _EXECUTABLE
