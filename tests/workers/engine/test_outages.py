"""Storage that goes away: the job rests or pauses, goes on by itself, and no item is charged for it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from cinemill.errors import CinemillError, DamagedFile, OutputError
from cinemill.operations.transcode.request import Transcode
from cinemill_workers.engine import parcels
from cinemill_workers.engine.roots import inodes
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import ListedItem
from cinemill_workers.settings import settings
from tests.support.harness import Service, assert_exact, files_below, job_spec, wait_until, write_archive

pytestmark = pytest.mark.service


@pytest.fixture
def job(ledger: Ledger, tmp_path: Path) -> str:
    """Return a job of twelve instances, each in a parcel of its own."""
    paths = write_archive(tmp_path / "in", 12)
    spec = job_spec(tmp_path / "in", tmp_path / "out")
    job = ledger.create(spec)
    items = [
        ListedItem(number, str(path), str(tmp_path / "out" / path.relative_to(tmp_path / "in")), 1)
        for number, path in enumerate(paths)
    ]
    ledger.feed(job, 0, [[each] for each in items], exhausted=True, roots=inodes(spec))
    return job


def work_until(ledger: Ledger, enough: Callable[[], bool]) -> None:
    """Work through what may start, again and again."""

    def worked() -> bool:
        while (parcel := ledger.claim(f"holder{time.monotonic_ns()}", "worker@host")) is not None:
            parcels.work_through(ledger, parcel, "worker@host")
        return enough()

    wait_until(worked)


def failing(number: int, *, output: bool = False) -> CinemillError:
    error = (OutputError if output else DamagedFile)("can't be read")
    error.__cause__ = OSError(number, os.strerror(number))
    return error


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings().model_copy(update={"hold_seconds": 0.1, "retry_seconds": 0.0})
    monkeypatch.setattr(parcels, "settings", lambda: chosen)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "error",
    [failing(errno.EIO), failing(errno.ESTALE), failing(errno.EPERM, output=True)],
    ids=["EIO", "ESTALE", "EPERM of outputs"],
)
def test_a_job_outlasts_storage_that_answers_with_errors(
    ledger: Ledger, job: str, tmp_path: Path, error: Exception
) -> None:
    with patch.object(Transcode, "apply", side_effect=error):
        work_until(ledger, lambda: int(ledger.client.hget(f"cinemill:job:{job}", "rests") or 0) >= 8)
        found = ledger.job(job)
        assert "the storage answers" in found.note
        assert found.counts["failed"] + found.counts["quarantined"] == 0
    work_until(ledger, lambda: ledger.job(job).over)
    assert ledger.job(job).counts["done"] == 12
    assert len(files_below(tmp_path / "out")) == 12


@pytest.mark.usefixtures("hasty")
def test_single_bad_files_still_settle(ledger: Ledger, job: str) -> None:
    whole = Transcode.apply

    def apply(self: Transcode, source: Path, output: Path, control: object) -> object:
        if int(source.stem) % 3 == 0:
            raise failing(errno.EIO)
        return whole(self, source, output, control)  # type: ignore[arg-type]

    with patch.object(Transcode, "apply", apply):
        work_until(ledger, lambda: ledger.job(job).over)
    found = ledger.job(job)
    assert (found.counts["done"], found.counts["quarantined"]) == (8, 4)


@pytest.mark.usefixtures("hasty")
def test_a_job_whose_files_are_all_bad_ends(ledger: Ledger, job: str) -> None:
    with (
        patch.object(Transcode, "apply", side_effect=failing(errno.EIO)),
        patch.object(parcels, "MOST_RESTS", 2),
    ):
        work_until(ledger, lambda: ledger.job(job).over)
    assert ledger.job(job).counts["quarantined"] == 12


@pytest.mark.parametrize("which", ["in", "out"])
def test_shares_that_go_away_under_a_worker_cost_no_item_and_get_no_file(
    service: Service, tmp_path: Path, which: str
) -> None:
    paths = write_archive(tmp_path / "in", 60)
    (tmp_path / "out").mkdir()
    size = sum(path.stat().st_size for path in paths)
    job = service.submit(tmp_path / "in", tmp_path / "out", max_rate=size / 6)
    service.start_worker()
    wait_until(lambda: service.ledger.job(job).counts["done"] > 5)
    share, away = tmp_path / which, tmp_path / "away"
    share.rename(away)
    share.mkdir()
    wait_until(lambda: service.ledger.job(job).state == "paused")
    assert "is its share mounted?" in service.ledger.job(job).note
    time.sleep(2)
    share.rmdir()
    away.rename(share)
    found = service.finish(job)
    finished = (
        found.counts["done"] + found.counts["skipped"]
    )  # an output named just before its share went is kept
    assert (finished, found.counts["failed"], found.counts["quarantined"]) == (60, 0, 0)
    for path in paths:
        assert_exact(path, tmp_path / "out" / path.relative_to(tmp_path / "in"))


def test_a_job_that_was_paused_by_hand_still_notices_that_a_share_goes_away(
    service: Service, tmp_path: Path
) -> None:
    paths = write_archive(tmp_path / "in", 60)
    size = sum(path.stat().st_size for path in paths)
    job = service.submit(tmp_path / "in", tmp_path / "out", max_rate=size / 6)
    service.start_worker()
    wait_until(lambda: service.ledger.job(job).counts["done"] > 3)
    service.ledger.move(job, from_=["running"], to="paused")
    service.ledger.move(job, from_=["paused"], to="running")
    wait_until(lambda: service.ledger.job(job).counts["done"] > 8)
    (tmp_path / "in").rename(tmp_path / "away")
    (tmp_path / "in").mkdir()
    wait_until(lambda: service.ledger.job(job).state == "paused")
    (tmp_path / "in").rmdir()
    (tmp_path / "away").rename(tmp_path / "in")
    assert service.finish(job).counts["done"] == 60
