"""SOP classes by number: those of services, and which are stored."""

from __future__ import annotations

from collections.abc import Collection

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


def is_stored(uid: str, private: Collection[str] = ()) -> bool:
    """Whether a SOP class is one of storage: any of the standard's, those of later editions included, or one of these."""
    return (uid.startswith(_STORED) and uid not in _NOT_STORED) or uid in _OTHERS or uid in private
