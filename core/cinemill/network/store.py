"""Sends instances by C-STORE, as they are encoded in their files (PS3.4 Annex B)."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from cinemill.errors import CinemillError, NodeError
from cinemill.network import commands
from cinemill.network.association import Association, Stored
from cinemill.network.commands import Field
from cinemill.network.connect import associate
from cinemill.network.instances import Instance
from cinemill.network.negotiation import MOST_CONTEXTS, grouped
from cinemill.network.nodes import Node
from cinemill.network.outcomes import OUTCOMES, Outcome, of_status
from cinemill.storage.regular import open_regular

_MEDIUM = 0


def accepted(node: Node, pairs: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return those pairs of SOP class and transfer syntax that a node takes.

    Parameters
    ----------
    node
        Reached by DIMSE.
    pairs
        Any number: they are asked for over as many associations as it takes.

    Raises
    ------
    NodeError
        The node can't be asked.
    """
    found: set[tuple[str, str]] = set()
    for contexts in grouped(pairs):
        with associate(node, contexts) as association:
            found |= {(each.sop_class, each.syntax) for each in association.contexts.values()}
    return found


def store(
    node: Node,
    instances: Iterable[Instance],
    *,
    passed: Callable[[int], None] | None = None,
) -> Iterator[Outcome]:
    """Send instances, and yield what became of each, in their order by groups of what fits one association.

    An association that breaks costs the instance that was under way; the next ones go over another.

    Parameters
    ----------
    node
        Reached by DIMSE.
    instances
        Read by `cinemill.network.instances.read_instance`.
    passed
        Called with the bytes of each block; may wait, or raise.
    """
    for group in _by_contexts(list(instances)):
        waiting = deque(group)
        while waiting:
            yield from _over_one_association(node, waiting, passed)


def _by_contexts(instances: Sequence[Instance]) -> Iterator[list[Instance]]:
    """Yield instances by what fits one association, in their order otherwise."""
    pairs = dict.fromkeys((each.sop_class, each.transfer_syntax) for each in instances)
    if len(pairs) <= MOST_CONTEXTS:
        yield list(instances)
        return
    for contexts in grouped(pairs):
        within = {(context.sop_class, context.syntaxes[0]) for context in contexts}
        yield [each for each in instances if (each.sop_class, each.transfer_syntax) in within]


def _over_one_association(
    node: Node, waiting: deque[Instance], passed: Callable[[int], None] | None
) -> Iterator[Outcome]:
    (contexts,) = grouped({(each.sop_class, each.transfer_syntax): None for each in waiting})
    try:
        association = associate(node, contexts, passed=passed)
    except NodeError as error:
        while waiting:
            yield outcome_of(waiting.popleft(), error)
        return
    with association:
        while waiting:
            instance = waiting.popleft()
            try:
                outcome = store_one(association, instance)
            except NodeError as error:
                association.abort(error)
                yield outcome_of(instance, error)
                return
            yield outcome


def store_one(association: Association, instance: Instance) -> Outcome:
    """Send one instance over an association that is there.

    Raises
    ------
    NodeError
        The association can't be used any more; the instance may be with the node, or not.
    """
    context = association.context_for(instance.sop_class, instance.transfer_syntax)
    if context is None:
        other = association.context_for(instance.sop_class)
        name = "class-refused" if other is None else "syntax-refused"
        return replace(outcome_of(instance, NodeError(OUTCOMES[name].meaning, outcome=name)), bytes=0)
    request = {
        "AffectedSOPClassUID": instance.sop_class,
        "CommandField": Field.STORE_RQ,
        "MessageID": association.next_message(),
        "Priority": _MEDIUM,
        "AffectedSOPInstanceUID": instance.sop_instance,
    }
    try:
        file = os.fdopen(open_regular(instance.path), "rb", buffering=0)
    except OSError as error:
        return outcome_of(instance, NodeError(f"can't be read: {error.strerror}", outcome="damaged"))
    with file:
        association.send(context, request, Stored(file.fileno(), instance.start, instance.end))
    _, answer = association.receive()
    commands.check_answer(answer, request)
    association.skip_data()
    status = commands.status_of(answer)
    told = f"status {status:04X}" + (f", {answer['ErrorComment']}" if answer.get("ErrorComment") else "")
    return Outcome(
        of_status(status),
        instance.path,
        instance.sop_class,
        instance.sop_instance,
        instance.transfer_syntax,
        told if status else "",
        instance.end - instance.start,
        study=instance.study,
    )


def outcome_of(instance: Instance, error: CinemillError) -> Outcome:
    """Return what became of an instance that something went wrong with."""
    return Outcome(
        error.outcome if isinstance(error, NodeError) else "failed",
        instance.path,
        instance.sop_class,
        instance.sop_instance,
        instance.transfer_syntax,
        error.message,
        after=error.after if isinstance(error, NodeError) else None,
        study=instance.study,
    )
