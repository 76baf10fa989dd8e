"""Writes receipts of jobs to a file, as ``transcode --report`` does, and looks up single ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cinemill.operations.receipt import Receipt
from cinemill.operations.report import Report
from cinemill.storage.tree import OURS
from cinemill_workers.engine import journal
from cinemill_workers.engine.journal import Records
from cinemill_workers.local.embedded import stored_ledger
from cinemill_workers.settings import settings


@contextmanager
def opened(name: str) -> Iterator[tuple[str, list[Records]]]:
    """Open the records of a job, or those of the jobs in a folder, oldest first; also give the job's id, or the folder."""
    if _is_folder(name):
        yield name, journal.of_tree(Path(name))
        return
    with stored_ledger(settings()) as ledger:
        job = ledger.find(name)
        yield job.id, [Records.of_job(ledger, job)]


def write(records: Iterable[dict[str, Any]], path: Path) -> int:
    """Write a JSON line, or a CSV row by suffix, for each receipt; return how many. Rows of other instances stay.

    Raises
    ------
    UsageError
        The suffix is none of a report, or the file can't be written, or is something else.
    """
    count = 0
    with Report(path) as report:
        for record in records:
            report.add(Receipt(**{**record, "warnings": tuple(record["warnings"])}))
            count += 1
    return count


def find(instance: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return what is told of an instance, oldest first, by these jobs and in these folders, or by all jobs."""
    if not names:
        with stored_ledger(settings()) as ledger:
            names = [job.id for job in ledger.jobs() if job.folder]
    wanted = {instance, os.path.abspath(instance)} if os.sep in instance else {instance}  # noqa: PTH100
    found = []
    for name in names:
        with opened(name) as (_, jobs):
            found += [{"job": job.name, **record} for job in jobs for record in journal.find([job], wanted)]
    return found


def lines(record: dict[str, Any]) -> tuple[str, ...]:
    """Tell of one record: what became of it in which job, then its source, its output, and why."""
    receipt = record["receipt"]
    told = receipt["error"]["message"] if receipt.get("error") else receipt.get("verification", "")
    moment = datetime.fromtimestamp(int(record["id"].split("-")[0]) / 1000, UTC)
    what = f"{moment:%Y-%m-%d %H:%M:%S} UTC  {receipt['status']}  job {record['job']}"
    return what, *(f"    {each}" for each in (record["source"], record["output"], told) if each)


def _is_folder(name: str) -> bool:
    return os.sep in name or name in {".", ".."} or (Path(name) / OURS).is_dir()
