"""``cinemill extract`` as a user types it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import clips
import pytest
from pydicom.data import get_testdata_file

CINE = Path(get_testdata_file("examples_ybr_color.dcm"))
REPORT = Path(get_testdata_file("reportsi.dcm"))


def extract(*arguments):
    command = [sys.executable, "-c", "from cinemill.cli import main; main()", "extract", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_one_file(tmp_path):
    done = extract(CINE, tmp_path / "out", "--frames", "0,::10", "--json", "--sidecar")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "examples_ybr_color.json",
        "examples_ybr_color_0000.png",
        "examples_ybr_color_0010.png",
        "examples_ybr_color_0020.png",
    ]


def test_a_tree_is_mirrored(tmp_path):
    (tmp_path / "in" / "a" / "b").mkdir(parents=True)
    shutil.copy(CINE, tmp_path / "in" / "a" / "b" / "cine.dcm")
    shutil.copy(REPORT, tmp_path / "in" / "report.dcm")
    (tmp_path / "in" / "notes.txt").write_text("no DICOM")
    clips.write(tmp_path / "in" / "short", clips.numbered(3))
    done = extract(
        tmp_path / "in", tmp_path / "out", "--count", "4", "--format", "jpeg", "--jobs", "2", "--json"
    )
    statuses = {Path(item["source"]).name: item for item in map(json.loads, done.stdout.splitlines())}
    assert {name: item["status"] for name, item in statuses.items()} == {
        "cine.dcm": "extracted",
        "report.dcm": "skipped",
        "notes.txt": "ignored",
        "short": "refused",
    }
    assert "1 to 3 frames" in statuses["short"]["error"]["message"]
    assert done.returncode == 1
    assert [path.name for path in sorted((tmp_path / "out" / "a" / "b").iterdir())] == [
        f"cine_{index:04}.jpg" for index in (0, 10, 19, 29)
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--frames", "99"], 1, "frame 99 is out of range; this cine has frames 0 to 29"),
        (["--frames", "x"], 2, "can't read the frames 'x'"),
        (["--format", "bmp"], 2, "unknown format 'bmp'; choose one of png"),
        (["--window", "40"], 2, "can't read the window '40'; expected e.g. 40,400"),
        (["--size", "big"], 2, "can't read --size 'big'; expected e.g. 640x480"),
        (["--stored", "--display"], 2, "exclude each other"),
        (["--region", "9"], 1, "--region 9 is out of range"),
        (["--every", "soon"], 2, "can't read the duration 'soon'"),
    ],
)
def test_errors_are_one_line(tmp_path, arguments, code, message):
    done = extract(CINE, tmp_path / "out", *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert not list(tmp_path.rglob("*.png"))


def test_one_output_for_one_instance_only(tmp_path):
    done = extract(CINE, REPORT, tmp_path / "clip.mp4")
    assert done.returncode == 2
    assert "name a directory" in done.stderr
    assert extract(tmp_path / "none.dcm", tmp_path / "out").returncode == 2
