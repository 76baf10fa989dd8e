"""What people see on the terminal: a progress bar on standard error while working, a table at the end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from cinemill.errors import printable
from cinemill.operations.copies import is_not_copied
from cinemill.operations.policy.targets import recompression
from cinemill.operations.receipt import DONE, SUCCESSES, Receipt

if TYPE_CHECKING:
    from cinemill.storage.tree import Item

console = Console(stderr=True, highlight=False)

_MEGABYTE = 1_000_000
LOSSY = "copied, lossy"
"""What `Receipt.done` says of lossy sources that were kept."""

_DONE = (*DONE, "missing", "extra")
_KINDS = {"MissingOutput": "missing", "ExtraOutput": "extra"}
_STYLES = {
    "failed": "red",
    "refused": "yellow",
    **dict.fromkeys(("transcoded", "recompressed", "deidentified", "extracted", "verified"), "green"),
}
_STYLES |= dict.fromkeys(_KINDS.values(), "red")


_WHY = {
    "target-syntax": "it is in the target syntax already",
    "no-image": "it holds no image",
    "lossy-source": "it is lossy; see --lossy-source",
    "would-grow": "its output would be larger; see --if-larger",
    "policy": "the policy keeps it",
    "rest": "it could not be transcoded",
}


class Tally:
    """Adds up receipts, and says at once what went wrong.

    Parameters
    ----------
    named
        Files given by name on the command line: that one of them is not DICOM is an error.
    mirrored
        Whether each source should have an output of its own name.
    """

    def __init__(self, named: Collection[Path], *, mirrored: bool = False) -> None:
        self._named = {str(path) for path in named}
        self._started = time.perf_counter()
        self._counts: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._after: Counter[str] = Counter()
        self._pixels = 0
        self._mirrored = mirrored
        self._missing: Counter[str] = Counter()
        self._not_copied = False
        self._last: Receipt | None = None
        self.well = True

    def add(self, receipt: Receipt) -> None:
        """Count one receipt; print its error, if any."""
        counted = _KINDS.get((receipt.error or {}).get("kind", ""), receipt.done)
        self._counts[counted] += 1
        self._before[counted] += receipt.bytes_before
        self._after[counted] += receipt.bytes_after
        self._pixels += _worked_on(receipt)
        self._last = receipt
        if self._mirrored and receipt.error is not None and not Path(receipt.output).exists():
            self._missing[receipt.status] += 1
        not_copied = any(map(is_not_copied, receipt.warnings))
        self._not_copied |= not_copied
        wrong = receipt.status not in SUCCESSES or (
            receipt.status == "ignored" and (receipt.source in self._named or not_copied)
        )
        if wrong:
            self.well = False
        if receipt.error is not None and (wrong or receipt.status != "ignored"):
            frame = "" if receipt.error["frame"] is None else f"frame {receipt.error['frame']}: "
            named = receipt.source or receipt.output
            said = "; ".join((receipt.error["message"], *receipt.warnings))
            line = Text(printable(f"{counted}: {named}: {frame}{said}"))
            line.stylize(_STYLES.get(counted, ""), 0, len(counted))
            console.print(line, soft_wrap=True)

    def show(self, twins: Collection[str] = ()) -> None:
        """Print what was done: a line for one instance, a table for more; then of instances with the same UID."""
        if self._counts.total() == 1 and self._last is not None and self._last.status in SUCCESSES:
            for line in _lines(self._last):
                console.print(Text(printable(line)), soft_wrap=True)
        elif self._counts.total() > 1:
            console.print(self._table())
            for line in advice_for(self._counts[LOSSY]):
                console.print(Text(line), soft_wrap=True)
            if self._missing:
                console.print(Text(self._told_missing()), soft_wrap=True)
        for line in twins:
            console.print(Text(line), soft_wrap=True)

    def _told_missing(self) -> str:
        kinds = ", ".join(f"{count} {status}" for status, count in sorted(self._missing.items()))
        advice = "" if self._not_copied else "; --copy-rest copies them unchanged"
        return f"missing from the output tree: {self._missing.total()} ({kinds}){advice}"

    def _table(self) -> Table:
        seconds = time.perf_counter() - self._started
        table = Table(box=None, pad_edge=False)
        for name in ("status", "instances", "MB before", "MB after", "ratio"):
            table.add_column(name, justify="left" if name == "status" else "right")
        there = [status for status in _DONE if self._counts[status]]
        for status in there:
            row = self._counts[status], self._before[status], self._after[status]
            table.add_row(Text(status, _STYLES.get(status, "")), *cells(*row))
        written = [status for status in there if self._after[status]]
        if len(written) > 1:
            sums = (sum(of[status] for status in written) for of in (self._counts, self._before, self._after))
            table.add_row("all of these", *cells(*sums))
        megabytes = self._pixels / _MEGABYTE
        table.caption = f"{megabytes:.0f} MB of pixels in {seconds:.1f} s: {megabytes / seconds:.0f} MB/s"
        table.caption_justify = "left"
        return table


def cells(instances: int, before: int, after: int) -> tuple[str, ...]:
    """Return what stands in a table behind what was done: instances, MB before and after, and their ratio."""
    ratio = f"{before / after:.2f}" if after else ""
    return str(instances), f"{before / _MEGABYTE:.1f}", f"{after / _MEGABYTE:.1f}" if after else "", ratio


def advice_for(lossy: int) -> Iterator[str]:
    """Say what can be done about so many lossy sources that were kept as they are."""
    if lossy:
        recompress = "--lossy-source jpeg-xl recompresses JPEG, to the byte; " if recompression("") else ""
        kept = "sources were kept as they are" if lossy > 1 else "source was kept as it is"
        yield (
            f"{lossy} lossy {kept}: coded losslessly, most take several times the bytes; {recompress}"
            "--lossy-source transcode codes them anew where that does not grow, --if-larger write in any case"
        )


def _worked_on(receipt: Receipt) -> int:
    """Return the bytes of pixels that were worked on; what is kept tells of an earlier run's."""
    return 0 if receipt.status == "kept" else receipt.pixel_bytes


