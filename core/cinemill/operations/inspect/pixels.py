"""Findings about the pixels of a source for its receipt, from its header alone, unless a warning says the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.operations.inspect.checks.check import Subject
from cinemill.operations.inspect.checks.table import CHECKS, findings_of
from cinemill.operations.inspect.facts import facts_of
from cinemill.operations.inspect.model import Severity

if TYPE_CHECKING:
    from cinemill.dicom.source import Source

_CHECKS = tuple(
    each for each in CHECKS if each.pixels and not each.counted and each.severity is not Severity.NOTICE
)


def found_in(source: Source) -> tuple[str, ...]:
    """Return the findings of severity error and warning, each as ``id: found``.

    Parameters
    ----------
    source
        The open file, of which the header alone is read.
    """
    if source.pixel_data is None:
        return ()
    subject = Subject(source, facts_of(source, counted=False, regions=()))
    return tuple(f"{each.check}: {each.found}" for each in findings_of(subject, _CHECKS))
