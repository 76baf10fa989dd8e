"""`cinemill policy` and `cinemill syntaxes`: which rule takes which files, and which programs read which targets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cinemill.cli.commands import Commands
from cinemill.cli.options import PATH

if TYPE_CHECKING:
    from cinemill.operations.policy.census import Row
    from cinemill.operations.policy.rules import Policy

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=Commands)
def policies() -> None:
    """Look at policies, which decide what becomes of each instance."""


@policies.command()
@click.argument("file", metavar="FILE", type=PATH, help="A policy, in TOML.")
@click.argument(
    "sources", metavar="[SRC...]", nargs=-1, type=PATH, help="Files and directories to try it on."
)
@_as_json
def check(file: Path, sources: tuple[Path, ...], as_json: bool) -> None:
    """Check a policy, and show which rule takes how many files.

    Headers are read, and nothing is written. What would be larger than its source is known by `transcode` only.
    """
    from cinemill.operations.policy.census import census
    from cinemill.operations.policy.read import parse
    from cinemill.operations.transcode.request import Transcode, read_policy
    from cinemill.storage.tree import files_below

    asked = Transcode(policy=read_policy(str(file))).in_bulk()
    policy = parse(asked.policy)
    paths = files_below(sources) if sources else iter(())
    _show_census(policy, census(paths, policy, asked.options), as_json, counted=bool(sources))


@policies.command()
def show() -> None:
    """Print the built-in policy archive, to begin one of one's own with."""
    from cinemill.operations.policy.archive import archive

    click.echo(archive(), nl=False)


def _show_census(policy: Policy, rows: list[Row], as_json: bool, *, counted: bool) -> None:
    if as_json:
        told = {"policy": policy.name, "digest": policy.digest, "rules": [row.to_dict() for row in rows]}
        click.echo(json.dumps(told, indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cinemill.errors import printable

    table = Table(
        box=None, pad_edge=False, title=Text(f"{policy.name} ({policy.digest})"), title_justify="left"
    )
    for name in ("rule", "line", "to", "instances", "MB", "of them copied"):
        table.add_column(name, justify="left" if name in {"rule", "to", "of them copied"} else "right")
    for row in rows if counted else [row for row in rows if row.line]:
        numbers = (str(row.instances), f"{row.bytes / 1e6:.1f}", row.copied) if counted else ("", "", "")
        table.add_row(Text(printable(row.rule)), str(row.line or ""), row.to, *numbers)
    Console().print(table, soft_wrap=True)


@click.command()
@_as_json
def syntaxes(as_json: bool) -> None:
    """Show the targets, and which programs read them."""
    from cinemill.operations.policy.readers import READERS
    from cinemill.syntaxes import TARGETS

    if as_json:
        readers = [
            {
                "name": each.name,
                "program": each.program,
                "targets": [str(row) for row in TARGETS if each.reads(row)],
                "source": each.source,
                "note": each.note,
            }
            for each in READERS
        ]
        targets = [{"name": row.name, "uid": row.uid, "keyword": row.keyword} for row in TARGETS]
        click.echo(json.dumps({"targets": targets, "readers": readers}, indent=2))
        return
    from rich.console import Console
    from rich.table import Column, Table

    names = Table("target", "UID", Column("keyword", overflow="fold"), box=None, pad_edge=False)
    table = Table("read by", *(each.name for each in READERS), box=None, pad_edge=False)
    for row in TARGETS:
        names.add_row(str(row.name), row.uid, row.keyword)
        table.add_row(str(row.name), *("yes" if each.reads(row) else "" for each in READERS))
    console = Console(highlight=False)
    for each in (names, table):
        console.print(each, soft_wrap=True)
        console.print()
    for line in _told_readers():
        console.print(line, soft_wrap=True, markup=False)


def _told_readers() -> Iterator[str]:
    from cinemill.operations.policy.readers import READERS

    for each in READERS:
        yield f"{each.name}: {each.program}; {each.source}{'; ' if each.note else ''}{each.note}"
