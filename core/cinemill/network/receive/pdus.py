"""PDUs of the upper layer (PS3.8 §9.3), as who accepts associations reads and writes them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ = 1, 2, 3
DATA, RELEASE_RQ, RELEASE_RP, ABORT = 4, 5, 6, 7

HEADER = struct.Struct(">BxL")
"""Type and length of a PDU."""

VALUE_HEADER = struct.Struct(">LBB")
"""Length of a presentation data value, its context, and what of a message it holds."""

VALUE_HEADER_LENGTH = 2
"""Bytes behind the length that it counts, too."""

LAST, COMMAND = 2, 1
"""Bits of what it holds (PS3.8 §E.2)."""

LONGEST_REQUEST = 1 << 20
"""Bytes of a request: 128 presentation contexts with all transfer syntaxes there are take a third."""

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_APPLICATION, _CONTEXT_RQ, _CONTEXT_AC, _ABSTRACT, _TRANSFER, _USER = 0x10, 0x20, 0x21, 0x30, 0x40, 0x50
_MAXIMUM, _CLASS, _VERSION = 0x51, 0x52, 0x55
_FIXED = 68


class Violation(Exception):  # a signal to the association, never seen outside
    """A peer does not keep to the protocol: its association is aborted.

    Parameters
    ----------
    message
        What it did.
    reason
        As A-ABORT has it (PS3.8 §9.3.8).
    """

    def __init__(self, message: str, reason: int = 6) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Proposal:
    """One presentation context that is proposed."""

    number: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What an A-ASSOCIATE-RQ says.

    Attributes
    ----------
    called, calling
        Titles of application entities.
    contexts
        Presentation contexts that are proposed.
    longest
        Bytes of a PDU that the peer takes, 0 for any.
    """

    called: str
    calling: str
    contexts: tuple[Proposal, ...]
    longest: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of a presentation context that was proposed.

    Attributes
    ----------
    number
        Its ID.
    result
        0 where it is accepted, 3 for an unknown abstract syntax, 4 for transfer syntaxes that are unknown (PS3.8 §9.3.3.2).
    transfer_syntax
        That which was chosen.
    """

    number: int
    result: int
    transfer_syntax: str


def parse_request(body: bytes) -> Request:
    """Read an A-ASSOCIATE-RQ behind its header.

    Raises
    ------
    Violation
        It is none.
    """
    if len(body) < _FIXED:
        raise Violation("the association request is too short")
    if not int.from_bytes(body[:2]) & 1:
        raise Violation("the association request is of another version of the protocol")
    contexts: dict[int, Proposal] = {}
    longest = 0
    for kind, item in _items(body[_FIXED:]):
        if kind == _CONTEXT_RQ:
            proposal = _proposal(item)
            if proposal.number in contexts or not proposal.number % 2:
                raise Violation(f"the presentation context {proposal.number} is proposed twice, or even")
            contexts[proposal.number] = proposal
        elif kind == _USER:
            for inner, value in _items(item):
                if inner == _MAXIMUM and len(value) == 4:
                    longest = int.from_bytes(value)
    return Request(_title(body[4:20]), _title(body[20:36]), tuple(contexts.values()), longest)


def acceptance(body: bytes, answers: list[Answer], longest: int, implementation: tuple[str, str]) -> bytes:
    """Return an A-ASSOCIATE-AC.

    Parameters
    ----------
    body
        The request's, whose titles are sent back.
    answers
        To all its presentation contexts.
    longest
        Bytes of a PDU that are taken.
    implementation
        Class UID and version name.
    """
    items = [_item(_APPLICATION, APPLICATION_CONTEXT.encode())]
    for answer in answers:
        syntax = _item(_TRANSFER, answer.transfer_syntax.encode())
        items.append(_item(_CONTEXT_AC, bytes((answer.number, 0, answer.result, 0)) + syntax))
    uid, version = implementation
    user = (
        _item(_MAXIMUM, longest.to_bytes(4)) + _item(_CLASS, uid.encode()) + _item(_VERSION, version.encode())
    )
    return _pdu(ASSOCIATE_AC, b"\0\1\0\0" + body[4:_FIXED] + b"".join(items) + _item(_USER, user))


def rejection(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ.

    Parameters
    ----------
    result, source, reason
        Numbers of PS3.8 §9.3.4.
    """
    return _pdu(ASSOCIATE_RJ, bytes((0, result, source, reason)))


def abortion(reason: int) -> bytes:
    """Return an A-ABORT of the service provider (PS3.8 §9.3.8)."""
    return _pdu(ABORT, bytes((0, 0, 2, reason)))


def release_answer() -> bytes:
    """Return an A-RELEASE-RP."""
    return _pdu(RELEASE_RP, bytes(4))


def data(context: int, command: bytes, data_set: bytes = b"", *, longest: int) -> Iterator[bytes]:
    """Yield the P-DATA-TFs of a message.

    Parameters
    ----------
    context
        Its presentation context.
    command, data_set
        Encoded; no data set where it is empty.
    longest
        Bytes of a PDU that the peer takes, 0 for any.
    """
    room = max(longest - 6, 1024) if longest else 1 << 16
    for kind, encoded in ((COMMAND, command), (0, data_set)):
        for start in range(0, len(encoded), room):
            piece = encoded[start : start + room]
            last = LAST if start + room >= len(encoded) else 0
            yield _pdu(
                DATA, VALUE_HEADER.pack(len(piece) + VALUE_HEADER_LENGTH, context, kind | last) + piece
            )


def _proposal(item: bytes) -> Proposal:
    if len(item) < 4:
        raise Violation("a presentation context is too short")
    names = [(kind, _uid(value)) for kind, value in _items(item[4:])]
    abstract = [name for kind, name in names if kind == _ABSTRACT]
    transfer = tuple(name for kind, name in names if kind == _TRANSFER)
    if len(abstract) != 1 or not transfer:
        raise Violation(f"the presentation context {item[0]} proposes nothing")
    return Proposal(item[0], abstract[0], transfer)


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < len(data):
        if offset + 4 > len(data):
            raise Violation("the association request ends inside an item")
        kind, length = struct.unpack_from(">BxH", data, offset)
        offset += 4 + length
        if offset > len(data):
            raise Violation("an item of the association request promises more bytes than are there")
        yield kind, data[offset - length : offset]


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _pdu(kind: int, body: bytes) -> bytes:
    return HEADER.pack(kind, len(body)) + body


def _title(value: bytes) -> str:
    return value.decode("ascii", "replace").strip(" \0")


def _uid(value: bytes) -> str:
    return value.decode("ascii", "replace").strip(" \0")
