"""What a user of the server must be allowed to do for a worker to work: tried out, on keys that mean nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

_SCRIPT = """
local hash, stream, set, sorted = KEYS[1] .. ":hash", KEYS[1] .. ":stream", KEYS[1] .. ":set", KEYS[1] .. ":sorted"
redis.call("TIME")
redis.call("HSET", hash, "a", 1)
redis.call("HSETNX", hash, "a", 1)
redis.call("HINCRBY", hash, "a", 1)
redis.call("HGET", hash, "a")
redis.call("HDEL", hash, "a")
redis.call("XADD", stream, "*", "a", "a")
redis.call("XTRIM", stream, "MINID", "0-0")
redis.call("XLEN", stream)
redis.call("SADD", set, "a")
redis.call("SISMEMBER", set, "a")
redis.call("SMEMBERS", set)
redis.call("SREM", set, "a")
redis.call("HKEYS", hash)
redis.call("HMGET", hash, "a")
redis.call("ZADD", sorted, "NX", 0, "a")
redis.call("ZCOUNT", sorted, "-inf", 0)
redis.call("ZCARD", sorted)
redis.call("ZSCORE", sorted, "a")
redis.call("ZRANGE", sorted, 0, -1)
redis.call("ZRANGEBYSCORE", sorted, "-inf", 0)
redis.call("ZREM", sorted, "a")
redis.call("INCR", KEYS[1])
redis.call("SET", KEYS[1], "a", "PX", 1000)
redis.call("PEXPIRE", KEYS[1], 1000)
redis.call("GET", KEYS[1])
redis.call("EXISTS", KEYS[1])
redis.call("DEL", KEYS[1])
redis.call("UNLINK", hash, stream, set, sorted)
"""

_COMMANDS = (
    ("HSET", "{}", "a", "1"),
    ("HGETALL", "{}"),
    ("HSCAN", "{}", "0"),
    ("LLEN", "cinemill.{}"),
    ("XRANGE", "{}:stream", "-", "+"),
    ("HEXISTS", "{}", "a"),
    ("ZREVRANGEBYSCORE", "{}:sorted", "0", "-1"),
    ("ZREMRANGEBYSCORE", "{}:sorted", "0", "-1"),
    ("ZPOPMIN", "{}:sorted", "1"),
    ("BZPOPMIN", "{}:sorted", "0.01"),
    ("EXISTS", "{}:sorted"),
    ("EXPIRE", "{}", "1"),
    ("DEL", "{}"),
    ("LPUSH", "cinemill.{}", "a"),
    ("RPOP", "cinemill.{}"),
    ("SADD", "_kombu.binding.{}", "a"),
    ("SMEMBERS", "_kombu.binding.{}"),
    ("SREM", "_kombu.binding.{}", "a"),
    ("HSET", "unacked", "{}", "a"),
    ("HDEL", "unacked", "{}"),
    ("ZADD", "unacked_index", "0", "{}"),
    ("ZREM", "unacked_index", "{}"),
)

GRANT = (
    "let its user run all commands on the keys cinemill*, _kombu*, unacked* and celery*, and on all channels"
)


def missing(client: Redis) -> str:
    """Say what the server does not let this client do, though the service needs it; nothing if it lets it do everything.

    Raises
    ------
    RedisError
        The server does not answer, or takes no writes at present.
    """
    key = f"cinemill:probe:{secrets.token_hex(8)}"
    try:
        client.register_script(_SCRIPT)(keys=[key])
        with client.pipeline(transaction=True) as pipe:
            run: Callable[..., object] = pipe.execute_command
            for command, *parts in _COMMANDS:
                run(command, *(part.format(key) for part in parts))
            pipe.execute()
        client.brpop([f"cinemill.{key}"], timeout=0.01)
    except (NoPermissionError, ResponseError) as error:
        return str(error)
    return ""
