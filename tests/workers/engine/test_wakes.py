"""Messages that are lost or too many, leaders that die or stop, and versions that meet: with real processes."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cinemill_workers.engine import parcels
from cinemill_workers.engine.app import QUEUE, app
from cinemill_workers.engine.steward import ASKING_SECONDS, LEADERSHIP_SECONDS, Steward
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import LAYOUT, ListedItem
from cinemill_workers.local.embedded import Server
from cinemill_workers.settings import Settings
from tests.support.harness import Service, job_spec, make_tree, receipts, wait_until, write_archive

pytestmark = pytest.mark.service

NEWER = LAYOUT + 1


def pause(ledger: Ledger, count: int) -> None:
    for number in range(count):
        job = ledger.create(job_spec(Path("/in"), Path(f"/out{number}")))
        ledger.move(job, from_=["running"], to="paused")


def lead_of_two(service: Service, **variables: str) -> int:
    """Start two workers, and return the process id of the steward that leads."""
    slow = {"FAULTY_SECONDS": "0.02", "CINEMILL_AHEAD": "20", "CINEMILL_BATCH_ITEMS": "4"} | variables
    first = service.start_worker("tests.support.faulty_worker", **slow)
    wait_until(lambda: service.ledger.client.exists("cinemill:leader") == 1)
    second = service.start_worker("tests.support.faulty_worker", **slow)
    wait_until(lambda: len(second.children(stewards=True)) == 1 and len(second.children()) == 2)
    (steward,) = first.children(stewards=True)
    return steward


def test_a_job_ends_though_its_messages_are_lost(service: Service, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 30)
    service.start_worker("tests.support.faulty_worker", FAULTY_SECONDS="0.1")
    job = service.submit(tmp_path / "in", tmp_path / "out")
    for enough in (0, 8, 16):
        wait_until(lambda enough=enough: service.ledger.job(job).settled > enough)  # type: ignore[misc]
        service.ledger.client.delete(QUEUE)
    assert service.finish(job).counts["done"] == 30


def send(server: Server, count: int) -> None:
    with app.connection_for_write(f"redis+socket://{server.socket}") as connection:
        for _ in range(count):
            app.send_task("cinemill.work", queue=QUEUE, connection=connection)


def test_a_burst_of_surplus_messages_changes_nothing(
    service: Service, server: Server, tmp_path: Path
) -> None:
    write_archive(tmp_path / "in", 20)
    service.start_worker()
    send(server, 1000)
    job = service.submit(tmp_path / "in", tmp_path / "out")
    found = service.finish(job)
    assert (found.counts["done"], found.retries) == (20, 0)
    wait_until(lambda: service.ledger.queue_length(QUEUE) == 0)


def test_a_busy_worker_leaves_messages_to_others_and_owes_none(
    service: Service, server: Server, tmp_path: Path
) -> None:
    write_archive(tmp_path / "in", 4)
    service.start_worker("tests.support.faulty_worker", FAULTY_SECONDS="60")
    job = service.submit(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: service.ledger.job(job).counts["running"] == 2)
    before = service.ledger.queue_length(QUEUE)
    send(server, 10)
    time.sleep(2)
    assert service.ledger.queue_length(QUEUE) >= before + 10
    assert not service.ledger.client.exists("unacked")


def test_one_message_is_enough_for_a_job(service: Service, server: Server, tmp_path: Path) -> None:
    paths = write_archive(tmp_path / "in", 10)
    worker = service.start_worker()
    wait_until(lambda: bool(service.ledger.workers()))
    (steward,) = worker.children(stewards=True)
    os.kill(steward, signal.SIGSTOP)
    job = service.submit(tmp_path / "in", tmp_path / "out")
    items = [ListedItem(n, str(path), str(tmp_path / "out" / path.name), 1) for n, path in enumerate(paths)]
    service.ledger.feed(job, 0, [[item] for item in items], exhausted=True)
    send(server, 1)
    assert service.finish(job).counts["done"] == 10
    os.kill(steward, signal.SIGCONT)


def test_a_leader_that_was_stopped_for_too_long_lists_nothing_more(service: Service, tmp_path: Path) -> None:
    make_tree(tmp_path / "in", [10] * 800)
    steward, redis = lead_of_two(service), service.ledger.client
    job = service.submit(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: service.ledger.job(job).listed > 20)
    os.kill(steward, signal.SIGSTOP)
    redis.delete("cinemill:leader")
    wait_until(lambda: redis.exists("cinemill:leader") == 1)
    other, listed = redis.get("cinemill:leader"), service.ledger.job(job).listed
    os.kill(steward, signal.SIGCONT)
    wait_until(lambda: service.ledger.job(job).listed > listed)
    time.sleep(2 * ASKING_SECONDS)
    assert redis.get("cinemill:leader") == other
    found = service.finish(job)
    assert (found.listed, found.counts["skipped"]) == (800, 800)
    assert len({each["source"] for each in receipts(service.ledger, job)}) == 800


def test_another_one_lists_when_the_leader_is_killed(service: Service, tmp_path: Path) -> None:
    make_tree(tmp_path / "in", [10] * 400)
    steward, redis = lead_of_two(service), service.ledger.client
    job = service.submit(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: service.ledger.job(job).listed > 20)
    os.kill(steward, signal.SIGKILL)
    assert redis.pttl("cinemill:leader") <= LEADERSHIP_SECONDS * 1000
    redis.pexpire("cinemill:leader", 1)
    found = service.finish(job)
    assert (found.listed, found.counts["skipped"]) == (400, 400)


def test_versions_of_another_layout_do_not_meet(service: Service, tmp_path: Path) -> None:
    old = service.start_worker()
    wait_until(lambda: bool(service.ledger.workers()))
    write_archive(tmp_path / "in", 1)
    job = service.submit(tmp_path / "in", tmp_path / "out")
    service.ledger.move(job, from_=["running", "done"], to="cancelled")
    newer = service.start_worker("tests.support.faulty_worker", FAULTY_LAYOUT=str(NEWER))
    assert newer.process.wait(120) == os.EX_CONFIG
    assert f"works with layout {NEWER}" in newer.log
    assert "Traceback" not in newer.log
    assert old.process.poll() is None
    assert service.ledger.delete(job)
    service.start_worker("tests.support.faulty_worker", FAULTY_LAYOUT=str(NEWER))
    assert old.process.wait(120) == os.EX_CONFIG
    assert f"has layout {NEWER}" in old.log
    assert "Traceback" not in old.log
    for command in (
        ["jobs"],
        ["worker"],
        ["submit", str(tmp_path / "in"), str(tmp_path / "out"), "--to", "rle"],
    ):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "cinemill_workers.cli", *command],
            env={**os.environ, **service.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr.count("\n")) == (os.EX_CONFIG, 1), done.stderr
        assert f"layout {NEWER}" in done.stderr


def test_an_option_that_a_worker_does_not_know_rests_its_job(ledger: Ledger, tmp_path: Path) -> None:
    spec = replace(
        job_spec(tmp_path / "in", tmp_path / "out"), work={"kind": "transcode", "to": "rle", "newer": 1}
    )
    job = ledger.create(spec)
    ledger.feed(job, 0, [[ListedItem(0, "/in/a", "/out/a", 1)]], exhausted=True)
    parcel = ledger.claim("holder", "worker@host")
    assert parcel is not None
    parcels.work_through(ledger, parcel, "worker@host")
    assert "install the version" in ledger.job(job).note
    assert (ledger.look(most=9)[0], ledger.job(job).counts["pending"]) == (0, 1)


def test_jobs_that_need_nothing_cost_the_leader_nothing(ledger: Ledger) -> None:
    def cost(count: int) -> int:
        ledger.client.flushall()
        pause(ledger, count)
        steward = Steward(ledger, Settings(), "worker@host")
        while steward.turn():
            pass
        steward._asked = steward._scribe._next = math.inf  # what is done now and then is not due
        ledger.client.config_resetstat()
        steward.turn()
        calls: int = sum(each["calls"] for each in ledger.client.info("commandstats").values())
        ledger.resign("worker@host")
        return calls

    assert cost(500) == cost(1) < 15
