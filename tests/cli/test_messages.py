"""What commands say when there is little to do, or nothing: each thing once, and in the words of what was done."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from click.testing import CliRunner, Result

from cinemill.cli import app
from cinemill.cli.dataset import _show
from cinemill.cli.tally import Tally
from cinemill.codecs.compiling import kernels_wanted
from cinemill.errors import UsageError
from cinemill.operations.dataset.making import Outcome
from cinemill.operations.receipt import Receipt
from tests.support.files import bundled
from tests.support.harness import write_archive

CINE = bundled("examples_ybr_color.dcm")


def run(*words: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


@pytest.mark.parametrize(
    "words", [("transcode",), ("extract",), ("split", "--max-bytes", "9"), ("restore",), ("verify",)]
)
def test_that_there_is_no_file_is_said(tmp_path, words):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    done = run(*words, tmp_path / "in", tmp_path / "out")
    assert done.output == f"there is no file below {tmp_path / 'in'}; nothing was done\n"
    assert run(*words, "--quiet", tmp_path / "in", tmp_path / "out").output == ""


@pytest.mark.parametrize(
    ("words", "last"),
    [(("transcode", CINE), "DST"), (("push", CINE), "NODE")],
    ids=["an output", "a node"],
)
def test_one_path_where_two_belong_is_explained(words, last):
    done = run(*words, code=2)
    assert f"'SRC...'. {last} is the last argument, and stands behind what is read." in done.stderr
    assert run("inspect", code=2).stderr.endswith("Missing argument 'SRC...'.\n")
    assert run("index", CINE, code=2).stderr.endswith("Missing option '-o' / '--output'.\n")


@pytest.mark.parametrize("sources", [1, 2], ids=["a directory", "several files"])
def test_a_file_is_no_destination_of_several(tmp_path, sources):
    write_archive(tmp_path / "in", 2, frames=1)
    named = [tmp_path / "in"] if sources == 1 else sorted((tmp_path / "in").rglob("*.dcm"))
    (tmp_path / "out.dcm").write_bytes(b"there")
    done = CliRunner().invoke(app, ["transcode", *map(str, named), str(tmp_path / "out.dcm")])
    assert isinstance(done.exception, UsageError)
    assert "must be a directory; this is a file" in str(done.exception)
    assert (tmp_path / "out.dcm").read_bytes() == b"there"


def test_that_a_named_file_is_not_dicom_is_said_once(tmp_path):
    (tmp_path / "notes.txt").write_text("notes")
    done = run("transcode", tmp_path / "notes.txt", tmp_path / "out.dcm", code=1)
    assert len(done.output.splitlines()) == 1
    assert "not a DICOM file" in done.output


def test_what_is_cut_or_restored_is_called_so(tmp_path):
    assert run("split", CINE, tmp_path / "parts", "--frames-per-instance", 10).output.startswith("split ")
    run("transcode", CINE, tmp_path / "small.dcm", "--to", "jpeg-xl-jpeg")
    done = run("restore", tmp_path / "small.dcm", tmp_path / "again.dcm")
    assert done.output.startswith("restored ")


def test_what_a_data_set_holds_is_counted(capsys):
    counts = {"train": 1, "validation": 0, "test": 2}
    failed = {"NotDicom": 2, "DamagedFile": 1, "Refused": 1}
    outcome = Outcome(
        "made", 4, counts, counts, {"a still": 1}, failed, duplicates=1, without_fan=1, problems=()
    )
    _show(outcome, Path("clips"))
    assert capsys.readouterr().err.splitlines() == [
        "made: clips: 3 clips of 4 files",
        "  train: 1 clip, 1 patient",
        "  validation: 0 clips, 0 patients",
        "  test: 2 clips, 2 patients",
        "  1 skipped: a still",
        "  2 skipped: not DICOM",
        "  2 skipped: can't be read",
        "  1 clip left out: of instances that are there already",
        "  1 clip in which no fan was found",
    ]


def test_a_table_sums_what_stands_above_the_sum(capsys):
    tally = Tally(())
    tally.add(Receipt("a", "b", "failed", bytes_before=9, error={"kind": "x", "frame": None, "message": "y"}))
    for status in ("transcoded", "copied"):
        tally.add(Receipt("a", "b", status, bytes_before=8, bytes_after=4))
    tally.show()
    shown = capsys.readouterr().err
    rows = [line.split("  ")[0].strip() for line in shown.splitlines()]
    assert rows[rows.index("status") + 1 :][:4] == ["transcoded", "copied", "all of these", "failed"]
    assert "MB/s" not in shown


def test_a_forecast_that_can_not_write_its_page_is_told_all_the_same(tmp_path):
    write_archive(tmp_path / "in", 1, frames=1)
    (tmp_path / "file").touch()
    words = ("forecast", tmp_path / "in", "--to", "rle", "--html", tmp_path / "file" / "page.html")
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 1
    assert done.stdout.startswith("1 file, ")
    assert "all " in done.stdout


def test_a_forecast_of_nothing_is_a_few_lines(tmp_path):
    (tmp_path / "notes.txt").write_text("notes")
    lines = run("forecast", tmp_path).output.splitlines()
    assert lines[0].startswith("1 file, ")
    assert lines[1].startswith("not DICOM: 1 file, ")
    assert lines[-1] == "There is no image to decide on."
    assert len(lines) < 6


def test_an_element_that_is_absent_is_called_by_its_name(tmp_path):
    dataset = pydicom.dcmread(CINE)
    del dataset.Rows
    dataset.save_as(tmp_path / "in.dcm")
    done = run("transcode", tmp_path / "in.dcm", tmp_path / "out.dcm", code=1)
    assert "Rows (0028,0010) is absent" in done.output


def test_american_spelling_is_understood(tmp_path):
    run("transcode", CINE, tmp_path / "a.dcm", "--to", "rle", "--color", "keep", "--collapse-gray")


@pytest.mark.parametrize(
    ("name", "number"),
    [("examples_ybr_color.dcm", "31"), ("examples_jpeg2k.dcm", "99"), ("examples_ybr_color.dcm", "0")],
    ids=["more than the samples", "more than the fragments", "none"],
)
def test_which_command_corrects_the_number_of_frames(tmp_path, name, number):
    """Extract and split have no such option themselves."""
    source, repaired = tmp_path / "in.dcm", tmp_path / "repaired.dcm"
    dataset = pydicom.dcmread(bundled(name))
    dataset.NumberOfFrames = number
    dataset.save_as(source)
    for words in (("extract", "--format", "npy"), ("split", "--frames-per-instance", 2)):
        assert "; transcode --repair " in run(*words, source, tmp_path / words[0], code=1).output
    run("transcode", "--repair", "--to", "explicit", source, repaired)
    run("extract", "--format", "npy", repaired, tmp_path / "extracted")


@pytest.mark.parametrize(
    "words", [("extract", "--format", "npy"), ("split", "--max-bytes", "9"), ("restore",), ("dataset",)]
)
def test_which_command_leaves_out_what_is_behind_the_pixel_data(tmp_path, words):
    (tmp_path / "in.dcm").write_bytes(CINE.read_bytes() + b"\xff" * 99)
    done = run(*words, tmp_path / "in.dcm", tmp_path / "out", code=1)
    assert "; transcode --repair leaves them out" in done.output


def test_a_misspelled_choice_of_kernels_is_told_once_and_nothing_is_done(tmp_path, monkeypatch):
    monkeypatch.setenv("CINEMILL_KERNELS", "misspelled")
    words = "transcode", str(CINE.parent), str(tmp_path / "out")
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, UsageError)
    assert str(done.exception) == "CINEMILL_KERNELS: expected portable, or nothing, found misspelled"
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="found misspelled"):
        kernels_wanted()
    monkeypatch.setattr("sys.argv", ["cinemill", "transcode", "--help"])
    assert "Usage: " in run("transcode", "--help").output
