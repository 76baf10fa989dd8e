"""What a survey and a sample tell together: of each stratum, and of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cinemill.operations.forecast.sampling import Tried, by_kind, bytes_after, seconds
from cinemill.operations.forecast.statistics import Total, added

if TYPE_CHECKING:
    from cinemill.operations.forecast.strata import Key


@dataclass(slots=True)
class Row:
    """What becomes of the instances that a table shows as one.

    Attributes
    ----------
    after
        Bytes after.
    seconds
        Processor time.
    failed, failed_bytes
        Instances that are refused or fail, and their bytes now.
    grown
        Instances whose outputs would be larger.
    tried, frames_tried
        How many went through the encoders.
    errors
        Those of instances tried, by what was said.
    done
        How many instances, by what is done.
    """

    key: Key | None
    instances: int = 0
    frames: int = 0
    bytes: int = 0
    after: Total = Total(0.0)
    seconds: Total = Total(0.0)
    failed: float = 0.0
    failed_bytes: float = 0.0
    grown: float = 0.0
    tried: int = 0
    frames_tried: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    done_bytes: Counter[str] = field(default_factory=Counter)
    done_after: Counter[str] = field(default_factory=Counter)

    def add(self, tried: Tried, after: Total, taken: Total) -> None:
        """Take in a stratum."""
        stratum = tried.stratum
        self.instances += stratum.instances
        self.frames += stratum.frames
        self.bytes += stratum.bytes
        self.after = added((self.after, after))
        self.seconds = added((self.seconds, taken))
        self.tried += len(tried.outcomes)
        if not tried.outcomes:
            return
        known = sum(member.bytes for member, _ in tried.outcomes)
        weight = stratum.instances / len(tried.outcomes)
        by_bytes = stratum.bytes / known if known else 0.0
        for member, outcome in tried.outcomes:
            self.frames_tried += outcome.frames_tried
            self.done[outcome.done] += weight  # type: ignore[assignment]
            self.done_bytes[outcome.done] += by_bytes * member.bytes  # type: ignore[assignment]
            self.done_after[outcome.done] += by_bytes * outcome.bytes_after  # type: ignore[assignment]
            if outcome.error:
                self.errors[outcome.error] += 1
                self.failed += weight
                self.failed_bytes += by_bytes * member.bytes
            if outcome.bytes_otherwise:
                self.grown += weight


@dataclass(slots=True)
class Estimate:
    """What one run would take and save.

    Attributes
    ----------
    rows
        Of strata, those of most bytes first.
    total
        Of all.
    loading
        Processor time that each process takes once.
    """

    rows: list[Row]
    total: Row
    loading: float


def estimate(tried: Sequence[Tried]) -> Estimate:
    """Estimate what becomes of all instances.

    Parameters
    ----------
    tried
        The samples of all strata.
    """
    rows: dict[Key, Row] = {}
    total = Row(None)
    for each, after, taken in zip(tried, bytes_after(tried), seconds(tried), strict=True):
        key = each.stratum.key.shown
        rows.setdefault(key, Row(key)).add(each, after, taken)
        total.add(each, after, taken)
    ordered = sorted(rows.values(), key=lambda row: -row.bytes)
    return Estimate(ordered, total, sum(by_kind(tried).values()))
