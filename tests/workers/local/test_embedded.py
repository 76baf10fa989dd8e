"""The private server of one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from celery import Celery

from cinemill import errors
from cinemill_workers.engine.client import open_ledger
from cinemill_workers.ledger.connection import connect
from cinemill_workers.local.embedded import Server
from cinemill_workers.settings import Settings


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
