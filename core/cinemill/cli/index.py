"""``cinemill index``: what is in an archive, as tables that DuckDB, pandas and polars open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

from cinemill.cli.forecast import phases
from cinemill.cli.options import PATH, examples, sources_argument
from cinemill.cli.run import interruption, jobs_option, quiet_option
from cinemill.errors import printable

if TYPE_CHECKING:
    from cinemill.operations.index.index import Indexed

_UNREADABLE = frozenset(("Unreadable", "NotPermitted"))


@click.command(
    epilog=examples(
        "cinemill index /archive/2019 -o 2019.parquet",
        "cinemill index /archive/2019 -o 2019.csv --key study.key",
    )
)
@sources_argument("Files and directories.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=PATH,
    required=True,
    help="FILE.sqlite is the index; FILE.parquet or FILE.csv are tables made from it.",
)
@click.option(
    "--key",
    metavar="FILE",
    type=PATH,
    help="Key of the pseudonyms; default: FILE.sqlite.key, made if need be.",
)
@click.option(
    "--phi", is_flag=True, help="Add names and numbers of patients, dates, and the UIDs themselves."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@jobs_option
@quiet_option
def index(
    sources: tuple[Path, ...],
    *,
    output: Path,
    key: Path | None,
    phi: bool,
    as_json: bool,
    jobs: int | None,
    quiet: bool,
) -> None:
    """Tell what is in an archive, as tables for DuckDB and others.

    A row for each instance; regions, measurements and findings beside it. Headers alone are read, no pixels. The same
    command brings an index up to date: rows of files whose size and time are the same stay. After Ctrl-C or a crash it
    goes on. Exit code 1 if some files or directories could not be read at all.
    """
    from cinemill.operations.index.index import index as make
    from cinemill.storage.mapped import of_directory

    with interruption() as stopping, phases(hidden=quiet) as shown:
        made = make(
            sources,
            output,
            key=key,
            phi=phi,
            jobs=jobs,
            stop=stopping,
            progress=lambda what, done: shown(what, done, None),
        )
    if as_json:
        click.echo(json.dumps(made.to_dict()))
    elif not quiet:
        for line in _told(made):
            click.echo(line)
    for folder in made.unlisted:
        click.echo(printable(f"failed: {folder}: {of_directory(Path(folder))}"), err=True)
    if not made.complete:
        click.echo("stopped; the same command goes on from here", err=True)
        raise Exit(130)
    raise Exit(1 if made.unlisted or _UNREADABLE & made.errors.keys() else 0)


def _told(made: Indexed) -> Iterator[str]:
    from cinemill.operations.pages import in_bytes

    rate = f", {made.read / made.seconds:,.0f} a second" if made.read and made.seconds else ""
    yield (
        f"{_several(made.instances, 'instance')} of {_several(made.studies, 'study', 'studies')} "
        f"and {_several(made.patients, 'patient')}"
    )
    yield (
        f"{_several(made.read, 'header')} read in {made.seconds:.1f} s{rate}; "
        f"rows that were there: {made.believed:,}, that went: {made.gone:,}"
    )
    if made.not_dicom:
        yield f"not DICOM: {_several(made.not_dicom, 'file')}"
    for kind, count in sorted(made.errors.items()):
        yield f"can't be read: {_several(count, 'file')}, {kind}"
    for path, size in made.outputs.items():
        yield f"wrote {path}, {in_bytes(size)}"


def _several(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"
