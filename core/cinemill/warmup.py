"""Compiles all kernels ahead of time, and tells which is being compiled in the middle of work, and how many are ready."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import cinemill.codecs
import cinemill.kernels
from cinemill.errors import UsageError
from cinemill.kernels import machine
from cinemill.kernels.machine import jit, processor

_COMPILERS = {f"{machine.__name__}.{name}" for name in ("compiler", "frontend", "numba_cache")}
"""What imports numba, which is not needed where all kernels are compiled."""
_KERNEL = re.compile(r"^@jit\((?:.*\n)*?def (\w+)", re.MULTILINE)


def load_all(announce: Callable[[str], None] | None = None) -> None:
    """Import all kernels and the codecs that use them, and compile the kernels that the cache doesn't have.

    Parameters
    ----------
    announce
        Called with each kernel's name before it is compiled.
    """
    from pkgutil import walk_packages

    with announcing(announce):
        for package in (cinemill.kernels, cinemill.codecs):
            for module in walk_packages(package.__path__, f"{package.__name__}."):
                if module.name not in _COMPILERS:
                    import_module(module.name)
        jit.compile_waiting()


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
        there += len(names)
        ready += sum(jit.is_ready(module, source, name) for name in names)
    return ready, there


def check_kinds(kinds: Sequence[str]) -> None:
    """Check that kernels can be compiled for processors of some kinds.

    Raises
    ------
    UsageError
        There is no such kind, or kernels can't be compiled for others on this machine.
    """
    known = list(processor.KINDS) if kinds and jit.without_numba() else []
    if unknown := [kind for kind in kinds if kind not in known]:
        there = f"known are {', '.join(known)}" if known else "this machine compiles for itself only"
        raise UsageError(f"no processor is known as {', '.join(unknown)}; {there}")


def load_for(kinds: Sequence[str], announce: Callable[[str], None]) -> None:
    """Compile all kernels for processors of some kinds, for each kind in a process of its own.

    Parameters
    ----------
    kinds
        Names in `cinemill.kernels.machine.processor.KINDS`: see `check_kinds`.
    announce
        Called with each kernel's name, after its kind of processor, before it is compiled.

    Raises
    ------
    UsageError
        Something went wrong, which was said.
    """
    import subprocess

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for kind in kinds:
        command = [sys.executable, "-m", __name__, kind]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603
            for line in child.stdout or ():
                announce(f"{line.strip()} for {kind}")
        if child.returncode:
            raise UsageError(f"compiling for {kind} ended with {child.returncode}; see the messages above")


if __name__ == "__main__":
    processor.compiled_for[:] = sys.argv[1:]
    load_all(lambda kernel: print(kernel, flush=True))  # noqa: T201  # to the process that started this one
