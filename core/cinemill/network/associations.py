"""Associations: messages over one connection, requested or accepted, with data sets streamed from and to files (PS3.8).

Blocking, in the thread that calls. An association waits for its peer no longer than its timeout, and holds no more of a
data set than one block of it, whatever its size.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from cinemill.errors import NodeError
from cinemill.network import commands, pdu
from cinemill.network.commands import Command
from cinemill.network.pdu import Context

LARGEST_PDU = 1 << 17
_BLOCK = 1 << 20
_PDV_HEAD = 6
_LAST, _COMMAND = 2, 1
_LARGEST_COMMAND = 1 << 16
_RELEASE_PATIENCE = 5.0
_HEADS = struct.Struct(">BBLLBB")
"""Before the bytes of a fragment: type, reserved, length of the PDU; length, context and control of its only PDV."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A data set that stands in an open file.

    Attributes
    ----------
    file
        Descriptor.
    start, end
        Between which offsets.
    """

    file: int
    start: int
    end: int


class Association:
    """An association that was negotiated: leaving its context releases it, or aborts it after an error.

    Parameters
    ----------
    connection
        Open.
    contexts
        Those that were accepted, by number.
    most
        Bytes of a PDU that the peer takes; 0 for any number.
    passed
        Called with the bytes of each block of data sets, sent or received; may wait, or raise.
    """

    def __init__(
        self,
        connection: socket.socket,
        contexts: Mapping[int, Context],
        most: int,
        passed: Callable[[int], None] | None = None,
    ) -> None:
        self._socket = connection
        self.contexts = dict(contexts)
        payload = (min(most, LARGEST_PDU) if most else LARGEST_PDU) - _PDV_HEAD
        self._payload = max(payload, 64) // 2 * 2
        self._passed = passed or (lambda _: None)
        self._buffer = bytearray(LARGEST_PDU)
        self._at = self._end = 0
        self._message = 0
        self._open = True
        self._awaits_data = False

    def context_for(self, sop_class: str, syntax: str = "") -> Context | None:
        """Return the accepted context of a class, and of a transfer syntax where one is given."""
        fitting = (
            each
            for each in self.contexts.values()
            if each.sop_class == sop_class and syntax in {"", each.syntax}
        )
        return next(fitting, None)

    def next_message(self) -> int:
        """Return a Message ID that no earlier request has."""
        self._message = self._message % 0xFFFF + 1
        return self._message

    def send(self, context: Context, command: Command, data: bytes | Stored | None = None) -> None:
        """Send a message.

        Parameters
        ----------
        context
            Under which.
        command
            Its command set, but for Command Data Set Type.
        data
            Its data set, encoded.

        Raises
        ------
        NodeError
            The connection is lost, or the peer takes nothing.
        """
        kind = commands.NO_DATA_SET if data is None else 1
        encoded = commands.encode({**command, "CommandDataSetType": kind})
        with self._explained("while it was sent"):
            self._socket.sendall(self._fragments(context.number, _COMMAND, encoded))
            if isinstance(data, Stored):
                self._send_stored(context.number, data)
            elif data is not None:
                self._socket.sendall(self._fragments(context.number, 0, data))

    def _fragments(self, context: int, control: int, data: bytes) -> bytes:
        parts: list[bytes] = []
        for start in range(0, max(len(data), 1), self._payload):
            part = data[start : start + self._payload]
            last = _LAST if start + self._payload >= len(data) else 0
            parts += (_head(context, control | last, len(part)), part)
        return b"".join(parts)

    def _send_stored(self, context: int, data: Stored) -> None:
        """Read block after block of a file to between the heads of its PDUs, so that nothing is copied once more."""
        count = max(1, min(512, _BLOCK // self._payload))
        block, gaps = _framed(context, [self._payload] * count, last=False)
        offset, whole = data.start, self._payload * count
        while data.end - offset > whole:
            offset += _fill(data.file, gaps, offset, whole)
            self._socket.sendall(block)
            self._passed(whole)
        sizes = [self._payload] * ((data.end - offset) // self._payload)
        if rest := (data.end - offset) % self._payload:
            sizes.append(rest)
        block, gaps = _framed(context, sizes, last=True)
        _fill(data.file, gaps, offset, data.end - offset)
        self._socket.sendall(block)
        self._passed(data.end - offset)

    def receive(self) -> tuple[Context, dict[str, Any]]:
        """Return the next message's context and command set; its data set, if any, is to be read by `data`.

        Raises
        ------
        NodeError
            The peer aborted, released, stalled, or sent what is no message.
        """
        encoded = bytearray()
        while True:
            number, control, part = self._next_fragment()
            if not control & _COMMAND or number not in self.contexts:
                raise NodeError(
                    f"expected a command in one of {len(self.contexts)} contexts, found control {control} in {number}",
                    outcome="nonsense",
                )
            encoded += part
            if len(encoded) > _LARGEST_COMMAND:
                raise NodeError(f"a command has more than {_LARGEST_COMMAND} bytes", outcome="nonsense")
            if control & _LAST:
                command = commands.decode(bytes(encoded))
                self._awaits_data = commands.has_data_set(command)
                return self.contexts[number], command

    def data(self) -> Iterator[memoryview]:
        """Yield the data set that follows the command, by parts that are valid until the next one is asked for.

        Raises
        ------
        NodeError
            See `receive`.
        """
        while self._awaits_data:
            _, control, part = self._next_fragment()
            if control & _COMMAND:
                raise NodeError("expected a data set, found another command", outcome="nonsense")
            self._awaits_data = not control & _LAST
            yield part
            self._passed(len(part))

    def has_news(self) -> bool:
        """Whether the peer has sent something that was not received yet."""
        return self._at < self._end or bool(select.select([self._socket], [], [], 0)[0])

    def skip_data(self) -> None:
        """Let the data set that follows pass."""
        for _ in self.data():
            pass

    def data_set(self, most: int = 1 << 24) -> bytes:
        """Return a data set that is small, as those of queries are.

        Raises
        ------
        NodeError
            It is larger than `most`, or: see `receive`.
        """
        whole = bytearray()
        for part in self.data():
            whole += part
            if len(whole) > most:
                raise NodeError(
                    f"a data set has more than the {most} bytes that it may have here", outcome="nonsense"
                )
        return bytes(whole)

    def _next_fragment(self) -> tuple[int, int, memoryview]:
        with self._explained("while its answer was awaited"):
            while self._at >= self._end:
                self._read_pdu()
        left = self._end - self._at
        length = int.from_bytes(self._buffer[self._at : self._at + 4], "big") if left >= _PDV_HEAD else 0
        if not 2 <= length <= left - 4:
            raise NodeError(
                f"a PDV of {length} bytes stands in a PDU that has {left} left", outcome="nonsense"
            )
        start, self._at = self._at, self._at + 4 + length
        part = memoryview(self._buffer)[start + _PDV_HEAD : self._at]
        return self._buffer[start + 4], self._buffer[start + 5], part

    def _read_pdu(self) -> None:
        kind, length = read_head(self._socket)
        if kind == pdu.ABORT:
            self._open = False
            body = read_exactly(self._socket, min(length, 64))
            by = (
                "the user"
                if body[2:3] == b"\0"
                else f"the provider, reason {body[3] if len(body) > 3 else 0}"
            )
            raise NodeError(f"the association was aborted by the peer ({by})", outcome="aborted")
        if kind == pdu.RELEASE_RQ:
            read_exactly(self._socket, min(length, 64))
            self._socket.sendall(pdu.header(pdu.RELEASE_RP, 4) + bytes(4))
            self._open = False
            raise Released("the peer released the association", outcome="lost")
        if kind != pdu.DATA or length > LARGEST_PDU:
            raise NodeError(
                f"expected data of at most {LARGEST_PDU} bytes, found a PDU of type {kind} with {length}",
                outcome="nonsense",
            )
        read_into(self._socket, memoryview(self._buffer)[:length])
        self._at, self._end = 0, length

    @contextmanager
    def _explained(self, when: str) -> Iterator[None]:
        try:
            with explained(self._socket.gettimeout(), when):
                yield
        except NodeError as error:
            self._open = self._open and error.outcome == "nonsense"
            raise

    def release(self) -> None:
        """End the association in good order; a peer that does not answer to that is left alone."""
        if self._open:
            self._open = False
            with suppress(OSError, NodeError):
                self._socket.settimeout(_RELEASE_PATIENCE)
                self._socket.sendall(pdu.header(pdu.RELEASE_RQ, 4) + bytes(4))
                read_head(self._socket)
        self._socket.close()

    def abort(self) -> None:
        """End the association at once."""
        if self._open:
            self._open = False
            with suppress(OSError):
                self._socket.settimeout(_RELEASE_PATIENCE)
                self._socket.sendall(pdu.header(pdu.ABORT, 4) + bytes(4))
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.release()
        else:
            self.abort()


class Released(NodeError):
    """The peer ended the association in good order."""


@contextmanager
def explained(timeout: float | None, when: str) -> Iterator[None]:
    """Turn what the system says of a connection into a named outcome.

    Parameters
    ----------
    timeout
        Of the connection.
    when
        It happened.
    """
    try:
        yield
    except TimeoutError:
        raise NodeError(f"nothing moved for {timeout:.0f} s {when}", outcome="stalled") from None
    except ssl.SSLError as error:
        raise NodeError(f"TLS failed {when}: {error.reason or error}", outcome="tls") from None
    except (ConnectionError, EOFError) as error:
        raise NodeError(f"the connection was lost {when} ({error})", outcome="lost") from None


def read_head(connection: socket.socket) -> tuple[int, int]:
    """Return type and length of the next PDU."""
    kind, _, length = struct.unpack(">BBL", read_exactly(connection, 6))
    return kind, length


def read_into(connection: socket.socket, view: memoryview) -> None:
    """Fill a buffer from a connection."""
    while len(view):
        count = connection.recv_into(view)
        if not count:
            raise EOFError(f"closed with {len(view)} bytes to come")
        view = view[count:]


def read_exactly(connection: socket.socket, length: int) -> bytes:
    """Return so many bytes of a connection."""
    data = bytearray(length)
    read_into(connection, memoryview(data))
    return bytes(data)


def _head(context: int, control: int, length: int) -> bytes:
    return _HEADS.pack(pdu.DATA, 0, length + _PDV_HEAD, length + 2, context, control)


def _framed(context: int, sizes: Sequence[int], *, last: bool) -> tuple[bytearray, list[memoryview]]:
    """Return the PDUs of fragments of these sizes, and the gaps in them where the fragments belong."""
    block = bytearray(sum(sizes) + len(sizes) * _HEADS.size)
    view, gaps, offset = memoryview(block), [], 0
    for number, size in enumerate(sizes, 1):
        control = _LAST if last and number == len(sizes) else 0
        block[offset : offset + _HEADS.size] = _head(context, control, size)
        offset += _HEADS.size
        gaps.append(view[offset : offset + size])
        offset += size
    return block, gaps


def _fill(file: int, gaps: Sequence[memoryview], offset: int, expected: int) -> int:
    found = os.preadv(file, gaps, offset)
    if found != expected:
        raise NodeError(f"{expected} bytes of the file were expected, {found} are there", outcome="damaged")
    return found
