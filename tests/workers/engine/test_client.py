"""What the commands of a submitter do."""

from __future__ import annotations

from pathlib import Path

import pytest

from cinemill.errors import CinemillError
from cinemill_workers.engine.client import wait
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import Job
from tests.support.harness import job_spec


@pytest.mark.service
def test_waiting_for_a_job_that_is_deleted_ends(ledger: Ledger) -> None:
    job = ledger.create(job_spec(Path("/in"), Path("/out")))

    def show(found: Job) -> None:
        if not found.over:
            ledger.client.delete(f"cinemill:job:{found.id}")

    with pytest.raises(CinemillError, match="has been deleted"):
        wait(ledger, job, show=show)
