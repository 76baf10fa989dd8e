"""The Celery task, thin and idempotent, and what a worker does when it starts, stops or loses a child."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

from celery import Task, bootsteps
from celery.signals import setup_logging, worker_init, worker_shutting_down
from redis.exceptions import RedisError

from cinemill.errors import UsageError
from cinemill.processes import collect_seldom, ended_by, share_heap
from cinemill.warmup import load_all
from cinemill_workers import logs, processes
from cinemill_workers.engine import parcels
from cinemill_workers.engine.app import app
from cinemill_workers.engine.kinds import KINDS
from cinemill_workers.engine.lease import shutdown
from cinemill_workers.engine.preflight import check, check_server
from cinemill_workers.internals import end_worker, keep_pool_full, telling_task
from cinemill_workers.ledger.connection import connect
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import PRIORITIES, ForeignLedger
from cinemill_workers.settings import misspelled, settings

OUTAGE_RETRIES = 120
"""A child waits for the broker about ten minutes before it gives its work up."""

EARLY_SECONDS = 30.0
"""A steward that dies sooner has a fault that another start does not cure."""

MOST_EARLY_DEATHS = 3

TURN_SECONDS = 30.0
"""So long a child goes on after one message: then its memory is looked at, and Celery may replace it."""

SPARED_SECONDS = 0.2
"""A child that serves some priorities only and finds nothing rests so long: the message may have been for others."""

_START = secrets.token_hex(8)
"""Drawn before the children are forked: the worker and they have the same one."""


@cache
def _ledger() -> Ledger:
    chosen = settings()
    return Ledger(connect(chosen.redis_url, patience=OUTAGE_RETRIES), lease_seconds=chosen.lease_seconds)


def _hasty_ledger() -> Ledger:
    """Return a ledger for the worker itself, which must not wait long for the server."""
    chosen = settings()
    return Ledger(connect(chosen.redis_url, patience=1), lease_seconds=chosen.lease_seconds)


def _holder(worker: str, pid: int | None = None) -> str:
    """Name a worker or its child as no other one is, whatever host name and process ids a container gives again and again."""
    return f"{worker}/{_START}" if pid is None else f"{worker}/{_START}/{pid}"


def _tell_of_lost_child(worker: str, pid: int, end: str) -> None:
    """Tell the ledger at once, so that the child's claim need not run out.

    Whoever stops a worker may stop its children as well, as systemd does: what they worked on is not charged with that.
    """
    try:
        if shutdown.announced:
            parcels.hand_back(_hasty_ledger(), _holder(worker, pid))
        else:
            reason = f"the process that worked on it ended with {ended_by(end)}"
            parcels.report_lost_child(_hasty_ledger(), _holder(worker, pid), reason)
    except RedisError:
        logs.items.warning("a lost child could not be reported: its claim will run out")


@app.task(name="cinemill.work", base=telling_task(_tell_of_lost_child), bind=True)  # type: ignore[untyped-decorator]
def work(self: Task) -> None:
    """Work through one parcel after the other until none may start, or this has gone on for long enough."""
    worker, end = self.request.hostname, time.monotonic() + TURN_SECONDS
    served = [name for name in PRIORITIES if name in (settings().priorities or PRIORITIES)]
    while not shutdown.announced and time.monotonic() < end:
        try:
            parcel = _ledger().claim(_holder(worker, os.getpid()), worker, served)
        except ForeignLedger as error:
            logs.items.critical("nothing more is begun: %s", error)
            return
        if parcel is None:
            if len(served) < len(PRIORITIES):
                time.sleep(SPARED_SECONDS)
            return
        parcels.work_through(_ledger(), parcel, worker)


@app.task(name="cinemill.probe", bind=True)  # type: ignore[untyped-decorator]
def probe(self: Task) -> None:
    """Show that this worker consumes."""
    _ledger().seen(self.request.hostname)


class Companions(bootsteps.StartStopStep):  # type: ignore[misc]
    """Keeps a steward process beside the worker, and the pool full.

    Without a steward nothing is listed and nothing wakes: a worker whose steward dies again and again says so, and ends.
    """

    requires = frozenset({"celery.worker.components:Timer", "celery.worker.components:Pool"})

    def __init__(self, worker: Any, **_: Any) -> None:
        self._worker = worker.hostname
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._early_deaths = 0
        try:
            check(settings())
            check_server(settings())
        except UsageError as error:
            logs.items.critical("this worker does not start: %s", error)
            raise SystemExit(os.EX_CONFIG) from None
        if said := misspelled():
            logs.items.warning("%s", said)
        super().__init__(worker)

    def start(self, worker: Any) -> None:
        """Start the steward, and again whenever it is found dead."""
        self._ensure()
        worker.timer.call_repeatedly(5.0, self._ensure)
        keep_pool_full(worker)

    def _ensure(self) -> None:
        if shutdown.announced:
            return
        lasts = time.monotonic() - self._started > EARLY_SECONDS
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                if lasts and self._early_deaths:
                    self._early_deaths = 0
                    _settle_complaints(self._worker)
                return
            self._early_deaths = 1 if lasts else self._early_deaths + 1
            if reason := _hopeless() or (
                f"its steward died {MOST_EARLY_DEATHS} times (code {code}): the worker's log says why"
                if self._early_deaths >= MOST_EARLY_DEATHS
                else ""
            ):
                _give_up(self._worker, reason)
                return
        command = processes.command("cinemill_workers.engine.steward", self._worker, str(os.getpid()))
        self._process = subprocess.Popen(command, env=processes.environment())  # noqa: S603
        self._started = time.monotonic()

    def stop(self, worker: Any) -> None:  # noqa: ARG002
        """End the steward."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def _hopeless() -> str:
    """Say what keeps every steward of this worker from its work; nothing if that is not known."""
    try:
        check_server(settings())
    except UsageError as error:
        return str(error)
    return ""


def _give_up(worker: str, reason: str) -> None:
    """End this worker, and leave word of it where people look."""
    logs.items.critical("this worker gives up: %s", reason)
    with suppress(RedisError):
        _hasty_ledger().complain(worker, f"ended because {reason}")
    shutdown.announce(0)
    end_worker(os.EX_CONFIG)


def _settle_complaints(worker: str) -> None:
    with suppress(RedisError):
        _hasty_ledger().settle_complaints(worker.rpartition("@")[2])


app.steps["worker"].add(Companions)


@worker_init.connect  # type: ignore[untyped-decorator]
def _load_what_children_share(**_: object) -> None:
    share_heap()
    load_all()
    for operation in KINDS.values():
        import_module(operation.body)
    collect_seldom()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _announce_shutdown(sender: str, how: str, **_: object) -> None:
    if how == "Warm":
        shutdown.announce(settings().grace_seconds)
        return
    shutdown.announce(0)
    with suppress(RedisError):
        parcels.hand_back(_hasty_ledger(), _holder(sender))


@setup_logging.connect  # type: ignore[untyped-decorator]
def _configure_logging(loglevel: int | str = "INFO", **_: object) -> None:
    logs.configure(loglevel)
