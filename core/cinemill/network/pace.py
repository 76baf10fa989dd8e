"""When and how fast a node is asked for or sent instances: a window of the day, and MB/s over all associations."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from datetime import time as clock_time
from typing import Self

from cinemill.errors import Cancelled, UsageError

_NAP = 0.2
_SOON = 5.0
"""Seconds of waiting that nobody needs to be told of."""


@dataclass(frozen=True, slots=True)
class Window:
    """A span of the day in local time; one that ends before it begins goes over midnight."""

    begin: clock_time
    end: clock_time

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HH:MM-HH:MM``.

        Raises
        ------
        UsageError
            The text is something else, or the span is empty.
        """
        found = re.fullmatch(r"(\d\d:\d\d)-(\d\d:\d\d)", text)
        try:
            begin, end = (
                map(clock_time.fromisoformat, found.groups()) if found else (clock_time(), clock_time())
            )
        except ValueError:
            begin = end = clock_time()
        if begin == end:
            raise UsageError(f"expected a window such as 20:00-06:00, found {text!r}")
        return cls(begin, end)

    def __contains__(self, moment: clock_time) -> bool:
        if self.begin < self.end:
            return self.begin <= moment < self.end
        return moment >= self.begin or moment < self.end


class Pace:
    """Counts bytes over all associations of a run, and has them wait where they are too many. Thread-safe.

    Parameters
    ----------
    rate
        MB/s; None for any.
    window
        Outside of which `wait` waits.
    stopping
        Polled; True ends every wait by `Cancelled`.
    """

    def __init__(
        self,
        rate: float | None = None,
        window: Window | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._rate, self._window, self._stopping = rate, window, stopping
        self._lock = threading.Lock()
        self._free_at = self._rests_until = time.monotonic()
        self.bytes = 0

    @property
    def waits(self) -> str:
        """What is waited for, in words; empty where that is nothing, or soon over."""
        if self._is_closed():
            return "waiting for its window"
        left = self._rests_until - time.monotonic()
        return f"waiting {left:.0f} s before another attempt" if left > _SOON else ""

    def _is_closed(self) -> bool:
        return self._window is not None and datetime.now().astimezone().time() not in self._window

    def passed(self, count: int) -> None:
        """Count bytes, and wait as long as the rate asks for.

        Raises
        ------
        Cancelled
            The run is stopped.
        """
        with self._lock:
            self.bytes += count
            now = time.monotonic()
            if self._rate is not None:
                self._free_at = max(self._free_at, now - 1) + count / (self._rate * 1e6)
            until = self._free_at
        self.rest(until - now)

    def wait(self) -> None:
        """Wait for the window.

        Raises
        ------
        Cancelled
            The run is stopped.
        """
        while self._is_closed():
            self.rest(1.0)
        self.rest(0.0)

    def rest(self, seconds: float) -> None:
        """Wait so long.

        Raises
        ------
        Cancelled
            The run is stopped.
        """
        end = time.monotonic() + seconds
        self._rests_until = max(self._rests_until, end)
        while True:
            if self._stopping():
                raise Cancelled("stopped on request")
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _NAP))
