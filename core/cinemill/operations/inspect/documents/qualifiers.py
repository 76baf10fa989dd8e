"""What stands beside a value in a content tree and qualifies it: concept modifiers, acquisition and observation context."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cinemill.operations.inspect.documents import concepts
from cinemill.operations.inspect.documents.concepts import concept_key
from cinemill.operations.inspect.documents.content import Content, ContentItem
from cinemill.operations.inspect.documents.values import code_of, items_of, stored_text, text_of
from cinemill.operations.inspect.model import Code

_MODIFIERS = frozenset(("HAS CONCEPT MOD", "HAS ACQ CONTEXT"))
_OWN = frozenset(("HAS PROPERTIES", "INFERRED FROM"))
"""What is said so holds for the item itself, and not for those below it."""
_CONTEXT = "HAS OBS CONTEXT"
_TEXTS = {
    "TEXT": "TextValue",
    "UIDREF": "UID",
    "PNAME": "PersonName",
    "DATE": "Date",
    "TIME": "Time",
    "DATETIME": "DateTime",
}
_DEEPEST = 8
"""Modifiers of modifiers: a finding site's topographical modifier has a laterality at most."""


class Qualifier(NamedTuple):
    """One property of an item.

    Attributes
    ----------
    concept, key
        Its name, and what that is compared by.
    text, code
        Its value, and the code of a coded one.
    context
        Whether it is observation context.
    inherited
        Whether it holds for the items below as well.
    """

    concept: Code
    key: tuple[str, str]
    text: str
    code: Code | None
    context: bool
    inherited: bool


def qualifiers_of(content: Content, item: ContentItem, *, phi: bool) -> Iterator[Qualifier]:
    """Yield what qualifies an item, modifiers of modifiers behind them.

    Parameters
    ----------
    content
        The tree that the item stands in.
    item
        A value or a container.
    phi
        Also what may be about a person.
    """
    context = [each for each in item.children if each.relationship == _CONTEXT]
    of_fetus = _is_of_fetus(context)
    waiting = [(each, 1) for each in reversed(item.children)]
    while waiting:
        each, depth = waiting.pop()
        if not _qualifies(item, each, depth):
            continue
        there = content.resolve(each)
        if there is None or there.concept is None:
            continue
        if depth < _DEEPEST:
            waiting += [
                (below, depth + 1) for below in reversed(there.children) if below.relationship in _MODIFIERS
            ]
        key = concept_key(there.concept)
        text, code = _value(there)
        typed = code is not None and code.value == concepts.FREE_TEXT
        harmless = not typed and _may_be_told(
            there, key, context=each.relationship == _CONTEXT, of_fetus=of_fetus
        )
        if text and key not in concepts.LANGUAGES and (phi or harmless):
            yield Qualifier(
                there.concept, key, text, code, each.relationship == _CONTEXT, each.relationship not in _OWN
            )


def _qualifies(item: ContentItem, child: ContentItem, depth: int) -> bool:
    """Tell whether a child says something of an item, or of a modifier of it."""
    relationship = child.relationship
    if depth > 1 or relationship in _MODIFIERS or relationship == _CONTEXT:
        return True
    if relationship in _OWN:
        return item.value_type == "NUM" and child.value_type in {"CODE", "TEXT"}
    return (
        child.value_type == "CODE"
        and concept_key(item.concept) == concepts.MEASUREMENT_GROUP
        and concept_key(child.concept) in concepts.OF_GROUPS
    )


def _is_of_fetus(context: list[ContentItem]) -> bool:
    """Tell whether the subject that a context describes is a fetus (PS3.16 TID 1008)."""
    for each in context:
        key = concept_key(each.concept)
        if key in {concepts.FETUS_ID, concepts.FETUS_NUMBER, concepts.MOTHER}:
            return True
        if key == concepts.SUBJECT_CLASS and concept_key(_value(each)[1]) in concepts.FETUS:
            return True
    return False


def _may_be_told(item: ContentItem, key: tuple[str, str], *, context: bool, of_fetus: bool) -> bool:
    """Tell whether a value is surely about what was measured, and not about a person."""
    if key == concepts.SUBJECT_ID:
        return of_fetus
    if context:
        return key in concepts.HARMLESS_CONTEXT
    if item.value_type == "TEXT":
        return key in concepts.HARMLESS_TEXTS
    return item.value_type == "CODE" or (item.value_type == "NUM" and key not in concepts.ABOUT_A_PERSON)


def _value(item: ContentItem) -> tuple[str, Code | None]:
    """Return an item's value as text, and its code where it has one."""
    if item.value_type == "CODE":
        code = code_of(item.dataset, "ConceptCodeSequence")
        return ("", None) if code is None else (code.meaning or code.value, code)
    if item.value_type == "NUM":
        for measured in items_of(item.dataset, "MeasuredValueSequence")[:1]:
            unit = code_of(measured, "MeasurementUnitsCodeSequence")
            number = stored_text(measured, "NumericValue")
            named = unit is not None and (unit.value, unit.scheme) != ("1", "UCUM")
            return (f"{number} {unit.value}" if unit and named and number else number), None
    tag = _TEXTS.get(item.value_type)
    return (text_of(item.dataset, tag) if tag else ""), None
