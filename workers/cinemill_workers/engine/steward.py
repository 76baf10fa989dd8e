"""A process beside each worker; one of them, the leader, tends all jobs: lists, wakes, recovers lost work.

A worker starts it with ``python -m cinemill_workers.engine.steward`` and ends it. Whatever a steward knows stands in
the ledger, so that any other can go on.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import time
from contextlib import suppress

from celery.utils.nodenames import worker_direct
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError, ResponseError

from cinemill_workers import logs
from cinemill_workers.engine.agenda import TOLD, Agenda
from cinemill_workers.engine.app import QUEUE, app
from cinemill_workers.engine.campaign import Campaign
from cinemill_workers.engine.parcels import record_loss
from cinemill_workers.engine.scribe import Scribe
from cinemill_workers.ledger.connection import connect
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import Deposed, ForeignLedger, Job
from cinemill_workers.ledger.rights import GRANT
from cinemill_workers.processes import Stop, die_with_parent
from cinemill_workers.settings import Settings, settings

logger = logging.getLogger("cinemill_workers.engine.steward")

LEADERSHIP_SECONDS = 30.0
ASKING_SECONDS = 2.0
TICK_SECONDS = 0.2
IDLE_SECONDS = 0.8
"""So much longer a turn takes while nothing waits or is claimed, unless something happens to a job."""

ROUND_SECONDS = 5.0
"""How soon a job comes round of which nothing is told: its window, its directories, its counters."""

LOOK_SECONDS = 1.0
"""How soon claims are found that have run out."""

PROBE_SECONDS = 15.0


class Steward:
    """Tends the jobs whenever it leads, and asks its worker for signs of life.

    Parameters
    ----------
    worker
        Celery's name of the worker it stands beside.
    """

    def __init__(self, ledger: Ledger, settings: Settings, worker: str) -> None:
        self._ledger = ledger
        self._settings = settings
        self._worker = worker
        self._probed = 0.0
        self._campaigns: dict[str, Campaign] = {}
        self._scribe = Scribe(ledger, settings)
        self._agenda: Agenda | None = None
        self._stirs, self._looked = True, 0.0
        self._leads_since = 0.0
        self._agreed, self._led, self._asked = False, False, -math.inf

    def run(self, stop: Stop) -> None:
        """Tend until stopped, through every outage of the broker."""
        busy = outage = False
        while not stop.wait(0.0 if busy else TICK_SECONDS):
            try:
                self._agree()
                self._probe()
                busy, outage = self.turn(), False
            except ForeignLedger as error:
                logger.critical("this worker can't go on: %s", error)
                sys.exit(error.exit_code)
            except ResponseError as error:
                logger.critical("the server refuses what is needed: %s; %s", error, GRANT)
                sys.exit(os.EX_CONFIG)
            except (RedisError, OperationalError, OSError) as error:
                if not outage:
                    logger.warning("the broker can't be used: %s", type(error).__name__)
                self._leads_since, busy, outage = 0.0, False, True
                self._agenda = None
                self._agreed, self._asked = False, -math.inf
                stop.wait(1.0)
        with suppress(RedisError):
            self._ledger.resign(self._worker)

    def _agree(self) -> None:
        if not self._agreed:
            self._ledger.agree()
            self._agreed = True

    def _probe(self) -> None:
        """Send the worker a message of its own now and then, so that it shows itself even when idle."""
        if time.monotonic() - self._probed > PROBE_SECONDS:
            self._probed = time.monotonic()
            direct = worker_direct(self._worker)
            if self._ledger.queue_length(direct.name) == 0:
                app.send_task("cinemill.probe", queue=direct)

    def turn(self) -> bool:
        """Do what is to be done now; True if there is more to do at once."""
        try:
            if self._leads():
                self._scribe.turn()
                busy = self._tend()
                self._wake()
                return busy
        except Deposed:
            self._led, self._asked = False, -math.inf
        self._campaigns.clear()
        self._scribe.close()
        self._agenda, self._leads_since = None, 0.0
        return False

    def _leads(self) -> bool:
        """Whether this is the leader; it is asked for much less often than the lead lasts."""
        if time.monotonic() - self._asked > ASKING_SECONDS:
            self._asked = time.monotonic()
            self._ledger.confirm()
            self._led = self._ledger.lead(LEADERSHIP_SECONDS)
        return self._led

    def _tend(self) -> bool:
        """Look at the jobs that need it; True if there are more."""
        now = time.monotonic()
        if self._agenda is None:
            self._agenda, self._leads_since = Agenda(), self._leads_since or now
            self._agenda.tell(self._ledger.active_ids())
        agenda = self._agenda
        wait = 0.0 if self._stirs or agenda.waits(now) else IDLE_SECONDS
        agenda.tell(self._ledger.told(wait=wait, most=TOLD))
        taken = agenda.take(now)
        jobs = [job for job in self._ledger.present(taken) if not job.over]
        for gone in set(taken) - {job.id for job in jobs}:
            self._campaigns.pop(gone, None)
        for idle in self._ledger.idle([job.id for job in jobs if job.unsettled]):
            self._ledger.recount(idle)
        for job in jobs:
            if not self._leads():
                raise Deposed("another one leads")
            self._tend_one(job, agenda)
        return agenda.backlog

    def _tend_one(self, job: Job, agenda: Agenda) -> None:
        rests = job.state == "paused" and not job.awaits
        campaign = self._campaigns.get(job.id) or Campaign(self._ledger, self._settings)
        if campaign.tend(job):
            agenda.tell([job.id])
        elif not rests:
            agenda.postpone(job.id, time.monotonic() + ROUND_SECONDS)
        if rests or job.exhausted:
            self._campaigns.pop(job.id, None)
        else:
            self._campaigns[job.id] = campaign

    def _wake(self) -> None:
        """Put a message into the empty queue for each parcel that may start: while one is left, no child is idle.

        A surplus does no harm. Claims that have run out are taken away.
        """
        self._stirs = self._ledger.stirs()
        now = time.monotonic()
        queued = self._ledger.queue_length(QUEUE) if self._stirs else 0
        if not self._stirs or (queued and now - self._looked < LOOK_SECONDS):
            return
        self._looked = now
        wanted, expired = self._ledger.look(most=self._settings.ahead)
        if time.monotonic() - self._leads_since > self._settings.lease_seconds:
            for parcel in expired:
                record_loss(
                    self._ledger,
                    parcel,
                    "the worker gave no sign of life while it worked on this",
                    expired=True,
                )
        if wanted > queued:
            with app.producer_pool.acquire(block=True) as producer:
                for _ in range(wanted - queued):
                    app.send_task("cinemill.work", queue=QUEUE, producer=producer)


def main() -> None:
    """Run until told to stop, or until the worker that started it is gone.

    The arguments are Celery's name of that worker, and its process id.
    """
    worker, parent = sys.argv[1], int(sys.argv[2])
    logs.configure()
    die_with_parent(signal.SIGTERM, parent)
    stop = Stop()
    chosen = settings()
    ledger = Ledger(connect(chosen.redis_url, patience=2), lease_seconds=chosen.lease_seconds)
    if chosen.metrics_port is not None:
        from cinemill_workers.engine.metrics import serve

        serve(ledger, chosen.metrics_address, chosen.metrics_port)
    Steward(ledger, chosen, worker).run(stop)


if __name__ == "__main__":
    main()
