"""What stands beside a worker."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state

from cinemill_workers.engine import tasks
from cinemill_workers.engine.lease import Shutdown
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.local.embedded import Server
from cinemill_workers.settings import settings


@pytest.mark.service
def test_a_worker_whose_steward_dies_three_times_says_so_and_ends(
    ledger: Ledger, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def start(command: list[str], **_: Any) -> SimpleNamespace:
        started.append(command)
        return SimpleNamespace(poll=lambda: 1)

    monkeypatch.setenv("CINEMILL_BROKER_URL", f"unix://{server.socket}")
    settings.cache_clear()
    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(tasks, "shutdown", Shutdown())
    monkeypatch.setattr(state, "should_stop", None)
    companions = tasks.Companions(SimpleNamespace(hostname="cinemill-1@host", steps=[]))
    for _ in range(5):
        companions._ensure()
    settings.cache_clear()
    assert len(started) == 3
    assert state.should_stop == os.EX_CONFIG
    assert "its steward died 3 times (code 1)" in ledger.complaints()["cinemill-1@host"]


def test_a_steward_is_started_in_safe_path_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, Any] = {}
    monkeypatch.setattr(subprocess, "Popen", lambda command, env: started.update(command=command, env=env))
    tasks.Companions(SimpleNamespace(hostname="cinemill-1@host", steps=[]))._ensure()
    assert started["command"][1:3] == ["-P", "-m"]
    assert started["env"]["PYTHONSAFEPATH"] == "1"
