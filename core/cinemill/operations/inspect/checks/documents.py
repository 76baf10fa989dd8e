"""Checks of structured reports by themselves: their numbers, their trees, and what they list as evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING

from cinemill.operations.inspect.checks.check import Check, Problem, Problems, Subject, check, gathered
from cinemill.operations.inspect.model import Severity

if TYPE_CHECKING:
    from cinemill.operations.inspect.documents.content import Content

_AGAIN = "have the report made again by the system that it is from"
_VALUE_TYPE = 0x0040A040
_FAULTS = "cinemill.operations.inspect.documents.faults"
"""Needs pydicom, which takes long to import: for documents only."""


def _is_document(subject: Subject) -> bool:
    return subject.source.element(_VALUE_TYPE) is not None


def _found(subject: Subject, name: str) -> Problems:
    """Return the first of the faults of a document's tree, with how many others there are."""
    if not _is_document(subject):
        return ()
    from cinemill.operations.inspect.documents.values import quiet

    fault: Callable[[Content], Iterator[str]] = getattr(import_module(_FAULTS), name)
    with quiet():
        return list(gathered(Problem(each) for each in fault(subject.content)))


def _of_tree(name: str, section: str, fault: str, *, about: str, remedy: str) -> Check:
    made = check(name, Severity.WARNING, section, about=about, remedy=remedy)
    return made(lambda subject: _found(subject, fault))


CONCEPT = _of_tree(
    "report.concept",
    "PS3.3 C.17.3",
    "nameless",
    about="numeric values say what was measured",
    remedy=_AGAIN,
)
VALUE = _of_tree(
    "report.value",
    "PS3.3 C.18.1",
    "valueless",
    about="numeric values are there, or a qualifier says why not",
    remedy=_AGAIN,
)
DECIMAL = _of_tree(
    "report.decimal",
    "PS3.5 6.2",
    "not_decimal",
    about="a Numeric Value is one decimal number",
    remedy="read the number from its text, and have the system that wrote it mended",
)
UNIT = _of_tree(
    "report.unit",
    "PS3.3 C.18.1",
    "unitless",
    about="numeric values have units; those without any have the UCUM code 1",
    remedy="don't compare such values: find out what the system measures in",
)
PRECISION = _of_tree(
    "report.precision",
    "PS3.3 C.18.1",
    "at_odds",
    about="Numeric Value is Floating Point Value, rounded",
    remedy="ask the system that it is from which one it means; programs show one or the other",
)
ASTRAY = _of_tree(
    "report.astray",
    "PS3.3 C.17.3.2.5",
    "astray",
    about="references within the tree lead to items by value",
    remedy=_AGAIN,
)
DEPTH = _of_tree(
    "report.depth",
    "PS3.3 C.17.3",
    "too_deep",
    about="the content tree has at most 200 levels",
    remedy=_AGAIN,
)


@check(
    "report.evidence",
    Severity.WARNING,
    "PS3.3 C.17.2.3",
    about="what the tree refers to is listed as evidence",
    remedy="archives may not find these instances: have the report made again, with all evidence listed",
)
def evidence(subject: Subject) -> Problems:
    """Yield what the lists of evidence lack."""
    if not _is_document(subject):
        return ()
    from cinemill.operations.inspect.documents.faults import without_evidence
    from cinemill.operations.inspect.documents.values import quiet

    with quiet():
        return list(gathered(Problem(each) for each in without_evidence(subject.header, subject.content)))
