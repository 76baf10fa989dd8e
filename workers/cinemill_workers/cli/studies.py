"""What `submit` finds out of nodes before a job is stored: how many studies at a time, and the list that it works through."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cinemill.cli.pull import studies_asked
from cinemill.errors import UsageError, printable
from cinemill.network.nodes import node_named
from cinemill.operations.exchange import worklist
from cinemill.operations.exchange.migrate import ask
from cinemill.operations.exchange.request import Migrate, Pull, Push
from cinemill.storage.tree import OURS

if TYPE_CHECKING:
    from cinemill.network.nodes import Node
    from cinemill.network.query import Study
    from cinemill.operations.operation import Operation


def with_nodes(operation: Pull | Push | Migrate, associations: int | None) -> Pull | Push | Migrate:
    """Return the same, once its nodes are known, for as many at a time as they allow, or as was typed.

    Instances of C-MOVE come to one port, which one process listens at.
    """
    nodes = [node_named(operation.node)]
    if isinstance(operation, Migrate):
        nodes.append(node_named(operation.target or operation.node))
        ask(operation.between(nodes[0], nodes[1], Path()))
    else:
        operation.check_here()
    if any(map(_listens, nodes)) and not isinstance(operation, Push):
        return replace(operation, at_once=1)
    return replace(operation, at_once=associations or min(node.limits.associations for node in nodes))


def _listens(node: Node) -> bool:
    return node.pull == "move" or node.commitment


def studies_of(
    operation: Operation, sources: tuple[Path, ...], uids: tuple[str, ...], query: str | None
) -> Iterator[Study] | None:
    """Return the studies that are worked through, None where files are.

    Raises
    ------
    UsageError
        What was named is not what the operation is done to.
    """
    if not isinstance(operation, Pull | Migrate):
        if uids or query:
            raise UsageError("--study and --query go with --pull and --migrate")
        if not sources:
            raise UsageError("expected SRC... and DST: what is worked on, and where outputs go")
        return None
    if sources:
        raise UsageError(
            f"expected DST alone, for studies of {operation.node} are asked for, found SRC {sources[0]}"
        )
    return studies_asked(node_named(operation.node), uids, query)(time.sleep)


def listed(destination: Path, studies: Iterator[Study]) -> Path:
    """Write the list of studies that a job works through beside its receipts, and return where it is."""
    path = destination.absolute() / OURS / f"studies-{secrets.token_hex(4)}.tsv"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the destination can't be written: {error.strerror}", path=destination) from None
    count, _, wrong = worklist.write(path, studies)
    for uid in wrong:
        click.echo(f"left out: the node lists a study whose UID is none, {printable(uid)!r}", err=True)
    if not count:
        path.unlink()
        raise UsageError("the node lists no such study: nothing was submitted")
    return path
