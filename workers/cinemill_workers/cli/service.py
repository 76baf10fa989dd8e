"""``cinemill worker``, ``up`` and ``doctor``: run the service, and examine it."""

# ruff: noqa: FBT001  options are booleans, given by name

from __future__ import annotations

import os

import click
from click.exceptions import Exit

from cinemill.cli.options import Whole, examples
from cinemill.errors import printable
from cinemill_workers.cli import terminal
from cinemill_workers.cli.terminal import as_json_option

_concurrency = click.option(
    "-j",
    "--jobs",
    "concurrency",
    metavar="N",
    type=Whole(min=1),
    help="Child processes; default: one for each core.",
)


@click.command(epilog=examples("cinemill worker --priorities high,normal"))
@_concurrency
@click.option(
    "--priorities",
    metavar="NAMES",
    envvar="CINEMILL_PRIORITIES",
    show_envvar=True,
    help="Priorities to serve, e.g. high,normal; default: all.",
)
@click.option(
    "--json", is_flag=True, expose_value=False, help="Nothing changes: the log is JSON lines in any case."
)
def worker(concurrency: int | None, priorities: str | None) -> None:
    """Run a worker until SIGTERM or Ctrl-C.

    Running items then get a short time, and are handed back.
    """
    if priorities:
        os.environ["CINEMILL_PRIORITIES"] = priorities
    from cinemill_workers.engine.worker import run as work

    work(concurrency)


@click.command(
    epilog=examples(
        "cinemill up                              # in a second terminal:",
        "cinemill submit /archive /migrated --wait",
    )
)
@_concurrency
@as_json_option
def up(concurrency: int | None, as_json: bool) -> None:
    """Run a private server and a worker on this machine.

    Progress is shown; Ctrl-C drains and stops both.
    """
    from cinemill_workers.cli.up import run as stay_up

    stay_up(concurrency, as_json=as_json)


@click.command()
@click.option("--worker", "worker_only", is_flag=True, help="Only check that this host's worker consumes.")
@as_json_option
def doctor(worker_only: bool, as_json: bool) -> None:
    """Examine this installation, and say how to mend faults."""
    from dataclasses import asdict

    from cinemill_workers.cli.doctor import consumption, examine
    from cinemill_workers.settings import settings

    findings = [consumption(settings())] if worker_only else list(examine(settings()))
    if as_json:
        terminal.print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            verdict = "ok   " if finding.well else "FAULT"
            click.echo(f"{verdict}  {printable(f'{finding.check}: {finding.found}')}")
            if finding.remedy:
                click.echo(f"       {printable(finding.remedy)}")
    if not all(finding.well for finding in findings):
        raise Exit(1)
