"""The progress bar, on standard error."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from cinemill.cli.tally import worked_on
from cinemill.errors import printable
from cinemill.operations.receipt import Receipt

if TYPE_CHECKING:
    from cinemill.storage.tree import Item

console = Console(stderr=True, highlight=False)

_MEGABYTE = 1_000_000


class _Rate(ProgressColumn):
    """MB/s of uncompressed pixels."""

    def render(self, task: object) -> Text:
        """Render the average since the start."""
        fields = task.fields  # type: ignore[attr-defined]
        seconds = max(time.perf_counter() - fields["started"], 1e-3)
        return Text(f"{fields['pixels'] / seconds / _MEGABYTE:.0f} MB/s")


class _Line(Progress):
    """Progress on one line, with room behind it for the ``^C`` that a terminal shows: it would wrap, and the line stay."""

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Return the line."""
        table = super().make_tasks_table(tasks)
        table.width = console.width - len("^C")
        return table


class Bar:
    """The progress bar of a run; without a terminal it shows nothing."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task(
            "", total=None, pixels=0, started=time.perf_counter(), instances=0, count="", frames=""
        )
        self._pixels = self._instances = self._bytes = 0
        self._under_way: dict[str, float] = {}
        self._kernels: set[str] = set()

    def total(self, instances: int, source_bytes: int) -> None:
        """Tell how much there is to do, once that is known."""
        self._progress.update(self._task, total=source_bytes, count=f"/{instances}")

    def frames(self, item: Item, done: int, frames: int) -> None:
        """Show how far a long instance is."""
        with suppress(OSError):
            self._under_way[str(item.source)] = item.source.stat().st_size * done / frames
        self._progress.update(
            self._task, completed=self._completed, frames=f"{printable(item.source.name)} {done}/{frames}"
        )

    def compiling(self, kernel: str) -> None:
        """Show which kernel is compiled, for the first use on this processor; without a terminal, say so once."""
        self._kernels.add(kernel)
        name, expected = kernel.rpartition(".")[2], _kernels_expected()
        number = f"{len(self._kernels)} of {expected}" if expected else f"{len(self._kernels)}"
        self._progress.update(self._task, frames=f"compiling kernel {number}, once: {name}")
        if self._progress.disable and len(self._kernels) == 1:
            console.print(
                "compiling kernels for this processor, once; `cinemill warmup` does it beforehand",
                soft_wrap=True,
            )

    @staticmethod
    def say(line: str, lead: str = "", colour: str | None = None) -> None:
        """Print a line above the bar: see `cinemill.cli.progress.say`."""
        text = Text(line)
        text.stylize(colour or "", 0, len(lead))
        console.print(text, soft_wrap=True)

    @property
    def _completed(self) -> float:
        return self._bytes + sum(self._under_way.values())

    def advance(self, receipt: Receipt) -> None:
        """Count a finished instance."""
        self._instances += 1
        self._pixels += worked_on(receipt)
        self._bytes += receipt.bytes_before
        self._under_way.pop(receipt.source, None)
        self._progress.update(
            self._task,
            completed=self._completed,
            instances=self._instances,
            pixels=self._pixels,
            frames="",
        )


def _kernels_expected() -> int:
    """Return how many kernels this process will have compiled; 0 where others compile them."""
    from cinemill.kernels.machine.jit import Count

    return Count.expected


@contextmanager
def bar() -> Iterator[Bar]:
    """Draw a progress bar; where standard error is no terminal, nothing moves."""
    columns = (
        TextColumn("{task.fields[instances]}{task.fields[count]} instances"),
        BarColumn(bar_width=20),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[frames]}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
    )
    drawn = console.is_terminal
    with _Line(*columns, console=console, transient=True, expand=True, disable=not drawn) as progress:
        yield Bar(progress)
