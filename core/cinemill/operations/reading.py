"""Reads headers over processes: parcels of paths go out, what was read comes back; a crash costs one file and not the run."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from cinemill.errors import CinemillError, DecoderCrashed, UsageError
from cinemill.processes import children_context, collect_seldom, ended, share_heap, start

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext, SpawnContext

Parcel: TypeAlias = "list[str]"
Found = TypeVar("Found")
_Told_co = TypeVar("_Told_co", covariant=True)

_AHEAD = 3
"""Parcels that a process has at the same time, so that it never waits for the next."""

_READY = "ready"
_NOT_STARTED = (
    "the processes that read headers did not start; in a script, make the call below `if __name__ == '__main__':`, "
    "or with jobs=1"
)
_CRASHED = "the process that read the header ended with {}"


class Reader(Protocol[_Told_co]):
    """Reads files; travels to processes, and so does what it returns."""

    def read(self, path: str, /) -> _Told_co:
        """Read one file."""

    def failed(self, path: str, error: CinemillError, /) -> _Told_co:
        """Return what is told of a file that can't be read."""


def read_all(parcels: Iterable[Parcel], reader: Reader[Found], jobs: int) -> Iterator[list[Found]]:
    """Yield what was read of each parcel, in their order; parcels are drawn as processes need them.

    Parameters
    ----------
    parcels
        Absolute paths; none is empty.
    reader
        Reads one of them.
    jobs
        Processes; with one, this one reads.
    """
    if jobs == 1:
        for parcel in parcels:
            yield [reader.read(path) for path in parcel]
        return
    pool = _Pool(reader, jobs)
    try:
        yield from pool.run(iter(parcels))
    finally:
        pool.end()


class _Pool(Generic[Found]):
    """Processes that are given parcels in turn, and asked in the same order."""

    def __init__(self, reader: Reader[Found], jobs: int) -> None:
        self._context = children_context()
        self._context.set_forkserver_preload([__name__, type(reader).__module__])
        self._reader = reader
        self._children = [_Child(self._context, reader) for _ in range(jobs)]

    def run(self, parcels: Iterator[Parcel]) -> Iterator[list[Found]]:
        """Yield what was read until no parcel is left."""
        turns: deque[int] = deque()
        places = range(len(self._children))
        for place, parcel in zip([*places] * _AHEAD, parcels, strict=False):
            self._children[place].give(parcel)
            turns.append(place)
        while turns:
            place = turns.popleft()
            child = self._children[place]
            yield child.take() or self._bury(place)
            for parcel in islice(parcels, 1):
                self._children[place].give(parcel)
                turns.append(place)

    def _bury(self, place: int) -> list[Found]:
        """Replace a child that died; what it read is read again, file by file, for one of these was its end."""
        first, *others = self._children[place].parcels
        found: list[Found] = []
        self._replace(place)
        for path in first:
            child = self._children[place]
            child.give([path])
            if (read := child.take()) is not None:
                found += read
                continue
            crash = DecoderCrashed(_CRASHED.format(self._replace(place)))
            found.append(self._reader.failed(path, crash))
        for parcel in others:
            self._children[place].give(parcel)
        return found

    def _replace(self, place: int) -> str:
        """Begin another child in a place, and return how the one there ended."""
        told = self._children[place].end()
        self._children[place] = _Child(self._context, self._reader)
        return told

    def end(self) -> None:
        """End all children, whatever they are doing."""
        for child in self._children:
            child.end()


class _Child(Generic[Found]):
    """One process, and the parcels that it was given, the oldest first."""

    def __init__(self, context: ForkServerContext | SpawnContext, reader: Reader[Found]) -> None:
        self.connection, theirs = context.Pipe()
        self.parcels: deque[Parcel] = deque()
        self._started = False
        self._process = context.Process(target=_serve, args=(theirs, reader), daemon=True)
        start(self._process)
        theirs.close()

    def give(self, parcel: Parcel) -> None:
        """Hand it a parcel."""
        self.parcels.append(parcel)
        with suppress(OSError):  # a dead child is noticed when its answer is awaited
            self.connection.send(parcel)

    def take(self) -> list[Found] | None:
        """Return what was read of the oldest parcel, None where the process died over it.

        Raises
        ------
        UsageError
            The process did not begin.
        """
        self._started = self._started or self._received() == _READY
        if not self._started:
            raise UsageError(_NOT_STARTED)
        found: list[Found] | None = self._received()
        if found is not None:
            self.parcels.popleft()
        return found

    def _received(self) -> Any:
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None

    def end(self) -> str:
        """Close its connection, which ends it, wait for it, and return how it ended."""
        self.connection.close()
        return ended(self._process)


def _serve(connection: Connection, reader: Reader[Found]) -> None:
    """Read parcels until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    share_heap()
    collect_seldom()
    with suppress(EOFError, OSError):
        connection.send(_READY)
        while True:
            parcel: Parcel = connection.recv()
            connection.send([reader.read(path) for path in parcel])
