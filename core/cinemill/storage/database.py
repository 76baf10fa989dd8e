"""SQLite databases: written by one process or several, only read, or for the time of a run; a kill at any time harms none."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cinemill.errors import CinemillError, OutputError, UsageError
from cinemill.storage.atomic import output_error

_SQLITE = b"SQLite format 3\0"
_PAGES = -65_536
"""KiB of memory that pages may take, negative as SQLite wants it."""

_READING = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION))


def open_database(path: Path, application: int) -> sqlite3.Connection:
    """Open a database to be written, made if need be; changes are committed by hand.

    It is locked for this process alone. The journal is a write-ahead log in this process's own memory, so that file systems
    do that share none; `close_database` leaves one plain file.

    Parameters
    ----------
    path
        Where it stands.
    application
        The ``application_id`` by which databases of this kind are told.

    Raises
    ------
    UsageError
        Something else stands there, or another process writes it.
    OutputError
        It can't be written.
    """
    _check_ours(path)
    with explained(path):
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        with _closed_on_error(connection):
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA cache_size = {_PAGES}")
            connection.execute("BEGIN EXCLUSIVE")
            (found,) = connection.execute("PRAGMA application_id").fetchone()
            empty = connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None
            if found != application and not empty:
                raise UsageError("is a database of something else; choose another name", path=path)
            connection.execute(f"PRAGMA application_id = {application}")
            connection.execute("COMMIT")
    return connection


def open_shared(path: Path) -> sqlite3.Connection:
    """Open a database that others may have open too, made if need be; what a statement changed is on the disk when it returns.

    Raises
    ------
    sqlite3.Error
        It can't be opened, or is no database.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with _closed_on_error(connection):
        connection.execute("PRAGMA busy_timeout = 10000")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a database that is there, for statements that only read.

    Raises
    ------
    sqlite3.Error
        It can't be opened.
    """
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    connection.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY
    )
    return connection


def open_scratch() -> sqlite3.Connection:
    """Open an empty database in memory and, as far as that does not suffice, in a temporary file; it ends with its connection."""
    connection = sqlite3.connect("", isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def close_database(connection: sqlite3.Connection, path: Path) -> None:
    """Commit what is pending, and leave one plain file that any program opens.

    Raises
    ------
    OutputError
        The disk is full or failed.
    """
    with explained(path):
        try:
            if connection.in_transaction:
                connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = DELETE")
        finally:
            connection.close()


@contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into our errors."""
    try:
        yield
    except sqlite3.Error as error:
        raise _told(path, error) from None


def _told(path: Path, error: sqlite3.Error) -> CinemillError:
    said = str(error)
    if "locked" in said:
        return UsageError("another run is writing it; wait for that, or choose another name", path=path)
    if "full" in said:
        return output_error(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    if isinstance(error, sqlite3.DatabaseError) and ("malformed" in said or "not a database" in said):
        return UsageError(f"is damaged ({said}); remove it, and the same command makes it anew", path=path)
    return OutputError(f"can't be written: {said}", path=path)


def _check_ours(path: Path) -> None:
    """Raise where something stands at a path that is no database."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(path):
            return
        if not path.is_file():
            raise UsageError("is no regular file; choose another name", path=path)
        with path.open("rb") as file:
            start = file.read(len(_SQLITE))
    except OSError as error:
        raise output_error(path, error) from None
    if start not in {b"", _SQLITE}:
        raise UsageError("exists and is no database; choose another name", path=path)
