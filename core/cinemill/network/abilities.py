"""Finds out what a node can do: who answers, what it lists, and which transfer syntaxes it takes (`cinemill nodes test`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cinemill.errors import CinemillError, NodeError
from cinemill.network import commands, query, retrieve
from cinemill.network.classes import COMMITMENT, VERIFICATION
from cinemill.network.commands import Field
from cinemill.network.connect import associate
from cinemill.network.pdu import Proposed
from cinemill.network.query import FIND_CONTEXT, IDENTIFIER_SYNTAXES
from cinemill.network.store import accepted
from cinemill.syntaxes import TARGETS, TRANSFER_SYNTAXES

if TYPE_CHECKING:
    from cinemill.network.nodes import Node, Web

CLASSES = {
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "US multi-frame": "1.2.840.10008.5.1.4.1.1.3.1",
    "Secondary Capture": "1.2.840.10008.5.1.4.1.1.7",
    "Comprehensive SR": "1.2.840.10008.5.1.4.1.1.88.33",
}
"""What is asked for, by what it is called."""

_SERVICES = {
    "C-FIND": query.STUDY_ROOT_FIND,
    "C-MOVE": retrieve.STUDY_ROOT_MOVE,
    "C-GET": retrieve.STUDY_ROOT_GET,
    "commitment": COMMITMENT,
}
_OTHERS = tuple("1.2.840.10008.1.2.4." + last for last in ("50", "70"))
_NO_STUDY = "2.25.1"


@dataclass(frozen=True, slots=True)
class Ability:
    """What came of one question.

    Attributes
    ----------
    what
        Was asked.
    well
        Whether the node can do it.
    told
        What it said.
    """

    what: str
    well: bool
    told: str


def services(node: Node) -> Iterator[Ability]:
    """Ask a node for each of its services, by the ways that its entry names, and yield what came of it.

    Parameters
    ----------
    node
        Whose entry says how it is reached.
    """
    if node.dimse is not None:
        yield _asked("C-ECHO", lambda: _echo(node))
        offered = _offered(node)
        for what in ("C-FIND", "C-GET", "C-MOVE", "commitment"):
            if isinstance(offered, CinemillError):
                yield Ability(what, well=False, told=offered.message)
            elif _SERVICES[what] not in offered:
                yield Ability(what, well=False, told="not offered to us")
            elif what == "C-FIND":
                yield _asked(what, lambda: _find(node))
            else:
                yield Ability(what, well=True, told="offered")
    if node.web is not None:
        way = node.web
        yield _asked("QIDO-RS", lambda: _qido(way))
        yield _asked("WADO-RS", lambda: _wado(way))
        yield _asked("STOW-RS", lambda: _stow(way))


def syntaxes(node: Node) -> dict[str, frozenset[str]]:
    """Return which transfer syntaxes a node takes by C-STORE, by their names, for each of `CLASSES`.

    Parameters
    ----------
    node
        Reached by DIMSE.

    Raises
    ------
    NodeError
        It can't be asked.
    """
    uids = syntaxes_asked()
    taken = accepted(node, [(sop_class, uid) for sop_class in CLASSES.values() for uid in uids])
    return {
        name: frozenset(uid for uid in uids if (sop_class, uid) in taken)
        for name, sop_class in CLASSES.items()
    }


def syntaxes_asked() -> tuple[str, ...]:
    """Return the UIDs that `syntaxes` asks for: all targets, and the two of JPEG that archives are full of."""
    return (*(row.uid for row in TARGETS), *(uid for uid in _OTHERS if uid in TRANSFER_SYNTAXES))


def _asked(what: str, ask: Callable[[], str]) -> Ability:
    started = time.perf_counter()
    try:
        told = ask()
    except CinemillError as error:
        return Ability(what, well=False, told=error.message)
    return Ability(what, well=True, told=f"{told}, {(time.perf_counter() - started) * 1000:.0f} ms")


def _echo(node: Node) -> str:
    with associate(node, [Proposed(VERIFICATION, IDENTIFIER_SYNTAXES)]) as association:
        context = query.context_of(association, VERIFICATION, "Verification")
        request = {
            "AffectedSOPClassUID": VERIFICATION,
            "CommandField": Field.ECHO_RQ,
            "MessageID": association.next_message(),
        }
        association.send(context, request)
        _, answer = association.receive()
        commands.check_answer(answer, request)
        status = commands.status_of(answer)
        if status:
            raise NodeError(f"status {status:04X}", outcome="failed")
    return "answers"


def _offered(node: Node) -> set[str] | CinemillError:
    try:
        proposed = [Proposed(sop_class, IDENTIFIER_SYNTAXES) for sop_class in _SERVICES.values()]
        with associate(node, proposed) as association:
            return {each.sop_class for each in association.contexts.values()}
    except CinemillError as error:
        return error


def _find(node: Node) -> str:
    with associate(node, [FIND_CONTEXT]) as association:
        found = list(query.find(association, "STUDY", {"StudyInstanceUID": _NO_STUDY}))
    return "answers" if not found else f"answers {len(found)} studies to a UID that no study has"


def _qido(way: Web) -> str:
    from cinemill.network import web
    from cinemill.network.web_client import Client

    with Client(way) as http:
        web.ask(http, f"{way.url}/studies", {"limit": "1"})
    return "answers"


def _wado(way: Web) -> str:
    """Ask for a study that there is not: a server with WADO-RS says so."""
    from cinemill.network import web
    from cinemill.network.web_client import Client

    with Client(way) as http:
        code = web.status_for(http, "GET", f"{way.url}/studies/{_NO_STUDY}")
    if code in {200, 204, 404, 410}:
        return "answers"
    raise NodeError(f"status {code} for a study that is not there, expected 404", outcome="failed")


def _stow(way: Web) -> str:
    """Send a body without a part: a server with STOW-RS finds fault with the body, and not with the address."""
    from cinemill.network import web
    from cinemill.network.web_client import Client

    with Client(way) as http:
        code = web.status_for(http, "POST", f"{way.url}/studies", web.empty_body())
    if code in {200, 202, 204, 400, 409, 415, 422}:
        return "answers"
    raise NodeError(f"status {code}: nothing takes instances at {way.url}/studies", outcome="failed")
