"""Which workers there are, which of them leads, which gave up, and by which layout they share the ledger."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from functools import cached_property
from typing import Any

from redis import Redis
from redis.exceptions import LockError

_LEADER = "cinemill:leader"
_WORKERS = "cinemill:workers"
_COMPLAINTS = "cinemill:complaints"
COMPLAINT_SECONDS = 3600
"""How long a complaint is remembered after the last one."""


class Workers:
    """What the ledger knows of workers, behind one Redis client."""

    def __init__(self, client: Redis) -> None:
        self.client: Any = client
        self._name = secrets.token_hex(16)
        self._lead = client.lock(_LEADER, thread_local=False)
        self.leads = False
        """Whether it became the one that tends the jobs: what it then begins is refused once another one does."""

    def lead(self, seconds: float) -> bool:
        """Become or stay the one that tends the jobs; False while another one does."""
        self._lead.timeout = seconds
        if self.leads:
            with suppress(LockError):
                return bool(self._lead.reacquire())
        self.leads = bool(self._lead.acquire(blocking=False, token=self._name))
        return self.leads

    def resign(self, worker: str) -> None:
        """Take leave of a worker that stops, and of the lead if this has it."""
        self.client.zrem(_WORKERS, worker)
        if self.leads:
            self.leads = False
            with suppress(LockError):
                self._lead.release()

    def queue_length(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        return int(self.client.llen(queue))

    def seen(self, worker: str) -> None:
        """Note a worker's sign of life; claiming and renewing do so by themselves."""
        self.client.zadd(_WORKERS, {worker: self._milliseconds() / 1000})

    def workers(self, *, within: float = 60.0) -> dict[str, float]:
        """Return the workers that gave a sign of life, each with the seconds since."""
        now = self._milliseconds() / 1000
        self.client.zremrangebyscore(_WORKERS, "-inf", now - 7 * 86400)
        found = self.client.zrangebyscore(_WORKERS, now - within, "+inf", withscores=True)
        return {name.decode(): max(0.0, now - score) for name, score in found}

    def complain(self, worker: str, reason: str) -> None:
        """Note why a worker gave up, for those who wonder where it is."""
        self.client.hset(_COMPLAINTS, worker, reason)
        self.client.expire(_COMPLAINTS, COMPLAINT_SECONDS)

    def complaints(self) -> dict[str, str]:
        """Return the workers that gave up of late, each with its reason."""
        return {name.decode(): text.decode() for name, text in self.client.hgetall(_COMPLAINTS).items()}

    def settle_complaints(self, host: str) -> None:
        """Forget the complaints of a machine on which a worker does well."""
        stale = [name for name in self.complaints() if name.rpartition("@")[2] == host]
        if stale:
            self.client.hdel(_COMPLAINTS, *stale)

    def now(self) -> float:
        """Return the time by the server's clock, asked once: those of hosts differ. Seconds since 1970."""
        return time.monotonic() + self._ahead

    @cached_property
    def _ahead(self) -> float:
        return self._milliseconds() / 1000 - time.monotonic()

    def _milliseconds(self) -> int:
        seconds, microseconds = self.client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000
