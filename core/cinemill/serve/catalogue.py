"""Which studies, series and instances there are: a database made from an index, read by all processes that serve."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from cinemill.serve.matching import Key, meets
from cinemill.storage.atomic import publish
from cinemill.storage.database import close_database, explained, open_database, open_to_read

_APPLICATION = 0x63696E73
_UID = re.compile(r"[0-9.]{1,64}")
_NO_TEXT = re.compile(r"\\udc([89a-f][0-9a-f])")
"""A byte of a path that is no UTF-8, as indexes have it."""

_UIDS = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")
_MATCHED: Mapping[int, str] = MappingProxyType(
    {
        0x00080016: "sop_class_uid",
        0x00080018: "sop_instance_uid",
        0x00080020: "study_date",
        0x00080050: "accession_number",
        0x00080060: "modality",
        0x00080061: "modality",
        0x00081030: "study_description",
        0x00100010: "patient_name",
        0x00100020: "patient_id",
        0x00100030: "patient_birth_date",
        0x00100040: "patient_sex",
        0x0020000D: "study_instance_uid",
        0x0020000E: "series_instance_uid",
        0x00200011: "series_number",
        0x00200013: "instance_number",
        0x00280008: "frames",
        0x00280010: "rows",
        0x00280011: "columns",
        0x00280100: "bits_allocated",
    }
)
"""Attributes that are compared in the database; for others, headers are opened."""

_COLUMNS = (*_UIDS, "path", *sorted({*_MATCHED.values()}.difference(_UIDS)))
_ORDERS = {
    1: "max(study_date) DESC, study_instance_uid",
    2: "max(study_date) DESC, study_instance_uid, min(series_number), series_instance_uid",
    3: "study_date DESC, study_instance_uid, series_number, series_instance_uid, instance_number, sop_instance_uid",
}


class Found(NamedTuple):
    """A study, a series or an instance.

    Attributes
    ----------
    uids
        Of the study, the series and the instance, as far as it is one.
    path
        Of its first file.
    """

    uids: tuple[str, ...]
    path: Path

    def url(self, base: str) -> str:
        """Return its address, below that of the service (PS3.18 10.4.1)."""
        names = zip(("studies", "series", "instances"), self.uids, strict=False)
        return "/".join((base, *(f"{name}/{uid}" for name, uid in names)))


class Related(NamedTuple):
    """What belongs to a study.

    Attributes
    ----------
    series, instances
        How many.
    modalities
        Each once.
    """

    series: int
    instances: int
    modalities: tuple[str, ...]


def make_catalogue(index: Path, catalogue: Path) -> int:
    """Make a catalogue of an index with patient data, in place of an earlier one; return how many instances have no place in it.

    These lack a UID, or have that of another file.

    Raises
    ------
    UsageError
        The index is damaged, or has no patient data.
    OutputError
        The disk is full.
    """
    left_out, making = 0, catalogue.with_name(f"{catalogue.name}.new")
    making.unlink(missing_ok=True)
    database = open_database(making, _APPLICATION)
    with explained(index), closing(open_to_read(index)) as found:
        columns, places = ", ".join(_COLUMNS), ", ".join("?" * len(_COLUMNS))
        key = ", ".join(_UIDS)
        database.execute(f"CREATE TABLE instances ({columns}, PRIMARY KEY ({key})) WITHOUT ROWID")
        database.execute("BEGIN")
        insert = f"INSERT OR IGNORE INTO instances VALUES ({places})"  # noqa: S608
        for row in found.execute(f"SELECT {columns} FROM instances ORDER BY path"):  # noqa: S608
            usable = all(isinstance(uid, str) and _UID.fullmatch(uid) for uid in row[: len(_UIDS)])
            left_out += not (usable and database.execute(insert, row).rowcount)
    close_database(database, making)
    publish(making, catalogue, overwrite=True)
    return left_out


class Catalogue:
    """Searched by several threads and processes; what is made in its place meanwhile is seen by the next search.

    Parameters
    ----------
    path
        Of the database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def _rows(self, statement: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        with closing(open_to_read(self._path)) as database:
            database.create_function("meets", 3, meets, deterministic=True)
            yield from database.execute(statement, values)

    def search(self, depth: int, within: Sequence[str], keys: Iterable[Key] = ()) -> Iterator[Found]:
        """Yield what meets all keys that the database knows, the newest study first.

        Parameters
        ----------
        depth
            1 for studies, 2 for series, 3 for instances.
        within
            UIDs of the study and the series that it is in, as far as these are known.
        keys
            Those of other attributes are passed over.
        """
        conditions, values = _within(within)
        for key in filter(is_matched, keys):
            conditions.append(f"meets({_MATCHED[key.path[0]]}, ?, ?)")
            values += (key.wanted, key.vr)
        uids = ", ".join(_UIDS[:depth])
        several = depth < len(_UIDS)
        statement = " ".join(
            (
                f"SELECT {uids}, {'min(path)' if several else 'path'} FROM instances",  # noqa: S608
                f"WHERE {' AND '.join(conditions)}" if conditions else "",
                f"GROUP BY {uids}" if several else "",
                f"ORDER BY {_ORDERS[depth]}",
            )
        )
        for row in self._rows(statement, values):
            yield Found(row[:depth], _file(row[depth]))

    def related(self, within: Sequence[str]) -> Related:
        """Return what belongs to a study or a series."""
        conditions, values = _within(within)
        counted = "count(DISTINCT series_instance_uid), count(*), group_concat(DISTINCT modality)"
        statement = f"SELECT {counted} FROM instances WHERE {' AND '.join(conditions)}"  # noqa: S608
        ((series, instances, modalities),) = self._rows(statement, values)
        return Related(series, instances, tuple(sorted(filter(None, (modalities or "").split(",")))))


def _file(told: str) -> Path:
    """Return the path that an index tells."""
    if _NO_TEXT.search(told) and not os.path.lexists(told):
        return Path(_NO_TEXT.sub(lambda byte: chr(0xDC00 + int(byte[1], 16)), told))
    return Path(told)


def _within(within: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the conditions of being in a study and a series, and their values."""
    return [f"{name} = ?" for name, _ in zip(_UIDS, within, strict=False)], [*within]


def is_matched(key: Key) -> bool:
    """Whether the database itself compares an attribute."""
    return len(key.path) == 1 and key.path[0] in _MATCHED
