"""Servers that refuse: what passes is waited out, what can't pass ends with a clear line and an exit code."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cinemill.errors import CinemillError, UsageError
from cinemill_workers.cli.doctor import examine
from cinemill_workers.engine import client, preflight
from cinemill_workers.ledger import rights
from cinemill_workers.ledger.connection import connect
from cinemill_workers.local.embedded import Server
from cinemill_workers.settings import Settings
from tests.support.harness import Service, job_spec, wait_until, write_archive

pytestmark = pytest.mark.service


@pytest.fixture
def user(service: Service, server: Server) -> Iterator[str]:
    """Return the URL of a user who may do everything."""
    service.ledger.client.execute_command(
        "ACL", "SETUSER", "clerk", "reset", "on", ">word", "+@all", "~*", "&*"
    )
    yield f"unix://clerk:word@{server.socket}"
    service.ledger.client.execute_command("ACL", "DELUSER", "clerk")


def forbid(service: Service, *rules: str) -> None:
    service.ledger.client.execute_command("ACL", "SETUSER", "clerk", *rules)


def test_a_worker_outlasts_a_failover_and_missing_replicas(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 10)
    worker = service.start_worker()
    service.finish(service.submit(tmp_path / "in", tmp_path / "first"))
    redis = service.ledger.client
    for each in redis.client_list():
        redis.execute_command("CLIENT", "UNBLOCK", each["id"], "ERROR")
    redis.config_set("min-replicas-to-write", 1)
    time.sleep(3)
    redis.config_set("min-replicas-to-write", 0)
    assert service.finish(service.submit(tmp_path / "in", tmp_path / "second")).counts["done"] == 10
    assert worker.process.poll() is None


def test_a_worker_that_may_not_work_does_not_start(service: Service, user: str) -> None:
    forbid(service, "-evalsha", "-eval")
    worker = service.start_worker(CINEMILL_BROKER_URL=user)
    assert worker.process.wait(120) != 0
    assert "refuses what is needed" in worker.log
    assert rights.GRANT in worker.log


def test_a_worker_whose_rights_are_taken_away_ends_and_says_why(service: Service, user: str) -> None:
    worker = service.start_worker(CINEMILL_BROKER_URL=user)
    wait_until(lambda: bool(service.ledger.workers()))
    forbid(service, "-evalsha", "-eval")
    assert worker.process.wait(120) == os.EX_CONFIG
    assert rights.GRANT in worker.log


@pytest.mark.parametrize(
    "rules", [("-evalsha", "-eval"), ("-unlink",), ("resetkeys", "~other*"), ("-brpop",)]
)
def test_the_doctor_finds_what_the_server_refuses(
    service: Service, user: str, rules: tuple[str, ...]
) -> None:
    assert not rights.missing(connect(user, patience=0))
    forbid(service, *rules)
    assert rights.missing(connect(user, patience=0))
    chosen = Settings(broker_url=user)
    (finding,) = (each for each in examine(chosen) if each.check == "broker rights")
    assert (finding.well, finding.remedy) == (False, rights.GRANT)
    with pytest.raises(UsageError, match="refuses what is needed"):
        preflight.check_server(chosen)


def test_a_wrong_password_is_said_at_once(user: str) -> None:
    with pytest.raises(UsageError, match="check user and password"):
        preflight.check_server(Settings(broker_url=user.replace("word", "words")))


def test_a_full_server_is_said_at_once(
    service: Service, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Settings(broker_url=f"unix://{server.socket}")
    monkeypatch.setattr(client, "settings", lambda: chosen)
    redis = service.ledger.client
    redis.config_set("maxmemory", redis.info()["used_memory"] // 2)
    try:
        with pytest.raises(CinemillError, match=r"nothing was submitted.*memory"):
            client.store(job_spec(tmp_path / "in", tmp_path / "out"))
        (finding,) = (each for each in examine(chosen) if each.check == "broker memory")
        assert not finding.well
        assert "jobs delete" in finding.remedy
    finally:
        redis.config_set("maxmemory", 0)
