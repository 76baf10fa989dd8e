"""Reports storage commitment to the peer that asked: on an association of our own, or on that of the request."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from cinemill.errors import NodeError, UsageError
from cinemill.network import commands
from cinemill.network.association import Association
from cinemill.network.classes import COMMITMENT, EXPLICIT, IMPLICIT
from cinemill.network.connect import associate
from cinemill.network.nodes import Dimse, Node
from cinemill.network.pdu import Context, Proposed
from cinemill.network.receive.commitment import Asked, Promise, promised
from cinemill.network.receive.inbox import Inbox
from cinemill.network.receive.peers import Observer, Peer

_PAUSES = (1.0, 10.0, 60.0)
"""Seconds between attempts."""

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where an application entity takes associations."""

    host: str
    port: int


def places(texts: tuple[str, ...]) -> dict[str, Place]:
    """Read where application entities are, written as ``AET=HOST:PORT``.

    Raises
    ------
    UsageError
        One is not.
    """
    found = {}
    for text in texts:
        title, _, where = text.partition("=")
        host, _, port = where.rpartition(":")
        if not title or not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise UsageError(f"{text!r} says not where reports go; expected AET=HOST:PORT")
        found[title] = Place(host.strip("[]"), int(port))
    return found


class Reports:
    """Says of instances that are asked for whether they are kept.

    Parameters
    ----------
    inbox
        Where they are.
    title
        Of this application entity.
    known
        Where others take associations, by title; others are told on the association of their request.
    observer
        Who is told.
    """

    def __init__(self, inbox: Inbox, title: str, known: Mapping[str, Place], observer: Observer) -> None:
        self._inbox, self._title, self._known, self._observer = inbox, title, known, observer

    def __call__(self, peer: Peer, association: Association, context: Context, asked: Asked) -> None:
        """Look for the instances, and report, by a thread of its own where that needs an association.

        Parameters
        ----------
        peer
            Who asks.
        association, context
            Under which it asks.
        asked
            For what.
        """
        promise = promised(asked, self._inbox)
        place = self._known.get(peer.title)
        if place is not None:
            threading.Thread(target=self._deliver, args=(peer, place, promise), daemon=True).start()
            return
        with suppress(NodeError):
            association.send(context, promise.command(), promise.data_set(context.syntax))
            self._observer.told(peer, _told(promise))

    def _deliver(self, peer: Peer, place: Place, promise: Promise) -> None:
        for pause in (*_PAUSES, 0.0):
            failure = deliver(place, peer.title, self._title, promise)
            if failure is None:
                self._observer.told(peer, _told(promise))
                return
            time.sleep(pause)
        self._observer.told(peer, f"the commitment could not be reported: {failure}")


def deliver(place: Place, called: str, calling: str, promise: Promise) -> str | None:
    """Report a promise on an association of our own, in the role of who stores; returns why that failed.

    Parameters
    ----------
    place, called
        Where the report goes.
    calling
        Title of this application entity.
    promise
        What is reported.
    """
    way = Dimse(place.host, place.port, called, calling, timeout=_SECONDS)
    node = Node(called, "get", way)
    try:
        with associate(node, [Proposed(COMMITMENT, (EXPLICIT, IMPLICIT))], roles=[COMMITMENT]) as association:
            context = association.context_for(COMMITMENT)
            if context is None:
                return f"{called} at {place.host}:{place.port} takes no reports"
            association.send(context, promise.command(), promise.data_set(context.syntax))
            _, answer = association.receive()
            association.skip_data()
            status = commands.status_of(answer)
    except NodeError as error:
        return error.message
    return f"answered 0x{status:04X}" if status else None


def _told(promise: Promise) -> str:
    return f"commitment: {len(promise.kept)} instances are kept, {len(promise.failed)} are not"
