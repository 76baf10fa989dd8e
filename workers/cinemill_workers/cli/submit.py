"""``cinemill submit``: have workers do what a command does at once, with the options of that command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cinemill.cli.options import (
    Number,
    accepting,
    completing,
    destination_argument,
    given,
    made,
    sources_argument,
)
from cinemill.errors import UsageError
from cinemill.operations.deidentify.request import Deidentify
from cinemill.operations.extract import request as extraction
from cinemill.operations.extract.request import FORMATS, Extract
from cinemill.operations.restore.request import Restore
from cinemill.operations.split.request import Split
from cinemill.operations.transcode import request as transcode
from cinemill.operations.transcode.request import TARGETS, Transcode
from cinemill_workers.cli import terminal

if TYPE_CHECKING:
    from cinemill.operations.operation import Operation
    from cinemill_workers.ledger.model import JobSpec

CHOICES: Mapping[str, type[Operation]] = {
    "--to": Transcode,
    "--extract": Extract,
    "--split": Split,
    "--restore": Restore,
    "--deidentify": Deidentify,
}
"""The operation that each of these options asks for."""


@click.command()
@sources_argument("Files and directories.")
@destination_argument("A directory (or a file, for one SRC file).")
@click.option(
    "--to",
    metavar="TARGET",
    default="",
    help=f"Transcode: {TARGETS}; several, with commas; smallest; fastest. Without it: by --policy, or archive.",
    shell_complete=completing((*transcode.NAMES, "smallest", "fastest")),
)
@click.option(
    "--extract",
    metavar="FORMAT",
    default="",
    help=f"Extract: {FORMATS}.",
    shell_complete=completing(extraction.NAMES),
)
@click.option("--split", is_flag=True, help="Split, by --frames-per-instance or --max-bytes.")
@click.option("--restore", is_flag=True, help="Restore JPEGs that were recompressed as jpeg-xl-jpeg.")
@click.option(
    "--deidentify", is_flag=True, help="De-identify, by --key; with --to, code pixels anew as well."
)
@accepting(*CHOICES.values(), without=("to", "format"))
@click.option("--name", metavar="TEXT", default="", help="A name to recognise the job by; not a patient's.")
@click.option(
    "--priority",
    type=click.Choice(("low", "normal", "high")),
    default="normal",
    show_default=True,
    help="Jobs of a higher priority go first.",
)
@click.option("--hours", metavar="HH:MM-HH:MM", default="", help="Work only in this part of the day.")
@click.option(
    "--max-rate",
    metavar="MB/s",
    type=Number(min=0),
    default=0.0,
    show_default=True,
    help="Source megabytes a second over all workers; 0: no limit.",
)
@click.option(
    "--standing",
    is_flag=True,
    help="Watch the directories, and never end: see `jobs finish`. A file is taken up once it does not grow.",
)
@click.option("--dry-run", is_flag=True, help="Count the work, and store nothing.")
@click.option("--wait", is_flag=True, help="Stay until the job is over; exit code 1 if an item failed.")
@terminal.as_json_option
def submit(
    sources: tuple[Path, ...],
    destination: Path,
    *,
    to: str,
    extract: str,
    split: bool,
    restore: bool,
    deidentify: bool,
    name: str,
    priority: str,
    hours: str,
    max_rate: float,
    standing: bool,
    dry_run: bool,
    wait: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Have workers do what a command does at once, to many files."""
    from cinemill_workers.engine import client
    from cinemill_workers.engine.kinds import to_json
    from cinemill_workers.ledger.model import JobSpec

    if (
        options["window"] not in {"", "auto"} and "," not in options["window"]
    ):  # its old name for the part of the day
        hours, options["window"] = options["window"], ""
    choices: dict[str, str | bool] = {
        "--to": to,
        "--extract": extract,
        "--split": split,
        "--restore": restore,
        "--deidentify": deidentify,
    }
    operation = _chosen(choices, options)
    operation = operation.aimed_at(sources, destination).in_bulk()
    spec = JobSpec(
        sources=tuple(str(source.absolute()) for source in sources),
        destination=str(destination.absolute()),
        work=to_json(operation),
        name=name,
        priority=priority,
        window=hours,
        max_rate=max_rate * 1e6,
        standing=standing,
    )
    if standing and wait:
        raise UsageError("a standing job has no end to wait for: leave out --wait, `jobs watch` follows it")
    client.check(spec)
    if dry_run:
        items, total = client.census(spec)
        terminal.say(
            {"items": items, "bytes": total, **_by_rule(operation, spec)},
            f"{items} instances, {total / 1e6:.1f} MB",
            as_json,
        )
        return
    ledger = client.open_ledger()
    job = client.store(spec)
    if wait:
        terminal.follow(ledger, job, as_json)
        return
    hint = "" if ledger.workers() else "; no worker has been seen yet"
    terminal.say({"id": job}, f"submitted {job}; see `cinemill jobs watch {job}`{hint}", as_json)


def _by_rule(operation: Operation, spec: JobSpec) -> dict[str, Any]:
    """Return how many instances each rule takes, where rules decide."""
    from cinemill.operations.policy.census import census
    from cinemill_workers.engine.kinds import discover

    if type(operation) is not Transcode or operation.to:
        return {}
    rows = census((item.source for item in discover(spec)), operation.rules, operation.options)
    return {"policy": operation.rules.name, "rules": [row.to_dict() for row in rows]}


def _chosen(choices: Mapping[str, str | bool], options: dict[str, Any]) -> Operation:
    """Return the one operation that was asked for, checked; transcoding where none was named.

    Raises
    ------
    UsageError
        Several were, or an option belongs to another one.
    """
    chosen = [name for name, value in choices.items() if value] or ["--to"]
    if chosen == ["--to", "--deidentify"]:
        chosen = ["--deidentify"]
    if len(chosen) != 1:
        raise UsageError(
            "expected either --to TARGET or --extract FORMAT, or else --split, --restore or --deidentify"
        )
    (choice,) = chosen
    operation = CHOICES[choice]
    own = given(operation, options)
    for other, kind in CHOICES.items():
        for name in given(kind, options):
            if name not in own:
                raise UsageError(f"options such as {name} go with {other}, not with {choice}")
    return made(operation, {**options, "to": choices["--to"], "format": choices["--extract"]})
