"""Has redis-py take a server that refuses writes for one that is away, which is waited for: both come back.

Otherwise a full disk or memory of the server is a programming error to Celery, which ends the worker.
"""

from __future__ import annotations

from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError

CODES = ("OOM", "MISCONF", "READONLY")
"""No memory left, no disk left for the append-only file, a replica before it takes over."""


class WritesRefused(RedisConnectionError):
    """The server answers, but takes nothing at present."""


for code in CODES:
    BaseParser.EXCEPTION_CLASSES[code] = WritesRefused
