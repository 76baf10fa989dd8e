"""What the commands of the service print: JSON or sentences, tables, and a job followed to its end."""

# ruff: noqa: FBT001  whether JSON is wanted

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from cinemill.errors import printable

if TYPE_CHECKING:
    from cinemill_workers.ledger.ledger import Ledger
    from cinemill_workers.ledger.model import Job

FAILURES = 5
"""Most failures that are shown with a job."""

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def say(record: dict[str, Any], sentence: str, as_json: bool) -> None:
    """Print one line."""
    click.echo(json.dumps(record) if as_json else printable(sentence))


def print_json(value: object) -> None:
    """Print a JSON document."""
    click.echo(json.dumps(value, indent=2))


def print_rich(value: object) -> None:
    """Print what rich can render."""
    from rich.console import Console

    Console().print(value, soft_wrap=True)


def show(ledger: Ledger, job: Job, as_json: bool) -> None:
    """Print a job, with its first failures."""
    if as_json:
        print_json(job.to_dict())
    else:
        from cinemill_workers.cli.watch import details
        from cinemill_workers.engine import journal

        print_rich(details(job, journal.some_failures(ledger, job, FAILURES)))


def follow(ledger: Ledger, job: str, as_json: bool) -> None:
    """Wait until a job is over, showing its progress unless JSON is wanted; exit code 1 if not all went well."""
    from cinemill_workers.cli.watch import live
    from cinemill_workers.engine.client import wait

    try:
        if as_json:
            found = wait(ledger, job)
        else:
            with live(ledger) as render:
                found = wait(ledger, job, show=lambda state: render([state]))
    except KeyboardInterrupt:
        click.echo(f"{job} goes on; see `cinemill jobs watch {job}`", err=True)
        raise Exit(130) from None
    show(ledger, found, as_json)
    if found.state == "cancelled" or found.counts["failed"] + found.counts["quarantined"]:
        raise Exit(1)
