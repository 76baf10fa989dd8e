"""Value types of the service: what was submitted, a job as it stands, claimed work."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple, Self

from cinemill.errors import UsageError

ITEM_STATES = ("pending", "running", "done", "copied", "skipped", "failed", "quarantined", "cancelled")
PRIORITIES = ("high", "normal", "low")


class JobGone(UsageError):
    """There is no such job, or it was deleted meanwhile."""


@dataclass(frozen=True)
class JobSpec:
    """What was submitted."""

    sources: tuple[str, ...]
    destination: str
    work: Mapping[str, Any]
    """What is done to each instance: see `cinemill_workers.engine.kinds`."""
    name: str = ""
    priority: str = "normal"
    window: str = ""
    max_rate: float = 0.0
    """Source bytes a second over all workers; 0 is unlimited."""

    def to_json(self) -> str:
        """Return the form that the ledger keeps."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Undo `to_json`; what a later version may have added besides the work is left out."""
        values = json.loads(text)
        known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        return cls(**{**known, "sources": tuple(known["sources"])})


@dataclass(frozen=True)
class ListedItem:
    """One instance of a job: its number in listing order, its files, the size of the source in bytes."""

    number: int
    source: str
    output: str
    size: int

    def to_json(self) -> str:
        """Return the compact form that parcels carry; ASCII, whatever the names hold."""
        return json.dumps([self.number, self.source, self.output, self.size], separators=(",", ":"))


@dataclass
class Parcel:
    """Claimed work: its items, how often they were attempted before, the position of the next one, and the claim's name."""

    job: str
    number: str
    items: list[ListedItem]
    attempt: int
    position: int = 0
    holder: str = ""
    dictionary: bytes = b""
    outstanding: int = 1
    """Parcels that keep workers busy, at least: those claimed, those of the same job, one for each job that may start."""


class Outcome(NamedTuple):
    """Sums of the settled items to which the same was done."""

    instances: int
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True)
class Job:
    """A job as the ledger has it at one moment. Times are seconds since 1970; 0 is not yet."""

    id: str
    spec: JobSpec
    state: str
    counts: dict[str, int]
    """Items by state."""
    listed: int
    exhausted: bool
    bytes_in: int = 0
    bytes_out: int = 0
    pixel_bytes: int = 0
    retries: int = 0
    created: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    note: str = ""
    awaits: str = ""
    """What ends its pause by itself."""
    roots: Mapping[str, int] = field(default_factory=dict, repr=False)
    """The inodes that its sources and its destination had when they were first listed."""
    statuses: Mapping[str, int] = field(default_factory=dict)
    """Settled items by the status that receipts and reports give them."""
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    """Settled items by what was done to them, as tables have it; failures are in none."""
    cursor: tuple[str, ...] = field(default=(), repr=False)
    """Source and output of the item listed last."""

    @property
    def over(self) -> bool:
        """Whether nothing of it waits or runs any more."""
        return self.state in {"done", "cancelled"} and self.finished > 0

    @property
    def settled(self) -> int:
        """Number of items whose fate is known."""
        return sum(self.counts.values()) - self.counts["pending"] - self.counts["running"]

    @property
    def seconds(self) -> float:
        """Seconds from its first task to its end, or to now."""
        return max(0.0, (self.finished or time.time()) - self.started) if self.started else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form that ``jobs show --json`` prints."""
        seconds = self.seconds
        return {
            "id": self.id,
            "name": self.spec.name,
            "state": self.state,
            "note": self.note,
            "counts": self.counts,
            "statuses": dict(self.statuses),
            "outcomes": {did: each._asdict() for did, each in self.outcomes.items()},
            "listed": self.listed,
            "listing_complete": self.exhausted,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "pixel_bytes": self.pixel_bytes,
            "retries": self.retries,
            "items_per_second": round(self.settled / seconds, 3) if seconds else 0.0,
            "pixel_megabytes_per_second": round(self.pixel_bytes / seconds / 1e6, 3) if seconds else 0.0,
            "created": self.created,
            "started": self.started,
            "finished": self.finished,
            "seconds": round(seconds, 3),
            "spec": asdict(self.spec),
        }
