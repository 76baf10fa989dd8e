"""Files in the making: written, patched, read back, synced, and named as a whole or not at all."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import xxhash

from cinemill import party
from cinemill.errors import WouldGrow
from cinemill.pixel_format import Buffer
from cinemill.storage.atomic import drop, open_temporary, output_error, publish, sweep, sync
from cinemill.storage.digests import file_digest
from cinemill.storage.disk_space import begin_writing, claim

if TYPE_CHECKING:
    from cinemill.storage.likeness import Likeness

_LABEL = "user.cinemill"
_WORTH_WRITING = 16 << 20
"""Bytes at a time that the disk begins with before the end: a twentieth of the time of a long cine on two threads."""


class OutputFile:
    """An open file that grows, can be patched, and is read back before anybody else sees it.

    Parameters
    ----------
    path
        What the output will be called; errors name it.
    temporary
        Where it stands until then.
    file
        That file, open for writing and reading, unbuffered.
    likeness
        The mode and time that it takes over from another one, None for those of any new file.
    most
        Bytes that it may take; None for no limit.
    """

    def __init__(
        self,
        path: Path,
        temporary: Path,
        file: FileIO,
        likeness: Likeness | None = None,
        most: int | None = None,
    ) -> None:
        self.path, self.temporary, self._file = path, temporary, file
        self._most = most
        self._size = self._begun = 0
        self._deflater: zlib._Compress | None = None
        self._likeness = likeness
        self._hash: xxhash.xxh3_128 | None = None
        self._body = 0
        if likeness is not None:
            likeness.restrict(file.fileno())

    def write(self, *parts: Buffer) -> None:
        """Append bytes, in one go, deflated after `deflate` was called.

        Raises
        ------
        WouldGrow
            The file would take more bytes than it may.
        OutputError
            The disk is full or failed.
        """
        if self._deflater is not None:
            parts = tuple(map(self._deflater.compress, parts))
        self._append(parts)

    def _append(self, parts: Sequence[Buffer]) -> None:
        self._check_size(sum(map(len, parts)))
        try:
            written = os.writev(self._file.fileno(), parts)
            if written < sum(map(len, parts)):  # as where less than 2 GiB are taken at once
                rest = memoryview(b"".join(parts))
                while written < len(rest):
                    written += os.write(self._file.fileno(), rest[written:])
        except OSError as error:
            raise output_error(self.path, error) from None
        self._size += written
        if self._hash is not None:
            for part in parts:
                self._hash.update(part)
        if self._size - self._begun >= _WORTH_WRITING:
            begin_writing(self._file.fileno(), self._begun, self._size)
            self._begun = self._size

    def _check_size(self, more: int) -> None:
        if self._most is not None and self._size + more > self._most:
            raise WouldGrow(
                f"the output would take more than {self._most} bytes; nothing was kept",
                size=self._size + more,
                path=self.path,
            )

    def deflate(self) -> None:
        """Deflate everything from here on (PS3.5 §A.5, RFC 1951)."""
        self._deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)

    def reserve(self, size: int) -> None:
        """Claim disk space for so many bytes to come, where the file system can; `finish` gives back what is left.

        Raises
        ------
        WouldGrow
            The file may not take as many.
        OutputError
            The disk has not as much.
        """
        if self._deflater is not None:
            return
        self._check_size(size)
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

    def label(self, text: bytes) -> None:
        """Attach a text to the file that is no part of its bytes, where the file system can."""
        with suppress(OSError, AttributeError):
            os.setxattr(self._file.fileno(), _LABEL, text)

    def begin_body(self) -> None:
        """Say that nothing behind here will be patched, so that it is digested while it is written."""
        self._body, self._hash = self._size, xxhash.xxh3_128()

    def digest(self, without: range) -> tuple[int, str]:
        """Return where the body begins, and the digest of all bytes: see `cinemill.storage.digests.file_digest`.

        Nothing but `without` may change from here on.
        """
        if self._hash is None:
            self.begin_body()
        assert self._hash is not None
        return self._body, file_digest(self.read, self._size, self._body, without, digest=self._hash.copy())

    def stamp(self) -> int | None:
        """Give the file its time now, and return what the file system makes of it; None where it gets no other's."""
        return None if self._likeness is None else self._likeness.stamp(self._file.fileno())

    def end(self) -> None:
        """Write what a deflater still holds; `finish` does it too."""
        if self._deflater is not None:
            rest, self._deflater = self._deflater.flush(), None
            self._append((rest,))
            self._append((bytes(self._size % 2),))

    def finish(self) -> None:
        """Bring every byte to the disk; the file has still no name of its own.

        Raises
        ------
        OutputError
            The disk is full or failed.
        """
        self.end()
        try:
            self._file.truncate(self._size)
            if self._likeness is not None:
                self._likeness.give(self._file.fileno())
            self._sync()
        except OSError as error:
            raise output_error(self.path, error) from None

    def _sync(self) -> None:
        with party.waiting():
            os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            drop(self.temporary, self._file)  # while the lock is held, which others wait for
        with suppress(OSError):
            self._file.close()


class Sink(OutputFile):
    """One output file in the making. Leaving the context without `commit` removes every trace of it.

    Parameters
    ----------
    path
        Where the output will appear. Missing directories are made.
    overwrite
        Replace what stands there; else `commit` raises OutputExists.
    likeness
        The mode and time that it takes over from another one, None for those of any new file.
    most
        Bytes that it may take; None for no limit.

    Raises
    ------
    OutputError
        The directory can't be written, or the disk is full.
    """

    def __init__(
        self,
        path: Path,
        *,
        overwrite: bool = False,
        likeness: Likeness | None = None,
        most: int | None = None,
    ) -> None:
        self.overwrite = overwrite
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
            sweep(path)
            super().__init__(path, *open_temporary(path), likeness, most)
        except OSError as error:
            raise output_error(path, error) from None

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
        party.once(sync, self.path.parent)


def label_of(path: Path) -> bytes:
    """Return what `OutputFile.label` attached to a file, empty where there is nothing or the file system can't tell."""
    try:
        return os.getxattr(path, _LABEL)
    except (OSError, AttributeError):
        return b""


def relabel(path: Path, text: bytes) -> None:
    """Attach a text to a file that is there, where the file system can, and change nothing else of it."""
    with suppress(OSError, AttributeError):
        os.setxattr(path, _LABEL, text)
