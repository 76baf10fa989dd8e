"""The one table of checks, and how they are carried out: whatever a file holds, a check yields findings and never fails."""

from __future__ import annotations

from collections.abc import Iterable

from cinemill.errors import CinemillError, printable
from cinemill.operations.inspect.checks import (
    codestream,
    documents,
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

_GROUPS = (
    file,
    identity,
    frames,
    codestream,
    encapsulation,
    pixels,
    lossy,
    timing,
    regions,
    orientation,
    text,
    documents,
)
_WORST = list(Severity)

DAMAGED = Check(
    "file.damaged",
    Severity.ERROR,
    "PS3.10 7",
    "the file is a DICOM file that can be read to its end",
    "fetch the file again from where it came; transcode --repair keeps what is there",
)
"""What is found where a file can't be read, or not to its end."""

NO_DICOM = Check(
    "file.dicom",
    Severity.ERROR,
    "PS3.10 7.1",
    "the file is a DICOM file",
    "leave it out; where it should be one, fetch it again from where it came",
)
"""What is found where a file is none."""

VALUES = Check(
    "file.values",
    Severity.WARNING,
    "PS3.5 6.2",
    "values are such as their attributes have",
    "correct the value; what depends on it was not checked",
)
"""What is found where a check meets values that are none."""

CHECKS: tuple[Check, ...] = (
    NO_DICOM,
    DAMAGED,
    VALUES,
    *(each for group in _GROUPS for each in vars(group).values() if isinstance(each, Check)),
)
"""All checks of one instance, in the order of the documentation."""


HEADER_CHECKS: tuple[Check, ...] = tuple(each for each in CHECKS if not each.counted)
"""Those that look at the header alone."""


def findings_of(subject: Subject, checks: Iterable[Check] = CHECKS) -> list[Finding]:
    """Return what checks find, the worst first.

    Parameters
    ----------
    subject
        The instance.
    checks
        All, or `HEADER_CHECKS`.
    """
    found: list[Finding] = []
    for check in checks:
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


def _carry_out(check: Check, subject: Subject) -> list[Finding]:
    try:
        return [finding(check, problem) for problem in check.run(subject)]
    except CinemillError as error:
        return [finding(DAMAGED, Problem(error.message, error.frame))]
    except Exception as error:  # noqa: BLE001  # values of headers, and what pydicom makes of them, raise anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        return [finding(VALUES, f"{check.id} can't be checked: {reason}")]
