"""The small parts: settings, windows, roots, outcomes, logs, listing, metrics, the embedded server."""

from __future__ import annotations

import datetime as dt
import errno
import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cinemill import errors
from cinemill_workers import logs
from cinemill_workers.cli import watch
from cinemill_workers.engine import lease
from cinemill_workers.engine.app import app
from cinemill_workers.engine.campaign import Campaign
from cinemill_workers.engine.client import open_ledger
from cinemill_workers.engine.metrics import LedgerCollector
from cinemill_workers.engine.outcomes import Fate, OutsideRoots, WorkerLost, fate_of
from cinemill_workers.engine.parcels import STATES, codec_threads
from cinemill_workers.engine.roots import confine
from cinemill_workers.engine.schedule import Window
from cinemill_workers.engine.steward import Steward
from cinemill_workers.ledger.ledger import Ledger, connect
from cinemill_workers.ledger.model import ITEM_STATES, Job
from cinemill_workers.local import up
from cinemill_workers.local.embedded import Server
from cinemill_workers.settings import Settings, settings
from tests.support.harness import job_spec, wait_until, write_archive

# Settings


def test_without_a_broker_the_embedded_one_is_used(tmp_path: Path) -> None:
    found = Settings(state_dir=tmp_path)
    assert found.embedded
    assert found.redis_url == f"unix://{tmp_path}/server.sock"
    assert found.celery_url == f"redis+socket://{tmp_path}/server.sock"


def test_a_socket_path_always_fits(tmp_path: Path) -> None:
    assert len(os.fsencode(Settings(state_dir=tmp_path / ("x" * 200)).socket_path)) < 100


@pytest.mark.service
def test_any_state_directory_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = Settings(state_dir=Path("my state%41?#ü"))
    with Server(chosen.state_dir, chosen.socket_path):
        assert open_ledger(chosen).jobs() == []
        with Celery(broker=chosen.celery_url).connection() as connection:
            connection.ensure_connection(max_retries=1)
    assert (tmp_path / "my state%41?#ü" / "lock").exists()


def test_secrets_are_not_shown() -> None:
    found = Settings(broker_url="rediss://user:secret@example.org:6380/1?ssl_ca_certs=/ca.pem")
    assert "secret" not in repr(found) + found.public_url
    assert found.public_url == "rediss://example.org:6380/1"


def test_roots_are_separated_like_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CINEMILL_ROOTS", "/archive:/migrated:")
    assert Settings().roots == (Path("/archive"), Path("/migrated"))


def test_an_impossible_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CINEMILL_ATTEMPTS", "many")
    settings.cache_clear()
    with pytest.raises(errors.UsageError, match="CINEMILL_ATTEMPTS"):
        settings()
    monkeypatch.setenv("CINEMILL_BROKER_URL", "amqp://example.org")
    with pytest.raises(errors.UsageError, match="redis://"):
        settings()


# Windows


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        ("20:00-06:00", ["20:00", "23:59", "00:00", "05:59"], ["06:00", "12:00", "19:59"]),
        ("08:30-09:00", ["08:30", "08:59"], ["09:00", "08:29", "23:00"]),
    ],
)
def test_a_window_contains_its_part_of_the_day(window: str, inside: list[str], outside: list[str]) -> None:
    parsed = Window.parse(window)
    assert all(dt.time.fromisoformat(moment) in parsed for moment in inside)
    assert not any(dt.time.fromisoformat(moment) in parsed for moment in outside)


@pytest.mark.parametrize("text", ["", "20-06", "20:00", "25:00-06:00", "20:00-20:00", "20:00-06:00 "])
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(errors.UsageError, match="expected a window"):
        Window.parse(text)


# Roots


def test_roots_hold_what_lies_in_them_and_nothing_else(tmp_path: Path) -> None:
    root, secret = tmp_path / "root", tmp_path / "root-secret"
    for folder in (root, secret):
        folder.mkdir()
    (root / "away").symlink_to(secret)
    (root / "home").symlink_to(root / "deeper")
    for inside in (root, root / "new" / "file", root / "home" / "x"):
        confine(inside, [root])
    for outside in (secret, root / "away" / "x", root / ".." / "root-secret", Path("/etc/passwd")):
        with pytest.raises(OutsideRoots):
            confine(outside, [root])
    confine(secret, [])


# Outcomes


def _from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (errors.NotDicom("x"), Fate.IGNORE),
        (errors.DamagedFile("x"), Fate.FAIL),
        (errors.CodecError("x"), Fate.FAIL),
        (errors.UnsupportedTransferSyntax("x"), Fate.FAIL),
        (errors.OutputExists("x"), Fate.FAIL),
        (errors.VerificationError("x"), Fate.QUARANTINE),
        (errors.OutputError("x"), Fate.RETRY),
        (_from(errors.OutputError("x"), OSError(errno.ENOSPC, "full")), Fate.HOLD),
        (_from(errors.OutputError("x"), OSError(errno.EACCES, "denied")), Fate.RETRY),
        (OSError(errno.EDQUOT, "quota"), Fate.HOLD),
        (FileNotFoundError("x"), Fate.FAIL),
        (OSError(errno.EIO, "x"), Fate.RETRY),
        (_from(errors.DamagedFile("x"), OSError(errno.ESTALE, "x")), Fate.RETRY),
        (_from(errors.DamagedFile("x"), FileNotFoundError(errno.ENOENT, "x")), Fate.FAIL),
        (MemoryError(), Fate.RETRY),
        (WorkerLost("x"), Fate.RETRY),
        (ZeroDivisionError(), Fate.RETRY),
    ],
)
def test_every_error_has_a_fate(error: Exception, fate: Fate) -> None:
    assert fate_of(error) is fate


