"""Threads of one process that work by turns: one at a time, while others wait for the disk or for what all of them need done."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Executor

Given = TypeVar("Given")
Made = TypeVar("Made")
Work: TypeAlias = "Callable[[list[Any]], list[Any]]"
"""Makes something of each of what it is given."""

MOST = 16
"""Instances of a party: as many as the SIMD lanes that they share."""

SMALL = 3 << 20


def is_small(nbytes: int) -> bool:
    """Whether a file of so many bytes goes with others."""
    return 0 < nbytes <= SMALL


class Party:
    """Threads, each at work on an instance of its own, of which one works at a time: a party keeps one core busy.

    Threads that all want to work hand Python's lock to and fro, thousands of times a second. Here the turn to work is handed
    from one thread to the one that waited longest, and no other wakes up for it. A thread works until it is
    done, waits in `waiting`, or has something done that the others need as well (`call`): that waits until every thread of the
    party waits so or has left. Then all is done, what is alike at once; where that fails, each on its own, so that an
    error is that of its own thread.

    Parameters
    ----------
    size
        How many threads there are: each has to join once.
    caller
        A single thread that makes the calls, so that what codecs keep in memory for the next frames is kept once.
    """

    def __init__(self, size: int, caller: Executor) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self._in_line: deque[threading.Lock] = deque()
        self._caller = caller
        self._at_work = size
        self._calls: list[_Call] = []

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Belong to the party until the context is left."""
        self._take_turn()
        token = _party.set(self)
        try:
            yield
        finally:
            _party.reset(token)
            try:
                self._one_less()
            finally:
                self._pass_turn()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let others work until the context is left."""
        self._pass_turn()
        try:
            yield
        finally:
            self._take_turn()

    def _take_turn(self) -> None:
        """Wait until it is this thread's turn."""
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            gate = _shut()
            self._in_line.append(gate)
        gate.acquire()

    def _pass_turn(self) -> None:
        """End this thread's turn; it is that of the first in line, if there is one."""
        with self._guard:
            if self._in_line:
                self._in_line.popleft().release()
            else:
                self._taken = False

    def call(self, alike: Hashable, work: Work, given: Sequence[Any], *, waits: bool = False) -> list[Any]:
        """Have something done with what the others have.

        Parameters
        ----------
        alike
            Equal for what is done at once.
        work
            What is done.
        given
            To what.
        waits
            Whether it waits for the disk, in this thread, and not for a codec.
        """
        call = _Call(alike, work, given, waits=waits)
        self._calls.append(call)
        self._one_less()
        self._pass_turn()
        call.gate.acquire()
        if call.error is not None:
            error, call.error = call.error, None
            try:
                raise error
            finally:
                del error  # which knows this frame, and with it what was given
        assert call.made is not None
        return call.made

    def alone(self, work: Callable[[], Made]) -> Made:
        """Have something done at once, without the others, who do nothing meanwhile."""
        return self._caller.submit(work).result()

    def _one_less(self) -> None:
        """Note that a thread waits or leaves; the last one makes all calls, while nobody else has anything to do."""
        self._at_work -= 1
        if self._at_work or not self._calls:
            return
        calls, self._calls = self._calls, []
        alike: dict[Hashable, list[_Call]] = {}
        for call in calls:
            alike.setdefault(call.alike, []).append(call)
        for some in alike.values():
            if some[0].waits:
                _make(some)
            else:
                self.alone(partial(_make, some))
        self._at_work = len(calls)
        with self._guard:  # the last call is this thread's, unless it leaves
            self._in_line.extend(call.gate for call in reversed(calls))


class Host:
    """Has the threads for the parties of one process, which gives one at a time; a context manager."""

    def __init__(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._guests, self._caller = ThreadPoolExecutor(MOST), ThreadPoolExecutor(1)

    def together(self, work: Callable[[Given], Made], given: Iterable[Given]) -> list[Made]:
        """Do something to up to `MOST` instances at the same time; return what came of each, in their order.

        Parameters
        ----------
        work
            What is done; one alone is worked on in this thread.
        given
            To what.
        """
        instances = list(given)
        if len(instances) == 1:
            return [work(instances[0])]
        party = Party(len(instances), self._caller)

        def joined(instance: Given) -> Made:
            with party.joined():
                return work(instance)

        return list(self._guests.map(joined, instances))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._guests.shutdown()
        self._caller.shutdown()


class _Call:
    """What a thread has done, and what came of it; the gate opens when it is its turn again."""

    def __init__(self, alike: Hashable, work: Work, given: Sequence[Any], *, waits: bool = False) -> None:
        self.alike, self.work, self.given, self.waits = alike, work, list(given), waits
        self.made: list[Any] | None = None
        self.error: BaseException | None = None
        self.gate = _shut()

    def make(self) -> None:
        """Make it; its thread raises what goes wrong."""
        try:
            self.made = self.work(self.given)
        except BaseException as error:  # noqa: BLE001
            self.error = error


def _make(calls: Sequence[_Call]) -> None:
    """Make calls that are alike."""
    first = calls[0]
    whole = _Call(first.alike, first.work, [each for call in calls for each in call.given])
    if len(calls) > 1:
        whole.make()
    if whole.made is None:
        whole.error = None  # it knows the call, which would stay with all that was given until somebody looks for garbage
        for call in calls:
            call.make()
        return
    made = iter(whole.made)
    for call in calls:
        call.made = [next(made) for _ in call.given]


def _shut() -> threading.Lock:
    """Return a lock that is held."""
    gate = threading.Lock()
    gate.acquire()
    return gate


_party: ContextVar[Party | None] = ContextVar("party", default=None)


def current() -> Party | None:
    """Return the party that this thread belongs to, None where it works on its own."""
    return _party.get()


@contextmanager
def waiting() -> Iterator[None]:
    """Wait for the disk, while other threads of the process work."""
    party = _party.get()
    if party is None:
        yield
        return
    with party.waiting():
        yield


def once(work: Callable[[Any], None], given: Hashable) -> None:
    """Do something that waits for the disk, once for all threads of a party, when they all have come to it.

    Parameters
    ----------
    work
        What is done.
    given
        To what.
    """
    party = _party.get()

    def for_all(them: list[Any]) -> list[Any]:
        work(given)
        return them

    if party is None:
        work(given)
    else:
        party.call((work, given), for_all, [given], waits=True)
