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
JobOrFolder = Annotated[
    str,
    typer.Argument(
        metavar="[JOB|FOLDER]",
        help="A job as elsewhere, its folder, or a destination: all jobs that went there; default: the last job.",
    ),
]
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
def finish(job: ThisJob, as_json: AsJson = False) -> None:
    """Let a standing job end once everything is done that it has found."""
    from cinemill.errors import UsageError

    ledger, found = _find(job)
    if not found.spec.standing:
        raise UsageError(f"job {found.id} ends by itself")
    while not found.exhausted and found.state not in {"done", "cancelled"}:
        ledger.feed(found.id, found.listed, [], exhausted=True)
        found = ledger.job(found.id)
    terminal.say({"id": found.id, "state": found.state}, f"{found.id} takes up nothing more", as_json)


@jobs.command()
def retry(job: JobOrLast = "", as_json: AsJson = False) -> None:
    """Try failed and quarantined items again."""
    from cinemill.errors import UsageError
    from cinemill_workers.engine import journal

    ledger, found = _find(job)
    if found.state == "cancelled":
        raise UsageError(f"job {found.id} is cancelled: submit it again, finished outputs are kept")
    count = journal.retry(ledger, found)
    terminal.say({"id": found.id, "retried": count}, f"{count} items of {found.id} wait again", as_json)


@jobs.command()
def delete(
    job: ThisJob,
    force: Annotated[
        bool, typer.Option("--force", help="Even if receipts of it are not written yet: they are lost.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Forget a job that is over; its outputs stay, and so does the folder of its receipts."""
    from cinemill.errors import UsageError

    ledger, found = _find(job)
    deleted = ledger.delete(found.id, force=force)
    if deleted is None:
        raise UsageError(
            f"receipts of job {found.id} are not yet written to {found.folder}: a worker writes them when it can; "
            "`jobs report` has them until then, --force gives them up"
        )
    if not deleted:
        raise UsageError(f"job {found.id} is {found.state}: cancel it first, or wait until it is over")
    record = {"id": found.id, "deleted": True, "folder": found.folder}
    terminal.say(record, f"{found.id} is forgotten; its receipts stay in {found.folder}", as_json)


@jobs.command()
def report(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="A .jsonl or .csv file.")],
    job: JobOrFolder = "",
    as_json: AsJson = False,
) -> None:
    """Write one line for each settled instance: its receipt or its failure.

    Like list and show, it also reads what a private server that is stopped has on the disk. A job's folder, or a
    destination with those of several, is read without any server.
    """
    from cinemill_workers.cli import report
    from cinemill_workers.engine import journal

    with report.opened(job) as (name, records):
        count = report.write(journal.receipts(records), output)
    terminal.say({"id": name, "rows": count, "file": str(output)}, f"{count} rows in {output}", as_json)


@jobs.command("find")
def find_instance(
    instance: Annotated[
        str, typer.Argument(metavar="UID|PATH", help="A SOP Instance UID, source or output.")
    ],
    jobs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB|FOLDER]...", help="Where to look; default: all jobs that are there."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what is told of one instance; exit code 1 if nothing is."""
    from cinemill_workers.cli import report

    found = report.find(instance, jobs or [])
    if as_json:
        terminal.print_json(found)
    for record in [] if as_json else found:
        typer.echo(printable(report.sentence(record)))
    if not found:
        typer.echo(f"nothing is told of {printable(instance)}", err=True)
        raise typer.Exit(1)


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
