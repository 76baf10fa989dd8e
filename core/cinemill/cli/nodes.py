"""`cinemill nodes`: which nodes there are, and what each of them can do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

from cinemill.cli.commands import Commands

if TYPE_CHECKING:
    from cinemill.network.abilities import Ability
    from cinemill.network.nodes import Node


@click.group("nodes", cls=Commands)
def nodes() -> None:
    """Look at the nodes of the network that pull and push know."""


@nodes.command("list")
def list_nodes() -> None:
    """Show the nodes of the nodes file."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cinemill.network.nodes import read_nodes

    table = Table("node", "pull", "DIMSE", "DICOMweb", "limits", box=None, pad_edge=False)
    for node in read_nodes().values():
        dimse, web, limits = node.dimse, node.web, node.limits
        table.add_row(
            *map(
                Text,
                (
                    node.name,
                    node.pull,
                    ""
                    if dimse is None
                    else f"{dimse.called}@{dimse.host}:{dimse.port}{' TLS' if dimse.tls else ''}",
                    "" if web is None else web.url,
                    ", ".join(
                        filter(
                            None,
                            (
                                f"{limits.associations} associations" if limits.associations > 1 else "",
                                f"{limits.rate:g} MB/s" if limits.rate else "",
                                f"{limits.window.begin:%H:%M}-{limits.window.end:%H:%M}"
                                if limits.window
                                else "",
                            ),
                        )
                    ),
                ),
            )
        )
    Console(highlight=False).print(table, soft_wrap=True)
    raise Exit(0)


@nodes.command()
@click.argument("name", metavar="NODE", help="A node of the nodes file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def test(name: str, as_json: bool) -> None:
    """Ask a node what it can do, and what it takes.

    That is all that pull and push need of it. Nothing is stored there. Exit code 1 if it can't do something that its entry names.
    """
    from cinemill.errors import NodeError
    from cinemill.network import abilities
    from cinemill.network.nodes import node_named

    node = node_named(name)
    found = list(abilities.services(node))
    taken: dict[str, frozenset[str]] = {}
    if node.dimse is not None:
        try:
            taken = abilities.syntaxes(node)
        except NodeError as error:
            found.append(abilities.Ability("C-STORE", well=False, told=error.message))
    if as_json:
        told = {
            "services": [asdict(each) for each in found],
            "syntaxes": {k: sorted(v) for k, v in taken.items()},
        }
        click.echo(json.dumps(told, indent=2))
    else:
        _show(node.name, found, taken)
    raise Exit(0 if _suffices(node, found) else 1)


def _suffices(node: Node, found: Sequence[Ability]) -> bool:
    """Whether a node can do what its entry names: how it is pulled from, and that it answers."""
    ways = {
        "get": ("C-ECHO", "C-FIND", "C-GET"),
        "move": ("C-ECHO", "C-FIND", "C-MOVE"),
        "web": ("QIDO-RS", "WADO-RS"),
    }
    well = {each.what for each in found if each.well}
    return set(ways[node.pull]) <= well


def _show(name: str, found: Sequence[Ability], taken: Mapping[str, frozenset[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cinemill.errors import printable
    from cinemill.network.abilities import syntaxes_asked
    from cinemill.syntaxes import TRANSFER_SYNTAXES

    console = Console(highlight=False)
    services = Table("service", "", "", box=None, pad_edge=False)
    reasons: set[str] = set()
    for each in found:
        verdict = Text("yes", "green") if each.well else Text("no", "red")
        told = "as above" if each.told in reasons else each.told
        services.add_row(each.what, verdict, Text(printable(told)))
        if not each.well:
            reasons.add(each.told)
    console.print(Text(name, "bold"))
    console.print(services, soft_wrap=True)
    if not taken:
        return
    console.print()
    table = Table("takes by C-STORE", *taken, box=None, pad_edge=False)
    for uid in syntaxes_asked():
        cells = (
            Text("yes", "green") if uid in of_class else Text("no", "dim") for of_class in taken.values()
        )
        table.add_row(str(TRANSFER_SYNTAXES[uid]), *cells)
    console.print(table, soft_wrap=True)
