"""Measurements as a table, CSV or Parquet, a row each: what is worth a column has one, whatever the template (docs/MEASUREMENTS.md)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self, TypeAlias

from cinemill.errors import UsageError
from cinemill.operations.inspect.documents import concepts
from cinemill.operations.inspect.documents.concepts import concept_key
from cinemill.operations.inspect.documents.values import decimal
from cinemill.operations.inspect.model import Code, Facts, Measurement, Reference
from cinemill.operations.report import cell
from cinemill.storage.file import Sink

Row: TypeAlias = dict[str, str | float | int | None]

_AT_ONCE = 8192
"""Rows that are held."""

_COLUMNS_OF_MODIFIERS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        concepts.VIEW: "view",
        concepts.MODE: "mode",
        concepts.CARDIAC_PHASE: "cardiac_phase",
        concepts.RESPIRATORY_PHASE: "respiratory_phase",
        concepts.DERIVATION: "derivation",
        concepts.METHOD: "method",
        concepts.FLOW_DIRECTION: "flow_direction",
        concepts.TOPOGRAPHY: "topography",
        concepts.SELECTION: "selection",
    }
)
_COLUMNS_OF_CONTEXT: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        concepts.FETUS_ID: "fetus",
        concepts.FETUS_NUMBER: "fetus",
        concepts.SUBJECT_ID: "fetus",
        concepts.TRACKING_IDENTIFIER: "tracking_identifier",
        concepts.TRACKING_UID: "tracking_uid",
    }
)
_NUMBERS = MappingProxyType({"value": "real", "images": "integer"})

COLUMNS: tuple[str, ...] = (
    *("study_instance_uid", "series_instance_uid", "sop_instance_uid", "manufacturer", "model"),
    *("position", "template", "concept", "concept_code", "value", "value_text", "unit", "unit_meaning"),
    *("qualifier", "qualifier_code", "site", "site_code", "laterality", "laterality_code"),
    *(name for column in _COLUMNS_OF_MODIFIERS.values() for name in (column, f"{column}_code")),
    *("fetus", "tracking_identifier", "tracking_uid", "containers", "modifiers", "context", "inferred_from"),
    *("image_sop_instance_uid", "image_frames", "images", "references"),
)
"""In their order; all are text but `value`, a real number, and `images`, a whole one."""


def row_of(facts: Facts, measurement: Measurement) -> Row:
    """Return a measurement as a row; what it does not have is None.

    Parameters
    ----------
    facts
        Of the report.
    measurement
        One of its values.
    """
    row: Row = dict.fromkeys(COLUMNS)
    row.update(
        study_instance_uid=facts.study_instance_uid,
        series_instance_uid=facts.series_instance_uid,
        sop_instance_uid=facts.sop_instance_uid,
        manufacturer=facts.manufacturer,
        model=facts.model,
        position=measurement.position,
        template=measurement.template,
        value=measurement.value,
        value_text=measurement.text or None,
        unit=measurement.unit.value if measurement.unit else None,
        unit_meaning=measurement.unit.meaning if measurement.unit else None,
        containers=" > ".join(measurement.group) or None,
        inferred_from=" ".join(measurement.inferred_from) or None,
    )
    _put(row, "concept", measurement.concept)
    _put(row, "qualifier", measurement.qualifier)
    _put(row, "site", measurement.site)
    _put(row, "laterality", measurement.laterality)
    _put_modifiers(row, measurement)
    _put_references(row, measurement.references)
    return row


def _put(row: Row, column: str, code: Code | None) -> None:
    if code is not None:
        row[column] = code.meaning or code.value or None
        row[f"{column}_code"] = _coded(code)


def _coded(code: Code) -> str | None:
    return f"{code.scheme}:{code.value}" if code.value else None


def _put_modifiers(row: Row, measurement: Measurement) -> None:
    """Put what has a column there, the first value of each, and all the rest into one."""
    codes = {(name, code.meaning or code.value): code for name, code in measurement.coded}
    rest = []
    for name, text in measurement.modifiers:
        column = _COLUMNS_OF_MODIFIERS.get(concept_key(name))
        if column is None or row[column] is not None:
            rest.append(f"{name.meaning or name.value}: {text}")
            continue
        row[column] = text
        if code := codes.get((name, text)):
            row[f"{column}_code"] = _coded(code)
    context = []
    for name, text in measurement.context:
        column = _COLUMNS_OF_CONTEXT.get(concept_key(name))
        if column is None or row[column] is not None:
            context.append(f"{name.meaning or name.value}: {text}")
        else:
            row[column] = text
    row["modifiers"], row["context"] = "; ".join(rest) or None, "; ".join(context) or None


def _put_references(row: Row, references: tuple[Reference, ...]) -> None:
    row["images"] = len(references)
    if references:
        row["image_sop_instance_uid"] = references[0].sop_instance_uid
        row["image_frames"] = ",".join(map(str, references[0].frames)) or None
        row["references"] = " ".join(
            each.sop_instance_uid + ("#" + ",".join(map(str, each.frames)) if each.frames else "")
            for each in references
        )


class MeasurementTable:
    """A file of measurements in the making; it appears as a whole when its context is left, or not at all.

    Parameters
    ----------
    path
        Where it will stand: ``.csv`` or ``.parquet``.
    overwrite
        Replace what stands there.

    Raises
    ------
    UsageError
        The name ends in something else, or what writes Parquet is not installed.
    OutputError
        It can't be written.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        check_name(path)
        self._sink = Sink(path, overwrite=overwrite)
        stream = _Stream(self._sink)
        self._writer: _Writer = _Parquet(stream) if path.suffix == ".parquet" else _Csv(stream)
        self._waiting: list[Row] = []

    def add(self, facts: Facts, measurements: Iterable[Measurement]) -> None:
        """Add the measurements of one report.

        Parameters
        ----------
        facts
            Of the report.
        measurements
            Its values.
        """
        self._waiting += [row_of(facts, each) for each in measurements]
        if len(self._waiting) >= _AT_ONCE:
            self._write()

    def _write(self) -> None:
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
                self._write()
                self._writer.close()
                self._sink.finish()
                self._sink.commit()


