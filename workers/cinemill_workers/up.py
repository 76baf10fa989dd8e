"""One-machine mode: the embedded server and a worker, started and stopped together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

import typer
from redis.exceptions import RedisError

from cinemill.errors import CinemillError
from cinemill_workers.client import POLL_SECONDS
from cinemill_workers.embedded import Server, die_with_parent
from cinemill_workers.ledger import Ledger, connect
from cinemill_workers.model import Job
from cinemill_workers.settings import Settings, settings


def worker_arguments(concurrency: int | None, queues: str | None) -> list[str]:
    """Return the arguments of ``celery worker`` that a cinemill worker runs with."""
    from cinemill_workers.app import queue_name

    chosen = ["worker", "--loglevel", "INFO", "--pool", "prefork", "--without-gossip", "--without-mingle"]
    chosen += ["--hostname", f"cinemill-{os.getpid()}@%h"]
    chosen += ["--concurrency", str(concurrency or len(os.sched_getaffinity(0)))]
    if queues:
        chosen += ["--queues", ",".join(queue_name(name.strip()) for name in queues.split(","))]
    return chosen


@contextmanager
def service(
    settings: Settings, *, concurrency: int | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], Server | None]]:
    """Run a worker, and the embedded server unless a broker is configured; yields both.

    On leaving, the worker hands back or finishes what it holds, then the server stops.
    """
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = Server(settings.state_dir, settings.socket_path) if settings.embedded else nullcontext()
    with server as running, (settings.state_dir / "worker.log").open("ab") as log:
        worker = subprocess.Popen(  # noqa: S603
            [
                sys.executable,
                "-m",
                "celery",
                "-A",
                "cinemill_workers.app",
                *worker_arguments(concurrency, None),
            ],
            env={**os.environ, "CINEMILL_STATE_DIR": str(settings.state_dir.absolute())},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(signal.SIGKILL),  # noqa: PLW1509
        )
        try:
            yield worker, running
        finally:
            _stop(worker, settings.grace_seconds + 30)


def run(concurrency: int | None, *, as_json: bool) -> None:
    """Stay in the foreground with live progress until Ctrl-C or SIGTERM.

    Raises
    ------
    CinemillError
        The worker ended by itself.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    chosen = settings()
    log = chosen.state_dir / "worker.log"
    with service(chosen, concurrency=concurrency) as (worker, server):
        if as_json:
            typer.echo(json.dumps({"broker": chosen.public_url, "worker": worker.pid, "log": str(log)}))
        else:
            typer.echo(
                f"serving {chosen.public_url}, log in {log}; submit from another terminal, Ctrl-C stops"
            )
        try:
            _follow(worker, server, chosen, quiet=as_json)
        except KeyboardInterrupt:
            typer.echo("stopping: running instances are finished or handed back", err=True)
            return
    raise CinemillError(f"the worker ended with code {worker.returncode}: its reason stands in {log}")


def _follow(
    worker: subprocess.Popen[bytes], server: Server | None, settings: Settings, *, quiet: bool
) -> None:
    """Show the jobs that were active since the start, until the worker ends; keep the server up."""
    from cinemill_workers.watch import live

    ledger = Ledger(connect(settings.redis_url, patience=0))
    seen: set[str] = set()
    with nullcontext(_show_nothing) if quiet else live(ledger) as show:
        while worker.poll() is None:
            if server is not None:
                server.keep()
            with suppress(RedisError):
                seen.update(job.id for job in ledger.active())
                show([ledger.job(job) for job in sorted(seen)])
            time.sleep(POLL_SECONDS)


def _show_nothing(_: list[Job]) -> None:
    pass


def _stop(worker: subprocess.Popen[bytes], seconds: float) -> None:
    worker.terminate()
    try:
        worker.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
