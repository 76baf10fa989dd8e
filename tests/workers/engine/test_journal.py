"""Receipts on their way from the ledger to the files of a job's folder: none is lost, and each counts once."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cinemill.errors import NoRoom, UsageError
from cinemill.operations.receipt import Receipt
from cinemill.storage.tree import OURS, discover
from cinemill_workers.engine import journal, segments
from cinemill_workers.engine.journal import Records
from cinemill_workers.engine.kinds import from_json
from cinemill_workers.engine.scribe import FOLDER, Scribe
from cinemill_workers.engine.segments import Segment
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import JobSpec, ListedItem
from cinemill_workers.local.embedded import Server
from cinemill_workers.settings import Settings
from tests.support.faulty_worker import FREE
from tests.support.harness import Service, failures, job_spec, receipts, retry, wait_until, write_archive

HASTY = Settings(hold_seconds=1e-9)


def fill(ledger: Ledger, folder: Path, count: int) -> str:
    """Make a job of so many items, one parcel."""
    (folder / "in").mkdir(exist_ok=True)
    (folder / "out").mkdir(exist_ok=True)
    job = ledger.create(job_spec(folder / "in", folder / "out"))
    ledger.feed(job, 0, [[listed(folder, n) for n in range(count)]], exhausted=True)
    return job


def listed(folder: Path, number: int) -> ListedItem:
    return ListedItem(number, f"{folder}/in/{number}.dcm", f"{folder}/out/{number}.dcm", 100 + number)


def settle(ledger: Ledger, *states: str, **more: Any) -> None:
    """Finish the next items, each so."""
    for state in states:
        parcel = ledger.claim(f"holder{time.monotonic()}", "worker")
        assert parcel is not None
        item = parcel.items[0]
        status = {"done": "transcoded", "skipped": "kept"}.get(state, "failed")
        told = Receipt(item.source, item.output, status, bytes_before=item.size, **more).to_dict()  # type: ignore[arg-type]
        assert ledger.finish(parcel, state, told, release=True)


def sources(records: list[dict[str, Any]]) -> list[str]:
    return [Path(record["source"]).stem for record in records]


def write(ledger: Ledger) -> None:
    Scribe(ledger, HASTY).turn()


def folder_of(ledger: Ledger, job: str) -> Path:
    return Path(ledger.job(job).folder)


@pytest.mark.service
def test_receipts_are_the_same_wherever_they_are(ledger: Ledger, tmp_path: Path) -> None:
    job = fill(ledger, tmp_path, 9)
    settle(ledger, *["done"] * 3)
    waiting = receipts(ledger, job)
    write(ledger)
    settle(ledger, *["done"] * 3)
    both = receipts(ledger, job)
    write(ledger)
    assert both[:3] == waiting
    assert receipts(ledger, job) == both
    assert sources(both) == list("012345")
    assert ledger.records(job) == []
    settle(ledger, *["done"] * 3)
    write(ledger)
    assert ledger.unwritten() == []
    about = json.loads((folder_of(ledger, job) / "job.json").read_text())
    assert (about["id"], about["state"], about["counts"]["done"]) == (job, "done", 9)
    assert about["spec"]["sources"] == [str(tmp_path / "in")]
    assert len(segments.segments(folder_of(ledger, job))) == 3


@pytest.mark.service
@pytest.mark.parametrize("moment", ["before-trim", "middle"])
def test_a_scribe_that_is_killed_loses_and_doubles_nothing(
    ledger: Ledger, server: Server, tmp_path: Path, moment: str
) -> None:
    job = fill(ledger, tmp_path, 60)
    for _ in range(3):
        settle(ledger, *["done"] * 20)
        command = [sys.executable, "-m", "tests.support.dying_scribe", f"unix://{server.socket}", moment]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
        assert sorted(sources(receipts(ledger, job)), key=int) == list(
            map(str, range(len(ledger.records(job))))
        )
    write(ledger)
    assert sources(receipts(ledger, job)) == list(map(str, range(60)))
    names = segments.segments(folder_of(ledger, job))
    assert [path.name[:6] for path in names][-1] == "000004"
    for path in names:
        subprocess.run(["zstd", "-tq", path], check=True)
    lines = sum(len(frame.splitlines()) for path in names for frame, _ in segments.frames(path, 1 << 30))
    assert lines == 60 + (120 if moment == "before-trim" else 0)


@pytest.mark.service
def test_one_that_wakes_up_after_another_took_over_changes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    job = fill(ledger, tmp_path, 6)
    first, second = Scribe(ledger, HASTY), Scribe(ledger, HASTY)
    settle(ledger, "done", "failed")
    first.turn()
    settle(ledger, "done")
    second.turn()
    settle(ledger, "done")
    first._next = second._next = 0.0
    first.turn()
    assert len(ledger.records(job)) == 1
    retry(ledger, job)
    second.turn()
    settle(ledger, *["done"] * 3)
    for scribe in (first, second, first):
        scribe._next = 0.0
        scribe.turn()
    assert ledger.records(job) == []
    assert sorted(sources(receipts(ledger, job))) == list("012345")
    assert {each["status"] for each in receipts(ledger, job)} == {"transcoded"}


@pytest.mark.service
def test_a_torn_or_damaged_segment_costs_what_is_torn(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = fill(ledger, tmp_path, 8)
    scribe = Scribe(ledger, HASTY)
    for _ in range(4):
        settle(ledger, "done", "done")
        scribe._next = 0.0
        scribe.turn()
    (path,) = segments.segments(folder_of(ledger, job))
    whole = path.read_bytes()
    ends = [end for _, end in segments.frames(path, len(whole))][1:]
    for cut in (ends[2] + 1, ends[2] + 9, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert sources(receipts(ledger, job)) == list("012345")
        path.write_bytes(whole[:cut] + bytes(5000))
        assert sources(receipts(ledger, job)) == list("012345")
    assert not caplog.records
    path.write_bytes(whole[: ends[0] + 9] + b"\xff" * 20 + whole[ends[0] + 29 :])
    assert sources(receipts(ledger, job)) == list("014567")
    assert f"bytes {ends[0]} to {ends[1]} are damaged" in caplog.text


@pytest.mark.service
def test_failures_that_are_in_files_wait_again_once(ledger: Ledger, tmp_path: Path) -> None:
    job = fill(ledger, tmp_path, 4)
    settle(ledger, "failed", "done", "quarantined", "done")
    write(ledger)
    assert sources([each["receipt"] for each in failures(ledger, job)]) == ["0", "2"]
    found = ledger.job(job)
    (seen,) = [Records.of_job(ledger, found)]
    assert journal.retry(ledger, found) == 2
    assert journal.retry(ledger, found) == 0
    again = ledger.job(job)
    assert (again.state, again.counts["pending"], again.bytes_in, again.statuses) == (
        "running",
        2,
        101 + 103,
        {"transcoded": 2},
    )
    settle(ledger, "done")
    settle(ledger, "failed")
    assert sources([each["receipt"] for each in failures(ledger, job)]) == ["2"]
    write(ledger)
    assert sources(receipts(ledger, job)) == list("1302")
    assert json.loads(next(journal.newest([seen])))["number"] == 0


@pytest.mark.service
def test_what_was_kept_does_not_hide_what_the_first_run_told(ledger: Ledger, tmp_path: Path) -> None:
    job = fill(ledger, tmp_path, 3)
    settle(ledger, "done", "failed", "skipped")
    write(ledger)
    (records,) = [Records.of_job(ledger, ledger.job(job))]
    lines = list(records)
    later = [line.replace(line[:27], b'{"id":"9%s' % line[8:27]) for line in lines]
    again = [line.replace(b'"status":"transcoded"', b'"status":"kept"') for line in later[:1]]
    again += [
        line.replace(b'"status":"failed"', b'"status":"kept"').replace(
            b'"state":"failed"', b'"state":"skipped"'
        )
        for line in later[1:2]
    ]
    told = list(journal.receipts([Records(job, records.files, tuple(again))]))
    assert {(Path(each["source"]).stem, each["status"]) for each in told} == {
        ("0", "transcoded"),
        ("1", "kept"),
        ("2", "kept"),
    }


@pytest.mark.service
def test_a_report_of_a_destination_has_each_instance_once(ledger: Ledger, tmp_path: Path) -> None:
    fill(ledger, tmp_path, 3)
    settle(ledger, "done", "failed", "done")
    write(ledger)
    ledger.client.flushall()
    time.sleep(1.1)
    second = fill(ledger, tmp_path, 5)
    settle(ledger, "skipped", "done", "skipped", "done", "failed")
    write(ledger)
    told = list(journal.receipts(journal.of_tree(tmp_path / "out")))
    assert sorted((Path(each["source"]).stem, each["status"]) for each in told) == [
        ("0", "transcoded"),
        ("1", "transcoded"),
        ("2", "transcoded"),
        ("3", "transcoded"),
        ("4", "failed"),
    ]
    assert len(list(journal.receipts(journal.of_tree(folder_of(ledger, second))))) == 5
    with pytest.raises(UsageError, match="holds no receipts"):
        journal.of_tree(tmp_path / "in")


def test_the_newest_word_counts_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a dictionary, with tables so small that keys collide and several passes are needed."""
    monkeypatch.setattr(journal, "SLOTS", 64)
    monkeypatch.setattr(journal, "AT_ONCE", 10)
    choose = random.Random(7)
    words: list[bytes] = []
    expected: dict[int, list[tuple[int, str]]] = {}
    for position in range(600):
        number, state = choose.randrange(200), choose.choice(["done", "skipped", "failed"])
        status = {"done": "transcoded", "skipped": "kept", "failed": "failed"}[state]
        record = {"id": f"{position:013}-000000", "state": state, "number": number, "attempts": 1}
        record |= {"source": f"/in/{number}", "output": f"/out/{number}", "size": 1}
        words.append(
            json.dumps({**record, "receipt": {"status": status}}, separators=(",", ":")).encode() + b"\n"
        )
        before = expected.get(number, [])
        expected[number] = [*before, (position, status)]
    winners = []
    for told in expected.values():
        last = told[-1]
        if last[1] == "kept":
            earlier = [each for each in told if each[1] != "kept"][-1:]
            last = earlier[0] if earlier and earlier[0][1] == "transcoded" else last
        winners.append(last[0])
    half = len(words) // 2
    for jobs in (
        [Records("a", (), tuple(words))],
        [Records("a", (), tuple(words[:half])), Records("b", (), tuple(words[half:]))],
    ):
        found = [int(json.loads(line)["id"].split("-")[0]) for line in journal.newest(jobs)]
        assert found == sorted(winners)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "out"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if os.getuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.service
