"""README: every command in it runs, or it is said here why a test does not run it; every option in it is there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import cinemill
from cinemill.operations.operation import options_of
from cinemill.operations.policy.read import parse
from cinemill.operations.transcode.request import Transcode
from tests.cli.test_cli import COMMANDS
from tests.cli.test_cli import cinemill as command
from tests.support.files import REPOSITORY, bundled

TEXT = (REPOSITORY / "README.md").read_text()
CINE = bundled("examples_ybr_color.dcm")

NOT_RUN = {
    "python3 -m venv .venv && .venv/bin/pip install --quiet . && .venv/bin/cinemill demo": "installs packages; "
    "tests/cli/test_cli.py runs the demo",
    "python3 -m venv .venv && .venv/bin/pip install --quiet --editable '.[test]' && .venv/bin/pytest -n auto": "installs "
    "packages; the gate runs it",
    ". .venv/bin/activate": "needs the environment that the first one makes",
    "pip install --quiet --editable '.[video,zarr,metrics,deid,index,serve]'": "installs packages",
    "pip uninstall --yes pylibjpeg-libjpeg": "changes the environment; tests/codecs/test_licences.py does without it",
    "cinemill up": "stays up; tests/workers/local starts it",
    "cinemill serve /archive/2019": "stays up; tests/serve starts it",
    "cinemill submit /archive /migrated --to jpeg-ls --name spring && cinemill jobs watch": "needs the service; "
    "tests/workers/cli runs both",
    **dict.fromkeys(
        (
            "cinemill nodes test pacs",
            "cinemill migrate pacs --query StudyDate=20190101-20191231,ModalitiesInStudy=US --to jpeg-ls --report 2019.jsonl",
            "cinemill migrate pacs --status",
        ),
        "needs a node; tests/cli/test_migrate_command.py and test_exchange_commands.py run them",
    ),
}
"""Commands that this test does not run, each with its reason."""

MAY_EXIT_WITH_1 = {"--compare": "a machine that does other things too is slower at times"}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def commands():
    """Each line of the shell blocks, without its comment."""
    lines = (line for block in blocks("sh") for line in block.splitlines())
    return [re.sub(r"\s+# .*", "", line) for line in lines]


def test_what_is_not_run_stands_in_the_readme():
    assert set(NOT_RUN) <= set(commands())
    assert len(commands()) - len(NOT_RUN) >= 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A place that has what the examples name, and the command on the path."""
    here = tmp_path_factory.mktemp("readme")
    for part in (here / "archive" / "2019", here / "my_cines", here / "bin"):
        part.mkdir(parents=True)
    cinemill.split(CINE, here / "archive" / "2019", frames_per_instance=15)
    (here / "stress_echo.dcm").write_bytes(CINE.read_bytes())
    (here / "my_cines" / "small.dcm").write_bytes(bundled("CT_small.dcm").read_bytes())
    program = here / "bin" / "cinemill"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cinemill_workers.cli "$@"\n')
    program.chmod(0o755)
    return here


def test_every_other_command_runs(folder):
    environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    for line in (line for line in commands() if line not in NOT_RUN):
        here = re.sub(r"(?<![\w/])/(?=archive|dataset|migrated)", f"{folder}/", line)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", here],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        codes = {0, *(1 for option in MAY_EXIT_WITH_1 if option in line)}
        assert done.returncode in codes, f"{line}\n{done.stderr}"
    assert len((folder / "2019.jsonl").read_text().splitlines()) == 2
    assert len(list((folder / "frames").iterdir())) == 13
    assert (folder / "frames" / "stress_echo_0005.png").exists()
    assert (folder / "clip.mp4").stat().st_size
    assert list((folder / "dataset").rglob("*.json"))
    assert json.loads((folder / "before.json").read_text())["benchmarks"]


def test_the_python_in_it_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert isinstance(names["receipt"], cinemill.Receipt)
    assert names["receipt"].status == "transcoded"
    assert isinstance(names["picture"], np.ndarray)
    assert len(list(Path("arrays").glob("*.npy"))) == 15


def test_the_queries_in_it_run(tmp_path, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    monkeypatch.chdir(tmp_path)
    Path("archive").mkdir()
    for number in range(3):
        shutil.copy(CINE, f"archive/{number}.dcm")
        shutil.copy(bundled("examples_rgb_color.dcm"), f"archive/{number}")
    cinemill.index("archive", "2019.parquet", jobs=1)
    queries = [query for query in blocks("sql") if "'2019.parquet'" in query]
    vendors, rates, studies = (duckdb.sql(query).fetchall() for query in queries)
    assert vendors == [("SonoSite, Inc.", 3, 3)]
    assert [(rate, cines) for rate, cines, _ in rates] == [(30.0, 3)]
    assert [images for _, _, images in studies] == [3]


def test_the_policy_in_it_is_one():
    (text,) = blocks("toml")
    assert [rule.wanted is None for rule in parse(text).rules] == [True, False, False]


def inline():
    """The ``cinemill …`` in code spans and blocks: words of the command, options."""
    spans = re.findall(
        r"`(?:[^`]*\| )?(cinemill [a-z][^`]*)`",
        re.sub(r"^```.*?^```", "", TEXT, flags=re.MULTILINE | re.DOTALL),
    )
    return sorted(
        {span.replace("\\|", "|") for span in (*spans, *commands()) if span.startswith("cinemill ")}
    )


@cache
def help_of(*words):
    return command(*words, "--help").stdout


@pytest.mark.parametrize("span", inline())
def test_commands_and_options_that_it_names_are_there(span):
    for each in span.split(" && "):
        _, name, *words = each.split()
        assert name in COMMANDS
        part = [word.strip("[]") for word in words[:1] if name == "jobs" and not word.startswith("-")]
        text = help_of(name, *part)
        missing = [word for word in re.findall(r"--[a-z-]+", each) if word not in text]
        assert not missing, text


def test_the_options_of_transcode_stand_in_its_table():
    table = TEXT[TEXT.index("| option | meaning |") : TEXT.index("| status | meaning |")]
    told = {name.removeprefix("--").removeprefix("no-") for name in re.findall(r"--[a-z-]+", table)}
    assert {name.replace("_", "-") for name in options_of(Transcode)} <= told


def test_what_the_demo_leaves_in_a_clone_is_ignored_by_git():
    assert "/cinemill-demo/" in (REPOSITORY / ".gitignore").read_text().splitlines()
