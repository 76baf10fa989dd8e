"""``cinemill jobs``: look at jobs, and steer them."""

# ruff: noqa: FBT001  options are booleans, given by name

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

from cinemill.cli.commands import Commands
from cinemill.cli.options import PATH
from cinemill.errors import printable
from cinemill_workers.cli import terminal
from cinemill_workers.cli.terminal import as_json_option

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from cinemill_workers.ledger.ledger import Ledger
    from cinemill_workers.ledger.model import Job

_job_or_last = click.argument(
    "job",
    metavar="[JOB]",
    default="",
    help="A job's id or name, or the beginning of it; default: the last job.",
)
_this_job = click.argument("job", metavar="JOB", help="A job's id or name, or the beginning of it.")
"""For what can't be undone."""


@click.group(cls=Commands, invoke_without_command=True)
@as_json_option
@click.pass_context
def jobs(context: click.Context, as_json: bool) -> None:
    """Look at jobs, and steer them.

    Without a command, all are listed.
    """
    if context.invoked_subcommand is None:
        _list(as_json)


@jobs.command("list")
@as_json_option
def list_jobs(as_json: bool) -> None:
    """List all jobs, oldest first."""
    _list(as_json)


def _list(as_json: bool) -> None:
    with _reading() as ledger:
        found = ledger.jobs()
        if as_json:
            terminal.print_json([job.to_dict() for job in found])
        else:
            from cinemill_workers.cli.watch import listing

            terminal.print_rich(listing(found, ledger.complaints()))


@jobs.command()
@_job_or_last
@as_json_option
def show(job: str, as_json: bool) -> None:
    """Show a job's state, counts, bytes, rates and times."""
    with _reading() as ledger:
        terminal.show(ledger, ledger.find(job), as_json)


@jobs.command()
@_job_or_last
@as_json_option
def watch(job: str, as_json: bool) -> None:
    """Follow a job until it is over.

    Exit code 1 if an item failed. Ctrl-C stops the watching only.
    """
    ledger, found = _find(job)
    terminal.follow(ledger, found.id, as_json)


@jobs.command()
@_job_or_last
@as_json_option
def pause(job: str, as_json: bool) -> None:
    """Stop a job between frames, until it is resumed.

    What is finished stays.
    """
    _move(job, ("running", "waiting"), "paused", as_json)


@jobs.command()
@_job_or_last
@as_json_option
def resume(job: str, as_json: bool) -> None:
    """Let a paused job go on."""
    _move(job, ("paused",), "running", as_json)


@jobs.command()
@_this_job
@as_json_option
def cancel(job: str, as_json: bool) -> None:
    """Stop a job between frames, for good.

    What is finished stays.
    """
    _move(job, ("running", "waiting", "paused"), "cancelled", as_json)


@jobs.command()
@_this_job
@as_json_option
def finish(job: str, as_json: bool) -> None:
    """Let a standing job end once all is done that it has found."""
    from cinemill.errors import UsageError

    ledger, found = _find(job)
    if not found.spec.standing:
        raise UsageError(f"job {found.id} ends by itself")
    while not found.exhausted and found.state not in {"done", "cancelled"}:
        ledger.feed(found.id, found.listed, [], exhausted=True)
        found = ledger.job(found.id)
    terminal.say({"id": found.id, "state": found.state}, f"{found.id} takes up nothing more", as_json)


@jobs.command()
@_job_or_last
@as_json_option
def retry(job: str, as_json: bool) -> None:
    """Try failed and quarantined items again."""
    from cinemill.errors import UsageError
    from cinemill_workers.engine import journal

    ledger, found = _find(job)
    if found.state == "cancelled":
        raise UsageError(f"job {found.id} is cancelled: submit it again, finished outputs are kept")
    count = journal.retry(ledger, found)
    terminal.say({"id": found.id, "retried": count}, f"{found.id}: items that wait again: {count}", as_json)


@jobs.command()
@_this_job
@click.option("--force", is_flag=True, help="Even if receipts of it are not written yet: they are lost.")
@as_json_option
def delete(job: str, force: bool, as_json: bool) -> None:
    """Forget a job that is over.

    Its outputs stay, and so does the folder of its receipts.
    """
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
@click.argument(
    "job",
    metavar="[JOB|FOLDER]",
    default="",
    help="A job as elsewhere, its folder, or a destination: all jobs that went there; default: the last job.",
)
@click.option("-o", "--output", metavar="FILE", type=PATH, required=True, help="A .jsonl or .csv file.")
@as_json_option
def report(job: str, output: Path, as_json: bool) -> None:
    """Write the receipts of a job: a line for each settled instance.

    Like list and show, it also reads what a private server that is stopped has on the disk. A job's folder, or a
    destination with those of several, is read without any server.
    """
    from cinemill_workers.cli import report
    from cinemill_workers.engine import journal

    with report.opened(job) as (name, records):
        count = report.write(journal.receipts(records), output)
    terminal.say({"id": name, "rows": count, "file": str(output)}, f"{count} rows in {output}", as_json)


@jobs.command("find")
@click.argument("instance", metavar="UID|PATH", help="A SOP Instance UID, source or output.")
@click.argument(
    "places", metavar="[JOB|FOLDER...]", nargs=-1, help="Where to look; default: all jobs that are there."
)
@as_json_option
def find_instance(instance: str, places: tuple[str, ...], as_json: bool) -> None:
    """Print what is told of one instance.

    Exit code 1 if nothing is.
    """
    from cinemill_workers.cli import report

    found = report.find(instance, places)
    if as_json:
        terminal.print_json(found)
    for record in [] if as_json else found:
        for line in report.lines(record):
            click.echo(printable(line))
    if not found:
        click.echo(f"nothing is told of {printable(instance)}", err=True)
        raise Exit(1)


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
