"""Makes an index of what is below some sources: headers → rows → one database → Parquet or CSV, where they are wanted."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinemill._version import __version__
from cinemill.errors import UsageError
from cinemill.operations.deidentify.keys import Key, make_key, read_key
from cinemill.operations.index.export import check_output, export, places
from cinemill.operations.index.read import NOT_DICOM, READ, UNLISTED, Reader
from cinemill.operations.index.schema import tables
from cinemill.operations.index.store import Store
from cinemill.operations.reading import read_all
from cinemill.operations.tables import as_text
from cinemill.processors import processors
from cinemill.storage.atomic import make_folder
from cinemill.storage.location import Location, each_located, located, size, state
from cinemill.storage.tree import files_below

if TYPE_CHECKING:
    from cinemill.operations.index.read import Entry
    from cinemill.operations.reading import Parcel

BELIEVED = "believed"
_PARCEL = 64
_FEW = 256
"""Files for which no processes are started."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """The result of `index`.

    Attributes
    ----------
    instances, patients, studies
        How many the index holds now.
    read
        Headers that this run read.
    believed
        Rows that were kept, since their files are unchanged.
    gone
        Rows that were removed, since their files no longer exist.
    not_dicom
        Files that are not DICOM and have no row.
    errors
        Number of instances that could not be read, by kind of error; their rows have the message.
    unlisted
        Directories that can't be listed; rows of the files below them were kept.
    seconds
        Duration of the run.
    outputs
        Files that were written, each with its size in bytes.
    complete
        Whether all files were looked at.
    """

    instances: int
    patients: int
    studies: int
    read: int
    believed: int
    gone: int
    not_dicom: int
    errors: dict[str, int]
    unlisted: tuple[str, ...]
    seconds: float
    outputs: dict[str, int]
    complete: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {name: getattr(self, name) for name in self.__slots__} | {"unlisted": list(self.unlisted)}


def index(
    sources: Location | Sequence[Location],
    output: Location,
    *,
    key: Location | None = None,
    phi: bool = False,
    jobs: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[str, int], None] = lambda _, __: None,
) -> Indexed:
    """Make an index of all instances below some sources, or update it; docs/INDEX.md describes its tables.

    Only headers are read. A row is kept while its file has the same path, size and time of last modification; rows of files
    that no longer exist are removed. A run may be stopped or killed at any time; the next one continues where it was.

    Parameters
    ----------
    sources
        Files and directories.
    output
        ``x.sqlite`` is the index itself; to ``x.parquet`` or ``x.csv``, its tables are exported: ``x.regions.parquet`` and so on.
    key
        File with the key from which the pseudonyms of patients, studies, series and instances are derived; by default
        ``x.sqlite.key``, which is made if there is none.
    phi
        Add columns with the identifying values of the headers (protected health information).
    jobs
        Number of processes that read headers; by default one for each core.
    stop
        Polled; True ends the run, and nothing is exported.
    progress
        Called with what is being done, and the number of files done so far.

    Returns
    -------
    Indexed
        How many instances the index has, and what this run read, kept and removed.

    Raises
    ------
    UsageError
        The index was made with another key or other options, it would lie in a source, or its suffix is not known.
    OutputError
        The index can't be written.
    """
    paths, output = [path.absolute() for path in each_located(sources)], located(output)
    check_output(output, tables(phi=phi))
    database = output.with_suffix(".sqlite")
    _check_apart(database, paths)
    files = files_below(paths)
    secret = read_key(located(key)) if key is not None else _own_key(database)
    started = time.perf_counter()
    with Store(database, phi=phi, fingerprint=secret.fingerprint) as store:
        run = _Run(store, Reader(secret, phi=phi), jobs or processors(), stop, progress)
        run.read(files)
        complete = not stop()
        gone = store.drop_unseen(run.is_unlisted) if complete else 0
        if complete:
            store.note(
                complete="1", sources=json.dumps([as_text(str(path)) for path in paths]), program=__version__
            )
        if complete and output != database:
            progress("writing tables", run.counts.total())
            export(store, output)
        totals = store.totals()
    written = places(output, store.tables).values() if complete and output != database else [database]
    return Indexed(
        instances=totals.instances,
        patients=totals.patients,
        studies=totals.studies,
        read=run.counts[READ],
        believed=run.counts[BELIEVED],
        gone=gone,
        not_dicom=run.counts[NOT_DICOM],
        errors=dict(totals.errors),
        unlisted=tuple(run.unlisted),
        seconds=time.perf_counter() - started,
        outputs={str(path): size(path) for path in written},
        complete=complete,
    )


def _check_apart(database: Path, sources: Sequence[Path]) -> None:
    if any(database.resolve().is_relative_to(source.resolve()) for source in sources):
        raise UsageError("the index would be, or lie among, the sources; choose another place", path=database)


def _own_key(database: Path) -> Key:
    """Return the key beside an index, made where there is no index yet.

    Raises
    ------
    UsageError
        The index is there without its key.
    """
    path = database.with_name(database.name + ".key")
    if path.exists():
        return read_key(path)
    if size(database):
        raise UsageError(
            f"the key of this index is not beside it: {path.name}; give it by --key", path=database
        )
    make_folder(database.parent)
    return make_key(path)


@dataclass(slots=True)
class _Run:
    """One walk over the sources."""

    store: Store
    reader: Reader
    jobs: int
    stop: Callable[[], bool]
    progress: Callable[[str, int], None]
    counts: Counter[str] = field(default_factory=Counter)
    unlisted: list[str] = field(default_factory=list)

    def read(self, files: Iterator[Path]) -> None:
        """Read the headers of all files whose rows are not believed."""
        wanted = self._wanted(files)
        first = list(islice(wanted, _FEW))
        jobs = self.jobs if len(first) == _FEW else 1
        for entries in read_all(_parcels(chain(first, wanted)), self.reader, jobs):
            self.store.add(entries)
            for entry in entries:
                self._count(entry)
            self.progress("reading headers", self.counts.total())

    def _wanted(self, files: Iterator[Path]) -> Iterator[str]:
        for file in files:
            if self.stop():
                return
            path = str(file)
            there = state(path)
            if there is None or not self.store.knows(path, there):
                yield path
            else:
                self.counts[BELIEVED] += 1
                if self.counts[BELIEVED] % _PARCEL == 0:
                    self.progress("reading headers", self.counts.total())

    def _count(self, entry: Entry) -> None:
        if entry.outcome == UNLISTED:
            self.unlisted.append(entry.path)
        elif entry.instance is None:
            self.counts[entry.outcome] += 1
        else:
            self.counts[READ] += 1

    def is_unlisted(self, path: str) -> bool:
        """Whether a path lies below a directory that could not be listed."""
        return any(path.startswith(folder + os.sep) for folder in self.unlisted)


def _parcels(paths: Iterator[str]) -> Iterator[Parcel]:
    return iter(lambda: list(islice(paths, _PARCEL)), [])
