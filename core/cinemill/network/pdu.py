"""Protocol data units of the upper layer, encoded and decoded, for requestors and acceptors of associations (PS3.8 §9.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cinemill._version import __version__
from cinemill.dicom.rewrite import IMPLEMENTATION_CLASS_UID
from cinemill.errors import NodeError

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

HEADER = struct.Struct(">BxL")
"""Type and length of a PDU."""

VALUE_HEADER = struct.Struct(">LBB")
"""Length of a presentation data value, its context, and what of a message it holds."""

VALUE_HEADER_LENGTH = 2
"""Bytes behind the length that it counts, too."""

LAST, COMMAND = 2, 1
"""Bits of what it holds (PS3.8 §E.2)."""

LARGEST_REQUEST = 1 << 20
"""Bytes of a request: 128 presentation contexts with all transfer syntaxes there are take a third."""

LEAST = VALUE_HEADER.size + 2
"""Bytes of the smallest PDU that a fragment of a data set, which is even, fits into."""

IMPLEMENTATION = IMPLEMENTATION_CLASS_UID, f"CINEMILL_{__version__}"[:16]
"""Class UID and version name of ours."""

USER, PROVIDER = 0, 2
"""Who aborts (PS3.8 §9.3.8)."""

_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_APPLICATION, _CONTEXT_RQ, _CONTEXT_AC, _ABSTRACT, _TRANSFER, _USER = 0x10, 0x20, 0x21, 0x30, 0x40, 0x50
_MAXIMUM, _CLASS, _ROLE, _VERSION = 0x51, 0x52, 0x54, 0x55
_FIXED = 68
_MOST_ITEMS = 512
"""In one another: 128 contexts take as many items, their roles and extended negotiations twice as many."""

_LONGEST_UID = 64
_REASONS = {
    (1, 1): "it gives no reason",
    (1, 2): "it does not know the application context",
    (1, 3): "it does not know the calling AE title {calling!r}; let the node's administrator add it",
    (1, 7): "it does not know the called AE title {called!r}; correct called-aet",
    (2, 1): "it gives no reason",
    (2, 2): "it does not know the protocol version",
    (3, 1): "it is congested for a moment",
    (3, 2): "it serves as many associations as it may",
}


class Violation(NodeError):
    """A peer does not keep to the protocol: its association is aborted.

    Parameters
    ----------
    message
        What it did.
    reason
        As A-ABORT has it (PS3.8 §9.3.8).
    """

    def __init__(self, message: str, reason: int = 6) -> None:
        super().__init__(message, outcome="nonsense")
        self.reason = reason


class Proposed(NamedTuple):
    """A presentation context as it is proposed."""

    sop_class: str
    syntaxes: tuple[str, ...]


class Context(NamedTuple):
    """A presentation context that was accepted."""

    number: int
    sop_class: str
    syntax: str


@dataclass(frozen=True, slots=True)
class Request:
    """An A-ASSOCIATE-RQ.

    Attributes
    ----------
    called, calling
        AE titles.
    contexts
        By number.
    most
        Bytes of a PDU that the requestor takes; 0 for any number.
    roles
        SOP classes for which the requestor proposes to be the SCP, alone or as well.
    """

    called: str
    calling: str
    contexts: Mapping[int, Proposed]
    most: int
    roles: frozenset[str] = frozenset()

    def encode(self) -> bytes:
        """Return the PDU."""
        contexts = (
            _item(
                _CONTEXT_RQ,
                bytes((number, 0, 0, 0))
                + _item(_ABSTRACT, proposed.sop_class.encode())
                + b"".join(_item(_TRANSFER, syntax.encode()) for syntax in proposed.syntaxes),
            )
            for number, proposed in self.contexts.items()
        )
        return _associate(ASSOCIATE_RQ, self, b"".join(contexts))

    @classmethod
    def decode(cls, body: bytes) -> Request:
        """Read the PDU behind its header.

        Raises
        ------
        Violation
            It is none.
        """
        called, calling, items = _decoded(body)
        contexts: dict[int, Proposed] = {}
        for kind, value in items:
            if kind == _CONTEXT_RQ:
                number, proposed = _proposed(value)
                if number in contexts or not number % 2:
                    raise Violation(f"the presentation context {number} is proposed twice, or even")
                contexts[number] = proposed
        return cls(called, calling, contexts, _most(items), frozenset(_roles(items)))


@dataclass(frozen=True, slots=True)
class Acceptance:
    """An A-ASSOCIATE-AC.

    Attributes
    ----------
    called, calling
        AE titles, as they were in the request.
    results
        By number of the context: 0 and the transfer syntax, or why it was not accepted.
    most
        Bytes of a PDU that the acceptor takes; 0 for any number.
    roles
        SOP classes for which the requestor may be the SCP.
    """

    called: str
    calling: str
    results: Mapping[int, tuple[int, str]]
    most: int
    roles: frozenset[str] = field(default=frozenset())

    def encode(self) -> bytes:
        """Return the PDU."""
        contexts = (
            _item(_CONTEXT_AC, bytes((number, 0, result, 0)) + _item(_TRANSFER, _uid(syntax)))
            for number, (result, syntax) in self.results.items()
        )
        return _associate(ASSOCIATE_AC, self, b"".join(contexts))

    @classmethod
    def decode(cls, body: bytes) -> Acceptance:
        """Read the PDU behind its header.

        Raises
        ------
        Violation
            It is none.
        """
        called, calling, items = _decoded(body)
        results = {}
        for kind, value in items:
            if kind == _CONTEXT_AC and len(value) >= 4:
                syntaxes = [_text(text) for what, text in _items(value[4:]) if what == _TRANSFER]
                results[value[0]] = (value[2], syntaxes[0] if syntaxes else "")
        return cls(called, calling, results, _most(items), frozenset(_roles(items)))


def rejection(body: bytes, called: str, calling: str) -> NodeError:
    """Return the error for an A-ASSOCIATE-RJ.

    Parameters
    ----------
    body
        The PDU behind its header.
    called, calling
        AE titles of the request.
    """
    result, source, reason = body[1], body[2], body[3]
    told = _REASONS.get((source, reason), f"source {source}, reason {reason}")
    return NodeError(
        f"the association was refused: {told.format(called=called, calling=calling)}",
        outcome="busy" if result == 2 or source == 3 else "refused",
    )


def refusal(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ.

    Parameters
    ----------
    result, source, reason
        Numbers of PS3.8 §9.3.4.
    """
    return _pdu(ASSOCIATE_RJ, bytes((0, result, source, reason)))


