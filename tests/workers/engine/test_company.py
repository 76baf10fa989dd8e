"""Small items of a parcel are worked on at the same time, and a process that dies over several costs none of them an attempt."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pytest

import cinemill
from cinemill import party
from cinemill.errors import Cancelled, CinemillError, NoRoom
from cinemill.operations.extract.request import Extract
from cinemill.operations.operation import Control, Operation
from cinemill.operations.receipt import Receipt
from cinemill.operations.transcode.request import Transcode
from cinemill_workers.engine import parcels
from cinemill_workers.engine.roots import inodes
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import ListedItem, Parcel
from tests.support.harness import TO_JPEG_LS, Service, failures, job_spec, receipts, write_archive

pytestmark = pytest.mark.service

SMALL, LARGE = party.SMALL, party.SMALL + 1


def job_of(ledger: Ledger, folder: Path, count: int) -> str:
    """Return a job of so many small instances, all in one parcel."""
    spec = job_spec(folder / "in", folder / "out")
    items = [
        ListedItem(number, str(path), str(folder / "out" / path.name), path.stat().st_size)
        for number, path in enumerate(write_archive(folder / "in", count))
    ]
    job = ledger.create(spec)
    ledger.feed(job, 0, [items], exhausted=True, roots=inodes(spec))
    return job


def claim(ledger: Ledger, holder: str = "holder") -> Parcel:
    parcel = ledger.claim(holder, "worker@host")
    assert parcel is not None
    return parcel


@pytest.mark.parametrize(
    ("sizes", "position", "alone", "operation", "expected"),
    [
        ([1] * 20, 0, False, TO_JPEG_LS, 16),
        ([1] * 20, 17, False, TO_JPEG_LS, 3),
        ([SMALL, 1, LARGE, 1], 0, False, TO_JPEG_LS, 2),
        ([SMALL, 1, LARGE, 1], 2, False, TO_JPEG_LS, 1),
        ([1, 0, 1], 0, False, TO_JPEG_LS, 1),
        ([0, 1, 1], 0, False, TO_JPEG_LS, 1),
        ([1] * 20, 0, True, TO_JPEG_LS, 1),
        ([1] * 20, 0, False, Extract("png"), 1),
    ],
    ids=[
        "sixteen",
        "what is left",
        "up to a large one",
        "large",
        "of unknown size",
        "first unknown",
        "alone",
        "no company",
    ],
)
def test_small_items_go_together(
    sizes: list[int], position: int, *, alone: bool, operation: Operation, expected: int
) -> None:
    items = [ListedItem(number, "in", f"out{number}", size) for number, size in enumerate(sizes)]
    found = parcels.in_company(Parcel("job", "1", items, 0, position, alone=alone), operation)
    assert found == items[position : position + expected]


def test_items_of_one_output_do_not_go_together() -> None:
    items = [ListedItem(number, "in", f"out{number % 5}", 1) for number in range(12)]
    assert parcels.in_company(Parcel("job", "1", items, 0), TO_JPEG_LS) == items[:5]


def test_items_that_went_together_come_out_as_alone(ledger: Ledger, tmp_path: Path) -> None:
    job = job_of(ledger, tmp_path, 20)
    companies: Counter[party.Party | None] = Counter()
    apply = Transcode.apply

    def counted(self: Transcode, src: Path, dst: Path, control: Control) -> Receipt:
        companies[party.current()] += 1
        return apply(self, src, dst, control)

    with patch.object(Transcode, "apply", counted):
        parcels.work_through(ledger, claim(ledger), "worker@host")
    assert sorted(companies.values()) == [4, 16]
    assert None not in companies
    found = ledger.job(job)
    assert (found.state, found.counts["done"]) == ("done", 20)
    by_name = {Path(each["source"]).name: each for each in receipts(ledger, job)}
    for source in (tmp_path / "in").rglob("*.dcm"):
        same = cinemill.transcode(source, tmp_path / "alone" / source.name, to="jpeg-ls")
        assert by_name[source.name]["digest"] == same.digest
        assert (tmp_path / "out" / source.name).read_bytes() == Path(same.output).read_bytes()


def test_one_that_fails_among_others_fails_alone(ledger: Ledger, tmp_path: Path) -> None:
    job = job_of(ledger, tmp_path, 5)
    bad = tmp_path / "in" / "study000" / "00002.dcm"
    bad.write_bytes(bad.read_bytes()[:-100])
    parcels.work_through(ledger, claim(ledger), "worker@host")
    found = ledger.job(job)
    assert (found.counts["done"], found.counts["failed"]) == (4, 1)
    (failure,) = failures(ledger, job)
    assert Path(failure["source"]) == bad
    assert not (tmp_path / "out" / bad.name).exists()


@pytest.mark.parametrize("end", [Cancelled("stopped"), NoRoom("full")], ids=["stopped", "full disk"])
def test_what_was_finished_is_counted_though_others_of_its_company_were_not(
    ledger: Ledger, tmp_path: Path, end: CinemillError
) -> None:
    job = job_of(ledger, tmp_path, 20)
    apply = Transcode.apply

    def partly(self: Transcode, src: Path, dst: Path, control: Control) -> Receipt:
        if src.name in {"00001.dcm", "00003.dcm"}:
            raise end
        return apply(self, src, dst, control)

    with patch.object(Transcode, "apply", partly):
        parcels.work_through(ledger, claim(ledger), "worker@host")
    assert (ledger.job(job).counts["done"], ledger.job(job).counts["pending"]) == (14, 6)
    ledger.move(job, from_=["running"], to="running")
    parcels.work_through(ledger, claim(ledger, "another"), "worker@host")
    found = ledger.job(job)
    assert (found.state, found.counts["done"], found.retries) == ("done", 20, 0)
    assert len({each["source"] for each in receipts(ledger, job)}) == 20


def test_who_was_in_company_when_a_process_died_is_not_charged_and_goes_alone(
    ledger: Ledger, tmp_path: Path
) -> None:
    job = job_of(ledger, tmp_path, 3)
    claim(ledger, "first")
    parcels.report_lost_child(ledger, "first", "died")
    again = claim(ledger, "second")
    assert (len(again.items), again.attempt, again.alone, ledger.job(job).retries) == (3, 0, True, 0)
    parcels.report_lost_child(ledger, "second", "died")
    left = sorted((claim(ledger) for _ in range(2)), key=lambda each: each.items[0].number)
    assert [(len(each.items), each.attempt, each.alone) for each in left] == [(1, 1, False), (2, 0, True)]
    assert ledger.job(job).retries == 1


def test_a_company_whose_claim_was_renewed_stays(ledger: Ledger, tmp_path: Path) -> None:
    job_of(ledger, tmp_path, 3)
    parcel = claim(ledger)
    parcels.record_loss(ledger, parcel, "gave no sign of life", expired=True)
    assert ledger.renew(parcel, "worker@host") == "running"
    assert ledger.claim("another", "worker@host") is None


def test_a_crash_among_many_small_files_costs_only_its_own_file(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 120)
    service.start_worker("tests.support.faulty_worker", FAULTY_CRASH="00101")
    found = service.finish(service.submit(tmp_path / "in", tmp_path / "out"))
    assert found.counts["done"] + found.counts["skipped"] == 119
    assert (found.counts["quarantined"], found.retries) == (1, 2)
    (failure,) = failures(service.ledger, found.id)
    assert (Path(failure["source"]).name, failure["attempts"]) == ("00101.dcm", 3)
