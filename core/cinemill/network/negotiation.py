"""Negotiates associations over open connections: what is proposed, and what becomes of the answer (PS3.8 §7.1)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from cinemill.network import pdu
from cinemill.network.association import LARGEST_PDU, Aborted, Association
from cinemill.network.pdu import Context, Proposed, Violation, checked
from cinemill.network.stream import Stream

MOST_CONTEXTS = 128


def grouped(pairs: Collection[tuple[str, str]]) -> Iterator[list[Proposed]]:
    """Yield the presentation contexts to propose, at most 128 for each association.

    Each pair of SOP class and transfer syntax gets a context of its own, so that the peer can't choose another transfer syntax.
    """
    contexts = [Proposed(sop_class, (syntax,)) for sop_class, syntax in dict.fromkeys(pairs)]
    for start in range(0, len(contexts), MOST_CONTEXTS):
        yield contexts[start : start + MOST_CONTEXTS]


def request(
    stream: Stream,
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
    stream
        The connection; what it gives the peer is what the association does.
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
    stream.allow()
    stream.send(asked.encode())
    kind, length = pdu.HEADER.unpack(stream.exact(pdu.HEADER.size))
    if kind not in {pdu.ASSOCIATE_AC, pdu.ASSOCIATE_RJ, pdu.ABORT}:
        raise Violation(
            f"a PDU of type {kind} came as the answer to an association; check that this port is one of DICOM"
        )
    body = stream.exact(checked(length, LARGEST_PDU, "an answer to an association"))
    if kind == pdu.ASSOCIATE_RJ and length >= 4:
        raise pdu.rejection(body, called, calling)
    if kind == pdu.ABORT:
        raise Aborted(pdu.aborter(body))
    if kind == pdu.ASSOCIATE_RJ:
        raise Violation(f"a rejection of {length} bytes came, expected 4")
    answer = pdu.Acceptance.decode(body)
    accepted = {
        number: Context(number, numbered[number].sop_class, syntax)
        for number, (result, syntax) in answer.results.items()
        if result == 0 and number in numbered and syntax in numbered[number].syntaxes
    }
    return Association(stream, accepted, answer.most, passed=passed)
