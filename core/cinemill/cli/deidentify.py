"""`cinemill key`, `cinemill map` and `cinemill audit`: what stands beside a de-identification, and the second look at it."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path

import click
from click.exceptions import Exit

from cinemill.cli.commands import Commands
from cinemill.cli.options import PATH, examples, sources_argument
from cinemill.cli.review import or_review
from cinemill.cli.run import command
from cinemill.operations.deidentify.request import Deidentify

deidentify = or_review(command(Deidentify))


@click.group("key", cls=Commands)
def keys() -> None:
    """Make keys, by which pseudonyms and UIDs are made."""


@click.group("map", cls=Commands)
def maps() -> None:
    """Look into mapping tables, which say what replaced what."""


@keys.command()
@click.argument("file", metavar="FILE", type=PATH, help="Where it is written.")
def new(file: Path) -> None:
    """Make a new key that only its owner can read.

    Keep it apart from the outputs, and don't lose it: without it, no later run agrees with this one.
    """
    from cinemill.operations.deidentify.keys import make_key

    click.echo(f"made {file}, fingerprint {make_key(file).fingerprint}")


@maps.command()
@click.argument("file", metavar="FILE", type=PATH, help="The mapping table.")
@click.option("--key", metavar="FILE", type=PATH, required=True, help="The key that it was made with.")
def show(file: Path, key: Path) -> None:
    """Print a mapping table as CSV."""
    from cinemill.operations.deidentify.keys import read_key
    from cinemill.operations.deidentify.mapping import Entry, MapFile

    entries = MapFile(file, read_key(key)).entries()
    first = list(islice(entries, 1))  # a table that can't be read is told before anything is printed
    rows = csv.writer(sys.stdout)
    rows.writerow(Entry._fields)
    rows.writerows(chain(first, entries))


@click.command(epilog=examples("cinemill audit /research --key study.key --map study.map"))
@sources_argument("Outputs: files and directories.")
@click.option("--key", metavar="FILE", type=PATH, help="The key of the run; goes with --map.")
@click.option(
    "--map",
    "mapping",
    metavar="FILE",
    type=PATH,
    help="The mapping table of the run: its originals are searched for.",
)
@click.option(
    "--burned-in",
    is_flag=True,
    help="Read the text in pixels too, for dates and what --map knows (extra ocr).",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each finding.")
def audit(
    sources: tuple[Path, ...], *, key: Path | None, mapping: Path | None, burned_in: bool, as_json: bool
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
    from cinemill.storage.tree import files_below

    if (key is None) != (mapping is None):
        raise UsageError("--key and --map go together; give both, or neither")
    basic_profile()
    originals = (
        Originals()
        if key is None or mapping is None
        else Originals(MapFile(mapping, read_key(key)).entries())
    )
    look = None
    if burned_in:
        from cinemill.operations.mask.detect import check_installed
        from cinemill.operations.mask.second_look import look_for

        check_installed()
        look = look_for(originals.stands_in)
    counts: Counter[str] = Counter()
    files = 0
    for file in files_below(sources):
        files += 1
        for finding in search(file, originals, look):
            counts[finding.what] += 1
            told = f"{finding.what}: {finding.file}: {finding.where}"
            click.echo(json.dumps(asdict(finding)) if as_json else printable(told))
    if not as_json:
        from cinemill.operations.pages import counted

        kinds = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        click.echo(f"{counted(files, 'file')}, {kinds or 'nothing found'}")
    raise Exit(1 if counts else 0)
