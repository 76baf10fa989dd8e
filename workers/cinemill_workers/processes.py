"""How child processes are started: nothing in the working directory is imported, and they end with their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

from cinemill.processes import environment

__all__ = ["Stop", "command", "die_with_parent", "environment"]

_PR_SET_PDEATHSIG = 1
_GLANCE_SECONDS = 0.2


class Stop:
    """Whether SIGTERM or SIGINT came since this was made; their handler takes no lock, so that no moment is a bad one."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True

    def wait(self, seconds: float) -> bool:
        """Return whether one came, after so many seconds at most."""
        end = time.monotonic() + seconds
        while not self.asked and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _GLANCE_SECONDS))
        return self.asked


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of ours in safe-path mode."""
    return [sys.executable, "-P", "-m", module, *arguments]


def die_with_parent(signal_number: int, parent: int) -> None:
    """Have the kernel send this process a signal when the thread that started it ends (Linux only); end if its parent is gone.

    Parameters
    ----------
    signal_number
        The signal.
    parent
        Process id of the parent.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent:  # it died before it was asked for
        os._exit(os.EX_OK)
