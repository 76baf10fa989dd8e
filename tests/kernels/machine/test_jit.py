"""The kernels' cache: once per machine, whoever starts together, wherever it may be written."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cinemill.kernels.machine import jit

CORE = Path(__file__).parents[3] / "core"
KERNELS = CORE / "cinemill" / "kernels"


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

    def started(code="import some_kernel", **environment):
        return subprocess.Popen(
            [sys.executable, "-c", code],
            env={
                **os.environ,
                "PYTHONPATH": f"{tmp_path}{os.pathsep}{CORE}",
                "TMPDIR": str(tmp_path),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return started


def lines(process):
    out, error = process.communicate(timeout=600)
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


@pytest.mark.parametrize("left", [0, 100])
def test_what_a_power_cut_left_of_a_kernel_is_compiled_anew(start, tmp_path, left):
    environment = {"CINEMILL_CACHE_DIR": str(tmp_path / "cache")}
    lines(start(**environment))
    (damaged,) = tmp_path.rglob("fourfold.code")
    damaged.write_bytes(damaged.read_bytes()[:left])
    assert lines(start(**environment)) == ["12"]
    assert lines(start(**environment)) == ["12"]
    assert damaged.stat().st_size > 100


def test_without_a_cache_directory_the_users_is_taken(start, tmp_path):
    assert lines(start(XDG_CACHE_HOME=str(tmp_path / "user"), CINEMILL_CACHE_DIR=""))[-1] == "12"
    assert list((tmp_path / "user" / "cinemill" / "kernels").rglob("some_kernel*/*.code"))


def test_where_nothing_can_be_written_kernels_work_all_the_same(start, tmp_path):
    (tmp_path / "file").write_text("not a directory")
    assert lines(start(CINEMILL_CACHE_DIR=str(tmp_path / "file")))[-1] == "12"


def test_a_read_only_cache_is_read_where_it_is_and_copied_where_something_is_compiled(start, tmp_path):
    environment = {"CINEMILL_CACHE_DIR": str(tmp_path / "cache")}
    lines(start(**environment))
    read_only = """
import tempfile

def refused(**_):
    raise OSError("read-only file system")

tempfile.TemporaryFile = refused
import some_kernel
"""
    assert lines(start(read_only, **environment)) == ["12"]
    assert not list(tmp_path.glob("cinemill-kernels-*"))
    (warm,) = (tmp_path / "cache").rglob("fourfold.code")
    warm.unlink()
    assert lines(start(read_only, **environment)) == ["12"]
    assert list(tmp_path.glob("cinemill-kernels-*/*/some_kernel-*/*.code"))


def test_who_can_write_no_cache_compiles_once(start, tmp_path):
    (tmp_path / "file").write_text("not a directory")
    environment = {"CINEMILL_CACHE_DIR": str(tmp_path / "file")}
    together = [start(**environment) for _ in range(2)]
    assert sorted(lines(process) for process in together) == [
        ["12"],
        ["compiling some_kernel.fourfold", "12"],
    ]
    assert lines(start(**environment)) == ["12"]
    (place,) = tmp_path.glob("cinemill-kernels-*")
    assert place.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("taken", ["a file", "open to all", "a link"])
def test_what_somebody_else_may_have_put_among_temporary_files_is_not_run(start, tmp_path, taken):
    (tmp_path / "file").write_text("not a directory")
    environment = {"CINEMILL_CACHE_DIR": str(tmp_path / "file")}
    lines(start(**environment))
    (place,) = tmp_path.glob("cinemill-kernels-*")
    if taken == "open to all":
        place.chmod(0o777)
    else:
        place.rename(tmp_path / "other")
        if taken == "a link":
            place.symlink_to(tmp_path / "other")
        else:
            place.write_text("no kernels")
    assert lines(start(**environment)) == ["compiling some_kernel.fourfold", "12"]
    assert list(tmp_path.glob("cinemill-kernels-*")) == [place]


KERNEL = """
from cinemill.kernels.{imported} import FACTOR
from cinemill.kernels.machine import jit

jit.on_compile.append(lambda kernel: print("compiling", kernel, flush=True))


@jit.jit("int64(int64)")
def multiple(number):
    return FACTOR * number


print(multiple(3))
"""


@pytest.fixture
def package(tmp_path):
    """Kernels `mine`, which imports `middle`, which imports `last` in a function, and `unrelated`."""
    kernels = tmp_path / "cinemill" / "kernels"
    shutil.copytree(KERNELS / "machine", kernels / "machine")
    for ground in ("processes.py", "locks.py"):
        shutil.copy(KERNELS.parent / ground, kernels.parent)
    for folder in (kernels, kernels.parent):
        (folder / "__init__.py").touch()
    (kernels / "mine.py").write_text(KERNEL.format(imported="middle"))
    (kernels / "middle.py").write_text(
        "def factor():\n    from cinemill.kernels import last\n\n    return last.FACTOR\n\n\nFACTOR = factor()\n"
    )
    (kernels / "last.py").write_text("FACTOR = 2\n")
    (kernels / "unrelated.py").write_text("FACTOR = 2\n")
    (tmp_path / "outside.py").write_text(KERNEL.format(imported="middle"))
    return kernels


@pytest.fixture
def imported(package, tmp_path):
    def said(module):
        environment = {
            "PYTHONPATH": str(tmp_path),
            "CINEMILL_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONDONTWRITEBYTECODE": "1",  # a change of the same size in the same second is not seen otherwise
        }
        run = subprocess.run(
            [sys.executable, "-c", f"import {module}"],
            env={**os.environ, **environment},
            capture_output=True,
            check=False,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout.splitlines()

    return said


@pytest.mark.parametrize("module", ["cinemill.kernels.mine", "outside"])
def test_a_change_in_what_a_kernel_imports_through_others_compiles_it_anew(package, imported, module):
    assert imported(module) == [f"compiling {module}.multiple", "6"]
    (package / "last.py").write_text("FACTOR = 3\n")
    assert imported(module) == [f"compiling {module}.multiple", "9"]


def test_a_change_in_a_kernels_own_module_compiles_it_anew(package, imported):
    imported("cinemill.kernels.mine")
    with (package / "mine.py").open("a") as file:
        file.write("print(multiple(1))\n")
    assert imported("cinemill.kernels.mine") == ["compiling cinemill.kernels.mine.multiple", "6", "2"]


def test_a_comment_in_an_unrelated_kernel_compiles_nothing(package, imported):
    imported("cinemill.kernels.mine")
    with (package / "unrelated.py").open("a") as file:
        file.write("# a comment\n")
    assert imported("cinemill.kernels.mine") == ["6"]


def test_every_import_of_a_kernel_module_counts_for_its_hash():
    for source in KERNELS.rglob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, source
                names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        files = {CORE / Path(*name.split(".")).with_suffix(".py") for name in names}
        expected = {file for file in files if file.is_relative_to(KERNELS) and file.is_file()}
        assert set(jit.imported_kernels(source)) == expected, source
