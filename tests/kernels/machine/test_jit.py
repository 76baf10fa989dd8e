"""The kernels' cache: once per machine, whoever starts together, wherever it may be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CORE = Path(__file__).parents[3] / "core"

MODULE = """
from cinemill.kernels.machine import jit

jit.on_compile.append(lambda kernel: print("compiling", kernel, flush=True))


@jit.inlined
def twice(number):
    return 2 * number


@jit.jit("int64(int64)")
def fourfold(number):
    return twice(twice(number))


print(fourfold(3))
"""


@pytest.fixture
def start(tmp_path):
    (tmp_path / "some_kernel.py").write_text(MODULE)

    def started(**environment):
        return subprocess.Popen(
            [sys.executable, "-c", "import some_kernel"],
            env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{CORE}", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return started


def lines(process):
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return out.splitlines()


def test_processes_that_start_together_compile_once(start, tmp_path):
    together = [start(CINEMILL_CACHE_DIR=str(tmp_path / "cache")) for _ in range(3)]
    said = [lines(process) for process in together]
    assert sorted(said) == [["12"], ["12"], ["compiling some_kernel.fourfold", "12"]]


def test_the_next_process_finds_the_kernel(start, tmp_path):
    environment = {"CINEMILL_CACHE_DIR": str(tmp_path / "cache")}
    assert len(lines(start(**environment))) == 2
    assert lines(start(**environment)) == ["12"]


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [0, 100])
def test_what_a_power_cut_left_of_a_kernel_is_compiled_anew(start, tmp_path, suffix, left):
    environment = {"CINEMILL_CACHE_DIR": str(tmp_path / "cache")}
    lines(start(**environment))
    (damaged,) = tmp_path.rglob(f"some_kernel.fourfold*.{suffix}")
    damaged.write_bytes(damaged.read_bytes()[:left])
    assert lines(start(**environment)) == ["12"]
    assert lines(start(**environment)) == ["12"]
    assert damaged.stat().st_size > 100


def test_without_a_cache_directory_the_users_is_taken(start, tmp_path):
    assert lines(start(XDG_CACHE_HOME=str(tmp_path / "user"), CINEMILL_CACHE_DIR=""))[-1] == "12"
    assert list((tmp_path / "user" / "cinemill" / "kernels").rglob("*some_kernel*.nbi"))


def test_where_nothing_can_be_written_kernels_work_all_the_same(start, tmp_path):
    (tmp_path / "file").write_text("not a directory")
    assert lines(start(CINEMILL_CACHE_DIR=str(tmp_path / "file")))[-1] == "12"
