"""Prometheus metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import job_spec, make_tree

from cinemill_workers.engine.campaign import Campaign
from cinemill_workers.engine.metrics import LedgerCollector
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.settings import Settings


@pytest.mark.service
def test_metrics_are_sums_of_the_ledger(ledger: Ledger, tmp_path: Path) -> None:
    make_tree(tmp_path / "in", [10] * 3)
    job = ledger.create(job_spec(tmp_path / "in", tmp_path / "out", name="DOE^JANE"))
    Campaign(ledger, Settings()).tend(ledger.job(job))
    families = list(LedgerCollector(ledger).collect())
    values = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
    assert values["cinemill_items", "pending"] == 3
    assert values["cinemill_jobs", "running"] == 1
    assert "DOE" not in str(values)
