"""Compiles all kernels ahead of time, and tells which is being compiled in the middle of work, and how many are ready."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import cinemill.codecs
import cinemill.kernels
from cinemill.kernels.machine import jit

_KERNEL = re.compile(r"^@jit\((?:.*\n)*?def (\w+)", re.MULTILINE)


def load_all(announce: Callable[[str], None] | None = None) -> None:
    """Import all kernels, which are compiled on import where the cache has none, and the codecs that use them.

    Parameters
    ----------
    announce
        Called with each kernel's name before it is compiled.
    """
    with announcing(announce):
        for package in (cinemill.kernels, cinemill.codecs):
            for module in walk_packages(package.__path__, f"{package.__name__}."):
                import_module(module.name)


@contextmanager
def announcing(announce: Callable[[str], None] | None) -> Iterator[None]:
    """Have somebody told each kernel's name before this process compiles it, for the time of the context."""
    if announce is None:
        yield
        return
    jit.on_compile.append(announce)
    try:
        yield
    finally:
        jit.on_compile.remove(announce)


def compiled() -> tuple[int, int]:
    """Return how many kernels are compiled for this processor, and how many there are."""
    ready = there = 0
    root = Path(cinemill.kernels.__path__[0])
    for source in root.rglob("*.py"):
        module = ".".join((cinemill.kernels.__name__, *source.relative_to(root).with_suffix("").parts))
        names = _KERNEL.findall(source.read_text(encoding="utf-8"))
        folder = jit.cache_directory() / f"{module}-{jit.sources_hash(source)}" if names else root
        there += len(names)
        ready += sum((folder / f"{name}.ready").exists() for name in names)
    return ready, there
