"""Searches (PS3.18 10.6): which attributes they may ask of, and what they are answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from cinemill.errors import CinemillError, UsageError
from cinemill.serve.catalogue import Found, is_matched
from cinemill.serve.dicom_json import Attributes, attribute, attributes_of, tag_of
from cinemill.serve.instances import header_of
from cinemill.serve.matching import Key, read_path, vr_of

if TYPE_CHECKING:
    from cinemill.serve.catalogue import Catalogue

MOST = 1000
"""Results of one answer."""

STUDIES, SERIES, INSTANCES = 1, 2, 3
_NO_KEYS = frozenset(("accept", "charset"))
_UNHEEDED = frozenset(("fuzzymatching", "emptyvaluematching", "multiplevaluematching"))
_MOST_KEYS = 100
_ALL = "all"
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_ATTRIBUTES: Mapping[int, tuple[str, ...]] = {
    STUDIES: (
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "TimezoneOffsetFromUTC",
        "StudyDescription",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyID",
    ),
    SERIES: (
        "Modality",
        "TimezoneOffsetFromUTC",
        "SeriesDescription",
        "SeriesInstanceUID",
        "SeriesNumber",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "RequestAttributesSequence",
    ),
    INSTANCES: (
        "SOPClassUID",
        "SOPInstanceUID",
        "TimezoneOffsetFromUTC",
        "InstanceNumber",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "BitsAllocated",
    ),
}
"""Of each level (PS3.18 Tables 10.6.3-3 to 10.6.3-5)."""


class Search(NamedTuple):
    """What is searched for.

    Attributes
    ----------
    depth
        `STUDIES`, `SERIES` or `INSTANCES`.
    within
        UIDs of the study and the series that it is in, as far as these are given.
    keys
        What is asked of attributes.
    fields
        Tags of attributes that are wanted besides; None for all.
    limit, offset
        How many results, behind how many.
    unheeded
        Kinds of matching that were asked for and are not supported.
    """

    depth: int
    within: tuple[str, ...]
    keys: tuple[Key, ...]
    fields: frozenset[int] | None
    limit: int
    offset: int
    unheeded: tuple[str, ...]


def read_search(depth: int, within: Sequence[str], query: Iterable[tuple[str, str]]) -> Search:
    """Read the parameters of a search.

    Parameters
    ----------
    depth, within
        See `Search`.
    query
        Names and values, as they came.

    Raises
    ------
    UsageError
        There is no such attribute, a number is none, or too much is asked.
    """
    keys: list[Key] = []
    fields: set[int] | None = set()
    numbers = {"limit": MOST, "offset": 0}
    unheeded: list[str] = []
    for name, value in query:
        if name in numbers:
            numbers[name] = _number(name, value)
        elif name in _UNHEEDED:
            unheeded += [name] * (value.lower() == "true")
        elif name == "includefield":
            for each in filter(None, value.split(",")):
                if each == _ALL:
                    fields = None
                elif fields is not None:
                    fields.add(read_path(each)[0])
        elif name not in _NO_KEYS:
            keys.append(Key(read_path(name), value))
    if len(keys) > _MOST_KEYS:
        raise UsageError(f"{len(keys)} attributes are compared; expected {_MOST_KEYS} or fewer")
    wanted = None if fields is None else frozenset(fields)
    limit = min(numbers["limit"], MOST)
    return Search(depth, tuple(within), tuple(keys), wanted, limit, numbers["offset"], tuple(unheeded))


def _number(name: str, value: str) -> int:
    if not (value.isdecimal() and len(value) < 10):
        raise UsageError(f"{name} is {value[:64]!r}; expected a whole number from 0 on")
    return int(value)


def results(catalogue: Catalogue, search: Search) -> tuple[list[Found], bool]:
    """Return what was found, and whether there is more."""
    elsewhere = [key for key in search.keys if not is_matched(key) and key.wanted]
    found = catalogue.search(search.depth, search.within, search.keys)
    meeting = (each for each in found if _meets(each, elsewhere))
    kept: list[Found] = []
    for number, each in enumerate(meeting):
        if number >= search.offset + search.limit:
            return kept, True
        if number >= search.offset:
            kept.append(each)
    return kept, False


def _meets(found: Found, keys: Sequence[Key]) -> bool:
    """Whether a header meets keys; one that can't be read meets none."""
    if not keys:
        return True
    try:
        with header_of(found) as header:
            told = header.part(*{key.path[0] for key in keys})
            return all(key.is_met(told) for key in keys)
    except CinemillError:
        return False


def described(
    catalogue: Catalogue, search: Search, several: Iterable[Found], base: str
) -> Iterator[Attributes]:
    """Yield the attributes of results.

    Parameters
    ----------
    catalogue, search
        What was searched, and what for.
    several
        The results.
    base
        URL of the service.
    """
    related_to = cache(catalogue.related)
    for found in several:
        told = _read(found, search)
        for keyword, uid in zip(_UIDS, found.uids, strict=False):
            told[tag_of(keyword)] = attribute("UI", uid)
        told[tag_of("InstanceAvailability")] = attribute("CS", "ONLINE")
        told[tag_of("RetrieveURL")] = attribute("UR", found.url(base))
        if not search.within or search.depth == STUDIES:
            related = related_to(found.uids[:1])
            told |= _modalities(related.modalities)
            told[tag_of("NumberOfStudyRelatedSeries")] = attribute("IS", related.series)
            told[tag_of("NumberOfStudyRelatedInstances")] = attribute("IS", related.instances)
        if len(search.within) < SERIES <= search.depth:
            count = related_to(found.uids[:2]).instances
            told[tag_of("NumberOfSeriesRelatedInstances")] = attribute("IS", count)
        yield dict(sorted(told.items()))


def _modalities(several: Sequence[str]) -> Attributes:
    """Return Modalities in Study; nothing where none is known, for viewers take it for a list."""
    return {tag_of("ModalitiesInStudy"): attribute("CS", *several)} if several else {}


def _read(found: Found, search: Search) -> Attributes:
    """Return what the header of a result says of what is wanted; nothing where it can't be read."""
    levels = range(min(len(search.within), search.depth - 1) + 1, search.depth + 1)
    required = {int(tag_of(keyword), 16) for level in levels for keyword in _ATTRIBUTES[level]}
    wanted = required.union((key.path[0] for key in search.keys), search.fields or ())
    told: Attributes = {}
    with suppress(CinemillError), header_of(found) as header:
        told = attributes_of(header.brief if search.fields is None else header.part(*wanted))
        if search.depth == INSTANCES:
            syntax = header.transfer_syntax.uid
            told[tag_of("AvailableTransferSyntaxUID")] = attribute("UI", syntax)
    return {f"{tag:08X}": attribute(vr_of(tag)) for tag in required} | told
