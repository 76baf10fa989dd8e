"""The tables of an index, and the types of their columns: see docs/INDEX.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple, get_args, get_type_hints

from cinemill.operations.inspect.documents.table import COLUMNS
from cinemill.operations.inspect.model import Facts
from cinemill.operations.tables import Column, Kind

VERSION = 1
"""Of the tables: an index of another version is made anew."""

_SQL: Mapping[str, str] = {"integer": "INTEGER", "real": "REAL", "boolean": "BOOLEAN"}
_KINDS: Mapping[Any, Kind] = {int: "integer", float: "real", bool: "boolean", str: "text"}
_UIDS = ("sop_instance_uid", "series_instance_uid", "study_instance_uid")
_OWN = ("path", "file_bytes", *_UIDS)


class Table(NamedTuple):
    """One table.

    Attributes
    ----------
    columns
        All of its columns.
    key
        What tells its rows apart.
    """

    name: str
    columns: tuple[Column, ...]
    key: str

    @property
    def created(self) -> str:
        """The SQL that makes it."""
        rowid = "" if self.key == "id" else " WITHOUT ROWID"
        columns = ", ".join(f"{name} {_SQL.get(kind, 'TEXT')}" for name, kind in self.columns)
        return f"CREATE TABLE {self.name} ({columns}, PRIMARY KEY ({self.key})){rowid}"

    @property
    def inserted(self) -> str:
        """The SQL that adds a row."""
        places = ", ".join("?" * len(self.columns))
        return f"INSERT OR REPLACE INTO {self.name} VALUES ({places})"  # noqa: S608


def _columns(kind: Kind, names: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name in names.split())


def _kind(hint: Any) -> Kind:
    inner = [each for each in get_args(hint) if each not in {type(None), Ellipsis}]
    if not inner:
        return _KINDS[hint]
    if getattr(hint, "__origin__", None) is tuple:
        return "texts" if inner[0] is str else "numbers"
    return _KINDS[inner[0]]


FACTS: tuple[Column, ...] = tuple(
    Column(field.name, _kind(get_type_hints(Facts)[field.name]))
    for field in fields(Facts)
    if field.name not in _OWN
)
"""Columns of facts, in the order of their fields."""

KEYS = _columns("text", "patient_key study_key series_key instance_key")

PATIENT = _columns(
    "text",
    "patient_name patient_id patient_birth_date patient_sex study_date study_description accession_number "
    + " ".join(_UIDS),
)
"""Columns that are there with patient data only."""

_FIRST = (
    Column("id", "integer"),
    Column("path", "text"),
    Column("file_bytes", "integer"),
    Column("mtime_ns", "integer"),
    Column("error_kind", "text"),
    Column("error", "text"),
    *KEYS,
)

_OF_INSTANCE = (Column("instance", "integer"), Column("number", "integer"))

_KEYED = {"image_sop_instance_uid": "image_key", "tracking_uid": "tracking_key", "references": "image_keys"}

_MEASURED = [each for each in COLUMNS if each.name not in {*_UIDS, "manufacturer", "model"}]

MEASURED = tuple(name for name, _ in _MEASURED)
"""Columns of docs/MEASUREMENTS.md that say nothing of the instance itself."""

REGIONS = Table(
    "regions",
    (
        *_OF_INSTANCE,
        *_columns("text", "spatial_format data_type"),
        *_columns("integer", "flags min_x min_y max_x max_y"),
        *_columns("text", "unit_x unit_y"),
        *_columns("real", "delta_x delta_y"),
        *_columns("integer", "reference_x reference_y"),
        *_columns("real", "value_x value_y"),
    ),
    "instance, number",
)

MEASUREMENTS = Table(
    "measurements",
    (*_OF_INSTANCE, *(Column(_KEYED.get(name, name), kind) for name, kind in _MEASURED)),
    "instance, number",
)

FINDINGS = Table(
    "findings",
    (
        *_OF_INSTANCE,
        *_columns("text", "check_id severity section found remedy"),
        Column("frame", "integer"),
    ),
    "instance, number",
)


@cache
def tables(*, phi: bool) -> Mapping[str, Table]:
    """Return all tables by name.

    Parameters
    ----------
    phi
        With patient data.
    """
    instances = Table("instances", (*_FIRST, *(PATIENT if phi else ()), *FACTS), "id")
    return MappingProxyType({table.name: table for table in (instances, REGIONS, MEASUREMENTS, FINDINGS)})
