"""What `cinemill push`, `pull` and `migrate` show: a bar, what went wrong, a table at the end, and a report."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

import click
from click.exceptions import Exit

from cinemill.cli.options import PATH, Whole
from cinemill.cli.progress import between_lines, say
from cinemill.errors import Cancelled, NodeError, UsageError, printable
from cinemill.storage.foreign import begins, check_ours

if TYPE_CHECKING:
    from cinemill.cli.options import Decorated
    from cinemill.network.nodes import Node
    from cinemill.network.outcomes import Outcome
    from cinemill.network.pace import Pace

_MEGABYTE = 1_000_000
_MOST_SAID = 20
_BEGINS = b'{"name": "', b'{"outcome": "', b'{"time": "'
"""How a line begins of `push` and `pull`, `migrate` and `receive`."""


class Shown:
    """Counts what became of instances, and shows it. Thread-safe, as far as its lines are whole.

    Parameters
    ----------
    pace
        Counts the bytes.
    report
        Takes a JSON line for each instance.
    as_json
        Print such a line on standard output as well.
    quiet
        Print errors only.
    """

    def __init__(
        self, pace: Pace, report: TextIO | None = None, *, as_json: bool = False, quiet: bool = False
    ) -> None:
        self._pace, self._report, self._as_json, self._quiet = pace, report, as_json, quiet
        self._counts: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._transcoded = self._said = 0
        self._started = time.perf_counter()
        self._stack = ExitStack()
        self._drawn = False
        self.well = True

    def __enter__(self) -> Self:
        self._drawn = not self._quiet and sys.stderr.isatty() and not between_lines(as_json=self._as_json)
        if self._drawn:
            self._stack.enter_context(_bar(self))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._drawn = False

    def say(self, line: str, lead: str = "", colour: str | None = None) -> None:
        """Print a line, above the bar where there is one: see `cinemill.cli.progress.say`."""
        if self._drawn:
            from cinemill.cli.show import Bar

            Bar.say(line, lead, colour)
        else:
            say(line, lead, colour)

    @contextmanager
    def until_stopped(self, said: str) -> Iterator[None]:
        """Show what is done in the context, and a table behind it; where it is stopped or the node fails, end the command."""
        try:
            with self:
                yield
        except Cancelled:
            self.well = False
            self.table()
            click.echo(f"stopped; {said}", err=True)
            raise Exit(130) from None
        except NodeError as error:
            self.well = False
            self.table()
            click.echo(f"cinemill: {error.message}", err=True)
            raise Exit(1) from None
        self.table()

    def add(self, outcome: Outcome) -> None:
        """Count one instance; say what is wrong with it."""
        self._counts[outcome.name] += 1
        self._bytes[outcome.name] += outcome.bytes
        self._transcoded += bool(outcome.before)
        self.write(outcome.to_dict())
        if not outcome.kind.well:
            what = outcome.source or outcome.sop_instance or f"study {outcome.study}"
            self.wrong(outcome.name, f"{what}: {outcome.detail or outcome.kind.meaning}")

    def wrong(self, name: str, text: str) -> None:
        """Say what went wrong, as long as that is not too much.

        Parameters
        ----------
        name
            Of the outcome.
        text
            What happened to what.
        """
        self.well = False
        self._said += 1
        if self._said <= _MOST_SAID:
            self.say(printable(f"{name}: {text}"), name, "red")
        elif self._said == _MOST_SAID + 1:
            self.say("more went wrong; --report FILE has all of it")

    def write(self, told: Mapping[str, object]) -> None:
        """Append a line to the report, and print it if that was asked for."""
        line = json.dumps(told)
        if self._report is not None:
            self._report.write(line + "\n")
        if self._as_json:
            click.echo(line)

    def add_good(self, outcome: Outcome) -> None:
        """Count an instance that went well; what did not may be mended by another attempt."""
        if outcome.kind.well and outcome.name != "kept":
            self.add(outcome)

    def keep(self, count: int) -> None:
        """Count instances that were there before."""
        if count:
            self._counts["kept"] += count

    @property
    def line(self) -> str:
        """What the bar says."""
        seconds = max(time.perf_counter() - self._started, 1e-3)
        rate = self._pace.bytes / seconds / _MEGABYTE
        done = f"{self._counts.total()} instances, {self._pace.bytes / _MEGABYTE:.0f} MB, {rate:.0f} MB/s"
        return f"{done}, {waits}" if (waits := self._pace.waits) else done

    def table(self) -> None:
        """Print how many instances came to what."""
        if self._quiet:
            return
        if not self._counts:
            if self.well:
                say("nothing was found to do")
            return
        from rich.table import Table
        from rich.text import Text

        from cinemill.cli.show import console
        from cinemill.network.outcomes import OUTCOMES

        table = Table(box=None, pad_edge=False)
        for name in ("outcome", "instances", "MB", ""):
            table.add_column(name, justify="right" if name in {"instances", "MB"} else "left")
        for kind in OUTCOMES.values():
            if count := self._counts[kind.name]:
                size = self._bytes[kind.name]
                style = "green" if kind.well else "red"
                meaning = "" if kind.name in {"stored", "fetched"} else kind.meaning
                table.add_row(
                    Text(kind.name, style),
                    str(count),
                    f"{size / _MEGABYTE:.1f}" if size else "",
                    Text(meaning),
                )
        seconds = max(time.perf_counter() - self._started, 1e-3)
        transcoded = f"; {self._transcoded} transcoded on the way" if self._transcoded else ""
        console.print(table, soft_wrap=True)
        moved = self._pace.bytes / _MEGABYTE
        say(f"{moved:.0f} MB in {seconds:.1f} s: {moved / seconds:.0f} MB/s{transcoded}")


@contextmanager
def _bar(shown: Shown) -> Iterator[None]:
    """Draw the bar until the context is left."""
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task
    from rich.text import Text

    from cinemill.cli.show import console

    class Said(ProgressColumn):
        def render(self, task: Task) -> Text:  # noqa: ARG002
            return Text(shown.line)

    with Progress(SpinnerColumn(), Said(), console=console, transient=True) as progress:
        progress.add_task("", total=None)
        yield


@contextmanager
def report_file(path: Path | None) -> Iterator[TextIO | None]:
    """Open a report for what is appended to it, None where there is to be none.

    Raises
    ------
    UsageError
        It can't be written.
    """
    if path is None:
        yield None
        return
    try:
        file = appending(path)
    except OSError as error:
        raise UsageError(f"the report can't be written: {error.strerror}", path=path) from None
    with file:
        yield file


def appending(path: Path) -> TextIO:
    """Open a file for lines that are written at once, behind those that are there, of which a kill may have cut the last.

    Raises
    ------
    UsageError
        What is there is something else.
    OSError
        It can't be written.
    """
    is_torn = False
    if path.is_file() and path.stat().st_size:
        check_ours(path, lambda there: begins(there, *_BEGINS), "report of instances")
        with path.open("rb") as there:
            there.seek(-1, os.SEEK_END)
            is_torn = there.read(1) != b"\n"
    file = path.open("a", encoding="utf-8", buffering=1)
    if is_torn:
        file.write("\n")
    return file


def limits_options(command: Decorated) -> Decorated:
    """Give a command the options that a node is spared by."""
    return _with(
        command,
        click.option(
            "--max-rate",
            metavar="MB/s",
            type=click.FloatRange(min=0, min_open=True),
            help="At most so fast; default: as the nodes file says, else as fast as it goes.",
        ),
        click.option(
            "--hours",
            metavar="HH:MM-HH:MM",
            help="Work in this part of the day only; default: as the nodes file says, else always.",
        ),
    )


def studies_options(command: Decorated) -> Decorated:
    """Give a command the options that say which studies, ``uids`` and ``query``, and how many at a time."""
    return _with(
        command,
        click.option(
            "--query",
            metavar="KEYWORD=VALUE,...",
            help="Studies that match, e.g. StudyDate=20150101-20201231,ModalitiesInStudy=US.",
        ),
        click.option(
            "--study", "uids", metavar="UID", multiple=True, help="A study; several are several options."
        ),
        click.option(
            "--associations",
            metavar="N",
            type=Whole(min=1, max=64),
            help="Studies at a time; default: as the nodes file says, else 1.",
        ),
    )


def telling_options(command: Decorated) -> Decorated:
    """Give a command the options that have it tell of each instance."""
    return _with(
        command,
        click.option("--report", metavar="FILE", type=PATH, help="Append a JSON line for each instance."),
        click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each instance."),
    )


def _with(command: Decorated, *options: Callable[[Decorated], Decorated]) -> Decorated:
    for option in reversed(options):
        command = option(command)
    return command


def limited(node: Node, max_rate: float | None, hours: str | None, associations: int | None = None) -> Node:
    """Return a node whose limits are those that were typed, where they were.

    Parameters
    ----------
    node
        As its entry has it.
    max_rate, hours, associations
        As they were typed.
    """
    from dataclasses import replace

    from cinemill.network.pace import Window

    limits = node.limits
    if max_rate is not None:
        limits = replace(limits, rate=max_rate)
    if hours:
        limits = replace(limits, window=Window.parse(hours))
    if associations is not None:
        limits = replace(limits, associations=associations)
    return replace(node, limits=limits)
