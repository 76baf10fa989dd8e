"""Standing jobs: fed by a watched directory or by a receiver, never over by themselves, and never larger."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from cinemill.operations.extract.request import Extract
from cinemill_workers.engine.campaign import Campaign
from cinemill_workers.engine.scribe import Scribe
from cinemill_workers.engine.standing import OLD_SECONDS
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import JobSpec, ListedItem
from cinemill_workers.settings import Settings
from tests.support.harness import (
    Service,
    assert_exact,
    files_below,
    job_spec,
    make_tree,
    receipts,
    wait_until,
    write_instance,
)

pytestmark = pytest.mark.service

HASTY = Settings(walk_seconds=0.001, hold_seconds=1e-9)


def standing(folder: Path, **more: Any) -> JobSpec:
    (folder / "in").mkdir(exist_ok=True)
    return job_spec(folder / "in", folder / "out", standing=True, **more)


def tend(ledger: Ledger, campaign: Campaign, job: str) -> list[str]:
    """Walk once; return the names of the files that are new, which are then done or fail."""
    time.sleep(0.005)
    campaign.tend(ledger.job(job))
    found = []
    while (parcel := ledger.claim(f"holder{time.monotonic()}", "worker")) is not None:
        for item in list(parcel.items):
            found.append(Path(item.source).name)
            failed = item.source.endswith("bad")
            if not failed:
                Path(item.output).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(item.source, item.output)
            status = "failed" if failed else "transcoded"
            told = {"status": status, "source": item.source, "output": item.output, "warnings": []}
            ledger.finish(parcel, "failed" if failed else "done", told)
    return sorted(found)


def test_files_are_taken_up_once_they_are_quiet_and_once(ledger: Ledger, tmp_path: Path) -> None:
    job = ledger.create(standing(tmp_path))
    campaign = Campaign(ledger, HASTY)
    assert tend(ledger, campaign, job) == []
    make_tree(tmp_path / "in", [10, 10])
    assert tend(ledger, campaign, job) == []
    with (tmp_path / "in" / "000" / "0001").open("ab") as file:
        file.write(b"more")
    assert tend(ledger, campaign, job) == ["0000"]
    assert tend(ledger, campaign, job) == ["0001"]
    (tmp_path / "in" / "bad").touch()
    assert [tend(ledger, campaign, job) for _ in range(4)] == [[], ["bad"], [], []]
    (tmp_path / "in" / "bad").write_bytes(b"another try")
    assert [tend(ledger, campaign, job) for _ in range(3)] == [[], ["bad"], []]
    found = ledger.job(job)
    assert (found.state, found.listed, found.counts["failed"], found.counts["done"]) == ("running", 4, 2, 2)
    assert [Path(each["source"]).name for each in receipts(ledger, job)] == ["0000", "0001", "bad"]


def test_what_is_old_is_taken_up_at_once_and_what_is_finished_not_at_all(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ledger.create(standing(tmp_path))
    make_tree(tmp_path / "in", [10] * 30)
    make_tree(tmp_path / "out", [5] * 10)
    for path in files_below(tmp_path / "out"):
        there = (tmp_path / "in" / path).stat()
        os.utime(tmp_path / "out" / path, ns=(there.st_mtime_ns, there.st_mtime_ns))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2 * OLD_SECONDS)
    assert len(tend(ledger, Campaign(ledger, HASTY), job)) == 20
    assert tend(ledger, Campaign(ledger, HASTY), job) == []


def test_a_directory_that_is_moved_in_is_found_however_old_its_files_are(
    ledger: Ledger, tmp_path: Path
) -> None:
    make_tree(tmp_path / "staging", [10] * 3)
    job = ledger.create(standing(tmp_path))
    campaign = Campaign(ledger, HASTY)
    assert tend(ledger, campaign, job) == []
    (tmp_path / "staging").rename(tmp_path / "in" / "study")
    assert [len(tend(ledger, campaign, job)) for _ in range(3)] == [0, 3, 0]
    shutil.rmtree(tmp_path / "in" / "study")
    assert tend(ledger, campaign, job) == []
    assert ledger.job(job).state == "running"


def test_a_watched_share_that_goes_away_pauses_the_job_until_it_is_back(
    ledger: Ledger, tmp_path: Path
) -> None:
    job = ledger.create(standing(tmp_path))
    campaign = Campaign(ledger, HASTY)
    assert tend(ledger, campaign, job) == []
    (tmp_path / "in").rename(tmp_path / "away")
    tend(ledger, campaign, job)
    assert "is its share mounted?" in ledger.job(job).note
    (tmp_path / "away").rename(tmp_path / "in")
    make_tree(tmp_path / "in", [10])
    tend(ledger, campaign, job)
    assert ledger.job(job).state == "running"
    assert [tend(ledger, campaign, job) for _ in range(2)].count(["0000"]) == 1


def test_a_job_that_a_receiver_feeds_stays_and_does_not_grow(ledger: Ledger, tmp_path: Path) -> None:
    spec = JobSpec((), str(tmp_path / "out"), standing(tmp_path).work, standing=True)
    job = ledger.create(spec)
    campaign, scribe = Campaign(ledger, HASTY), Scribe(ledger, HASTY)
    (tmp_path / "out").mkdir()
    sizes = []
    for _ in range(30):
        listed = ledger.job(job).listed
        items = [
            ListedItem(listed + n, f"/received/{listed + n}", f"{tmp_path}/out/{listed + n}", 1)
            for n in range(100)
        ]
        assert ledger.feed(job, listed, [items[:50], items[50:]], exhausted=False) == 2
        campaign.tend(ledger.job(job))
        while (parcel := ledger.claim(f"holder{time.monotonic()}", "worker")) is not None:
            for item in parcel.items:
                told = {"status": "transcoded", "source": item.source, "output": item.output, "warnings": []}
                ledger.finish(parcel, "done", told)
        scribe._next = 0.0
        scribe.turn()
        keys = ledger.client.scan_iter("cinemill:job:*")
        sizes.append(sum(ledger.client.memory_usage(key, samples=0) for key in keys))
    assert max(sizes[1:]) < 1.1 * sizes[0]
    found = ledger.job(job)
    assert (found.state, found.counts["done"], ledger.unwritten()) == ("running", 3000, [])
    assert len(receipts(ledger, job)) == 3000
    assert ledger.feed(job, 3000, [], exhausted=True) == 0
    assert ledger.job(job).over


def test_a_watched_directory_through_a_real_worker(service: Service, tmp_path: Path) -> None:
    job = service.ledger.create(standing(tmp_path, name="inbox"))
    service.start_worker(CINEMILL_WALK_SECONDS="0.5")
    for batch in range(2):
        for number in range(5):
            write_instance(tmp_path / "in" / f"{batch}" / f"{number}.dcm", 10 * batch + number)
        wait_until(lambda batch=batch: service.ledger.job(job).counts["done"] == 5 * (batch + 1))  # type: ignore[misc]
    for path in files_below(tmp_path / "in"):
        assert_exact(tmp_path / "in" / path, tmp_path / "out" / path)
    assert service.ledger.job(job).state == "running"
    service.ledger.move(job, from_=["running"], to="cancelled")
    assert service.finish(job).state == "cancelled"
    wait_until(lambda: service.ledger.unwritten() == [])
    assert len(receipts(service.ledger, job)) == 10


def test_an_extraction_may_stand_as_well(ledger: Ledger, tmp_path: Path) -> None:
    job = ledger.create(standing(tmp_path, work=Extract("png")))
    make_tree(tmp_path / "in", [10] * 3)
    campaign = Campaign(ledger, HASTY)
    campaign.tend(ledger.job(job))
    time.sleep(0.005)
    campaign.tend(ledger.job(job))
    assert ledger.job(job).listed == 3
    for _ in range(3):
        time.sleep(0.005)
        campaign.tend(ledger.job(job))
    assert ledger.job(job).listed == 3
