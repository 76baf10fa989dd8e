"""What can become of an instance, or of a question to a node: names, and whether it is worth trying again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from cinemill.errors import NodeError

_CANCELLED = 0xFE00


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table.

    Attributes
    ----------
    name
        As reports have it.
    meaning
        What happened.
    well
        Whether nobody has to do anything.
    again
        Whether it is tried again, by itself.
    of_node
        Whether all else that the node is asked comes to the same, until a person or the time of the day changes that.
    """

    name: str
    meaning: str
    well: bool = False
    again: bool = False
    of_node: bool = False


OUTCOMES: Mapping[str, Kind] = MappingProxyType(
    {
        row.name: row
        for row in (
            Kind("stored", "the receiver says that it has the instance", well=True),
            Kind("coerced", "it has it, and says that it changed or left out elements", well=True),
            Kind(
                "fetched",
                "the instance is there as a whole, and its UIDs are those that were asked for",
                well=True,
            ),
            Kind("committed", "the node answers for it", well=True),
            Kind("kept", "it was there already", well=True),
            Kind(
                "replaced",
                "the node gave it back as it was sent: its transfer syntax, and every pixel",
                well=True,
            ),
            Kind(
                "seen",
                "the other node gave it back as it was sent: its transfer syntax, and every pixel",
                well=True,
            ),
            Kind("unchanged", "it stays with the node as it is, by the policy or the target", well=True),
            Kind("kept-by-node", "the node says that it has it, and gives back the older one"),
            Kind(
                "not-as-sent",
                "the node gives back another transfer syntax, or other pixels, than it was sent",
            ),
            Kind("not-given-back", "the node says that it has it, and does not give it back", again=True),
            Kind("not-committed", "the node was asked to answer for it, and does not", again=True),
            Kind("missing", "the node listed it and did not send it"),
            Kind("down", "nobody answers at that host and port", again=True, of_node=True),
            Kind(
                "refused",
                "the association was refused for good: AE titles, or what the node allows",
                of_node=True,
            ),
            Kind("busy", "the node has no room for another association or request just now", again=True),
            Kind("aborted", "the node aborted the association", again=True),
            Kind("lost", "the connection was closed in the middle", again=True),
            Kind("stalled", "nothing moved for the time that is allowed", again=True),
            Kind(
                "tls", "the TLS connection could not be made, or a certificate is not trusted", of_node=True
            ),
            Kind("nonsense", "what came back is not what the standard says"),
            Kind("class-refused", "the node does not take this SOP class"),
            Kind("syntax-refused", "the node takes the SOP class, but not this transfer syntax"),
            Kind("not-served", "the node would take this transfer syntax, but could not give it back"),
            Kind("no-room", "the node is out of resources (A7xx, 507)", again=True),
            Kind("does-not-match", "the node says that the data set does not match its SOP class (A9xx)"),
            Kind("not-understood", "the node can't read the data set or the request (Cxxx, 400, 422)"),
            Kind("duplicate", "the node has that instance and does not replace it (0111, 409)"),
            Kind("not-authorized", "the node does not allow it (0124, 401, 403)", of_node=True),
            Kind("failed", "the node answered with another failure"),
            Kind("no-such", "the node has nothing of that name (404, 0112)"),
            Kind("too-large", "the node does not take so much at once (413)"),
            Kind("server-error", "the node failed (5xx)", again=True),
            Kind(
                "redirected",
                "the node sends elsewhere; the URL in the nodes file is not the right one",
                of_node=True,
            ),
            Kind("truncated", "what was sent ended too early", again=True),
            Kind("different", "what was sent is not the instance that was announced"),
            Kind("damaged", "the file, or what was sent, is no whole data set"),
            Kind("not-dicom", "the file is not DICOM", well=True),
            Kind(
                "closed", "it is not the time of day at which the node may be used", again=True, of_node=True
            ),
            Kind("not-transcoded", "it could not be transcoded to what the receiver takes"),
            Kind("stopped", "the run was stopped before", again=True),
        )
    }
)
"""All rows, by name."""

OF_THE_NODE = frozenset(name for name, row in OUTCOMES.items() if row.of_node)
"""Names of what is the node's, and not that of an instance or a question."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one instance.

    Attributes
    ----------
    name
        In the table.
    source
        The file that was sent, or the place of the file that was fetched.
    transfer_syntax
        That it was sent or fetched in.
    detail
        What the node said, or what is wrong.
    bytes
        Of the data set that was sent or fetched.
    after
        Seconds that the node asks to wait.
    before
        The transfer syntax of the file, where it was transcoded on the way.
    """

    name: str
    source: Path | None = None
    sop_class: str = ""
    sop_instance: str = ""
    transfer_syntax: str = ""
    detail: str = ""
    bytes: int = 0
    after: float | None = None
    before: str = ""
    study: str = field(default="", compare=False)

    @property
    def kind(self) -> Kind:
        """Its row."""
        return OUTCOMES[self.name]

    def to_dict(self) -> dict[str, object]:
        """Return JSON-ready values."""
        told: dict[str, object] = {each: getattr(self, each) for each in self.__slots__}
        return told | {"source": "" if self.source is None else str(self.source)}


def of_status(status: int) -> str:
    """Return the name for the status of a DIMSE response (PS3.7 Annex C, PS3.4 Annex B)."""
    exact = {0x0000: "stored", 0x0107: "coerced", 0x0116: "coerced", 0x0111: "duplicate", 0x0112: "no-such"}
    exact |= {0x0122: "class-refused", 0x0124: "not-authorized", 0x0110: "failed", 0x0210: "nonsense"}
    if status in exact:
        return exact[status]
    by_byte = {0xA7: "no-room", 0xA9: "does-not-match", 0xB0: "coerced", 0x01: "failed"}
    if status >> 12 == 0xC:
        return "not-understood"
    return by_byte.get(status >> 8, "failed")


def of_http(status: int) -> str:
    """Return the name for a status of HTTP that is no success."""
    exact = {401: "not-authorized", 403: "not-authorized", 404: "no-such", 408: "busy", 409: "duplicate"}
    exact |= {406: "syntax-refused", 410: "no-such", 413: "too-large", 415: "syntax-refused", 429: "busy"}
    exact |= {
        400: "not-understood",
        422: "not-understood",
        502: "down",
        503: "busy",
        504: "stalled",
        507: "no-room",
    }
    if status in exact:
        return exact[status]
    return "redirected" if status < 400 else "server-error" if status >= 500 else "failed"


def refused_by_status(what: str, status: int, answer: Mapping[str, object], answered: int = 0) -> NodeError:
    """Return the error for the last response to a question.

    Parameters
    ----------
    what
        Was asked.
    status
        Of the response.
    answer
        The response.
    answered
        Answers that came before.
    """
    name = "truncated" if status == _CANCELLED or (answered and status >> 12 == 0xB) else of_status(status)
    comment = f" ({answer['ErrorComment']})" if answer.get("ErrorComment") else ""
    return NodeError(f"{what} ended with status {status:04X}{comment} after {answered} answers", outcome=name)
