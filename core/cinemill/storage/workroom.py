"""A hidden directory beside an output, in which that is made over several runs: what is finished is still there for the next.

Nothing in it is brought to the disk before it is published: what a machine has left that went down is not believed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from cinemill.errors import OutputError
from cinemill.locks import occupy
from cinemill.pixel_format import Buffer
from cinemill.storage.atomic import NO_LINKS, output_error, publish, sync
from cinemill.storage.regular import read_regular

_PURPOSE, _REPLACED = "purpose", "replaced"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Workroom:
    """Makes a directory that appears as a whole. Leaving the context keeps what is finished, unless it was published.

    Parameters
    ----------
    output
        The directory to be made.
    purpose
        What is made there, and how: what another purpose has left is removed.

    Raises
    ------
    OutputError
        It can't be written, or another run works there.
    """

    def __init__(self, output: Path, purpose: str) -> None:
        output = output.absolute()
        self.output, self.path = output, output.parent / f".{output.name}.making"
        self._published = False
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise output_error(self.path, error) from None
        try:
            self._enter(purpose)
        except BaseException:
            os.close(self._handle)
            raise

    def _enter(self, purpose: str) -> None:
        if not occupy(self._handle):
            raise OutputError("another run is making it; wait for its end", path=self.output)
        try:
            if not self.output.exists() and (self.path / _REPLACED).is_dir():
                (self.path / _REPLACED).rename(self.output)
            purpose = f"{purpose} {_since()}"
            if self._purpose() != purpose:
                self._clear()
                put(self.path / _PURPOSE, purpose.encode())
        except OSError as error:
            raise output_error(self.path, error) from None

    def _purpose(self) -> str:
        try:
            return read_regular(self.path / _PURPOSE).decode(errors="replace")
        except OSError:
            return ""

    def _clear(self) -> None:
        for entry in self.path.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    def fresh(self, name: str) -> Path:
        """Return a directory in the room that is empty."""
        path = self.path / name
        try:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
        except OSError as error:
            raise output_error(path, error) from None
        return path

    def publish(self, path: Path, *, overwrite: bool, check: Callable[[], None] = lambda: None) -> None:
        """Give a finished directory in the room the output's name, in one step, and bring all it holds to the disk before.

        Parameters
        ----------
        path
            The directory.
        overwrite
            Replace what stands there: it is moved aside the moment before, and back again should the step between fail.
        check
            Called before each file is synced; may raise, and nothing is published then.

        Raises
        ------
        OutputExists
            Something stands there, and overwriting was not asked for.
        OutputError
            The file system refused.
        """
        for each in (*sorted(path.rglob("*")), path):
            check()
            sync(each)
        replaced = self.path / _REPLACED
        try:
            if overwrite and self.output.is_dir():
                shutil.rmtree(replaced, ignore_errors=True)
                self.output.rename(replaced)
        except OSError as error:
            raise output_error(self.output, error) from None
        try:
            publish(path, self.output, overwrite=False)
        except OutputError:
            with suppress(OSError):
                replaced.rename(self.output)
            raise
        sync(self.output.parent)
        self._published = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._published:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._handle)


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """Write a file of a room, which has its name only when the context is left without an error; its bytes are cached.

    Raises
    ------
    OutputError
        The disk is full or failed.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise output_error(path, error) from None


def put(path: Path, *parts: Buffer) -> None:
    """Write a whole file of a room: see `written`."""
    with written(path) as file:
        file.writelines(parts)


def link(path: Path, name: Path) -> None:
    """Give a finished file of a room another name there; where the file system has no links, copy it.

    Raises
    ------
    OutputError
        The file system refused.
    """
    try:
        try:
            os.link(path, name)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            shutil.copyfile(path, name)
    except OSError as error:
        raise output_error(name, error) from None


def _since() -> str:
    """Return since when what is cached has not been lost: something that changes when the machine starts."""
    try:
        return read_regular(_BOOT).decode().strip()
    except OSError:
        return ""
