"""``cinemill submit``: have workers do what a command does at once, with the options of that command."""

# ruff: noqa: FBT002  options are booleans, given by name

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cinemill.cli.options import accepting, completing, destination_argument, given, made
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


class Priority(StrEnum):
    """Whose turn it is."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


Standing = Annotated[
    bool,
    typer.Option(
        "--standing",
        help="Watch the directories, and never end: see `jobs finish`. A file is taken up once it does not grow.",
    ),
]


Deidentifying = Annotated[
    bool, typer.Option("--deidentify", help="De-identify, by --key; with --to, code pixels anew as well.")
]
ExtractTo = Annotated[
    str,
    typer.Option(
        "--extract",
        metavar="FORMAT",
        help=f"Extract: {FORMATS}.",
        autocompletion=completing(extraction.NAMES),
    ),
]
Hours = Annotated[str, typer.Option(metavar="HH:MM-HH:MM", help="Work only in this part of the day.")]
MaxRate = Annotated[
    float,
    typer.Option(metavar="MB/s", min=0.0, help="Source megabytes a second over all workers; 0: no limit."),
]


def _submit(
    sources: Annotated[list[Path], typer.Argument(metavar="SRC...", help="Files and directories.")],
    destination: Path,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="TARGET",
            help=f"Transcode: {TARGETS}; several, with commas; smallest; fastest. Without it: by --policy, or archive.",
            autocompletion=completing((*transcode.NAMES, "smallest", "fastest")),
        ),
    ] = "",
    extract: ExtractTo = "",
    split: Annotated[
        bool, typer.Option("--split", help="Split, by --frames-per-instance or --max-bytes.")
    ] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="Restore JPEGs that were recompressed as jpeg-xl-jpeg.")
    ] = False,
    deidentify: Deidentifying = False,
    *,
    name: Annotated[str, typer.Option(help="A name to recognise the job by; not a patient's.")] = "",
    priority: Annotated[Priority, typer.Option(help="Jobs of a higher priority go first.")] = Priority.NORMAL,
    hours: Hours = "",
    max_rate: MaxRate = 0.0,
    standing: Standing = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the work, and store nothing.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until the job is over; exit code 1 if an item failed.")
    ] = False,
    as_json: terminal.AsJson = False,
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
        priority=priority.value,
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


_submit.__annotations__["destination"] = destination_argument("A directory (or a file, for one SRC file).")
submit = accepting(*CHOICES.values(), without=("to", "format"))(_submit)


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
