"""What `cinemill doctor` examines: each check says what was found and, if it is a fault, what to do."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from cinemill.errors import UsageError
from cinemill_workers.engine.app import QUEUE
from cinemill_workers.engine.client import diagnosis
from cinemill_workers.engine.preflight import check
from cinemill_workers.ledger import rights
from cinemill_workers.ledger.connection import connect
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import ForeignLedger
from cinemill_workers.settings import Settings, misspelled

LITTLE_SPACE = 5e9
NEARLY_FULL = 0.95
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
SILENCE_SECONDS = 60.0
PACKAGES = ("cinemill", "numpy", "numba", "imagecodecs", "pydicom", "celery", "kombu", "redis")


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is well, what was found, and the remedy if it is not."""

    check: str
    well: bool
    found: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Run all checks, cheap ones first."""
    remedy = "install cinemill again: pip install --force-reinstall cinemill"
    yield _attempt("versions", _versions, remedy)
    yield _attempt("kernels", _kernels, "set CINEMILL_CACHE_DIR to a directory that can be written")
    if settings.embedded:
        yield _directory("state directory", settings.state_dir, "CINEMILL_STATE_DIR")
    yield _directory("temporary directory", Path(tempfile.gettempdir()), "TMPDIR")
    yield from _roots(settings.roots)
    if not settings.roots and not settings.embedded:
        yield Finding(
            "roots",
            well=False,
            found="jobs of anybody who reaches the broker may read and write everywhere",
            remedy="set CINEMILL_ROOTS to the directories that workers may use",
        )
    yield _start(settings)
    yield from _broker(settings)


def _start(settings: Settings) -> Finding:
    """Tell whether a worker with these settings would start here."""
    try:
        check(settings)
    except UsageError as error:
        found, _, remedy = error.message.partition(": ")
        return Finding("settings", well=False, found=found, remedy=remedy)
    if said := misspelled():
        return Finding("settings", well=False, found=said, remedy="name the variable as docs/SERVICE.md does")
    return Finding("settings", well=True, found="a worker can start with them")


def _attempt(check: str, call: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(check, well=True, found=call())
    except Exception as error:  # noqa: BLE001
        return Finding(check, well=False, found=f"{type(error).__name__}: {error}", remedy=remedy)


def _versions() -> str:
    names = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"Python {platform.python_version()}, {names}"


def _kernels() -> str:
    from cinemill.warmup import load_all

    began = time.perf_counter()
    load_all()
    return f"ready after {time.perf_counter() - began:.1f} s"


def _directory(label: str, folder: Path, variable: str) -> Finding:
    try:
        return _room(label, folder)
    except OSError as error:
        return _closed(label, folder, error, f", or name another directory in {variable}")


def _room(label: str, folder: Path) -> Finding:
    folder = _nearest(folder)
    with tempfile.TemporaryFile(dir=folder):
        free = shutil.disk_usage(folder).free
    enough = free >= LITTLE_SPACE
    found = f"{free / 1e9:.0f} GB free on {folder}"
    return Finding(label, enough, found, "" if enough else "free some space there")


def _closed(label: str, folder: Path, error: OSError, other: str = "") -> Finding:
    found = f"{folder} can't be written: {error.strerror}"
    remedy = f"let user {os.getuid()} write to {_nearest(folder)}{other}"
    return Finding(label, well=False, found=found, remedy=remedy)


def _nearest(folder: Path) -> Path:
    """Return a directory, or the one above it that is there."""
    return folder if folder.exists() else _nearest(folder.parent)


def _roots(roots: Sequence[Path]) -> Iterator[Finding]:
    """Tell what can be written below the roots; where one can, others may be for sources alone."""
    closed = dict[Path, OSError]()
    for root in roots:
        try:
            yield _room(f"root {root}", root)
        except OSError as error:
            closed[root] = error
    for root, reason in closed.items():
        label = f"root {root}"
        if len(closed) < len(roots) and reason.errno in READ_ONLY and os.access(root, os.R_OK | os.X_OK):
            yield Finding(label, well=True, found="can be read, not written: a place for sources")
        else:
            yield _closed(label, root, reason)


def _broker(settings: Settings) -> Iterator[Finding]:
    ledger = Ledger(connect(settings.redis_url, patience=0), lease_seconds=settings.lease_seconds)
    try:
        about: dict[str, Any] = ledger.client.info()
    except RedisError as error:
        found, remedy = diagnosis(settings, error)
        yield Finding("broker", well=False, found=found, remedy=remedy)
        return
    name = "Valkey" if "valkey_version" in about else "Redis"
    number = about.get("valkey_version", about["redis_version"])
    yield Finding("broker", well=True, found=f"{name} {number} at {settings.public_url}")
    lasting = about["aof_enabled"] == 1
    yield Finding(
        "broker persistence",
        lasting,
        "append-only file on" if lasting else "jobs are forgotten when the server stops",
        "" if lasting else "start the server with --appendonly yes",
    )
    policy = str(about["maxmemory_policy"])
    most, used = int(about["maxmemory"]), int(about["used_memory"])
    keeps, full = policy == "noeviction" or most == 0, 0 < most * NEARLY_FULL <= used
    limit = f" of {about['maxmemory_human']}" if most else ""
    yield Finding(
        "broker memory",
        keeps and not full,
        f"{about['used_memory_human']}{limit} used, policy {policy}",
        "give the server more memory (--maxmemory), or delete jobs that are over (`cinemill jobs delete`)"
        if full
        else "start the server with --maxmemory-policy noeviction"
        if not keeps
        else "",
    )
    allowed = _rights(ledger, settings)
    yield allowed
    if not allowed.well:
        return
    try:
        ledger.confirm()
    except ForeignLedger as error:
        found, _, remedy = error.message.partition(": ")
        yield Finding("broker layout", well=False, found=found, remedy=remedy)
        return
    for worker, reason in sorted(ledger.complaints().items()):
        yield Finding(
            f"worker {worker}",
            well=False,
            found=reason,
            remedy="mend what the log names, then start it again",
        )
    workers = ledger.workers(within=SILENCE_SECONDS)
    depth = ledger.queue_length(QUEUE)
    yield Finding(
        "workers",
        bool(workers),
        f"{len(workers)} at work within a minute, {depth} messages waiting",
        "" if workers else "start `cinemill worker`, or `cinemill up` on one machine: jobs wait until then",
    )


def _rights(ledger: Ledger, settings: Settings) -> Finding:
    """Tell whether the server lets us do what workers do."""
    try:
        missing = rights.missing(ledger.client)
    except RedisError as error:
        found, remedy = diagnosis(settings, error)
        return Finding("broker rights", well=False, found=found, remedy=remedy)
    if missing:
        return Finding("broker rights", well=False, found=missing, remedy=rights.GRANT)
    return Finding("broker rights", well=True, found="all that workers need")


def consumption(settings: Settings) -> Finding:
    """Check that this host's worker took a message, or worked on something, within a minute."""
    remedy = "look at the worker's log, and restart it"
    try:
        workers = Ledger(connect(settings.redis_url, patience=1)).workers(within=SILENCE_SECONDS)
    except RedisError as error:
        return Finding("worker", well=False, found=f"the broker does not answer: {error}", remedy=remedy)
    ages = [age for name, age in workers.items() if name.endswith(f"@{socket.gethostname()}")]
    if not ages:
        return Finding(
            "worker", well=False, found=f"no sign of life for {SILENCE_SECONDS:.0f} s", remedy=remedy
        )
    return Finding("worker", well=True, found=f"last sign of life {min(ages):.0f} s ago")
