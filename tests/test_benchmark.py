"""`cinemill bench`: what it measures, and when it fails."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from cinemill import benchmark
from cinemill.benchmark import Measurement, measure, slower
from cinemill.cli import app
from cinemill.errors import UnsupportedPixelFormat, UsageError
from tests.support.files import REPOSITORY, bundled

ULTRASOUND = bundled("examples_ybr_color.dcm")


@pytest.fixture
def run(monkeypatch):
    """Run the command with one round."""
    monkeypatch.setattr(benchmark, "_ROUNDS", 1)
    return lambda *arguments: CliRunner().invoke(app, ["bench", *map(str, arguments)])


def test_decoding_and_every_target_are_measured(monkeypatch):
    monkeypatch.setattr(benchmark, "_ROUNDS", 1)
    measured = measure(ULTRASOUND)
    assert [each.operation for each in measured] == [
        "decode",
        "to jpeg-ls",
        "to jpeg-2000",
        "to htj2k",
        "to rle",
    ]
    assert all(each.ratio > 0 and each.megabytes_per_second > 0 for each in measured)


def test_frames_that_charls_can_not_encode_have_no_unit():
    with pytest.raises(UnsupportedPixelFormat, match="CharLS"):
        measure(bundled("SC_rgb_rle_32bit_2frame.dcm"))


def test_slower_names_what_fell_below_the_given_part():
    before = [Measurement("old/a.dcm", "decode", 100, 2.0), Measurement("old/a.dcm", "to rle", 100, 2.0)]
    now = [replace(before[0], file="new/a.dcm", ratio=1.5), replace(before[1], ratio=1.9)]
    assert list(slower(now, before, 0.8)) == [(now[0], 0.75)]
    assert list(slower(now, before, 0.7)) == []
    assert list(slower(now, [], 1.0)) == []


def test_exit_code_tells_whether_it_became_slower(run, tmp_path):
    done = run("--json", ULTRASOUND)
    assert done.exit_code == 0
    measured = json.loads(done.stdout)
    old = tmp_path / "old.json"
    old.write_text(json.dumps(times(measured, 0.01)))
    assert run("--compare", old, "--at-least", "0.5", ULTRASOUND).exit_code == 0
    old.write_text(json.dumps(times(measured, 10_000)))
    summary = tmp_path / "summary.md"
    done = run("--compare", old, "--at-least", "0.5", "--summary", summary)
    assert done.exit_code == 1
    assert f"slower: {ULTRASOUND}" in done.stderr
    assert "of the earlier" in done.stdout.splitlines()[0]
    heading, _, columns, rule, *rows = summary.read_text().rstrip().splitlines()
    assert heading.startswith("### ")
    assert columns == "| file | operation | MB/s | × CharLS encoding | of the earlier speed |"
    assert rule == "| --- | --: | --: | --: | --: |"
    assert len(rows) == len(measured["benchmarks"])
    assert all(re.fullmatch(r"\| .*ybr_color.dcm \| .+ \| \d+ \| [\d.]+ \| 0\.\d\d \|", row) for row in rows)


def times(document, factor):
    """The same with other ratios."""
    for each in document["benchmarks"]:
        each["extra_info"]["ratio"] *= factor
    return document


def test_the_summary_of_a_github_job_is_appended_to(run, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert run(ULTRASOUND).exit_code == 0
    assert summary.read_text().startswith("before\n### cinemill")


def test_the_comparison_of_pytest_benchmark_reads_the_json(run, tmp_path):
    for name in ("before", "now"):
        (tmp_path / f"{name}.json").write_text(run("--json", ULTRASOUND).stdout)
    compare = [
        sys.executable,
        "-m",
        "pytest_benchmark",
        "compare",
        "before.json",
        "now.json",
        "--columns=min,ops",
    ]
    done = subprocess.run(compare, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Failed" not in done.stdout + done.stderr
    assert len(re.findall(r"ybr_color.dcm: (?:decode|to jpeg-ls) ", done.stdout)) == 4


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[1]", "{}", '{"benchmarks": [1]}', '{"benchmarks": [{"extra_info": {"operation": 1}}]}'),
        "[" * 100_000,
    ],
    ids=range(6),
)
def test_a_wrong_comparison_is_wrong_usage(run, tmp_path, content):
    old = Path(tmp_path / "old.json")
    old.write_text(content)
    assert isinstance(run("--compare", old).exception, UsageError)


def test_the_workflow_that_users_copy_is_one():
    workflow = REPOSITORY / "docs" / "benchmark-workflow.yml"
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*check, str(workflow)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
