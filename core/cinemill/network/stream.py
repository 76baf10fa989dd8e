"""Reads what a peer sends, and writes to it: never more in memory than two buffers, never longer than a deadline."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from cinemill.errors import Cancelled, NodeError

NAP = 1.0
"""Seconds after which a run that waits for its peer looks whether it was stopped."""

SLOWEST = 1 << 10
"""Bytes a second that a peer has to send or take in the long run."""

_SMALL = 1 << 14
_LARGE = 1 << 18
_QUICK = getattr(socket, "TCP_QUICKACK", None)
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 4 << 20


class Gone(NodeError):
    """The peer closed the connection, or the network did."""

    def __init__(self, message: str, outcome: str = "lost") -> None:
        super().__init__(message, outcome=outcome)


class Late(NodeError):
    """The peer was given time, and did not use it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, outcome="stalled")


class Stream:
    """The two ways of one connection.

    Parameters
    ----------
    connection
        Connected.
    seconds
        That the peer is given where nothing else is said.
    meanwhile
        Called every now and then while the peer is waited for; may raise.
    """

    def __init__(
        self, connection: socket.socket, seconds: float, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        self._socket = connection
        self._meanwhile = meanwhile
        self._small = bytearray(_SMALL)
        self._large: memoryview | None = None
        self._start = self._end = 0
        self._usual = self._allowed = seconds
        self._deadline = time.monotonic()

    def allow(self, seconds: float | None = None) -> None:
        """Give the peer so much time from now on, for whatever is read or written."""
        self._allowed = self._usual if seconds is None else seconds
        self._deadline = time.monotonic() + self._allowed

    def shorten(self, seconds: float) -> None:
        """Take so many seconds from what the peer was given."""
        self._deadline -= seconds

    def _moved(self, count: int) -> None:
        """Give a peer that goes on, if slowly, the time for what it sent or took; never more than it was given at first."""
        self._deadline = min(self._deadline + count / SLOWEST, time.monotonic() + self._allowed)

    def shake_hands(self) -> None:
        """Do the handshake of TLS, where the connection is one."""
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.settimeout(self._left)
            try:
                self._socket.do_handshake()
            except TimeoutError:
                raise Late("no TLS handshake in time") from None
            except OSError as error:
                raise _gone(error, "no TLS handshake: ") from None

    def wait(self, stop: int | None) -> bool:
        """Wait until something can be read; False where `stop`, a descriptor, can be read before.

        Raises
        ------
        Late
            Nothing came until the deadline.
        """
        if self._is_read_already:
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if stop is not None:
            poll.register(stop, select.POLLIN)
        ready = poll.poll(self._left * 1000)
        if not ready:
            raise Late(f"nothing came for {self._allowed:.0f} s")
        return all(descriptor != stop for descriptor, _ in ready)

    @property
    def has_news(self) -> bool:
        """Whether something can be read at once."""
        if self._is_read_already:
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    @property
    def _is_read_already(self) -> bool:
        return self._start < self._end or (
            isinstance(self._socket, ssl.SSLSocket) and bool(self._socket.pending())
        )

    def exact(self, count: int) -> bytes:
        """Return the next bytes, which are few.

        Raises
        ------
        Gone
            The connection was closed before.
        Late
            They did not come until the deadline.
        """
        parts = []
        while count:
            if self._start == self._end:
                self._start, self._end = 0, self._receive(memoryview(self._small))
            part = bytes(self._small[self._start : min(self._end, self._start + count)])
            self._start += len(part)
            count -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def pieces(self, count: int) -> Iterator[memoryview]:
        """Yield the next bytes, piece by piece, each of which is gone when the next one is asked for.

        Raises
        ------
        Gone
            The connection was closed before.
        Late
            They did not come until the deadline.
        """
        if self._start < self._end and count:
            stop = min(self._end, self._start + count)
            piece = memoryview(self._small)[self._start : stop]
            self._start = stop
            count -= len(piece)
            yield piece
        if count and self._large is None:
            self._large = memoryview(bytearray(_LARGE))
        while count:
            assert self._large is not None
            got = self._receive(self._large[:count])
            self._moved(got)
            count -= got
            yield self._large[:got]

    def send(self, data: bytes | bytearray) -> None:
        """Send bytes.

        Raises
        ------
        Gone
            The connection was closed.
        Late
            The peer does not take them.
        """
        left = memoryview(data)
        while left:
            taken = self._waiting("what was sent was not taken", partial(self._socket.send, left))
            self._moved(taken)
            left = left[taken:]

    def ask(self, question: bytes, length: int, seconds: float) -> None:
        """Send a last PDU, wait for the beginning of its answer, unless the run is stopped, and close.

        Parameters
        ----------
        question
            The PDU.
        length
            Of the beginning.
        seconds
            How long it is waited for.
        """
        with suppress(OSError, Gone, Late, Cancelled):
            self.allow(seconds)
            self.send(question)
            self.exact(length)
        self.part()

    def part(self, farewell: bytes = b"") -> None:
        """Send a last PDU and close; what the peer still sends is read for a moment, so that the PDU is not lost."""
        self._meanwhile = lambda: None
        with suppress(OSError, Gone, Late, ValueError):
            self.allow(_LINGER_SECONDS)
            if farewell:
                self.send(farewell)
                self._socket.shutdown(socket.SHUT_WR)
                for _ in range(_LINGER_BYTES // _SMALL):
                    self._receive(memoryview(self._small))
        with suppress(OSError):
            self._socket.close()

    @property
    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise Late(f"what was awaited did not come in {self._allowed:.0f} s")
        return left

    def _waiting(self, late: str, do: Callable[[], int]) -> int:
        """Return what a call returns that waits for the peer, and say what is late where that takes too long."""
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise Late(f"{late} in {self._allowed:.0f} s")
            self._socket.settimeout(min(left, NAP))
            try:
                return do()
            except TimeoutError:
                self._meanwhile()
            except OSError as error:
                raise _gone(error) from None

    def _receive(self, into: memoryview) -> int:
        if _QUICK is not None:  # a peer that waits for it sends the next small PDU 40 ms later
            with suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICK, 1)
        got = self._waiting("what was awaited did not come", partial(self._socket.recv_into, into))
        if not got:
            raise Gone("the peer closed the connection")
        return got


def _gone(error: OSError, when: str = "") -> Gone:
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return Gone(f"{when}TLS failed: {error.reason or error}", outcome="tls")
    return Gone(f"{when}the connection was lost: {error.strerror or error}")
