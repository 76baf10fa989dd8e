"""Associations: messages over one connection, requested or accepted, with data sets streamed from and to files (PS3.8).

Blocking, in the thread that calls. An association waits for its peer no longer than it was told to, and holds no more of a
data set than one block of it, whatever its size and whatever the peer claims.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any, Self

from cinemill.errors import NodeError
from cinemill.network import commands, pdu
from cinemill.network.commands import Command
from cinemill.network.pdu import Context, Violation, checked
from cinemill.network.stream import SLOWEST, Gone, Stream

LARGEST_PDU = 1 << 17
"""Bytes of a PDU that is sent, and of one that is taken where nothing else was agreed."""

_BLOCK = 1 << 20
_AT_ONCE = 512
"""PDUs that are sent together, if they are small."""

_RELEASE_PATIENCE = 5.0


class Released(NodeError):
    """The peer ended the association in good order."""

    def __init__(self) -> None:
        super().__init__("the peer released the association", outcome="lost")


class Aborted(NodeError):
    """The peer ended the association at once."""

    def __init__(self, by: str) -> None:
        super().__init__(f"the association was aborted by the peer ({by})", outcome="aborted")


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
    stream
        The connection.
    contexts
        Those that were accepted, by number.
    most
        Bytes of a PDU that the peer takes, `cinemill.network.pdu.LEAST` or more; 0 for any number.
    taken
        Bytes of a PDU that it was told is taken.
    passed
        Called with the bytes of each block of data sets, sent or received; may wait, or raise.
    """

    def __init__(
        self,
        stream: Stream,
        contexts: Mapping[int, Context],
        most: int,
        *,
        taken: int = LARGEST_PDU,
        passed: Callable[[int], None] | None = None,
    ) -> None:
        self._stream = stream
        self.contexts = dict(contexts)
        header = pdu.VALUE_HEADER.size
        self._payload = ((min(most, LARGEST_PDU) if most else LARGEST_PDU) - header) // 2 * 2
        self._taken = taken
        self._passed = passed or (lambda _: None)
        self._message = 0
        self._open = True
        self._in_pdu = self._in_value = 0
        self._is_last = False
        self._awaited: int | None = None
        self._begun = self._ours = 0.0
        self._size: int | None = None

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

    @property
    def is_under_way(self) -> bool:
        """Whether a part of a message has come."""
        return self._size is not None

    @property
    def seconds(self) -> float:
        """Time since the last message began to arrive."""
        return time.monotonic() - self._begun

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
        kind = commands.NO_DATA_SET if data is None else commands.SOME_DATA_SET
        self._send(context, pdu.COMMAND, commands.encode({**command, "CommandDataSetType": kind}))
        if isinstance(data, Stored):
            self._send_stored(context.number, data)
        elif data is not None:
            self._send(context, 0, data)

    def _send(self, context: Context, control: int, encoded: bytes) -> None:
        self._stream.allow()
        sent = pdu.data(context.number, control, encoded, self._payload)
        while block := b"".join(islice(sent, _AT_ONCE)):
            self._stream.send(block)

    def _send_stored(self, context: int, data: Stored) -> None:
        """Read block after block of a file to between the heads of its PDUs, so that nothing is copied once more."""
        count = max(1, min(_AT_ONCE, _BLOCK // self._payload))
        block, gaps = _framed(context, [self._payload] * count, last=False)
        offset, whole = data.start, self._payload * count
        while data.end - offset > whole:
            offset += _fill(data.file, gaps, offset, whole)
            self._send_block(block, whole)
        sizes = [self._payload] * ((data.end - offset) // self._payload)
        if rest := (data.end - offset) % self._payload:
            sizes.append(rest)
        block, gaps = _framed(context, sizes, last=True)
        _fill(data.file, gaps, offset, data.end - offset)
        self._send_block(block, data.end - offset)

    def _send_block(self, block: bytearray, size: int) -> None:
        self._stream.allow()
        self._stream.send(block)
        self._passed(size)

    def await_message(self, seconds: float, stop: int | None = None) -> bool:
        """Wait for the next message; False where `stop`, a descriptor, can be read before.

        Raises
        ------
        Late
            Nothing came in so many seconds.
        """
        if self._in_pdu or self.is_under_way:
            return True
        self._stream.allow(seconds)
        return self._stream.wait(stop)

    def receive(self) -> tuple[Context, dict[str, Any]]:
        """Return the next message's context and command set; its data set, if any, is to be read by `data`.

        Raises
        ------
        NodeError
            The peer aborted, released, stalled, or sent what is no message.
        """
        encoded = bytearray()
        while True:
            number, control, size = self._next_value()
            if not control & pdu.COMMAND:
                raise Violation("a data set came without its command")
            checked(len(encoded) + size, commands.LARGEST, "a command")
            encoded += self._stream.exact(size)
            if control & pdu.LAST:
                command = commands.decode(bytes(encoded))
                self._awaited = number if commands.has_data_set(command) else None
                if self._awaited is None:
                    self._size = None
                return self.contexts[number], command

    def data(self) -> Iterator[memoryview]:
        """Yield the data set that follows the command, by parts that are valid until the next one is asked for.

        Raises
        ------
        NodeError
            See `receive`.
        """
        while self._awaited is not None:
            if not self._in_value:
                number, control, self._in_value = self._next_value()
                self._is_last = bool(control & pdu.LAST)
                if control & pdu.COMMAND or number != self._awaited:
                    raise Violation("a command, or a part of another message, came inside a data set")
            for part in self._stream.pieces(self._in_value):
                self._in_value -= len(part)
                self._end_message()
                came = time.monotonic()
                yield part
                self._passed(len(part))
                self._ours += time.monotonic() - came
            self._end_message()

    def _end_message(self) -> None:
        """Await nothing more after the last part: who reads it may ask for no other."""
        if self._is_last and not self._in_value:
            self._awaited = self._size = None

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
            checked(len(whole) + len(part), most, "a data set")
            whole += part
        return bytes(whole)

    @property
    def has_news(self) -> bool:
        """Whether the peer has sent something that was not received yet."""
        return bool(self._in_pdu) or self._stream.has_news

    def _next_value(self) -> tuple[int, int, int]:
        """Return context, control and size of the next presentation data value."""
        while not self._in_pdu:
            self._in_pdu = self._next_pdu()
        header = self._stream.exact(checked(pdu.VALUE_HEADER.size, self._in_pdu, "a header"))
        length, number, control = pdu.VALUE_HEADER.unpack(header)
        size = length - pdu.VALUE_HEADER_LENGTH
        self._in_pdu -= pdu.VALUE_HEADER.size
        if not 0 <= size <= self._in_pdu:
            raise Violation("a presentation data value does not fit into its PDU")
        if number not in self.contexts:
            raise Violation(f"the presentation context {number} was not accepted")
        self._in_pdu -= size
        if self._size is None:
            self._begun, self._ours, self._size = time.monotonic(), 0.0, 0
        self._size += size
        return number, control, size

    def _next_pdu(self) -> int:
        """Return the length of the next P-DATA-TF."""
        self._stream.allow()
        if self._size is not None:  # a message that is slower than any network is not waited for
            self._stream.shorten(max(self.seconds - self._ours - self._size / SLOWEST, 0.0))
        kind, length = pdu.HEADER.unpack(self._stream.exact(pdu.HEADER.size))
        if kind == pdu.DATA:
            if length < pdu.VALUE_HEADER.size:
                raise Violation(f"a PDU of {length} bytes holds no presentation data value")
            return checked(length, self._taken, "a PDU")
        if kind == pdu.RELEASE_RQ:
            self._stream.exact(checked(length, 4, "a release"))
            raise Released
        if kind == pdu.ABORT:
            body = self._stream.exact(min(length, 4))
            raise Aborted(pdu.aborter(body))
        raise Violation(f"a PDU of type {kind} came in an association", 2 if kind < 8 else 1)

    def release(self) -> None:
        """End the association in good order; a peer that does not answer to that is left alone."""
        if self._open:
            self._open = False
            self._stream.ask(pdu.release(pdu.RELEASE_RQ), pdu.HEADER.size, _RELEASE_PATIENCE)

    def abort(self, error: BaseException | None = None) -> None:
        """End the association at once, by what fits the error that ends it."""
        if self._open:
            self._open = False
            self._stream.part(farewell(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.release()
        else:
            self.abort(error)


def farewell(error: BaseException | None) -> bytes:
    """Return the last PDU of an association that is ended by an error; nothing where nobody would read it."""
    if isinstance(error, Released):
        return pdu.release(pdu.RELEASE_RP)
    if isinstance(error, Aborted | Gone):
        return b""
    if isinstance(error, Violation):
        return pdu.abortion(pdu.PROVIDER, error.reason)
    return pdu.abortion(pdu.USER)


def _framed(context: int, sizes: Sequence[int], *, last: bool) -> tuple[bytearray, list[memoryview]]:
    """Return the PDUs of fragments of these sizes, and the gaps in them where the fragments belong."""
    head = pdu.HEADER.size + pdu.VALUE_HEADER.size
    block = bytearray(sum(sizes) + len(sizes) * head)
    view, gaps, offset = memoryview(block), [], 0
    for number, size in enumerate(sizes, 1):
        control = pdu.LAST if last and number == len(sizes) else 0
        block[offset : offset + head] = pdu.data_head(context, control, size)
        offset += head
        gaps.append(view[offset : offset + size])
        offset += size
    return block, gaps


def _fill(file: int, gaps: Sequence[memoryview], offset: int, expected: int) -> int:
    found = os.preadv(file, gaps, offset)
    if found != expected:
        raise NodeError(f"{expected} bytes of the file were expected, {found} are there", outcome="damaged")
    return found
