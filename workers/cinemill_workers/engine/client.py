"""What the commands of a submitter do: find the ledger, check a job before it is stored, wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from redis.exceptions import NoPermissionError, RedisError

from cinemill.errors import CinemillError, UsageError
from cinemill.network.pace import Window
from cinemill.storage.tree import measured
from cinemill_workers.engine.kinds import discover
from cinemill_workers.engine.roots import confine, empty_sources
from cinemill_workers.ledger.connection import WritesRefused, connect
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import Job, JobGone, JobSpec
from cinemill_workers.ledger.rights import GRANT
from cinemill_workers.settings import Settings, settings

POLL_SECONDS = 0.5


def open_ledger(chosen: Settings | None = None) -> Ledger:
    """Return the ledger of the configured broker, or of the embedded server.

    Raises
    ------
    CinemillError
        Nothing answers there, or not to us, or another version of cinemill uses the ledger.
    """
    chosen = chosen or settings()
    try:
        Ledger(connect(chosen.redis_url, patience=0)).confirm()
    except RedisError as error:
        raise CinemillError("; ".join(diagnosis(chosen, error))) from error
    return Ledger(connect(chosen.redis_url), lease_seconds=chosen.lease_seconds)


def diagnosis(chosen: Settings, error: RedisError) -> tuple[str, str]:
    """Say why the server can't be used, and what to do."""
    found = f"can't use the server at {chosen.public_url}: {str(error).rstrip('.')}"
    if isinstance(error, NoPermissionError):
        return found, GRANT
    if isinstance(error, WritesRefused):
        return found, "give it more disk or memory, work then goes on by itself"
    if chosen.embedded:
        return f"no server runs in {chosen.state_dir}", "start `cinemill up` in another terminal"
    return found, "check CINEMILL_BROKER_URL, its password and the network"


def check(spec: JobSpec) -> None:
    """Refuse a job that can't be carried out, before anything is stored.

    Raises
    ------
    UsageError
        A source is missing, the destination is impossible, or an option has a wrong value.
    OutsideRoots
        A path leads out of the configured roots.
    """
    if spec.window:
        Window.parse(spec.window)
    for path in (*spec.sources, spec.destination):
        confine(Path(path), settings().roots)
    discover(spec)
    if spec.standing and not all(Path(source).is_dir() for source in spec.sources):
        raise UsageError("a standing job watches directories: name those that files arrive in")


def store(spec: JobSpec) -> str:
    """Store a new job and return its id; a server that takes nothing at present is not waited for.

    Raises
    ------
    CinemillError
        The server is full, a replica, or does not let its user do this; or another version of cinemill uses it.
    """
    chosen = settings()
    try:
        ledger = Ledger(connect(chosen.redis_url, patience=0))
        ledger.confirm()
        return ledger.create(replace(spec, empty=empty_sources(spec)))
    except RedisError as error:
        raise CinemillError(f"nothing was submitted: {'; '.join(diagnosis(chosen, error))}") from error


def census(spec: JobSpec) -> tuple[int, int]:
    """Count what a job would work on: instances, and their bytes."""
    return measured(discover(spec))


def wait(ledger: Ledger, job: str, *, show: Callable[[Job], None] = lambda _: None) -> Job:
    """Poll a job until nothing of it waits or runs, showing each state.

    Parameters
    ----------
    job
        Its id.
    show
        Is called with each state.

    Raises
    ------
    CinemillError
        Somebody deleted the job meanwhile.
    """
    while True:
        try:
            found = ledger.job(job)
        except JobGone:
            raise CinemillError(
                f"job {job} has been deleted: its outputs and the folder of its receipts stay"
            ) from None
        show(found)
        if found.over:
            return found
        time.sleep(POLL_SECONDS)
