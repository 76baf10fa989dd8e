"""The ``cinemill`` command: the core's commands, and those of the service."""

# ruff: noqa: FBT001, FBT002  options are booleans, given by name

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cinemill.cli import app
from cinemill.cli import main as run
from cinemill.errors import printable
from cinemill_workers.cli import terminal
from cinemill_workers.cli.demo import demo
from cinemill_workers.cli.submit import submit
from cinemill_workers.cli.terminal import AsJson

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from cinemill_workers.ledger.ledger import Ledger
    from cinemill_workers.ledger.model import Job

app.command()(demo)
app.command("submit")(submit)
jobs = typer.Typer(help="Look at jobs, and steer them.", no_args_is_help=False)
app.add_typer(jobs, name="jobs")

JobOrLast = Annotated[
    str,
    typer.Argument(
        metavar="[JOB]", help="A job's id or name, or the beginning of it; default: the last job."
    ),
]
ThisJob = Annotated[str, typer.Argument(metavar="JOB", help="A job's id or name, or the beginning of it.")]
"""For what can't be undone."""
Jobs = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, help="Child processes; default: one for each core.")
]


@jobs.callback(invoke_without_command=True)
def _jobs(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_jobs(as_json)


@jobs.command("list")
def list_jobs(as_json: AsJson = False) -> None:
    """List all jobs, oldest first."""
    with _reading() as ledger:
        found = ledger.jobs()
        if as_json:
            terminal.print_json([job.to_dict() for job in found])
        else:
            from cinemill_workers.cli.watch import listing

            terminal.print_rich(listing(found, ledger.complaints()))


@jobs.command()
def show(job: JobOrLast = "", as_json: AsJson = False) -> None:
    """Show a job's state, counts, bytes, rates and times."""
    with _reading() as ledger:
        terminal.show(ledger, ledger.find(job), as_json)


@jobs.command()
def watch(job: JobOrLast = "", as_json: AsJson = False) -> None:
    """Follow a job until it is over; exit code 1 if an item failed. Ctrl-C stops the watching only."""
    ledger, found = _find(job)
    terminal.follow(ledger, found.id, as_json)


@jobs.command()
def pause(job: JobOrLast = "", as_json: AsJson = False) -> None:
    """Stop a job between frames, until it is resumed; what is finished stays."""
    _move(job, ("running", "waiting"), "paused", as_json)


@jobs.command()
def resume(job: JobOrLast = "", as_json: AsJson = False) -> None:
    """Let a paused job go on."""
    _move(job, ("paused",), "running", as_json)


@jobs.command()
def cancel(job: ThisJob, as_json: AsJson = False) -> None:
    """Stop a job between frames, for good; what is finished stays."""
    _move(job, ("running", "waiting", "paused"), "cancelled", as_json)


@jobs.command()
def retry(job: JobOrLast = "", as_json: AsJson = False) -> None:
    """Try failed and quarantined items again."""
    from cinemill.errors import UsageError

    ledger, found = _find(job)
    if found.state == "cancelled":
        raise UsageError(f"job {found.id} is cancelled: submit it again, finished outputs are kept")
    count = ledger.retry(found.id)
    terminal.say({"id": found.id, "retried": count}, f"{count} items of {found.id} wait again", as_json)


@jobs.command()
def delete(job: ThisJob, as_json: AsJson = False) -> None:
    """Forget a job that is over, with its receipts; its outputs stay."""
    from cinemill.errors import UsageError

    ledger, found = _find(job)
    if not ledger.delete(found.id):
        raise UsageError(f"job {found.id} is {found.state}: cancel it first, or wait until it is over")
    terminal.say({"id": found.id, "deleted": True}, f"{found.id} is forgotten", as_json)


@jobs.command()
def report(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="A .jsonl or .csv file.")],
    job: JobOrLast = "",
    as_json: AsJson = False,
) -> None:
    """Write one line for each settled instance: its receipt or its failure.

    Like list and show, it also reads what a private server that is stopped has on the disk.
    """
    from cinemill_workers.cli.report import write

    with _reading() as ledger:
        found = ledger.find(job)
        count = write(ledger.receipts(found.id), output)
    terminal.say({"id": found.id, "rows": count, "file": str(output)}, f"{count} rows in {output}", as_json)


@app.command()
def worker(
    concurrency: Jobs = None,
    priorities: Annotated[
        str | None,
        typer.Option(
            envvar="CINEMILL_PRIORITIES",
            help="Priorities to serve, e.g. high,normal; default: all.",
        ),
    ] = None,
    as_json: Annotated[  # noqa: ARG001
        bool, typer.Option("--json", help="Nothing changes: the log is JSON lines in any case.")
    ] = False,
) -> None:
    """Run a worker until SIGTERM.

    Running items then get a short time, and are handed back.
    """
    if priorities:
        os.environ["CINEMILL_PRIORITIES"] = priorities
    from cinemill_workers.engine.worker import run as work

    work(concurrency)


@app.command()
def up(
    concurrency: Jobs = None,
    as_json: AsJson = False,
) -> None:
    """Run a private server and a worker on this machine.

    Progress is shown; Ctrl-C drains and stops both.
    """
    from cinemill_workers.cli.up import run as stay_up

    stay_up(concurrency, as_json=as_json)


@app.command()
def doctor(
    worker_only: Annotated[
        bool, typer.Option("--worker", help="Only check that this host's worker consumes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
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
            typer.echo(f"{verdict}  {printable(f'{finding.check}: {finding.found}')}")
            if finding.remedy:
                typer.echo(f"       {printable(finding.remedy)}")
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)


def _reading() -> AbstractContextManager[Ledger]:
    from cinemill_workers.local.embedded import stored_ledger
    from cinemill_workers.settings import settings

    return stored_ledger(settings())


def _find(job: str) -> tuple[Ledger, Job]:
    from cinemill_workers.engine.client import open_ledger

    ledger = open_ledger()
    return ledger, ledger.find(job)


def _move(job: str, from_: tuple[str, ...], to: str, as_json: bool) -> None:
    from cinemill.errors import UsageError

    ledger, found = _find(job)
    state = ledger.move(found.id, from_=from_, to=to)
    if state == "gone":
        raise UsageError(f"job {found.id} has been deleted")
    if state != to and not (to == "running" and state == "waiting"):
        raise UsageError(
            f"job {found.id} is {state}: only a job that is {' or '.join(from_)} can become {to}"
        )
    terminal.say({"id": found.id, "state": state}, f"{found.id} is {state}", as_json)


def main() -> None:
    """Run the command line; errors become one-line messages and exit codes 1 and 2."""
    try:
        run()
    except OSError as error:
        typer.echo(f"cinemill: {printable(str(error))}", err=True)
        sys.exit(1)
    except Exception as error:
        if not type(error).__module__.startswith("redis."):
            raise
        typer.echo(f"cinemill: the server has gone: {printable(str(error))}", err=True)
        sys.exit(1)
