"""Options as they are typed: those that operations declare, those that runs share, and old names."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click
import pytest
from click.testing import CliRunner

from cinemill.cli import app, run
from cinemill.cli.options import accepting, given, made
from cinemill.errors import OutputError, UsageError
from cinemill.operations.extract.request import Extract
from cinemill.operations.operation import Operation, options_of
from cinemill.operations.split.request import Split
from cinemill.operations.table import OPERATIONS
from cinemill.operations.transcode.request import Transcode
from tests.support.files import bundled

CINE = bundled("examples_ybr_color.dcm")


@pytest.fixture
def asked(monkeypatch):
    """Run a command, and return the operation that it would do."""
    found = []
    monkeypatch.setattr(run, "run", lambda operation, *_, **__: found.append(operation))

    def ask(*words: object) -> Operation:
        done = CliRunner().invoke(app, [str(word) for word in words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return found.pop()

    return ask


def test_every_option_of_a_command_reaches_its_operation(asked):
    assert asked("transcode", CINE, "out", "--to", "rle") == Transcode("rle")
    words: tuple[str, ...] = ("--to", "rle", "--colour", "rgb", "--verify", "none", "--overwrite", "--repair")
    assert asked("transcode", CINE, "out", *words) == Transcode(
        "rle", "rgb", "none", overwrite=True, repair=True
    )
    assert asked("extract", CINE, "out") == Extract()
    words = (
        "-f",
        "jpg",
        "--every",
        "0.5s",
        "--display",
        "--window",
        "40,400",
        "--region",
        "1",
        "--size",
        "64x0",
    )
    assert asked("extract", CINE, "out", *words, "--sidecar", "--index", "--overwrite") == Extract(
        "jpeg", every=500.0, mode="display", window=(40, 400), region=1, size=(64, 0),
        sidecar=True, keep_index=True, overwrite=True,
    )  # fmt: skip
    words = ("--frames", "0,::2", "--stored", "--crop-to-region", "--format", "npy")
    assert asked("extract", CINE, "out", *words) == Extract(
        "npy", frames="0,::2", mode="stored", crop_to_region=True
    )
    words = ("--count", "3", "--voi", "1", "--scale", "0.5", "--mask-outside-regions")
    assert asked("extract", CINE, "out", *words) == Extract(
        count=3, voi=1, scale=0.5, mask_outside_regions=True
    )
    assert asked("split", CINE, "out", "--max-bytes", "9") == Split(max_bytes=9)
    assert asked("split", CINE, "out", "--frames-per-instance", "9") == Split(frames_per_instance=9)


def test_what_is_so_by_default_can_be_turned_off(asked):
    words = ("transcode", CINE, "out", "--to", "rle")
    assert asked(*words) == asked(*words, "--preserve") == Transcode("rle", preserve=True)
    assert asked(*words, "--no-preserve", "--recheck", "--copy-rest") == Transcode(
        "rle", preserve=False, recheck=True, copy_rest=True
    )


def test_what_was_typed_is_plain_values(asked):
    options = asdict(asked("transcode", CINE, "out", "--to", "rle", "--colour", "keep"))
    assert {type(value) for value in options.values()} == {str, bool}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_help_shows_every_option_and_no_old_name(operation):
    text = " ".join(CliRunner().invoke(app, [operation.kind, "--help"]).output.split())
    for name, (_, how) in options_of(operation).items():
        for typed in how.names or (how.flags or (f"--{name.replace('_', '-')}",)):
            assert typed in text
        for words in how.flags.values() or (how.help,):
            assert " ".join(words.split())[:20] in text
    for shared in ("--jobs", "--report", "--json", "--quiet"):
        assert shared in text
    assert "--voi-window" not in text


def test_old_names_are_understood(asked):
    assert asked("extract", CINE, "out", "--voi-window", "40,400") == Extract(window=(40, 400))


def test_options_of_the_same_name_are_one():
    @click.command()
    @click.argument("first")
    @accepting(Transcode, Extract, without=("to", "format"))
    @click.option("--last", is_flag=True)
    def command(first: str, *, last: bool, **options: Any) -> None:
        """Do nothing."""

    names = [each.name for each in command.params]
    assert names[0] == "first"
    assert names[-1] == "last"
    assert names.count("overwrite") == 1
    assert not {"to", "format", "options", "into_directory"} & set(names)
    typed = {"colour": "auto", "repair": True, "window": "1,2", "stored": True, "display": False}
    assert given(Transcode, typed) == ["--repair"]
    assert given(Extract, typed) == ["--stored", "--window"]
    window = made(Extract, {**typed, "stored": False, "format": "png"})
    assert window == Extract("png", window=(1, 2))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("transcode", CINE, "-", "--to", "rle"), "- can't be the destination"),
        (("extract", CINE, "-"), "- can't be the destination"),
        (("split", CINE, "-", "--max-bytes", "9"), "- can't be the destination"),
        (("extract", CINE, "out", "--every", "2"), "--every 2 has no unit; write 2ms or 2s"),
        (("extract", CINE, "out", "--stored", "--display"), "--stored and --display exclude each other"),
        (("extract", CINE, "x.avi"), "no format for the suffix .avi; known are .png, .jpg"),
        (("split", CINE, "x.dcm", "--max-bytes", "9"), "the parts of a cine get a directory"),
        (("split", CINE, "out"), "give either the frames or the bytes per instance"),
        (("transcode", CINE, "out", "--to", "rle", "--report", "r.xlsx"), "ending in .jsonl, .json or .csv"),
        (("transcode", CINE, "out", "--to", "rle", "--report", "r"), "ending in .jsonl, .json or .csv"),
        (("transcode", "in", "out", "--to", "rle", "--report", "in/a.json"), "among, the sources"),
        (("transcode", "in/a.json", "out", "--to", "rle", "--report", "in/a.json"), "among, the sources"),
        (("transcode", CINE, "s3://bucket/out"), "s3://bucket/out is a URL"),
        (("extract", "s3://bucket/in", "out"), "s3://bucket/in is a URL"),
        (("index", CINE, "--output", "s3://bucket/x.csv"), "s3://bucket/x.csv is a URL"),
        (("inspect", CINE, "--measurements", "s3://bucket/x.csv"), "s3://bucket/x.csv is a URL"),
        (("receive", "s3://bucket/in"), "s3://bucket/in is a URL"),
        (("transcode", "", "out"), "a path is empty"),
        (("transcode", CINE, ""), "a path is empty"),
        (("inspect", ""), "a path is empty"),
        (("transcode", CINE, "out", "--report", ""), "a path is empty"),
        (("transcode", CINE, "~/out.dcm"), "~/out.dcm begins with ~, which is not expanded here"),
        (("transcode", CINE, "~root"), "~root begins with ~, which is not expanded here"),
        (("bench", CINE, "none.dcm"), "no such file"),
    ],
)
def test_what_can_not_be_is_said_and_nothing_is_made(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_bytes(b"an instance, for all that is known")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("forecast", "in", "--within", "nan"), "nan is not finite"),
        (("forecast", "in", "--price", "inf"), "inf is not finite"),
        (("forecast", "in", "--within", "0.5"), "0.5 is not in the range x>=1"),
        (("bench", "--at-least", "much"), "'much' is not a valid number"),
        (("extract", CINE, "out", "--voi", "-1"), "-1 is not in the range x>=0"),
        (("extract", CINE, "out", "--voi", "1.5"), "'1.5' is not a valid whole number"),
        (("transcode", CINE, "out", "--jobs", "0"), "0 is not in the range x>=1"),
        (("transcode", CINE, "out", "--colour", "pink"), "not one of 'auto', 'keep', 'rgb'"),
        (("transcode", CINE, "out", "--overwrit"), "Did you mean"),
        (("transcode", CINE), "Missing argument 'SRC...'"),
        (("transcoded", CINE, "out"), "Did you mean 'transcode'?"),
    ],
)
def test_what_is_no_value_of_an_option_is_refused_by_its_name(words, message):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 2
    assert message in done.output
    assert done.output.startswith("Usage: cinemill ")


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".JSONL"])
def test_reports_are_named_by_what_they_hold(tmp_path, suffix):
    report = tmp_path / f"r{suffix}"
    words = ["extract", str(CINE), str(tmp_path / "out"), "--frames", "0", "--quiet", "--report", str(report)]
    assert CliRunner().invoke(app, words).exit_code == 0
    if suffix != ".csv":
        assert json.loads(report.read_text())["status"] == "extracted"


def test_a_destination_that_ends_with_a_slash_is_a_directory(tmp_path):
    for words in ((), ("--to", "rle")):
        done = CliRunner().invoke(app, ["transcode", str(CINE), f"{tmp_path}/{len(words)}/", *words])
        assert done.exit_code == 0, done.output
        assert [path.name for path in (tmp_path / str(len(words))).iterdir()] == [CINE.name]
    done = CliRunner().invoke(app, ["verify", str(CINE), f"{tmp_path}/none/"])
    assert done.exit_code == 1
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("index", CINE, "-o", "file/x.csv"),
        ("deidentify", CINE, "file/x", "--key", "k", "--mask", "review"),
        ("warmup", "-o", "file/x"),
    ],
    ids=["an index", "a page", "kernels"],
)
def test_a_directory_below_a_file_is_refused_by_name(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CINEMILL_CACHE_DIR", "")
    (tmp_path / "file").write_text("no directory")
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(done.exception, OutputError)
    assert "file: can't be written: a part of the path is not a directory" in str(done.exception)


def test_a_processor_that_is_unknown_leaves_no_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("CINEMILL_CACHE_DIR", "")
    done = CliRunner().invoke(app, ["warmup", "--processor", "nope", "-o", str(tmp_path / "w")])
    assert "no processor is known as nope" in str(done.exception)
    assert not (tmp_path / "w").exists()
