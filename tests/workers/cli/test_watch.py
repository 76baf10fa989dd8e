"""What terminals show of jobs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from harness import job_spec
from rich.console import Console

from cinemill_workers.cli import watch
from cinemill_workers.ledger.model import ITEM_STATES, Job


@pytest.mark.parametrize("name", ["[/]", "[bold]", "\x1b[31m\n", "\udcff", "n" * 200])
def test_any_name_can_be_shown(name: str) -> None:
    console = Console(width=80, file=io.StringIO())
    job = make_job(name)
    for shown in (watch.listing([job]), watch.details(job, [])):
        console.print(shown)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert written.encode().count(job.id.encode()) == 4
    assert "\x1b" not in written


def make_job(name: str) -> Job:
    counts = dict.fromkeys(ITEM_STATES, 0)
    spec = job_spec(Path("/in"), Path("/out"), name=name)
    note = "listing stopped"
    return Job("20261126-111750-641231", spec, "paused", counts, listed=0, exhausted=False, note=note)
