"""What is wrong in a document by itself: values, units, and references within its tree (PS3.3 C.17.3, C.18.1)."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pydicom.dataset import Dataset

from cinemill.operations.inspect.documents.content import Content, ContentItem
from cinemill.operations.inspect.documents.references import evidence_of, reference_of
from cinemill.operations.inspect.documents.values import (
    code_of,
    decimal,
    floats_of,
    items_of,
    stored_text,
    value_of,
)

_OBJECTS = frozenset(("IMAGE", "WAVEFORM", "COMPOSITE"))


def nameless(content: Content) -> Iterator[str]:
    """Yield numeric values that do not say what was measured."""
    yield from (_told(item, "has no concept name") for item in _numbers(content) if item.concept is None)


def valueless(content: Content) -> Iterator[str]:
    """Yield numeric values that are absent without a qualifier that says why."""
    for item in _numbers(content):
        measured = items_of(item.dataset, "MeasuredValueSequence")
        if not measured and code_of(item.dataset, "NumericValueQualifierCodeSequence") is None:
            yield _told(item, "has neither a value nor a qualifier")


def not_decimal(content: Content) -> Iterator[str]:
    """Yield numeric values whose text is no single decimal number."""
    for item, measured in _measured(content):
        text = stored_text(measured, "NumericValue")
        if decimal(text) is None:
            yield _told(item, f"has the Numeric Value {text!r}, expected one decimal number")


def unitless(content: Content) -> Iterator[str]:
    """Yield numeric values without a unit."""
    for item, measured in _measured(content):
        if code_of(measured, "MeasurementUnitsCodeSequence") is None:
            yield _told(item, "has no unit")


def at_odds(content: Content) -> Iterator[str]:
    """Yield numeric values whose forms are different numbers."""
    for item, measured in _measured(content):
        text = stored_text(measured, "NumericValue")
        rounded = decimal(text)
        for exact in floats_of(measured, "FloatingPointValue")[:1]:
            if rounded is not None and not _alike(rounded, exact, text):
                yield _told(item, f"has the Numeric Value {text} and the Floating Point Value {exact!r}")


def astray(content: Content) -> Iterator[str]:
    """Yield items that stand for an item that is not there, or for themselves."""
    for item in content.items.values():
        if item.target and content.resolve(item) is None:
            yield f"item {item.place} refers to item {'.'.join(map(str, item.target))}, which leads to none"


def without_evidence(header: Dataset, content: Content) -> Iterator[str]:
    """Yield instances that the tree refers to and the document does not list as evidence.

    Parameters
    ----------
    header
        Of the document.
    content
        Its tree.
    """
    listed = evidence_of(header)
    told = set()
    for item in content.items.values():
        for each in items_of(item.dataset, "ReferencedSOPSequence") if item.value_type in _OBJECTS else ():
            reference = reference_of(each, "ReferencedSOPSequence")
            if (
                reference
                and reference.sop_instance_uid not in listed
                and reference.sop_instance_uid not in told
            ):
                told.add(reference.sop_instance_uid)
                yield f"item {item.place} refers to {reference.sop_instance_uid}, which is not listed as evidence"


def too_deep(content: Content) -> Iterator[str]:
    """Yield that levels were left out."""
    if content.too_deep:
        yield f"the content tree is deeper than {max(map(len, content.items))} levels; what lies below was not read"


def _numbers(content: Content) -> Iterator[ContentItem]:
    return (item for item in content.items.values() if item.value_type == "NUM")


def _measured(content: Content) -> Iterator[tuple[ContentItem, Dataset]]:
    for item in _numbers(content):
        for measured in items_of(item.dataset, "MeasuredValueSequence")[:1]:
            if value_of(measured, "NumericValue") is not None or stored_text(measured, "NumericValue"):
                yield item, measured


def _alike(rounded: float, exact: float, text: str) -> bool:
    """Tell whether a number is another one rounded to the digits that its text has."""
    mantissa, _, exponent = text.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    last = 10.0 ** (int(exponent or 0) - decimals)
    return math.isclose(rounded, exact, rel_tol=1e-6, abs_tol=last)


def _told(item: ContentItem, what: str) -> str:
    name = "" if item.concept is None else f" ({item.concept.meaning or item.concept.value})"
    return f"item {item.place}{name} {what}"
