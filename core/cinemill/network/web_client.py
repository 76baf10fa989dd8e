"""An HTTP client over a connection that is kept open; bodies are streamed through buffers of a fixed size."""

from __future__ import annotations

import io
import math
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    HTTPSConnection,
    IncompleteRead,
    InvalidURL,
    RemoteDisconnected,
)
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

from cinemill.errors import NodeError
from cinemill.network.stream import NAP, SLOWEST
from cinemill.network.tls import Tls, client_context

if TYPE_CHECKING:
    from cinemill.network.nodes import Web
    from cinemill.pixel_format import Buffer

_CONNECT_SECONDS = 10.0
_PIECE = 1 << 16
_REST = 1 << 12
"""Bytes behind what was wanted of an answer that are read, so that the connection can be used again."""

_IN_A_PATH = "/%:@!$&'()*+,;=~-._"

_LARGEST_HEAD = 1 << 20
_OVERHEAD = 16
"""Bytes of the connection for each that is wanted of a body: chunks of one byte take six."""


def _await(connection: socket.socket, event: int, seconds: float, meanwhile: Callable[[], None]) -> None:
    """Wait until a connection can be read or written, and say so every now and then.

    Parameters
    ----------
    connection
        Connected.
    event
        ``POLLIN`` or ``POLLOUT``.
    seconds
        After which `TimeoutError` is raised.
    meanwhile
        Called; may raise.
    """
    if isinstance(connection, ssl.SSLSocket) and event == select.POLLIN and connection.pending():
        return
    poll = select.poll()
    poll.register(connection, event)
    end = time.monotonic() + seconds
    while not poll.poll(min(seconds, NAP) * 1000):
        meanwhile()
        seconds = end - time.monotonic()
        if seconds <= 0:
            raise TimeoutError


