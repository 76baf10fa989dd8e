"""Writes the tables of an index as Parquet or CSV."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.operations.tables import TableFile

if TYPE_CHECKING:
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
