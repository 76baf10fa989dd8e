"""``cinemill index`` as a user types it: what it says, JSON, exit codes, and wrong usage."""

import json
import shutil

import pytest
from click.testing import CliRunner

from cinemill.cli import app
from cinemill.errors import NotPermitted
from cinemill.operations.index import read
from tests.support.files import bundled


def run(*words, code=0):
    done = CliRunner().invoke(app, ["index", *map(str, words)])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("examples_ybr_color.dcm", "CT_small.dcm"):
        shutil.copy(bundled(name), folder)
    (folder / "notes.txt").write_text("no instance")
    (folder / "broken.dcm").write_bytes(bundled("CT_small.dcm").read_bytes()[:-2000])
    return folder


def test_it_tells_what_there_is_and_what_was_written(tree, tmp_path):
    told = run(tree, "-o", tmp_path / "x.parquet").stdout.splitlines()
    assert told[0] == "3 instances of 2 studies and 2 patients"
    assert told[1].startswith("3 headers read in ")
    assert told[2:4] == ["not DICOM: 1 file", "can't be read: 1 file, DamagedFile"]
    assert [line.split()[1].strip(",") for line in told[4:]] == [
        str(tmp_path / name)
        for name in ("x.parquet", "x.regions.parquet", "x.measurements.parquet", "x.findings.parquet")
    ]
    again = run(tree, "-o", tmp_path / "x.parquet").stdout.splitlines()
    assert "; rows that were there: 2, that went: 0" in again[1]


def test_json_holds_the_same(tree, tmp_path):
    told = json.loads(run(tree, "-o", tmp_path / "x.sqlite", "--json").stdout)
    assert (told["instances"], told["not_dicom"], told["errors"]) == (3, 1, {"DamagedFile": 1})
    assert told["complete"]
    assert told["outputs"] == {str(tmp_path / "x.sqlite"): (tmp_path / "x.sqlite").stat().st_size}


def test_quiet_says_nothing(tree, tmp_path):
    assert run(tree, "-o", tmp_path / "x.csv", "--quiet").output == ""


def test_what_the_system_does_not_let_be_read_is_exit_code_1(tree, tmp_path, monkeypatch):
    class Closed:
        def __init__(self, path):
            raise NotPermitted("can't be read: Permission denied; let this user read it", path=path)

    monkeypatch.setattr(read, "HeaderOnly", Closed)
    told = run(tree, "-o", tmp_path / "x.sqlite", code=1).stdout
    assert "can't be read: 4 files, NotPermitted" in told
    monkeypatch.undo()
    assert "3 headers read" in run(tree, "-o", tmp_path / "x.sqlite").stdout


def test_a_link_to_a_directory_outside_is_named_as_one(tree, tmp_path):
    (tmp_path / "away").mkdir()
    (tree / "link").symlink_to(tmp_path / "away")
    told = run(tree, "-o", tmp_path / "x.sqlite", code=1).stderr
    assert told.startswith(f"failed: {tree / 'link'}: is a link to a directory, which is not followed; name")


@pytest.mark.parametrize("words", [(), ("-o", "x.txt"), ("-o", "in/x.csv")])
def test_wrong_usage_is_exit_code_2(tree, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["index", "in", *words])
    assert 2 in {done.exit_code, getattr(done.exception, "exit_code", None)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
