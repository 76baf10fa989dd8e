"""Ports of servers that are told theirs before they start: no two test processes of a machine get the same one, nor does anybody else."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
from typing import Any

from tests.support.harness import wait_until

_FIRST, _COUNT = 10_000, 20_000
"""Below those that the system gives to whoever does not choose."""

_order = itertools.count(os.getpid() * 101)
_kept: list[socket.socket] = []


def free_port() -> int:
    """Return a port that nothing listens at, and that stays this process's to give away until it ends.

    A socket is bound to it and never listens: the system gives the port to nobody, and a server with SO_REUSEADDR, as all
    have here, may listen there.
    """
    while True:
        port = _FIRST + next(_order) % _COUNT
        mark, bound = socket.socket(socket.AF_UNIX), socket.socket()
        _kept.extend((mark, bound))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            mark.bind(f"\0cinemill-test-port-{port}")
            bound.bind(("", port))
        except OSError:
            continue
        return port


def await_port(port: int, process: subprocess.Popen[Any]) -> None:
    """Wait until a process listens at a port."""

    def listens() -> bool:
        try:
            socket.create_connection(("localhost", port), timeout=20).close()
        except OSError:
            assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
            return False
        return True

    wait_until(listens)
