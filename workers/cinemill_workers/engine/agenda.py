"""Which jobs the leader looks at next: those it was told of, then the others in turn, so many at a time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

TOLD = 100
IN_TURN = 40
"""Most jobs of one turn of each kind: a turn costs the same, however many jobs there are."""


class Agenda:
    """Jobs that were told of, and the moments at which the others come round."""

    def __init__(self) -> None:
        self._told: dict[str, None] = {}
        self._rounds: list[tuple[float, str]] = []
        self._moments: dict[str, float] = {}

    def tell(self, jobs: Iterable[str]) -> None:
        """Look at these jobs as soon as possible."""
        self._told.update(dict.fromkeys(jobs))

    def postpone(self, job: str, moment: float) -> None:
        """Look at a job at this moment, unless it is told of before."""
        self._moments[job] = moment
        heapq.heappush(self._rounds, (moment, job))

    def take(self, now: float) -> list[str]:
        """Return the jobs to look at now; they are forgotten until they are told of or postponed again."""
        taken = list(self._told)[:TOLD]
        for job in taken:
            del self._told[job]
            self._moments.pop(job, None)
        last = len(taken) + IN_TURN
        while self._rounds and self._rounds[0][0] <= now and len(taken) < last:
            moment, job = heapq.heappop(self._rounds)
            if self._moments.get(job) == moment:
                del self._moments[job]
                taken.append(job)
        return taken

    def waits(self, now: float) -> bool:
        """Whether there is a job to look at now."""
        return bool(self._told) or bool(self._rounds and self._rounds[0][0] <= now)

    @property
    def backlog(self) -> bool:
        """Whether jobs were told of that were not looked at yet."""
        return bool(self._told)
