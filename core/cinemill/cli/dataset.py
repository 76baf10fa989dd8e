"""``cinemill dataset``: clips for training."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from cinemill.cli.forecast import phases
from cinemill.cli.options import accepting, destination_argument, examples, made, sources_argument
from cinemill.cli.run import interruption, jobs_option, quiet_option
from cinemill.operations.dataset.request import MakeClips
from cinemill.processors import processors

if TYPE_CHECKING:
    from cinemill.operations.dataset.making import Outcome


@click.command(MakeClips.kind, help=MakeClips.about, epilog=examples(*MakeClips.examples))
@sources_argument("Files and directories.")
@destination_argument(MakeClips.destination)
@accepting(MakeClips)
@click.option("--json", "as_json", is_flag=True, help="Print what became of it as JSON.")
@jobs_option
@quiet_option
def dataset(
    sources: tuple[Path, ...],
    destination: Path,
    *,
    as_json: bool,
    jobs: int | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Make a data set."""
    from cinemill.batch import run_all
    from cinemill.errors import Cancelled
    from cinemill.operations.dataset.making import Making

    request = made(MakeClips, options)
    try:
        with interruption() as stopping, phases(hidden=quiet) as shown:
            making = Making(request, sources, destination, run_all, jobs or processors(), stopping, shown)
            outcome = making.make()
    except Cancelled:
        click.echo("stopped; the same command goes on from here", err=True)
        raise Exit(130) from None
    if as_json:
        click.echo(json.dumps(asdict(outcome)))
    if not quiet:
        _show(outcome, destination)
    raise Exit(1 if outcome.problems or not sum(outcome.clips.values()) else 0)


def _show(outcome: Outcome, destination: Path) -> None:
    """Print what became of it, on standard error."""
    from cinemill.errors import NotDicom, printable
    from cinemill.operations.pages import counted

    for problem in outcome.problems:
        click.echo(printable(problem), err=True)
    total = sum(outcome.clips.values())
    click.echo(
        printable(
            f"{outcome.status}: {destination}: {counted(total, 'clip')} of {counted(outcome.instances, 'file')}"
        ),
        err=True,
    )
    if len(outcome.clips) > 1:
        for split, clips in outcome.clips.items():
            click.echo(
                f"  {split}: {counted(clips, 'clip')}, {counted(outcome.patients[split], 'patient')}",
                err=True,
            )
    not_dicom = outcome.failed.get(NotDicom.__name__, 0)
    failed = {"not DICOM": not_dicom, "can't be read": sum(outcome.failed.values()) - not_dicom}
    for reason, count in {**outcome.skipped, **failed}.items():
        if count:
            click.echo(f"  {count:,} skipped: {reason}", err=True)
    if outcome.duplicates:
        click.echo(
            f"  {counted(outcome.duplicates, 'clip')} left out: of instances that are there already", err=True
        )
    if outcome.without_fan:
        click.echo(f"  {counted(outcome.without_fan, 'clip')} in which no fan was found", err=True)
    if not total and outcome.skipped.get("not de-identified"):
        click.echo("`cinemill deidentify` does that, --deidentified off takes what is not", err=True)
