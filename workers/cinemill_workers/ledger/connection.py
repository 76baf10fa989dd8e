"""The connection to the server: one that outlives its restarts, and waits while it refuses writes."""

from __future__ import annotations

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from cinemill_workers.internals import read_refusals_as

CODES = (
    "OOM",
    "MISCONF",
    "READONLY",
    "NOREPLICAS",
    "UNBLOCKED",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
)
"""No memory left; no disk left for the append-only file; a replica before it takes over; too few replicas; a server that
stops being one while it is listened to; one that has lost its master or its cluster; one busy with somebody's script.
"""


class WritesRefused(RedisConnectionError):
    """The server answers, but takes nothing at present: as a server that is away, it comes back.

    Otherwise a full disk or memory of the server is a programming error to Celery, which ends the worker.
    """


read_refusals_as(WritesRefused, CODES)


def connect(url: str, *, patience: int = 12) -> Redis:
    """Return a client that outlives a restart of the server.

    Parameters
    ----------
    url
        As redis-py takes it.
    patience
        How often a command is tried again; the waits double from 0.05 s up to 5 s.
    """
    return Redis.from_url(
        url,
        retry=Retry(ExponentialBackoff(cap=5, base=0.05), patience),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        socket_timeout=20,
        socket_connect_timeout=5,
        health_check_interval=30,
    )
