"""Counts which rule of a policy takes how many files, by their headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinemill.dicom.source import Source
from cinemill.errors import CinemillError, NotDicom
from cinemill.operations.policy.decide import decide
from cinemill.storage.location import size

if TYPE_CHECKING:
    from cinemill.operations.policy.rules import Policy
    from cinemill.operations.policy.words import Options

NO_RULE, NO_IMAGE, NOT_DICOM, UNREADABLE = "no rule", "no image", "not DICOM", "can't be read"


@dataclass(slots=True)
class Row:
    """What one rule takes, or none.

    Attributes
    ----------
    line
        Of the rule; 0 for what no rule takes.
    to
        What it asks for.
    reasons
        How many of the instances are copied, by the reason that receipts give.
    """

    rule: str
    line: int = 0
    to: str = ""
    instances: int = 0
    bytes: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def copied(self) -> str:
        """The reasons, in words."""
        return ", ".join(f"{count} {reason}" for reason, count in sorted(self.reasons.items()))

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON-ready values."""
        return {**asdict(self), "reasons": dict(self.reasons)}


def census(paths: Iterable[Path], policy: Policy, options: Options) -> list[Row]:
    """Count files by the rule that takes them.

    Parameters
    ----------
    paths
        The files.
    policy
        Whose rules decide.
    options
        Where a rule does not say otherwise.
    """
    rows = {
        rule.name: Row(rule.name, rule.line, "keep" if rule.wanted is None else rule.wanted.named)
        for rule in policy.rules
    }
    others = {name: Row(name) for name in (NO_RULE, NO_IMAGE, NOT_DICOM, UNREADABLE)}
    for path in paths:
        row, reason = _row_of(path, policy, options, rows, others)
        row.instances += 1
        row.bytes += size(path)
        if reason:
            row.reasons[reason] += 1
    return [*rows.values(), *(row for row in others.values() if row.instances)]


def _row_of(
    path: Path, policy: Policy, options: Options, rows: dict[str, Row], others: dict[str, Row]
) -> tuple[Row, str]:
    try:
        with Source(path, scan=False) as source:
            if source.pixel_data is None:
                return others[NO_IMAGE], "no-image"
            decision = decide(source, policy, options)
            return rows.get(decision.rule, others[NO_RULE]), decision.reason or ""
    except NotDicom:
        return others[NOT_DICOM], ""
    except (CinemillError, RecursionError):
        return others[UNREADABLE], ""
