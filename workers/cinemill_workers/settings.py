"""What the environment says about the service: variables ``CINEMILL_*`` in one typed object, no secrets."""

from __future__ import annotations

import difflib
import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from redis.connection import parse_url

from cinemill.errors import UsageError
from cinemill.processes import expanded

LONGEST_SOCKET_PATH = 100
"""Unix socket addresses hold 104 (macOS) to 108 (Linux) bytes."""

_PREFIX = "CINEMILL_"
_OF_THE_CORE = "CACHE_DIR", "KERNELS", "NODES"
_ALIKE = 0.75
"""Of 1: how much a name is like another for which it may have been meant. Others may be anybody's, as those of secrets are."""


def _default_state_directory() -> Path:
    return expanded(os.environ.get("XDG_STATE_HOME") or "~/.local/state") / "cinemill"


class Settings(BaseSettings):
    """Settings of submitters, workers and the embedded server."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True)

    broker_url: str | None = Field(default=None, repr=False)
    """URL with ``redis://``, ``rediss://`` (TLS) or ``unix://``; without it, the server of ``state_dir``."""

    state_dir: Path = Field(default_factory=_default_state_directory)
    """Where the embedded server keeps its data and its lock."""

    roots: Annotated[tuple[Path, ...], NoDecode] = ()
    """Directories (separated by ``:``) that sources and outputs must lie in; empty means anywhere."""

    attempts: int = Field(default=3, ge=1)
    """How often an item may kill its worker, or fail for a passing reason, before quarantine."""

    lease_seconds: float = Field(default=30.0, gt=0)
    """How long claimed work stays with a worker that gives no sign of life."""

    retry_seconds: float = Field(default=5.0, ge=0)
    """Wait before the second attempt; doubled for each further one."""

    hold_seconds: float = Field(default=30.0, gt=0)
    """How long a whole job rests when the output disk is full, before one more try."""

    walk_seconds: float = Field(default=5.0, gt=0)
    """From one walk over a standing job's sources to the next; a file that does not change meanwhile is taken up."""

    stall_seconds: float = Field(default=1800.0, gt=0)
    """A child that finishes no frame for so long kills itself."""

    grace_seconds: float = Field(default=10.0, ge=0)
    """How long running items may go on after a worker was told to stop, before they are handed back."""

    batch_items: int = Field(default=32, ge=1)
    """Most instances in one parcel."""

    batch_bytes: int = Field(default=16_000_000, ge=1)
    """Most source bytes in one parcel of several instances."""

    ahead: int = Field(default=256, ge=1)
    """Most parcels of one job that wait, about; and most messages that wake children."""

    priorities: Annotated[tuple[str, ...], NoDecode] = ()
    """Priorities (separated by commas) that a worker serves; empty means all."""

    child_memory_mb: int = Field(default=2048, ge=256)
    """A child process whose peak memory exceeds this is replaced, half a minute later at most."""

    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the Prometheus endpoint; none without it."""

    metrics_address: str = "127.0.0.1"
    """Address the Prometheus endpoint listens on."""

    @field_validator("roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value

    @field_validator("priorities", mode="before")
    @classmethod
    def _split_priorities(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("broker_url", "metrics_port", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("state_dir")
    @classmethod
    def _is_absolute(cls, value: Path) -> Path:
        return value.absolute()

    @field_validator("broker_url")
    @classmethod
    def _is_redis(cls, value: str | None) -> str | None:
        try:
            parse_url(value or "redis://")  # type: ignore[no-untyped-call]
        except ValueError:
            raise ValueError(
                "expected a redis://, rediss:// or unix:// URL, with special characters of the password as %XX"
            ) from None
        return value

    @property
    def embedded(self) -> bool:
        """Whether the broker is the private server of this machine."""
        return self.broker_url is None

    @property
    def socket_path(self) -> Path:
        """Unix socket of the embedded server, always short enough to be bound."""
        wanted = self.state_dir / "server.sock"
        if len(os.fsencode(wanted)) < LONGEST_SOCKET_PATH:
            return wanted
        digest = hashlib.sha256(os.fsencode(self.state_dir)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"cinemill-{os.getuid()}-{digest}" / "server.sock"

    @property
    def redis_url(self) -> str:
        """The broker's address as redis-py takes it."""
        return self.broker_url or f"unix://{quote(os.fsencode(self.socket_path))}"

    @property
    def celery_url(self) -> str:
        """The broker's address as Celery takes it."""
        return self.redis_url.replace("unix://", "redis+socket://", 1)

    @property
    def public_url(self) -> str:
        """The broker's address without user and password, fit for a terminal or a log."""
        parts = urlsplit(self.redis_url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def misspelled() -> str:
    """Say which variables of the environment are none of cinemill's, but look as if they were meant to be; else nothing."""
    known = [*_OF_THE_CORE, *map(str.upper, Settings.model_fields)]
    found = (name.removeprefix(_PREFIX) for name in os.environ if name.upper().startswith(_PREFIX))
    meant = {
        name: difflib.get_close_matches(name, known, 1, _ALIKE) for name in found if name.upper() not in known
    }
    return "; ".join(
        f"{_PREFIX}{name} means nothing: did you mean {_PREFIX}{close[0]}?"
        for name, close in meant.items()
        if close
    )


@cache
def settings() -> Settings:
    """Return this process's settings, read once.

    Raises
    ------
    UsageError
        A variable has an impossible value.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"CINEMILL_{'_'.join(map(str, e['loc'])).upper()}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise UsageError(f"the environment has impossible settings: {faults}") from None
