"""The Celery task, thin and idempotent, and what a worker does when it starts, stops or loses a child."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from importlib import import_module
from typing import Any

from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery import Task, bootsteps
from celery.signals import setup_logging, worker_init, worker_shutting_down
from celery.worker.request import Request
from redis.exceptions import RedisError

from cinemill.operations.table import OPERATIONS
from cinemill.warmup import load_all
from cinemill_workers import logs
from cinemill_workers.engine import parcels
from cinemill_workers.engine.app import app
from cinemill_workers.engine.lease import shutdown
from cinemill_workers.ledger.ledger import Ledger, connect
from cinemill_workers.settings import settings

OUTAGE_RETRIES = 120
"""A child waits for the broker about ten minutes before it gives its work up."""


@cache
def _ledger() -> Ledger:
    chosen = settings()
    return Ledger(connect(chosen.redis_url, patience=OUTAGE_RETRIES), lease_seconds=chosen.lease_seconds)


def _holder(worker: str, pid: int | None) -> str:
    return f"{worker}/{pid}"


class _Request(Request):  # type: ignore[misc]
    """Tells the ledger at once that the child running a task died, so that its claim need not run out."""

    def on_failure(self, exc_info: ExceptionInfo, *args: Any, **kwargs: Any) -> Any:
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        if isinstance(error, WorkerLostError | SystemExit):
            chosen = settings()
            try:
                ledger = Ledger(connect(chosen.redis_url, patience=1), lease_seconds=chosen.lease_seconds)
                parcels.report_lost_child(ledger, _holder(self.hostname, self.worker_pid), str(error))
            except RedisError:
                logs.items.warning("a lost child could not be reported: its claim will run out")
        return super().on_failure(exc_info, *args, **kwargs)


class _Task(Task):  # type: ignore[misc]
    Request = _Request


@app.task(name="cinemill.work", base=_Task, bind=True)  # type: ignore[untyped-decorator]
def work(self: Task, priority: str) -> None:
    """Work through one parcel of a job of this priority, if there is one to be had."""
    if not shutdown.announced:
        worker = self.request.hostname
        parcel = _ledger().claim(priority, holder=_holder(worker, os.getpid()), worker=worker)
        if parcel is not None:
            parcels.work_through(_ledger(), parcel, worker)


@app.task(name="cinemill.probe", bind=True)  # type: ignore[untyped-decorator]
def probe(self: Task) -> None:
    """Show that this worker consumes."""
    _ledger().seen(self.request.hostname)


class Companions(bootsteps.StartStopStep):  # type: ignore[misc]
    """Keeps a steward process beside the worker, and replaces dead children every second, from the start."""

    requires = frozenset({"celery.worker.components:Timer", "celery.worker.components:Pool"})

    def __init__(self, worker: Any, **_: Any) -> None:
        self._worker = worker.hostname
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(worker)

    def start(self, worker: Any) -> None:
        """Start the steward, and again whenever it is found dead.

        Celery would give the whole worker up for a child that dies before the worker is ready.
        """
        self._ensure()
        worker.timer.call_repeatedly(5.0, self._ensure)
        worker.timer.call_repeatedly(1.0, worker.pool.maintain_pool)
        worker.pool.did_start_ok = lambda: True

    def _ensure(self) -> None:
        if not shutdown.announced and (self._process is None or self._process.poll() is not None):
            command = [
                sys.executable,
                "-m",
                "cinemill_workers.engine.steward",
                self._worker,
                str(os.getpid()),
            ]
            self._process = subprocess.Popen(command)  # noqa: S603

    def stop(self, worker: Any) -> None:  # noqa: ARG002
        """End the steward."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


app.steps["worker"].add(Companions)


@worker_init.connect  # type: ignore[untyped-decorator]
def _load_what_children_share(**_: object) -> None:
    load_all()
    for operation in OPERATIONS.values():
        import_module(operation.body)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _announce_shutdown(**_: object) -> None:
    shutdown.announce(settings().grace_seconds)


@setup_logging.connect  # type: ignore[untyped-decorator]
def _configure_logging(loglevel: int | str = "INFO", **_: object) -> None:
    logs.configure(loglevel)