class _Arriving(io.RawIOBase):
    """The bytes of one answer, as they come: no slower than any network, and with no head without an end.

    Parameters
    ----------
    connection
        Connected.
    file
        Reads from it.
    meanwhile
        See `Client`.
    """

    def __init__(self, connection: socket.socket, file: io.RawIOBase, meanwhile: Callable[[], None]) -> None:
        self._connection, self._file, self._meanwhile = connection, file, meanwhile
        self._seconds = connection.gettimeout() or _CONNECT_SECONDS
        self._came, self._waited = 0, 0.0
        self._wanted = _LARGEST_HEAD

    def want(self, count: int) -> None:
        """Take so many bytes of a body, and what is around them."""
        self._wanted = self._came + count * _OVERHEAD + _LARGEST_HEAD

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what has come: see `io.RawIOBase`."""
        if self._came > self._wanted:
            raise HTTPException(f"more than {self._wanted} bytes without what was asked for")
        left = self._seconds - max(self._waited - self._came / SLOWEST, 0.0)
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        begun = time.monotonic()
        _await(self._connection, select.POLLIN, left, self._meanwhile)
        got = self._file.readinto(buffer)
        if self._came:  # a server may think before it says the first word
            self._waited += time.monotonic() - begun
        self._came += got or 0
        return got

    def close(self) -> None:
        """Read no more."""
        self._file.close()
        super().close()


class _Response(HTTPResponse):
    """An answer that comes through `_Arriving`."""

    def __init__(self, sock: socket.socket, *more: Any, meanwhile: Callable[[], None], **others: Any) -> None:
        super().__init__(sock, *more, **others)
        self.arriving = _Arriving(sock, self.fp.detach(), meanwhile)
        self.fp = io.BufferedReader(self.arriving)


class Answer:
    """What a server answers; its body is read once.

    Parameters
    ----------
    response
        Whose head was read.
    url
        That was asked for, without its query.

    Attributes
    ----------
    code, reason
        Of the status line.
    has_known_end
        Whether the body says itself where it ends; else it ends where the connection does, wherever that is cut.
    """

    def __init__(self, response: _Response, url: str) -> None:
        self._response = response
        self.has_known_end = response.chunked or response.length is not None
        self.url, self.code, self.reason = url, response.status, response.reason

    def field(self, name: str) -> str:
        """Return a field of the head, empty where it has none of that name."""
        return self._response.headers.get(name, "")

    def into(self, buffer: memoryview) -> int:
        """Read bytes of the body into a buffer, and return how many; as many as fit, unless there are no more.

        Raises
        ------
        NodeError
            The body ends too early, does not come in time, or is encoded in a way that was not asked for.
        """
        if (coding := self.field("content-encoding")) not in {"", "identity"}:
            raise NodeError(
                f"{self.url} answers in {coding[:20]}; it was asked for identity", outcome="nonsense"
            )
        self._response.arriving.want(len(buffer))
        with _explained(self.url):
            got = self._response.readinto(buffer)
        if not got and self._response.length:
            raise NodeError(
                f"{self.url}: the answer ends {self._response.length} bytes before its Content-Length",
                outcome="truncated",
            )
        return got

    def whole(self, most: int) -> bytes:
        """Return the body.

        Parameters
        ----------
        most
            Bytes that it may have.

        Raises
        ------
        NodeError
            It has more, ends too early, or does not come in time.
        """
        body, piece = bytearray(), memoryview(bytearray(_PIECE))
        while got := self.into(piece):
            body += piece[:got]
            if len(body) > most:
                raise NodeError(f"{self.url}: an answer has more than {most} bytes", outcome="nonsense")
        return bytes(body)

    def close(self) -> None:
        """Read no more of it; a connection that is not kept goes with it."""
        self._response.close()

    def pass_over(self) -> bool:
        """Read what little is left, as far as that is known; whether nothing is left then."""
        left = self._response.length
        if left is not None and left <= _REST:
            with suppress(NodeError):
                self.into(memoryview(bytearray(_REST)))
        return self._response.isclosed()


class Client:
    """Asks one server, question by question. No proxy is used, and no redirection followed.

    Parameters
    ----------
    way
        How the node is reached.
    meanwhile
        Called every now and then while the server is waited for; may raise.

    Raises
    ------
    UsageError
        The secret or the certificates can't be read.
    """

    def __init__(self, way: Web, meanwhile: Callable[[], None] = lambda: None) -> None:
        self._meanwhile = meanwhile
        self._fields = way.authorization()
        address = urlsplit(way.url)
        seconds = min(way.timeout, _CONNECT_SECONDS)
        if address.scheme == "https":
            context = client_context(Tls(way.authority))
            self._http: HTTPConnection = HTTPSConnection(
                address.hostname or "", address.port, timeout=seconds, context=context
            )
        else:
            self._http = HTTPConnection(address.hostname or "", address.port, timeout=seconds)
        self._http.response_class = partial(_Response, meanwhile=meanwhile)  # type: ignore[assignment]  # it is called
        self._url, self._timeout = way.url, way.timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    @contextmanager
    def ask(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str],
        body: Iterable[Buffer] = (),
        length: int | None = None,
    ) -> Iterator[Answer]:
        """Yield the answer to a question, whatever its status.

        Parameters
        ----------
        method, url
            Of the request; the URL may have a query.
        fields
            Of its head, besides those of all requests.
        body
            By pieces, each of which is gone when the next one is asked for.
        length
            Of the body; None for none.

        Raises
        ------
        NodeError
            The server can't be asked.
        """
        if length is not None:
            fields = {**fields, "Content-Length": str(length)}
        asked, shown = urlsplit(url), url.partition("?")[0]  # a query may be about patients
        target = quote(asked.path or "/", _IN_A_PATH) + (f"?{asked.query}" if asked.query else "")
        done, answer = False, None
        try:
            with _explained(shown):
                self._connect()
                self._http.putrequest(method, target)
                for name, value in {**self._fields, **fields}.items():
                    self._http.putheader(name, value)
                self._http.endheaders()
            sent = self._send(shown, body)
            with _explained(shown):
                response = self._http.getresponse()
            assert isinstance(response, _Response)
            answer = Answer(response, shown)
            yield answer
            done = sent and answer.pass_over()
        finally:
            if answer is not None:
                answer.close()
            if not done:
                self._http.close()

    def _send(self, url: str, body: Iterable[Buffer]) -> bool:
        """Send a body; False where the server has hung up before its end, which it may have answered first."""
        at_once = math.ceil(self._timeout * SLOWEST)  # a piece that is sent has the timeout for all of it
        for piece in body:
            view = memoryview(piece).cast("B")
            try:
                with _explained(url):
                    for start in range(0, len(view), at_once):
                        _await(self._http.sock, select.POLLOUT, self._timeout, self._meanwhile)
                        self._http.send(view[start : start + at_once])
            except NodeError as error:
                if error.outcome != "lost":
                    raise
                return False
        return True

    def _connect(self) -> None:
        """See that there is a connection, and that the server has not closed it meanwhile."""
        kept: socket.socket | None = self._http.sock
        if kept is not None:
            poll = select.poll()
            poll.register(kept, select.POLLIN)
            if not poll.poll(0):
                kept.settimeout(self._timeout)
                return
            self._http.close()
        try:
            self._http.connect()
        except ssl.SSLError as error:
            name = "lost" if isinstance(error, ssl.SSLEOFError) else "tls"
            raise NodeError(f"{self._url} can't be reached: {error}", outcome=name) from None
        except TimeoutError:
            raise NodeError(f"nobody answers at {self._url}", outcome="down") from None
        except OSError as error:
            raise NodeError(f"{self._url} can't be reached: {error}", outcome="down") from None
        self._http.sock.settimeout(self._timeout)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what the library raises into a named outcome."""
    try:
        yield
    except TimeoutError:
        raise NodeError(
            f"{url}: nothing, or next to nothing, moved for the time that is allowed", outcome="stalled"
        ) from None
    except RemoteDisconnected:
        raise NodeError(f"{url}: the server hung up without an answer", outcome="lost") from None
    except OSError as error:
        raise NodeError(
            f"{url}: the connection was lost: {error.strerror or error}", outcome="lost"
        ) from None
    except IncompleteRead:
        raise NodeError(f"{url}: the answer ended too early", outcome="truncated") from None
    except (InvalidURL, UnicodeError):
        raise NodeError(f"{url} is no address", outcome="nonsense") from None
    except HTTPException as error:
        told = f"{type(error).__name__} {error}"[:200]
        raise NodeError(f"{url} answers with no HTTP: {told}", outcome="nonsense") from None
