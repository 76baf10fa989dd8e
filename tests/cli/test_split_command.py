"""``cinemill split`` over files and trees."""

import json
import shutil
from pathlib import Path

import pydicom
import pytest
from click.testing import CliRunner
from pydicom.encaps import generate_frames

from cinemill.cli import app
from cinemill.errors import Cancelled
from cinemill.operations.operation import Control
from cinemill.operations.split.request import Split
from tests.support.files import bundled

CINE = bundled("examples_ybr_color.dcm")


def split(*words, code=0):
    done = CliRunner().invoke(app, ["split", *map(str, words)])
    assert done.exit_code == code, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def frames_of(path):
    read = pydicom.dcmread(path)
    return list(generate_frames(read.PixelData, number_of_frames=read.NumberOfFrames))


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "in" / "a"
    folder.mkdir(parents=True)
    for name in ("1.2.840.1", "1.2.840.2", "cine.dcm"):
        shutil.copy(CINE, folder / name)
    shutil.copy(bundled("reportsi.dcm"), folder / "report.dcm")
    (folder / "short.dcm").write_bytes(CINE.read_bytes()[:50_000])
    (folder / "notes.txt").write_text("no DICOM")
    return tmp_path / "in"


def test_a_tree_is_mirrored_with_one_receipt_an_instance(tree, tmp_path):
    out, report = tmp_path / "out", tmp_path / "r.jsonl"
    words = (tree, out, "--frames-per-instance", 20, "--jobs", 2, "--json", "--report", report)
    receipts = {Path(receipt["source"]).name: receipt for receipt in split(*words, code=1)}
    assert {name: receipt["status"] for name, receipt in receipts.items()} == {
        "1.2.840.1": "transcoded",
        "1.2.840.2": "transcoded",
        "cine.dcm": "transcoded",
        "report.dcm": "skipped",
        "short.dcm": "failed",
        "notes.txt": "ignored",
    }
    parts = sorted((out / "a").iterdir())
    assert [path.name for path in parts] == [
        f"{stem}_{number:04}.dcm" for stem in ("1.2.840.1", "1.2.840.2", "cine") for number in (1, 2)
    ]
    cine = receipts["cine.dcm"]
    assert cine["outputs"] == [str(path) for path in parts[-2:]]
    assert cine["bytes_after"] == sum(path.stat().st_size for path in parts[-2:])
    assert (cine["frames"], cine["output"]) == (30, str(out / "a"))
    reported = [json.loads(line) for line in report.read_text().splitlines()]
    assert {record["source"] for record in reported} == {receipt["source"] for receipt in receipts.values()}
    original, *copied = (frames_of(path) for path in (CINE, *parts[-2:]))
    assert [frame for part in copied for frame in part] == original

    before = {path: path.stat().st_mtime_ns for path in parts}
    again = split(*words, code=1)
    assert sum(receipt["status"] == "kept" for receipt in again) == 3
    assert {path: path.stat().st_mtime_ns for path in parts} == before


def test_names_that_would_collide_are_kept_apart(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("cine", "cine.dcm"):
        shutil.copy(CINE, tmp_path / "in" / name)
    receipts = split(tmp_path / "in", tmp_path / "out", "--frames-per-instance", 30, "--json")
    assert sorted(Path(name).relative_to(tmp_path) for each in receipts for name in each["outputs"]) == [
        Path("out/cine.dcm/cine_0001.dcm"),
        Path("out/cine_0001.dcm"),
    ]


def test_splitting_can_be_followed_and_stopped_between_parts(tmp_path):
    seen: list[tuple[int, int]] = []
    control = Control(cancelled=lambda: len(seen) == 2, progress=lambda *done: seen.append(done))
    with pytest.raises(Cancelled):
        Split(frames_per_instance=10).apply(CINE, tmp_path, control)
    assert seen == [(10, 30), (20, 30)]
    assert len(list(tmp_path.iterdir())) == 2
    receipt = Split(frames_per_instance=10).apply(CINE, tmp_path, Control())
    assert (receipt.status, len(receipt.outputs)) == ("transcoded", 3)
