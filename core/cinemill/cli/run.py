"""Runs an operation over files and trees, for the command of each: progress, a table at the end, a report, and Ctrl-C."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from cinemill.cli.options import (
    PATH,
    Whole,
    accepting,
    destination_argument,
    examples,
    made,
    sources_argument,
    typed_as_directory,
)
from cinemill.operations.operation import Control, Operation

if TYPE_CHECKING:
    from cinemill.cli.progress import LateBar
    from cinemill.operations.receipt import Receipt
    from cinemill.storage.tree import Item

jobs_option = click.option("-j", "--jobs", metavar="N", type=Whole(min=1), help="Cores to use; default: all.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")


@contextmanager
def files(sources: Sequence[Path]) -> Iterator[tuple[list[Path], dict[Path, Path]]]:
    """Return sources as given, but for ``-`` a temporary file with what comes from standard input; and what that is called.

    Frames and tables are reached by their offsets, so a pipe is written down, piece by piece, before it is read.
    """
    typed = Path("-")
    if typed not in sources:
        yield list(sources), {}
        return
    from cinemill.errors import CinemillError, UsageError
    from cinemill.storage.spool import spooled

    if sys.stdin.isatty():
        raise UsageError("- reads standard input, which is a terminal here; pipe a file into it")
    with spooled(sys.stdin.buffer, "stdin") as spool:
        try:
            yield [spool if source == typed else source for source in sources], {spool: typed}
        except CinemillError as error:
            error.path = typed if error.path == spool else error.path
            raise


def command(operation: type[Operation]) -> click.Command:
    """Return the command that does an operation to files and trees."""

    @click.command(operation.kind, help=operation.about, epilog=examples(*operation.examples))
    @sources_argument("Files and directories; - for standard input.")
    @destination_argument(operation.destination)
    @accepting(operation)
    @jobs_option
    @click.option(
        "--report", metavar="FILE", type=PATH, help="Write a JSON line (or .csv row) for each instance."
    )
    @click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each instance.")
    @quiet_option
    def carry_out(
        sources: tuple[Path, ...],
        destination: Path,
        *,
        jobs: int | None,
        report: Path | None,
        as_json: bool,
        quiet: bool,
        **options: Any,
    ) -> None:
        asked = made(operation, options)
        with files(sources) as (found, called):
            run(asked, found, destination, called, jobs=jobs, report=report, as_json=as_json, quiet=quiet)

    return carry_out


def run(
    operation: Operation,
    sources: list[Path],
    destination: Path,
    called: Mapping[Path, Path],
    *,
    jobs: int | None,
    report: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Do an operation to all instances and end the command: exit code 0 if all went well, 1 if something failed.

    Parameters
    ----------
    operation
        What is done.
    sources, destination
        Files and directories, and where outputs go.
    called
        What sources are called that stand in a file of another name.
    jobs, report, as_json, quiet
        As typed.
    """
    from cinemill.batch import is_no_room
    from cinemill.cli.progress import LateBar, between_lines
    from cinemill.cli.tally import Tally
    from cinemill.operations.twins import Twins
    from cinemill.storage.atomic import make_folder
    from cinemill.storage.tree import measured

    operation = operation.aimed_at(sources, destination)
    if len(sources) > 1 or sources[0].is_dir():
        operation = operation.in_bulk()
    if report is not None or as_json:
        operation = operation.reported()
    items, full = operation.discover(sources, destination), False
    alone = len(sources) == 1 and not sources[0].is_dir()
    named = [called.get(source, source) for source in sources if source.is_file()]
    with (
        _report(report, [*sources, destination] if operation.only_reads else sources) as add,
        interruption() as stopping,
        nullcontext() if alone else Twins() as twins,
        LateBar(
            lambda: measured(operation.discover(sources, destination)),
            hidden=quiet or between_lines(as_json=as_json),
        ) as shown,
    ):
        if alone and typed_as_directory() and not operation.only_reads:
            make_folder(destination)
        tally = Tally(named, mirrored=operation.mirrors, say=shown.say)
        for each in _receipts(operation, items, sources, jobs, stopping, None if quiet else shown):
            receipt = _of(each, _typed(each.source, called))
            receipt = receipt if twins is None else twins.noted(receipt)
            full |= is_no_room(receipt)
            tally.add(receipt)
            told = operation.published(_of(receipt, each.source))
            told = _of(told, _typed(told.source, called))
            add(told)
            if as_json:
                click.echo(json.dumps(told.to_dict()))
    if not quiet:
        tally.show([] if twins is None else twins.found)
    if not (quiet or tally.counted or stopping()):
        click.echo(f"there is no file below {', '.join(map(str, sources))}; nothing was done", err=True)
    if stopping():
        again = "begins anew" if operation.only_reads else "goes on from here"
        click.echo(f"stopped; the same command {again}", err=True)
        raise Exit(130)
    if full and (left := sum(1 for _ in items)):
        click.echo(
            f"stopped, for there is no room for more outputs; {left} more files were not tried; "
            "free some space, and the same command goes on from here",
            err=True,
        )
    raise Exit(0 if tally.well else 1)


def _typed(source: str, called: Mapping[Path, Path]) -> str:
    return str(called.get(Path(source), source)) if called else source


def _of(receipt: Receipt, source: str) -> Receipt:
    return receipt if receipt.source == source else replace(receipt, source=source)


def _receipts(
    operation: Operation,
    items: Iterator[Item],
    sources: list[Path],
    jobs: int | None,
    stopping: Callable[[], bool],
    shown: LateBar | None,
) -> Iterator[Receipt]:
    """Work on one file in this process, on more over several, telling the bar."""
    from cinemill.batch import attempt, run_all

    progress, compiling = (None, None) if shown is None else (shown.frames, shown.compiling)
    if len(sources) == 1 and not sources[0].is_dir():
        from cinemill.errors import Cancelled
        from cinemill.processes import share_heap
        from cinemill.warmup import announcing

        (item,) = items
        told = None if progress is None else partial(progress, item)
        share_heap()
        with suppress(Cancelled), announcing(compiling):
            yield attempt(item, operation, Control(jobs, stopping, told))
        return
    for receipt in run_all(
        items, operation, jobs=jobs, stop=stopping, progress=progress, compiling=compiling
    ):
        if shown is not None:
            shown.advance(receipt)
        yield receipt


@contextmanager
def _report(path: Path | None, sources: list[Path]) -> Iterator[Callable[[Receipt], None]]:
    if path is None:
        yield lambda receipt: None  # noqa: ARG005
        return
    from cinemill.errors import UsageError
    from cinemill.operations.report import Report

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
