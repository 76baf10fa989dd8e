"""What the commands of the service print: JSON or sentences, tables, and a job followed to its end."""

# ruff: noqa: FBT001  whether JSON is wanted

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cinemill_workers.ledger import Ledger

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def say(record: dict[str, Any], sentence: str, as_json: bool) -> None:
    """Print one line."""
    typer.echo(json.dumps(record) if as_json else sentence)


def print_json(value: object) -> None:
    """Print a JSON document."""
    typer.echo(json.dumps(value, indent=2))


def print_rich(value: object) -> None:
    """Print what rich can render."""
    from rich.console import Console

    Console().print(value)


def follow(ledger: Ledger, job: str, as_json: bool) -> None:
    """Wait until a job is over, showing its progress unless JSON is wanted; exit code 1 if not all went well."""
    from cinemill_workers.client import wait
    from cinemill_workers.watch import live, summary

    if as_json:
        found = wait(ledger, job)
        print_json(found.to_dict())
    else:
        with live(ledger) as show:
            found = wait(ledger, job, show=lambda state: show([state]))
        print_rich(summary(found))
    if found.state == "cancelled" or found.counts["failed"] + found.counts["quarantined"]:
        raise typer.Exit(1)
