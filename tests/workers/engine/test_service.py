"""Jobs through a real server and real workers: what operators do to them, and what goes wrong."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import cinemill
from cinemill.errors import CinemillError
from cinemill.operations.deidentify.keys import make_key, read_key
from cinemill.operations.deidentify.mapping import MapFile
from cinemill.operations.deidentify.request import Deidentify
from cinemill.operations.extract.request import Extract
from cinemill.operations.operation import Control
from cinemill.operations.transcode.request import Transcode
from cinemill_workers.cli.watch import details
from cinemill_workers.ledger.model import ListedItem
from tests.operations.deidentify.conftest import tree
from tests.support.files import bundled, standing
from tests.support.harness import (
    Service,
    Worker,
    assert_exact,
    closed_window,
    failures,
    files_below,
    job_spec,
    receipts,
    wait_until,
    write_archive,
    write_instance,
)

pytestmark = pytest.mark.service

EXTRACTION = Extract("png", frames="0,2", sidecar=True)


def nonzero(counts: dict[str, int]) -> dict[str, int]:
    return {state: count for state, count in counts.items() if count}


def log_lines(worker: Worker) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in worker.log.splitlines() if line.startswith("{"))
    return [line for line in lines if line["logger"] == "cinemill.items"]


def test_a_job_runs_to_its_end(service: Service, tmp_path: Path) -> None:
    sources = write_archive(tmp_path / "in", 40)
    (tmp_path / "in" / "notes.txt").write_text("not DICOM")
    write_instance(tmp_path / "in" / "short.dcm", 99)
    with (tmp_path / "in" / "short.dcm").open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) - 300)
    worker = service.start_worker()
    job = service.finish(service.submit(tmp_path / "in", tmp_path / "out"))

    assert nonzero(job.counts) == {"done": 40, "skipped": 1, "failed": 1}
    for source in sources:
        assert_exact(source, tmp_path / "out" / source.relative_to(tmp_path / "in"))
    assert files_below(tmp_path / "out") == {source.relative_to(tmp_path / "in") for source in sources}
    (failure,) = failures(service.ledger, job.id)
    assert failure["receipt"]["error"]["kind"] == "DamagedFile"
    told = receipts(service.ledger, job.id)
    assert len(told) == 42
    assert sum(receipt["bytes_before"] for receipt in told if receipt["status"] == "transcoded") > 0

    assert worker.stop() == 0
    lines = log_lines(worker)
    assert sorted(line["item"] for line in lines) == list(range(42))
    assert "CompressedSamples" not in worker.log
    assert str(tmp_path / "in") not in "".join(map(json.dumps, lines))
    for key in service.ledger.client.scan_iter("cinemill:*"):
        assert b"CompressedSamples" not in (service.ledger.client.dump(key) or b"")


def test_duplicate_messages_change_nothing(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 30)
    service.start_worker("tests.support.faulty_worker", FAULTY_SECONDS="0.05")
    job = service.submit(tmp_path / "in", tmp_path / "out")
    for enough in (3, 10, 20):
        wait_until(lambda enough=enough: service.ledger.job(job).settled > enough)  # type: ignore[misc]
        service.repeat_messages()
    assert nonzero(service.finish(job).counts) == {"done": 30}


def test_two_workers_on_one_item_commit_once(service: Service, tmp_path: Path) -> None:
    (source,) = write_archive(tmp_path / "in", 1)
    frozen = service.start_worker("tests.support.faulty_worker", FAULTY_SECONDS="4")
    job = service.submit(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: service.ledger.job(job).counts["running"] == 1)
    children = frozen.children()
    for pid in (*children, frozen.process.pid):
        os.kill(pid, signal.SIGSTOP)
    try:
        service.start_worker()
        output = tmp_path / "out" / source.relative_to(tmp_path / "in")
        assert nonzero(service.finish(job).counts) == {"done": 1}
        written = output.stat()
    finally:
        for pid in (frozen.process.pid, *children):
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not service.ledger.expired())
    frozen.stop()
    assert nonzero(service.ledger.job(job).counts) == {"done": 1}
    assert (output.stat().st_ino, output.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert_exact(source, output)


def test_a_job_paused_survives_a_restart_and_goes_on(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 30)
    gate = str(tmp_path / "gate")
    worker = service.start_worker("tests.support.faulty_worker", FAULTY_SECONDS="0.1", FAULTY_GATE=gate)
    job = service.submit(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: service.ledger.job(job).counts["done"] > 3)
    service.ledger.move(job, from_=["running"], to="paused")
    wait_until(lambda: service.ledger.job(job).counts["running"] == 0)
    done = service.ledger.job(job).counts["done"]
    assert worker.stop() == 0
    service.start_worker()
    wait_until(lambda: bool(service.ledger.workers()))
    time.sleep(1)
    assert service.ledger.job(job).counts["done"] == done < 30
    service.ledger.move(job, from_=["paused"], to="running")
    assert nonzero(service.finish(job).counts) == {"done": 30}


def test_cancelling_stops_work_between_frames(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 6)
    service.start_worker("tests.support.faulty_worker", FAULTY_SECONDS="600")
    job = service.submit(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: service.ledger.job(job).counts["running"] > 0)
    service.ledger.move(job, from_=["running"], to="cancelled")
    found = service.finish(job)
    assert nonzero(found.counts) == {"cancelled": 6}
    assert files_below(tmp_path / "out") == set()


def test_stopping_a_worker_hands_its_work_back(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 4)
    worker = service.start_worker("tests.support.faulty_worker", FAULTY_SECONDS="60")
    job = service.submit(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: service.ledger.job(job).counts["running"] > 0)
    assert worker.stop() == 0
    found = service.ledger.job(job)
    assert (nonzero(found.counts), found.retries) == ({"pending": 4}, 0)


def test_a_worker_that_must_stop_at_once_costs_no_attempt(service: Service, tmp_path: Path) -> None:
    sources = write_archive(tmp_path / "in", 4)
    worker = service.start_worker("tests.support.faulty_worker", FAULTY_SECONDS="60")
    job = service.submit(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: service.ledger.job(job).counts["running"] > 0)
    worker.process.send_signal(signal.SIGQUIT)
    worker.process.wait(120)
    service.start_worker()
    found = service.finish(job)
    assert (nonzero(found.counts), found.retries) == ({"done": 4}, 0)
    assert files_below(tmp_path / "out") == {source.relative_to(tmp_path / "in") for source in sources}


def test_children_that_are_told_to_stop_with_their_worker_cost_no_attempt(
    service: Service, tmp_path: Path
) -> None:
    for number in range(2):
        write_instance(tmp_path / "in" / f"{number}.dcm", number)
    worker = service.start_worker("tests.support.faulty_worker", FAULTY_SECONDS="60")
    job = service.submit(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: service.ledger.job(job).counts["running"] == 2)
    for each in (worker.process.pid, *worker.children()):
        os.kill(each, signal.SIGTERM)
    assert worker.process.wait(60) == 0
    found = service.ledger.job(job)
    assert (found.counts["pending"], found.retries) == (2, 0)


def test_what_is_finished_is_kept_when_the_server_forgets(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 30)
    gate = str(tmp_path / "gate")
    worker = service.start_worker("tests.support.faulty_worker", FAULTY_SECONDS="0.1", FAULTY_GATE=gate)
    job = service.submit(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: service.ledger.job(job).counts["done"] > 5)
    service.ledger.client.flushall()
    worker.stop()
    finished = {path: standing(tmp_path / "out" / path) for path in files_below(tmp_path / "out")}
    service.start_worker()
    found = service.finish(service.submit(tmp_path / "in", tmp_path / "out"))
    assert nonzero(found.counts) == {"done": 30 - len(finished), "skipped": len(finished)}
    assert {path: standing(tmp_path / "out" / path) for path in finished} == finished


def test_a_crash_costs_one_child_and_its_item_is_quarantined(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 20)
    left = tmp_path / "out" / "study000" / ".00007.dcm.3.part"
    left.parent.mkdir(parents=True)
    left.touch()
    worker = service.start_worker("tests.support.faulty_worker", FAULTY_CRASH="00007")
    found = service.finish(service.submit(tmp_path / "in", tmp_path / "out"))
    assert nonzero(found.counts) == {"done": 19, "quarantined": 1}
    assert found.retries == 2
    (failure,) = failures(service.ledger, found.id)
    assert failure["attempts"] == 3
    assert "ended with SIGSEGV; set the file aside" in failure["receipt"]["error"]["message"]
    assert not left.exists()
    assert worker.process.poll() is None


def test_a_child_that_dies_before_the_worker_is_ready_costs_nothing(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 10)
    ready = tmp_path / "ready"
    worker = service.start_worker("tests.support.faulty_worker", FAULTY_READY=str(ready))
    wait_until(lambda: len(worker.children()) == 2)
    os.kill(worker.children()[0], signal.SIGKILL)
    assert "ready." not in worker.log
    ready.touch()
    assert nonzero(service.finish(service.submit(tmp_path / "in", tmp_path / "out")).counts) == {"done": 10}
    assert worker.process.poll() is None


def test_a_server_without_memory_is_waited_for(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 30)
    worker = service.start_worker("tests.support.faulty_worker", FAULTY_SECONDS="0.1")
    job = service.submit(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: service.ledger.job(job).counts["done"] > 3)
    service.ledger.client.config_set("maxmemory", 1)
    time.sleep(5)
    service.ledger.client.config_set("maxmemory", 0)
    found = service.finish(job)
    assert (nonzero(found.counts), found.retries) == ({"done": 30}, 0)
    assert worker.process.poll() is None


@pytest.mark.parametrize(("how", "reason"), [("FAULTY_HANG", "SIGABRT"), ("FAULTY_BLOCK", "no sign of life")])
def test_work_that_hangs_is_ended_and_quarantined(
    service: Service, tmp_path: Path, how: str, reason: str
) -> None:
    write_archive(tmp_path / "in", 6)
    worker = service.start_worker(
        "tests.support.faulty_worker", CINEMILL_STALL_SECONDS="3", CINEMILL_ATTEMPTS="2", **{how: "00003"}
    )
    found = service.finish(service.submit(tmp_path / "in", tmp_path / "out"))
    assert nonzero(found.counts) == {"done": 5, "quarantined": 1}
    (failure,) = failures(service.ledger, found.id)
    assert reason in failure["receipt"]["error"]["message"]
    wait_until(lambda: worker.log.count("exited with") == 2)


def test_a_full_disk_rests_the_job_until_there_is_room(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 10)
    full = tmp_path / "full"
    full.touch()
    service.start_worker("tests.support.faulty_worker", FAULTY_FULL=str(full))
    job = service.submit(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: "no room" in service.ledger.job(job).note)
    full.unlink()
    found = service.finish(job)
    assert (nonzero(found.counts), found.retries, found.note) == ({"done": 10}, 0, "")


def test_paths_outside_the_roots_are_refused(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 1)
    write_instance(tmp_path / "secret" / "a.dcm", 1)
    (tmp_path / "in" / "link.dcm").symlink_to(tmp_path / "secret" / "a.dcm")
    roots = os.pathsep.join([str(tmp_path / "in"), str(tmp_path / "out")])
    service.start_worker(CINEMILL_ROOTS=roots)
    found = service.finish(service.submit(tmp_path / "in", tmp_path / "out"))
    assert nonzero(found.counts) == {"done": 1, "failed": 1}
    (failure,) = failures(service.ledger, found.id)
    assert failure["receipt"]["error"]["kind"] == "OutsideRoots"


def test_a_closed_window_makes_a_job_wait_while_others_run(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 4)
    job = service.submit(tmp_path / "in", tmp_path / "night", window=closed_window())
    service.start_worker()
    found = service.finish(service.submit(tmp_path / "in", tmp_path / "day", priority="low"))
    assert nonzero(found.counts) == {"done": 4}
    assert (service.ledger.job(job).state, nonzero(service.ledger.job(job).counts)) == (
        "waiting",
        {"pending": 4},
    )


def test_an_extraction_is_a_job_like_any_other(service: Service, tmp_path: Path) -> None:
    sources = write_archive(tmp_path / "in", 20, frames=3)
    (tmp_path / "in" / "notes.txt").write_text("not DICOM")
    write_instance(tmp_path / "in" / "single.dcm", 99)
    service.start_worker()
    job = service.finish(service.submit(tmp_path / "in", tmp_path / "out", work=EXTRACTION))
    assert nonzero(job.counts) == {"done": 20, "skipped": 1, "failed": 1}
    (failure,) = failures(service.ledger, job.id)
    assert failure["receipt"]["error"]["kind"] == "NotInFile"
    statuses = sorted(receipt["status"] for receipt in receipts(service.ledger, job.id))
    assert statuses == ["extracted"] * 20 + ["ignored", "refused"]
    for source in sources:
        cinemill.extract(
            source, tmp_path / "expected" / source.parent.relative_to(tmp_path / "in"), **asdict(EXTRACTION)
        )
    assert files_below(tmp_path / "out") == files_below(tmp_path / "expected")
    for path in files_below(tmp_path / "out"):
        assert (tmp_path / "out" / path).read_bytes() == (tmp_path / "expected" / path).read_bytes()


def test_an_extraction_is_done_once_whatever_is_repeated(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 30, frames=3)
    worker = service.start_worker("tests.support.faulty_worker", FAULTY_SECONDS="0.05")
    job = service.submit(tmp_path / "in", tmp_path / "out", work=EXTRACTION)
    for enough in (3, 10):
        wait_until(lambda enough=enough: service.ledger.job(job).settled > enough)  # type: ignore[misc]
        service.repeat_messages()
    worker.kill()
    service.start_worker()
    found = service.finish(job)
    assert found.counts["done"] + found.counts["skipped"] == 30
    before = {path: (tmp_path / "out" / path).stat().st_ino for path in files_below(tmp_path / "out")}
    assert len(files_below(tmp_path / "out")) == 90
    service.ledger.client.flushall()
    again = service.finish(service.submit(tmp_path / "in", tmp_path / "out", work=EXTRACTION))
    assert nonzero(again.counts) == {"skipped": 30}
    after = {path: (tmp_path / "out" / path).stat().st_ino for path in files_below(tmp_path / "out")}
    assert after == before


def test_work_that_a_worker_does_not_know_rests_with_a_reason(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 1)
    spec = replace(
        job_spec(tmp_path / "in", tmp_path / "out"), work={"kind": "transcode", "to": "rle", "newer": 1}
    )
    service.start_worker()
    job = service.ledger.create(spec)
    wait_until(lambda: service.ledger.job(job).state == "paused")
    assert "install the version" in service.ledger.job(job).note
    item = ListedItem(0, str(tmp_path / "in" / "a"), str(tmp_path / "out" / "a"), 1)
    service.ledger.feed(job, 0, [[item]], exhausted=True)
    service.ledger.move(job, from_=["paused"], to="running")
    wait_until(lambda: "install the version" in service.ledger.job(job).note)
    assert nonzero(service.ledger.job(job).counts) in ({"pending": 1}, {"running": 1})


def test_a_job_decides_by_policy_as_the_command_does(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_instance(folder / "large.dcm", 1, side=300)
    write_instance(folder / "small.dcm", 2, side=20)
    write_instance(folder / "cine.dcm", 3, side=60, frames=12)
    shutil.copy(bundled("examples_ybr_color.dcm"), folder / "lossy.dcm")
    shutil.copy(bundled("reportsi.dcm"), folder / "report.dcm")
    rules = 'name = "job"\n[[rule]]\nname = "cines"\nwhen = { frames = "> 1" }\nto = "rle,jpeg-ls"\n'
    rules += '[[rule]]\nname = "single"\nto = ["jpeg-ls", "jpeg-2000"]\n'
    work = Transcode(policy=rules).in_bulk()
    service.start_worker()
    done = service.finish(service.submit(folder, tmp_path / "out", work=work))
    told = {Path(each["source"]).name: each for each in receipts(service.ledger, done.id)}
    for path in sorted(folder.iterdir()):
        here = work.apply(path, tmp_path / "direct" / path.name, Control(1)).to_dict()
        for name in (
            "status",
            "reason",
            "rule",
            "policy_digest",
            "transfer_syntax_after",
            "digest",
            "bytes_after",
        ):
            assert told[path.name][name] == here[name], (path.name, name)
        assert (tmp_path / "out" / path.name).stat().st_size <= path.stat().st_size
    assert {name: told[name]["reason"] for name in ("small.dcm", "lossy.dcm", "report.dcm")} == {
        "small.dcm": "would-grow",
        "lossy.dcm": "lossy-source",
        "report.dcm": "no-image",
    }
    sums = {did: each.instances for did, each in done.outcomes.items()}
    assert sums == {"transcoded": 2, "copied, lossy": 1, "copied, would grow": 1, "copied": 1}
    lossy = done.outcomes["copied, lossy"]
    assert lossy.bytes_before == lossy.bytes_after == (folder / "lossy.dcm").stat().st_size
    shown = Console(width=200, record=True, file=io.StringIO())
    shown.print(details(done, []))
    text = shown.export_text()
    assert "by job: " in text
    assert re.search(r"^copied, lossy +1 +0\.2", text, re.MULTILINE), text
    assert "1 lossy source was kept as it is" in text
    again = service.finish(service.submit(folder, tmp_path / "out", work=work))
    assert nonzero(again.counts) == {"skipped": 5}


def test_a_job_judges_outputs_and_copies_the_rest_as_the_command_does(
    service: Service, tmp_path: Path
) -> None:
    paths = write_archive(tmp_path / "in", 4)
    (tmp_path / "in" / "notes.txt").write_text("not DICOM")
    (tmp_path / "in" / "broken.dcm").write_bytes(paths[0].read_bytes()[:-99])
    shutil.copy(bundled("DICOMDIR"), tmp_path / "in" / "DICOMDIR")
    work = Transcode("jpeg-ls", copy_rest=True)
    service.start_worker()
    first = service.finish(service.submit(tmp_path / "in", tmp_path / "out", work=work))
    assert nonzero(first.counts) == {"done": 4, "skipped": 2, "failed": 1}
    assert files_below(tmp_path / "out") == files_below(tmp_path / "in") - {Path("DICOMDIR")}
    told = {Path(each["source"]).name: each for each in receipts(service.ledger, first.id)}
    for name in ("notes.txt", "broken.dcm"):
        assert told[name]["warnings"] == ["copied unchanged to the output tree"]
    assert "dcmmkdir" in told["DICOMDIR"]["warnings"][-1]

    output = tmp_path / "out" / paths[1].relative_to(tmp_path / "in")
    output.write_bytes(output.read_bytes()[:-2])
    write_instance(paths[2], 77)
    again = service.finish(service.submit(tmp_path / "in", tmp_path / "out", work=work))
    statuses = {Path(each["source"]).name: each for each in receipts(service.ledger, again.id)}
    assert statuses[paths[0].name]["status"] == "kept"
    assert statuses[paths[0].name]["digest"] == told[paths[0].name]["digest"] != ""
    assert statuses[paths[1].name]["status"] == "transcoded"
    assert statuses[paths[2].name]["error"]["kind"] == "OutputExists"
    assert again.pixel_bytes == first.pixel_bytes // 4


def test_what_lies_outside_the_roots_is_not_copied_either(service: Service, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("not DICOM")
    (tmp_path / "in" / "link.dcm").symlink_to(tmp_path / "secret")
    service.start_worker(CINEMILL_ROOTS=f"{tmp_path / 'in'}:{tmp_path / 'out'}")
    work = Transcode("jpeg-ls", copy_rest=True)
    job = service.finish(service.submit(tmp_path / "in", tmp_path / "out", work=work))
    assert nonzero(job.counts) == {"failed": 1}
    assert not (tmp_path / "out").exists()


def test_a_job_de_identifies_as_the_command_does_and_stores_no_key(service: Service, tmp_path: Path) -> None:
    sources = tree(tmp_path / "in")
    sources[0].write_bytes(sources[0].read_bytes()[:-100])
    key = tmp_path / "study.key"
    make_key(key)
    asked = Deidentify(key=str(key), map=str(tmp_path / "map"))
    for _ in range(2):
        service.start_worker()
    job = service.finish(service.submit(tmp_path / "in", tmp_path / "out" / "tree", work=asked))
    assert nonzero(job.counts) == {"done": 9, "failed": 1}
    here = tmp_path / "here"
    for item in asked.discover([tmp_path / "in"], here):
        with suppress(CinemillError):
            asked.apply(item.source, item.output, Control(1))
    assert files_below(tmp_path / "out" / "tree") == files_below(here)
    told = json.dumps(receipts(service.ledger, job.id))
    assert not [name for name in ("Doe", "Jane", "Zebediah", "MRN-") if name in told]
    entries = list(MapFile(tmp_path / "map", read_key(key)).entries())
    assert {entry.original for entry in entries if entry.kind == "patient-id"} == {"MRN-0", "MRN-1"}
    stored = service.ledger.client.execute_command("DUMP", f"cinemill:job:{job.id}")
    assert key.read_bytes().strip().partition(b":")[2] not in stored
