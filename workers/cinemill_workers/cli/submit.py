"""``cinemill submit``: have workers do what a command does at once, with the options of that command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cinemill.cli.exchange import studies_options
from cinemill.cli.options import (
    Number,
    accepting,
    completing,
    destination_argument,
    examples,
    given,
    made,
    sources_argument,
    typed_as_directory,
)
from cinemill.errors import UsageError
from cinemill.operations.deidentify.request import Deidentify
from cinemill.operations.exchange.request import EXCHANGES, Migrate, Pull, Push
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
    "--pull": Pull,
    "--push": Push,
    "--migrate": Migrate,
}
"""The operation that each of these options asks for."""


@click.command(
    epilog=examples(
        "cinemill submit /archive /migrated --name spring --wait",
        "cinemill submit /archive /arrays --extract npy --every 100ms",
        "cinemill submit --standing /inbox /archive --to jpeg-ls",
        "cinemill submit 2019/ --pull pacs --query StudyDate=20190101-20191231",
    )
)
@sources_argument("Files and directories; none with --pull and --migrate.", required=False)
@destination_argument(
    "A directory (or a file, for one SRC file); with --push for the receipts only, with --migrate the spool."
)
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
@click.option("--pull", metavar="NODE", default="", help="Fetch studies from this node: see `cinemill pull`.")
@click.option("--push", metavar="NODE", default="", help="Send files to this node: see `cinemill push`.")
@click.option(
    "--migrate",
    metavar="NODE",
    default="",
    help="Transcode studies of this node, there or --to-node: see `cinemill migrate`.",
)
@studies_options
@accepting(*CHOICES.values(), without=("to", "format", "node"))
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
    uids: tuple[str, ...],
    query: str | None,
    associations: int | None,
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
    from cinemill.storage.atomic import make_folder
    from cinemill_workers.cli.studies import listed, studies_of, with_nodes
    from cinemill_workers.engine import client
    from cinemill_workers.engine.kinds import to_json
    from cinemill_workers.ledger.model import JobSpec

    # the old name for the part of the day
    if options["window"] not in {"", "auto"} and "," not in options["window"]:
        hours, options["window"] = options["window"], ""
    choices = {name: options.pop(name.removeprefix("--")) for name in CHOICES}
    operation = _chosen(choices, options)
    if isinstance(operation, Pull | Push | Migrate):
        operation = with_nodes(operation, associations)
    elif associations is not None:
        raise UsageError("--associations goes with --pull, --push and --migrate")
    operation = operation.aimed_at(sources, destination).in_bulk()
    studies = studies_of(operation, sources, uids, query)
    if standing and operation.kind in EXCHANGES:
        raise UsageError(
            "only jobs that leave an output for each file stand; `cinemill receive --forward NODE` sends on"
        )
    if studies is not None and dry_run:
        found = [study.instances for study in studies]
        told = {"studies": len(found), "instances": sum(filter(None, found))}
        terminal.say(
            told, f"{len(found)} studies, {told['instances']} instances as the node counts them", as_json
        )
        return
    if studies is not None:
        sources = (listed(destination, studies),)
    spec = JobSpec(
        sources=tuple(str(source.absolute()) for source in sources),
        destination=str(destination.absolute()),
        work=to_json(operation),
        name=name,
        priority=priority,
        window=hours,
        max_rate=max_rate * 1e6,
        standing=standing,
        at_once=operation.at_once if isinstance(operation, Pull | Push | Migrate) else 0,
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
    if typed_as_directory() and len(sources) == 1 and sources[0].is_file():
        make_folder(destination)
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
    if len(chosen) == 2 and chosen[0] == "--to" and CHOICES[chosen[1]] in {Deidentify, Migrate}:
        del chosen[0]
    if len(chosen) != 1:
        raise UsageError(
            "expected either --to TARGET or --extract FORMAT, or else --split, --restore, --deidentify, --pull, --push or "
            "--migrate"
        )
    (choice,) = chosen
    operation = CHOICES[choice]
    own = given(operation, options)
    for other, kind in CHOICES.items():
        for name in given(kind, options):
            if name not in own:
                raise UsageError(f"options such as {name} go with {other}, not with {choice}")
    return made(
        operation,
        {
            **options,
            "to": choices["--to"],
            "format": choices["--extract"],
            "node": choices.get(choice, ""),
        },
    )