def test_a_full_disk_pauses_the_job_until_receipts_can_be_written(
    ledger: Ledger, tmp_path: Path, disk: Path
) -> None:
    job = fill(ledger, tmp_path, 400)
    scribe = Scribe(ledger, HASTY)
    settle(ledger, *["done"] * 2)
    scribe.turn()
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    digests = (f"{random.Random(n).getrandbits(512):x}" for n in range(300))
    for _ in range(300):
        settle(ledger, "done", digest=next(digests))
    scribe._next = 0.0
    scribe.turn()
    found = ledger.job(job)
    assert (found.state, found.awaits) == ("paused", FOLDER)
    assert "its receipts can't be written" in found.note
    assert "disk is full" in found.note
    assert len(receipts(ledger, job)) == 302
    filler.unlink()
    scribe._next = 0.0
    scribe.turn()
    found = ledger.job(job)
    assert (found.state, found.note, ledger.records(job)) == ("running", "", [])
    assert len(receipts(ledger, job)) == 302


@pytest.mark.service
def test_a_folder_that_goes_away_is_not_made_anew_elsewhere(ledger: Ledger, tmp_path: Path) -> None:
    job = fill(ledger, tmp_path, 6)
    scribe = Scribe(ledger, HASTY)
    settle(ledger, "done", "done")
    ledger.client.hset(
        f"cinemill:job:{job}", "roots", json.dumps({str(tmp_path / "out"): (tmp_path / "out").stat().st_ino})
    )
    scribe.turn()
    (tmp_path / "out").rename(tmp_path / "away")
    (tmp_path / "out").mkdir()
    settle(ledger, "done")
    for _ in range(2):
        scribe._next = 0.0
        scribe.turn()
        assert ledger.job(job).state == "paused"
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "out").rmdir()
    (tmp_path / "away").rename(tmp_path / "out")
    scribe._next = 0.0
    scribe.turn()
    assert ledger.job(job).state == "running"
    assert sources(receipts(ledger, job)) == list("012")


