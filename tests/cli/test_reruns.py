"""The same command again and again, as archives change, runs are killed and disks fill up."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pydicom
import pytest

from tests.support.files import bundled, standing
from tests.support.harness import assert_exact, files_below, wait_until, write_archive, write_instance

COMMAND = [sys.executable, "-c", "from cinemill_workers.cli.main import main; main()", "transcode"]

WRITTEN = ("--to", "jpeg-ls", "--if-larger", "write")
"""The instances here are so small that what their outputs remember makes them larger."""


def transcode(*arguments, **options):
    words = [*COMMAND, *map(str, arguments), *WRITTEN, "--jobs", "2"]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=600, **options)


def found_wrong(tree: Path, out: Path, report: Path) -> set[str]:
    """Return the names of the instances whose outputs `cinemill verify` finds wrong or missing."""
    words = [*COMMAND[:-1], "verify", tree, out, "--report", report, "--jobs", "2"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, timeout=600)
    told = [json.loads(line) for line in report.read_text().splitlines()]
    wrong = {Path(row["source"]).name for row in told if row["status"] != "verified"}
    assert done.returncode == bool(wrong), done.stderr
    return wrong


def rows(report: Path) -> dict[str, dict[str, str]]:
    with report.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert len({row["source"] for row in found}) == len(found)
    return {Path(row["source"]).name: row for row in found}


def kill_after(outputs: int, folder: Path, *arguments) -> None:
    """Start a run, and kill it once so many more outputs are there."""
    before = len(files_below(folder))
    words = [*COMMAND, *map(str, arguments), *WRITTEN, "--jobs", "2", "--quiet"]
    process = subprocess.Popen(words, start_new_session=True)
    wait_until(
        lambda: process.poll() is not None or len(files_below(folder)) >= before + outputs, pause=0.005
    )
    with suppress(ProcessLookupError):  # it was done already
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def assert_complete(tree: Path, out: Path, report: Path) -> None:
    """Every source has an exact output and a row with its whole proof, and nothing else is there."""
    assert files_below(tree) == files_below(out)
    told = rows(report)
    for path in tree.rglob("*.dcm"):
        output = out / path.relative_to(tree)
        assert_exact(path, output)
        assert pydicom.dcmread(output).PatientName == pydicom.dcmread(path).PatientName
        row = told[path.name]
        assert row["status"] in {"transcoded", "kept"}
        assert row["digest"].startswith("xxh3-128:")
        assert (row["error_kind"], row["frames"]) == ("", "1")
        assert "every frame" in row["verification"]


def test_a_month_of_reruns(tmp_path):
    tree, out, report = tmp_path / "in", tmp_path / "out", tmp_path / "r.csv"
    paths = write_archive(tree, 36)
    (tree / "broken.dcm").write_bytes(paths[0].read_bytes()[:-99])
    words = (tree, out, "--report", report)
    kill_after(12, out, *words)
    done = transcode(*words)
    assert done.returncode == 1
    assert "missing from the output tree: 1 (1 failed); --copy-rest copies them unchanged" in done.stderr
    assert rows(report)["broken.dcm"]["status"] == "failed"
    (tree / "broken.dcm").unlink()
    assert_complete(tree, out, report)

    outputs = [out / path.relative_to(tree) for path in paths]
    write_instance(paths[1], 1001)
    changed = pydicom.dcmread(paths[1])
    changed.SOPInstanceUID = changed.file_meta.MediaStorageSOPInstanceUID = pydicom.dcmread(
        outputs[1]
    ).SOPInstanceUID
    changed.save_as(paths[1])
    renamed = pydicom.dcmread(paths[2])
    renamed.PatientName = "Somebody^Else"
    renamed.save_as(paths[2])
    paths[3].touch()
    whole = outputs[4].read_bytes()
    outputs[4].write_bytes(whole[:-320] + bytes(20) + whole[-300:])
    outputs[5].write_bytes(outputs[5].read_bytes()[:-20])
    outputs[6].unlink()
    before = outputs[7].stat()
    whole = outputs[7].read_bytes()
    outputs[7].write_bytes(whole[:-300] + bytes([whole[-300] ^ 1]) + whole[-299:])
    os.utime(outputs[7], ns=(before.st_mtime_ns, before.st_mtime_ns))
    write_archive(tree / "new", 5, first_seed=500)
    for number, path in enumerate(sorted((tree / "new").rglob("*.dcm"))):
        path.rename(tree / f"new{number}.dcm")
    shutil.rmtree(tree / "new")

    damaged = {paths[number].name for number in (1, 2, 4, 5, 6, 7)} | {
        f"new{number}.dcm" for number in range(5)
    }
    assert found_wrong(tree, out, tmp_path / "before.jsonl") == damaged
    kill_after(3, out, *words)
    done = transcode(*words, "--recheck")
    assert done.returncode == 0, done.stderr
    assert_complete(tree, out, report)
    assert found_wrong(tree, out, tmp_path / "after.jsonl") == set()
    told = rows(report)
    assert told["broken.dcm"]["status"] == "failed"
    for number, words_there in ((1, "another state"), (2, "another state"), (4, "damaged"), (7, "damaged")):
        assert words_there in told[paths[number].name]["warnings"], told[paths[number].name]
    assert told[paths[3].name]["status"] == "kept"
    unchanged = {path: standing(path) for path in out.rglob("*.dcm")}
    before_again = rows(report)
    assert transcode(tree, out, "--report", report, "--recheck").returncode == 0
    assert {path: standing(path) for path in out.rglob("*.dcm")} == unchanged
    again = rows(report)
    for name, row in before_again.items():
        assert {key: again[name][key] for key in ("digest", "frames", "verification", "encoder")} == {
            key: row[key] for key in ("digest", "frames", "verification", "encoder")
        }


def test_the_rest_is_copied_so_that_the_output_can_stand_in_for_the_source(tmp_path):
    tree, out = tmp_path / "in", tmp_path / "out"
    write_archive(tree, 2)
    (tree / "notes.txt").write_text("not DICOM")
    (tree / ".hidden").touch()
    (tree / "broken.dcm").write_bytes(bundled("CT_small.dcm").read_bytes()[:9000])
    shutil.copy(bundled("liver_1frame.dcm"), tree / "bits.dcm")
    shutil.copy(bundled("DICOMDIR"), tree / "DICOMDIR")
    os.mkfifo(tree / "pipe")
    (tree / "dangling").symlink_to("nothing")
    done = transcode(tree, out)
    assert done.returncode == 1
    assert "missing from the output tree: 5 (2 failed, 2 ignored, 1 refused); --copy-rest" in done.stderr
    done = transcode(tree, out, "--copy-rest")
    assert done.returncode == 1
    assert "broken.dcm: the pixel data promises" in done.stderr
    assert "; copied unchanged to the output tree" in done.stderr
    assert "missing from the output tree: 1 (1 failed)\n" in done.stderr
    assert files_below(out) == files_below(tree) - {Path("DICOMDIR")}
    assert (out / "bits.dcm").read_bytes() == (tree / "bits.dcm").read_bytes()
    (tree / "dangling").unlink()
    (tree / "broken.dcm").unlink()
    (tree / "bits.dcm").unlink()
    assert transcode(tree, out, "--copy-rest").returncode == 0


def test_instances_with_the_same_uid_are_told_with_both_paths(tmp_path):
    tree = tmp_path / "in"
    paths = write_archive(tree, 2)
    for number in range(12):
        shutil.copy(paths[1], tree / f"twin{number:02}.dcm")
    done = transcode(tree, tmp_path / "out", "--report", tmp_path / "r.jsonl")
    assert done.returncode == 0
    told = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert len(told) == 14
    ((uid, _),) = Counter(row["sop_instance_uid"] for row in told).most_common(1)
    first, *others = [row for row in told if row["sop_instance_uid"] == uid]
    assert len(others) == 12
    for row in others:
        assert row["warnings"] == [
            f"SOP Instance UID {row['sop_instance_uid']} is that of {first['source']} too"
        ]
        assert row["source"] not in first["warnings"]
    assert done.stderr.count("note: ") == 10
    assert "and 2 more; --report names all" in done.stderr


def test_a_full_disk_stops_the_run_at_once_and_it_goes_on_later(tmp_path):
    tree = tmp_path / "in"
    write_archive(tree, 40, side=256)
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        done = transcode(tree, small / "out", "--report", tmp_path / "r.csv")
        assert done.returncode == 1
        assert "the disk is full" in done.stderr
        assert "missing from the output tree" in done.stderr
        assert "--copy-rest" not in done.stderr  # there is no room for copies either
        told = [row["error_kind"] for row in rows(tmp_path / "r.csv").values()]
        assert 1 <= told.count("NoRoom") <= 2 * 16  # what two processes had under way
        assert told.count("") > 2
        left = 40 - len(told)
        assert f"there is no room for more outputs; {left} more files were not tried" in done.stderr
        assert not list(small.rglob(".*"))
        subprocess.run(["mount", "-o", "remount,size=40m", small], check=True)
        assert transcode(tree, small / "out", "--report", tmp_path / "r.csv").returncode == 0
        assert_complete(tree, small / "out", tmp_path / "r.csv")
    finally:
        subprocess.run(["umount", small], check=True)
