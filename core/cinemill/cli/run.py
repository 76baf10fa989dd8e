"""Runs an operation over files and trees, for the command of each: progress, a table at the end, a report, and Ctrl-C."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cinemill.cli.options import accepting, destination_argument, made
from cinemill.operations.operation import Control, Operation

if TYPE_CHECKING:
    from cinemill.operations.receipt import Receipt
    from cinemill.storage.tree import Item


Sources = Annotated[
    list[Path], typer.Argument(metavar="SRC...", help="Files and directories; - for standard input.")
]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Cores to use; default: all.")]
ReportFile = Annotated[
    Path | None, typer.Option("--report", help="Write a JSON line (or .csv row) for each instance.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON line for each instance.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]


@contextmanager
def files(sources: list[Path]) -> Iterator[list[Path]]:
    """Return sources as given, but for ``-`` a temporary file with what comes from standard input.

    Frames and tables are reached by their offsets, so a pipe is written down, piece by piece, before it is read.
    """
    from cinemill.errors import UsageError
    from cinemill.storage.spool import spooled

    if Path("-") not in sources:
        yield sources
        return
    if sys.stdin.isatty():
        raise UsageError("- reads standard input, which is a terminal here; pipe a file into it")
    with spooled(sys.stdin.buffer, "stdin") as spool:
        yield [spool if source == Path("-") else source for source in sources]


def command(operation: type[Operation]) -> Callable[..., None]:
    """Return the command that does an operation to files and trees."""

    def carry_out(
        sources: Sources,
        destination: Path,
        *,
        jobs: Jobs = None,
        report: ReportFile = None,
        as_json: AsJson = False,
        quiet: Quiet = False,
        **options: Any,
    ) -> None:
        asked = made(operation, options)
        with files(sources) as found:
            run(asked, found, destination, jobs=jobs, report=report, as_json=as_json, quiet=quiet)

    carry_out.__doc__ = operation.about
    carry_out.__annotations__["destination"] = destination_argument(operation.destination)
    return accepting(operation)(carry_out)


def run(
    operation: Operation,
    sources: list[Path],
    destination: Path,
    *,
    jobs: int | None,
    report: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Do an operation to all instances and end the command: exit code 0 if all went well, 1 if something failed."""
    from cinemill.batch import is_no_room
    from cinemill.cli.show import Tally
    from cinemill.operations.twins import Twins

    tally = Tally([source for source in sources if source.is_file()], mirrored=operation.mirrors)
    full = False
    operation = operation.aimed_at(sources, destination)
    if len(sources) > 1 or sources[0].is_dir():
        operation = operation.in_bulk()
    items = operation.discover(sources, destination)
    with (
        _report(report, [*sources, destination] if operation.only_reads else sources) as add,
        interruption() as stopping,
        Twins() as twins,
    ):
        for each in _receipts(operation, items, sources, destination, jobs, stopping, quiet=quiet):
            receipt = twins.noted(each)
            full |= is_no_room(receipt)
            tally.add(receipt)
            told = operation.published(receipt)
            add(told)
            if as_json:
                typer.echo(json.dumps(told.to_dict()))
    if not quiet:
        tally.show(twins.found)
    if stopping():
        again = "begins anew" if operation.only_reads else "goes on from here"
        typer.echo(f"stopped; the same command {again}", err=True)
        raise typer.Exit(130)
    if full and (left := sum(1 for _ in items)):
        typer.echo(
            f"stopped, for there is no room for more outputs; {left} more files were not tried; "
            "free some space, and the same command goes on from here",
            err=True,
        )
    raise typer.Exit(0 if tally.well else 1)


def _receipts(
    operation: Operation,
    items: Iterator[Item],
    sources: list[Path],
    destination: Path,
    jobs: int | None,
    stopping: Callable[[], bool],
    *,
    quiet: bool,
) -> Iterator[Receipt]:
    """Work on one file in this process, on more over several, behind a progress bar."""
    from cinemill.batch import attempt, run_all
    from cinemill.cli.show import bar
    from cinemill.errors import Cancelled
    from cinemill.warmup import announcing

    with bar(lambda: _measure(operation.discover(sources, destination)), hidden=quiet) as shown:
        compiling = None if quiet else shown.compiling
        if len(sources) == 1 and not sources[0].is_dir():
            (item,) = items
            with suppress(Cancelled), announcing(compiling):
                yield attempt(
                    item,
                    operation,
                    Control(jobs, stopping, lambda done, frames: shown.frames(item, done, frames)),
                )
            return
        progress = None if quiet else shown.frames
        for receipt in run_all(
            items, operation, jobs=jobs, stop=stopping, progress=progress, compiling=compiling
        ):
            shown.advance(receipt)
            yield receipt


def _measure(items: Iterator[Item]) -> tuple[int, int]:
    """Count items and their bytes."""
    count = size = 0
    for item in items:
        count += 1
        with suppress(OSError):
            size += item.source.stat().st_size
    return count, size


@contextmanager
def _report(path: Path | None, sources: list[Path]) -> Iterator[Callable[[Receipt], None]]:
    from cinemill.errors import UsageError
    from cinemill.operations.report import Report

    if path is None:
        yield lambda receipt: None  # noqa: ARG005
        return
    if any(path.resolve().is_relative_to(source.resolve()) for source in sources):
        raise UsageError(
            "the report would be, or lie among, the sources or what is only read; choose another place",
            path=path,
        )
    with Report(path) as report:
        yield report.add


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and SIGTERM into a request to stop between two frames; the handler takes no lock."""
    asked: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: asked.append(number)) for number in signals]
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
