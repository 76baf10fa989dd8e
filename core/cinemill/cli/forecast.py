"""``cinemill forecast``: what a run of ``transcode`` would take and save, before it is run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from cinemill.cli.options import PATH, Number, Whole, accepting, examples, made, sources_argument
from cinemill.cli.run import interruption, jobs_option, quiet_option
from cinemill.operations.transcode.request import Transcode

if TYPE_CHECKING:
    from rich.table import Table

    from cinemill.operations.forecast.estimate import Row
    from cinemill.operations.forecast.forecast import Forecast

_NOT_HERE = ("overwrite", "recheck", "preserve", "copy_rest")
_ROWS = 25
"""Strata that the terminal shows; the JSON and the page have all."""

_WIDTH = 150
"""Characters of a line where that is not shown on a terminal."""

_NARROW = 110
"""Characters of a line that has no room for all columns."""


@click.command(
    epilog=examples(
        "cinemill forecast /archive/2019",
        "cinemill forecast /archive/2019 --workers 16 --price 250 --html 2019.html",
    )
)
@sources_argument("Files and directories.")
@accepting(Transcode, without=_NOT_HERE)
@click.option(
    "--sample",
    metavar="N",
    type=Whole(min=1),
    help="Instances that are tried at most; default: a tenth of the files, 32 to 500.",
)
@click.option(
    "--within",
    metavar="SECONDS",
    type=Number(min=1),
    help="Time for all of it; else what it takes.",
)
@click.option("--workers", metavar="N", type=Whole(min=1), help="Cores of workers, to tell their hours.")
@click.option("--price", metavar="EUR", type=Number(min=0), help="Euros that a terabyte costs a year.")
@click.option("--html", metavar="FILE", type=PATH, help="Write a page with charts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@jobs_option
@quiet_option
def forecast(
    sources: tuple[Path, ...],
    *,
    sample: int | None,
    within: float | None,
    workers: int | None,
    price: float | None,
    html: Path | None,
    as_json: bool,
    jobs: int | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Tell what transcode would take and save, before it is run.

    All headers are read; of each kind of instances some go through the real encoders, of long cines some frames. No
    source is touched, and nothing is written but what is asked for by --html. Ctrl-C tells what is known so far.
    """
    from cinemill.batch import run_all
    from cinemill.operations.forecast.conduct import Conductor, Question
    from cinemill.operations.pages import check_place, check_replaced, publish

    asked = made(Transcode, options).in_bulk()
    if html is not None:
        check_place(html, sources)
        check_replaced(html)
    more = {} if jobs is None else {"jobs": jobs}
    question = Question(sources, asked, sample, within, workers=workers, price=price, **more)
    with interruption() as stopping, phases(hidden=quiet) as shown:
        found = Conductor(question, run_all, stopping, shown).forecast()
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1))
    elif not quiet:
        _show(found)
    if html is not None:
        from cinemill.operations.forecast.page import page

        publish(html, [page(found)])
    if stopping():
        click.echo("stopped; this is what was known by then", err=True)
        raise Exit(130)


