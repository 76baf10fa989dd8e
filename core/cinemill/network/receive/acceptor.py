"""One association as its acceptor keeps it: from the request to the release, on a thread of its own (PS3.8 §9.2)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from cinemill.errors import DamagedFile, NodeError
from cinemill.network import commands, pdu
from cinemill.network.association import Aborted, Association, Released, farewell
from cinemill.network.classes import (
    COMMITMENT,
    COMMITMENT_INSTANCE,
    EXPLICIT,
    IMPLICIT,
    VERIFICATION,
    is_stored,
)
from cinemill.network.commands import Command, Field
from cinemill.network.incoming import Claim, Incoming
from cinemill.network.pdu import Acceptance, Context, Proposed, Request, Violation, checked
from cinemill.network.receive import commitment
from cinemill.network.receive.commitment import Asked
from cinemill.network.receive.limits import Limits
from cinemill.network.receive.peers import Observer, Peer
from cinemill.network.stream import Gone, Late, Stream
from cinemill.syntaxes import TRANSFER_SYNTAXES

_LARGEST_REFERENCES = 8 << 20
_COMMIT = 1
_REJECTED_FOR_GOOD, _REJECTED_FOR_NOW = 1, 2
_USER, _PRESENTATION = 1, 3
_UNKNOWN_CLASS, _UNKNOWN_SYNTAX = 3, 4
_CALLING_UNKNOWN, _CALLED_UNKNOWN, _FULL = 3, 7, 2


class Destination(Protocol):
    """Where instances go."""

    def begin(self, claim: Claim) -> Incoming:
        """Return the file for an instance that is going to be sent."""


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
        Says what is kept of what is asked for, by an event report, once the request was answered; None where nobody may ask.
    stop
        A descriptor that can be read once nothing more is to be taken.
    reported
        Takes the data set of an event report, and its transfer syntax; None where nobody awaits one.
    passed
        See `cinemill.network.association.Association`.
    """

    inbox: Destination
    limits: Limits
    observer: Observer
    committed: Callable[[Peer, Association, Context, Asked], None] | None
    stop: int
    reported: Callable[[bytes, str], None] | None = None
    passed: Callable[[int], None] | None = None


