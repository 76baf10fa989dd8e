"""Reads the header of one file into rows of an index: plain values, so that they travel between processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from cinemill.dicom.header_only import HeaderOnly
from cinemill.errors import CinemillError, InternalError, MissingFile, NotAFile, NotDicom, Unreadable
from cinemill.operations.deidentify.values import decoded
from cinemill.operations.index.identity import NOTHING, Pseudonyms, Words
from cinemill.operations.index.schema import FACTS, KEYS, MEASURED, PATIENT
from cinemill.operations.inspect.checks.check import Subject
from cinemill.operations.inspect.checks.table import DAMAGED, HEADER_CHECKS, finding, findings_of, in_order
from cinemill.operations.inspect.documents.table import row_of
from cinemill.operations.inspect.facts import facts_of, regions_of
from cinemill.operations.tables import as_text
from cinemill.storage.location import state

if TYPE_CHECKING:
    from cinemill.frames.regions import Region
    from cinemill.operations.deidentify.keys import Key
    from cinemill.operations.inspect.model import Facts, Finding

Row: TypeAlias = "tuple[Any, ...]"

NOT_DICOM, GONE, UNLISTED, READ = "not DICOM", "gone", "unlisted", "read"
"""What becomes of files, other than errors: the first three have no row."""

_LARGEST = 1 << 63
_CHARSET = 0x00080005
_PATIENT_TAGS = (
    0x00100010,
    0x00100020,
    0x00100030,
    0x00100040,
    0x00080020,
    0x00081030,
    0x00080050,
    0x00080018,
    0x0020000E,
    0x0020000D,
)
"""In the order of the columns."""

_CONTENT = 0x0040A730
_UIDS = ("image_sop_instance_uid", "tracking_uid", "references")
_FREE = frozenset(("fetus", "tracking_identifier", "containers", "modifiers", "context"))
"""Columns of measurements that hold UIDs, and those that hold what somebody wrote."""

_facts = attrgetter(*(column.name for column in FACTS))


class Entry(NamedTuple):
    """What became of one file.

    Attributes
    ----------
    path
        Absolute.
    outcome
        ``not DICOM``; ``gone``, since it was listed; ``unlisted``, a directory; ``read``; or the kind of error.
    instance
        Its row without an id; None where it has none.
    regions, measurements, findings
        Rows without those of their instances.
    """

    path: str
    outcome: str
    instance: Row | None = None
    regions: tuple[Row, ...] = ()
    measurements: tuple[Row, ...] = ()
    findings: tuple[Row, ...] = ()


class Reader:
    """Reads headers.

    Parameters
    ----------
    key
        By which patients, studies, series and instances are named.
    phi
        Add the columns with patient data.
    """

    def __init__(self, key: Key, *, phi: bool) -> None:
        self._pseudonyms = Pseudonyms(key)
        self._phi = phi

    def read(self, path: str) -> Entry:
        """Read one header; whatever is wrong with it stands in its row."""
        try:
            with HeaderOnly(path) as source:
                return self._entry(path, source)
        except NotDicom:
            return Entry(path, NOT_DICOM)
        except MissingFile:
            return Entry(path, GONE)
        except NotAFile:
            return Entry(path, UNLISTED)
        except CinemillError as error:
            return self.failed(path, error)
        except Exception as error:  # noqa: BLE001  # one file must not stop an archive
            return self.failed(path, InternalError.of(error))

    def failed(self, path: str, error: CinemillError) -> Entry:
        """Return the entry of a file that can't be read at all."""
        there = None if isinstance(error, Unreadable) else state(path)
        size, modified = (None, None) if there is None else (there.size, there.modified)
        blank = (None,) * (len(KEYS) + (len(PATIENT) if self._phi else 0) + len(FACTS))
        told = error.message if self._phi else self._pseudonyms.scrubbed(error.message, NOTHING)
        damage = finding(DAMAGED, told)
        return Entry(
            path,
            error.kind,
            _plain((path, size, modified, error.kind, told, *blank)),
            findings=() if isinstance(error, Unreadable) else ((0, *_finding(damage, damage.found)),),
        )

    def _entry(self, path: str, source: HeaderOnly) -> Entry:
        regions = regions_of(source)
        facts = facts_of(source, counted=False, regions=regions)
        hidden = self._hidden(source)
        subject = Subject(source, facts, whole=False)
        findings = findings_of(subject, HEADER_CHECKS)
        damage: CinemillError | None = source.damage
        measurements: list[Row] = []
        try:
            measurements += self._measurements(source, facts, hidden)
        except CinemillError as error:
            damage = damage or error
        kind = told = None
        if damage is not None:
            kind, told = damage.kind, hidden(damage.message)
            findings = in_order(dict.fromkeys((finding(DAMAGED, damage.message), *findings)))
        there = source.state
        assert there is not None
        row = (
            path,
            there.size,
            there.modified,
            kind,
            told,
            *self._pseudonyms.of(source),
            *(self._patient(source) if self._phi else ()),
            *_facts(facts),
        )
        return Entry(
            path,
            kind or READ,
            _plain(row),
            tuple(_plain((number, *_region(region))) for number, region in enumerate(regions)),
            tuple(_plain((number, *row)) for number, row in enumerate(measurements)),
            tuple(
                _plain((number, *_finding(each, hidden(each.found)))) for number, each in enumerate(findings)
            ),
        )

    def _hidden(self, source: HeaderOnly) -> Callable[[str], str]:
        """Return what takes out of texts by what the patient, the study and the instance are told."""
        if self._phi:
            return str
        words: list[Words] = []

        def hidden(text: str) -> str:
            if not words:
                words.append(Words.of(source))
            return self._pseudonyms.scrubbed(text, words[0])

        return hidden

    def _measurements(self, source: HeaderOnly, facts: Facts, hidden: Callable[[str], str]) -> Iterator[Row]:
        """Yield what is measured in a document."""
        if source.element(_CONTENT) is None:
            return
        from cinemill.operations.inspect.documents.measurements import measurements_of

        for measurement in measurements_of(source.brief, phi=self._phi):
            row = row_of(facts, measurement)
            for name in _UIDS:
                row[name] = self._keyed(row[name])
            for name in _FREE:
                row[name] = hidden(str(row[name])) if row[name] else None
            yield tuple(row[name] for name in MEASURED)

    def _keyed(self, cell: str | float | None) -> str | None:
        """Return a cell with keys in place of its UIDs, which frame numbers may follow."""
        uids = (each.partition("#") for each in str(cell).split()) if cell else ()
        return " ".join(f"{self._pseudonyms.uid(uid)}{sign}{frames}" for uid, sign, frames in uids) or None

    def _patient(self, source: HeaderOnly) -> Iterable[str | None]:
        charsets = source.text(_CHARSET).split("\\")
        for tag in _PATIENT_TAGS:
            value = source.value(tag) or b""
            text = value.decode() if value.isascii() and b"\x1b" not in value else decoded(value, charsets)
            yield text.strip(" \0") or None


def _region(region: Region) -> Row:
    return (
        region.spatial_format,
        region.data_type,
        region.flags,
        *region.bounds,
        *region.units,
        *region.deltas,
        *region.reference_pixel,
        *region.reference_values,
    )


def _finding(found: Finding, text: str) -> Row:
    return found.check, found.severity.value, found.section, text, found.remedy, found.frame


def _plain(row: Iterable[Any]) -> Row:
    """Return values as SQLite takes them: lists as JSON, text that UTF-8 can hold, no integer of more than 64 bits."""
    return tuple(map(_plain_value, row))


def _plain_value(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return as_text(value)
    if kind is int:
        return value if -_LARGEST <= value < _LARGEST else None
    if kind is tuple:
        return json.dumps(value, ensure_ascii=False) if value else "[]"
    return value