@contextmanager
def phases(*, hidden: bool) -> Iterator[Callable[[str, int, int | None], None]]:
    """Show what is done, and how far it is, on standard error where that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from cinemill.cli.show import console

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=hidden or not console.is_terminal
    ) as progress:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, of: int | None) -> None:
            if what not in tasks:
                for task in tasks.values():
                    progress.update(task, visible=False)
                tasks[what] = progress.add_task(what, total=of)
            progress.update(tasks[what], completed=done, total=of)

        yield show


def _show(found: Forecast) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    for line in _told_survey(found):
        console.print(Text(line), soft_wrap=True)
    console.print()
    if not found.found.rows:
        for line in found.advice:
            console.print(Text(line), soft_wrap=True)
        return
    console.print(_strata(found, console.width), soft_wrap=True)
    for part in _errors(found):
        console.print(Text(part), soft_wrap=True)
    console.print()
    console.print(_plans(found), soft_wrap=True)
    if found.found.total.errors:
        console.print("what is refused counts here with its bytes now")
    console.print()
    for line in found.advice:
        console.print(Text(line), soft_wrap=True)


def _told_survey(found: Forecast) -> Iterator[str]:
    from cinemill.operations.pages import counted, in_bytes

    survey, sampled = found.survey, found.sampled
    rate = survey.headers / survey.seconds if survey.seconds else 0
    which = "all" if survey.headers >= survey.files else "chosen at random"
    yield (
        f"{counted(survey.files, 'file')}, {in_bytes(survey.bytes)}; "
        f"{counted(survey.headers, 'header')} read ({which}), {rate:,.0f} a second"
    )
    if not survey.complete:
        yield "not all files were looked at in that time: what follows holds for those that were"
    for kind, number in sorted(survey.unread.items()):
        yield f"{kind}: {counted(number, 'file')}, {in_bytes(survey.unread_bytes[kind])}"
    yield (
        f"{counted(sampled.instances, 'instance')} and {counted(sampled.frames, 'frame')} went through the encoders, "
        f"in {sampled.seconds:.1f} s in all"
    )


def _strata(found: Forecast, width: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    from cinemill.errors import printable
    from cinemill.operations.forecast.estimate import Row

    table = Table(box=None, pad_edge=False, title=Text(found.asked.plan.name), title_justify="left")
    table.add_column("kind of instance", overflow="fold")
    table.add_column("becomes", overflow="fold")
    names = ("instances", "MB now", "MB after", "±", "ratio", "hours", "tried")[
        : 5 if width < _NARROW else None
    ]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)

    def add(kind: str, done: str, row: Row) -> None:
        table.add_row(Text(kind), done, *_numbers(row)[: len(names)])

    rows = found.found.rows
    for row in rows[:_ROWS]:
        done = ", ".join(sorted(name for name, part in row.done.items() if part.instances))
        add(printable(_kind(row)), done or "not tried", row)
    if len(rows) > _ROWS:
        rest = Row(None)
        for row in rows[_ROWS:]:
            rest.join(row)
        add(f"{len(rows) - _ROWS:,} more kinds", "", rest)
    add("all", "", found.found.total)
    return table


def _kind(row: Row) -> str:
    from cinemill.operations.forecast.forecast import class_name, syntax_name

    key = row.key
    assert key is not None
    maker = " ".join(filter(None, dict.fromkeys((key.manufacturer, key.model))))
    told = (syntax_name(key.syntax), key.geometry, maker, class_name(key.sop_class))
    return ", ".join(filter(None, dict.fromkeys(told)))


def _numbers(row: Row) -> tuple[str, ...]:
    low, high = row.interval
    return (
        f"{row.instances:,.0f}",
        f"{row.bytes / 1e6:,.1f}",
        f"{row.after.value / 1e6:,.1f}",
        f"{(high - low) / 2e6:,.1f}",
        f"{row.ratio:.2f}" if row.after.value else "",
        f"{row.seconds.value / 3600:,.4f}",
        str(row.tried),
    )


def _errors(found: Forecast) -> Iterator[str]:
    from cinemill.errors import printable
    from cinemill.operations.pages import in_bytes

    total = found.found.total
    for reason, part in sorted(total.errors.items(), key=lambda each: -each[1].instances):
        yield printable(f"refused or failed: about {part.instances:,.0f}, {in_bytes(part.bytes)}: {reason}")
    grown = total.done["copied, would grow"]
    if grown.instances:
        yield f"would grow, so kept: about {grown.instances:,.0f}, {in_bytes(grown.bytes)}"


def _plans(found: Forecast) -> Table:
    from rich.table import Table

    from cinemill.operations.forecast.forecast import in_hours
    from cinemill.operations.pages import in_bytes

    table = Table(box=None, pad_edge=False)
    table.add_column("what could be done")
    table.add_column("options")
    names = ["after", "processor", f"on {found.cores} cores here"]
    names += [f"on {found.workers} cores"] if found.workers else []
    names += ["EUR a year"] if found.price is not None else []
    for name in names:
        table.add_column(name, justify="right")
    for each in sorted(found.compared, key=lambda each: each.after):
        cells = [in_bytes(each.after)]
        cells += [
            in_hours(each.seconds / cores) if each.found else ""
            for cores in filter(None, (1, found.cores, found.workers))
        ]
        cost = found.cost(each.after)
        cells += [] if cost is None else [f"{cost:,.2f}"]
        mark = " ← asked for" if each is found.asked else ""
        table.add_row(each.plan.name + mark, each.plan.typed, *cells)
    return table
