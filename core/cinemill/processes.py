"""The environment in which interpreters are started, so that they import nothing from the working directory; their memory; homes."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext
    from multiprocessing.process import BaseProcess

_SAFE, _PATH = "PYTHONSAFEPATH", "PYTHONPATH"
_lock = threading.Lock()
_M_ARENA_MAX = -8
_LONGEST_FOR_SOCKETS = 70
"""Bytes of the temporary directory's path: unix sockets have 104 (macOS) for theirs, of which multiprocessing takes 32."""
_COLLECTED_AFTER = 50_000
"""Objects more than before at which cycles are looked for; Python's 700 are fewer than a header has."""


def expanded(path: str) -> Path:
    """Put the user's home in place of ``~``: that of a user of whom nothing is known, as containers may have, is the root."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path("/", *Path(path).parts[1:])


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment for a child, and for the children of that, in safe-path mode.

    Empty parts of ``PYTHONPATH``, as a trailing colon makes them, would stand for the working directory.
    """
    kept = {**os.environ, _SAFE: "1", **changes}
    if _PATH in kept:
        kept[_PATH] = os.pathsep.join(filter(None, kept[_PATH].split(os.pathsep)))
    return kept


@contextmanager
def safe_path() -> Iterator[None]:
    """Have what multiprocessing starts in this context (children, its server, its tracker) run in safe-path mode.

    It starts interpreters with ``-c``, which look for modules in the working directory first, and takes no environment
    for them: this process's own is changed for so long. Children are told this process's path afterwards, so that they
    find what a user's script imports.
    """
    with _lock:
        safe = environment()
        before = {name: os.environ.get(name) for name in (_SAFE, _PATH)}
        _put({name: safe.get(name) for name in before})
        try:
            yield
        finally:
            _put(before)


def _put(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def share_heap() -> None:
    """Have the threads of this process allocate from one heap (glibc): what one of them freed serves the others, too.

    For processes that are cinemill's own.
    """
    import ctypes

    if sys.platform == "linux" and hasattr(c := ctypes.CDLL(None), "mallopt"):
        c.mallopt(_M_ARENA_MAX, 1)


def collect_seldom() -> None:
    """Have Python look for cycles of garbage now and then only, never among what is there already, and not at the end.

    For processes that are cinemill's own: hardly anything here refers to itself, and to look took a twelfth of a command's time.
    """
    gc.set_threshold(_COLLECTED_AFTER)
    gc.freeze()
    atexit.register(gc.freeze)


def children_context() -> ForkServerContext | SpawnContext:
    """Return how child processes are started: by a server that has imported what they need, where there can be one."""
    import multiprocessing

    if "forkserver" not in multiprocessing.get_all_start_methods() or not _has_room_for_sockets():
        return multiprocessing.get_context("spawn")
    return multiprocessing.get_context("forkserver")


def _has_room_for_sockets() -> bool:
    """Whether there is a temporary directory, and its path leaves room for the name of the server's socket."""
    import tempfile

    try:
        return len(os.fsencode(tempfile.gettempdir())) <= _LONGEST_FOR_SOCKETS
    except FileNotFoundError:
        return False


@contextmanager
def sharing() -> Iterator[None]:
    """Make in this context what processes share: memory, locks.

    Raises
    ------
    ChildProcessError
        They can share nothing; it says what to do.
    """
    try:
        yield
    except OSError as error:
        raise ChildProcessError(
            f"processes can share nothing ({error.strerror}): have a tmpfs at /dev/shm to which this user may write"
        ) from None


def start(process: BaseProcess) -> None:
    """Start a process in safe-path mode; neither it nor a server that is begun for it hears of Ctrl-C, from the first moment on.

    Raises
    ------
    OSError
        There is no memory or no handle for it, or the server was killed.
    """
    from multiprocessing.resource_tracker import ensure_running

    with safe_path():
        ensure_running()  # lifts what is blocked where it begins a tracker
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        try:
            process.start()
        except EOFError:
            raise ChildProcessError(
                "the process that starts the others was killed; is there enough memory? Run the same command again"
            ) from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ended(process: BaseProcess) -> str:
    """Wait for a process that died over a file, and say how it ended and what to do about that."""
    process.join()
    code = process.exitcode or 0
    return ended_by(signal.Signals(-code).name if code < 0 else f"exit code {code}")


def ended_by(end: str) -> str:
    """Say of a process that died over a file what to do about that; ``end`` is the name of a signal, or an exit code."""
    if end == "SIGKILL":
        return "SIGKILL: memory ran out, most likely; give it more, or use fewer cores (--jobs)"
    return f"{end}; set the file aside and report it"
