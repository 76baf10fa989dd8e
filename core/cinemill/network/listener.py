"""Accepts associations of a node that was asked for something: instances of C-MOVE, results of storage commitment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cinemill.errors import NodeError
from cinemill.network.incoming import Claim, Incoming, Taken
from cinemill.network.query import decoded_identifier, text_of
from cinemill.network.receive.limits import Limits
from cinemill.network.receive.peers import Peer
from cinemill.network.receive.server import Server
from cinemill.network.tls import server_context

if TYPE_CHECKING:
    from pydicom import Dataset

    from cinemill.network.arrivals import Arrivals
    from cinemill.network.nodes import Dimse

_MOST_ASSOCIATIONS = 16
_PATIENCE = 2.0
"""Seconds that instances under way are given at the end."""


@dataclass
class Listener:
    """Accepts associations in threads of its own for the time of its context.

    Parameters
    ----------
    way
        How the node is reached that will come: our AE title and port, TLS and timeout are those of its entry.
    passed
        See `cinemill.network.association.Association`.
    host
        Listen at this address only.
    """

    way: Dimse
    passed: Callable[[int], None] | None = None
    host: str = ""
    _studies: dict[str, Arrivals] = field(default_factory=dict)
    _results: dict[str, Dataset | None] = field(default_factory=dict)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _stack: ExitStack = field(default_factory=ExitStack)

    def expect(self, arrivals: Arrivals) -> None:
        """Take the instances of a study from now on."""
        self._studies[arrivals.study] = arrivals

    def forget(self, arrivals: Arrivals) -> None:
        """Take no more of that study."""
        self._studies.pop(arrivals.study, None)

    @contextmanager
    def awaiting(self, transaction: str) -> Iterator[None]:
        """Keep the result of a storage commitment for the time of the context; those that nobody awaits are dropped."""
        with self._news:
            self._results[transaction] = None
        try:
            yield
        finally:
            with self._news:
                del self._results[transaction]

    def result(self, transaction: str, timeout: float) -> Dataset | None:
        """Return the result of a storage commitment that is awaited, None where none comes in time."""
        with self._news:
            return self._news.wait_for(lambda: self._results[transaction], timeout)

    def __enter__(self) -> Self:
        limits = Limits(
            called=frozenset((self.way.calling,)),
            associations=_MOST_ASSOCIATIONS,
            per_address=_MOST_ASSOCIATIONS,
            request_seconds=self.way.timeout,
            network_seconds=self.way.timeout,
            idle_seconds=self.way.timeout,
            compressed_first=True,
        )
        server = Server(
            self.host,
            self.way.listen or 0,
            self,
            limits,
            self,
            tls=None if self.way.tls is None else server_context(self.way.tls),
            reported=self._report,
            passed=self.passed,
        )
        self._server = self._stack.enter_context(server)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()
        self._server.join(_PATIENCE)
        self._stack.close()

    @property
    def port(self) -> int:
        """At which it listens."""
        return self._server.port

    def begin(self, claim: Claim) -> Incoming:
        """Return the file for an instance: of the only study that is expected, or that which has asked for it by name."""
        found = self._arrivals(claim)
        if found is None:
            raise NodeError(f"{claim.sop_instance} comes, which nobody asked for", outcome="different")
        return found.begin(claim)

    def stored(self, peer: Peer, outcome: Taken, seconds: float) -> None:  # noqa: ARG002
        """Account for an instance.

        Parameters
        ----------
        peer
            Who sent it.
        outcome
            What became of it.
        seconds
            How long it took.
        """
        found = self._arrivals(outcome.claim)
        if found is not None:
            found.note(outcome)

    def told(self, peer: Peer, message: str) -> None:
        """Leave it: what is missing is known by who asked for it."""

    def _arrivals(self, claim: Claim) -> Arrivals | None:
        expected = list(self._studies.values())
        named = (each for each in expected if each.awaited is not None and each.awaits(claim.sop_instance))
        return next(named, None) or (expected[0] if len(expected) == 1 else None)

    def _report(self, data: bytes, syntax: str) -> None:
        result = decoded_identifier(data, syntax)
        transaction = text_of(result, "TransactionUID")
        with self._news:
            if transaction in self._results:
                self._results[transaction] = result
                self._news.notify_all()