@pytest.mark.service
def test_no_folder_is_made_outside_the_roots(ledger: Ledger, tmp_path: Path) -> None:
    job = fill(ledger, tmp_path, 2)
    settle(ledger, "done")
    Scribe(ledger, Settings(roots=(tmp_path / "in",))).turn()
    assert "CINEMILL_ROOTS" in ledger.job(job).note
    assert not (tmp_path / "out" / OURS).exists()


def test_segments_are_begun_one_after_the_other_and_turned_at_a_size(tmp_path: Path) -> None:
    first = Segment(tmp_path / "a" / "b")
    first.append([b'{"a":1}\n'])
    second = Segment(tmp_path / "a" / "b")
    assert first.name < second.name
    shutil.move(first.path, tmp_path / "elsewhere")
    with pytest.raises(Exception, match="can't be written"):
        first.append([b"x\n"])


def test_what_somebody_else_put_beside_segments_is_none(tmp_path: Path) -> None:
    (tmp_path / "all.jsonl.zst").write_bytes(b"")
    (tmp_path / "000001 (copy).jsonl.zst").write_bytes(b"")
    begun = segments.Segment(tmp_path)
    begun.append([b'{"id":"1"}\n'])
    assert segments.segments(tmp_path) == [begun.path]
    assert begun.name == "000001.jsonl.zst"


