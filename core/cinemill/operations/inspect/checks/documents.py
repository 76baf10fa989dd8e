"""Checks of structured reports by themselves: their numbers, their trees, and what they list as evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cinemill.operations.inspect.checks.check import Check, Problem, Problems, Subject, check, gathered
from cinemill.operations.inspect.documents import faults
from cinemill.operations.inspect.documents.content import Content
from cinemill.operations.inspect.documents.values import quiet
from cinemill.operations.inspect.model import Severity

_AGAIN = "have the report made again by the system that it is from"


def _found(subject: Subject, fault: Callable[[Content], Iterator[str]]) -> Problems:
    """Return the first of the faults of a document's tree, with how many others there are."""
    with quiet():
        return list(gathered(Problem(each) for each in fault(subject.content)))


def _of_tree(
    name: str,
    severity: Severity,
    section: str,
    fault: Callable[[Content], Iterator[str]],
    *,
    about: str,
    remedy: str,
) -> Check:
    made = check(name, severity, section, about=about, remedy=remedy)
    return made(lambda subject: _found(subject, fault))


CONCEPT = _of_tree(
    "report.concept",
    Severity.WARNING,
    "PS3.3 C.17.3",
    faults.nameless,
    about="numeric values say what was measured",
    remedy=_AGAIN,
)
VALUE = _of_tree(
    "report.value",
    Severity.WARNING,
    "PS3.3 C.18.1",
    faults.valueless,
    about="numeric values are there, or a qualifier says why not",
    remedy=_AGAIN,
)
DECIMAL = _of_tree(
    "report.decimal",
    Severity.WARNING,
    "PS3.5 6.2",
    faults.not_decimal,
    about="a Numeric Value is one decimal number",
    remedy="read the number from its text, and have the system that wrote it mended",
)
UNIT = _of_tree(
    "report.unit",
    Severity.WARNING,
    "PS3.3 C.18.1",
    faults.unitless,
    about="numeric values have units; those without any have the UCUM code 1",
    remedy="don't compare such values: find out what the system measures in",
)
PRECISION = _of_tree(
    "report.precision",
    Severity.WARNING,
    "PS3.3 C.18.1",
    faults.at_odds,
    about="Numeric Value is Floating Point Value, rounded",
    remedy="ask the system that it is from which one it means; programs show one or the other",
)
ASTRAY = _of_tree(
    "report.astray",
    Severity.WARNING,
    "PS3.3 C.17.3.2.5",
    faults.astray,
    about="references within the tree lead to items by value",
    remedy=_AGAIN,
)
DEPTH = _of_tree(
    "report.depth",
    Severity.WARNING,
    "PS3.3 C.17.3",
    faults.too_deep,
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
    with quiet():
        return list(
            gathered(Problem(each) for each in faults.without_evidence(subject.header, subject.content))
        )
