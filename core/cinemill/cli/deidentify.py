"""`cinemill key`, `cinemill map` and `cinemill audit`: what stands beside a de-identification, and the second look at it."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

keys = typer.Typer(help="Make keys, by which pseudonyms and UIDs are made.", no_args_is_help=True)
maps = typer.Typer(help="Look into mapping tables, which say what replaced what.", no_args_is_help=True)

_Key = Annotated[Path, typer.Option("--key", metavar="FILE", help="The key that it was made with.")]


@keys.callback()
def _of_keys() -> None:
    pass


@maps.callback()
def _of_maps() -> None:
    pass


@keys.command()
def new(file: Annotated[Path, typer.Argument(metavar="FILE", help="Where it is written.")]) -> None:
    """Make a new key that only its owner can read; keep it apart from the outputs, and don't lose it."""
    from cinemill.operations.deidentify.keys import make_key

    typer.echo(f"made {file}, fingerprint {make_key(file).fingerprint}")


@maps.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The mapping table.")], *, key: _Key
) -> None:
    """Print a mapping table as CSV."""
    from cinemill.operations.deidentify.keys import read_key
    from cinemill.operations.deidentify.mapping import Entry, MapFile

    rows = csv.writer(sys.stdout)
    rows.writerow(Entry._fields)
    for entry in MapFile(file, read_key(key)).entries():
        rows.writerow(entry)


def audit(
    directories: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Outputs: files and directories.")
    ],
    *,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="The key of the run; goes with --map.")
    ] = None,
    map: Annotated[  # noqa: A002
        Path | None,
        typer.Option(
            "--map", metavar="FILE", help="The mapping table of the run: its originals are searched for."
        ),
    ] = None,
    burned_in: Annotated[
        bool,
        typer.Option(
            "--burned-in", help="Read the text in pixels too, for dates and what --map knows (extra ocr)."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line for each finding.")] = False,
) -> None:
    """Search de-identified files for what should be gone.

    Exit code 1 if anything is found: elements which their own profile removes, foreign UIDs, names and dates in any text,
    and with --map the names and numbers of the run's own patients, in headers, file names and comments of codestreams.
    Values are never shown.
    """
    from cinemill.errors import UsageError, printable
    from cinemill.operations.deidentify.attributes import basic_profile
    from cinemill.operations.deidentify.audit import Originals
    from cinemill.operations.deidentify.audit import audit as search
    from cinemill.operations.deidentify.keys import read_key
    from cinemill.operations.deidentify.mapping import MapFile
    from cinemill.storage.tree import discover

    if (key is None) != (map is None):
        raise UsageError("--key and --map go together; give both, or neither")
    basic_profile()
    originals = (
        Originals() if key is None or map is None else Originals(MapFile(map, read_key(key)).entries())
    )
    look = None
    if burned_in:
        from cinemill.operations.mask.detect import check_installed
        from cinemill.operations.mask.second_look import look_for

        check_installed()
        look = look_for(originals.stands_in)
    counts: Counter[str] = Counter()
    files = 0
    for item in discover(directories, Path("/nonexistent")):
        files += 1
        for finding in search(item.source, originals, look):
            counts[finding.what] += 1
            told = f"{finding.what}: {finding.file}: {finding.where}"
            typer.echo(json.dumps(asdict(finding)) if as_json else printable(told))
    if not as_json:
        kinds = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        typer.echo(f"{files} files, {kinds or 'nothing found'}")
    raise typer.Exit(1 if counts else 0)
