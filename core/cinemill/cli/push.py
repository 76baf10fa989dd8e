"""`cinemill push`: files to a node, by C-STORE or STOW-RS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.exceptions import Exit

from cinemill.cli.exchange import (
    Shown,
    limited,
    limits_options,
    report_file,
    telling_options,
)
from cinemill.cli.options import accepting, examples, made, sources_argument
from cinemill.cli.run import interruption, quiet_option
from cinemill.operations.exchange.request import Push


@click.command(
    "push", epilog=examples("cinemill push 2019-small/ pacs --fallback jpeg-2000,jpeg-ls,explicit")
)
@sources_argument("Files and directories.")
@click.argument("node", metavar="NODE", help="A node of the nodes file.")
@accepting(Push, without=("node",))
@telling_options
@limits_options
@quiet_option
def push(
    sources: tuple[Path, ...],
    node: str,
    *,
    report: Path | None,
    as_json: bool,
    max_rate: float | None,
    hours: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Send files to a node, as they are.

    What the node takes is asked first. Without --fallback, files whose transfer syntax it refuses are refused by name.
    Exit code 1 if anything was not sent.
    """
    from cinemill.network.nodes import node_named
    from cinemill.network.pace import Pace
    from cinemill.operations.exchange.push import Sender
    from cinemill.storage.tree import files_below

    found = limited(node_named(node), max_rate, hours)
    asked = made(Push, options)
    way = asked.way(found)
    with interruption() as stopping, report_file(report) as file:
        pace = Pace(found.limits.rate, found.limits.window, stopping)
        sender = Sender(found, way, asked.targets, asked.force, pace)
        shown = Shown(pace, file, as_json=as_json, quiet=quiet)
        with shown.until_stopped("the same command sends everything again"):
            for outcome in sender.send(files_below(sources)):
                shown.add(outcome)
    raise Exit(0 if shown.well else 1)
