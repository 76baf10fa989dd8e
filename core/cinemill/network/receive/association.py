"""One association as its acceptor keeps it (PS3.8 §9.2): from the request to the release, on a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cinemill.errors import DamagedFile
from cinemill.network.receive import commands, commitment, pdus
from cinemill.network.receive.classes import COMMITMENT, COMMITMENT_INSTANCE, VERIFICATION, answered
from cinemill.network.receive.commands import Command
from cinemill.network.receive.commitment import Asked
from cinemill.network.receive.inbox import IMPLEMENTATION, Claim, Inbox, Incoming, Outcome
from cinemill.network.receive.limits import Limits
from cinemill.network.receive.pdus import Answer, Violation
from cinemill.network.receive.stream import Gone, Late, Stream, checked

_LONGEST_COMMAND = 1 << 16
_LONGEST_REFERENCES = 8 << 20
_COMMIT = 1
_SLOWEST = 1 << 10
"""Bytes a second that a message has to make in the long run."""

_REJECTED_FOR_GOOD, _REJECTED_FOR_NOW = 1, 2
_USER, _PRESENTATION = 1, 3
_CALLING_UNKNOWN, _FULL = 3, 2


class Peer:
    """Who is at the other end.

    Parameters
    ----------
    address
        Of its host.

    Attributes
    ----------
    title
        That it gave itself, empty before it did.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.title = ""

    def __str__(self) -> str:
        return f"{self.title}@{self.address}" if self.title else self.address


class Observer(Protocol):
    """Who is told of what comes, on the threads of associations."""

    def stored(self, peer: Peer, outcome: Outcome, seconds: float) -> None:
        """Take what became of an instance.

        Parameters
        ----------
        peer
            Who sent it.
        outcome
            What became of it.
        seconds
            Since its command began to arrive.
        """

    def told(self, peer: Peer, message: str) -> None:
        """Take what else is worth telling: an association that did not end as it should, a commitment."""


@dataclass(frozen=True, slots=True)
class Service:
    """What all associations share.

    Attributes
    ----------
    inbox
        Where instances go.
    limits
        What is allowed.
    observer
        Who is told.
    committed
        Says what is kept of what is asked for, by an event report, once the request was answered.
    stop
        A descriptor that can be read once nothing more is to be taken.
    """

    inbox: Inbox
    limits: Limits
    observer: Observer
    committed: Callable[[Association, int, Asked], None]
    stop: int


