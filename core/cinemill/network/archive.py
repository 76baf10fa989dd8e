"""What a node has, and how it is fetched, whichever way its entry names: C-MOVE, C-GET or DICOMweb."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from cinemill.errors import NodeError
from cinemill.network import query, retrieve
from cinemill.network.arrivals import Arrivals
from cinemill.network.outcomes import OUTCOMES
from cinemill.network.query import Listed, Study

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from cinemill.network.listener import Listener
    from cinemill.network.nodes import Node

_ATTEMPTS = 3
_PATIENCE = 2.0
"""Seconds before the second attempt; twice as many before the next."""

_DIVIDED = "truncated"
"""How a question ends that was asked anew for parts of its days as long as there were any, and would be again."""

_NO_LISTS = frozenset(("failed", "not-understood", "does-not-match", "no-such"))
"""What nodes answer that match an instance by one UID only."""


def check(node: Node) -> None:
    """See that a node can be asked, as far as its entry says.

    Raises
    ------
    UsageError
        Its secret is not where the entry says.
    """
    if node.pull == "web":
        node.by_web.authorization()


def studies(
    node: Node, criteria: Mapping[str, str], rest: Callable[[float], None] = time.sleep
) -> Iterator[Study]:
    """Yield the studies of a node that match, each once; what may go well another time is asked again.

    Parameters
    ----------
    node
        Whose entry says how it is asked.
    criteria
        Values by keyword: see `cinemill.network.query.parse_query`.
    rest
        Waits so many seconds before another attempt; may raise.

    Raises
    ------
    NodeError
        See `cinemill.network.query.studies`; says which node.
    """
    known: set[str] = set()
    for attempt in range(_ATTEMPTS):
        try:
            for study in _studies(node, criteria):
                if study.uid not in known:
                    known.add(study.uid)
                    yield study
        except NodeError as error:
            last = attempt == _ATTEMPTS - 1 or error.outcome == _DIVIDED
            if last or not OUTCOMES[error.outcome].again:
                raise NodeError(
                    f"{node.name} can't be asked for studies: {error.message}",
                    outcome=error.outcome,
                    after=error.after,
                ) from None
            rest(max(_PATIENCE * 2**attempt, error.after or 0.0))
        else:
            return


def _studies(node: Node, criteria: Mapping[str, str]) -> Iterator[Study]:
    if node.pull == "web":
        from cinemill.network import web

        return web.studies(node, criteria)
    return query.studies(node, criteria)


def instances(node: Node, study: str) -> list[Listed]:
    """Return the instances of a study that a node lists: see `cinemill.network.query.instances`."""
    if node.pull == "web":
        from cinemill.network import web

        return web.instances(node, study)
    return query.instances(node, study)


def listening(
    node: Node, passed: Callable[[int], None] | None = None
) -> AbstractContextManager[Listener | None]:
    """Return what takes the instances of C-MOVE for the time of its context, which is nothing for other ways.

    Parameters
    ----------
    node
        Whose entry says how it is fetched from.
    passed
        See `cinemill.network.association.Association`.
    """
    if node.pull != "move":
        return nullcontext()
    from cinemill.network.listener import Listener

    return Listener(node.by_dimse, passed)


def fetch(
    node: Node,
    study: str,
    arrivals: Arrivals,
    *,
    listed: Sequence[Listed] = (),
    whole: bool = True,
    listener: Listener | None = None,
    passed: Callable[[int], None] | None = None,
) -> None:
    """Fetch a study, or those of its instances that are listed and have not arrived.

    A node that does not understand a list of instances is asked for one after the other.

    Parameters
    ----------
    node
        Whose entry says how.
    study
        Its UID.
    arrivals
        Where instances go, and what is known of them afterwards.
    listed
        What is wanted; all of the study without it.
    whole
        Whether that is all of the study, which is then asked for by its UID alone.
    listener
        For C-MOVE: see `listening`.
    passed
        See `cinemill.network.association.Association`.

    Raises
    ------
    NodeError
        The node can't be asked, or fails; what came before is there.
    """
    try:
        _fetch(node, study, arrivals, listed, listener, passed, whole=whole)
    except NodeError as error:
        if whole or len(listed) < 2 or error.outcome not in _NO_LISTS:
            raise
        failed = None
        for each in listed:
            if each.sop_instance not in arrivals.fetched:
                try:
                    _fetch(node, study, arrivals, [each], listener, passed, whole=False)
                except NodeError as found:
                    if found.outcome not in _NO_LISTS:
                        raise
                    failed = found
        if failed is not None:
            raise failed from None


def _fetch(
    node: Node,
    study: str,
    arrivals: Arrivals,
    listed: Sequence[Listed],
    listener: Listener | None,
    passed: Callable[[int], None] | None,
    *,
    whole: bool,
) -> None:
    if node.pull == "web":
        from cinemill.network import web

        web.retrieve(node, study, arrivals, listed=listed, whole=whole, passed=passed)
    elif listener is not None:
        listener.expect(arrivals)
        try:
            retrieve.move(node, study, arrivals, listed=listed, whole=whole, passed=passed)
        finally:
            listener.forget(arrivals)
    else:
        retrieve.get(node, study, arrivals, listed=listed, whole=whole, passed=passed)
