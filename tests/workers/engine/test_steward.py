"""What the leader does for all jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from cinemill_workers.engine.app import app
from cinemill_workers.engine.steward import Steward
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.local.embedded import Server
from cinemill_workers.settings import Settings
from tests.support.harness import job_spec, make_tree


@pytest.mark.service
def test_only_work_that_may_start_wakes_workers(server: Server, ledger: Ledger, tmp_path: Path) -> None:
    app.conf.broker_url = f"redis+socket://{server.socket}"
    make_tree(tmp_path / "in", [10] * 40)
    jobs = [ledger.create(job_spec(tmp_path / "in", tmp_path / str(n))) for n in range(3)]
    ledger.move(jobs[0], from_=["running"], to="paused")
    steward = Steward(ledger, Settings(batch_items=1), "worker@host")
    while steward.turn():
        pass
    assert ledger.queue_length("cinemill.work") == 80
    ledger.client.delete("cinemill.work")
    for job in jobs[1:]:
        ledger.move(job, from_=["running"], to="paused")
    steward.turn()
    assert ledger.queue_length("cinemill.work") == 0
