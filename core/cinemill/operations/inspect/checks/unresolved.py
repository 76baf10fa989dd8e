"""References between instances that lead nowhere, or say what is not so: told once all instances are known.

What is known of them lies in a temporary database that is gone with its connection: memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from cinemill.operations.inspect.checks.check import Check
from cinemill.operations.inspect.checks.table import finding
from cinemill.operations.inspect.model import Facts, Finding, Reference, Severity
from cinemill.storage.database import open_scratch

_WARNING = Severity.WARNING
_CORRECT = "make the document again from the instances as they are, or correct the reference"

MISSING = Check(
    "references.missing",
    _WARNING,
    "PS3.3 Table 10-11",
    "what an instance refers to in a study among the sources is there",
    "look for the rest of the study before it is moved: where it came from, or among rejected files",
)
FRAMES = Check(
    "references.frames",
    _WARNING,
    "PS3.3 Table 10-3",
    "the frames that an instance refers to are there",
    _CORRECT,
)
SOP_CLASS = Check(
    "references.class",
    _WARNING,
    "PS3.3 Table 10-11",
    "what an instance refers to has the SOP class that it says",
    _CORRECT,
)
PLACE = Check(
    "references.place",
    _WARNING,
    "PS3.3 Table C.17-3",
    "what an instance refers to stands in the study and series that it says",
    _CORRECT,
)

UNRESOLVED = (MISSING, FRAMES, SOP_CLASS, PLACE)
"""The checks of references."""

_AT_ONCE = 4096
_NAMED = 3
"""Instances that a finding names; the others are counted."""
_FARTHEST = 1 << 62

_OF_STUDIES = frozenset(
    (
        *("ReferencedStudySequence", "ReferencedPatientSequence", "ReferencedVisitSequence"),
        *("ReferencedPerformedProcedureStepSequence", "ReferencedRequestSequence"),
    )
)
"""What these refer to is managed elsewhere, and never a file of a study."""
_MANAGEMENT = "1.2.840.10008.3.1."
"""With which the UIDs of such SOP classes begin."""
_EARLIER = frozenset(("PredecessorDocumentsSequence", "IdenticalDocumentsSequence"))
"""What these refer to may have been replaced."""

_TABLES = """
CREATE TABLE instances (
    id INTEGER PRIMARY KEY, uid TEXT, series TEXT, study TEXT, path BLOB, class TEXT, frames INTEGER
);
CREATE TABLE refs (
    id INTEGER PRIMARY KEY, source INTEGER, attribute TEXT, uid TEXT, class TEXT, study TEXT, series TEXT,
    first INTEGER, last INTEGER
);
"""
_INDEXES = """
CREATE INDEX IF NOT EXISTS by_uid ON instances (uid);
CREATE INDEX IF NOT EXISTS by_study ON instances (study);
"""
_MISSING = """
SELECT s.path, r.attribute, r.study IS NULL, r.uid FROM refs r JOIN instances s ON s.id = r.source
WHERE NOT EXISTS (SELECT 1 FROM instances i WHERE i.uid = r.uid)
AND EXISTS (SELECT 1 FROM instances i WHERE i.study = COALESCE(r.study, s.study))
ORDER BY r.source, r.id
"""
_CONTRARY = """
SELECT s.path, r.attribute, r.uid, r.first, r.last, i.frames, r.class, i.class, r.study, i.study, r.series, i.series
FROM refs r JOIN instances s ON s.id = r.source
JOIN instances i ON i.id = (SELECT MIN(id) FROM instances WHERE uid = r.uid)
WHERE r.last > i.frames OR r.first < 1 OR r.class <> i.class OR r.study <> i.study OR r.series <> i.series
ORDER BY r.source, r.id
"""

_Row: TypeAlias = tuple[Any, ...]
_Located: TypeAlias = tuple[Path, Finding]


class References:
    """Gathers instances and what they refer to. Used by one thread."""

    def __init__(self) -> None:
        self._base = open_scratch()
        self._base.executescript(_TABLES)
        self._instances: list[_Row] = []
        self._references: list[_Row] = []
        self._count = 0

    def add(self, facts: Facts, references: Iterable[Reference] = ()) -> None:
        """Take one instance in.

        Parameters
        ----------
        facts
            What it is.
        references
            All that it points to.
        """
        self._count += 1
        uids = facts.sop_instance_uid, facts.series_instance_uid, facts.study_instance_uid
        path = str(facts.path).encode("utf-8", "surrogateescape")
        self._instances.append((self._count, *uids, path, facts.sop_class_uid, facts.frames))
        self._references += [_row(self._count, each) for each in references if _names_a_file(each)]
        if len(self._instances) + len(self._references) >= _AT_ONCE:
            self._write()

    def _write(self) -> None:
        self._base.execute("BEGIN")
        self._base.executemany("INSERT INTO instances VALUES (?, ?, ?, ?, ?, ?, ?)", self._instances)
        self._base.executemany("INSERT INTO refs VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", self._references)
        self._base.execute("COMMIT")
        self._instances, self._references = [], []

    def findings(self) -> Iterator[_Located]:
        """Yield what is wrong with references among the instances so far, each with the file that refers."""
        self._write()
        self._base.executescript(_INDEXES)
        for path, rows in groupby(self._base.execute(_MISSING), key=lambda row: row[0]):
            found = list(rows)
            yield from _missed(
                path, [row for row in found if not _slight(row)], "of studies among the sources"
            )
            yield from _missed(path, [row for row in found if _slight(row)], "of the same study, as it seems")
        for row in self._base.execute(_CONTRARY):
            yield from _contrary(*row)

    def close(self) -> None:
        """Let go of everything."""
        self._base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _names_a_file(reference: Reference) -> bool:
    managed = (reference.sop_class_uid or "").startswith(_MANAGEMENT)
    return reference.attribute not in _OF_STUDIES and not managed


def _row(source: int, reference: Reference) -> _Row:
    frames = [max(min(frame, _FARTHEST), -_FARTHEST) for frame in reference.frames]
    return (
        source,
        reference.attribute,
        reference.sop_instance_uid,
        reference.sop_class_uid,
        reference.study_instance_uid,
        reference.series_instance_uid,
        min(frames, default=None),
        max(frames, default=None),
    )


def _path(stored: bytes) -> Path:
    return Path(stored.decode("utf-8", "surrogateescape"))


def _slight(row: _Row) -> bool:
    """Tell whether a missing instance may well be in order: its study is assumed, or it was replaced."""
    return bool(row[2]) or row[1] in _EARLIER


def _missed(path: bytes, rows: list[_Row], where: str) -> Iterator[_Located]:
    uids = list(dict.fromkeys(row[3] for row in rows))
    if not uids:
        return
    attributes = ", ".join(dict.fromkeys(row[1] for row in rows))
    named = ", ".join(uids[:_NAMED]) + (f" and {len(uids) - _NAMED} more" if len(uids) > _NAMED else "")
    are = "instance is" if len(uids) == 1 else "instances are"
    found = finding(MISSING, f"{len(uids)} {are} not there, {where}, that {attributes} named: {named}")
    yield _path(path), replace(found, severity=Severity.NOTICE) if _slight(rows[0]) else found


def _contrary(
    path: bytes,
    attribute: str,
    uid: str,
    first: int | None,
    last: int | None,
    frames: int | None,
    *named: str | None,
) -> Iterator[_Located]:
    """Yield what one reference says that is not so; of class, study and series, what is said and what is there."""
    if frames is not None and first is not None and last is not None and (last > frames or first < 1):
        frame = last if last > frames else first
        found = f"{attribute} refers to frame {frame} of {uid}, which has frames 1 to {frames}"
        yield _path(path), finding(FRAMES, found)
    for check, what, said, there in zip(
        (SOP_CLASS, PLACE, PLACE), ("SOP class", "study", "series"), named[::2], named[1::2], strict=True
    ):
        if said is not None and there is not None and said != there:
            yield _path(path), finding(check, f"{attribute} gives {uid} the {what} {said}, it has {there}")
