"""The Celery task, thin and idempotent, and what a worker does when it starts, stops or loses a child."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import Task, bootsteps
from celery.signals import setup_logging, worker_init, worker_shutting_down
from celery.worker.request import Request

from cinemill_workers import items, logs
from cinemill_workers.app import app
from cinemill_workers.lease import shutdown
from cinemill_workers.ledger import Ledger, RedisError, connect
from cinemill_workers.settings import settings

OUTAGE_RETRIES = 120
"""A child waits for the broker about ten minutes before it gives its work up."""


@cache
def _ledger() -> Ledger:
    chosen = settings()
    return Ledger(connect(chosen.redis_url, patience=OUTAGE_RETRIES), lease_seconds=chosen.lease_seconds)


class _Request(Request):  # type: ignore[misc]
    """Tells the ledger at once that the child running a task died, so that its claim need not run out."""

    def on_failure(self, exc_info: ExceptionInfo, send_failed_event: bool = True, return_ok: bool = False) -> Any:  # noqa: FBT001, FBT002
        if type(exc_info.exception).__name__ in {"WorkerLostError", "SystemExit"}:
            chosen = settings()
            try:
                ledger = Ledger(connect(chosen.redis_url, patience=1), lease_seconds=chosen.lease_seconds)
                items.report_lost_child(ledger, self.id, str(exc_info.exception))
            except RedisError:
                logs.items.warning("a lost child could not be reported: its claim will run out")
        return super().on_failure(exc_info, send_failed_event, return_ok)


class _Task(Task):  # type: ignore[misc]
    Request = _Request


@app.task(name="cinemill.migrate", base=_Task, bind=True)
def migrate(self: Task, priority: str) -> None:
    """Work through one parcel of a job of this priority, if there is one to be had."""
    if not shutdown.announced:
        parcel = _ledger().claim(priority, holder=self.request.id, worker=self.request.hostname)
        if parcel is not None:
            items.work_through(_ledger(), parcel, self.request.hostname)


class StewardStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Keeps a steward process beside the worker."""

    requires = frozenset({"celery.worker.components:Timer", "celery.worker.components:Pool"})

    def __init__(self, worker: Any, **_: Any) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(worker)

    def start(self, worker: Any) -> None:
        """Start the steward, now and whenever it is found dead."""
        self._ensure()
        worker.timer.call_repeatedly(5.0, self._ensure)

    def _ensure(self) -> None:
        if not shutdown.announced and (self._process is None or self._process.poll() is not None):
            self._process = subprocess.Popen([sys.executable, "-m", "cinemill_workers.steward"])

    def stop(self, worker: Any) -> None:  # noqa: ARG002
        """End the steward."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


app.steps["worker"].add(StewardStep)


@worker_init.connect  # type: ignore[untyped-decorator]
def _load_kernels(**_: object) -> None:
    """Load the kernels once, before the children are forked."""


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _announce_shutdown(**_: object) -> None:
    shutdown.announce(settings().grace_seconds)


@setup_logging.connect  # type: ignore[untyped-decorator]
def _configure_logging(loglevel: int | str = "INFO", **_: object) -> None:
    logs.configure(loglevel)
