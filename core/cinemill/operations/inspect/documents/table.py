"""Measurements as a table, CSV or Parquet, a row each: what is worth a column has one, whatever the template (docs/MEASUREMENTS.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from cinemill.operations.inspect.documents import concepts
from cinemill.operations.inspect.documents.concepts import concept_key
from cinemill.operations.inspect.model import Code, Facts, Measurement, Reference
from cinemill.operations.tables import Column, Kind, TableFile, is_table
from cinemill.storage.foreign import check_ours

Row: TypeAlias = dict[str, str | float | int | None]

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
_KINDS: Mapping[str, Kind] = MappingProxyType({"value": "real", "value_text": "decimal", "images": "integer"})

_NAMES = (
    *("study_instance_uid", "series_instance_uid", "sop_instance_uid", "manufacturer", "model"),
    *("position", "template", "concept", "concept_code", "value", "value_text", "unit", "unit_meaning"),
    *("qualifier", "qualifier_code", "site", "site_code", "laterality", "laterality_code"),
    *(name for column in _COLUMNS_OF_MODIFIERS.values() for name in (column, f"{column}_code")),
    *("fetus", "tracking_identifier", "tracking_uid", "containers", "modifiers", "context", "inferred_from"),
    *("image_sop_instance_uid", "image_frames", "images", "references"),
)

COLUMNS = tuple(Column(name, _KINDS.get(name, "text")) for name in _NAMES)
"""In their order."""


def row_of(facts: Facts, measurement: Measurement) -> Row:
    """Return a measurement as a row; what it does not have is None.

    Parameters
    ----------
    facts
        Of the report.
    measurement
        One of its values.
    """
    row: Row = dict.fromkeys(_NAMES)
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


class MeasurementTable(TableFile):
    """A file of measurements in the making.

    Parameters
    ----------
    path
        Where it will stand: ``.csv`` or ``.parquet``.
    overwrite
        Replace the table of measurements that stands there.

    Raises
    ------
    UsageError
        The name ends in something else, what writes Parquet is not installed, or another file would be replaced.
    OutputExists
        Something stands there already.
    OutputError
        It can't be written.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        if overwrite:
            check_ours(path, partial(is_table, columns=COLUMNS), "table of measurements")
        super().__init__(path, COLUMNS, overwrite=overwrite)

    def add(self, facts: Facts, measurements: Iterable[Measurement]) -> None:
        """Add the measurements of one report.

        Parameters
        ----------
        facts
            Of the report.
        measurements
            Its values.
        """
        rows = (row_of(facts, each) for each in measurements)
        self.write([row[name] for name in _NAMES] for row in rows)
