"""Which SOP classes and transfer syntaxes are taken, and which of those that are proposed."""

from __future__ import annotations

from collections.abc import Collection

from cinemill.network.pdu import Proposed
from cinemill.network.receive.limits import Limits
from cinemill.syntaxes import TRANSFER_SYNTAXES

VERIFICATION = "1.2.840.10008.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"

_STORED = "1.2.840.10008.5.1.4.1.1."
_NOT_STORED = frozenset(
    _STORED + rest for rest in ("200.4", "200.5", "200.6", "201.2", "201.3", "201.4", "201.5", "201.6")
)
"""Classes of queries and approvals among those of storage (PS3.6 Annex A)."""

_OTHERS = frozenset(
    "1.2.840.10008.5.1." + rest
    for rest in (
        *("1.27", "1.29", "1.30"),
        *("4.34.1", "4.34.7", "4.34.10", "4.38.1", "4.39.1", "4.43.1", "4.44.1", "4.45.1"),
    )
)
"""Stored print and hard copies, instructions of therapy, hanging protocols, palettes, implant templates."""

_UNKNOWN_CLASS, _UNKNOWN_SYNTAX = 3, 4


def is_stored(uid: str, private: Collection[str] = ()) -> bool:
    """Whether a SOP class is one of storage: any of the standard's, those of later editions included, or one of these."""
    return (uid.startswith(_STORED) and uid not in _NOT_STORED) or uid in _OTHERS or uid in private


def answered(proposed: Proposed, limits: Limits) -> tuple[int, str]:
    """Return what becomes of a presentation context: 0 and its transfer syntax, or why it is not accepted (PS3.8 §9.3.3.2).

    Of several transfer syntaxes the first that is known is taken: the peer prefers that one; who does not want to decode
    proposes what it has by itself. Who fetches instances as they are takes one that is compressed, if there is one.
    """
    known: Collection[str] = TRANSFER_SYNTAXES
    if proposed.sop_class in {VERIFICATION, COMMITMENT}:
        known = (EXPLICIT, IMPLICIT)
    elif not is_stored(proposed.sop_class, limits.private):
        return _UNKNOWN_CLASS, proposed.syntaxes[0]
    found = [syntax for syntax in proposed.syntaxes if syntax in known]
    if limits.compressed_first:
        found.sort(key=lambda syntax: not TRANSFER_SYNTAXES[syntax].encapsulated)
    return (0, found[0]) if found else (_UNKNOWN_SYNTAX, proposed.syntaxes[0])
