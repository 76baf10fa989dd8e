"""The listing of a job."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cinemill_workers.engine.campaign import Campaign
from cinemill_workers.engine.roots import empty_sources
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.settings import Settings
from tests.support.harness import job_spec, make_tree


def waiting_parcels(ledger: Ledger) -> list[list[str]]:
    found: list[list[str]] = []
    while (parcel := ledger.claim(f"holder{len(found)}-{time.time()}", "worker")) is not None:
        found.append([item.source for item in parcel.items])
    return found


@pytest.mark.service
def test_small_instances_travel_together_and_long_ones_alone(ledger: Ledger, tmp_path: Path) -> None:
    make_tree(tmp_path / "in", [10] * 100 + [5000] + [10] * 20)
    job = ledger.create(job_spec(tmp_path / "in", tmp_path / "out"))
    Campaign(ledger, Settings(batch_items=4, batch_bytes=1000)).tend(ledger.job(job))
    parcels = waiting_parcels(ledger)
    assert sum(map(len, parcels)) == 121
    assert max(map(len, parcels)) == 4
    assert [len(parcel) for parcel in parcels[:15]] == [1] * 15
    assert [str(tmp_path / "in" / "010" / "0100")] in parcels


@pytest.mark.service
def test_listing_waits_while_enough_parcels_wait(ledger: Ledger, tmp_path: Path) -> None:
    make_tree(tmp_path / "in", [10] * 60)
    job = ledger.create(job_spec(tmp_path / "in", tmp_path / "out"))
    campaign = Campaign(ledger, Settings(batch_items=1, ahead=20))
    for _ in range(3):
        campaign.tend(ledger.job(job))
    found = ledger.job(job)
    assert (found.listed, found.exhausted) == (20, False)
    assert len(waiting_parcels(ledger)) == 20
    campaign.tend(ledger.job(job))
    assert ledger.job(job).listed == 40


@pytest.mark.service
def test_another_campaign_goes_on_where_one_stopped(ledger: Ledger, tmp_path: Path) -> None:
    make_tree(tmp_path / "in", [10] * 50)
    job = ledger.create(job_spec(tmp_path / "in", tmp_path / "out"))
    found: list[list[str]] = []
    while not ledger.job(job).exhausted:
        Campaign(ledger, Settings(batch_items=3, ahead=3)).tend(ledger.job(job))
        found += waiting_parcels(ledger)
    sources = [source for parcel in found for source in parcel]
    assert sources == sorted(map(str, (path for path in (tmp_path / "in").rglob("*") if path.is_file())))


@pytest.mark.service
def test_a_listing_goes_on_when_the_file_listed_last_has_gone(ledger: Ledger, tmp_path: Path) -> None:
    make_tree(tmp_path / "in", [10] * 30)
    job = ledger.create(job_spec(tmp_path / "in", tmp_path / "out"))
    Campaign(ledger, Settings(batch_items=1, ahead=5)).tend(ledger.job(job))
    Path(ledger.job(job).cursor[0]).unlink()
    waiting_parcels(ledger)
    Campaign(ledger, Settings()).tend(ledger.job(job))
    assert (ledger.job(job).listed, ledger.job(job).exhausted) == (30, True)


@pytest.mark.service
def test_a_listing_that_can_not_go_on_pauses_the_job(ledger: Ledger, tmp_path: Path) -> None:
    make_tree(tmp_path / "in\udcff", [10] * 3)
    job = ledger.create(job_spec(tmp_path / "in\udcff", tmp_path / "out"))
    shutil.rmtree(tmp_path / "in\udcff")
    Campaign(ledger, Settings()).tend(ledger.job(job))
    found = ledger.job(job)
    assert found.state == "paused"
    assert "in\\udcff: no such file" in found.note


@pytest.mark.service
def test_nothing_is_listed_outside_the_roots(ledger: Ledger, tmp_path: Path) -> None:
    make_tree(tmp_path / "in", [10] * 3)
    job = ledger.create(job_spec(tmp_path / "in", tmp_path / "out"))
    Campaign(ledger, Settings(roots=(tmp_path / "other",))).tend(ledger.job(job))
    found = ledger.job(job)
    assert (found.state, found.listed) == ("paused", 0)
    assert "CINEMILL_ROOTS" in found.note


@pytest.mark.service
def test_a_job_deleted_while_it_is_listed_stops_nothing(ledger: Ledger, tmp_path: Path) -> None:
    make_tree(tmp_path / "in", [10] * 3)
    for source in (tmp_path / "in", tmp_path / "missing"):
        found = ledger.job(ledger.create(job_spec(source, tmp_path / "out", window="00:00-23:59")))
        ledger.move(found.id, from_=["running"], to="cancelled")
        ledger.delete(found.id)
        assert not Campaign(ledger, Settings()).tend(found)
    assert not list(ledger.client.scan_iter("cinemill:job:*"))


@pytest.mark.service
@pytest.mark.parametrize("how", ["empty in its place", "gone", "emptied", "another destination"])
def test_a_listing_whose_directory_vanishes_pauses_and_goes_on_by_itself(
    ledger: Ledger, tmp_path: Path, how: str
) -> None:
    source, destination, away = tmp_path / "in", tmp_path / "out", tmp_path / "away"
    make_tree(source, [10] * 60)
    destination.mkdir()
    job = ledger.create(job_spec(source, destination))
    campaign = Campaign(ledger, Settings(batch_items=1, ahead=20))
    campaign.tend(ledger.job(job))
    waiting_parcels(ledger)
    if how == "emptied":
        away.mkdir()
        moved = [path.rename(away / path.name) for path in source.iterdir()]
    else:
        chosen = destination if how == "another destination" else source
        chosen.rename(away)
        if how != "gone":
            chosen.mkdir()
    for _ in range(2):
        campaign.tend(ledger.job(job))
        found = ledger.job(job)
        assert (found.state, found.listed, found.exhausted) == ("paused", 20, False)
    assert "is its share mounted?" in found.note
    if how == "emptied":
        for path in moved:
            path.rename(source / path.name)
    else:
        if how != "gone":
            chosen.rmdir()
        away.rename(chosen)
    while not ledger.job(job).exhausted:
        campaign.tend(ledger.job(job))
        waiting_parcels(ledger)
    found = ledger.job(job)
    assert (found.state, found.listed, found.note) == ("running", 60, "")


@pytest.mark.service
def test_a_source_that_is_emptied_before_it_is_listed_is_no_empty_source(
    ledger: Ledger, tmp_path: Path
) -> None:
    source, away, empty = tmp_path / "in", tmp_path / "away", tmp_path / "empty"
    make_tree(source, [10] * 5)
    empty.mkdir()
    spec = job_spec(source, tmp_path / "out")
    spec = replace(spec, sources=(*spec.sources, str(empty)))
    job = ledger.create(replace(spec, empty=empty_sources(spec)))
    source.rename(away)
    source.mkdir()
    campaign = Campaign(ledger, Settings())
    campaign.tend(ledger.job(job))
    found = ledger.job(job)
    assert (found.state, found.listed) == ("paused", 0)
    assert f"{source} is empty: is its share mounted?" in found.note
    source.rmdir()
    away.rename(source)
    while not ledger.job(job).exhausted:
        campaign.tend(ledger.job(job))
    assert (ledger.job(job).listed, ledger.job(job).state) == (5, "running")


@pytest.mark.service
def test_a_job_that_is_resumed_takes_its_directories_as_they_are(ledger: Ledger, tmp_path: Path) -> None:
    source = tmp_path / "in"
    make_tree(source, [10] * 30)
    job = ledger.create(job_spec(source, tmp_path / "out"))
    campaign = Campaign(ledger, Settings(batch_items=1, ahead=20))
    campaign.tend(ledger.job(job))
    waiting_parcels(ledger)
    source.rename(tmp_path / "away")
    make_tree(source, [10] * 40)
    campaign.tend(ledger.job(job))
    assert ledger.job(job).state == "paused"
    ledger.move(job, from_=["paused"], to="running")
    campaign.tend(ledger.job(job))
    assert (ledger.job(job).listed, ledger.job(job).state) == (40, "running")
