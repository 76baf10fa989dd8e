"""The one table of checks, and how they are carried out: whatever a file holds, a check yields findings and never fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cinemill.dicom.values import explained
from cinemill.errors import CinemillError, printable
from cinemill.operations.inspect.checks import (
    codestream,
    encapsulation,
    file,
    frames,
    identity,
    lossy,
    orientation,
    pixels,
    regions,
    text,
    timing,
)
from cinemill.operations.inspect.checks.check import Check, Problem, Subject
from cinemill.operations.inspect.model import Finding, Severity

_GROUPS = file, identity, frames, codestream, encapsulation, pixels, lossy, timing, regions, orientation, text
_WORST = list(Severity)

DAMAGED = Check(
    "file.damaged",
    Severity.ERROR,
    "PS3.10 7",
    "the file is a DICOM file that can be read to its end",
    "fetch the file again from where it came; transcode --repair keeps what is there",
    lambda _: (),
)
"""What is found where a file can't be read, or not to its end."""

VALUES = Check(
    "file.values",
    Severity.WARNING,
    "PS3.5 6.2",
    "values are such as their attributes have",
    "correct the value; what depends on it was not checked",
    lambda _: (),
)
"""What is found where a check meets values that are none."""

CHECKS: tuple[Check, ...] = (
    DAMAGED,
    VALUES,
    *(each for group in _GROUPS for each in vars(group).values() if isinstance(each, Check)),
)
"""All checks of one instance, in the order of the documentation."""


def findings_of(
    subject: Subject, *, counted: bool, wanted: Callable[[Check], bool] | None = None
) -> list[Finding]:
    """Return what the checks find, the worst first.

    Parameters
    ----------
    subject
        The instance.
    counted
        Look at all items and codestreams too; else at the header alone.
    wanted
        Which checks are carried out; default: all.
    """
    found: list[Finding] = []
    for check in CHECKS:
        if (counted or not check.counted) and (wanted is None or wanted(check)):
            found += _carry_out(check, subject)
    told = {each.found for each in found if each.check != DAMAGED.id}
    return in_order(
        dict.fromkeys(each for each in found if each.check != DAMAGED.id or each.found not in told)
    )


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings, the worst first."""
    return sorted(findings, key=lambda finding: _WORST.index(finding.severity))


def finding(check: Check, problem: Problem | str) -> Finding:
    """Return a finding of a check."""
    if isinstance(problem, str):
        problem = Problem(problem)
    return Finding(
        check.id,
        check.severity,
        check.section,
        printable(problem.found),
        problem.remedy or check.remedy,
        problem.frame,
    )


def _carry_out(check: Check, subject: Subject) -> Iterator[Finding]:
    try:
        yield from [finding(check, problem) for problem in check.run(subject)]
    except CinemillError as error:
        yield finding(DAMAGED, Problem(error.message, error.frame))
    except Exception as error:  # noqa: BLE001  # pydicom has no family of errors
        yield finding(VALUES, _unreadable(error).message)


def _unreadable(error: Exception) -> CinemillError:
    """Return our error for what pydicom raises on wrong values."""
    try:
        with explained("values can't be read", "the attribute was not checked"):
            raise error
    except CinemillError as told:
        return told
