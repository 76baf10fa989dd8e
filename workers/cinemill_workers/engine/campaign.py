"""One job's campaign: list its sources lazily, keep a bounded number of parcels waiting, heed its window."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cinemill.errors import CinemillError
from cinemill.network.pace import Window
from cinemill.storage.location import size
from cinemill.storage.tree import Item
from cinemill_workers.engine.kinds import discover
from cinemill_workers.engine.roots import confine, emptied, inodes, trouble
from cinemill_workers.engine.standing import Watch
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import Job, ListedItem
from cinemill_workers.settings import Settings

LISTING_SECONDS = 0.5
"""Longest turn of one job's listing, so that many jobs are tended in step."""

WARM_UP_ITEMS = 16
"""Parcels grow by one instance after so many: a small job still spreads over all children."""

ROOTS = "roots"
"""What a job awaits whose directories are not what they were."""


class Campaign:
    """Tends one job; holds its directory listing open between two turns."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._settings = settings
        self._items: Iterator[Item | None] | None = None
        self._listed = 0
        self._watch: Watch | None = None

    def tend(self, job: Job) -> bool:
        """Open or close the window and list more items if few wait; True if there is more to list at once."""
        try:
            self._heed_roots(job)
            self._heed_window(job)
            if job.state not in {"running", "waiting"}:
                return False
            if job.exhausted:
                self._remember_roots(job)
                return False
            if job.spec.standing and not self._walks(job):
                return False
            return self._ledger.waiting(job.id) < self._settings.ahead and self._list(job)
        except (CinemillError, OSError) as error:
            self._forget()
            self._ledger.move(
                job.id, from_=["running", "waiting"], to="paused", note=f"listing stopped: {error}"
            )
            return False

    def _heed_roots(self, job: Job) -> None:
        """Let a job go on whose directories are again what they were."""
        if job.awaits == ROOTS and job.state == "paused" and not trouble(job.roots) and not emptied(job.spec):
            self._ledger.move(job.id, from_=["paused"], to="running", awaits=ROOTS)

    def _remember_roots(self, job: Job) -> None:
        """Remember the directories of a listed job as they are, once somebody resumed it so."""
        if not job.roots and job.unsettled:
            self._ledger.feed(job.id, job.listed, [], exhausted=True, roots=inodes(job.spec))

    def _heed_window(self, job: Job) -> None:
        if job.spec.window:
            within = datetime.now().time() in Window.parse(job.spec.window)  # noqa: DTZ005
            here, there = ("waiting", "running") if within else ("running", "waiting")
            if job.state == here:
                self._ledger.move(job.id, from_=[here], to=there)

    def _walks(self, job: Job) -> bool:
        """Whether the sources of a standing job are being walked, or it is time to."""
        if self._watch is None:
            self._watch = Watch(job.spec, self._settings.walk_seconds)
        return bool(job.spec.sources) and (self._items is not None or self._watch.due)

    def _forget(self) -> None:
        """List anew, from where the ledger says."""
        self._items = self._watch = None

    def _list(self, job: Job) -> bool:
        if lost := trouble(job.roots):
            self._forget()
            await_roots(self._ledger, job.id, lost)
            return False
        if self._items is None or (self._listed != job.listed and not job.spec.standing):
            self._items = self._listing(job)
        self._listed = job.listed
        roots = job.roots or inodes(job.spec)
        parcels, ended = self._parcels(self._items, apart=job.spec.at_once > 0)
        if lost := trouble(roots) or emptied(job.spec):
            self._forget()
            await_roots(self._ledger, job.id, lost)
            return False
        count = sum(map(len, parcels))
        exhausted = ended and not job.spec.standing
        waiting = self._ledger.feed(job.id, job.listed, parcels, exhausted=exhausted, roots=roots)
        self._listed += count
        if waiting < 0:
            self._forget()
        elif ended:
            self._items = None
        return not ended and 0 <= waiting < self._settings.ahead

    def _listing(self, job: Job) -> Iterator[Item | None]:
        """Return the items behind the one listed last."""
        for path in (*job.spec.sources, job.spec.destination):
            confine(Path(path), self._settings.roots)
        if self._watch is not None:
            return self._watch.walk()
        after = Item(*map(Path, job.cursor)) if job.cursor else None
        return discover(job.spec, after=after)

    def _parcels(self, items: Iterator[Item | None], *, apart: bool) -> tuple[list[list[ListedItem]], bool]:
        """Gather some parcels, `apart` of an item each; also return whether the listing has come to its end."""
        parcels: list[list[ListedItem]] = []
        parcel: list[ListedItem] = []
        room = 0
        number = self._listed
        end = time.monotonic() + LISTING_SECONDS
        for item in items:
            if item is None:
                if time.monotonic() > end:
                    break
                continue
            listed = ListedItem(number, os.fspath(item.source), os.fspath(item.output), size(item.source))
            if parcel and (listed.size > room or apart or len(parcel) >= self._most_items(number)):
                parcels.append(parcel)
                parcel = []
            if not parcel:
                room = self._settings.batch_bytes
            parcel.append(listed)
            room -= listed.size
            number += 1
            if len(parcels) + 1 >= self._settings.ahead or time.monotonic() > end:
                break
        else:
            return [*parcels, parcel] if parcel else parcels, True
        return [*parcels, parcel] if parcel else parcels, False

    def _most_items(self, number: int) -> int:
        return min(self._settings.batch_items, 1 + number // WARM_UP_ITEMS)


def await_roots(ledger: Ledger, job: str, lost: str) -> None:
    """Pause a job until its directories are again what they were, or somebody resumes it."""
    note = f"{lost}: is its share mounted? The job goes on by itself when it is, or as things are with `jobs resume`"
    ledger.move(job, from_=["running", "waiting"], to="paused", note=note, awaits=ROOTS)
