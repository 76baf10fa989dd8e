"""Compares what a node gives back with what it was sent: the transfer syntax, and every pixel."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.dicom.source import Source
from cinemill.errors import Cancelled, CinemillError, NodeError
from cinemill.network.instances import read_instance
from cinemill.operations.verify.elements import differences
from cinemill.operations.verify.pixels import compare_pixels
from cinemill.syntaxes import TRANSFER_SYNTAXES

if TYPE_CHECKING:
    from cinemill.operations.exchange.ledger import Entry
    from cinemill.operations.operation import Control

_NAMED = 4
_REMEDY = (
    "have it overwrite instances (Orthanc: OverwriteInstances true; others: the rule for duplicates), "
    "and run the same command again"
)


class Other(NodeError):
    """What the node gives back is not what it was sent; the outcome says in which way."""


def compared(entry: Entry, sent: Path, given: Path, control: Control) -> str:
    """Return what was compared, once what came back is what was sent.

    Parameters
    ----------
    entry
        What the ledger knows of the instance.
    sent
        What was sent, or what was transcoded on the way to what was sent.
    given
        What the node gave back.
    control
        Threads and cancellation.

    Raises
    ------
    Other
        It is something else.
    Cancelled
        On request.
    """
    try:
        _compare_syntax(entry, read_instance(given).transfer_syntax)
        with Source(sent) as expected, Source(given) as found:
            return _compare(expected, found, control)
    except (NodeError, Cancelled):
        raise
    except CinemillError as error:
        raise Other(error.message, outcome="not-as-sent") from None


def _compare_syntax(entry: Entry, found: str) -> None:
    if found == entry.after:
        return
    told_apart = entry.before == entry.after or not _is_native(entry.before)
    if told_apart and _is_native(found) and _is_native(entry.after):
        return  # nodes choose the VR encoding of native ones by association
    told = f"it was sent in {_named(entry.after)}, and is given back in {_named(found)}"
    if found == entry.before or (_is_native(found) and _is_native(entry.before)):
        raise Other(f"{told}, as the node had it before; {_REMEDY}", outcome="kept-by-node")
    raise Other(
        f"{told}: the node recodes what it takes, or kept an older one; {_REMEDY}", outcome="not-as-sent"
    )


def _is_native(uid: str) -> bool:
    row = TRANSFER_SYNTAXES.get(uid)
    return row is not None and row.coding == "native" and not row.deflated


def _named(uid: str) -> str:
    row = TRANSFER_SYNTAXES.get(uid)
    return uid if row is None else str(row)


def _compare(expected: Source, found: Source, control: Control) -> str:
    if (expected.pixel_data is None) != (found.pixel_data is None):
        raise Other("one of them has pixel data, and the other has not", outcome="not-as-sent")
    how, may_change = "no pixel data", set[int]()
    if expected.pixel_data is not None:
        comparison = compare_pixels(expected, found, control)
        if comparison.wrong:
            raise Other("; ".join(comparison.wrong), outcome="not-as-sent")
        how, may_change = comparison.how, comparison.may_change
    places = [each.place for each in islice(differences(expected, found, may_change), _NAMED)]
    if not places:
        return f"{how}, every other element"
    return f"{how}; the node changed {', '.join(places)}{' and more' if len(places) == _NAMED else ''}"
