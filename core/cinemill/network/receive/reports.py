"""Reports what is kept to who asked for it: on an association of our own, or on that of the request."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from cinemill.errors import NodeError, UsageError
from cinemill.network.association import Association
from cinemill.network.classes import COMMITMENT, COMMITMENT_INSTANCE, EXPLICIT
from cinemill.network.pdu import Context
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
    from io import BytesIO

    from pydicom.filereader import read_dataset
    from pynetdicom import AE, build_role

    entity = AE(ae_title=calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _SECONDS
    entity.connection_timeout = _SECONDS
    entity.add_requested_context(COMMITMENT, EXPLICIT)
    role = build_role(COMMITMENT, scp_role=True)
    association = entity.associate(place.host, place.port, ae_title=called, ext_neg=[role])
    if not association.is_established:
        return f"no association with {called} at {place.host}:{place.port}"
    try:
        data_set = read_dataset(
            BytesIO(promise.data_set(EXPLICIT)), is_implicit_VR=False, is_little_endian=True
        )
        status, _ = association.send_n_event_report(data_set, promise.event, COMMITMENT, COMMITMENT_INSTANCE)
    except (RuntimeError, ValueError) as error:
        return str(error)
    finally:
        association.release()
    answered = getattr(status, "Status", None)
    return None if answered == 0 else f"answered {'nothing' if answered is None else f'0x{answered:04X}'}"


def _told(promise: Promise) -> str:
    return f"commitment: {len(promise.kept)} instances are kept, {len(promise.failed)} are not"


def checked(wanted: Mapping[str, Place]) -> Mapping[str, Place]:
    """Return where reports go, once it is known that they can be sent.

    Raises
    ------
    UsageError
        The package that sends them is missing.
    """
    from importlib.util import find_spec

    if wanted and find_spec("pynetdicom") is None:
        raise UsageError("reports need pynetdicom; install cinemill[net], or leave out --report-to")
    return wanted
