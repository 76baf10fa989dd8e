"""``cinemill warmup``: compile all kernels, e.g. into an image."""

from __future__ import annotations

import time

import typer


def warmup() -> None:
    """Compile all kernels for this processor beforehand.

    They are kept in CINEMILL_CACHE_DIR, or in the user's cache directory.
    """
    started = time.perf_counter()
    compiled = []

    def announce(kernel: str) -> None:
        compiled.append(kernel)
        typer.echo(f"compiling {kernel.removeprefix('cinemill.kernels.')}", err=True)

    from cinemill.kernels.machine.jit import cache_directory
    from cinemill.warmup import load_all

    load_all(announce)
    seconds = time.perf_counter() - started
    typer.echo(f"{len(compiled)} kernels compiled in {seconds:.0f} s; they are in {cache_directory()}")
