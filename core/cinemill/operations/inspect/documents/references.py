"""What an instance points to: every sequence, at any depth, whose items name an instance (PS3.3 Table 10-11)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset

from cinemill.operations.inspect.documents.values import integers_of, items_of, quiet, text_of
from cinemill.operations.inspect.model import Reference

_DEEPEST = 200
_CONTENT = 0x0040A730
_REFERENCED = b"\x08\0\x55\x11"
"""The tag of Referenced SOP Instance UID, as encoded."""

_LEVELS = frozenset(("ReferencedSeriesSequence", "ReferencedSOPSequence", "ReferencedInstanceSequence"))
"""Levels within a list of what stands in a study: the list's own keyword says more."""


Homes: TypeAlias = dict[str, tuple[str | None, str | None]]
"""Study and series of instances, by their UIDs."""


class _Place(NamedTuple):
    """A data set on the way down, and what stands above it."""

    dataset: Dataset
    attribute: str
    study: str | None
    series: str | None
    depth: int


def references_of(header: Dataset) -> tuple[Reference, ...]:
    """Return all instances that one points to, once for each attribute and set of frames, in the order of the header.

    Studies and series are those that the reference names, or that another reference to the same instance names.
    """
    with quiet():
        found = dict.fromkeys(_walk(header))
    homes = homes_of(found)
    return tuple(dict.fromkeys(at_home(each, homes) for each in found))


def evidence_of(header: Dataset) -> Homes:
    """Return the study and series of each instance that a document lists as its evidence."""
    with quiet():
        return homes_of(_walk(header, without=_CONTENT))


def homes_of(references: Iterable[Reference]) -> Homes:
    """Return the study and series of each instance, as far as references to it name them."""
    return {
        each.sop_instance_uid: (each.study_instance_uid, each.series_instance_uid)
        for each in references
        if each.study_instance_uid
    }


def reference_of(
    item: Dataset, attribute: str, study: str | None = None, series: str | None = None
) -> Reference | None:
    """Return the instance that an item names, None where it names none.

    Parameters
    ----------
    item
        Of a sequence such as Referenced SOP Sequence.
    attribute
        Keyword of the sequence.
    study, series
        What the items above say.
    """
    uid = text_of(item, "ReferencedSOPInstanceUID")
    if not uid:
        return None
    return Reference(
        sop_instance_uid=uid,
        sop_class_uid=text_of(item, "ReferencedSOPClassUID") or None,
        frames=integers_of(item, "ReferencedFrameNumber"),
        attribute=attribute,
        study_instance_uid=study,
        series_instance_uid=series,
    )


def at_home(reference: Reference, homes: Homes) -> Reference:
    """Return a reference with its study and series, where another one names them."""
    home = homes.get(reference.sop_instance_uid)
    if reference.study_instance_uid or home is None:
        return reference
    return Reference(
        reference.sop_instance_uid,
        reference.sop_class_uid,
        reference.frames,
        reference.attribute,
        *home,
    )


def _walk(header: Dataset, *, without: int | None = None) -> Iterator[Reference]:
    """Yield references in the order of the header, going down by a list of places rather than by calls."""
    waiting = [_Place(header, "", None, None, 0)]
    while waiting:
        place = waiting.pop()
        reference = reference_of(place.dataset, place.attribute, place.study, place.series)
        if reference is not None and place.depth:
            yield reference
        if place.depth < _DEEPEST:
            waiting += reversed(list(_below(place, without)))


def _below(place: _Place, without: int | None) -> Iterator[_Place]:
    own = text_of(place.dataset, "StudyInstanceUID") or None
    study = (own or place.study) if place.depth else None
    series = (text_of(place.dataset, "SeriesInstanceUID") or place.series) if place.depth else None
    for tag in sorted(place.dataset.keys()):
        if tag == without or not _may_name(place.dataset, tag):
            continue
        keyword = keyword_for_tag(tag)
        attribute = place.attribute if study and keyword in _LEVELS else keyword
        of_study = own if keyword == "ReferencedSeriesSequence" and not place.depth else study
        for item in items_of(place.dataset, keyword):
            yield _Place(item, attribute, of_study, series, place.depth + 1)


def _may_name(dataset: Dataset, tag: int) -> bool:
    """Tell whether an element is a sequence with an instance's UID somewhere in it, before its items are read."""
    element: Any = dataset.get_item(tag, keep_deferred=True)  # as it was read, or as it was made
    if isinstance(element.value, bytes) and _REFERENCED not in element.value:
        return False
    try:
        return bool((element.VR or dictionary_VR(tag)) == "SQ" and keyword_for_tag(tag))
    except KeyError:
        return False
