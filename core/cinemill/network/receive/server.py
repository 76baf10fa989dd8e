"""Listens for associations, with a thread for each; a connection that requests none in time is closed."""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from cinemill.errors import UsageError
from cinemill.network.association import Association
from cinemill.network.pdu import Context
from cinemill.network.receive.acceptor import Acceptor, Destination, Service
from cinemill.network.receive.commitment import Asked
from cinemill.network.receive.limits import Limits
from cinemill.network.receive.peers import Observer, Peer
from cinemill.network.stream import Stream

_WAITING = 64
"""Connections that may have no association, since they have not asked for one yet or are told that it is over; one more, and
the oldest is closed."""

_BACKLOG = 1024
_TICK_MILLISECONDS = 500
_OVERLOADED_SECONDS = 0.1


class Server:
    """Takes associations for the time of the context, or until it is stopped.

    Parameters
    ----------
    host, port
        Where to listen; every address where the host is empty, any free port where it is 0.
    inbox
        Where instances go.
    limits
        What is allowed.
    observer
        Who is told.
    committed, reported, passed
        See `Service`.
    tls
        Peers have to speak TLS.

    Raises
    ------
    UsageError
        It can't be listened there.
    """

    def __init__(
        self,
        host: str,
        port: int,
        inbox: Destination,
        limits: Limits,
        observer: Observer,
        committed: Callable[[Peer, Association, Context, Asked], None] | None = None,
        tls: ssl.SSLContext | None = None,
        *,
        reported: Callable[[bytes, str], None] | None = None,
        passed: Callable[[int], None] | None = None,
    ) -> None:
        self._limits, self._observer, self._tls = limits, observer, tls
        try:
            self._socket = _bound(host, port)
        except OSError as error:
            raise UsageError(
                f"can't listen at port {port}{f' of {host}' if host else ''}: {error.strerror}; choose another --port"
            ) from None
        self.port: int = self._socket.getsockname()[1]
        self._wake, self._stop = os.pipe()
        self._service = Service(inbox, limits, observer, committed, self._wake, reported, passed)
        self._lock = threading.Lock()
        self._waiting: dict[socket.socket, None] = {}
        self._admitted: Counter[str] = Counter()
        self._threads: set[threading.Thread] = set()
        self._thread = threading.Thread(target=self._take_connections, daemon=True)

    @property
    def associations(self) -> int:
        """How many there are now."""
        with self._lock:
            return self._admitted.total()

    def _take_connections(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = dict(poll.poll(_TICK_MILLISECONDS))
            if self._wake in ready:
                return
            if ready:
                self._accept()

    def stop(self) -> None:
        """Take no more connections, and no more messages on those that are there; may be called by a signal handler."""
        with suppress(OSError):
            os.write(self._stop, b".")

    def join(self, seconds: float) -> bool:
        """Wait for messages that are under way; False where some are not done in time."""
        deadline = time.monotonic() + seconds
        for thread in self._all_threads():
            thread.join(max(deadline - time.monotonic(), 0))
        return not any(thread.is_alive() for thread in self._all_threads())

    def _all_threads(self) -> list[threading.Thread]:
        with self._lock:
            return list(self._threads)

    def _accept(self) -> None:
        try:
            connection, address = self._socket.accept()
        except OSError:
            self._close_oldest()
            time.sleep(_OVERLOADED_SECONDS)
            return
        host = str(address[0]).removeprefix("::ffff:").partition("%")[0]
        if not self._limits.allows_address(host):
            self._observer.told(Peer(host), "closed: its address is not allowed")
            connection.close()
            return
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if len(self._waiting) >= _WAITING:
            self._close_oldest()
        if self._tls is not None:
            try:
                connection = self._tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            except OSError:  # it has been closed meanwhile
                connection.close()
                return
        thread = threading.Thread(target=self._serve, args=(connection, Peer(host)), daemon=True)
        with self._lock:  # only a thread that was started can be waited for
            try:
                thread.start()
            except RuntimeError:
                connection.close()
                return
            self._waiting[connection] = None
            self._threads.add(thread)

    def _serve(self, connection: socket.socket, peer: Peer) -> None:
        admitted: list[str] = []

        def admit() -> bool:
            with self._lock:
                self._waiting.pop(connection, None)
                of_address = self._admitted[peer.address]
                if (
                    self._admitted.total() >= self._limits.associations
                    or of_address >= self._limits.per_address
                ):
                    return False
                self._admitted[peer.address] = of_address + 1
            admitted.append(peer.address)
            return True

        def leave() -> None:
            with self._lock:
                self._waiting[connection] = None
                self._admitted.subtract(admitted)
                self._admitted += Counter()
            admitted.clear()

        try:
            stream = Stream(connection, self._limits.network_seconds)
            Acceptor(stream, peer, self._service).serve(admit, leave)
        except Exception as error:  # noqa: BLE001  # one association must not stop the others
            self._observer.told(
                peer, f"ended by an unexpected {type(error).__name__}: {error}; please report it"
            )
        finally:
            leave()
            connection.close()
            self._forget(connection, threading.current_thread())

    def _forget(self, connection: socket.socket, thread: threading.Thread) -> None:
        with self._lock:
            self._waiting.pop(connection, None)
            self._threads.discard(thread)

    def _close_oldest(self) -> None:
        """Make room: who has been without an association for longest goes; its thread notices and closes."""
        with self._lock:
            oldest = next(iter(self._waiting), None)
            if oldest is None:
                return
            del self._waiting[oldest]
        with suppress(OSError):
            socket.socket.shutdown(oldest, socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()
        self._socket.close()
        if not self._all_threads():
            os.close(self._wake)
            os.close(self._stop)


def _bound(host: str, port: int) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)
