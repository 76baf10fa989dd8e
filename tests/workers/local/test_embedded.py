"""The private server of one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from cinemill import errors
from cinemill.locks import claim
from cinemill_workers.engine.client import open_ledger
from cinemill_workers.ledger.connection import connect
from cinemill_workers.local import embedded
from cinemill_workers.local.embedded import Server, last_line, make_private, open_log, stored_ledger
from cinemill_workers.settings import Settings
from tests.support.harness import job_spec, wait_until


@pytest.mark.service
def test_any_state_directory_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = Settings(state_dir=Path("my state%41?#ü"))
    with Server(chosen.state_dir, chosen.socket_path):
        assert open_ledger(chosen).jobs() == []
        with Celery(broker=chosen.celery_url).connection() as connection:
            connection.ensure_connection(max_retries=1)
    assert (tmp_path / "my state%41?#ü" / "lock").exists()


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
def test_a_state_directory_that_others_could_read_is_tightened(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Server(state, tmp_path / "s") as server:
        connect(f"unix://{server.socket}").set("key", "value")
    for name in ("worker.log", "worker.log.1", "temp-rewriteaof-7.aof", "dump.rdb"):
        (state / name).touch()
    (state / "notes.txt").touch()
    for path in (state, *state.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with Server(state, tmp_path / "s") as server:
        assert connect(f"unix://{server.socket}").get("key") == b"value"
        modes = {path.name: path.stat().st_mode & 0o777 for path in (state, *state.rglob("*"))}
    assert modes.pop("notes.txt") == 0o644
    assert {name for name in modes if name.startswith("appendonly.aof")}
    assert modes.pop("appendonlydir") == modes.pop("state") == 0o700
    assert set(modes.values()) == {0o600}


def test_a_directory_of_all_users_is_no_state_directory(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(errors.UsageError, match="shared by all users"):
        make_private(shared)
    assert shared.stat().st_mode & 0o7777 == 0o1777


@pytest.mark.service
def test_what_a_stopped_server_holds_can_be_read(tmp_path: Path) -> None:
    chosen = Settings(state_dir=tmp_path / "state")
    with Server(chosen.state_dir, chosen.socket_path):
        job = open_ledger(chosen).create(job_spec(Path("/in"), Path("/out")))
    for _ in range(2):
        with stored_ledger(chosen) as ledger:
            assert ledger.find("").id == job
    with (
        pytest.raises(errors.CinemillError, match="start `cinemill up`"),
        stored_ledger(Settings(state_dir=tmp_path / "nothing")),
    ):
        pass
    assert not (tmp_path / "nothing").exists()


@pytest.mark.service
def test_who_reads_and_who_starts_wait_for_each_other(tmp_path: Path) -> None:
    chosen = Settings(state_dir=tmp_path / "state")
    with Server(chosen.state_dir, chosen.socket_path):
        job = open_ledger(chosen).create(job_spec(Path("/in"), Path("/out")))

    def read(_: int) -> str:
        with stored_ledger(chosen) as ledger:
            time.sleep(0.1)
            return ledger.find("").id

    with ThreadPoolExecutor(4) as others:
        with stored_ledger(chosen):
            begun = others.submit(Server(chosen.state_dir, chosen.socket_path).__enter__)
            time.sleep(0.3)
            assert not begun.done()
        server = begun.result()
        found = others.map(read, range(3))
        server.stop()
        assert set(found) == {job}


@pytest.mark.service
def test_who_waited_long_for_a_server_to_stop_has_patience_with_who_starts_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Settings(state_dir=tmp_path / "state")
    with Server(chosen.state_dir, chosen.socket_path):
        job = open_ledger(chosen).create(job_spec(Path("/in"), Path("/out")))
    another, waited = (chosen.state_dir / "lock").open("rb"), 0.0
    assert claim(another)

    def join(chosen: Settings, join: Any = embedded._join_readers) -> ExitStack:
        nonlocal waited
        waited += 2 * embedded.PATIENCE_SECONDS
        return join(chosen)

    def sleep(seconds: float) -> None:
        another.close()
        time.sleep(seconds)

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + waited, sleep=sleep)
    monkeypatch.setattr(embedded, "_join_readers", join)
    monkeypatch.setattr(embedded, "time", clock)
    with another, stored_ledger(chosen) as ledger:
        assert ledger.find("").id == job


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
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


@pytest.mark.parametrize("name", ["lock", "readers", "server.log", "worker.log", "appendonly.aof.manifest"])
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_stands_in_the_place_of_a_state_file_is_neither_waited_for_nor_followed(
    tmp_path: Path, name: str, kind: str
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    if kind == "pipe":
        os.mkfifo(state / name)
    else:
        (tmp_path / "precious").write_text("precious")
        (state / name).symlink_to(tmp_path / "precious")
    with pytest.raises(errors.UsageError, match="not a regular file"):
        Server(state, tmp_path / "s").start()
    assert kind == "pipe" or (tmp_path / "precious").read_text() == "precious"


def test_a_log_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "worker.log")
    with pytest.raises(OSError, match="No such device"):
        open_log(tmp_path / "worker.log")
    assert last_line(tmp_path / "worker.log") == ""
