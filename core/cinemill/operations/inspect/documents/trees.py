"""Many instances as studies and series, and what they refer to that is not there, or is another thing than they say.

What is known of each instance lies in a temporary database that is gone with its connection: memory does not grow with their
number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

from cinemill.operations.inspect.model import Facts, Finding, Reference, Severity

_AT_ONCE = 4096
_NAMED = 3
"""Instances that a finding names; the others are counted."""

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
"""What these refer to may have been replaced, or stand in another study."""

_TABLES = """
CREATE TABLE instances (
    id INTEGER PRIMARY KEY, uid TEXT, series TEXT, study TEXT, path TEXT, modality TEXT, class TEXT, class_uid TEXT, frames INTEGER
);
CREATE TABLE refs (
    id INTEGER PRIMARY KEY, source INTEGER, attribute TEXT, uid TEXT, class_uid TEXT, study TEXT, series TEXT,
    first INTEGER, last INTEGER
);
"""
_INDEXES = """
CREATE INDEX IF NOT EXISTS by_uid ON instances (uid);
CREATE INDEX IF NOT EXISTS by_study ON instances (study, series, uid);
CREATE INDEX IF NOT EXISTS by_series ON instances (series, study);
"""
_MISSING = """
SELECT s.path, r.attribute, r.study IS NULL AS assumed, r.uid FROM refs r JOIN instances s ON s.id = r.source
WHERE NOT EXISTS (SELECT 1 FROM instances i WHERE i.uid = r.uid)
AND EXISTS (SELECT 1 FROM instances i WHERE i.study = COALESCE(r.study, s.study))
ORDER BY r.source, r.attribute, assumed, r.id
"""
_CONTRARY = """
SELECT s.path, r.attribute, r.uid, r.first, r.last, i.frames, r.class_uid, i.class_uid, r.study, i.study, r.series, i.series
FROM refs r JOIN instances s ON s.id = r.source JOIN instances i ON i.id = (SELECT MIN(id) FROM instances WHERE uid = r.uid)
WHERE r.last > i.frames OR r.first < 1 OR r.class_uid <> i.class_uid OR r.study <> i.study OR r.series <> i.series
ORDER BY r.source, r.id
"""
_TWICE = """
SELECT i.path, i.uid, f.path FROM instances i
JOIN (SELECT uid, MIN(id) AS id FROM instances WHERE uid IS NOT NULL GROUP BY uid HAVING COUNT(*) > 1) t ON t.uid = i.uid
JOIN instances f ON f.id = t.id WHERE i.id <> t.id ORDER BY i.id
"""
_SPLIT = """
SELECT MIN(path), series, COUNT(DISTINCT study) FROM instances WHERE series IS NOT NULL
GROUP BY series HAVING COUNT(DISTINCT study) > 1 ORDER BY series
"""


@dataclass(frozen=True, slots=True)
class InstanceNode:
    """One instance of a tree.

    Attributes
    ----------
    uid
        SOP Instance UID.
    path
        Its file.
    sop_class
        Its name, or its UID where it has none.
    frames
        None where it is no image.
    """

    uid: str | None
    path: Path
    sop_class: str | None
    frames: int | None


@dataclass(frozen=True, slots=True)
class SeriesNode:
    """One series of a tree.

    Attributes
    ----------
    uid
        Series Instance UID.
    modality
        Of its first instance.
    instances
        In the order of their UIDs.
    """

    uid: str | None
    modality: str | None
    instances: tuple[InstanceNode, ...]


@dataclass(frozen=True, slots=True)
class StudyNode:
    """One study of a tree.

    Attributes
    ----------
    uid
        Study Instance UID.
    series
        In the order of their UIDs.
    """

    uid: str | None
    series: tuple[SeriesNode, ...]


class Located(NamedTuple):
    """A finding, and the file that it is about."""

    path: Path
    finding: Finding


_Row: TypeAlias = tuple[Any, ...]


class Trees:
    """Gathers instances, and tells what can be told once all of them are known. Used by one thread, and closed when left."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_TABLES}")
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
        what = facts.modality, facts.sop_class, facts.sop_class_uid, facts.frames
        path = str(facts.path).encode("utf-8", "surrogateescape")
        self._instances.append((self._count, *uids, path, *what))
        self._references += [_row(self._count, each) for each in references if _names_a_file(each)]
        if len(self._instances) + len(self._references) >= _AT_ONCE:
            self._write()

    def _write(self) -> None:
        self._base.execute("BEGIN")
        self._base.executemany("INSERT INTO instances VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", self._instances)
        self._base.executemany("INSERT INTO refs VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", self._references)
        self._base.execute("COMMIT")
        self._instances, self._references = [], []

    def _rows(self, query: str) -> Iterator[_Row]:
        self._write()
        self._base.executescript(_INDEXES)
        return iter(self._base.execute(query))

    def studies(self) -> Iterator[StudyNode]:
        """Yield the studies, in the order of their UIDs, one at a time; instances without one come first, as one study."""
        rows = self._rows(
            "SELECT study, series, uid, path, modality, COALESCE(class, class_uid), frames FROM instances "
            "ORDER BY study, series, uid, id"
        )
        for study, below in groupby(rows, key=lambda row: row[0]):
            yield StudyNode(study, tuple(_series(below)))

    def findings(self) -> Iterator[Located]:
        """Yield what is wrong between instances, each with the file that says so."""
        yield from self._missing()
        yield from self._contrary()
        for path, uid, first in self._rows(_TWICE):
            yield Located(
                _path(path),
                Finding(
                    "instances.twice",
                    Severity.WARNING,
                    "PS3.3 C.12.1.1.1",
                    f"SOP Instance UID {uid} is also that of {_path(first)}",
                    "keep one of them, or give the other one a UID of its own where they differ",
                ),
            )
        for path, series, studies in self._rows(_SPLIT):
            yield Located(
                _path(path),
                Finding(
                    "series.studies",
                    Severity.WARNING,
                    "PS3.3 C.7.3.1.1",
                    f"series {series} stands in {studies} studies, a series belongs to one",
                    "find out which study is right; archives merge or split what shares a Series Instance UID",
                ),
            )

    def _missing(self) -> Iterator[Located]:
        for (path, attribute, assumed), rows in groupby(self._rows(_MISSING), key=lambda row: row[:3]):
            named, count = _named(row[3] for row in rows)
            slight = assumed or attribute in _EARLIER
            where = "of this study, as it seems," if assumed else "of a study among the sources"
            yield Located(
                _path(path),
                Finding(
                    "references.missing",
                    Severity.NOTICE if slight else Severity.WARNING,
                    "PS3.3 Table 10-11",
                    f"{attribute} refers to {count} {'instance' if count == 1 else 'instances'} {where} "
                    f"that {'is' if count == 1 else 'are'} not there: {named}",
                    "look for the rest of the study before it is moved: where it came from, or among rejected files",
                ),
            )

    def _contrary(self) -> Iterator[Located]:
        for path, attribute, uid, first, last, frames, *named in self._rows(_CONTRARY):
            if frames is not None and last is not None and (last > frames or first < 1):
                yield _located(
                    path,
                    "references.frames",
                    "PS3.3 Table 10-3",
                    f"{attribute} refers to frame {last if last > frames else first} of {uid}, which has frames 1 to {frames}",
                )
            for check, what, said, found in (
                ("references.class", "SOP Class UID", *named[0:2]),
                ("references.study", "study", *named[2:4]),
                ("references.series", "series", *named[4:6]),
            ):
                if said is not None and found is not None and said != found:
                    found_in = f"{attribute} says that the {what} of {uid} is {said}, it is {found}"
                    yield _located(path, check, "PS3.3 Table 10-11", found_in)

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
    frames = [max(min(frame, 1 << 62), -(1 << 62)) for frame in reference.frames]
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


def _series(rows: Iterable[_Row]) -> Iterator[SeriesNode]:
    for series, below in groupby(rows, key=lambda row: row[1]):
        found = list(below)
        instances = (
            InstanceNode(uid, _path(path), kind, frames) for _, _, uid, path, _, kind, frames in found
        )
        yield SeriesNode(series, found[0][4], tuple(instances))


def _path(stored: bytes) -> Path:
    return Path(stored.decode("utf-8", "surrogateescape"))


def _named(uids: Iterable[str]) -> tuple[str, int]:
    """Return the first few different UIDs as text, and how many there are."""
    found = list(dict.fromkeys(uids))
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more, len(found)


def _located(path: bytes, check: str, section: str, found: str) -> Located:
    remedy = "make the document again from the instances as they are, or correct the reference"
    return Located(_path(path), Finding(check, Severity.WARNING, section, found, remedy))
