"""Structured logs."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cinemill_workers import logs
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.local.embedded import Server
from tests.support.harness import Service, wait_until


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


@pytest.mark.service
def test_all_that_a_worker_prints_is_json_lines(ledger: Ledger, server: Server, tmp_path: Path) -> None:
    environment = {**os.environ, **Service.hasty_environment(server)}
    command = [sys.executable, "-m", "cinemill_workers.cli", "worker", "--jobs", "1"]
    printed = tmp_path / "printed"
    with (
        printed.open("wb") as file,
        subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT) as worker,
    ):
        wait_until(lambda: bool(ledger.workers()))
        listed = subprocess.run(
            ["ps", "--ppid", str(worker.pid), "-o", "pid=,args="], capture_output=True, text=True, check=True
        )
        for child in listed.stdout.splitlines():
            if "steward" not in child:
                os.kill(int(child.split()[0]), signal.SIGKILL)
        wait_until(lambda: "SIGKILL" in printed.read_text())
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)
    lines = [json.loads(line) for line in printed.read_text().splitlines()]
    assert all({"time", "level"} <= line.keys() for line in lines)
    assert any("SIGKILL" in line["message"] for line in lines)


@pytest.mark.service
def test_ctrl_c_ends_a_worker_well(ledger: Ledger, server: Server) -> None:
    """A terminal's Ctrl-C reaches its children, too."""
    command = [sys.executable, "-m", "cinemill_workers.cli", "worker", "--jobs", "1"]
    environment = {**os.environ, **Service.hasty_environment(server)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as worker:
        wait_until(lambda: bool(ledger.workers()))
        os.killpg(worker.pid, signal.SIGINT)
        printed, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert all(json.loads(line)["level"] in {"info", "warning"} for line in printed.splitlines())