def _lines(receipt: Receipt) -> list[str]:
    """Return what is said of a single instance, and a line for each warning."""
    if receipt.status == "kept":
        return [f"{receipt.output} is finished already"]
    if receipt.status == "ignored":
        return [f"{receipt.source} is not DICOM"]
    if receipt.status == "copied" and receipt.reason:
        return [
            f"{receipt.source} was copied: {_WHY[receipt.reason]}",
            *(f"note: {each}" for each in receipt.warnings),
        ]
    if receipt.status == "skipped":
        return [f"{receipt.source} was skipped: {'; '.join(receipt.warnings)}"]
    rate = receipt.pixel_bytes / receipt.seconds["total"] / _MEGABYTE
    speed = f", {rate:.0f} MB/s of pixels" if receipt.pixel_bytes else ""
    frames = f"{receipt.frames} frame{'s' if receipt.frames != 1 else ''}, " if receipt.frames else ""
    verified = f"; verified: {receipt.verification}" if receipt.verification else ""
    done = (
        f"{receipt.done} {receipt.output}: {frames}{receipt.bytes_before / _MEGABYTE:.2f} → "
        f"{receipt.bytes_after / _MEGABYTE:.2f} MB in {receipt.seconds['total']:.1f} s{speed}{verified}"
    )
    return [done, *(f"note: {warning}" for warning in receipt.warnings)]


class _Rate(ProgressColumn):
    """MB/s of uncompressed pixels."""

    def render(self, task: object) -> Text:
        """Render the average since the start."""
        fields = task.fields  # type: ignore[attr-defined]
        seconds = max(time.perf_counter() - fields["started"], 1e-3)
        return Text(f"{fields['pixels'] / seconds / _MEGABYTE:.0f} MB/s")


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
        name = kernel.rpartition(".")[2]
        self._progress.update(self._task, frames=f"compiling kernel {len(self._kernels)}, once: {name}")
        if self._progress.disable and len(self._kernels) == 1:
            console.print(
                "compiling kernels for this processor, once; `cinemill warmup` does it beforehand",
                soft_wrap=True,
            )

    @property
    def _completed(self) -> float:
        return self._bytes + sum(self._under_way.values())

    def advance(self, receipt: Receipt) -> None:
        """Count a finished instance."""
        self._instances += 1
        self._pixels += _worked_on(receipt)
        self._bytes += receipt.bytes_before
        self._under_way.pop(receipt.source, None)
        self._progress.update(
            self._task,
            completed=self._completed,
            instances=self._instances,
            pixels=self._pixels,
            frames="",
        )


@contextmanager
def bar(measure: Callable[[], tuple[int, int]], *, hidden: bool = False) -> Iterator[Bar]:
    """Show a progress bar unless it is hidden; ``measure`` counts instances and their bytes on a thread of its own."""
    columns = (
        TextColumn("{task.fields[instances]}{task.fields[count]} instances"),
        BarColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[frames]}", markup=False),
    )
    with Progress(
        *columns, console=console, transient=True, disable=hidden or not console.is_terminal
    ) as progress:
        shown = Bar(progress)
        threading.Thread(target=lambda: shown.total(*measure()), daemon=True).start()
        yield shown
