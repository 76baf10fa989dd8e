"""Value types of the service: what was submitted, a job as it stands, claimed work."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

from cinemill.errors import CinemillError, UsageError
from cinemill.storage.tree import OURS

ITEM_STATES = ("pending", "running", "done", "copied", "skipped", "failed", "quarantined", "cancelled")
LAYOUT = 2
"""Of the ledger: raised with every change of its keys and records that an older version would misread."""
PRIORITIES = ("high", "normal", "low")


class JobGone(UsageError):
    """There is no such job, or it was deleted meanwhile."""


class Deposed(CinemillError):
    """Another worker tends the jobs meanwhile: what this one began for them is refused."""


class ForeignLedger(UsageError):
    """Another version of cinemill uses the ledger, by another layout."""

    exit_code = os.EX_CONFIG

    def __init__(self, found: str) -> None:
        super().__init__(
            f"the ledger in Redis has layout {found}, this version of cinemill works with layout {LAYOUT}: "
            "let its jobs end and delete them with the version that submitted them, then start the newer one; "
            "or use that version"
        )


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
    empty: tuple[str, ...] = ()
    """Sources that were empty directories when it was submitted: another one that is has lost its share."""
    at_once: int = 0
    """Parcels that may be claimed at the same time, of one item each; 0 for any number of any size."""
    standing: bool = False
    """Whether it does not end by itself: its sources, if it has any, are walked again and again."""

    def folder(self, job: str) -> Path:
        """Return where the receipts of a job are: in its destination, or beside that if it is a file, as it looks now."""
        destination = Path(self.destination)
        alone = len(self.sources) == 1 and not Path(self.sources[0]).is_dir() and not destination.is_dir()
        apart = alone or self.work.get("kind") == "deidentify"
        return (destination.parent if apart else destination) / OURS / job

    def to_json(self) -> str:
        """Return the form that the ledger keeps; versions of cinemill with a ledger of another form refuse such work."""
        return json.dumps({**asdict(self), "work": {**self.work, "ledger": LAYOUT}})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Undo `to_json`; what a later version may have added besides the work is left out."""
        values = json.loads(text)
        known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        form = known["work"].pop("ledger", 1)
        if form != LAYOUT:
            known["work"]["ledger"] = form
        return cls(**{**known, "sources": tuple(known["sources"]), "empty": tuple(known.get("empty", ()))})


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
    outstanding: int = 1
    """Parcels that keep workers busy, at least: those claimed, those of the same job, one for each job that may start."""
    alone: bool = False
    """Whether its items are worked on one by one, since a process died over some of them at once."""


class Sums(NamedTuple):
    """Sums of the settled items to which the same was done."""

    instances: int
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True)
class Job:
    """A job as the ledger has it at one moment, `seen`. Times are seconds since 1970 by the server's clock; 0 is not yet."""

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
    seen: float = 0.0
    note: str = ""
    awaits: str = ""
    """What ends its pause by itself."""
    roots: Mapping[str, int] = field(default_factory=dict, repr=False)
    """The inodes that its sources and its destination had when they were first listed."""
    statuses: Mapping[str, int] = field(default_factory=dict)
    """Settled items by the status that receipts and reports give them."""
    outcomes: Mapping[str, Sums] = field(default_factory=dict)
    """Settled items by what was done to them, as tables have it; failures are in none."""
    cursor: tuple[str, ...] = field(default=(), repr=False)
    """Source and output of the item listed last."""
    folder: str = ""
    """Where its receipts are."""

    @property
    def over(self) -> bool:
        """Whether nothing of it waits or runs any more."""
        return self.state in {"done", "cancelled"} and self.finished > 0

    @property
    def unsettled(self) -> int:
        """Number of items that wait or run."""
        return self.counts["pending"] + self.counts["running"]

    @property
    def settled(self) -> int:
        """Number of items whose fate is known."""
        return sum(self.counts.values()) - self.unsettled

    @property
    def seconds(self) -> float:
        """Seconds from its first task to its end, or until it was seen."""
        return max(0.0, (self.finished or self.seen) - self.started) if self.started else 0.0

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
            "folder": self.folder,
            "spec": asdict(self.spec),
        }
