"""``cinemill warmup``: compile all kernels, e.g. into an image."""

from __future__ import annotations

import time

import click

from cinemill.errors import printable


@click.command()
def warmup() -> None:
    """Compile all kernels for this processor beforehand.

    They are kept in CINEMILL_CACHE_DIR, or in the user's cache directory.
    """
    from cinemill.kernels.machine.jit import cache_directory
    from cinemill.warmup import compiled, load_all

    started = time.perf_counter()
    ready, there = compiled()
    new = []

    def announce(kernel: str) -> None:
        new.append(kernel)
        done, name = ready + len(new), kernel.removeprefix("cinemill.kernels.")
        click.echo(f"[{done}/{there}] compiling {name}", err=True)

    load_all(announce)
    seconds = time.perf_counter() - started
    place = printable(str(cache_directory()))
    click.echo(f"{len(new)} kernels compiled in {seconds:.0f} s, {there} are ready; they are in {place}")
