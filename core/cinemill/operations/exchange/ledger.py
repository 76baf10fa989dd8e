"""What a migration knows of every instance: one SQLite database in its spool, which every crash leaves whole."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Literal, Self, TypeAlias

from cinemill.errors import InternalError, NoRoom, UsageError
from cinemill.locks import claim
from cinemill.network.query import Listed, Study
from cinemill.storage.database import open_shared
from cinemill.syntaxes import TRANSFER_SYNTAXES

State: TypeAlias = Literal["listed", "fetched", "transcoded", "sent", "committed", "seen", "unchanged"]

STATES: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        "listed": frozenset(("fetched",)),
        "fetched": frozenset(("transcoded", "unchanged")),
        "transcoded": frozenset(("sent",)),
        "sent": frozenset(("committed", "seen")),
        "committed": frozenset(("seen",)),
        "seen": frozenset(),
        "unchanged": frozenset(),
    }
)
"""What may follow each state, in their order."""

_FILE = "ledger.sqlite"
_VERSION = 1
_SCHEMA = """
BEGIN;
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE studies (
    study TEXT PRIMARY KEY, date TEXT NOT NULL DEFAULT '', expected INTEGER, settled INTEGER NOT NULL DEFAULT 0,
    detail TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE TABLE instances (
    study TEXT NOT NULL, sop_instance TEXT NOT NULL, series TEXT NOT NULL, sop_class TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'listed', failure TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0, before TEXT NOT NULL DEFAULT '', after TEXT NOT NULL DEFAULT '',
    bytes_before INTEGER NOT NULL DEFAULT 0, bytes_after INTEGER NOT NULL DEFAULT 0, proof TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (study, sop_instance)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
COMMIT;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One instance of the ledger.

    Attributes
    ----------
    state
        The last step that it has behind it.
    failure
        The outcome that kept it from the next one; empty for none.
    attempts
        How often something failed.
    before, after
        Transfer syntaxes: the node's at first, and that in which it was sent.
    proof
        What was compared when it was seen.
    """

    study: str
    sop_instance: str
    series: str
    sop_class: str
    state: State
    failure: str
    detail: str
    attempts: int
    before: str
    after: str
    bytes_before: int
    bytes_after: int
    proof: str

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done."""
        return not STATES[self.state] and not self.failure

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {each: getattr(self, each) for each in self.__slots__}


class SpoolInUse(UsageError):
    """Another process migrates in the spool."""


class Ledger:
    """The ledger of one migration; what it was told is on the disk when a call returns. Thread-safe.

    Parameters
    ----------
    spool
        The folder of the migration, which one process has at a time.
    settings
        What a migration can't change on its way: its nodes, and what is made of instances.
    only_reads
        For looking at one that is there, which may be under way.

    Raises
    ------
    UsageError
        The spool is another migration's, in use, damaged, or not there to be read.
    """

    def __init__(
        self, spool: Path, settings: Mapping[str, str] | None = None, *, only_reads: bool = False
    ) -> None:
        self.path = spool / _FILE
        self._mutex = threading.RLock()
        if only_reads and not self.path.exists():
            raise UsageError("there is no ledger of a migration; check --spool", path=self.path)
        with ExitStack() as stack:
            if not only_reads:
                stack.enter_context(_occupied(spool))
            with self._explained():
                self._database = stack.enter_context(closing(open_shared(self.path)))
                self._begin(settings, only_reads=only_reads)
            self._stack = stack.pop_all()

    def _begin(self, settings: Mapping[str, str] | None, *, only_reads: bool) -> None:
        (version,) = self._one("PRAGMA user_version")
        if version == 0 and not only_reads:
            self._database.executescript(_SCHEMA)
        elif version != _VERSION:
            raise UsageError(
                f"expected a ledger of version {_VERSION}, found {version}; name another --spool",
                path=self.path,
            )
        if settings is not None:
            self._settle(settings)

    def _settle(self, settings: Mapping[str, str]) -> None:
        found = dict(self._database.execute("SELECT name, value FROM settings"))
        if not found:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany("INSERT INTO settings VALUES (?, ?)", list(settings.items()))
            return
        for name, value in settings.items():
            if found.get(name, "") != value:
                raise UsageError(
                    f"this spool belongs to a migration with {name} {_named(found.get(name, ''))}, asked for was "
                    f"{_named(value)}; name another --spool",
                    path=self.path.parent,
                )

    def study(self, study: Study) -> None:
        """Note a study that is worked on from now on."""
        with self._explained():
            self._database.execute(
                "INSERT INTO studies (study, date, expected) VALUES (?, ?, ?) ON CONFLICT (study) DO UPDATE SET "
                "settled = 0, detail = '', expected = coalesce(excluded.expected, expected)",
                (study.uid, study.date, study.instances),
            )

    def settle(self, study: str, detail: str = "") -> None:
        """Note that nothing is left to be done for a study, or what is."""
        with self._explained():
            self._database.execute(
                "UPDATE studies SET settled = ?, detail = ? WHERE study = ?", (not detail, detail, study)
            )

    def forget(self, study: str) -> None:
        """Know nothing of a study that has no instances."""
        with self._explained():
            self._database.execute("DELETE FROM studies WHERE study = ?", (study,))

    def unsettled(self) -> list[str]:
        """Return the studies that were begun, and have something left to be done."""
        with self._explained():
            return [
                str(uid)
                for (uid,) in self._database.execute(
                    "SELECT study FROM studies WHERE NOT settled ORDER BY study"
                )
            ]

    def add(self, study: str, listed: Sequence[Listed]) -> None:
        """Note the instances of a study that a node lists; what is known of them stays."""
        rows = [(study, each.sop_instance, each.series, each.sop_class) for each in listed]
        with self._explained(), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "INSERT INTO instances (study, sop_instance, series, sop_class) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                rows,
            )

    def entries(self, study: str, *states: State) -> dict[str, Entry]:
        """Return the instances of a study by SOP Instance UID: all, or those in some states that did not fail.

        Parameters
        ----------
        study
            Its UID.
        *states
            In which they are.
        """
        with self._explained():
            found = self._database.execute(
                f"SELECT {', '.join(Entry.__slots__)} FROM instances WHERE study = ?",  # noqa: S608  # names of ours
                (study,),
            ).fetchall()
        entries = (Entry(*row) for row in found)
        return {
            each.sop_instance: each
            for each in entries
            if not states or (each.state in states and not each.failure)
        }

    def advance(self, entry: Entry, state: State, **more: Any) -> Entry:
        """Note that an instance has a step behind it, and return it as it is now.

        Parameters
        ----------
        entry
            As it was.
        state
            It is in now.
        **more
            Other fields that are known by that.
        """
        if state not in STATES[entry.state]:
            raise InternalError(f"{entry.sop_instance} was {entry.state} and can't be {state} next")
        return self._update(entry, {"state": state, "failure": "", "detail": "", **more})

    def back(self, entry: Entry, state: State) -> None:
        """Note that an instance has to go on from an earlier state."""
        self._update(entry, {"state": state, "failure": "", "detail": ""})

    def fail(self, entry: Entry, failure: str, detail: str) -> Entry:
        """Note what keeps an instance from its next step, and return it as it is now; it stays in its state.

        Parameters
        ----------
        entry
            As it was.
        failure
            An outcome.
        detail
            What is wrong.
        """
        return self._update(entry, {"failure": failure, "detail": detail, "attempts": entry.attempts + 1})

    def _update(self, entry: Entry, values: Mapping[str, Any]) -> Entry:
        named = ", ".join(f"{name} = ?" for name in values)
        with self._explained():
            self._database.execute(
                f"UPDATE instances SET {named} WHERE study = ? AND sop_instance = ?",  # noqa: S608  # names of ours
                (*values.values(), entry.study, entry.sop_instance),
            )
        return replace(entry, **values)

    def totals(self) -> tuple[int, int, list[tuple[str, str, int, int, int]]]:
        """Return how many studies there are, how many are settled, and by state and failure: instances, bytes before and after."""
        with self._explained():
            studies, settled = self._one("SELECT count(*), coalesce(sum(settled), 0) FROM studies")
            rows = self._database.execute(
                "SELECT state, failure, count(*), sum(bytes_before), sum(bytes_after) FROM instances GROUP BY state, failure"
            ).fetchall()
        return studies, settled, rows

    def setting(self, name: str) -> str:
        """Return one of the settings, empty where there is none."""
        with self._explained():
            return str(self._one("SELECT coalesce(max(value), '') FROM settings WHERE name = ?", (name,))[0])

    def _one(self, statement: str, values: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._database.execute(statement, values).fetchone()
        return row

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            with self._mutex:
                yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise NoRoom(
                    "the disk is full; free some space, and run the same command again", path=self.path
                ) from None
            raise UsageError(f"the ledger can't be used: {error}; check the disk", path=self.path) from None
        except sqlite3.DatabaseError as error:
            raise UsageError(
                f"the ledger is damaged: {error}; set the spool aside, and name another --spool",
                path=self.path,
            ) from None

    def close(self) -> None:
        """Give the spool free."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _named(value: str) -> str:
    """Return a setting as it is typed: transfer syntaxes by their names."""
    return ",".join(str(TRANSFER_SYNTAXES.get(word, word)) for word in value.split(",")) or "none"


def _occupied(spool: Path) -> BinaryIO:
    """Return the lock of a spool, which is free again when it is closed."""
    try:
        spool.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            lock = stack.enter_context((spool / "ledger.lock").open("wb"))
            if claim(lock):
                stack.pop_all()
                return lock
    except OSError as error:
        raise UsageError(f"the spool can't be written: {error.strerror}", path=spool) from None
    raise SpoolInUse(
        "another process migrates in this spool; wait for it, or name another --spool", path=spool
    )
