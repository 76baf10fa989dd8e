"""Children import nothing from the directory in which they are started."""

from __future__ import annotations

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
