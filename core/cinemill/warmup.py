"""Compiles all kernels ahead of time, and says so when some have to be compiled in the middle of work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pkgutil import walk_packages

import cinemill.codecs
import cinemill.kernels
from cinemill.kernels.machine import jit


def load_all(announce: Callable[[str], None] | None = None) -> None:
    """Import all kernels, which are compiled on import where the cache has none, and the codecs that use them.

    Parameters
    ----------
    announce
        Called with each kernel's name before it is compiled.
    """
    if announce is not None:
        jit.on_compile.append(announce)
    try:
        for package in (cinemill.kernels, cinemill.codecs):
            for module in walk_packages(package.__path__, f"{package.__name__}."):
                import_module(module.name)
    finally:
        if announce is not None:
            jit.on_compile.remove(announce)


def announce_on_stderr() -> None:
    """Print one line as soon as this process compiles a kernel."""

    def announce(kernel: str) -> None:  # noqa: ARG001
        jit.on_compile.remove(announce)
        sys.stderr.write("compiling kernels for this processor, once; `cinemill warmup` does it beforehand\n")
        sys.stderr.flush()

    jit.on_compile.append(announce)
