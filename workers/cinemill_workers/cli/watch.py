"""What terminals show of jobs: the live view, one job, and the list."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cinemill.cli.tally import LOSSY, advice_for, cells
from cinemill.errors import printable
from cinemill.operations.exchange.request import EXCHANGES
from cinemill.operations.receipt import DONE
from cinemill_workers.engine.kinds import describe, of_studies
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import Job

NO_WORKERS = "no worker yet: one starts within seconds, and compiles kernels for some minutes the first time on a machine"
UNSETTLED = ("pending", "running")
"""States of items of which no receipt tells yet; those of all others are called as the receipts call them."""

ROOMY = 100
"""Columns of a terminal with room for long progress bars."""

SPAN_SECONDS = 20.0
"""Speeds are means over so long."""


class Pace:
    """Speed of one job over the last seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque()

    def add(self, job: Job) -> None:
        """Take note of the job's progress now."""
        now = time.monotonic()
        self._samples.append((now, job.settled, _worked(job)))
        while now - self._samples[0][0] > SPAN_SECONDS:
            self._samples.popleft()

    @property
    def per_second(self) -> tuple[float, float]:
        """Items and MB a second, of pixels or of what is exchanged with a node."""
        (begin, items, worked), (end, items_now, worked_now) = self._samples[0], self._samples[-1]
        seconds = end - begin
        return (
            ((items_now - items) / seconds, (worked_now - worked) / seconds / 1e6) if seconds else (0.0, 0.0)
        )


class View:
    """Renders jobs and workers; remembers each job's pace.

    Parameters
    ----------
    columns
        Width of the terminal.
    """

    def __init__(self, ledger: Ledger, columns: int) -> None:
        self._ledger = ledger
        self._bar = 24 if columns >= ROOMY else 6
        self._paces: dict[str, Pace] = {}

    def render(self, jobs: list[Job]) -> RenderableType:
        """Return the screen for these jobs."""
        workers = self._ledger.workers()
        lost = "; ".join(f"{worker} {reason}" for worker, reason in sorted(self._ledger.complaints().items()))
        line = f"workers: {', '.join(sorted(workers))}" if workers else lost or NO_WORKERS
        table = _table("job", "state", "instances", "", "MB/s", "items/s", "ETA", "failed", flexible={"job"})
        for job in jobs:
            table.add_row(*self._row(job))
        return Group(
            table if jobs else Text("no job is active: submit one"), *_notes(jobs), _text(line, style="dim")
        )

    def _row(self, job: Job) -> list[RenderableType]:
        pace = self._paces.setdefault(job.id, Pace())
        pace.add(job)
        items, megabytes = pace.per_second
        left = job.listed - job.settled
        eta = "done" if job.over else duration(left / items) if items and job.exhausted else "..."
        return [
            _text(job.spec.name or job.id, overflow="ellipsis", no_wrap=True),
            job.state,
            _progress(job),
            ProgressBar(total=max(1, job.listed), completed=job.settled, width=self._bar),
            f"{megabytes:.1f}",
            f"{items:.1f}",
            eta,
            _trouble(job),
        ]


@contextmanager
def live(ledger: Ledger) -> Iterator[Callable[[list[Job]], None]]:
    """Show jobs on the terminal; yields the function that shows the next state."""
    console = Console(stderr=True)
    view = View(ledger, console.width)
    with Live(console=console, auto_refresh=False) as screen:
        yield lambda jobs: screen.update(view.render(jobs), refresh=True)
    if not console.is_terminal:
        console.line()


