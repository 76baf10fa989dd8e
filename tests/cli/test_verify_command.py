"""``cinemill verify`` over files and trees: what is missing, too much, renamed, or no DICOM."""

import csv
import json
import os
import shutil

import pydicom
import pytest
from click.testing import CliRunner

import cinemill
from cinemill.cli import app
from cinemill.errors import MissingOutput, NotPermitted, VerificationError
from cinemill.operations.verify.request import Verify
from tests.support.files import bundled

CINE = bundled("examples_ybr_color.dcm")


def run(*words, code=0):
    done = CliRunner().invoke(app, ["verify", *map(str, words)])
    assert done.exit_code == code, done.output
    return done


def receipts(*words, code=0):
    done = run(*words, "--json", "--jobs", 2, code=code)
    return [json.loads(line) for line in done.stdout.splitlines()]


def kinds(found, tree):
    """Status and kind of error by the path below a tree."""
    return {
        os.path.relpath(each["source"] or each["output"], tree): (
            each["status"],
            (each["error"] or {}).get("kind"),
        )
        for each in found
    }


@pytest.fixture
def trees(tmp_path):
    """A tree of instances, and its outputs in RLE."""
    source, output = tmp_path / "in", tmp_path / "out"
    (source / "a" / "b").mkdir(parents=True)
    for place, name in (
        ("a/ct.dcm", "CT_small.dcm"),
        ("a/b/mr", "MR_small.dcm"),
        ("a/b/rgb.dcm", "SC_rgb_jpeg_dcmtk.dcm"),
        ("report.dcm", "reportsi.dcm"),
    ):
        shutil.copy(bundled(name), source / place)
    for path in source.rglob("*"):
        if path.is_file():
            cinemill.transcode(path, output / path.relative_to(source), to="rle")
    return source, output


def test_a_whole_tree_is_verified_and_nothing_is_written(trees, tmp_path):
    source, output = trees
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    found = receipts(source, output)
    assert set(kinds(found, source).values()) == {("verified", None)}
    assert len(found) == 4
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    shown = run(source, output)
    assert "verified" in shown.stderr
    assert "failed" not in shown.stderr


def test_what_is_missing_too_much_or_different_is_told_and_counted(trees, tmp_path):
    source, output = trees
    (output / "a" / "ct.dcm").unlink()
    shutil.copy(bundled("MR_small_RLE.dcm"), output / "a" / "more.dcm")
    read = pydicom.dcmread(output / "a" / "b" / "mr")
    read.PatientID = "other"
    read.save_as(output / "a" / "b" / "mr")
    found = receipts(source, output, code=1)
    assert kinds(found, source) == {
        "a/ct.dcm": ("failed", "MissingOutput"),
        "../out/a/more.dcm": ("failed", "ExtraOutput"),
        "a/b/mr": ("failed", "VerificationError"),
        "a/b/rgb.dcm": ("verified", None),
        "report.dcm": ("verified", None),
    }
    report = tmp_path / "proof.csv"
    shown = run(source, output, "--report", report, code=1)
    with report.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 5
    table = [line.split()[:2] for line in shown.stderr.splitlines()]
    for row in (["verified", "2"], ["failed", "1"], ["missing", "1"], ["extra", "1"]):
        assert row in table
    assert f"extra: {output / 'a' / 'more.dcm'}: no source has this path" in shown.stderr.replace("\n", "")


def test_outputs_of_other_names_are_found_by_their_instance(trees):
    source, output = trees
    (output / "flat").mkdir()
    for number, path in enumerate(sorted(path for path in output.rglob("*") if path.is_file())):
        path.rename(output / "flat" / f"IM{number:05}")
    found = receipts(source, output)
    assert {each["status"] for each in found} == {"verified"}
    assert all("/flat/IM" in each["output"] for each in found)


def test_what_is_no_dicom_has_to_be_the_same_bytes_if_it_is_there(trees):
    source, output = trees
    for tree in trees:
        (tree / "notes.txt").write_text("the same")
    (source / "absent.txt").write_text("not copied")
    (output / "report.jsonl").write_text("{}")
    found = kinds(receipts(source, output), source)
    assert found["notes.txt"] == ("verified", None)
    assert found["absent.txt"] == ("ignored", "NotDicom")
    assert found["../out/report.jsonl"] == ("ignored", "NotDicom")
    (output / "notes.txt").write_text("the sane")
    assert kinds(receipts(source, output, code=1), source)["notes.txt"] == ("failed", "VerificationError")


