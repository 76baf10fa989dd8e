"""Files as bytes without reading them: mapped into memory, and told what of them is wanted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from mmap import ACCESS_READ, MADV_DONTNEED, MADV_NORMAL, MADV_RANDOM, MADV_WILLNEED, PAGESIZE, mmap
from pathlib import Path
from typing import TypeAlias

from cinemill.errors import DamagedFile, MissingFile, NotAFile, NotDicom, NotPermitted, Unreadable
from cinemill.storage.regular import open_regular

Bytes: TypeAlias = "bytes | mmap | memoryview"

PIECE = 8 << 20
"""Bytes that are read at once."""


def map_file(path: Path, *, follow: bool = True) -> Bytes:
    """Return the bytes of a file, none of which is read before it is touched; of a link only where it may be followed.

    Raises
    ------
    NotDicom
        The file is empty.
    DamagedFile
        It is a pipe or a device.
    Unreadable
        There is no such file, it is a directory, or the system does not let it be read.
    """
    try:
        state = path.stat(follow_symlinks=follow)
        if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
            raise DamagedFile(
                "not a regular file: it is a pipe or a device, not a file; give - as the source and pipe the file into it"
            )
        if state.st_size == 0:
            raise NotDicom("the file is empty")
        file = open_regular(path, follow=follow)
        try:
            mapped = mmap(file, 0, access=ACCESS_READ)
        finally:
            os.close(file)
    except NotDicom:
        raise
    except OSError as error:
        raise _unreadable(path, error) from None
    read_ahead(mapped, wanted=False)
    return mapped


def of_directory(path: Path) -> str:
    """Say why a directory stands where a file is expected."""
    if path.is_symlink():
        return "is a link to a directory, which is not followed; name that directory as a source too"
    if not os.access(path, os.R_OK | os.X_OK):
        return "is a directory that can't be listed; let this user read it"
    return "is a directory and no file, or failed to be listed; name files in it"


def _unreadable(path: Path, error: OSError) -> Unreadable:
    """Return our error for one of the system."""
    match error:
        case FileNotFoundError():
            found: Unreadable = MissingFile("no such file; check the path")
        case IsADirectoryError():
            found = NotAFile(of_directory(path))
        case PermissionError():
            found = NotPermitted(f"can't be read: {error.strerror}; let this user read it")
        case _:
            found = Unreadable(f"can't be read: {error.strerror}")
    found.errno, found.filename = error.errno, str(path)
    return found


def map_pieces(pieces: Iterable[bytes]) -> Bytes:
    """Return pieces joined in an unnamed temporary file, so that their size does not matter.

    Raises
    ------
    OSError
        The temporary directory has no room.
    """
    from tempfile import TemporaryFile

    with TemporaryFile() as file:
        file.writelines(pieces)
        file.flush()
        return mmap(file.fileno(), 0, access=ACCESS_READ) if file.tell() else b""


def pieces(data: Bytes, start: int = 0, end: int | None = None) -> Iterable[memoryview]:
    """Yield a mapped file's bytes in pieces; where there are several, the memory of each is given back before the next.

    Parameters
    ----------
    data
        The file.
    start, end
        Offsets between which they stand; all of them by default.
    """
    with memoryview(data) as view:
        stop = len(view) if end is None else end
        for at in range(start, stop, PIECE):
            with view[at : min(at + PIECE, stop)] as piece:
                yield piece
            if stop - start > PIECE:
                forget(data)


def only_zeros(data: Bytes, start: int, end: int) -> bool:
    """Whether nothing but zeros stands between two offsets of a mapped file.

    Parameters
    ----------
    data
        The file.
    start, end
        The offsets.
    """
    return not any(bytes(piece).strip(b"\0") for piece in pieces(data, start, end))


def holds(data: Bytes, wanted: bytes, start: int, end: int) -> bool:
    """Whether some bytes stand between two offsets of a mapped file.

    Parameters
    ----------
    data, wanted
        The file, and what is looked for.
    start, end
        The offsets.
    """
    before = b""
    for piece in pieces(data, start, end):
        read = before + piece
        if wanted in read:
            return True
        before = read[1 - len(wanted) :]
    return False


def forget(data: Bytes) -> None:
    """Give back the memory of a mapped file's pages that were touched; they return when they are touched again."""
    if isinstance(data, mmap):
        data.madvise(MADV_DONTNEED)


def read_ahead(data: Bytes, *, wanted: bool) -> None:
    """Say whether the system may read more of a mapped file than is touched, which can be megabytes."""
    if isinstance(data, mmap):
        data.madvise(MADV_NORMAL if wanted else MADV_RANDOM)


def fetch(data: Bytes, start: int, end: int) -> None:
    """Have the system read a part of a mapped file in one go, before its pages are touched one by one.

    Parameters
    ----------
    data
        The mapped file; nothing happens for other bytes.
    start, end
        Byte offsets of the part.
    """
    if isinstance(data, mmap) and end > start:
        page = start // PAGESIZE * PAGESIZE
        data.madvise(MADV_WILLNEED, page, end - page)
