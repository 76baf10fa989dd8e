"""``cinemill up``: a private server and a worker in the foreground, with the jobs' progress on the terminal."""

from __future__ import annotations

import json
from contextlib import nullcontext, suppress

import click
from redis.exceptions import RedisError

from cinemill.errors import printable
from cinemill_workers.cli.watch import live
from cinemill_workers.engine.client import POLL_SECONDS
from cinemill_workers.ledger.connection import connect
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.local.up import Service
from cinemill_workers.processes import Stop
from cinemill_workers.settings import settings


def run(concurrency: int | None, *, as_json: bool) -> None:
    """Stay in the foreground with live progress until Ctrl-C or SIGTERM.

    Raises
    ------
    CinemillError
        The worker ended by itself, or the configured broker does not answer.
    """
    stop = Stop()
    with Service(settings(), concurrency=concurrency) as service:
        broker, log = service.settings.public_url, service.worker.log
        if as_json:
            click.echo(json.dumps({"broker": broker, "worker": service.worker.pid, "log": str(log)}))
        else:
            line = f"serving {broker}, log in {log}; submit from another terminal, Ctrl-C stops"
            click.echo(printable(line))
        _follow(service, stop, quiet=as_json)
        click.echo("stopping: running instances are finished or handed back", err=True)


def _follow(service: Service, stop: Stop, *, quiet: bool) -> None:
    """Show the jobs that were active since the start, and keep worker and server up, until stopped."""
    ledger = Ledger(connect(service.settings.redis_url, patience=0))
    seen: set[str] = set()
    with nullcontext(lambda _: None) if quiet else live(ledger) as show:
        while not stop.asked:
            service.keep()
            with suppress(RedisError):
                seen.update(job.id for job in ledger.active())
                show(ledger.present(sorted(seen)))
            stop.wait(POLL_SECONDS)
