"""Protocol data units of associations: encoded and decoded as byte strings (PS3.8 §9.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cinemill._version import __version__
from cinemill.dicom.rewrite import IMPLEMENTATION_CLASS_UID
from cinemill.errors import NodeError

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_PROTOCOL_VERSION = 1
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
                0x20,
                bytes((number, 0, 0, 0))
                + _item(0x30, proposed.sop_class.encode())
                + b"".join(_item(0x40, syntax.encode()) for syntax in proposed.syntaxes),
            )
            for number, proposed in self.contexts.items()
        )
        return _associate(ASSOCIATE_RQ, self, b"".join(contexts))

    @classmethod
    def decode(cls, body: bytes) -> Request:
        """Read the PDU behind its header.

        Raises
        ------
        NodeError
            It is none.
        """
        called, calling, items = _decoded(body)
        contexts = {}
        for kind, value in items:
            if kind == 0x20 and len(value) >= 4:
                parts = list(_items(value[4:]))
                names = [text for what, text in parts if what == 0x30]
                found = tuple(_uid(text) for what, text in parts if what == 0x40)
                contexts[value[0]] = Proposed(_uid(names[0]) if names else "", found)
        user = dict(_user(items))
        return cls(called, calling, contexts, _most(user), frozenset(_roles(items)))


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
            _item(0x21, bytes((number, 0, result, 0)) + _item(0x40, syntax.encode()))
            for number, (result, syntax) in self.results.items()
        )
        return _associate(ASSOCIATE_AC, self, b"".join(contexts))

    @classmethod
    def decode(cls, body: bytes) -> Acceptance:
        """Read the PDU behind its header.

        Raises
        ------
        NodeError
            It is none.
        """
        called, calling, items = _decoded(body)
        results = {}
        for kind, value in items:
            if kind == 0x21 and len(value) >= 4:
                syntaxes = [_uid(text) for what, text in _items(value[4:]) if what == 0x40]
                results[value[0]] = (value[2], syntaxes[0] if syntaxes else "")
        return cls(called, calling, results, _most(dict(_user(items))), frozenset(_roles(items)))


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


def header(kind: int, length: int) -> bytes:
    """Return what stands before the body of a PDU."""
    return struct.pack(">BBL", kind, 0, length)


def _associate(kind: int, said: Request | Acceptance, contexts: bytes) -> bytes:
    titles = b"".join(
        title.encode("ascii", "replace").ljust(16)[:16] for title in (said.called, said.calling)
    )
    roles = (
        _item(0x54, struct.pack(">H", len(uid)) + uid.encode() + b"\x01\x01") for uid in sorted(said.roles)
    )
    user = _item(
        0x50,
        _item(0x51, struct.pack(">L", said.most))
        + _item(0x52, IMPLEMENTATION_CLASS_UID.encode())
        + b"".join(roles)
        + _item(0x55, f"CINEMILL_{__version__}"[:16].encode()),
    )
    body = struct.pack(">HH", _PROTOCOL_VERSION, 0) + titles + bytes(32)
    body += _item(0x10, _APPLICATION_CONTEXT.encode()) + contexts + user
    return header(kind, len(body)) + body


def _decoded(body: bytes) -> tuple[str, str, Sequence[tuple[int, bytes]]]:
    if len(body) < 68:
        raise NodeError(f"an association of {len(body)} bytes came, expected 68 or more", outcome="nonsense")
    called, calling = (body[start : start + 16].decode("latin-1").strip(" \0") for start in (4, 20))
    return called, calling, list(_items(body[68:]))


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        kind, _, length = struct.unpack_from(">BBH", data, offset)
        value = data[offset + 4 : offset + 4 + length]
        if len(value) < length:
            raise NodeError(
                f"an item of an association promises {length} bytes, {len(value)} came", outcome="nonsense"
            )
        yield kind, value
        offset += 4 + length


def _user(items: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    for kind, value in items:
        if kind == 0x50:
            yield from _items(value)


def _roles(items: Sequence[tuple[int, bytes]]) -> Iterator[str]:
    for kind, value in _user(items):
        if kind == 0x54 and len(value) >= 4:
            length = int.from_bytes(value[:2], "big")
            if value[2 + length + 1 : 2 + length + 2] == b"\x01":
                yield _uid(value[2 : 2 + length])


def _most(user: Mapping[int, bytes]) -> int:
    return int.from_bytes(user.get(0x51, b"")[:4], "big")


def _uid(value: bytes) -> str:
    return value.decode("latin-1").strip(" \0")
