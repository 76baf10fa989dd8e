"""The peer of an association, and the observer that is told what comes from it."""

from __future__ import annotations

from typing import Protocol

from cinemill.network.incoming import Taken


class Peer:
    """Who is at the other end.

    Parameters
    ----------
    address
        Of its host.

    Attributes
    ----------
    title
        That it gave itself, empty before it did.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.title = ""

    def __str__(self) -> str:
        return f"{self.title}@{self.address}" if self.title else self.address


class Observer(Protocol):
    """Who is told of what comes, on the threads of associations."""

    def stored(self, peer: Peer, outcome: Taken, seconds: float) -> None:
        """Take what became of an instance.

        Parameters
        ----------
        peer
            Who sent it.
        outcome
            What became of it.
        seconds
            Since its command began to arrive.
        """

    def told(self, peer: Peer, message: str) -> None:
        """Take what else is worth telling: an association that did not end as it should, a commitment."""
