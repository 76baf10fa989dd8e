"""The report of runs: nothing that was told is lost, however a run ends, and it opens in a spreadsheet."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cinemill.errors import NoRoom, UsageError
from cinemill.operations.receipt import Receipt, failure
from cinemill.operations.report import Report

DONE = Receipt(
    "/in/a.dcm", "/out/a.dcm", "transcoded", frames=3, digest="xxh3-128:00", seconds={"total": 1.25, "encode": 1},
    transfer_syntax_before="1.2.840.10008.1.2.4.50", transfer_syntax_after="1.2.840.10008.1.2.4.80",
    verification="every frame", warnings=("one", "two"),
)  # fmt: skip
SUFFIXES = pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json"])


def told(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_text().splitlines()]


def of(name: str, **more) -> Receipt:
    return replace(DONE, source=f"/in/{name}", output=f"/out/{name}", **more)


def write(path: Path, *receipts: Receipt) -> list[dict[str, Any]]:
    with Report(path) as report:
        for receipt in receipts:
            report.add(receipt)
    return told(path)


@SUFFIXES
def test_rows_of_earlier_runs_stay_and_the_last_one_of_an_instance_counts(tmp_path, suffix):
    path = tmp_path / f"r{suffix}"
    lost = failure(Path("/in/b.dcm"), Path("/out/b.dcm"), UsageError("wrong"))
    write(path, of("a.dcm"), lost, of("elsewhere.dcm"))
    rows = write(path, of("c.dcm"), of("b.dcm"), of("a.dcm", frames=4))
    assert [(row["source"], row["status"], str(row["frames"])) for row in rows] == [
        ("/in/elsewhere.dcm", "transcoded", "3"),
        ("/in/c.dcm", "transcoded", "3"),
        ("/in/b.dcm", "transcoded", "3"),
        ("/in/a.dcm", "transcoded", "4"),
    ]


@SUFFIXES
def test_an_output_that_is_kept_keeps_what_was_told_of_it(tmp_path, suffix):
    path = tmp_path / f"r{suffix}"
    (first,) = write(path, DONE)
    bare = Receipt(DONE.source, DONE.output, "kept")
    for _ in range(3):
        (row,) = write(path, bare)
        assert {name for name in first if row[name] != first[name]} == {"status"}
    (row,) = write(path, replace(bare, digest="xxh3-128:11"))
    assert row["digest"] == "xxh3-128:11"
    failed = failure(Path(DONE.source), Path(DONE.output), UsageError("wrong"))
    write(path, failed)
    (row,) = write(path, bare)
    assert not row.get("error")
    assert not row.get("error_kind")


@SUFFIXES
@pytest.mark.parametrize("left", [1, 20, 300, 470, 471])
def test_what_a_killed_run_wrote_half_is_dropped_and_the_rest_stays(tmp_path, suffix, left):
    path = tmp_path / f"r{suffix}"
    write(path, of('a\n,".dcm'), of("b.dcm"))
    whole = path.read_bytes()
    write(path, of('c\n"\n.dcm'))
    path.write_bytes(path.read_bytes()[: len(whole) + left])
    rows = write(path, of("d.dcm"))
    names = [row["source"] for row in rows]
    assert names in (
        ['/in/a\n,".dcm', "/in/b.dcm", "/in/d.dcm"],
        ['/in/a\n,".dcm', "/in/b.dcm", '/in/c\n"\n.dcm', "/in/d.dcm"],
    )
    assert all(row["verification"] == "every frame" for row in rows)


@SUFFIXES
def test_a_run_that_was_killed_at_its_first_row(tmp_path, suffix):
    path = tmp_path / f"r{suffix}"
    write(path, DONE)
    whole = path.read_bytes()
    for left in (0, 12, 40, len(whole)):
        path.write_bytes(whole[:left])
        assert [row["source"] for row in write(path, of("b.dcm"))][-1] == "/in/b.dcm"


@SUFFIXES
@pytest.mark.parametrize(
    "content",
    [
        *(b"DICM".rjust(132, b"\0"), b"a,b\n1,2\n", b'{"a": 1}\n', b"[1]\n", b"\n", b"notes", b"{"),
        *(b"[" * 100_000 + b"\n", b"a" * 200_000 + b"\n", b'{"source": "a", "output": "b", "status": []}\n'),
    ],
    ids=range(10),
)
def test_a_file_that_is_no_report_is_not_touched(tmp_path, suffix, content):
    path = tmp_path / f"r{suffix}"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="no report; name another"):
        Report(path)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == [path.name]


def test_what_is_no_file_or_another_run_writes_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    for name in ("pipe.csv", "folder.csv"):
        with pytest.raises(UsageError, match="no regular file"):
            Report(tmp_path / name)
    with Report(tmp_path / "r.csv"), pytest.raises(UsageError, match="another run is writing"):
        Report(tmp_path / "r.csv")
    with pytest.raises(UsageError, match="can't be written"):
        Report(tmp_path / "missing" / "r.csv")


def test_a_report_is_replaced_in_one_step_through_a_link_and_read_by_no_more_people(tmp_path):
    (tmp_path / "real").mkdir()
    write(tmp_path / "real" / "r.jsonl", DONE)
    (tmp_path / "real" / "r.jsonl").chmod(0o600)
    (tmp_path / "r.jsonl").symlink_to(tmp_path / "real" / "r.jsonl")
    write(tmp_path / "r.jsonl", of("b.dcm"))
    assert (tmp_path / "r.jsonl").is_symlink()
    assert len(told(tmp_path / "real" / "r.jsonl")) == 2
    assert (tmp_path / "real" / "r.jsonl").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path / "real") == ["r.jsonl"]


@SUFFIXES
def test_without_room_for_a_second_report_all_rows_stay_in_the_first(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"r{suffix}"
    write(path, DONE)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "writev", full)
    rows = write(path, of("b.dcm"), of("a.dcm"))
    assert [row["source"] for row in rows] == ["/in/a.dcm", "/in/b.dcm", "/in/a.dcm"]
    monkeypatch.undo()
    assert [row["source"] for row in write(path)] == ["/in/b.dcm", "/in/a.dcm"]


def test_a_row_that_finds_no_room_is_an_error_by_name(tmp_path):
    with Report(tmp_path / "r.jsonl") as report:
        whole = report._file
        with Path("/dev/full").open("ab", buffering=0) as report._file, pytest.raises(NoRoom, match="full"):
            report.add(DONE)
        report._file = whole


def test_columns_are_flat_and_name_transfer_syntaxes(tmp_path):
    failed = failure(Path("/in/b"), Path("/out/b"), UsageError("wrong", frame=7))
    done, bad = write(tmp_path / "r.csv", DONE, failed)
    assert (done["transfer_syntax_before_name"], done["transfer_syntax_after_name"]) == (
        "JPEGBaseline8Bit",
        "JPEGLSLossless",
    )
    assert (done["seconds_total"], done["warnings"], done["error_kind"]) == ("1.25", "one; two", "")
    assert (bad["error_kind"], bad["error_frame"], bad["error_message"]) == ("UsageError", "7", "wrong")
    assert list(done)[:3] == ["source", "output", "status"]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula(tmp_path, name):
    (row,) = write(tmp_path / "r.csv", replace(DONE, source=name, warnings=(name,)))
    for cell in (row["source"], row["warnings"]):
        assert cell.startswith("'")
        assert cell[1:2] in {"=", "+", "-", "@", "\\"}
    assert told(tmp_path / "r.csv") == write(tmp_path / "r.csv")


def test_control_characters_of_names_are_escaped(tmp_path):
    (row,) = write(tmp_path / "r.csv", replace(DONE, source="/in/\x1b[2Jä\x00\u202e.dcm"))
    assert row["source"].startswith("/in/\\x1b[2Jä\\x00")
    assert "\x1b" not in (tmp_path / "r.csv").read_text()


def test_columns_of_an_earlier_version_stay(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("source,output,status,error,seconds\r\n/in/old,/out/old,failed,{},1\r\n")
    old, new = write(path, DONE)
    assert (old["source"], old["status"], old["error"], old["seconds"]) == ("/in/old", "failed", "{}", "1")
    assert (new["status"], new["error"], new["error_kind"]) == ("transcoded", "", "")


def test_a_disk_that_is_full_when_a_torn_report_is_mended_is_told_as_such(tmp_path, monkeypatch):
    path = tmp_path / "report.jsonl"
    with Report(path) as report:
        report.add(DONE)
    path.write_bytes(path.read_bytes()[:-10])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoRoom, match="the disk is full"):
        Report(path)
