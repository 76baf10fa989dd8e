"""Runs over trees by policies: what is shown, and that the check, the dry run, the run and the job agree."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from cinemill.operations.policy.archive import archive
from cinemill.operations.policy.readers import READERS
from tests.cli.test_cli import cinemill
from tests.operations.transcode.test_policies import ALIKE, FINE, RULES, ULTRASOUND, deflated, native
from tests.support.files import bundled

JPEG = bundled("examples_ybr_color.dcm")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "cine.dcm").write_bytes(native(FINE))
    (folder / "one.dcm").write_bytes(native(FINE[:1], SOPInstanceUID="1.2.3.5"))
    (folder / "alike.dcm").write_bytes(deflated(ALIKE))
    shutil.copy(ULTRASOUND, folder / "lossy.dcm")
    shutil.copy(bundled("reportsi.dcm"), folder / "report.dcm")
    (folder / "notes.txt").write_text("not DICOM")
    return folder


def test_a_run_without_a_target_never_grows_and_tells_what_was_done(tree, tmp_path):
    done = cinemill("transcode", tree, tmp_path / "out", "--report", tmp_path / "r.jsonl")
    assert done.returncode == 0, done.stderr
    for path in tree.glob("*.dcm"):
        assert (tmp_path / "out" / path.name).stat().st_size <= path.stat().st_size
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    told = {Path(row["source"]).name: (row["status"], row["reason"]) for row in rows}
    assert told == {
        "cine.dcm": ("transcoded", ""),
        "one.dcm": ("transcoded", ""),
        "alike.dcm": ("copied", "would-grow"),
        "lossy.dcm": ("copied", "lossy-source"),
        "report.dcm": ("copied", "no-image"),
        "notes.txt": ("ignored", ""),
    }
    for words in (
        "transcoded +2",
        "copied, lossy +1",
        "copied, would grow +1",
        "copied +1",
        "all of these +5",
    ):
        assert re.search(f"^{words}\\b", done.stderr, re.MULTILINE), done.stderr
    assert done.stderr.count("1 lossy source was kept as it is") == 1
    assert "--lossy-source transcode" in done.stderr
    again = cinemill("transcode", tree, tmp_path / "out")
    assert re.search(r"^kept +5\b", again.stderr, re.MULTILINE)


def test_what_was_asked_for_is_done_to_a_tree_as_well(tree, tmp_path):
    words = ("--to", "jpeg-ls", "--if-larger", "write", "--lossy-source", "transcode", "--json", "--quiet")
    done = cinemill("transcode", tree, tmp_path / "out", *words)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert Counter(row["status"] for row in rows) == {"transcoded": 4, "copied": 1, "ignored": 1}
    assert any(row["bytes_after"] > 3 * row["bytes_before"] for row in rows)


def test_one_file_says_why_it_was_copied(tree, tmp_path):
    done = cinemill("transcode", tree / "lossy.dcm", tmp_path / "out.dcm")
    assert "lossy.dcm was copied: it is lossy; see --lossy-source" in done.stderr


def test_check_and_run_agree_and_the_receipts_name_the_rule(tree, tmp_path):
    file = tmp_path / "three.toml"
    file.write_text(RULES)
    checked = json.loads(cinemill("policy", "check", file, tree, "--json").stdout)
    counted = {row["rule"]: (row["instances"], row["bytes"], row["reasons"]) for row in checked["rules"]}
    done = cinemill("transcode", tree, tmp_path / "out", "--policy", file, "--json", "--quiet")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    images = [row for row in rows if row["rows"]]
    assert {row["policy_digest"] for row in images} == {checked["digest"]}
    for rule in ("lossy ultrasound", "one frame", "cines"):
        theirs = [row for row in images if row["rule"] == rule]
        assert theirs
        assert counted[rule][:2] == (len(theirs), sum(row["bytes_before"] for row in theirs))
        reasons = Counter(row["reason"] for row in theirs if row["reason"] not in {"", "would-grow"})
        assert counted[rule][2] == dict(reasons)
    assert counted["no image"][0] == counted["not DICOM"][0] == 1
    shown = cinemill("policy", "check", file, tree)
    assert re.search(r"^lossy ultrasound +3 +keep +1\b.*1 policy", shown.stdout, re.MULTILINE), shown.stdout
    planned = cinemill("submit", tree, tmp_path / "out", "--policy", file, "--dry-run", "--json")
    assert json.loads(planned.stdout)["rules"] == checked["rules"]


@pytest.mark.parametrize("command", [("transcode",), ("submit",), ("policy", "check")])
def test_a_policy_that_can_not_be_is_wrong_usage_and_names_the_line(tmp_path, command):
    (tmp_path / "in").mkdir()
    file = tmp_path / "bad.toml"
    file.write_text('name = "bad"\n[[rule]]\nto = "mp3"\n')
    words = (file, "in") if command[0] == "policy" else ("in", "out", "--policy", file)
    done = cinemill(*command, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert f"{file}: line 3: can't write 'mp3'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_readers_are_shown_with_their_versions_and_sources():
    shown = cinemill("syntaxes").stdout
    for each in READERS:
        assert f"{each.name}: {each.program}; {each.source}" in shown
    told = json.loads(cinemill("syntaxes", "--json").stdout)
    assert "jpeg-2000" not in next(row for row in told["readers"] if row["name"] == "dcmtk")["targets"]
    assert cinemill("policy", "show").stdout == archive()


def test_nothing_legal_is_wrong_usage(tmp_path):
    done = cinemill("transcode", JPEG, tmp_path / "o.dcm", "--to", "htj2k", "--readable-by", "dcmtk,gdcm")
    assert done.returncode == 2
    assert (
        "expected what is read by dcmtk,gdcm (implicit, explicit, rle, jpeg-ls), found htj2k" in done.stderr
    )


def test_what_no_target_can_hold_is_told_at_the_end_of_a_run_with_the_reason(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("rtdose.dcm", "rtdose_rle.dcm", "CT_small.dcm"):
        shutil.copy(bundled(name), tmp_path / "in")
    done = cinemill("transcode", tmp_path / "in", tmp_path / "out", "--report", tmp_path / "r.jsonl")
    assert done.returncode == 0, done.stderr
    assert re.search(r"copied, no target +2 ", done.stderr)
    why = "jpeg-ls holds 2 to 16 bits of MONOCHROME2 (PS3.5 §8.2), found 32"
    assert f"no target of the policy can hold 2 of these instances: {why}" in done.stderr
    told = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    warned = [row for row in told if row["reason"] == "no-target"]
    assert len(warned) == 2
    assert all(why in "; ".join(row["warnings"]) for row in warned)
