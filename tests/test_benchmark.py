"""`cinemill bench`: what it measures, and when it fails."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from cinemill import benchmark
from cinemill.benchmark import Measurement, measure, slower
from cinemill.cli import app
from cinemill.errors import UnsupportedPixelFormat, UsageError
from tests.support.files import bundled

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
    old.write_text(json.dumps([{**each, "ratio": each["ratio"] / 100} for each in measured]))
    assert run("--compare", old, "--at-least", "0.5", ULTRASOUND).exit_code == 0
    old.write_text(json.dumps([{**each, "ratio": each["ratio"] * 100} for each in measured]))
    done = run("--compare", old, "--at-least", "0.5")
    assert done.exit_code == 1
    assert f"slower: {ULTRASOUND}" in done.stderr


@pytest.mark.parametrize("content", ["{", "[1]", '[{"file": 1}]'])
def test_a_wrong_comparison_is_wrong_usage(run, tmp_path, content):
    old = Path(tmp_path / "old.json")
    old.write_text(content)
    assert isinstance(run("--compare", old).exception, UsageError)