def test_no_walk_looks_into_a_folder_of_ours(tmp_path: Path) -> None:
    for path in ("in/a.dcm", f"in/{OURS}/job/000001.jsonl.zst", f"in/deep/{OURS}/b"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    found = [
        item.source.relative_to(tmp_path / "in") for item in discover([tmp_path / "in"], tmp_path / "out")
    ]
    assert found == [Path("a.dcm")]


@pytest.mark.service
def test_names_that_are_no_text_are_found_and_reported(ledger: Ledger, tmp_path: Path) -> None:
    odd = tmp_path / '\udcff "o" é'
    odd.mkdir()
    job = fill(ledger, odd, 2)
    settle(ledger, "done", "done", sop_instance_uid="1.2.3")
    write(ledger)
    assert [each["source"] for each in receipts(ledger, job)] == [f"{odd}/in/{n}.dcm" for n in range(2)]
    records = journal.of_tree(odd / "out")
    assert [each["number"] for each in journal.find(records, [f"{odd}/out/1.dcm"])] == [1]
    assert [each["number"] for each in journal.find(records, ["1.2.3"])] == [0, 1]
    assert list(journal.find(records, ["1.2"])) == []


@pytest.mark.service
def test_a_job_of_an_earlier_version_is_refused_by_name(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = fill(ledger, tmp_path, 2)
    ledger.client.hdel(f"cinemill:job:{job}", "folder")
    with pytest.raises(UsageError, match="earlier version of cinemill"):
        receipts(ledger, job)
    settle(ledger, "done")
    write(ledger)
    found = ledger.job(job)
    assert (found.state, "earlier version" in found.note) == ("paused", True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    spec = json.loads(found.spec.to_json())
    for form in ({}, {"ledger": 7}):
        spec["work"] = {**found.spec.work, **form}
        with pytest.raises(UsageError, match="another version of cinemill submitted the job"):
            from_json(JobSpec.from_json(json.dumps(spec)).work)


def stewards(worker: int) -> list[int]:
    """Return the process ids of the stewards of a worker."""
    command = ["ps", "--ppid", str(worker), "-o", "pid=,args="]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return [int(line.split()[0]) for line in listing.splitlines() if "engine.steward" in line]


@pytest.mark.service
def test_stewards_that_are_killed_in_the_middle_lose_and_double_nothing(
    service: Service, tmp_path: Path
) -> None:
    paths = write_archive(tmp_path / "in", 60)
    worker = service.start_worker("tests.support.faulty_worker", FAULTY_SECONDS="0.3")
    job = service.submit(tmp_path / "in", tmp_path / "out")
    for enough in (5, 20, 35):
        wait_until(lambda enough=enough: service.ledger.job(job).settled > enough)  # type: ignore[misc]
        for steward in stewards(worker.process.pid):
            os.kill(steward, signal.SIGKILL)
        told = sources(receipts(service.ledger, job))
        assert len(told) == len(set(told)) > enough
    found = service.finish(job)
    wait_until(lambda: not service.ledger.unwritten())
    told = [each["source"] for each in receipts(service.ledger, job)]
    assert sorted(told) == sorted(map(str, paths))
    assert found.counts["done"] + found.counts["skipped"] == 60
    assert segments.description(Path(found.folder))["state"] == "done"


@pytest.mark.service
def test_after_redis_lost_everything_the_reports_of_both_jobs_are_complete(
    service: Service, tmp_path: Path
) -> None:
    paths = write_archive(tmp_path / "in", 40)
    gate = tmp_path / "gate"
    # In parcels of one, for what waits at the gate would keep those that go with it from being reported.
    service.start_worker("tests.support.faulty_worker", FAULTY_GATE=str(gate), CINEMILL_BATCH_ITEMS="1")
    first = service.submit(tmp_path / "in", tmp_path / "out", name="first")
    wait_until(lambda: service.ledger.job(first).settled == FREE)
    wait_until(lambda: not service.ledger.records(first))
    folder = Path(service.ledger.job(first).folder)
    service.ledger.client.flushall()
    before = list(journal.receipts(journal.of_tree(folder)))
    assert len(before) == FREE
    gate.touch()
    assert {each["status"] for each in before} == {"transcoded"}
    second = service.finish(service.submit(tmp_path / "in", tmp_path / "out"))
    wait_until(lambda: not service.ledger.unwritten())
    assert second.counts["skipped"] >= len(before)
    told = list(journal.receipts(journal.of_tree(tmp_path / "out")))
    assert sorted(each["source"] for each in told) == sorted(map(str, paths))
    proofs = {each["source"]: each["digest"] for each in before}
    assert {each["source"]: each["digest"] for each in told if each["source"] in proofs} == proofs
    assert sum(each["status"] == "transcoded" for each in told) >= len(before)


@pytest.mark.parametrize("folder", ["", "new/job"])
def test_a_disk_that_is_full_when_a_segment_is_synced_is_told_as_such(tmp_path, monkeypatch, folder):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoRoom, match="the disk is full"):
        Segment(tmp_path / folder)
