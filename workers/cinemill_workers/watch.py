"""The live view of jobs in a terminal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cinemill_workers.ledger import Ledger
from cinemill_workers.model import ITEM_STATES, Job

NO_WORKERS = "no worker yet: the first start on a machine compiles the kernels, which takes some minutes"
SPAN_SECONDS = 20.0
"""Speeds are means over so long."""


class Pace:
    """Speed of one job over the last seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque()

    def add(self, job: Job) -> None:
        """Take note of the job's progress now."""
        now = time.monotonic()
        self._samples.append((now, job.settled, job.pixel_bytes))
        while now - self._samples[0][0] > SPAN_SECONDS:
            self._samples.popleft()

    @property
    def per_second(self) -> tuple[float, float]:
        """Items and MB of pixels a second."""
        (begin, items, pixels), (end, items_now, pixels_now) = self._samples[0], self._samples[-1]
        seconds = end - begin
        return (
            ((items_now - items) / seconds, (pixels_now - pixels) / seconds / 1e6) if seconds else (0.0, 0.0)
        )


class View:
    """Renders jobs and workers; remembers each job's pace."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._paces: dict[str, Pace] = {}

    def render(self, jobs: list[Job]) -> RenderableType:
        """Return the screen for these jobs."""
        workers = self._ledger.workers()
        line = f"workers: {', '.join(sorted(workers))}" if workers else NO_WORKERS
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("job", "state", "instances", "", "MB/s", "items/s", "ETA", "trouble"):
            table.add_column(heading, no_wrap=True)
        for job in jobs:
            table.add_row(*self._row(job))
        notes = [Text(f"{job.id}: {job.note}", style="yellow") for job in jobs if job.note]
        return Group(table if jobs else Text("no job is active: submit one"), *notes, Text(line, style="dim"))

    def _row(self, job: Job) -> list[RenderableType]:
        pace = self._paces.setdefault(job.id, Pace())
        pace.add(job)
        items, megabytes = pace.per_second
        left = job.listed - job.settled
        eta = "done" if job.over else _duration(left / items) if items and job.exhausted else "..."
        known = str(job.listed) if job.exhausted else f"{job.listed}+"
        trouble = job.counts["failed"] + job.counts["quarantined"]
        return [
            job.spec.name or job.id,
            job.state,
            f"{job.settled}/{known}",
            ProgressBar(total=max(1, job.listed), completed=job.settled, width=24),
            f"{megabytes:.1f}",
            f"{items:.1f}",
            eta,
            Text(str(trouble), style="red" if trouble else "dim"),
        ]


@contextmanager
def live(ledger: Ledger) -> Iterator[Callable[[list[Job]], None]]:
    """Show jobs on the terminal; yields the function that shows the next state."""
    view = View(ledger)
    with Live(console=Console(stderr=True), auto_refresh=False) as screen:
        yield lambda jobs: screen.update(view.render(jobs), refresh=True)


def summary(job: Job) -> RenderableType:
    """Return a job's final table."""
    table = Table(title=f"{job.spec.name or job.id}: {job.state}", box=None, pad_edge=False)
    for heading in (
        *[state for state in ITEM_STATES if job.counts[state]],
        "MB before",
        "MB after",
        "MB/s of pixels",
    ):
        table.add_column(heading, justify="right")
    rate = job.pixel_bytes / job.seconds / 1e6 if job.seconds else 0.0
    table.add_row(
        *[str(count) for count in job.counts.values() if count],
        f"{job.bytes_in / 1e6:.1f}",
        f"{job.bytes_out / 1e6:.1f}",
        f"{rate:.1f}",
    )
    return table


def listing(jobs: list[Job]) -> RenderableType:
    """Return a table of jobs."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("job", "name", "state", "settled", "listed", "failed", "quarantined", "note"):
        table.add_column(heading)
    for job in jobs:
        known = f"{job.listed}{'' if job.exhausted else '+'}"
        trouble = (str(job.counts[state]) for state in ("failed", "quarantined"))
        table.add_row(job.id, job.spec.name, job.state, str(job.settled), known, *trouble, job.note)
    return table


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
