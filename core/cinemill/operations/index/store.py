"""The database of an index: which files it knows; rows are added, and removed when their files are gone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from cinemill.errors import UsageError
from cinemill.operations.index.schema import VERSION, tables
from cinemill.operations.tables import as_text
from cinemill.storage.database import close_database, explained, open_database

if TYPE_CHECKING:
    from cinemill.operations.index.read import Entry, Row
    from cinemill.storage.location import State

APPLICATION = 0x63696E69
"""``cini`` in a database's header: an index."""

_COMMIT_SECONDS = 0.2
_AT_ONCE = 10_000
_DETAILS = ("regions", "measurements", "findings")


class Totals(NamedTuple):
    """What an index holds.

    Attributes
    ----------
    instances, patients, studies
        How many.
    errors
        Instances that could not be read, by the kind of error.
    """

    instances: int
    patients: int
    studies: int
    errors: Counter[str]


class Store:
    """The database of an index, locked for this run. What was added in the last moment may be lost by a kill, and is read again.

    Memory: a byte for each row that was there before.

    Parameters
    ----------
    path
        Where it stands, or is to stand.
    phi
        Whether it has patient data.
    fingerprint
        Of the key.

    Raises
    ------
    UsageError
        It was made with another key or other options, or is something else.
    OutputError
        It can't be written.
    """

    def __init__(self, path: Path, *, phi: bool, fingerprint: str) -> None:
        self.path = path
        self.tables = tables(phi=phi)
        self._connection = open_database(path, APPLICATION)
        self._committed = time.monotonic()
        try:
            with explained(path):
                self._begin({"phi": str(int(phi)), "key": fingerprint})
        except BaseException:
            self._connection.close()
            raise

    def _begin(self, told: Mapping[str, str]) -> None:
        run = self._connection.execute
        run("BEGIN")
        (version,) = run("PRAGMA user_version").fetchone()
        if version != VERSION:
            self._make()
        there = dict(run("SELECT name, value FROM meta"))
        for name, value in told.items():
            if there.get(name, value) != value:
                what = (
                    "with another key"
                    if name == "key"
                    else "with patient data"
                    if value == "0"
                    else "without patient data"
                )
                raise UsageError(f"was made {what}; give the same, or choose another name", path=self.path)
        self.note(**told, complete="0")
        self._before: int = run("SELECT coalesce(max(id), 0) FROM instances").fetchone()[0]
        self._last: int = self._before
        self._seen = bytearray(self._before + 1)

    def _make(self) -> None:
        """Make all tables anew."""
        run = self._connection.execute
        for name in ("meta", *self.tables):
            run(f"DROP TABLE IF EXISTS {name}")
        run("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
        for table in self.tables.values():
            run(table.created)
        run("CREATE UNIQUE INDEX instances_path ON instances (path)")
        run(f"PRAGMA user_version = {VERSION}")

    def note(self, **told: str) -> None:
        """Keep something that is told of the index as a whole."""
        self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", told.items())

    def knows(self, path: str, state: State) -> bool:
        """Whether the rows of a file are believed: its path, size and time are those of its row, which tells no error."""
        if not self._before:
            return False
        row = self._connection.execute(
            "SELECT id, file_bytes, mtime_ns, error_kind FROM instances WHERE path = ?", (as_text(path),)
        ).fetchone()
        if row is None or row[0] > self._before:
            return False
        self._seen[row[0]] = 1
        return bool(row[1:] == (state.size, state.modified, None))

    def add(self, entries: Iterable[Entry]) -> None:
        """Put in the rows of files, in place of those that they had.

        Raises
        ------
        OutputError
            The disk is full or failed.
        """
        with explained(self.path):
            rows: dict[str, list[Row]] = {name: [] for name in self.tables}
            told = {entry.path: entry for entry in entries}  # a file may be named twice
            for path, entry in told.items():
                number = self._number(path)
                if entry.instance is None:
                    continue
                rows["instances"].append((number, *entry.instance))
                for name in _DETAILS:
                    rows[name] += ((number, *row) for row in getattr(entry, name))
            for name, table in self.tables.items():
                self._connection.executemany(table.inserted, rows[name])
            if time.monotonic() - self._committed > _COMMIT_SECONDS:
                self._connection.execute("COMMIT")
                self._connection.execute("BEGIN")
                self._committed = time.monotonic()

    def _number(self, path: str) -> int:
        """Return the id of a file's row: the one that it had, whose rows go, or the next."""
        found = self._connection.execute("SELECT id FROM instances WHERE path = ?", (as_text(path),))
        numbers: list[int] = [number for (number,) in found.fetchall()]
        if numbers:
            self._remove(numbers)
            return numbers[0]
        self._last += 1
        return self._last

    def _remove(self, numbers: list[int]) -> None:
        several = [(number,) for number in numbers]
        self._connection.executemany("DELETE FROM instances WHERE id = ?", several)
        for name in _DETAILS:
            self._connection.executemany(f"DELETE FROM {name} WHERE instance = ?", several)  # noqa: S608

    def drop_unseen(self, spared: Callable[[str], bool]) -> int:
        """Take out the rows of files that `knows` was not asked for; return how many.

        Parameters
        ----------
        spared
            Whether a path stays, whether or not it was seen.
        """
        gone, after = 0, 0
        with explained(self.path):
            while rows := self._connection.execute(
                "SELECT id, path FROM instances WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
                (after, self._before, _AT_ONCE),
            ).fetchall():
                after = rows[-1][0]
                unseen = [number for number, path in rows if not self._seen[number] and not spared(path)]
                self._remove(unseen)
                gone += len(unseen)
        return gone

    def rows(self, name: str) -> Iterator[list[Row]]:
        """Yield the rows of a table, some at a time, in their order."""
        table = self.tables[name]
        with explained(self.path):
            found = self._connection.execute(f"SELECT * FROM {name} ORDER BY {table.key}")  # noqa: S608
            while rows := found.fetchmany(_AT_ONCE):
                yield rows

    def totals(self) -> Totals:
        """Return what the index holds."""
        with explained(self.path):
            run = self._connection.execute
            instances, patients, studies = run(
                "SELECT count(*), count(DISTINCT patient_key), count(DISTINCT study_key) FROM instances"
            ).fetchone()
            errors = run(
                "SELECT error_kind, count(*) FROM instances WHERE error_kind IS NOT NULL GROUP BY error_kind"
            ).fetchall()
        return Totals(instances, patients, studies, Counter(dict(errors)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close_database(self._connection, self.path)
