"""How `cinemill receive --forward NODE` sends on what arrived: again where that helps, and from where it was at the next start."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cinemill.errors import Cancelled, CinemillError, UsageError, printable

if TYPE_CHECKING:
    from cinemill.cli.receiving import Board
    from cinemill.network.receive.outbox import Outbox
    from cinemill.operations.exchange.push import Sender
    from cinemill.operations.transcode.request import Transcode

_TICK = 0.5
_REST = 10
"""So many times as long as it took to find nothing ready, it is not looked for again."""

_AT_ONCE = 500
_AGAIN_SECONDS = 30.0
"""What may go well another time is tried again after so long, besides the attempts that each sending has."""

_MOST_NAMED = 20


def forwarded_to(name: str | None, fallback: str, transcode: Transcode | None) -> Sender | None:
    """Return what sends to a node of the nodes file, None where nothing is to be forwarded.

    Parameters
    ----------
    name
        Of the node.
    fallback
        Targets for what it does not take, as they were typed.
    transcode
        What is done to instances before, None for nothing.

    Raises
    ------
    UsageError
        There is no such node, its entry does not say how it is reached, or it refuses the target.
    """
    from cinemill.network.nodes import node_named
    from cinemill.operations.exchange.push import Sender, check_targets, read_fallback, way_to

    targets = read_fallback(fallback)
    if name is None:
        if targets:
            raise UsageError("--fallback goes with --forward, without which nothing is sent")
        return None
    node = node_named(name)
    sender = Sender(node, way_to(node), targets)
    if transcode is not None:
        check_targets(sender, transcode)
    return sender


def forward_arrivals(sender: Sender, outbox: Outbox, board: Board, stopping: Callable[[], bool]) -> None:
    """Send what is noted, and what arrives, until it is stopped; what the node has is crossed out.

    Parameters
    ----------
    sender
        Sends to the node, at the pace that its entry names.
    outbox
        What is to be sent.
    board
        Takes what became of each.
    stopping
        Whether to stop.
    """
    from cinemill.network.pace import Pace

    limits = sender.node.limits
    sender.pace = Pace(limits.rate, limits.window, stopping)
    settled: dict[Path, int] = {}
    resting: dict[Path, float] = {}
    with suppress(Cancelled):
        while not stopping():
            try:
                _forward_ready(sender, outbox, board, settled, resting)
            except Cancelled:
                raise
            except (CinemillError, OSError) as error:
                board.interrupted("forwarding", error)
                sender.pace.rest(_AGAIN_SECONDS)


def _forward_ready(
    sender: Sender, outbox: Outbox, board: Board, settled: dict[Path, int], resting: dict[Path, float]
) -> None:
    """Send what is noted and may be sent now.

    Parameters
    ----------
    sender, outbox, board
        See `forward_arrivals`.
    settled
        Instances that are not sent any more in this run, and the numbers of their notes.
    resting
        Those that are tried again, and when.
    """
    now = time.monotonic()
    batch = dict(islice(outbox.ready(partial(_is_due, settled, resting, now)), _AT_ONCE))
    if not batch:
        time.sleep(max(_TICK, _REST * (time.monotonic() - now)))
        return
    delayed = []
    for outcome in sender.send(batch):
        path = outcome.source
        if path is None:
            continue
        resting.pop(path, None)
        if outcome.kind.again:
            resting[path] = time.monotonic() + _AGAIN_SECONDS
            delayed.append(outcome)
            continue
        settled[path] = batch[path]
        board.forwarded(outcome)
        if outcome.kind.well:
            outbox.cross_out(path, batch[path])
            del settled[path]
    if delayed:
        board.delayed(len(delayed), delayed[0])


def _is_due(
    settled: Mapping[Path, int], resting: Mapping[Path, float], now: float, path: Path, number: int
) -> bool:
    return settled.get(path) != number and resting.get(path, now) <= now


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
