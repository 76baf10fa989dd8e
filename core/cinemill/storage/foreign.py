"""What stands where a report, a page or a table is to be written: one of ours is replaced or continued, another's file never is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cinemill.errors import OutputExists, UsageError


def check_ours(path: Path, is_ours: Callable[[Path], bool], what: str) -> None:
    """Raise where something stands that is not of the kind that is to be written there.

    Parameters
    ----------
    path
        Where it is to be written.
    is_ours
        Whether a file, which is not empty, is of that kind.
    what
        The kind.

    Raises
    ------
    UsageError
        It is none, is no regular file, or can't be read.
    """
    if not path.exists():
        return
    if not path.is_file():
        raise UsageError("is no regular file; name another file", path=path)
    try:
        if path.stat().st_size and not is_ours(path):
            raise UsageError(f"exists and is no {what}; name another file", path=path)
    except OSError as error:
        raise UsageError(f"exists and can't be read: {error.strerror}", path=path) from None


def check_free(path: Path) -> None:
    """Raise where anything stands, before it takes long to make what is to be written there.

    Raises
    ------
    OutputExists
        Something does.
    """
    if path.exists():
        raise OutputExists("exists already; use --overwrite to replace it", path=path)


def begins(path: Path, *beginnings: bytes) -> bool:
    """Whether a file begins with one of these."""
    with path.open("rb") as file:
        return file.read(max(map(len, beginnings))).startswith(beginnings)