def abortion(source: int, reason: int = 0) -> bytes:
    """Return an A-ABORT (PS3.8 §9.3.8)."""
    return _pdu(ABORT, bytes((0, 0, source, reason)))


def release(kind: int) -> bytes:
    """Return an A-RELEASE-RQ, or the answer to one."""
    return _pdu(kind, bytes(4))


def aborter(body: bytes) -> str:
    """Return who aborted, and why, by the body of an A-ABORT."""
    return "the user" if body[2:3] == b"\0" else f"the provider, reason {body[3] if len(body) > 3 else 0}"


def data(context: int, control: int, encoded: bytes, payload: int) -> Iterator[bytes]:
    """Yield the P-DATA-TFs of a command or a data set.

    Parameters
    ----------
    context
        Its presentation context.
    control
        `COMMAND`, or 0 for a data set.
    encoded
        Its bytes.
    payload
        How many of them a PDU holds.
    """
    for start in range(0, max(len(encoded), 1), payload):
        part = encoded[start : start + payload]
        last = LAST if start + payload >= len(encoded) else 0
        yield data_head(context, control | last, len(part)) + part


def data_head(context: int, control: int, length: int) -> bytes:
    """Return what stands before a fragment that is alone in its P-DATA-TF.

    Parameters
    ----------
    context
        Its presentation context.
    control
        What it holds.
    length
        Of the fragment.
    """
    value = VALUE_HEADER.pack(length + VALUE_HEADER_LENGTH, context, control)
    return HEADER.pack(DATA, len(value) + length) + value


