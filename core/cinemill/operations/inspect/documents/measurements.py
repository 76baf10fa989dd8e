"""Every numeric value of a document with what its tree says of it, in any template and in none (PS3.16 TID 300, 1419)."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from cinemill.operations.inspect.documents import concepts
from cinemill.operations.inspect.documents.concepts import concept_key
from cinemill.operations.inspect.documents.content import Content, ContentItem
from cinemill.operations.inspect.documents.qualifiers import Qualifier, qualifiers_of
from cinemill.operations.inspect.documents.references import (
    Homes,
    at_home,
    evidence_of,
    reference_of,
)
from cinemill.operations.inspect.documents.values import (
    code_of,
    decimal,
    floats_of,
    integers_of,
    items_of,
    quiet,
    stored_text,
)
from cinemill.operations.inspect.model import Code, Measurement, Reference

_NAMELESS = Code("", "", "")
_COORDINATES = frozenset(("SCOORD", "SCOORD3D", "TCOORD"))
_OBJECTS = frozenset(("IMAGE", "WAVEFORM", "COMPOSITE"))
_REGIONS_OF_GROUPS = frozenset(("1410", "1411", "1501"))
"""Templates in which what a group of measurements was taken from stands beside them."""


def measurements_of(
    header: Dataset, *, phi: bool = False, content: Content | None = None
) -> tuple[Measurement, ...]:
    """Return every numeric value of a document, in the order of its tree; none where the instance is no document.

    Parameters
    ----------
    header
        Of the instance.
    phi
        Also what may be about a person: the subject's age, free text, dates and names in modifiers and context.
    content
        The document's tree, where it was read already.
    """
    with quiet():
        content = content or Content(header)
        numbers = [item for item in content.items.values() if item.value_type == "NUM"]
        if not numbers:
            return ()
        reader = _Reader(content, evidence_of(header), phi=phi)
        return tuple(
            reader.read(item)
            for item in numbers
            if phi or concept_key(item.concept) not in concepts.ABOUT_A_PERSON
        )


class _Reader:
    """Reads the measurements of one document; what stands above several of them is read once."""

    def __init__(self, content: Content, homes: Homes, *, phi: bool) -> None:
        self.content = content
        self.homes = homes
        self.phi = phi
        self._qualifiers: dict[tuple[int, ...], list[Qualifier]] = {}
        self._groups: dict[tuple[int, ...], list[Reference]] = {}

    def read(self, item: ContentItem) -> Measurement:
        measured = next(iter(items_of(item.dataset, "MeasuredValueSequence")), Dataset())
        text = stored_text(measured, "NumericValue")
        qualifiers = self._in_effect(item)
        site, from_container = self._site(item)
        laterality = next((q.code for q in qualifiers if q.key == concepts.LATERALITY and q.code), None)
        modifiers = [
            q
            for q in qualifiers
            if not q.context
            and q.key != concepts.LATERALITY
            and not (q.key == concepts.FINDING_SITE and (q.code == site or from_container))
        ]
        references, inferred_from = self._sources(item)
        return Measurement(
            position=item.place,
            template=next((each.template for each in item.upwards() if each.template), None),
            concept=item.concept or _NAMELESS,
            value=_number(measured, text),
            text=text,
            unit=code_of(measured, "MeasurementUnitsCodeSequence"),
            qualifier=code_of(item.dataset, "NumericValueQualifierCodeSequence"),
            site=site,
            group=_group(item),
            modifiers=tuple((q.concept, q.text) for q in modifiers),
            references=references,
            laterality=laterality,
            coded=tuple((q.concept, q.code) for q in modifiers if q.code),
            context=tuple((q.concept, q.text) for q in qualifiers if q.context),
            inferred_from=inferred_from,
        )

    def _of(self, item: ContentItem) -> list[Qualifier]:
        found = self._qualifiers.get(item.position)
        if found is None:
            found = list(qualifiers_of(self.content, item, phi=self.phi))
            self._qualifiers[item.position] = found
        return found

    def _in_effect(self, item: ContentItem) -> list[Qualifier]:
        """Return what qualifies a measurement: its own, and of each concept the nearest that is said above it."""
        effective: list[Qualifier] = []
        said: set[tuple[str, str]] = set()  # and what no longer holds: a part of a site that is another one
        for level in item.upwards():
            here = [
                each
                for each in self._of(level)
                if each.key not in said
                and (level is item or (each.inherited and (level.parent or each.context)))
            ]
            effective += here
            said |= {each.key for each in here}
            if concepts.FINDING_SITE in said:
                said.add(concepts.TOPOGRAPHY)
        return effective

    def _site(self, item: ContentItem) -> tuple[Code | None, bool]:
        """Return the nearest finding site, and whether it is the name of a container above."""
        for level in item.upwards():
            own = (q.code for q in self._of(level) if q.key == concepts.FINDING_SITE and q.code)
            if site := next(own, None):
                return site, False
            if level is not item and level.value_type == "CONTAINER" and concepts.is_anatomy(level.concept):
                return level.concept, True
        return None, False

    def _sources(self, item: ContentItem) -> tuple[tuple[Reference, ...], tuple[str, ...]]:
        """Return the instances that a measurement was taken from, and the measurements that it was computed from."""
        references, numbers = self._follow(item.children)
        if not references and (group := _group_of_regions(item)):
            references = self._of_group(group)
        return tuple(dict.fromkeys(references)), tuple(dict.fromkeys(numbers))

    def _of_group(self, group: ContentItem) -> list[Reference]:
        """Return the instances that the values of a group were taken from."""
        found = self._groups.get(group.position)
        if found is None:
            regions = [each for each in group.children if each.value_type in _COORDINATES | _OBJECTS]
            found = self._groups[group.position] = self._follow(regions)[0]
        return found

    def _follow(self, items: list[ContentItem]) -> tuple[list[Reference], list[str]]:
        references: list[Reference] = []
        numbers: list[str] = []
        waiting, seen = items[::-1], set()
        while waiting:
            each = waiting.pop()
            item = self.content.resolve(each)
            if item is None or item.position in seen:
                continue
            seen.add(item.position)
            if item.value_type in _OBJECTS:
                references += self._referenced(item)
            elif item.value_type in _COORDINATES:
                waiting += reversed(item.children)
            elif (
                item.value_type == "NUM" and each.relationship == "INFERRED FROM" and item is not each.parent
            ):
                numbers.append(item.place)
        return references, numbers

    def _referenced(self, item: ContentItem) -> Iterator[Reference]:
        for each in items_of(item.dataset, "ReferencedSOPSequence"):
            reference = reference_of(each, "ReferencedSOPSequence")
            if reference is not None:
                yield at_home(reference, self.homes)


def _number(measured: Dataset, text: str) -> float | None:
    """Return the most precise form of a value that is there (PS3.3 C.18.1)."""
    for exact in floats_of(measured, "FloatingPointValue")[:1]:
        return exact
    numerator, denominator = (
        integers_of(measured, "RationalNumeratorValue"),
        integers_of(measured, "RationalDenominatorValue"),
    )
    if numerator and denominator and denominator[0]:
        return numerator[0] / denominator[0]
    return decimal(text)


def _group(item: ContentItem) -> tuple[str, ...]:
    """Return the names of what stands above, below the root and outermost first: containers, and the value that one belongs to."""
    above = [each for each in item.upwards() if each is not item and each.parent]
    names = (
        (each.concept or _NAMELESS) for each in reversed(above) if each.value_type in {"CONTAINER", "NUM"}
    )
    return tuple(name.meaning or name.value for name in names if name.meaning or name.value)


def _group_of_regions(item: ContentItem) -> ContentItem | None:
    """Return the nearest container, where it is a group whose images and regions are those of its measurements."""
    nearest = next((each for each in item.upwards() if each.value_type == "CONTAINER"), None)
    if nearest is None or nearest.parent is None:
        return None
    of_regions = nearest.template in _REGIONS_OF_GROUPS
    return nearest if of_regions or concept_key(nearest.concept) == concepts.MEASUREMENT_GROUP else None
