"""Moves what became of items from the ledger to the files of each job's folder; the leader does so, for all jobs."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cinemill import __version__
from cinemill.errors import CinemillError, OutputError
from cinemill_workers.engine.roots import confine, trouble, withdraw
from cinemill_workers.engine.segments import LARGEST, Segment, describe, folder_of, mend
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import Job, JobGone
from cinemill_workers.settings import Settings

logger = logging.getLogger(__name__)

FOLDER = "folder"
"""What a job awaits whose receipts can't be written."""

FLUSH_SECONDS = 1.0
TURN_SECONDS = 2.0
"""Longest turn: jobs that are left come first in the next one."""

AT_ONCE = 1000
MOST_DESKS = 10_000
"""Jobs of which a segment is remembered, to be gone on with."""


@dataclass
class _Desk:
    """What the scribe has of a job."""

    segment: Segment | None = None
    described: float | None = None
    served: float = 0.0
    rests_until: float = 0.0


class Scribe:
    """Writes the records of all jobs; has a segment for each that is at work."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._settings = settings
        self._desks: dict[str, _Desk] = {}
        self._next = 0.0

    def turn(self) -> None:
        """Write what waits, at most once a second."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + FLUSH_SECONDS
        jobs = self._ledger.unwritten()
        for job in sorted(jobs, key=lambda job: self._desks[job].served if job in self._desks else 0.0):
            if time.monotonic() > now + TURN_SECONDS:
                self._next = 0.0
                return
            self._serve(job)
        while len(self._desks) > MOST_DESKS:
            del self._desks[min(self._desks, key=lambda job: self._desks[job].served)]

    def close(self) -> None:
        """Leave the rest to another leader."""
        self._desks.clear()

    def _serve(self, job: str) -> None:
        desk = self._desks.setdefault(job, _Desk())
        if time.monotonic() < desk.rests_until:
            return
        desk.served = time.monotonic()
        try:
            while self._write(job, desk):
                pass
        except JobGone:
            del self._desks[job]
        except (CinemillError, OSError) as error:
            desk.segment = None
            desk.rests_until = time.monotonic() + self._settings.hold_seconds
            self._rest(job, error)

    def _write(self, job_id: str, desk: _Desk) -> bool:
        """Write some records of a job; True if there may be more."""
        job = self._ledger.job(job_id)
        records = self._ledger.records(job_id, AT_ONCE)
        if records:
            segment = desk.segment or self._begin(job, desk)
            if segment is None:
                return False
            segment.append(records)
        self._describe(job, desk)
        if job.awaits == FOLDER and job.state == "paused":
            self._ledger.move(job_id, from_=["paused"], to="running", awaits=FOLDER)
        name = desk.segment.name if desk.segment else None
        last = records[-1] if records else None
        ours = self._ledger.written(job_id, segment=name, last=last, described=job.finished)
        if desk.segment and not (ours and desk.segment.size < LARGEST):
            desk.segment = None
        return len(records) == AT_ONCE

    def _begin(self, job: Job, desk: _Desk) -> Segment | None:
        """Begin a segment; None if another process began a later one meanwhile."""
        folder = folder_of(job)
        confine(folder, self._settings.roots)
        above = {path: inode for path, inode in job.roots.items() if folder.is_relative_to(path)}
        if lost := trouble(above):
            raise OutputError(lost, path=folder)
        segment = Segment(folder)
        if lost := trouble(above):
            withdraw([segment.path], Path(job.spec.destination))
            raise OutputError(lost, path=folder)
        if not self._ledger.written(job.id, segment=segment.name, described=-1.0):
            return None
        mend(segment)
        desk.segment = segment
        return segment

    def _describe(self, job: Job, desk: _Desk) -> None:
        """Write down what the job is, and in the end what became of it."""
        if desk.described != job.finished and job.folder and Path(job.folder).is_dir():
            about = job.to_dict()
            if not job.over:
                about = {name: about[name] for name in ("id", "name", "created", "spec")}
            describe(Path(job.folder), {"cinemill": __version__, **about})
            desk.described = job.finished

    def _rest(self, job: str, error: Exception) -> None:
        """Let a job rest until its receipts can be written again."""
        note = f"its receipts can't be written: {error}; the job goes on by itself when they can"
        logger.warning("the receipts of job %s can't be written: %s", job, type(error).__name__)
        with suppress(JobGone):
            self._ledger.move(job, from_=["running", "waiting"], to="paused", note=note, awaits=FOLDER)