def checked(length: int, most: int, what: str) -> int:
    """Return a length that a peer claims.

    Parameters
    ----------
    length, most
        What it claims, and what was agreed.
    what
        Whose length it is, for the message.

    Raises
    ------
    Violation
        It is more than was agreed.
    """
    if length > most:
        raise Violation(f"{what} of {length} bytes: at most {most} are taken")
    return length


def _associate(kind: int, said: Request | Acceptance, contexts: bytes) -> bytes:
    titles = b"".join(
        title.encode("latin-1", "replace").ljust(16)[:16] for title in (said.called, said.calling)
    )
    uid, version = IMPLEMENTATION
    roles = (
        _item(_ROLE, struct.pack(">H", len(each)) + each.encode() + b"\1\1") for each in sorted(said.roles)
    )
    user = _item(
        _USER,
        _item(_MAXIMUM, said.most.to_bytes(4))
        + _item(_CLASS, uid.encode())
        + b"".join(roles)
        + _item(_VERSION, version.encode()),
    )
    application = _item(_APPLICATION, _APPLICATION_CONTEXT.encode())
    return _pdu(kind, b"\0\1\0\0" + titles + bytes(32) + application + contexts + user)


def _decoded(body: bytes) -> tuple[str, str, Sequence[tuple[int, bytes]]]:
    if len(body) < _FIXED:
        raise Violation(f"an association of {len(body)} bytes came, expected {_FIXED} or more")
    if not body[1] & 1:
        raise Violation("the association is of another version of the protocol")
    return _text(body[4:20]), _text(body[20:36]), list(_items(body[_FIXED:]))


def _proposed(value: bytes) -> tuple[int, Proposed]:
    if len(value) < 4:
        raise Violation("a presentation context is too short")
    names = [(kind, _text(text)) for kind, text in _items(value[4:])]
    abstract = [name for kind, name in names if kind == _ABSTRACT]
    transfer = tuple(name for kind, name in names if kind == _TRANSFER)
    if len(abstract) != 1 or not transfer:
        raise Violation(f"the presentation context {value[0]} proposes nothing")
    return value[0], Proposed(abstract[0], transfer)


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = count = 0
    while offset < len(data):
        count += 1
        if count > _MOST_ITEMS:
            raise Violation(f"an association has more than {_MOST_ITEMS} items in a row")
        if offset + 4 > len(data):
            raise Violation("an association ends inside an item")
        kind, length = struct.unpack_from(">BxH", data, offset)
        offset += 4 + length
        if offset > len(data):
            raise Violation(f"an item of an association promises {length} bytes, which are not there")
        yield kind, data[offset - length : offset]


def _user(items: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield what is said of the user; extended negotiation, identities and windows are among it, and left alone."""
    for kind, value in items:
        if kind == _USER:
            yield from _items(value)


def _roles(items: Sequence[tuple[int, bytes]]) -> Iterator[str]:
    for kind, value in _user(items):
        if kind == _ROLE and len(value) >= 4:
            length = int.from_bytes(value[:2])
            if value[2 + length + 1 : 2 + length + 2] == b"\1":
                yield _text(value[2 : 2 + length])


def _most(items: Sequence[tuple[int, bytes]]) -> int:
    most = next(
        (int.from_bytes(value) for kind, value in _user(items) if kind == _MAXIMUM and len(value) == 4), 0
    )
    if 0 < most < LEAST:
        raise Violation(
            f"PDUs of {most} bytes hold nothing; at least {LEAST} are expected, or 0 for any number"
        )
    return most


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _pdu(kind: int, body: bytes) -> bytes:
    return HEADER.pack(kind, len(body)) + body


def _uid(text: str) -> bytes:
    """Return a UID that the peer named, which may be none."""
    return text.encode("latin-1", "replace")[:_LONGEST_UID]


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip(" \0")
