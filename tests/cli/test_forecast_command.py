"""``cinemill forecast`` as a user types it: table, JSON, page, wrong usage, and Ctrl-C."""

import json
import shutil
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from cinemill.cli import app
from tests.support.files import bundled
from tests.support.harness import write_archive

INTERRUPTED = """
import os, signal
from cinemill.cli import main
from cinemill.operations.forecast.sampling import Sampler
added, add = [], Sampler.add
def and_then(self, receipt):
    add(self, receipt)
    added.append(1)
    if len(added) == 3:
        os.kill(os.getpid(), signal.SIGINT)
Sampler.add = and_then
main()
"""
"""A run that is interrupted once three instances were tried."""


def run(*words, code=0):
    done = CliRunner().invoke(app, ["forecast", *map(str, words)])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "in"
    write_archive(folder, 6, frames=2)
    for name in ("examples_ybr_color.dcm", "rtdose.dcm"):
        shutil.copy(bundled(name), folder / name)
    return folder


def test_a_table_a_page_and_json_tell_the_same_and_nothing_else_is_written(tree, tmp_path):
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    words = (
        tree,
        "--to",
        "jpeg-ls",
        "--jobs",
        2,
        "--workers",
        8,
        "--price",
        100,
        "--html",
        tmp_path / "page.html",
    )
    told = json.loads(run(*words, "--json").stdout)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before | {tmp_path / "page.html"}
    assert told["files"]["found"] == told["total"]["instances"] == 8
    assert told["total"]["refused"]["instances"] == 1
    assert told["total"]["hours_on_workers"] <= told["total"]["hours_here"]
    shown = run(*words).stdout
    assert "8 files" in shown
    assert "keep everything" in shown
    assert "refused or failed: about 1" in shown
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "keep everything" in html
    assert told["refused"][0]["reason"].split(";")[0][:20] in html


def test_a_narrow_terminal_cuts_off_no_number(tree, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    lines = click.unstyle(run(tree, "--to", "jpeg-ls", "--jobs", 2).stdout).splitlines()
    (first,) = [number for number, line in enumerate(lines) if line.startswith("kind of instance")]
    (last,) = [number for number, line in enumerate(lines) if line.startswith("all ")]
    table = lines[first : last + 1]
    assert set(map(len, table)) == {80}
    assert not [line for line in table if "…" in line]
    assert table[0].endswith("instances  MB now  MB after    ±  ratio")


def test_a_page_among_the_sources_is_refused(tree):
    done = CliRunner().invoke(app, ["forecast", str(tree), "--html", str(tree / "page.html")])
    assert done.exit_code != 0
    assert "among, the sources" in str(done.exception)
    assert not (tree / "page.html").exists()


def test_sources_that_are_not_there_are_an_error(tmp_path):
    done = CliRunner().invoke(app, ["forecast", str(tmp_path / "nowhere")])
    assert "no such file or directory" in str(done.exception)


@pytest.mark.parametrize(
    "words", [("--to", "jpeg-42"), ("--within", "0"), ("--sample", "0"), ("--price", "-1")]
)
def test_wrong_usage_is_told(tree, words):
    assert CliRunner().invoke(app, ["forecast", str(tree), *words]).exit_code != 0


def test_ctrl_c_tells_what_is_known(tmp_path):
    write_archive(tmp_path / "in", 40, frames=2)
    words = ("forecast", tmp_path / "in", "--json", "--jobs", "1")
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130, done.stderr
    assert "stopped" in done.stderr
    sample = json.loads(done.stdout)["sample"]
    assert sample["stopped"] == "interrupted"
    assert 3 <= sample["instances"] < 40
