"""How child processes are started: nothing in the working directory is imported, and they end with their parent."""

from __future__ import annotations

import ctypes
import sys

from cinemill.processes import environment

__all__ = ["command", "die_with_parent", "environment"]

_PR_SET_PDEATHSIG = 1


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of ours in safe-path mode."""
    return [sys.executable, "-P", "-m", module, *arguments]


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send this process a signal when its parent dies; Linux only, nothing elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
