"""Writes the tables of an index as Parquet or CSV, some rows at a time: their number does not matter."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cinemill.errors import UsageError
from cinemill.operations.report import cell
from cinemill.storage.file import Sink

if TYPE_CHECKING:
    from cinemill.operations.index.read import Row
    from cinemill.operations.index.schema import Column, Table
    from cinemill.operations.index.store import Store

_INSTANCES = "instances"
_FORMATS = (".sqlite", ".parquet", ".csv")
_LISTS = frozenset(("texts", "numbers"))


def check_format(output: Path) -> None:
    """Raise where an index can't be written by this name.

    Raises
    ------
    UsageError
        Its suffix is unknown, or what writes it is not installed.
    """
    if output.suffix not in _FORMATS:
        raise UsageError(f"expected a name that ends in {', '.join(_FORMATS)}", path=output)
    if output.suffix == ".parquet":
        try:
            import pyarrow as pa  # noqa: F401
        except ImportError:
            raise UsageError(
                "Parquet needs the extra index: pip install 'cinemill[index]'", path=output
            ) from None


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
        table = store.tables[name]
        with Sink(path, overwrite=True) as sink:
            writer = (_Parquet if output.suffix == ".parquet" else _Csv)(table, _Stream(sink))
            for rows in store.rows(name):
                writer.write(rows)
            writer.close()
            sink.finish()
            sink.commit()


class _Writer(Protocol):
    def __init__(self, table: Table, file: io.RawIOBase) -> None: ...

    def write(self, rows: Sequence[Row]) -> None: ...

    def close(self) -> None: ...


class _Csv(_Writer):
    """A line a row (RFC 4180); no cell is a formula."""

    def __init__(self, table: Table, file: io.RawIOBase) -> None:
        self._file = file
        self._cells = [_CELLS.get(column.kind, _same) for column in table.columns]
        self._put([[column.name for column in table.columns]])

    def write(self, rows: Sequence[Row]) -> None:
        self._put([put(value) for put, value in zip(self._cells, row, strict=True)] for row in rows)

    def _put(self, rows: Iterable[Iterable[Any]]) -> None:
        lines = io.StringIO(newline="")
        csv.writer(lines).writerows(rows)
        self._file.write(lines.getvalue().encode())

    def close(self) -> None: ...


class _Parquet(_Writer):
    """A row group for some rows, compressed by Zstandard."""

    def __init__(self, table: Table, file: io.RawIOBase) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        kinds = {
            "text": pa.string(),
            "integer": pa.int64(),
            "real": pa.float64(),
            "boolean": pa.bool_(),
            "texts": pa.list_(pa.string()),
            "numbers": pa.list_(pa.float64()),
        }
        self._columns = table.columns
        self._schema = pa.schema([(column.name, kinds[column.kind]) for column in table.columns])
        self._make = pa.RecordBatch.from_arrays
        self._array = pa.array
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")

    def write(self, rows: Sequence[Row]) -> None:
        arrays = [
            self._array(list(_typed(column, values)), kind)
            for column, values, kind in zip(
                self._columns, zip(*rows, strict=True), self._schema.types, strict=True
            )
        ]
        self._writer.write_batch(self._make(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


def _typed(column: Column, values: Iterable[Any]) -> Iterator[Any]:
    """Yield values as Parquet has them, which has booleans and lists."""
    if column.kind == "boolean":
        return (None if value is None else bool(value) for value in values)
    if column.kind in _LISTS:
        return (None if value is None else json.loads(value) for value in values)
    return iter(values)


def _same(value: Any) -> Any:
    return value


_CELLS: Mapping[str, Callable[[Any], Any]] = {
    "text": cell,
    "boolean": lambda value: None if value is None else ("false", "true")[value],
}
"""How values stand in CSV, by the kind of their column."""


class _Stream(io.RawIOBase):
    """A file in the making, as Arrow writes to it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._sink.tell()

    def write(self, data: Any) -> int:
        self._sink.write(memoryview(data))
        return len(data)
