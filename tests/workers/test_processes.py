"""Children import nothing from the directory in which they are started."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cinemill_workers import processes


def test_an_empty_part_of_the_path_is_not_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random.py").write_text("print('executed')")
    monkeypatch.setenv("PYTHONPATH", f":{tmp_path / 'elsewhere'}:")
    code = "import random, subprocess, sys; subprocess.run([sys.executable, '-c', 'import random'])"
    for start in ([sys.executable, "-P", "-c", code], processes.command("random")):
        done = subprocess.run(
            start, env=processes.environment(), cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert "executed" not in done.stdout


def test_a_request_to_stop_is_heard_whatever_the_process_does() -> None:
    code = (
        "import sys\nfrom cinemill_workers.processes import Stop\nstop = Stop()\nprint(flush=True)\n"
        "while not stop.wait(0.0001): pass\nsys.stdin.read()"  # at its end, Python hears SIGINT no more
    )
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", code],
            env=processes.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
                process.send_signal(number)
            process.stdin.close()
            assert process.wait(60) == 0


def test_a_process_whose_parent_died_first_ends_as_well() -> None:
    code = (
        "import os, signal, time\nfrom cinemill_workers.processes import die_with_parent\nparent = os.getpid()\n"
        "if not os.fork():\n"
        "    while os.getppid() == parent: time.sleep(0.001)\n"
        "    die_with_parent(signal.SIGTERM, parent)\n"
        "    print('lives', flush=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=processes.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
