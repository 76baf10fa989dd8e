"""Writes the tables of an index as Parquet or CSV."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.operations.tables import FORMATS, TableFile, check_format, is_table
from cinemill.storage.foreign import check_ours

if TYPE_CHECKING:
    from cinemill.operations.index.schema import Table
    from cinemill.operations.index.store import Store

_INSTANCES = "instances"


def places(output: Path, names: Iterable[str]) -> dict[str, Path]:
    """Return where each table is written: ``x.parquet`` for instances, ``x.regions.parquet`` for regions.

    Parameters
    ----------
    output
        The name that was asked for.
    names
        Of the tables.
    """
    return {
        name: output if name == _INSTANCES else output.with_suffix(f".{name}{output.suffix}")
        for name in names
    }


def check_output(output: Path, tables: Mapping[str, Table]) -> None:
    """Raise where neither an index nor tables can be written by this name, or tables would replace something else.

    Raises
    ------
    UsageError
        They can't, or would.
    """
    check_format(output, ".sqlite")
    for name, path in places(output, tables).items() if output.suffix in FORMATS else ():
        check_ours(path, partial(is_table, columns=tables[name].columns), f"table of {name}")


def export(store: Store, output: Path) -> None:
    """Write all tables; each file appears whole or not at all, and instances last.

    Raises
    ------
    OutputError
        The disk is full or failed.
    """
    for name, path in reversed(places(output, store.tables).items()):
        with TableFile(path, store.tables[name].columns, overwrite=True) as file:
            for rows in store.rows(name):
                file.write(rows)
