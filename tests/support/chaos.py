"""What goes wrong around a process: a network that delays, stalls and cuts connections, and a disk that is full for a moment."""

from __future__ import annotations

import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_PIECE = 1 << 14


@dataclass
class BadNetwork:
    """A proxy for TCP: each connection gets its fate when it is opened.

    Attributes
    ----------
    bad
        The part of connections that is not well; 0 for a network that is.
    fates
        How often each fate was dealt out.
    """

    port: int
    chance: random.Random
    bad: float = 0.3
    stall: float = 3.0
    listening: int = 0
    fates: dict[str, int] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    def serve(self, server: socket.socket) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            names = ("cut", "delay", "stall", "refuse")
            fate = self.chance.choice(names) if self.chance.random() < self.bad else "well"
            self.fates[fate] = self.fates.get(fate, 0) + 1
            after = int(2 ** self.chance.uniform(6, 18))
            threading.Thread(target=self._one, args=(connection, fate, after), daemon=True).start()

    def _one(self, client: socket.socket, fate: str, after: int) -> None:
        with client:
            if fate == "refuse":
                return
            try:
                node = socket.create_connection(("127.0.0.1", self.port), timeout=5)
            except OSError:
                return
            with node:
                node.settimeout(None)
                back = threading.Thread(target=self._pass, args=(node, client, fate, after), daemon=True)
                back.start()
                self._pass(client, node, fate, after)
                back.join()

    def _pass(self, one: socket.socket, other: socket.socket, fate: str, after: int) -> None:
        passed = 0
        with suppress(OSError):
            while piece := one.recv(_PIECE):
                if passed + len(piece) > after and fate == "cut":
                    other.sendall(piece[: max(after - passed, 0)])
                    break
                if fate == "delay":
                    time.sleep(0.01)
                if fate == "stall" and passed <= after < passed + len(piece):
                    time.sleep(self.stall)
                other.sendall(piece)
                passed += len(piece)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self._ended.set()


@contextmanager
def bad_network(port: int, seed: int, bad: float = 0.3) -> Iterator[BadNetwork]:
    """Stand between a client and the node at a port of this machine."""
    network = BadNetwork(port, random.Random(seed), bad)
    server = socket.create_server(("127.0.0.1", 0), backlog=64)
    network.listening = int(server.getsockname()[1])
    threading.Thread(target=network.serve, args=(server,), daemon=True).start()
    try:
        yield network
    finally:
        network.end()
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """Make a directory, and mount a file system of its own there; False where that is not allowed."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
    mounted = not subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def fill(folder: Path) -> Iterator[None]:
    """Leave no room on a disk for the time of the context."""
    filler = folder / "filler"
    try:
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield
    finally:
        filler.unlink()
