"""Where instances are: a location is a path; what is none, such as a URL, is refused by name."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from cinemill.errors import UsageError

Location: TypeAlias = "str | os.PathLike[str]"

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


class State(NamedTuple):
    """By what a file is known to be the same as before.

    Attributes
    ----------
    size
        In bytes.
    modified
        Time of the last modification, in ns.
    """

    size: int
    modified: int


def located(location: Location) -> Path:
    """Return a location as the path of a file or directory.

    Raises
    ------
    UsageError
        It is empty, a URL, or begins with a ``~`` that no shell has expanded.
    """
    text = os.fspath(location)
    if not text:
        raise UsageError("a path is empty; expected that of a file or directory (is a variable unset?)")
    if _URL.match(text):
        raise UsageError(f"{text} is a URL; expected the path of a file or directory")
    home = text.partition("/")[0]
    expanded = os.path.expanduser(home)  # noqa: PTH111  # leaves what is no user as it is
    if expanded != home and not os.path.lexists(home):
        raise UsageError(f"{text} begins with ~, which is not expanded here; write the home directory out")
    return Path(text)


def each_located(locations: Location | Iterable[Location]) -> list[Path]:
    """Return one location, or each of several: see `located`."""
    several = [locations] if isinstance(locations, str | os.PathLike) else locations
    return [located(each) for each in several]


def state(location: Location) -> State | None:
    """Return the state of a file, None where there is no such file."""
    there = _status(location)
    return None if there is None else State(there.st_size, there.st_mtime_ns)


def size(location: Location) -> int:
    """Return the bytes of a file, 0 where there is none."""
    there = _status(location)
    return there.st_size if there is not None and stat.S_ISREG(there.st_mode) else 0


def _status(location: Location) -> os.stat_result | None:
    try:
        return os.stat(location)  # noqa: PTH116  # a path is made of it in no time, but not of thousands
    except OSError:
        return None


def total_size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a directory; 0 where there is none."""
    return sum(map(size, path.rglob("*"))) if path.is_dir() else size(path)


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two locations are one and the same file."""
    return one.exists() and other.exists() and one.samefile(other)