def check_name(path: Path) -> None:
    """Raise where a table can't be written by this name.

    Raises
    ------
    UsageError
        It ends in neither ``.csv`` nor ``.parquet``, or what writes Parquet is not installed.
    """
    if path.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"expected a name that ends in .csv or .parquet, found {path.suffix!r}", path=path)
    if path.suffix == ".parquet":
        try:
            import pyarrow as pa  # noqa: F401
        except ImportError:
            raise UsageError(
                "Parquet needs the extra index: pip install 'cinemill[index]'", path=path
            ) from None


class _Writer(Protocol):
    def write(self, rows: list[Row]) -> None: ...

    def close(self) -> None: ...


class _Csv:
    """A line a row (RFC 4180), in UTF-8; no cell is a formula."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        self._put([COLUMNS])

    def write(self, rows: list[Row]) -> None:
        self._put([_cell(name, row[name]) for name in COLUMNS] for row in rows)

    def _put(self, rows: Iterable[Iterable[str]]) -> None:
        lines = io.StringIO(newline="")
        csv.writer(lines).writerows(rows)
        self._stream.write(lines.getvalue().encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """All is written."""


def _cell(name: str, value: str | float | None) -> str:
    if value is None:
        return ""
    is_number = name in _NUMBERS or (name == "value_text" and decimal(str(value)) is not None)
    return str(value) if is_number else cell(value)


class _Parquet:
    """A row group for some thousand rows, compressed by Zstandard."""

    def __init__(self, stream: _Stream) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        kinds: dict[str, Callable[[], Any]] = {"real": pa.float64, "integer": pa.int32}
        self._schema = pa.schema([(name, kinds.get(_NUMBERS.get(name, ""), pa.string)()) for name in COLUMNS])
        self._batch = pa.RecordBatch.from_pylist
        self._writer = parquet.ParquetWriter(stream, self._schema, compression="zstd")

    def write(self, rows: list[Row]) -> None:
        printable = [
            {
                name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
                for name, value in row.items()
            }
            for row in rows
        ]
        self._writer.write_batch(self._batch(printable, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


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
