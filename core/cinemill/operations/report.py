"""The report of a run: a row for each instance, added as it ends; rows of earlier runs stay, the last for each instance counts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeAlias

import xxhash

from cinemill.errors import OutputError, UsageError
from cinemill.locks import occupy
from cinemill.operations.receipt import SUCCESSES, Receipt
from cinemill.storage.atomic import output_error, sync
from cinemill.storage.file import Sink
from cinemill.storage.foreign import check_ours
from cinemill.storage.likeness import Likeness
from cinemill.syntaxes import TRANSFER_SYNTAXES

_RESTING = frozenset(("kept", "verified"))
"""Statuses of outputs that an earlier run made: what that run said of them still holds."""

_FORMULA = tuple("=+-@\t\r")
_SECONDS = "seconds"
_ENCODING = "utf-8", "backslashreplace"
_LONGEST_ROW = 1 << 20
_AT_ONCE = 1000
_NOTHING: tuple[Any, ...] = (None, "", 0, "0", "{}", [], {})
_FIRST = ["source", "output", "status"]
_JSON_BEGINS = b'{"source": '


class _JsonLines:
    """A JSON object a line."""

    head = b""

    def encode(self, receipt: Receipt) -> bytes:
        return self.encode_cells(receipt.to_dict())

    def encode_cells(self, cells: Mapping[str, Any]) -> bytes:
        return json.dumps(cells).encode() + b"\n"

    def decode(self, row: bytes) -> dict[str, Any]:
        cells = json.loads(row)
        if not isinstance(cells, dict) or not row.endswith(b"\n"):
            raise ValueError("no whole JSON object")
        return cells


class _Csv:
    """Flat columns for spreadsheets (RFC 4180): no cell is a formula, none holds a control character but a line feed."""

    def __init__(self, columns: list[str] | None = None) -> None:
        self.columns = columns or _COLUMNS
        self.head = _csv_row(self.columns)

    def encode(self, receipt: Receipt) -> bytes:
        return self.encode_cells({name: cell(value) for name, value in _flat(receipt).items()})

    def encode_cells(self, cells: Mapping[str, Any]) -> bytes:
        return _csv_row([cells.get(name, "") for name in self.columns])

    def decode(self, row: bytes) -> dict[str, Any]:
        (cells,) = csv.reader(io.StringIO(row.decode(*_ENCODING), newline=""), strict=True)
        if len(cells) != len(self.columns) or not row.endswith(b"\n"):
            raise ValueError("no whole row")
        return dict(zip(self.columns, cells, strict=True))


_Table: TypeAlias = _JsonLines | _Csv
"""How rows are written: receipts and cells become lines of bytes, and lines cells by name; a torn one raises ValueError."""


def _csv_row(cells: list[str]) -> bytes:
    line = io.StringIO(newline="")
    csv.writer(line).writerow(cells)
    return line.getvalue().encode(*_ENCODING)


def _flat(receipt: Receipt) -> dict[str, Any]:
    """Return a receipt as one value a column."""
    flat: dict[str, Any] = {}
    for name, value in receipt.to_dict().items():
        if name == "error":
            flat |= {f"error_{part}": (value or {}).get(part) for part in ("kind", "frame", "message")}
        elif name == _SECONDS:
            flat[name] = json.dumps(value)
            flat["seconds_total"] = round(value["total"], 6) if "total" in value else None
        elif name.startswith("transfer_syntax_"):
            row = TRANSFER_SYNTAXES.get(value)
            flat |= {name: value, f"{name}_name": "" if row is None else row.keyword}
        elif isinstance(value, dict):
            flat[name] = json.dumps(value) if value else ""
        elif isinstance(value, tuple | list):
            flat[name] = "; ".join(map(str, value))
        else:
            flat[name] = value
    return flat


def cell(value: Any) -> str:
    """Return a value as a cell of a CSV file: no formula, and no control character but a line feed."""
    if value is None:
        return ""
    text = str(value)
    quoted = "'" + text if text.startswith(_FORMULA) else text
    if quoted.isprintable():
        return quoted
    return "".join(c if c.isprintable() or c == "\n" or ord(c) >= 0x80 else repr(c)[1:-1] for c in quoted)


_COLUMNS = list(_flat(Receipt("", "", "skipped")))


class Report:
    """Takes receipts as they come, and ends as a file with the last row for each source and output.

    A CSV row each for ``.csv``, a JSON line for ``.jsonl`` and ``.json``. Rows that are there already stay unless the same
    instance gets a new one; what a killed run left half written goes. A row ``kept`` has what an earlier one told besides.

    Memory: about 200 bytes a row, where there were some before.

    Raises
    ------
    UsageError
        The file has another suffix, is no report, can't be opened, or another run is writing it.
    OutputError
        What a killed run left of it can't be mended: the disk is full or failed.
    """

    def __init__(self, path: Path) -> None:
        suffix = path.suffix.lower()
        if suffix not in {".jsonl", ".json", ".csv"}:
            raise UsageError("expected a report file ending in .jsonl, .json or .csv", path=path)
        self._path = path.resolve()
        self._csv = suffix == ".csv"
        self._table: _Table = _Csv() if self._csv else _JsonLines()
        try:
            if path.exists() and not path.is_file():
                raise UsageError("is no regular file; name another report", path=path)
            self._file = self._path.open("ab", buffering=0)
            self._fresh = self._path.stat().st_size == 0
            try:
                self._begin(path)
            except BaseException:
                self._file.close()
                raise
        except (UsageError, OutputError):
            raise
        except OSError as error:
            raise UsageError(f"the report can't be written: {error.strerror}", path=path) from None

    def _begin(self, path: Path) -> None:
        """Take the file for this run alone, and mend what a killed run left of it."""
        if not occupy(self._file):
            raise UsageError("another run is writing this report; name another file", path=path)
        if self._fresh:
            self._file.write(self._table.head)
            return
        with self._path.open("rb") as file:
            first = file.readline(_LONGEST_ROW)
        check_ours(path, lambda _: self._is_ours(first), "report")
        if self._is_torn() or not first.startswith(self._table.head):
            self._compact()
            self._file.close()
            self._file = self._path.open("ab", buffering=0)
            occupy(self._file)

    def _is_ours(self, first: bytes) -> bool:
        """Whether a first row is that of a report, as far as it goes; take over columns of other versions."""
        if not first.endswith(b"\n"):
            return self._table.head.startswith(first) if self._csv else first.startswith(_JSON_BEGINS)
        if not self._csv:
            return _decoded(self._table, first) is not None
        columns = _columns_of(first)
        self._table = _Csv([*_COLUMNS, *(name for name in columns if name not in _COLUMNS)])
        return columns[: len(_FIRST)] == _FIRST

    def _is_torn(self) -> bool:
        quotes, last = 0, b""
        with self._path.open("rb") as file:
            while piece := file.read(_LONGEST_ROW):
                quotes += piece.count(b'"')
                last = piece[-1:]
        return last != b"\n" or (self._csv and quotes % 2 == 1)

    def add(self, receipt: Receipt) -> None:
        """Write one receipt.

        Raises
        ------
        OutputError
            The disk is full or failed.
        """
        row = self._table.encode(receipt)
        try:
            while row:
                row = row[self._file.write(row) :]
        except OSError as error:
            raise output_error(self._path, error) from None

    def _compact(self) -> None:
        """Replace the file, in one step, by one with the last row for each source and output."""
        likeness = Likeness.of(self._path, preserve=False)
        with self._path.open("rb") as file, Sink(self._path, overwrite=True, likeness=likeness) as sink:
            table, begin = self._table, 0
            if self._csv:
                head = file.readline()
                table, begin = _Csv(_columns_of(head)), len(head)
            wanted = self._last_rows(table, file, begin)
            same = table.head == self._table.head
            pieces = [self._table.head]
            for start, row in self._rows(file, begin):
                earlier = wanted.get(start, -1)
                if earlier == start and same:
                    pieces.append(row)
                elif earlier >= 0:
                    told = {} if earlier == start else table.decode(self._row_at(file, earlier))
                    pieces.append(self._table.encode_cells(_joined(table.decode(row), told)))
                if len(pieces) > _AT_ONCE:
                    sink.write(b"".join(pieces))
                    pieces.clear()
            sink.write(b"".join(pieces))
            sink.finish()
            sink.commit()

    def _last_rows(self, table: _Table, file: BinaryIO, begin: int) -> dict[int, int]:
        """Return where the last row for each source and output begins, and that with what was told of it before."""
        last: dict[int, tuple[int, int]] = {}
        for start, row in self._rows(file, begin):
            cells = _decoded(table, row)
            if cells is not None:
                key = xxhash.xxh3_64_intdigest(f"{cells['source']}\0{cells['output']}".encode(*_ENCODING))
                earlier = last.get(key, (start, start))[1]
                last[key] = start, earlier if cells["status"] in _RESTING else start
        return dict(last.values())

    def _rows(self, file: BinaryIO, start: int) -> Iterator[tuple[int, bytes]]:
        """Yield the rows from one on, each with the place where it begins."""
        file.seek(start)
        while row := self._row(file):
            yield start, row
            start += len(row)

    def _row(self, file: BinaryIO) -> bytes:
        """Read a row: a line, but that a quoted cell may hold ends of lines."""
        row = file.readline()
        while self._csv and row.count(b'"') % 2 and (more := file.readline()):
            row += more
        return row

    def _row_at(self, file: BinaryIO, start: int) -> bytes:
        """Read the row that begins there, and return to where the file was."""
        here = file.tell()
        file.seek(start)
        row = self._row(file)
        file.seek(here)
        return row

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file, suppress(OutputError):  # all rows are there, if not in short
            sync(self._path) if self._fresh else self._compact()


def _decoded(table: _Table, row: bytes) -> dict[str, Any] | None:
    """Return the cells of a row, None where it is torn or no row of a report."""
    try:
        cells = table.decode(row)
    except (ValueError, RecursionError, csv.Error):
        return None
    return cells if all(isinstance(cells.get(name), str) for name in _FIRST) else None


def _columns_of(row: bytes) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(row.decode(*_ENCODING), newline="")), [])
    except csv.Error:
        return []


def _joined(cells: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of an output that is kept, and what an earlier run that made it told besides."""
    if earlier.get("status") not in SUCCESSES:
        return dict(cells)
    told = {name: value for name, value in cells.items() if value not in _NOTHING}
    return {**cells, **earlier, **told}
