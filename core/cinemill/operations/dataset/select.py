"""Which instances a data set is made of: the files below the sources, or those of an index for which a condition holds."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from cinemill.errors import UsageError, not_installed
from cinemill.storage.database import open_to_read
from cinemill.storage.tree import files_below

_TABLE = "instances"
_READERS = {".parquet": "read_parquet", ".csv": "read_csv"}
_SQLITE = (".sqlite", ".sqlite3", ".db")


def select(sources: Sequence[Path], index: str | os.PathLike[str], where: str) -> list[Path]:
    """Return files in order, each once.

    Parameters
    ----------
    sources
        Files and directories.
    index
        An index, whose column ``path`` names files; of these, those below the sources. Empty: all files below the sources.
    where
        An SQL condition on its columns; empty: none.

    Raises
    ------
    UsageError
        A source is missing, or the index can't be read so.
    """
    found = files_below(sources)  # says what is wrong with the sources, now
    if not index:
        return list(dict.fromkeys(found))
    roots = [source.resolve() for source in sources]
    paths = sorted({Path(path) for path in chosen(Path(index), where)})
    return [path for path in paths if any(path.resolve().is_relative_to(root) for root in roots)]


def chosen(index: Path, where: str) -> list[str]:
    """Return the paths in an index for which a condition holds. Nothing is written, whatever the condition says.

    Parameters
    ----------
    index
        Parquet, CSV or SQLite.
    where
        An SQL condition on its columns; empty: none.

    Raises
    ------
    UsageError
        It can't be read so.
    """
    if not index.is_file():
        raise UsageError("there is no such index; `cinemill index` makes one", path=index)
    if not os.access(index, os.R_OK):
        raise UsageError("can't be read: Permission denied; let this user read it", path=index)
    suffix = index.suffix.lower()
    query = f"SELECT path FROM {_TABLE}" + (f" WHERE ({where}\n)" if where else "")  # noqa: S608  # checked below
    if suffix in _SQLITE:
        return _from_sqlite(index, query)
    if suffix not in _READERS:
        known = ", ".join((*_READERS, *_SQLITE))
        raise UsageError(
            f"can't read an index with the suffix {suffix or 'none'}; expected one of {known}", path=index
        )
    return _from_table(index, query, _READERS[suffix])


def _from_sqlite(index: Path, query: str) -> list[str]:
    try:
        with closing(open_to_read(index)) as database:  # which authorizes only reading
            return [str(path) for (path,) in database.execute(query) if path]
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _refused(index, error) from None


def _from_table(index: Path, query: str, reader: str) -> list[str]:
    try:
        import duckdb
    except ImportError:
        raise UsageError(not_installed("an index", "the package duckdb", "index")) from None
    name = str(index.resolve()).replace("'", "''")
    with closing(duckdb.connect()) as database:
        try:
            database.execute(f"CREATE VIEW {_TABLE} AS SELECT * FROM {reader}('{name}')")  # noqa: S608
            statements: list[Any] = database.extract_statements(query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise UsageError("--where is one condition; expected no other statement", path=index)
            return [str(path) for (path,) in database.execute(query).fetchall() if path]
        except duckdb.Error as error:
            raise _refused(index, error) from None


def _refused(index: Path, error: Exception) -> UsageError:
    reason = str(error).splitlines()[0]
    return UsageError(
        f"can't be asked so: {reason}; see its columns in docs/INDEX.md, and --where", path=index
    )
