"""Negotiates associations over open connections: what is proposed, and what becomes of the answer (PS3.8 §7.1)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator, Sequence

from cinemill.errors import NodeError
from cinemill.network import pdu
from cinemill.network.associations import LARGEST_PDU, Association, explained, read_exactly, read_head
from cinemill.network.pdu import Context, Proposed

MOST_CONTEXTS = 128


def grouped(pairs: Collection[tuple[str, str]], most: int = MOST_CONTEXTS) -> Iterator[list[Proposed]]:
    """Yield the contexts of associations: one for each class and transfer syntax, so that the peer can't choose another.

    Parameters
    ----------
    pairs
        SOP classes and transfer syntaxes.
    most
        Contexts of an association.
    """
    contexts = [Proposed(sop_class, (syntax,)) for sop_class, syntax in dict.fromkeys(pairs)]
    for start in range(0, len(contexts), most):
        yield contexts[start : start + most]


def request(
    connection: socket.socket,
    called: str,
    calling: str,
    contexts: Sequence[Proposed],
    *,
    roles: Collection[str] = (),
    passed: Callable[[int], None] | None = None,
) -> Association:
    """Negotiate an association over an open connection.

    Parameters
    ----------
    connection
        Its timeout is the association's.
    called, calling
        AE titles.
    contexts
        At most 128.
    roles
        SOP classes of which one is the SCP oneself: C-GET, and results of storage commitment.
    passed
        See `Association`.

    Raises
    ------
    NodeError
        The association was refused, or the peer does not answer as the standard says.
    """
    numbered = {2 * index + 1: proposed for index, proposed in enumerate(contexts)}
    asked = pdu.Request(called, calling, numbered, LARGEST_PDU, frozenset(roles))
    with explained(connection.gettimeout(), "while the association was negotiated"):
        connection.sendall(asked.encode())
        kind, length = read_head(connection)
        if length > LARGEST_PDU:
            raise NodeError(f"an answer of {length} bytes came to the association", outcome="nonsense")
        body = read_exactly(connection, length)
    if kind == pdu.ASSOCIATE_RJ and length >= 4:
        raise pdu.rejection(body, called, calling)
    if kind == pdu.ABORT:
        raise NodeError("the association was aborted by the peer before it began", outcome="aborted")
    if kind != pdu.ASSOCIATE_AC:
        raise NodeError(f"a PDU of type {kind} came as the answer to an association", outcome="nonsense")
    answer = pdu.Acceptance.decode(body)
    accepted = {
        number: Context(number, numbered[number].sop_class, syntax)
        for number, (result, syntax) in answer.results.items()
        if result == 0 and number in numbered and syntax in numbered[number].syntaxes
    }
    return Association(connection, accepted, answer.most, passed)