@pytest.mark.parametrize("sop_class", [b"1.2.840.10008.1.3.10", b"1.2.840.10008.1.3.19"])
def test_a_dicomdir_is_told_and_not_compared(trees, sop_class):
    source, output = trees
    directory = bundled("DICOMDIR").read_bytes().replace(b"1.2.840.10008.1.3.10", sop_class)
    (source / "DICOMDIR").write_bytes(directory)
    found = {each["source"]: each for each in receipts(source, output)}
    left_out = found[str(source / "DICOMDIR")]
    assert left_out["status"] == "skipped"
    assert "a DICOMDIR without output" in left_out["warnings"][0]
    (output / "DICOMDIR").write_bytes(directory + b"\0\0")
    assert [each["status"] for each in receipts(source, output)].count("skipped") == 1
    (source / "DICOMDIR").unlink()
    found = {each["output"]: each["status"] for each in receipts(source, output)}
    assert found[str(output / "DICOMDIR")] == "skipped"


def test_a_truncated_or_empty_output_is_a_failure_with_its_path(trees):
    source, output = trees
    for name, size in (("a/ct.dcm", 10_000), ("a/b/rgb.dcm", 0)):
        with (output / name).open("r+b") as file:
            file.truncate(size)
    found = kinds(receipts(source, output, code=1), source)
    assert found["a/ct.dcm"] == ("failed", "DamagedFile")
    assert found["a/b/rgb.dcm"] == ("failed", "VerificationError")


def test_that_a_source_can_not_be_read_is_said_once(tmp_path, monkeypatch):
    def closed(*_, **__):
        raise NotPermitted("can't be read: Permission denied; let this user read it")

    monkeypatch.setattr("cinemill.operations.verify.verify.Source", closed)
    with pytest.raises(MissingOutput, match="the source itself can't be read: Permission denied; let"):
        cinemill.verify(CINE, tmp_path / "none.dcm")


def test_a_source_that_can_not_be_read_needs_an_output_all_the_same(trees):
    source, output = trees
    (source / "bad.dcm").write_bytes(CINE.read_bytes()[:50_000])
    (missing,) = [each for each in receipts(source, output, code=1) if each["status"] != "verified"]
    assert missing["error"]["kind"] == "MissingOutput"
    assert "the source itself can't be read: " in missing["error"]["message"]
    shutil.copy(source / "bad.dcm", output)
    assert {each["status"] for each in receipts(source, output)} == {"verified"}


def test_one_pair_is_told_in_a_line(tmp_path):
    output = tmp_path / "out.dcm"
    cinemill.transcode(CINE, output, to="jpeg-ls")
    told = run(CINE, output).stderr
    assert told.startswith(f"verified {output}: 30 frames, ")
    assert "every other element" in told
    cinemill.transcode(CINE, tmp_path / CINE.name, to="rle")
    run(CINE, tmp_path)
    output.unlink()
    assert "missing: " in run(CINE, output, code=1).stderr


@pytest.mark.parametrize("inside", ["in", "out"])
def test_the_report_lies_in_neither_tree(trees, inside):
    tree = dict(zip(("in", "out"), trees, strict=True))[inside]
    done = CliRunner().invoke(app, ["verify", *map(str, trees), "--report", str(tree / "proof.jsonl")])
    assert done.exit_code != 0
    assert not (tree / "proof.jsonl").exists()


def test_a_destination_that_is_not_there_is_wrong_usage(trees, tmp_path):
    with pytest.raises(cinemill.CinemillError, match="there are no outputs"):
        Verify().aimed_at([trees[0]], tmp_path / "nowhere")


def test_several_sources_are_looked_for_below_their_names(trees, tmp_path):
    source, output = trees
    both = tmp_path / "both"
    shutil.copytree(output / "a", both / "a")
    shutil.copy(output / "report.dcm", both)
    assert {each["status"] for each in receipts(source / "a", source / "report.dcm", both)} == {"verified"}


def test_the_library_proves_a_pair_or_raises(trees):
    source, output = trees
    assert cinemill.verify(source / "a" / "ct.dcm", output / "a" / "ct.dcm").status == "verified"
    with pytest.raises(VerificationError):
        cinemill.verify(source / "a" / "ct.dcm", output / "a" / "b" / "mr")
    with pytest.raises(ValueError, match="the same"):
        cinemill.verify(CINE, CINE)
