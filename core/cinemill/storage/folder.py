"""Writes several files that belong together: they are made in a hidden directory and get their names at the end."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from cinemill.errors import OutputError, OutputExists
from cinemill.locks import claim, hold
from cinemill.pixel_format import Buffer
from cinemill.storage import atomic
from cinemill.storage.atomic import output_error, publish, sync
from cinemill.storage.file import OutputFile
from cinemill.storage.likeness import Likeness
from cinemill.storage.names import safe_stem

_SYNCS_AT_ONCE, _SYNCS_PENDING = 4, 64
_AT_ONCE = 256
"""Processes that may write into the same directory at the same time."""


class Staging:
    """Output files in the making. Leaving the context without `commit` removes every trace of them.

    Parameters
    ----------
    directory
        Where the outputs will appear. Made if it is missing.
    overwrite
        Replace what stands there; else a name taken by something different raises OutputExists.
    likeness
        Of the file whose permissions all outputs have at most.

    Raises
    ------
    OutputError
        The directory can't be written.
    """

    def __init__(self, directory: Path, *, overwrite: bool = False, likeness: Likeness | None = None) -> None:
        self.directory = directory
        self._likeness = likeness
        self.overwrite = overwrite
        self._names: list[str] = []
        self._files: list[BinaryIO] = []
        self._syncs: deque[Future[None]] = deque()
        self._written: set[Path] = set()
        self._syncer = ThreadPoolExecutor(_SYNCS_AT_ONCE, thread_name_prefix="cinemill-sync")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with _locked(directory, hold):
                _sweep(directory)
                self._temporary = _make_temporary(directory)
                if likeness is not None:
                    likeness.narrow(self._temporary)
                self._held = ExitStack()
                self._held.enter_context(_locked(self._temporary, hold, os.O_NOFOLLOW))
        except OSError as error:
            raise output_error(directory, error) from None

    def reserve(self, name: str) -> Path:
        """Announce an output, file or directory, and return where to make it."""
        self._names.append(name)
        return self._temporary / name

    def open(self, name: str) -> BinaryIO:
        """Announce an output file and open it; it is closed at the end at the latest."""
        self._files.append(self.reserve(name).open("wb"))
        return self._files[-1]

    def create(self, path: Path) -> OutputFile:
        """Open one whole file at a reserved place; once it is finished, it is on its way to the disk. Thread-safe.

        Raises
        ------
        OutputError
            The disk is full or failed.
        """
        try:
            return _StagedFile(self, path)
        except OSError as error:
            raise output_error(self.directory / path.name, error) from None

    def write(self, path: Path, *parts: Buffer) -> None:
        """Write one whole file at a reserved place; it is on its way to the disk then. Thread-safe.

        Raises
        ------
        OutputError
            The disk is full or failed.
        """
        try:
            with path.open("wb") as file:
                file.writelines(parts)
        except OSError as error:
            raise output_error(self.directory / path.name, error) from None
        self.settle(path)

    def settle(self, path: Path) -> None:
        """Take a finished file over, and have it brought to the disk."""
        self._written.add(path)
        self._sync(path)

    def _sync(self, path: Path) -> None:
        """Have a file brought to the disk; wait for earlier ones where too many are on their way."""
        self._syncs.append(self._syncer.submit(sync, path))
        self._await_syncs(_SYNCS_PENDING)

    def _await_syncs(self, pending: int) -> None:
        while len(self._syncs) > pending:
            with suppress(IndexError):  # another thread took it
                self._syncs.popleft().result()

    @property
    def size(self) -> int:
        """Bytes of all files made so far."""
        return sum(path.stat().st_size for path in self._temporary.rglob("*") if path.is_file())

    def commit(self) -> bool:
        """Give all outputs their names; what stands there already, byte for byte, is kept.

        Returns
        -------
        bool
            Whether anything was new.

        Raises
        ------
        OutputExists
            Something different has one of the names, and overwriting was not asked for; none of the outputs stays.
        OutputError
            The file system refused.
        """
        for path in self._temporary.rglob("*"):
            if self._likeness is not None:
                self._likeness.narrow(path)
            if path not in self._written:
                self._sync(path)
        self._await_syncs(0)
        named: list[Path] = []
        try:
            for name in self._names:
                made, path = self._temporary / name, self.directory / name
                if self.overwrite and path.is_dir():
                    path.rename(self._temporary / f"{name}.replaced")
                try:
                    publish(made, path, overwrite=self.overwrite)
                except OutputExists:
                    if not _same(made, path):
                        raise
                else:
                    named.append(path)
        except OutputError:
            for path in named if not self.overwrite else ():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            raise
        sync(self.directory)
        return bool(named)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._syncer.shutdown(cancel_futures=True)
        for file in self._files:
            with suppress(OSError):
                file.close()
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._held.close()


class _StagedFile(OutputFile):
    """One file of a staging; it stays there when its context is left after `finish`."""

    def __init__(self, staging: Staging, path: Path) -> None:
        super().__init__(staging.directory / path.name, path, path.open("xb+", buffering=0))
        self._staging = staging
        self._finished = False

    def _sync(self) -> None:
        self._finished = True
        self._staging.settle(self.temporary)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._finished and kind is None:
            self._file.close()
        else:
            super().__exit__(kind, error, trace)


def _same(made: Path, there: Path) -> bool:
    """Compare two files, or two directories with all they hold, byte for byte."""
    if not made.is_dir():
        return there.is_file() and filecmp.cmp(made, there, shallow=False)
    parts, others = ({path.relative_to(root) for path in root.rglob("*")} for root in (made, there))
    return parts == others and all(
        _same(made / part, there / part) for part in parts if (made / part).is_file()
    )


def clear(source: Path, output: Path) -> None:
    """Remove what killed processes left of a source's output, which nobody will try to write again.

    That is a file, a directory, or files in a directory that are called after the source.
    """
    atomic.sweep(output)
    sweep(output if output.is_dir() else output.parent)
    if output.is_dir():
        atomic.sweep_beginning(output / f"{safe_stem(source.name)}_")


def sweep(directory: Path) -> None:
    """Remove what killed processes left here; what is in use is locked and stays.

    One that was killed while it gave outputs their names has some of them here still under their other name: then all
    of its outputs go.
    """
    with suppress(OSError), _locked(directory, hold):  # nobody begins there meanwhile
        _sweep(directory)


def _sweep(directory: Path) -> None:
    for stale in filter(Path.is_dir, _temporaries(directory)):
        with suppress(OSError), _locked(stale, _take_over, os.O_NOFOLLOW):
            made = list(stale.iterdir())
            named = [directory / each.name for each in made if _is_link(each, directory / each.name)]
            if len(named) < len(made):
                for path in named:
                    path.unlink()
            shutil.rmtree(stale, ignore_errors=True)


def _temporaries(directory: Path) -> Iterator[Path]:
    """Yield all names of hidden directories: few, so that none is searched for among many outputs."""
    return (directory / f".cinemill-{number}.part" for number in range(_AT_ONCE))


def _make_temporary(directory: Path) -> Path:
    for temporary in _temporaries(directory):
        with suppress(FileExistsError):
            temporary.mkdir()
            return temporary
    raise OSError(errno.EBUSY, f"{_AT_ONCE} processes are writing there already")


def _is_link(made: Path, path: Path) -> bool:
    return path.is_file() and path.samefile(made)


@contextmanager
def _locked(directory: Path, take: Callable[[int], None], flags: int = 0) -> Iterator[None]:
    """Hold a lock on a directory; hidden ones of ours are opened with ``O_NOFOLLOW``."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | flags)
    try:
        take(handle)
        yield
    finally:
        os.close(handle)


def _take_over(handle: int) -> None:
    """Lock what nobody has: without locks, who knows."""
    if not claim(handle):
        raise BlockingIOError
