"""Prometheus metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from cinemill_workers.engine.campaign import Campaign
from cinemill_workers.engine.metrics import LedgerCollector
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import ListedItem
from cinemill_workers.settings import Settings
from tests.support.harness import job_spec, make_tree


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


@pytest.mark.service
def test_counters_do_not_fall_when_a_job_is_deleted(ledger: Ledger) -> None:
    job = ledger.create(job_spec(Path("/in"), Path("/out")))
    ledger.feed(job, 0, [[ListedItem(0, "/in/a", "/out/a", 7)]], exhausted=True)
    parcel = ledger.claim("holder", "worker")
    assert parcel is not None
    ledger.finish(parcel, "done", {"bytes_before": 7, "bytes_after": 5, "pixel_bytes": 9})

    def counters() -> dict[str, float]:
        families = [family for family in LedgerCollector(ledger).collect() if family.type == "counter"]
        return {sample.name: sample.value for family in families for sample in family.samples}

    before = counters()
    assert before["cinemill_source_bytes_total"] == 7
    assert ledger.delete(job, force=True)
    assert counters() == before
