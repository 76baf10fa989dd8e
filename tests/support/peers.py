"""Peers that do what real nodes do on their bad days: over DIMSE and over HTTP, each in a thread of the test."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt

from cinemill.errors import NodeError
from cinemill.network import commands, pdu
from cinemill.network.association import Association
from cinemill.network.nodes import Dimse, Node, Web
from cinemill.network.pdu import Context
from cinemill.network.stream import Stream

Conduct = Callable[[Association], None]


def dimse_node(port: int, *, timeout: float = 30.0, listen: int | None = None, **more: Any) -> Node:
    return Node("peer", "get", Dimse("127.0.0.1", port, "PEER", "CINEMILL", listen, timeout), **more)


@contextmanager
def peer(
    conduct: Conduct | None = None,
    *,
    bare: Callable[[socket.socket], None] | None = None,
    **more: Any,
) -> Iterator[Node]:
    """Accept associations with all their contexts, and do to each what `conduct` says; or to the bare connection."""
    server = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError, EOFError, NodeError):
            connection.settimeout(60)
            if bare is not None:
                bare(connection)
            elif conduct is not None:
                conduct(accepted(connection))

    def serve() -> None:
        while not ended.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield dimse_node(server.getsockname()[1], **more)
    finally:
        ended.set()
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()


def accepted(connection: socket.socket) -> Association:
    """Accept whatever is proposed."""
    stream = Stream(connection, 60.0)
    stream.allow()
    _, length = pdu.HEADER.unpack(stream.exact(pdu.HEADER.size))
    asked = pdu.Request.decode(stream.exact(length))
    results = {number: (0, proposed.syntaxes[0]) for number, proposed in asked.contexts.items()}
    connection.sendall(pdu.Acceptance(asked.called, asked.calling, results, 16384, asked.roles).encode())
    contexts = {
        number: Context(number, asked.contexts[number].sop_class, syntax)
        for number, (_, syntax) in results.items()
    }
    return Association(stream, contexts, asked.most)


def answering(status: int, **more: Any) -> Conduct:
    """Answer every request with a status."""

    def conduct(association: Association) -> None:
        while True:
            context, request = association.receive()
            association.skip_data()
            association.send(context, {**commands.response(request, status), **more})

    return conduct


@dataclass
class WebPeer:
    """A server whose answers are given: each takes the request, and returns status, fields and body."""

    answers: list[Any]
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@contextmanager
def web_peer(*answers: Any, **more: Any) -> Iterator[tuple[Node, WebPeer]]:
    """Serve HTTP: each request gets the next answer, the last one again and again."""
    told = WebPeer(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(self) -> None:
            told.requests.append((self.command, self.path))
            told.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            given = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
            status, fields, body = given(self) if callable(given) else given
            self.send_response(status)
            usual = {"Content-Length": str(len(body)), "Connection": "close"}
            for name, value in (usual | fields).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/dicom-web"
        yield Node("peer", "web", None, Web(url, timeout=30.0), **more), told
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def pynetdicom_peer(
    contexts: Collection[str] = (),
    handlers: Sequence[Any] = (),
    *,
    title: str = "PEER",
    most: int = 16382,
    ssl_context: ssl.SSLContext | None = None,
    **more: Any,
) -> Iterator[Node]:
    """Start pynetdicom's server, which takes SOP classes in Explicit VR Little Endian, from who calls it by its title."""
    ae = AE(ae_title=title)
    ae.require_called_aet = True
    ae.maximum_pdu_size = most
    for sop_class in contexts:
        ae.add_supported_context(sop_class, [ExplicitVRLittleEndian])
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=list(handlers), ssl_context=ssl_context
    )
    assert server is not None
    try:
        yield dimse_node(int(server.server_address[1]), **more)
    finally:
        server.shutdown()


def keeping(received: list[bytes]) -> list[Any]:
    """Return the handlers of a server that keeps the data sets it gets, as they came."""

    def keep(event: Any) -> int:
        received.append(event.request.DataSet.getvalue())
        return 0

    return [(evt.EVT_C_STORE, keep)]
