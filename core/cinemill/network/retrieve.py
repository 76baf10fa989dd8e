"""Fetches the instances of a study by C-GET, or by C-MOVE to ourselves (PS3.4 Annex C)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cinemill.errors import NodeError
from cinemill.network import commands
from cinemill.network.association import Association
from cinemill.network.commands import Field
from cinemill.network.connect import associate
from cinemill.network.incoming import Claim
from cinemill.network.negotiation import MOST_CONTEXTS
from cinemill.network.outcomes import refused_by_status
from cinemill.network.pdu import Context, Proposed
from cinemill.network.query import IDENTIFIER_SYNTAXES, context_of, encoded_identifier
from cinemill.network.stream import Late
from cinemill.syntaxes import TRANSFER_SYNTAXES

if TYPE_CHECKING:
    from cinemill.network.arrivals import Arrivals
    from cinemill.network.nodes import Dimse, Node
    from cinemill.network.query import Listed

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"

_MEDIUM = 0
_VIDEO = "video"
_UIDS_AT_ONCE = 500
_FRUITLESS = 100_000
"""Messages that bring no new instance, after which a node is not listened to any more."""

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_LIKELY = tuple(
    _STORAGE + last
    for last in (
        *("6.1", "3.1", "7", "88.33", "88.34", "88.22", "88.11", "104.1", "11.1", "88.59"),
        *("7.1", "7.2", "7.3", "7.4", "6.2", "6", "3", "66.4", "66", "77.1.4.1", "77.1.1.1", "12.1", "12.2"),
        *("2", "2.1", "4", "4.1", "1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "20", "128", "130", "481.1"),
        *("77.1.4", "77.1.1", "9.1.1", "88.67", "66.1", "30", "13.1.3", "77.1.5.1", "77.1.6"),
    )
)
"""Storage classes that are asked for where a node does not say which ones a study has: those of echo and OB first."""

_SYNTAXES = tuple(
    row.uid
    for row in TRANSFER_SYNTAXES.values()
    if row.coding not in {_VIDEO, "deflated-frame", "encapsulated-uncompressed"}
) + tuple("1.2.840.10008.1.2.4." + last for last in ("100", "101", "102", "103", "107"))
_PER_CLASS = len(_SYNTAXES)


def get(
    node: Node,
    study: str,
    arrivals: Arrivals,
    *,
    listed: Sequence[Listed] = (),
    whole: bool = True,
    passed: Callable[[int], None] | None = None,
) -> None:
    """Fetch a study by C-GET: all of it, or those instances that are listed.

    One presentation context is proposed for each class and transfer syntax, so that the node sends what it has as it has it.

    Parameters
    ----------
    node
        Reached by DIMSE.
    study
        Its UID.
    arrivals
        Where instances go.
    listed
        What is wanted; classes that are known spare associations.
    whole
        Whether that is all of the study, which is then asked for by its UID alone.
    passed
        See `cinemill.network.association.Association`.

    Raises
    ------
    NodeError
        The node can't be asked, or fails; what came before is there.
    """
    for classes in _classes(listed):
        missing = [each for each in listed if each.sop_instance not in arrivals.fetched]
        if listed and not missing:
            return
        pairs = [Proposed(sop_class, (syntax,)) for sop_class in classes for syntax in _SYNTAXES]
        contexts = [Proposed(STUDY_ROOT_GET, IDENTIFIER_SYNTAXES), *pairs]
        with associate(node, contexts, roles=classes, passed=passed) as association:
            context = context_of(association, STUDY_ROOT_GET, "C-GET in the Study Root model")
            for identifier in _identifiers(study, missing, whole=whole and len(missing) == len(listed)):
                failed = _get(association, context, identifier, arrivals, node.by_dimse.called)
        if not listed and not failed and (arrivals.fetched or arrivals.wrong):
            return


def _classes(listed: Sequence[Listed]) -> Iterator[tuple[str, ...]]:
    """Yield classes for association after association: those that the node named, else all that are likely."""
    known = dict.fromkeys(each.sop_class for each in listed if each.sop_class)
    classes = [*known]
    if not listed or any(not each.sop_class for each in listed):
        classes += [each for each in _LIKELY if each not in known]
    at_once = (MOST_CONTEXTS - 1) // _PER_CLASS
    for start in range(0, len(classes), at_once):
        yield tuple(classes[start : start + at_once])


def _identifiers(study: str, missing: Sequence[Listed], *, whole: bool) -> Iterator[dict[str, Any]]:
    """Yield what to ask for: the study, or instances by their series."""
    if whole or any(not each.series for each in missing):
        yield {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study}
        return
    for series in dict.fromkeys(each.series for each in missing):
        uids = [each.sop_instance for each in missing if each.series == series]
        for start in range(0, len(uids), _UIDS_AT_ONCE):
            yield {
                "QueryRetrieveLevel": "IMAGE",
                "StudyInstanceUID": study,
                "SeriesInstanceUID": series,
                "SOPInstanceUID": uids[start : start + _UIDS_AT_ONCE],
            }


def _get(
    association: Association, context: Context, identifier: dict[str, Any], arrivals: Arrivals, sender: str
) -> int:
    """Ask once, take what comes on the same association, and return how many the node could not send."""
    request = {
        "AffectedSOPClassUID": STUDY_ROOT_GET,
        "CommandField": Field.GET_RQ,
        "MessageID": association.next_message(),
        "Priority": _MEDIUM,
    }
    association.send(context, request, encoded_identifier(identifier, context.syntax))
    for _ in _until_fruitless("C-GET", arrivals):
        under, message = association.receive()
        if message["CommandField"] == Field.STORE_RQ:
            take_store(association, under, message, arrivals, sender)
            continue
        commands.check_answer(message, request)
        association.skip_data()
        status = commands.status_of(message)
        if status not in commands.PENDING:
            return _failed("C-GET", status, message)
    raise AssertionError


def _until_fruitless(what: str, arrivals: Arrivals) -> Iterator[None]:
    """Go on as long as the messages of a node may still come to something.

    Raises
    ------
    NodeError
        They bring nothing, and don't end.
    """
    there = fruitless = 0
    while fruitless <= _FRUITLESS:
        fruitless = fruitless + 1 if there == len(arrivals.fetched) else 0
        there = len(arrivals.fetched)
        yield
    raise NodeError(
        f"{what}: {_FRUITLESS} messages came one after the other without another instance", outcome="nonsense"
    )


def take_store(
    association: Association, context: Context, request: commands.Command, arrivals: Arrivals, sender: str
) -> None:
    """Take one instance of a C-STORE request, and answer it.

    Parameters
    ----------
    association
        Over which it comes.
    context
        Under which.
    request
        Its command set.
    arrivals
        Where it goes.
    sender
        AE title.

    Raises
    ------
    NodeError
        The association can't be used any more.
    """
    claim = Claim(
        request.get("AffectedSOPClassUID", ""),
        request.get("AffectedSOPInstanceUID", ""),
        context.syntax,
        sender,
    )
    taken = arrivals.take(claim, association.data())
    association.send(context, commands.response(request, taken.status, taken.message))


def move(
    node: Node,
    study: str,
    arrivals: Arrivals,
    *,
    listed: Sequence[Listed] = (),
    whole: bool = True,
    passed: Callable[[int], None] | None = None,
) -> None:
    """Have the node send a study to ourselves by C-MOVE; a `cinemill.network.listener.Listener` takes what comes.

    Parameters
    ----------
    node
        Reached by DIMSE.
    study
        Its UID.
    arrivals
        What the listener was told of this study.
    listed
        What is wanted; all of the study without it.
    whole
        Whether that is all of the study, which is then asked for by its UID alone.
    passed
        See `cinemill.network.connect.associate`.

    Raises
    ------
    NodeError
        The node can't be asked, or fails.
    """
    missing = [each for each in listed if each.sop_instance not in arrivals.fetched]
    for identifier in _identifiers(study, missing, whole=whole and len(missing) == len(listed)):
        with associate(node, [Proposed(STUDY_ROOT_MOVE, IDENTIFIER_SYNTAXES)], passed=passed) as association:
            _move(association, identifier, arrivals, node.by_dimse)


def _move(association: Association, identifier: dict[str, Any], arrivals: Arrivals, way: Dimse) -> None:
    """Ask once, over an association of its own: two on one association confuse some nodes."""
    context = context_of(association, STUDY_ROOT_MOVE, "C-MOVE in the Study Root model")
    request = {
        "AffectedSOPClassUID": STUDY_ROOT_MOVE,
        "CommandField": Field.MOVE_RQ,
        "MessageID": association.next_message(),
        "Priority": _MEDIUM,
        "MoveDestination": way.calling,
    }
    association.send(context, request, encoded_identifier(identifier, context.syntax))
    for _ in _until_fruitless("C-MOVE", arrivals):
        _await_answer(association, arrivals, way.timeout)
        _, message = association.receive()
        commands.check_answer(message, request)
        association.skip_data()
        status = commands.status_of(message)
        if status not in commands.PENDING:
            if status == 0xA801:
                raise NodeError(
                    f"the node does not know where {way.calling} is; tell it our AE title, address and port",
                    outcome="refused",
                )
            _failed("C-MOVE", status, message)
            return


def _await_answer(association: Association, arrivals: Arrivals, seconds: float) -> None:
    """Wait for an answer as long as instances come: some nodes say nothing before they have sent all."""
    while True:
        try:
            association.await_message(seconds)
        except Late:
            if time.monotonic() - arrivals.moved > seconds:
                raise
        else:
            return


def _failed(what: str, status: int, message: commands.Command) -> int:
    """Return how many instances the node says it could not send; what is missing is known from what came.

    Raises
    ------
    NodeError
        It did not even try.
    """
    failed = int(message.get("NumberOfFailedSuboperations", 0))
    done = int(message.get("NumberOfCompletedSuboperations", 0)) + int(
        message.get("NumberOfWarningSuboperations", 0)
    )
    if status not in {0x0000, 0xB000, 0xA702} and not failed and not done:
        raise refused_by_status(what, status, message)
    return failed
