"""Tables in CSV or Parquet files, written some rows at a time: memory does not grow with their number."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeAlias

from cinemill.errors import UsageError, not_installed
from cinemill.operations.report import cell
from cinemill.storage.file import Sink
from cinemill.storage.foreign import check_free

Kind: TypeAlias = Literal["text", "decimal", "integer", "real", "boolean", "texts", "numbers"]
"""Of a column's values: ``decimal`` is text that may be a number; ``texts`` and ``numbers`` are lists, given as JSON."""

Row: TypeAlias = "Sequence[Any]"

FORMATS = (".csv", ".parquet")
_LONGEST_HEAD = 1 << 20
_AT_ONCE = 8192
"""Rows that are held."""


class Column(NamedTuple):
    """One column of a table."""

    name: str
    kind: Kind


def check_format(path: Path, *others: str) -> None:
    """Raise where a table can't be written by this name.

    Parameters
    ----------
    path
        Of the file.
    *others
        Suffixes of what somebody else writes.

    Raises
    ------
    UsageError
        It ends in something else, or what writes Parquet is not installed.
    """
    *known, last = (*others, *FORMATS)
    if path.suffix not in {*known, last}:
        expected = f"expected a name that ends in {', '.join(known)} or {last}"
        raise UsageError(f"{expected}, found {path.suffix!r}", path=path)
    if path.suffix == ".parquet":
        try:
            import pyarrow as pa  # noqa: F401
        except ImportError:
            raise UsageError(not_installed("Parquet", "the package pyarrow", "index"), path=path) from None


def is_table(path: Path, columns: Sequence[Column]) -> bool:
    """Whether a file is a table of such rows, as far as its first columns tell: other versions may have others behind."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        try:
            names: list[str] = parquet.read_schema(path).names
        except pa.ArrowInvalid:
            return False
    else:
        with path.open("rb") as file:
            names = file.readline(_LONGEST_HEAD).decode("utf-8", "replace").strip().split(",")
    return names[:2] == [column.name for column in columns[:2]]


class TableFile:
    """A table in the making: its file appears as a whole when the context is left, or not at all.

    Parameters
    ----------
    path
        Where it will stand: ``.csv`` or ``.parquet``.
    columns
        Of each row.
    overwrite
        Replace what stands there.

    Raises
    ------
    UsageError
        The name ends in something else, or what writes Parquet is not installed.
    OutputExists
        Something stands there already.
    OutputError
        It can't be written.
    """

    def __init__(self, path: Path, columns: Sequence[Column], *, overwrite: bool = False) -> None:
        check_format(path)
        if not overwrite:
            check_free(path)
        self._sink = Sink(path, overwrite=overwrite)
        stream = _Stream(self._sink)
        self._writer = _Parquet(columns, stream) if path.suffix == ".parquet" else _Csv(columns, stream)
        self._waiting: list[Row] = []

    def write(self, rows: Iterable[Row]) -> None:
        """Write some rows, as soon as there are enough for a row group."""
        self._waiting += rows
        if len(self._waiting) >= _AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write(self._waiting)
        self._waiting = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._sink:
            if error is None:
                self._flush()
                self._writer.close()
                self._sink.finish()
                self._sink.commit()


class _Csv:
    """A line a row (RFC 4180), in UTF-8; no cell is a formula."""

    def __init__(self, columns: Sequence[Column], stream: _Stream) -> None:
        self._stream = stream
        self._cells = [_CELLS.get(column.kind, _same) for column in columns]
        self._put([[column.name for column in columns]])

    def write(self, rows: Sequence[Row]) -> None:
        self._put([put(value) for put, value in zip(self._cells, row, strict=True)] for row in rows)

    def _put(self, rows: Iterable[Iterable[Any]]) -> None:
        lines = io.StringIO(newline="")
        csv.writer(lines).writerows(rows)
        self._stream.write(lines.getvalue().encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """All is written."""


class _Parquet:
    """A row group for some rows, compressed by Zstandard."""

    def __init__(self, columns: Sequence[Column], stream: _Stream) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        kinds = {
            "integer": pa.int64(),
            "real": pa.float64(),
            "boolean": pa.bool_(),
            "texts": pa.list_(pa.string()),
            "numbers": pa.list_(pa.float64()),
        }
        self._typed = [_TYPED.get(column.kind, _same) for column in columns]
        self._schema = pa.schema([(column.name, kinds.get(column.kind, pa.string())) for column in columns])
        self._batch, self._array = pa.RecordBatch.from_arrays, pa.array
        self._writer = parquet.ParquetWriter(stream, self._schema, compression="zstd")

    def write(self, rows: Sequence[Row]) -> None:
        arrays = [
            self._array([None if value is None else typed(value) for value in values], kind)
            for typed, values, kind in zip(
                self._typed, zip(*rows, strict=True), self._schema.types, strict=True
            )
        ]
        self._writer.write_batch(self._batch(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


def as_text(text: str) -> str:
    """Return a text as UTF-8 can hold it: names of files may be any bytes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _same(value: Any) -> Any:
    return value


def _decimal(value: Any) -> Any:
    try:
        float(value)
    except (TypeError, ValueError):
        return cell(value)
    return value


_CELLS: Mapping[str, Callable[[Any], Any]] = {
    "text": cell,
    "decimal": _decimal,
    "boolean": lambda value: None if value is None else ("false", "true")[value],
}
"""How values stand in CSV, by the kind of their column."""

_TYPED: Mapping[str, Callable[[Any], Any]] = {
    "text": as_text,
    "decimal": as_text,
    "boolean": bool,
    "texts": json.loads,
    "numbers": json.loads,
}
"""How values stand in Parquet, which has booleans and lists, by the kind of their column."""


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
