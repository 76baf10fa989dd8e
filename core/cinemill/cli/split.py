"""``cinemill split``: a long cine into several instances of a new series."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cinemill.cli.run import files


def split(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A cine; - for standard input.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The directory for its parts.")],
    frames_per_instance: Annotated[
        int | None, typer.Option("--frames-per-instance", min=1, metavar="N", help="Most frames of a part.")
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option("--max-bytes", min=1, help="Most bytes of a part's encoded frames.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line for each part.")] = False,
) -> None:
    """Cut a long cine into several instances, decoding nothing."""
    from cinemill.operations.split import split as split_instance

    with files([source]) as (found,):
        receipts = split_instance(
            found, destination, frames_per_instance=frames_per_instance, max_bytes=max_bytes
        )
    for receipt in receipts:
        if as_json:
            typer.echo(json.dumps(receipt.to_dict()))
        else:
            typer.echo(f"{receipt.output}: {receipt.frames} frames", err=True)
