"""``cinemill warmup``: compile all kernels, e.g. into an image."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from cinemill.cli.options import PATH, examples
from cinemill.errors import OutputError, printable


@click.command(epilog=examples("cinemill warmup --processor x86-64-v3,znver4 -o kernels/"))
@click.option(
    "--processor", metavar="KIND,...", help="Compile for processors of these kinds, e.g. x86-64-v3,znver4."
)
@click.option(
    "--output",
    "-o",
    metavar="DIR",
    type=PATH,
    help="What CINEMILL_CACHE_DIR will name.",
)
def warmup(processor: str | None, output: Path | None) -> None:
    """Compile all kernels beforehand, also for other processors.

    They are kept in CINEMILL_CACHE_DIR, or in the user's cache directory.
    A processor uses the best of the kinds found there that it is of, and compiles nothing then.
    """
    from cinemill.kernels.machine.cache import cache_directory, cache_parent
    from cinemill.kernels.machine.jit import Count
    from cinemill.storage.atomic import make_folder
    from cinemill.warmup import check_kinds, load_all, load_for

    kinds = list(dict.fromkeys(processor.split(","))) if processor else []
    check_kinds(kinds)
    if output:
        os.environ["CINEMILL_CACHE_DIR"] = str(make_folder(output.absolute()))
    if (output or processor) and not os.access(make_folder(cache_parent()), os.W_OK):
        raise OutputError("can't be written; choose another directory for kernels", path=cache_parent())
    started, new = time.perf_counter(), 0

    def announce(kernel: str) -> None:
        nonlocal new
        new += 1
        place = f"[{Count.begun}/{Count.expected}] " if Count.expected else ""
        click.echo(f"{place}compiling {kernel.removeprefix('cinemill.kernels.')}", err=True)

    if kinds:
        load_for(kinds, announce)
    else:
        load_all(announce)
    seconds = time.perf_counter() - started
    place = printable(str(cache_parent() if kinds else cache_directory()))
    ready = f"those for {', '.join(kinds)}" if kinds else "all"
    click.echo(f"{new} kernels compiled in {seconds:.0f} s, {ready} are ready; they are in {place}")
