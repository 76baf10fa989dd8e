"""What the environment says: variables, paths, secrets."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import cinemill
from cinemill import errors
from cinemill_workers.settings import _OF_THE_CORE, Settings, misspelled, settings


def test_without_a_broker_the_embedded_one_is_used(tmp_path: Path) -> None:
    found = Settings(state_dir=tmp_path)
    assert found.embedded
    assert found.redis_url == f"unix://{tmp_path}/server.sock"
    assert found.celery_url == f"redis+socket://{tmp_path}/server.sock"


def test_a_socket_path_always_fits(tmp_path: Path) -> None:
    assert len(os.fsencode(Settings(state_dir=tmp_path / ("x" * 200)).socket_path)) < 100


def test_secrets_are_not_shown() -> None:
    found = Settings(broker_url="rediss://user:secret@example.org:6380/1?ssl_ca_certs=/ca.pem")
    assert "secret" not in repr(found) + found.public_url
    assert found.public_url == "rediss://example.org:6380/1"


def test_roots_are_separated_like_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CINEMILL_ROOTS", "/archive:/migrated:")
    assert Settings().roots == (Path("/archive"), Path("/migrated"))


def test_an_impossible_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CINEMILL_ATTEMPTS", "many")
    settings.cache_clear()
    with pytest.raises(errors.UsageError, match="CINEMILL_ATTEMPTS"):
        settings()
    monkeypatch.setenv("CINEMILL_BROKER_URL", "amqp://example.org")
    with pytest.raises(errors.UsageError, match="redis://"):
        settings()


def test_a_misspelled_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROOTS", "CACHE_DIR", "PACS_SECRET", "UID"):
        monkeypatch.setenv(f"CINEMILL_{name}", "x")
    assert misspelled() == ""
    monkeypatch.setenv("CINEMILL_ROOT", "/archive")
    assert misspelled() == "CINEMILL_ROOT means nothing: did you mean CINEMILL_ROOTS?"


def test_every_variable_that_the_core_reads_is_known() -> None:
    read = {
        name
        for path in Path(cinemill.__file__).parent.rglob("*.py")
        for name in re.findall(r'"CINEMILL_([A-Z_]+)"', path.read_text())
    }
    assert read == set(_OF_THE_CORE)
