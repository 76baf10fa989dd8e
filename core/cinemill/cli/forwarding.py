"""How `cinemill receive --forward NODE` sends on what arrived: again where that helps, and from where it was at the next start."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cinemill.errors import Cancelled, printable

if TYPE_CHECKING:
    from cinemill.cli.receiving import Board
    from cinemill.network.nodes import Node
    from cinemill.network.receive.outbox import Outbox

_TICK = 0.5
_AT_ONCE = 500
_AGAIN_SECONDS = 30.0
"""What may go well another time is tried again after so long, besides the attempts that each sending has."""

_MOST_NAMED = 20


def forwarded_to(name: str) -> Node:
    """Return a node of the nodes file that can be sent to.

    Raises
    ------
    UsageError
        There is no such node, or its entry does not say how it is reached.
    """
    from cinemill.network.nodes import node_named

    node = node_named(name)
    if node.push == "web":
        node.by_web.authorization()
    else:
        node.by_dimse  # noqa: B018  # says what is missing
    return node


def forward_arrivals(node: Node, outbox: Outbox, board: Board, stopping: Callable[[], bool]) -> None:
    """Send what is noted, and what arrives, until it is stopped; what the node has is crossed out.

    Parameters
    ----------
    node
        Where it goes, by the way that its entry names.
    outbox
        What is to be sent.
    board
        Takes what became of each.
    stopping
        Whether to stop.
    """
    from cinemill.network.pace import Pace
    from cinemill.operations.exchange.push import Sender

    sender = Sender(node, node.push, pace=Pace(node.limits.rate, node.limits.window, stopping))
    refused: dict[Path, int] = {}
    resting: dict[Path, float] = {}
    while not stopping():
        now = time.monotonic()
        ready = (
            (path, noted)
            for path, noted in outbox.ready()
            if refused.get(path) != noted and resting.get(path, now) <= now
        )
        batch = dict(islice(ready, _AT_ONCE))
        if not batch:
            time.sleep(_TICK)
            continue
        delayed = []
        with suppress(Cancelled):
            for outcome in sender.send(batch):
                path = outcome.source
                if path is None:
                    continue
                resting.pop(path, None)
                if outcome.kind.again:
                    resting[path] = time.monotonic() + _AGAIN_SECONDS
                    delayed.append(outcome)
                    continue
                board.forwarded(outcome)
                if outcome.kind.well:
                    outbox.cross_out(path, batch[path])
                else:
                    refused[path] = batch[path]
        if delayed:
            board.delayed(len(delayed), delayed[0])


def name_left(outbox: Outbox, node: str) -> None:
    """Say what was not forwarded."""
    left = outbox.left()
    if not left:
        return
    click.echo(f"{len(left)} instances were not forwarded to {node}; the next start tries again:", err=True)
    for path in left[:_MOST_NAMED]:
        click.echo(f"  {printable(str(path))}", err=True)
    if len(left) > _MOST_NAMED:
        click.echo(f"  and {len(left) - _MOST_NAMED} more", err=True)