class Acceptor:
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
        self._stream, self._peer, self._service = stream, peer, service
        self._limits, self._observer = service.limits, service.observer
        self._called = ""

    def serve(self, admitted: Callable[[], bool], leave: Callable[[], None]) -> None:
        """Take a request and, where it is admitted, messages until the end; closes the connection.

        Parameters
        ----------
        admitted
            Says whether there is room for one more association; it is asked once, by who may come in.
        leave
            Called before the peer is told that it is over: it may come again at once.
        """
        association: Association | None = None
        last = b""
        try:
            self._stream.allow(self._limits.request_seconds)
            self._stream.shake_hands()
            found = self._negotiated(admitted)
            if isinstance(found, Association):
                association = found
                last = self._take_messages(association)
            else:
                last = found
        except NodeError as error:
            last = farewell(error)
            self._tell(error, association)
        finally:
            leave()
            self._stream.part(last)

    def _tell(self, error: NodeError, association: Association | None) -> None:
        """Say why an association did not end as it should."""
        match error:
            case Violation() | Late():
                self._observer.told(self._peer, f"aborted: {error.message}")
            case Aborted():
                self._observer.told(self._peer, "aborted by the peer")
            case Gone() if association is not None:
                self._observer.told(self._peer, f"lost: {error.message}")

    def _negotiated(self, admitted: Callable[[], bool]) -> Association | bytes:
        """Answer the association request; returns the PDU that is to be sent instead where the association does not come about."""
        kind, length = pdu.HEADER.unpack(self._stream.exact(pdu.HEADER.size))
        if kind != pdu.ASSOCIATE_RQ:
            raise Violation(f"a PDU of type {kind} came before an association request", 2)
        body = self._stream.exact(checked(length, pdu.LARGEST_REQUEST, "an association request"))
        request = Request.decode(body)
        self._peer.title, self._called = request.calling, request.called
        if not self._limits.allows_title(request.calling):
            self._observer.told(self._peer, "rejected: its AE title is not allowed")
            return pdu.refusal(_REJECTED_FOR_GOOD, _USER, _CALLING_UNKNOWN)
        if not self._limits.answers_to(request.called):
            self._observer.told(self._peer, "rejected: it calls another AE title than ours")
            return pdu.refusal(_REJECTED_FOR_GOOD, _USER, _CALLED_UNKNOWN)
        if not admitted():
            self._observer.told(self._peer, "rejected for now: there are as many associations as may be")
            return pdu.refusal(_REJECTED_FOR_NOW, _PRESENTATION, _FULL)
        results = {number: answered(each, self._limits) for number, each in request.contexts.items()}
        roles = request.roles & {COMMITMENT} if self._service.reported is not None else frozenset[str]()
        answer = Acceptance(request.called, request.calling, results, self._limits.pdu, roles)
        self._stream.send(answer.encode())
        contexts = {
            number: Context(number, request.contexts[number].sop_class, syntax)
            for number, (result, syntax) in results.items()
            if not result
        }
        return Association(
            self._stream, contexts, request.most, taken=self._limits.pdu, passed=self._service.passed
        )

    def _take_messages(self, association: Association) -> bytes:
        """Take messages until the peer releases the association, or the receiver stops; returns the last PDU to send."""
        try:
            while association.await_message(self._limits.idle_seconds, self._service.stop):
                context, request = association.receive()
                self._answer(association, context, request)
        except Released as error:
            return farewell(error)
        return pdu.abortion(pdu.PROVIDER)

    def _answer(self, association: Association, context: Context, request: Command) -> None:
        """Do what a message asks for, and say what became of it."""
        kind = request["CommandField"]
        if kind == Field.STORE_RQ and commands.has_data_set(request):
            status, comment = self._store(association, context, request)
        elif kind == Field.ACTION_RQ and commands.has_data_set(request) and self._service.committed:
            self._commit(association, context, request)
            return
        elif kind == Field.EVENT_RQ and commands.has_data_set(request) and self._service.reported:
            self._service.reported(association.data_set(_LARGEST_REFERENCES), context.syntax)
            status, comment = commands.SUCCESS, ""
        else:
            association.skip_data()
            if kind & commands.RESPONSE or kind == Field.CANCEL_RQ:
                return
            status, comment = {
                Field.ECHO_RQ: (commands.SUCCESS, ""),
                Field.STORE_RQ: (commands.NOT_UNDERSTOOD, "there is no data set"),
            }.get(kind, (commands.UNRECOGNISED_OPERATION, ""))
        association.send(context, commands.response(request, status, comment))

    def _store(self, association: Association, context: Context, request: Command) -> tuple[int, str]:
        claim = Claim(
            request.get("AffectedSOPClassUID", ""),
            request.get("AffectedSOPInstanceUID", ""),
            context.syntax,
            self._peer.title,
            self._called,
        )
        incoming = self._service.inbox.begin(claim)
        try:
            if context.sop_class in {VERIFICATION, COMMITMENT} or claim.sop_class != context.sop_class:
                incoming.refuse(
                    commands.CLASS_NOT_SUPPORTED, "the SOP class is not that of its presentation context"
                )
            for part in association.data():
                incoming.write(part)
                if incoming.endless:
                    raise Violation("an instance has twice the bytes that it may have")
            outcome = incoming.finish()
        finally:
            incoming.discard()
        self._observer.stored(self._peer, outcome, association.seconds)
        return outcome.status, outcome.message

    def _commit(self, association: Association, context: Context, request: Command) -> None:
        references = association.data_set(_LARGEST_REFERENCES)
        status, comment = commands.SUCCESS, ""
        asked: Asked | None = None
        if request.get("RequestedSOPInstanceUID") != COMMITMENT_INSTANCE:
            status = commands.NO_SUCH_INSTANCE
        elif request.get("ActionTypeID") != _COMMIT:
            status = commands.NO_SUCH_ACTION
        else:
            try:
                asked = commitment.parse(references, context.syntax)
            except DamagedFile as error:
                status, comment = commands.INVALID_ARGUMENT, error.message
        association.send(context, commands.response(request, status, comment))
        if asked is not None and self._service.committed is not None:
            self._service.committed(self._peer, association, context, asked)


def answered(proposed: Proposed, limits: Limits) -> tuple[int, str]:
    """Return what becomes of a presentation context: 0 and its transfer syntax, or why it is not accepted (PS3.8 §9.3.3.2).

    Of several transfer syntaxes the first that is known is taken: the peer prefers that one; who does not want to decode
    proposes what it has by itself. Who fetches instances as they are takes one that is compressed, if there is one.
    """
    known: Collection[str] = TRANSFER_SYNTAXES.keys() | limits.private
    if proposed.sop_class in {VERIFICATION, COMMITMENT}:
        known = (EXPLICIT, IMPLICIT)
    elif not is_stored(proposed.sop_class, limits.private):
        return _UNKNOWN_CLASS, proposed.syntaxes[0]
    found = [syntax for syntax in proposed.syntaxes if syntax in known]
    if limits.compressed_first:
        found.sort(
            key=lambda syntax: syntax in TRANSFER_SYNTAXES and not TRANSFER_SYNTAXES[syntax].encapsulated
        )
    return (0, found[0]) if found else (_UNKNOWN_SYNTAX, proposed.syntaxes[0])
