"""Files that get their names in one step: hidden while they are made, then linked or renamed, and synced."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from cinemill.errors import CinemillError, NoRoom, OutputError, OutputExists
from cinemill.locks import hold
from cinemill.storage.regular import open_regular

NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))
NO_LINKS = frozenset((errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))
"""What file systems without links say of one."""

_TEMPORARY = ".part"
_AT_ONCE = 8
"""Processes that may write the same output at the same time."""
_PATIENCE = 3.0
_making = threading.Lock()


def open_temporary(path: Path) -> tuple[Path, FileIO]:
    """Make and lock a temporary file; another process may sweep it away before it is locked.

    A file system without locks keeps what a killed process leaves.
    """
    for temporary in map(Path, _temporaries(path)):
        try:
            file = temporary.open("xb+", buffering=0)
        except FileExistsError:
            continue
        hold(file)
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()
    raise OSError(errno.EBUSY, f"{_AT_ONCE} processes are writing it already")


def sweep(path: Path) -> None:
    """Remove temporary files that a killed process left for this output; those in use are locked and stay, as does what is none.

    A process killed while it waits for the disk holds its lock a little longer, so locks are given some time.
    """
    for stale in filter(os.path.lexists, _temporaries(path)):
        with suppress(OSError), os.fdopen(open_regular(Path(stale)), "rb") as file:
            _lock(file, _PATIENCE)
            drop(Path(stale), file)


def sweep_beginning(path: Path) -> None:
    """Do so for all outputs that stand in this directory and whose names begin so."""
    with suppress(OSError):
        left = [each.stem for each in path.parent.iterdir() if each.suffix == _TEMPORARY]
        for name in {each.removeprefix(".").rpartition(".")[0] for each in left}:
            if name.startswith(path.name):
                sweep(path.with_name(name))


def drop(temporary: Path, file: BinaryIO | FileIO) -> None:
    """Remove a temporary file that is locked, unless it has gone and its name is that of another one meanwhile.

    Raises
    ------
    OSError
        It can't be removed.
    """
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(file.fileno()), temporary.lstat()):
            temporary.unlink()


def publish(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Give a finished file or directory its name, in one step.

    Parameters
    ----------
    temporary
        The finished file or directory.
    path
        Its name.
    overwrite
        Replace what stands there.

    Raises
    ------
    OutputExists
        Something stands there, and overwriting was not asked for.
    OutputError
        The file system refused.
    """
    try:
        if temporary.is_dir():
            temporary.rename(path)
        elif overwrite:
            temporary.replace(path)
        else:
            _link_exclusively(temporary, path)
    except OSError as error:
        taken = temporary.is_dir() and error.errno in {errno.ENOTEMPTY, errno.ENOTDIR}
        if taken or isinstance(error, FileExistsError):
            raise OutputExists("exists already; use --overwrite to replace it", path=path) from None
        raise output_error(path, error) from None


def make_folder(folder: Path) -> Path:
    """Make a directory and those above it; all of them are on the disk when it is returned.

    Raises
    ------
    OutputError
        The file system refused.
    """
    with _making:  # nobody believes a directory that another thread made and did not sync
        missing = []
        lowest = folder
        while not lowest.is_dir():
            missing.append(lowest)
            lowest = lowest.parent
        for each in reversed(missing):
            try:
                each.mkdir(exist_ok=True)
            except OSError as error:
                raise output_error(each, error) from None
            sync(each.parent)
    return folder


def sync(path: Path) -> None:
    """Bring a file, or a directory's entries, to the disk.

    Raises
    ------
    OutputError
        The file system refused.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise output_error(path, error) from None


def output_error(path: Path, error: OSError) -> CinemillError:
    """Turn an error of the operating system into one that says what to do; ours says so already."""
    if isinstance(error, CinemillError):
        return error
    advice = {
        errno.ENOSPC: f"the disk is full{_numbers(error)}; free some space and run the same command again",
        errno.EDQUOT: "the quota is exhausted; free some space and run the same command again",
        errno.EFBIG: "the file system, or a limit of this process (`ulimit -f`), takes no file so large",
        errno.EACCES: "permission denied; check the directory's owner and mode",
        errno.EPERM: "permission denied; check the directory's owner and mode",
        errno.EROFS: "the file system is read-only",
        errno.ENAMETOOLONG: "the name is too long for this file system",
        errno.ENOTDIR: "a part of the path is not a directory",
        errno.EEXIST: "a part of the path is not a directory",
    }
    kind = NoRoom if is_no_room(error) else OutputError
    return kind(f"can't be written: {advice.get(error.errno or 0, error.strerror)}", path=path)


def is_no_room(error: OSError) -> bool:
    """Whether an error says that nothing fits any more: a full disk, an exhausted quota."""
    return error.errno in NO_ROOM


def _numbers(error: OSError) -> str:
    """Return what `claim` says of the disk, nothing where the system ran into its end."""
    said = error.strerror or ""
    return "" if said == os.strerror(errno.ENOSPC) else f": {said}"


def _temporaries(path: Path) -> Iterator[str]:
    """Yield all names that an output has while it is made: few, so that none is searched for in large directories."""
    beginning = str(path.parent / f".{_stem(path)}")
    return (f"{beginning}.{number}{_TEMPORARY}" for number in range(_AT_ONCE))


def _stem(path: Path) -> str:
    """Return what of a name leaves room for more: file systems limit bytes, not characters."""
    return os.fsdecode(os.fsencode(path.name)[:200])


def _lock(file: BinaryIO, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _link_exclusively(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if path.exists():
            raise FileExistsError(path) from None
        temporary.rename(path)
