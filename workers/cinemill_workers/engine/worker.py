"""A worker: how Celery is started as one, in this process or in a child."""

from __future__ import annotations

import os
import sys

from cinemill.processors import processors
from cinemill_workers import logs
from cinemill_workers.engine.app import app
from cinemill_workers.engine.preflight import check, check_server
from cinemill_workers.internals import run_worker
from cinemill_workers.settings import settings


def run(concurrency: int | None = None) -> None:
    """Run a worker in this process until SIGTERM or Ctrl-C.

    Parameters
    ----------
    concurrency
        Child processes; one for each core by default.

    Raises
    ------
    UsageError
        The settings can't work.
    SystemExit
        The worker ended by itself.
    """
    check(settings())
    check_server(settings())
    chosen = ["worker", "--loglevel", "INFO", "--pool", "prefork"]
    chosen += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    chosen += ["--hostname", f"cinemill-{os.getpid()}@%h"]
    chosen += ["--concurrency", str(concurrency or processors())]
    if code := run_worker(app, chosen, logs.say):
        sys.exit(code)


if __name__ == "__main__":
    run(int(sys.argv[1]) if sys.argv[1:] else None)
