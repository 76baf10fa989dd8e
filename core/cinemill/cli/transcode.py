"""``cinemill transcode``: files and trees, with progress, a table at the end, and a report."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cinemill import syntaxes

if TYPE_CHECKING:
    from cinemill.batch import Item, Options
    from cinemill.receipt import Receipt

TARGETS = ", ".join(str(target.name) for target in syntaxes.TARGETS)


class Colour(StrEnum):
    """What happens to colour spaces."""

    AUTO = "auto"
    KEEP = "keep"
    RGB = "rgb"


class Verify(StrEnum):
    """How much of the output is decoded and compared before it gets its name."""

    FULL = "full"
    INDEPENDENT = "independent"
    SAMPLE = "sample"
    NONE = "none"


To = Annotated[str, typer.Option("--to", metavar="TARGET", help=f"{TARGETS}; or a UID or keyword.")]
ColourOption = Annotated[
    Colour,
    typer.Option("--colour", help="auto: RGB where the IOD asks for it; keep: as coded; rgb: always RGB."),
]
VerifyOption = Annotated[
    Verify,
    typer.Option(
        "--verify",
        help="full: decode every written frame; independent: by another implementation; sample: every 16th frame.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are there.")]
Repair = Annotated[bool, typer.Option("--repair", help="Correct Number of Frames from what is there.")]


def transcode(
    sources: Annotated[list[Path], typer.Argument(metavar="SRC...", help="Files and directories.")],
    destination: Annotated[
        Path, typer.Argument(metavar="DST", help="A file (for one SRC file), or a directory.")
    ],
    to: To,
    colour: ColourOption = Colour.AUTO,
    verify: VerifyOption = Verify.FULL,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Cores to use; default: all.")
    ] = None,
    overwrite: Overwrite = False,
    repair: Repair = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write a JSON line (or .csv row) for each instance.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line for each instance.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Transcode DICOM files losslessly, verify every frame, and never touch the source.

    A directory is mirrored below DST over all cores. Finished outputs are recognised, so the same command goes on
    where it was stopped.
    """
    from cinemill.batch import Options, discover
    from cinemill.cli.show import Tally

    options = Options(syntaxes.target(to).uid, colour.value, verify.value, overwrite, repair)
    items = discover(sources, destination)
    tally = Tally([source for source in sources if source.is_file()])
    with _report(report) as add, _interruption() as stopping:
        for receipt in _run(items, sources, destination, options, jobs, stopping, quiet=quiet):
            tally.add(receipt)
            add(receipt)
            if as_json:
                typer.echo(json.dumps(receipt.to_dict()))
    if not quiet:
        tally.show()
    if stopping.is_set():
        typer.echo("stopped; the same command goes on from here", err=True)
        raise typer.Exit(130)
    raise typer.Exit(0 if tally.well else 1)


def _run(
    items: Iterator[Item],
    sources: list[Path],
    destination: Path,
    options: Options,
    jobs: int | None,
    stopping: threading.Event,
    *,
    quiet: bool,
) -> Iterator[Receipt]:
    """Transcode one file in this process, more over several, behind a progress bar."""
    from cinemill.batch import attempt, discover, transcode_all
    from cinemill.cli.show import bar
    from cinemill.errors import Cancelled

    if quiet:
        yield from transcode_all(items, options, jobs=jobs, stop=stopping.is_set)
        return
    with bar(lambda: _measure(discover(sources, destination))) as shown:
        if len(sources) == 1 and sources[0].is_file():
            (item,) = items
            with suppress(Cancelled):
                yield attempt(
                    item,
                    options,
                    threads=jobs,
                    cancelled=stopping.is_set,
                    progress=lambda done, frames: shown.frames(item, done, frames),
                )
            return
        for receipt in transcode_all(items, options, jobs=jobs, stop=stopping.is_set, progress=shown.frames):
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
def _report(path: Path | None) -> Iterator[Callable[[Receipt], None]]:
    from cinemill.errors import UsageError
    from cinemill.receipt import Report

    if path is None:
        yield lambda receipt: None  # noqa: ARG005
        return
    try:
        report = Report(path)
    except OSError as error:
        raise UsageError(f"the report can't be written: {error.strerror}", path=path) from None
    with report:
        yield report.add


@contextmanager
def _interruption() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C (or SIGTERM) into a request to stop between two frames."""
    stopping = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stopping.set()) for number in signals]
    try:
        yield stopping
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
