"""Takes associations from nodes while they are asked for something: instances of C-MOVE, results of storage commitment."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cinemill.errors import CinemillError, NodeError, UsageError
from cinemill.network import associations, commands, pdu
from cinemill.network.associations import Association, explained, read_head, read_into
from cinemill.network.commands import Field
from cinemill.network.connect import VERIFICATION
from cinemill.network.pdu import Context, Proposed
from cinemill.network.query import decoded_identifier
from cinemill.network.retrieve import take_store
from cinemill.network.tls import server_context
from cinemill.syntaxes import TRANSFER_SYNTAXES

if TYPE_CHECKING:
    from pydicom import Dataset

    from cinemill.network.arrivals import Arrivals
    from cinemill.network.nodes import Dimse

COMMITMENT = "1.2.840.10008.1.20.1"
_STORAGE = "1.2.840.10008.5.1.4."
_NATIVE = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2")
_LARGEST_REQUEST = 1 << 20
_BACKLOG = 16


@dataclass
class Listener:
    """Accepts associations in threads of its own for the time of its context.

    Parameters
    ----------
    way
        How the node is reached that will come: our AE title and port, TLS and timeout are those of its entry.
    passed
        See `cinemill.network.associations.Association`.
    """

    way: Dimse
    passed: Callable[[int], None] | None = None
    host: str = ""
    _studies: dict[str, Arrivals] = field(default_factory=dict)
    _results: list[Dataset] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _connections: set[socket.socket] = field(default_factory=set)
    _open: bool = False

    def expect(self, arrivals: Arrivals) -> None:
        """Take the instances of a study from now on."""
        self._studies[arrivals.study] = arrivals

    def forget(self, arrivals: Arrivals) -> None:
        """Take no more of that study."""
        self._studies.pop(arrivals.study, None)

    def result(self, transaction: str, timeout: float) -> Dataset | None:
        """Return the result of a storage commitment, None where none comes in time."""

        def there() -> Dataset | None:
            return next((each for each in self._results if each.get("TransactionUID") == transaction), None)

        with self._news:
            return self._news.wait_for(there, timeout)

    def __enter__(self) -> Self:
        self._context = None if self.way.tls is None else server_context(self.way.tls)
        try:
            self._server = socket.create_server((self.host, self.way.listen or 0), backlog=_BACKLOG)
        except OSError as error:
            raise UsageError(
                f"port {self.way.listen} can't be listened at: {error.strerror}; end what has it, or change listen"
            ) from None
        self._open = True
        threading.Thread(target=self._serve, name="cinemill-listener", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def port(self) -> int:
        """At which it listens."""
        return int(self._server.getsockname()[1])

    def _serve(self) -> None:
        while self._open:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            if len(self._connections) >= _BACKLOG:
                connection.close()
                continue
            self._connections.add(connection)
            threading.Thread(target=self._serve_one, args=(connection,), daemon=True).start()

    def _serve_one(self, connection: socket.socket) -> None:
        plain = connection
        try:
            connection.settimeout(self.way.timeout)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            association, sender = self._accept(connection)
            with association:
                while True:
                    self._answer(association, sender)
        except (CinemillError, OSError, ssl.SSLError, EOFError):
            pass  # what is missing is known by who asked for it
        finally:
            self._connections.discard(plain)
            connection.close()

    def _accept(self, connection: socket.socket) -> tuple[Association, str]:
        with explained(self.way.timeout, "while an association was awaited"):
            kind, length = read_head(connection)
            if kind != pdu.ASSOCIATE_RQ or length > _LARGEST_REQUEST:
                raise NodeError(f"a PDU of type {kind} with {length} bytes came first", outcome="nonsense")
            body = bytearray(length)
            read_into(connection, memoryview(body))
            asked = pdu.Request.decode(bytes(body))
            if asked.called != self.way.calling:
                connection.sendall(pdu.header(pdu.ASSOCIATE_RJ, 4) + bytes((0, 1, 1, 7)))
                raise NodeError(f"{asked.called!r} was called, which is not us", outcome="refused")
            results = {number: _result(proposed) for number, proposed in asked.contexts.items()}
            roles = asked.roles & {COMMITMENT}
            answer = pdu.Acceptance(
                asked.called, asked.calling, results, associations.LARGEST_PDU, frozenset(roles)
            )
            connection.sendall(answer.encode())
        contexts = {
            number: Context(number, asked.contexts[number].sop_class, syntax)
            for number, (result, syntax) in results.items()
            if result == 0
        }
        return Association(connection, contexts, asked.most, self.passed), asked.calling

    def _answer(self, association: Association, sender: str) -> None:
        context, request = association.receive()
        match request["CommandField"]:
            case Field.STORE_RQ:
                take_store(association, context, request, self._arrivals(request), sender)
            case Field.ECHO_RQ:
                association.send(context, commands.response(request, 0x0000))
            case Field.EVENT_RQ:
                result = decoded_identifier(association.data_set(), context.syntax)
                with self._news:
                    self._results.append(result)
                    self._news.notify_all()
                association.send(context, commands.response(request, 0x0000))
            case other:
                association.skip_data()
                if other & 0x8000:
                    raise NodeError(f"a response {other:04X} came that answers nothing", outcome="nonsense")
                association.send(context, commands.response(request, 0x0211))

    def _arrivals(self, request: commands.Command) -> Arrivals:
        """Return where an instance goes: the only study that is expected, or that which has asked for it by name."""
        instance = str(request.get("AffectedSOPInstanceUID", ""))
        expected = list(self._studies.values())
        named = (each for each in expected if each.awaited is not None and instance in each.awaited)
        found = next(named, None) or (expected[0] if len(expected) == 1 else None)
        if found is None:
            raise NodeError(f"{instance} comes, which nobody asked for", outcome="different")
        return found


def _result(proposed: Proposed) -> tuple[int, str]:
    """Return whether a context is accepted, and its transfer syntax: one that is compressed, if there is one."""
    if not proposed.sop_class.startswith(_STORAGE) and proposed.sop_class not in {VERIFICATION, COMMITMENT}:
        return 3, _NATIVE[1]
    known = [syntax for syntax in proposed.syntaxes if syntax in TRANSFER_SYNTAXES]
    if not known:
        return 4, _NATIVE[1]
    return 0, min(known, key=lambda syntax: _NATIVE.index(syntax) + 1 if syntax in _NATIVE else 0)
