"""A server and a worker, started and stopped together."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from cinemill import errors
from cinemill_workers.engine.client import open_ledger
from cinemill_workers.local import up
from cinemill_workers.settings import Settings
from tests.support.harness import job_spec, wait_until, write_archive


@pytest.mark.service
@pytest.mark.usefixtures("kernels")
def test_a_lost_worker_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_archive(tmp_path / "in", 3)
    with up.Service(Settings(state_dir=tmp_path / "state")) as service:
        first = service.worker.pid
        for _ in range(up.MOST_EARLY_KILLS - 1):
            killed = service.worker.pid
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: bool(service.keep()) or service.worker.pid != killed)  # type: ignore[func-returns-value]  # noqa: B023
        os.kill(service.worker.pid, signal.SIGKILL)
        with pytest.raises(errors.CinemillError, match="ended with code -9"):
            wait_until(lambda: bool(service.keep()))  # type: ignore[func-returns-value]
        monkeypatch.setattr(up, "SHORTEST_LIFE_SECONDS", 0.0)
        service.keep()
        assert service.worker.pid != first
        ledger = open_ledger(service.settings)
        job = ledger.create(job_spec(tmp_path / "in", tmp_path / "out"))
        wait_until(lambda: ledger.job(job).over)
        assert ledger.job(job).counts["done"] == 3