class Association:
    """One association.

    Parameters
    ----------
    stream
        The connection.
    peer
        Who is at its other end.
    service
        What it shares with others.
    """

    def __init__(self, stream: Stream, peer: Peer, service: Service) -> None:
        self.peer = peer
        self._stream, self._service = stream, service
        self._limits, self._observer = service.limits, service.observer
        self._contexts: dict[int, tuple[str, str]] = {}
        self._called = ""
        self._longest = 0
        self._encoded = bytearray()
        self._command: Command | None = None
        self._incoming: Incoming | None = None
        self._references: bytearray | None = None
        self._begun = 0.0
        self._message_size = 0

    def serve(self, admitted: Callable[[], bool], leave: Callable[[], None]) -> None:
        """Take a request and, where it is admitted, messages until the end; closes the connection.

        Parameters
        ----------
        admitted
            Says whether there is room for one more association; it is asked once, by who may come in.
        leave
            Called before the peer is told that it is over: it may come again at once.
        """
        farewell = b""
        try:
            self._stream.allow(self._limits.request_seconds)
            self._stream.shake_hands()
            farewell = self._negotiate(admitted)
            if not farewell:
                farewell = self._take_messages()
        except Violation as error:
            farewell = pdus.abortion(error.reason)
            self._observer.told(self.peer, f"aborted: {error}")
        except Late as error:
            farewell = pdus.abortion(0)
            self._observer.told(self.peer, f"aborted: {error}")
        except Gone as error:
            if self._contexts or self._under_way:
                self._observer.told(self.peer, f"lost: {error}")
        finally:
            if self._incoming is not None:
                self._incoming.discard()
            leave()
            self._stream.part(farewell)

    def report(self, context: int, command: bytes, data_set: bytes) -> None:
        """Send a message that is no answer.

        Parameters
        ----------
        context
            By which presentation context.
        command, data_set
            Encoded.
        """
        self._stream.allow(self._limits.network_seconds)
        for pdu in pdus.data(context, command, data_set, longest=self._longest):
            self._stream.send(pdu)

    def transfer_syntax(self, context: int) -> str:
        """Return that of an accepted presentation context."""
        return self._contexts[context][1]

    @property
    def _under_way(self) -> bool:
        """Whether a part of a message has come."""
        return bool(self._encoded) or self._command is not None

    def _negotiate(self, admitted: Callable[[], bool]) -> bytes:
        """Answer the association request; returns what is to be said instead where the association does not come about."""
        kind, length = pdus.HEADER.unpack(self._stream.exact(pdus.HEADER.size))
        if kind != pdus.ASSOCIATE_RQ:
            raise Violation(f"a PDU of type {kind} came before an association request", 2)
        body = self._stream.exact(checked(length, pdus.LONGEST_REQUEST, "an association request"))
        request = pdus.parse_request(body)
        self.peer.title = request.calling
        if not self._limits.allows_title(request.calling):
            self._observer.told(self.peer, "rejected: its AE title is not allowed")
            return pdus.rejection(_REJECTED_FOR_GOOD, _USER, _CALLING_UNKNOWN)
        if not admitted():
            self._observer.told(self.peer, "rejected for now: there are as many associations as may be")
            return pdus.rejection(_REJECTED_FOR_NOW, _PRESENTATION, _FULL)
        self._called, self._longest = request.called, request.longest
        answers: list[Answer] = []
        for proposal in request.contexts:
            answers.append(answered(proposal, self._limits.private))
            if not answers[-1].result:
                self._contexts[proposal.number] = proposal.abstract_syntax, answers[-1].transfer_syntax
        self._stream.send(pdus.acceptance(body, answers, self._limits.pdu, IMPLEMENTATION))
        return b""

    def _take_messages(self) -> bytes:
        """Take PDUs until the peer releases the association, or the receiver stops; returns the last PDU to send."""
        while True:
            if self._under_way:
                self._keep_pace()
            else:
                self._stream.allow(self._limits.idle_seconds)
                if not self._stream.wait(self._service.stop):
                    return pdus.abortion(0)
                self._stream.allow(self._limits.network_seconds)
            kind, length = pdus.HEADER.unpack(self._stream.exact(pdus.HEADER.size))
            if kind == pdus.DATA:
                self._take_values(checked(length, self._limits.pdu, "a PDU"))
            elif kind == pdus.RELEASE_RQ:
                self._stream.exact(checked(length, 4, "a release"))
                return pdus.release_answer()
            elif kind == pdus.ABORT:
                self._observer.told(self.peer, "aborted by the peer")
                return b""
            else:
                raise Violation(f"a PDU of type {kind} came in an association", 2 if kind < 8 else 1)

    def _keep_pace(self) -> None:
        """Give the peer time for a PDU, unless the whole message is slower than any network."""
        passed = time.monotonic() - self._begun
        allowed = self._limits.network_seconds + self._message_size / _SLOWEST
        self._stream.allow(min(self._limits.network_seconds, allowed - passed))

    def _take_values(self, left: int) -> None:
        """Take the presentation data values of a PDU."""
        while left:
            length, context, holds = pdus.VALUE_HEADER.unpack(
                self._stream.exact(checked(pdus.VALUE_HEADER.size, left, "a header"))
            )
            size = length - pdus.VALUE_HEADER_LENGTH
            left -= pdus.VALUE_HEADER.size
            if not 0 <= size <= left:
                raise Violation("a presentation data value does not fit into its PDU")
            if context not in self._contexts:
                raise Violation(f"the presentation context {context} was not accepted")
            if not self._under_way:
                self._begun, self._message_size = time.monotonic(), 0
            self._message_size += size
            left -= size
            if holds & pdus.COMMAND:
                self._take_command(context, size, last=bool(holds & pdus.LAST))
            else:
                self._take_data(context, size, last=bool(holds & pdus.LAST))

    def _take_command(self, context: int, size: int, *, last: bool) -> None:
        if self._command is not None:
            raise Violation("a command came inside a data set")
        checked(len(self._encoded) + size, _LONGEST_COMMAND, "a command")
        self._encoded += self._stream.exact(size)
        if not last:
            return
        command = commands.parse(context, bytes(self._encoded))
        self._encoded.clear()
        if not command.has_data_set:
            self._answer(command)
            return
        self._command = command
        abstract, syntax = self._contexts[context]
        if command.field == commands.C_STORE:
            claim = Claim(
                command.text(commands.AFFECTED_CLASS),
                command.text(commands.AFFECTED_INSTANCE),
                syntax,
                self.peer.title,
                self._called,
            )
            self._incoming = self._service.inbox.begin(claim)
            if abstract in {VERIFICATION, COMMITMENT} or claim.sop_class != abstract:
                self._incoming.refuse(
                    commands.CLASS_NOT_SUPPORTED, "the SOP class is not that of its presentation context"
                )
        elif command.field == commands.N_ACTION:
            self._references = bytearray()

    def _take_data(self, context: int, size: int, *, last: bool) -> None:
        if self._command is None or context != self._command.context:
            raise Violation("a data set came without its command")
        for piece in self._stream.pieces(size):
            if self._incoming is not None:
                self._incoming.write(piece)
            elif self._references is not None:
                checked(len(self._references) + len(piece), _LONGEST_REFERENCES, "a list of instances")
                self._references += piece
        if self._incoming is not None and self._incoming.endless:
            raise Violation("an instance has twice the bytes that it may have")
        if last:
            command, self._command = self._command, None
            self._answer(command)

    def _answer(self, command: Command) -> None:
        """Do what a message asks for, and say what became of it."""
        incoming, references = self._incoming, self._references
        self._incoming = self._references = None
        if incoming is not None:
            outcome = incoming.finish()
            self._observer.stored(self.peer, outcome, time.monotonic() - self._begun)
            self._send(command, commands.answer(command, outcome.status, outcome.message))
        elif command.field == commands.C_ECHO:
            self._send(command, commands.answer(command, commands.SUCCESS))
        elif command.field == commands.N_ACTION and references is not None:
            self._commit(command, bytes(references))
        elif command.field == commands.C_STORE:
            self._send(command, commands.answer(command, commands.NOT_UNDERSTOOD, "there is no data set"))
        elif not command.field & commands.RESPONSE and command.field != commands.C_CANCEL:
            self._send(command, commands.answer(command, commands.UNRECOGNISED_OPERATION))

    def _commit(self, command: Command, references: bytes) -> None:
        if command.text(commands.REQUESTED_INSTANCE) != COMMITMENT_INSTANCE:
            self._send(command, commands.answer(command, commands.NO_SUCH_INSTANCE))
            return
        if command.number(commands.ACTION_TYPE) != _COMMIT:
            self._send(command, commands.answer(command, commands.NO_SUCH_ACTION))
            return
        try:
            asked = commitment.parse(references, self.transfer_syntax(command.context))
        except DamagedFile as error:
            self._send(command, commands.answer(command, commands.INVALID_ARGUMENT, error.message))
            return
        self._send(command, commands.answer(command, commands.SUCCESS, action_type=_COMMIT))
        self._service.committed(self, command.context, asked)

    def _send(self, command: Command, answer: bytes) -> None:
        self.report(command.context, answer, b"")
