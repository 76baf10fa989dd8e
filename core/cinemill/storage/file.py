"""Writes Part 10 files that appear whole or not at all: temporary file, fsync, exclusive link, directory fsync."""

from __future__ import annotations

import errno
import fcntl
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from cinemill.errors import CinemillError, OutputError, OutputExists
from cinemill.pixel_format import Buffer
from cinemill.storage.disk_space import begin_writing, claim

IMPLEMENTATION_CLASS_UID = "2.25.111749976784744153086873693828402029034"
"""Identifies files written by cinemill (PS3.7 §D.3.3.2)."""

_TEMPORARY = ".part"
_AT_ONCE = 8
"""Processes that may write the same output at the same time."""
_PATIENCE = 3.0
_WORTH_WRITING = 16 << 20
"""Bytes at a time that the disk begins with before the end: a twentieth of the time of a long cine on two threads."""


class Sink:
    """One output file in the making. Leaving the context without `commit` removes every trace of it.

    Parameters
    ----------
    path
        Where the output will appear. Missing directories are made.
    overwrite
        Replace what stands there; else `commit` raises OutputExists.

    Raises
    ------
    OutputError
        The directory can't be written, or the disk is full.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path = path
        self.overwrite = overwrite
        self._size = self._begun = 0
        self._deflater: zlib._Compress | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            sweep(path)
            self.temporary, self._file = _open_temporary(path)
        except OSError as error:
            raise output_error(path, error) from None

    def write(self, *parts: Buffer) -> None:
        """Append bytes, in one go, deflated after `deflate` was called."""
        if self._deflater is not None:
            parts = tuple(map(self._deflater.compress, parts))
        self._append(parts)

    def _append(self, parts: Sequence[Buffer]) -> None:
        try:
            written = os.writev(self._file.fileno(), parts)
            if written < sum(map(len, parts)):  # as where less than 2 GiB are taken at once
                rest = memoryview(b"".join(parts))
                while written < len(rest):
                    written += os.write(self._file.fileno(), rest[written:])
        except OSError as error:
            raise output_error(self.path, error) from None
        self._size += written
        if self._size - self._begun >= _WORTH_WRITING:
            begin_writing(self._file.fileno(), self._begun, self._size)
            self._begun = self._size

    def deflate(self) -> None:
        """Deflate everything from here on (PS3.5 §A.5, RFC 1951)."""
        self._deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)

    def reserve(self, size: int) -> None:
        """Claim disk space for so many bytes to come, where the file system can; `finish` gives back what is left.

        Raises
        ------
        OutputError
            The disk has not as much.
        """
        if self._deflater is not None:
            return
        try:
            claim(self._file.fileno(), size)
        except OSError as error:
            raise output_error(self.path, error) from None

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._size

    def patch(self, offset: int, data: bytes) -> None:
        """Overwrite bytes written before."""
        try:
            if os.pwrite(self._file.fileno(), data, offset) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise output_error(self.path, error) from None

    def read(self, offset: int, length: int) -> bytes:
        """Read back from the file what was written to it. Thread-safe."""
        return os.pread(self._file.fileno(), length, offset)

    def finish(self) -> None:
        """Bring every byte to the disk; the file has still no name of its own.

        Raises
        ------
        OutputError
            The disk is full or failed.
        """
        if self._deflater is not None:
            self._append((self._deflater.flush(),))
            self._append((bytes(self._size % 2),))
        try:
            self._file.truncate(self._size)
            os.fsync(self._file.fileno())
        except OSError as error:
            raise output_error(self.path, error) from None

    def commit(self) -> None:
        """Give the finished file its name, in one step.

        Raises
        ------
        OutputExists
            Something stands there, and overwriting was not asked for.
        OutputError
            The file system refused.
        """
        publish(self.temporary, self.path, overwrite=self.overwrite)
        sync(self.path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.temporary.unlink(missing_ok=True)


def sweep(path: Path) -> None:
    """Remove temporary files that a killed process left for this output; those in use are locked and stay.

    A process killed while it waits for the disk holds its lock a little longer, so locks are given some time.
    """
    for stale in _temporaries(path):
        with suppress(OSError), stale.open("rb") as file:
            _lock(file, _PATIENCE)
            stale.unlink()


def publish(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Give a finished file or directory its name, in one step.

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


def sync(path: Path) -> None:
    """Bring a file, or a directory's entries, to the disk.

    Raises
    ------
    OutputError
        The file system refused.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise output_error(path, error) from None


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


def output_error(path: Path, error: OSError) -> CinemillError:
    """Turn an error of the operating system into one that says what to do."""
    advice = {
        errno.ENOSPC: f"the disk is full{_numbers(error)}; free some space and run the same command again",
        errno.EDQUOT: "the quota is exhausted; free some space and run the same command again",
        errno.EFBIG: "the file system can't hold so large a file",
        errno.EACCES: "permission denied; check the directory's owner and mode",
        errno.EPERM: "permission denied; check the directory's owner and mode",
        errno.EROFS: "the file system is read-only",
        errno.ENAMETOOLONG: "the name is too long for this file system",
        errno.ENOTDIR: "a part of the path is not a directory",
        errno.EEXIST: "a part of the path is not a directory",
    }
    return OutputError(f"can't be written: {advice.get(error.errno or 0, error.strerror)}", path=path)


def _numbers(error: OSError) -> str:
    """Return what `claim` says of the disk, nothing where the system ran into its end."""
    said = error.strerror or ""
    return "" if said == os.strerror(errno.ENOSPC) else f": {said}"


def _open_temporary(path: Path) -> tuple[Path, FileIO]:
    """Make and lock a temporary file; another process may sweep it away before it is locked."""
    for temporary in _temporaries(path):
        try:
            file = temporary.open("xb+", buffering=0)
        except FileExistsError:
            continue
        with suppress(OSError):  # a file system without locks keeps what a killed process leaves
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()
    raise OSError(errno.EBUSY, f"{_AT_ONCE} processes are writing it already")


def _temporaries(path: Path) -> Iterator[Path]:
    """Yield all names that an output has while it is made: few, so that none is searched for in large directories."""
    stem = _stem(path)
    return (path.with_name(f".{stem}.{number}{_TEMPORARY}") for number in range(_AT_ONCE))


def _stem(path: Path) -> str:
    """Return what of a name leaves room for more: file systems limit bytes, not characters."""
    return os.fsdecode(os.fsencode(path.name)[:200])


def _link_exclusively(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
            raise
        if path.exists():
            raise FileExistsError(path) from None
        temporary.rename(path)