def test_every_success_of_the_core_has_a_state() -> None:
    from cinemill.operations.receipt import SUCCESSES

    assert set(STATES) == set(SUCCESSES)


# Threads, leases, logs


@given(st.integers(1, 1000))
def test_threads_never_exceed_the_cores(outstanding: int) -> None:
    cores = len(os.sched_getaffinity(0))
    assert 1 <= codec_threads(outstanding) <= max(1, cores // min(outstanding, cores))


def test_a_shutdown_gives_running_work_its_time() -> None:
    shutdown = lease.Shutdown()
    before = shutdown.announced
    shutdown.announce(0.1)
    assert (before, shutdown.announced) == (False, True)
    assert not shutdown.due
    wait_until(lambda: shutdown.due, seconds=5)


@pytest.mark.parametrize("quoted", ["DOE^JANE"])
def test_log_lines_are_json_and_hide_messages_of_errors(quoted: str) -> None:
    try:
        raise ValueError(quoted)
    except ValueError:
        record = logging.LogRecord("cinemill.items", logging.INFO, "", 0, "item", (), sys.exc_info())
    record.fields = {"job": "j", "item": 3}
    line = json.loads(logs.JsonLines().format(record))
    assert (line["job"], line["item"], line["error"]) == ("j", 3, "ValueError")
    assert "DOE" not in json.dumps(line)


# Listing


def make_tree(folder: Path, sizes: list[int]) -> None:
    for number, size in enumerate(sizes):
        path = folder / f"{number // 10:03}" / f"{number:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))


def waiting_parcels(ledger: Ledger) -> list[list[str]]:
    found: list[list[str]] = []
    while (parcel := ledger.claim("normal", f"holder{len(found)}-{time.time()}", "worker")) is not None:
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
    found = []
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
def test_only_work_that_may_start_wakes_workers(server: Server, ledger: Ledger, tmp_path: Path) -> None:
    app.conf.broker_url = f"redis+socket://{server.socket}"
    make_tree(tmp_path / "in", [10] * 40)
    jobs = [ledger.create(job_spec(tmp_path / "in", tmp_path / str(n))) for n in range(3)]
    ledger.move(jobs[0], from_=["running"], to="paused")
    steward = Steward(ledger, Settings(batch_items=1), "worker@host")
    while steward.turn():
        pass
    assert ledger.queue_length("cinemill.normal") == 80
    ledger.client.delete("cinemill.normal")
    for job in jobs[1:]:
        ledger.move(job, from_=["running"], to="paused")
    steward.turn()
    assert ledger.queue_length("cinemill.normal") == 0


# Metrics


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


# The embedded server


@pytest.mark.service
def test_a_server_keeps_its_data_and_its_directory_to_itself(tmp_path: Path) -> None:
    with Server(tmp_path / "state", tmp_path / "s") as server:
        client = connect(f"unix://{server.socket}")
        client.set("key", "value")
        with pytest.raises(errors.UsageError, match="runs here already"):
            Server(tmp_path / "state", tmp_path / "t").start()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        server.stop()
        server.start()
        assert client.get("key") == b"value"
        client.close()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


@pytest.mark.service
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_server_ends_with_its_owner(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from cinemill_workers.local.embedded import Server\n"
        "server = Server(Path(sys.argv[1]), Path(sys.argv[1]) / 's'); server.start()\n"
        "print(server.pid, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.service
@pytest.mark.usefixtures("kernels")
def test_a_lost_worker_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_archive(tmp_path / "in", 3)
    with up.Service(Settings(state_dir=tmp_path / "state")) as service:
        first = service.worker.pid
        os.kill(first, signal.SIGKILL)
        with pytest.raises(errors.CinemillError, match="ended with code -9"):
            wait_until(lambda: bool(service.keep()))  # type: ignore[func-returns-value]
        monkeypatch.setattr(up, "SHORTEST_LIFE_SECONDS", 0.0)
        service.keep()
        assert service.worker.pid != first
        ledger = open_ledger(service.settings)
        job = ledger.create(job_spec(tmp_path / "in", tmp_path / "out"))
        wait_until(lambda: ledger.job(job).over)
        assert ledger.job(job).counts["done"] == 3


@pytest.mark.parametrize("name", ["[/]", "[bold]", "\x1b[31m\n", "\udcff", "n" * 200])
def test_any_name_can_be_shown(name: str) -> None:
    console = Console(width=80, file=io.StringIO())
    job = make_job(name)
    for shown in (watch.listing([job]), watch.details(job, [])):
        console.print(shown)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert written.encode().count(job.id.encode()) == 4
    assert "\x1b" not in written


def make_job(name: str) -> Job:
    counts = dict.fromkeys(ITEM_STATES, 0)
    spec = job_spec(Path("/in"), Path("/out"), name=name)
    note = "listing stopped"
    return Job("20261126-111750-641231", spec, "paused", counts, listed=0, exhausted=False, note=note)
