"""Adds up what was done: says at once what went wrong, and shows a table at the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.cli.progress import say
from cinemill.errors import NoRoom, printable
from cinemill.operations.policy.targets import recompression
from cinemill.operations.receipt import DONE, SHARED_PSEUDONYM, SUCCESSES, Receipt, is_not_copied

if TYPE_CHECKING:
    from rich.table import Table

_MEGABYTE = 1_000_000
LOSSY = "copied, lossy"
"""What `Receipt.done` says of lossy sources that were kept."""

_DONE = (*DONE, "missing", "extra")
_KINDS = {"MissingOutput": "missing", "ExtraOutput": "extra"}
_STYLES = {
    "failed": "red",
    "refused": "yellow",
    **dict.fromkeys(
        ("transcoded", "recompressed", "restored", "split", "deidentified", "extracted", "verified"), "green"
    ),
}
_STYLES |= dict.fromkeys(_KINDS.values(), "red")


_WHY = {
    "target-syntax": "it is in the target syntax already",
    "no-image": "it holds no image",
    "lossy-source": "it is lossy; see --lossy-source",
    "would-grow": "its output would be larger; see --if-larger",
    "no-target": "no target of the policy can hold it",
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
    say
        Prints a line: see `cinemill.cli.progress.say`.
    """

    def __init__(
        self, named: Collection[Path], *, mirrored: bool = False, say: Callable[[str, str, str], None] = say
    ) -> None:
        self._say = say
        self._named = {str(path) for path in named}
        self._started = time.perf_counter()
        self._counts: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._after: Counter[str] = Counter()
        self._pixels = 0
        self._mirrored = mirrored
        self._missing: Counter[str] = Counter()
        self._without_target: Counter[str] = Counter()
        self._not_copied = False
        self._sharing = 0
        self._last: Receipt | None = None
        self.well = True

    @property
    def counted(self) -> int:
        """How many instances were counted."""
        return self._counts.total()

    def add(self, receipt: Receipt) -> None:
        """Count one receipt; print its error, if any."""
        counted = _KINDS.get((receipt.error or {}).get("kind", ""), receipt.done)
        self._counts[counted] += 1
        self._before[counted] += receipt.bytes_before
        self._after[counted] += receipt.bytes_after
        self._pixels += worked_on(receipt)
        self._last = receipt
        if self._mirrored and receipt.error is not None and not Path(receipt.output).exists():
            self._missing[receipt.status] += 1
        not_copied = any(map(is_not_copied, receipt.warnings))
        self._not_copied |= not_copied or (receipt.error or {}).get("kind") == NoRoom.__name__
        self._sharing += any(each.endswith(SHARED_PSEUDONYM) for each in receipt.warnings)
        if receipt.reason == "no-target" and receipt.status != "kept":
            begin = f"{_WHY['no-target']}: "
            self._without_target.update(
                each.removeprefix(begin) for each in receipt.warnings if each.startswith(begin)
            )
        wrong = receipt.status not in SUCCESSES or (
            receipt.status == "ignored" and (receipt.source in self._named or not_copied)
        )
        if wrong:
            self.well = False
        if receipt.error is not None and (wrong or receipt.status != "ignored"):
            frame = "" if receipt.error["frame"] is None else f"frame {receipt.error['frame']}: "
            named = receipt.source or receipt.output
            said = "; ".join((receipt.error["message"], *receipt.warnings))
            line = printable(f"{counted}: {named}: {frame}{said}")
            self._say(line, counted, _STYLES.get(counted, ""))

    def show(self, twins: Collection[str] = ()) -> None:
        """Print what was done: a line for one instance, a table for more; then of instances with the same UID."""
        if self._counts.total() == 1 and self._last is not None and self._last.status in SUCCESSES:
            for line in _lines(self._last) if self.well else ():
                say(printable(line))
        elif self._counts.total() > 1:
            from cinemill.cli.show import console

            console.print(self._table())
            for line in advice_for(self._counts[LOSSY]):
                say(line)
            for why, count in sorted(self._without_target.items()):
                say(printable(f"no target of the policy can hold {count} of these instances: {why}"))
            if self._sharing:
                say(
                    f"in {self._sharing} of these instances, the patient's ID is a placeholder: {SHARED_PSEUDONYM}"
                )
            if self._missing:
                say(self._told_missing())
        for line in twins:
            say(line)

    def _told_missing(self) -> str:
        kinds = ", ".join(f"{count} {status}" for status, count in sorted(self._missing.items()))
        advice = "" if self._not_copied else "; --copy-rest copies them unchanged"
        return f"missing from the output tree: {self._missing.total()} ({kinds}){advice}"

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        seconds = time.perf_counter() - self._started
        table = Table(box=None, pad_edge=False)
        for name in ("status", "instances", "MB before", "MB after", "ratio"):
            table.add_column(name, justify="left" if name == "status" else "right")
        there = [status for status in _DONE if self._counts[status]]
        written = [status for status in there if self._after[status]]
        for status in (*written, None, *(status for status in there if not self._after[status])):
            if status is not None:
                row = self._counts[status], self._before[status], self._after[status]
                table.add_row(Text(status, _STYLES.get(status, "")), *cells(*row))
            elif len(written) > 1:
                sums = (sum(of[each] for each in written) for of in (self._counts, self._before, self._after))
                table.add_row("all of these", *cells(*sums))
        megabytes = self._pixels / _MEGABYTE
        table.caption = f"{seconds:.1f} s"
        if megabytes:
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


def worked_on(receipt: Receipt) -> int:
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
