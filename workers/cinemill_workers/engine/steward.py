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
import threading
import time
from contextlib import suppress

from celery.utils.nodenames import worker_direct
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError, ResponseError

from cinemill_workers import logs
from cinemill_workers.engine.app import app, queue_name
from cinemill_workers.engine.campaign import Campaign
from cinemill_workers.engine.outcomes import Fate, WorkerLost
from cinemill_workers.engine.parcels import record_error
from cinemill_workers.engine.scribe import Scribe
from cinemill_workers.ledger.connection import connect
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import PRIORITIES, Job
from cinemill_workers.ledger.rights import GRANT
from cinemill_workers.processes import die_with_parent
from cinemill_workers.settings import Settings, settings

logger = logging.getLogger("cinemill_workers.engine.steward")

LEADERSHIP_SECONDS = 30.0
ASKING_SECONDS = 2.0
TICK_SECONDS = 0.2
PROBE_SECONDS = 15.0
THROTTLED_WAKES = 2


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
        self._leads_since = 0.0
        self._led, self._asked = False, -math.inf

    def run(self, stopped: threading.Event) -> None:
        """Tend until stopped, through every outage of the broker."""
        busy = outage = False
        while not stopped.wait(0.0 if busy else TICK_SECONDS):
            try:
                self._probe()
                busy, outage = self.turn(), False
            except ResponseError as error:
                logger.critical("the server refuses what is needed: %s; %s", error, GRANT)
                sys.exit(os.EX_CONFIG)
            except (RedisError, OperationalError, OSError) as error:
                if not outage:
                    logger.warning("the broker can't be used: %s", type(error).__name__)
                self._leads_since, busy, outage = 0.0, False, True
                self._asked = -math.inf
                stopped.wait(1.0)
        with suppress(RedisError):
            self._ledger.resign(self._worker)

    def _probe(self) -> None:
        """Send the worker a message of its own now and then, so that it shows itself even when idle."""
        if time.monotonic() - self._probed > PROBE_SECONDS:
            self._probed = time.monotonic()
            direct = worker_direct(self._worker)
            if self._ledger.queue_length(direct.name) == 0:
                app.send_task("cinemill.probe", queue=direct)

    def turn(self) -> bool:
        """Do what is to be done now; True if there is more to do at once."""
        if not self._leads():
            self._campaigns.clear()
            self._scribe.close()
            self._leads_since = 0.0
            return False
        self._leads_since = self._leads_since or time.monotonic()
        self._scribe.turn()
        jobs = self._ledger.active()
        self._campaigns = {job.id: self._campaign(job) for job in jobs}
        busy = [self._campaigns[job.id].tend(job) for job in jobs]
        if time.monotonic() - self._leads_since > self._settings.lease_seconds:
            for job in jobs:
                self._recover(job)
        for priority in PRIORITIES:
            self._wake(priority, [job for job in jobs if job.spec.priority == priority])
        return any(busy)

    def _leads(self) -> bool:
        """Whether this is the leader; it is asked for much less often than the lead lasts."""
        if time.monotonic() - self._asked > ASKING_SECONDS:
            self._led = self._ledger.lead(self._worker, LEADERSHIP_SECONDS)
            self._asked = time.monotonic()
        return self._led

    def _campaign(self, job: Job) -> Campaign:
        return self._campaigns.get(job.id) or Campaign(self._ledger, self._settings)

    def _recover(self, job: Job) -> None:
        """Take claims away that have run out; whoever held them is gone, or hangs."""
        for parcel in self._ledger.expired(job.id):
            source = parcel.items[parcel.position].source
            error = WorkerLost("the worker gave no sign of life while it worked on this", path=source)
            record_error(self._ledger, parcel, error, Fate.RETRY, lost=True, expired=True)
        if (job.counts["pending"] or job.counts["running"]) and self._ledger.idle(job.id):
            self._ledger.recount(job.id)

    def _wake(self, priority: str, jobs: list[Job]) -> None:
        """Put as many messages into a queue as parcels may start; a surplus does no harm."""
        wanted = 0
        for job in jobs:
            if job.state == "running" and self._ledger.may_start(job.id):
                waiting = self._ledger.waiting(job.id)
                wanted += min(waiting, THROTTLED_WAKES) if job.spec.max_rate else waiting
        if not wanted:
            return
        missing = min(wanted, self._settings.ahead) - self._ledger.queue_length(queue_name(priority))
        if missing > 0:
            with app.producer_pool.acquire(block=True) as producer:
                for _ in range(missing):
                    app.send_task(
                        "cinemill.work", args=[priority], queue=queue_name(priority), producer=producer
                    )


def main() -> None:
    """Run until told to stop, or until the worker that started it is gone.

    The arguments are Celery's name of that worker, and its process id.
    """
    worker, parent = sys.argv[1], int(sys.argv[2])
    logs.configure()
    die_with_parent(signal.SIGTERM)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    if os.getppid() != parent:
        return
    chosen = settings()
    ledger = Ledger(connect(chosen.redis_url, patience=2), lease_seconds=chosen.lease_seconds)
    if chosen.metrics_port is not None:
        from cinemill_workers.engine.metrics import serve

        serve(ledger, chosen.metrics_address, chosen.metrics_port)
    Steward(ledger, chosen, worker).run(stopped)


if __name__ == "__main__":
    main()
