"""Requests storage commitment of a node for instances that it was sent (PS3.4 Annex J)."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from cinemill.errors import NodeError
from cinemill.network import commands
from cinemill.network.classes import COMMITMENT, COMMITMENT_INSTANCE
from cinemill.network.commands import Field
from cinemill.network.connect import associate
from cinemill.network.listener import Listener
from cinemill.network.outcomes import of_status
from cinemill.network.pdu import Proposed
from cinemill.network.query import (
    IDENTIFIER_SYNTAXES,
    context_of,
    decoded_identifier,
    encoded_identifier,
    text_of,
)

if TYPE_CHECKING:
    from pydicom import Dataset

    from cinemill.network.association import Association
    from cinemill.network.instances import Instance
    from cinemill.network.nodes import Node

_REQUEST, _NAP = 1, 0.1


def commit(
    node: Node, instances: Collection[Instance], listener: Listener, timeout: float = 60.0
) -> dict[str, str]:
    """Return ``committed``, or the name of what is wrong, for the SOP Instance UID of each instance.

    Parameters
    ----------
    node
        Reached by DIMSE.
    instances
        That it was sent.
    listener
        Open: the node may bring its answer over an association of its own.
    timeout
        Seconds to wait for the answer.

    Raises
    ------
    NodeError
        The node does not offer it, refuses, or does not answer in time.
    """
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    transaction = str(generate_uid(prefix=None))
    references = []
    for each in instances:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = (
            each.sop_class,
            each.sop_instance,
        )
        references.append(reference)
    with (
        listener.awaiting(transaction),
        associate(node, [Proposed(COMMITMENT, IDENTIFIER_SYNTAXES)]) as association,
    ):
        context = context_of(association, COMMITMENT, "storage commitment")
        request = {
            "RequestedSOPClassUID": COMMITMENT,
            "CommandField": Field.ACTION_RQ,
            "MessageID": association.next_message(),
            "RequestedSOPInstanceUID": COMMITMENT_INSTANCE,
            "ActionTypeID": _REQUEST,
        }
        asked: dict[str, Any] = {"TransactionUID": transaction, "ReferencedSOPSequence": references}
        association.send(context, request, encoded_identifier(asked, context.syntax))
        end = time.monotonic() + timeout
        result = None
        while (found := _message(association)) is not None:  # a node may report before it answers
            if text_of(found, "TransactionUID") == transaction:
                result = found
            if time.monotonic() > end:
                raise NodeError("the node reports other commitments, and does not answer", outcome="nonsense")
        if result is None:
            result = _awaited(association, transaction, listener, timeout)
    return _answered(result, instances)


def _message(association: Association) -> Dataset | None:
    """Take one message: a report, or None for the answer to the request."""
    context, message = association.receive()
    data = association.data_set()
    if message["CommandField"] == Field.EVENT_RQ:
        association.send(context, commands.response(message, 0x0000))
        return decoded_identifier(data, context.syntax)
    status = commands.status_of(message)
    if message["CommandField"] != Field.ACTION_RSP or status:
        raise NodeError(
            f"storage commitment was answered with status {status:04X}", outcome=of_status(status or 0x0110)
        )
    return None


def _awaited(association: Association, transaction: str, listener: Listener, timeout: float) -> Dataset:
    """Wait for the report, which comes over this association or another one."""
    end = time.monotonic() + timeout
    open_still = True
    while time.monotonic() < end:
        found = listener.result(transaction, _NAP)
        if found is not None:
            return found
        if open_still and association.has_news:
            try:
                found = _message(association)
            except NodeError:
                open_still = False  # the node released it, and reports over its own
            if found is not None and text_of(found, "TransactionUID") == transaction:
                return found
    raise NodeError(f"no result of the storage commitment came in {timeout:.0f} s", outcome="stalled")


def _answered(result: Dataset, instances: Collection[Instance]) -> dict[str, str]:
    answered = dict.fromkeys((each.sop_instance for each in instances), "missing")
    for item in _items(result, "ReferencedSOPSequence"):
        uid = text_of(item, "ReferencedSOPInstanceUID")
        if uid in answered:
            answered[uid] = "committed"
    for item in _items(result, "FailedSOPSequence"):
        uid, reason = (text_of(item, each) for each in ("ReferencedSOPInstanceUID", "FailureReason"))
        if uid in answered:
            answered[uid] = of_status(int(reason) if reason.isdigit() else commands.PROCESSING_FAILURE)
    return answered


def _items(result: Dataset, keyword: str) -> Sequence[Dataset]:
    """Return the items of a sequence of a report.

    Raises
    ------
    NodeError
        It is none.
    """
    from pydicom import Sequence as Items

    try:
        found = result.get(keyword)
    except Exception:  # noqa: BLE001  # pydicom has no family of errors
        found = ""
    if found is None:
        return ()
    if not isinstance(found, Items):
        raise NodeError(f"a report of storage commitment has a {keyword} that is none", outcome="nonsense")
    return found
