"""Work that takes long: one at a time in a process, while some others wait, and ended where nobody waits for it any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cinemill.errors import Cancelled, CinemillError

_WAITING = 16
"""As many are taken on, so that threads are left for what takes no time."""

_POLL = 0.5


class Busy(CinemillError):
    """Too many wait already."""


class Turns:
    """Whose turn it is among the threads of this process."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(_WAITING)
        self._turn = threading.Lock()

    @contextmanager
    def turn(self, gone: Callable[[], bool], *, begun: bool = False) -> Iterator[None]:
        """Wait for a turn, and have it for the time of the context.

        Parameters
        ----------
        gone
            Whether nobody wants the result any more; polled.
        begun
            Whether it goes on with an answer, which can't be put off any more.

        Raises
        ------
        Busy
            Too many wait already.
        Cancelled
            Nobody wants it any more.
        """
        has_place = self._places.acquire(blocking=False)
        if not (has_place or begun):
            raise Busy(f"{_WAITING} others wait for what takes long; ask again later")
        try:
            while not self._turn.acquire(timeout=_POLL):
                if gone():
                    raise Cancelled("nobody waits for it any more")
            try:
                yield
            finally:
                self._turn.release()
        finally:
            if has_place:
                self._places.release()