def details(job: Job, failures: Iterable[dict[str, Any]]) -> RenderableType:
    """Return all there is to know of one job, with some of its failures."""
    begun = datetime.fromtimestamp(job.created).astimezone()
    moment, state = f"{begun:%Y-%m-%d %H:%M:%S}", job.state
    if job.started:
        state += f" {'after' if job.over else 'for'} {duration(job.seconds)}"
    lines = [
        f"{job.id} {job.spec.name}".rstrip(),
        f"{describe(job.spec.work)}: {' '.join(job.spec.sources)} → {job.spec.destination}",
        f"submitted {moment}, {state}; {_progress(job)} {'studies' if of_studies(job.spec.work) else 'instances'} settled",
        f"receipts: {job.folder}",
    ]
    shown = {
        **{state: job.counts[state] for state in UNSETTLED if job.counts[state]},
        **job.statuses,
        **{state: job.counts[state] for state in ("quarantined", "cancelled") if job.counts[state]},
    }
    rate = _worked(job) / job.seconds / 1e6 if job.seconds else 0.0
    speed = f"{rate:.1f} MB/s{'' if _exchanges(job) else ' of pixels'}"
    lines += [
        ", ".join(f"{count} {state}" for state, count in shown.items()) or "nothing yet",
        f"{job.bytes_in / 1e6:.1f} MB before, {job.bytes_out / 1e6:.1f} MB after, {speed}, retries: {job.retries}",
    ]
    kept = job.outcomes.get(LOSSY)
    told = map(_text, advice_for(kept.instances if kept else 0))
    reasons = [_text(_reason(each)) for each in failures]
    if reasons:
        reasons.append(Text(f"all of them: cinemill jobs report {job.id} -o FILE.csv", style="dim"))
    return Group(*map(_text, lines), *_outcomes(job), *told, *_notes([job]), *reasons)


def _exchanges(job: Job) -> bool:
    return job.spec.work.get("kind") in EXCHANGES


def _worked(job: Job) -> int:
    """Return the bytes that the speed of a job is told by."""
    return job.bytes_in if _exchanges(job) else job.pixel_bytes


def _outcomes(job: Job) -> Iterator[RenderableType]:
    """Yield a table of what was done, with its bytes, where not the same was done to all."""
    there = [(did, job.outcomes[did]) for did in DONE if did in job.outcomes]
    if len(there) < 2:
        return
    table = _table("done", "instances", "MB before", "MB after", "ratio")
    for did, sums in there:
        table.add_row(did, *cells(*sums))
    yield table


def _reason(failure: dict[str, Any]) -> str:
    """Say what failed: status, file, frame and reason, and how often it was tried if that may help."""
    receipt = failure["receipt"]
    error = receipt.get("error") or {}
    frame = f"frame {error['frame']}: " if error.get("frame") is not None else ""
    tried = f" (quarantined, attempt {failure['attempts']})" if failure["state"] == "quarantined" else ""
    return f"{receipt['status']}: {receipt['source']}: {frame}{error.get('message', '')}{tried}"


def listing(jobs: list[Job], complaints: Mapping[str, str] = MappingProxyType({})) -> RenderableType:
    """Return a table of jobs, and which workers gave up."""
    table = _table("job", "name", "work", "state", "instances", "failed", flexible={"name"})
    for job in jobs:
        work = _text(describe(job.spec.work), no_wrap=True)
        name = _text(job.spec.name, overflow="ellipsis", no_wrap=True)
        table.add_row(job.id, name, work, job.state, _progress(job), _trouble(job))
    lost = [_text(f"{worker} {reason}", style="red") for worker, reason in sorted(complaints.items())]
    return Group(table if jobs else Text("there is no job"), *_notes(jobs), *lost)


def duration(seconds: float) -> str:
    """Write hours, minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _table(*headings: str, flexible: Iterable[str] = ()) -> Table:
    """Return a table of which only some columns give way on a narrow terminal."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, no_wrap=heading not in flexible, min_width=6)
    return table


def _text(text: str, **options: Any) -> Text:
    """Return a text as it is, but for what a terminal would not print: that is escaped."""
    return Text(printable(text), **options)


def _progress(job: Job) -> str:
    return f"{job.settled}/{job.listed}{'' if job.exhausted else '+'}"


def _trouble(job: Job) -> Text:
    trouble = job.counts["failed"] + job.counts["quarantined"]
    return Text(str(trouble), style="red" if trouble else "dim")


def _notes(jobs: Iterable[Job]) -> list[Text]:
    return [_text(f"{job.id}: {job.note}", style="yellow") for job in jobs if job.note]
