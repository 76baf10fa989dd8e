"""``cinemill extract`` as a user types it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames

from tests.support import clips
from tests.support.files import bundled

CINE = bundled("examples_ybr_color.dcm")
REPORT = bundled("reportsi.dcm")


def extract(*arguments, **options):
    command = [sys.executable, "-c", "from cinemill.cli import main; main()", "extract", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


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
        (["--size", "nanx5"], 2, "can't read --size 'nanx5'"),
        (["--window", "nan,5"], 2, "--window is nan,5, expected a width of 1 or more"),
        (["--scale", "inf"], 2, "--scale is inf, expected 0.001 or more"),
        (["--every", "0"], 2, "can't read the duration '0'; expected a positive one"),
        (["--count", "31"], 1, "--count 31 is out of range; this cine has 1 to 30 frames"),
        (["--frames", "-1"], 2, "can't read the frames '-1'"),
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


def test_names_that_would_collide_are_kept_apart(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate(("a", "a.DCM", "a.dcm", "b.dcm"), 1):
        clips.write(folder / name, clips.numbered(number))
    for _ in range(2):
        done = extract(folder, tmp_path / "out", "--format", "npz", "--overwrite", "--jobs", "2")
        assert done.returncode == 0, done.stderr
    found = {str(path.relative_to(tmp_path / "out")): path for path in (tmp_path / "out").rglob("*.npz")}
    assert sorted(found) == ["a.DCM/a.npz", "a.dcm.2/a.npz", "a.npz", "b.npz"]
    assert [len(np.load(found[name])["frames"]) for name in sorted(found)] == [2, 3, 1, 4]
    done = extract(folder / "a.dcm", folder / "a.dcm", tmp_path / "twice", "--format", "npz")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "twice").rglob("a.npz"))) == 2


def test_directories_with_names_like_files(tmp_path):
    (tmp_path / "in" / "series.png").mkdir(parents=True)
    clips.write(tmp_path / "in" / "series.png" / "x.dcm", clips.numbered(2))
    done = extract(tmp_path / "in", tmp_path / "out", "--format", "npy")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out" / "series.png").iterdir())) == 2


def test_a_tree_goes_on_where_it_was_stopped(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        clips.write(folder / f"{number}.dcm", clips.numbered(4))
    command = (folder, tmp_path / "out", "--sidecar", "--json")
    assert extract(folder / "1.dcm", tmp_path / "out", "--sidecar").returncode == 0
    done = extract(*command)
    assert done.returncode == 0, done.stderr
    statuses = [json.loads(line)["status"] for line in done.stdout.splitlines()]
    assert sorted(statuses) == ["extracted", "extracted", "kept"]


def test_standard_input(tmp_path):
    with CINE.open("rb") as file:
        done = extract("-", tmp_path / "out", "--frames", "3", stdin=file)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["stdin_0003.png"]


def test_pipes_by_name_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    done = extract(tmp_path / "pipe", tmp_path / "out")
    assert done.returncode == 1
    assert "is a pipe or a device, not a file; give - as the source" in done.stderr


def test_an_index_is_kept_beside_the_source(tmp_path):
    source = tmp_path / "cine.dcm"
    shutil.copy(CINE, source)
    assert extract(source, tmp_path / "out", "--frames", "29", "--index").returncode == 0
    assert not (tmp_path / ".cine.dcm.frames").exists()  # its Basic Offset Table is enough
    whole = pydicom.dcmread(CINE)
    whole.PixelData = encapsulate(list(generate_frames(whole.PixelData, number_of_frames=30)), has_bot=False)
    whole.save_as(source)
    for _ in range(2):
        assert extract(source, tmp_path / "out", "--frames", "29", "--index", "--overwrite").returncode == 0
        assert (tmp_path / ".cine.dcm.frames").exists()


def test_one_output_for_one_instance_only(tmp_path):
    done = extract(CINE, REPORT, tmp_path / "clip.mp4")
    assert done.returncode == 2
    assert "name a directory" in done.stderr
    assert extract(tmp_path / "none.dcm", tmp_path / "out").returncode == 2
