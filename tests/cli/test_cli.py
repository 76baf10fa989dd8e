"""The command line as a user types it: output, errors, exit codes."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys

import pydicom
import pytest
from rich.progress import Progress

from cinemill import syntaxes
from cinemill.cli.show import Bar
from cinemill.operations.receipt import Receipt
from cinemill.storage.tree import Item
from tests.support.files import bundled

ULTRASOUND = bundled("examples_ybr_color.dcm")


RUN = "from cinemill_workers.cli.main import main; main()"


def cinemill(*arguments, script=RUN, text=True, **options):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=text, check=False, **options)


COMMANDS = [
    "transcode",
    "deidentify",
    "restore",
    "extract",
    "split",
    "dataset",
    "verify",
    "audit",
    "inspect",
    "index",
    "serve",
    "syntaxes",
    "forecast",
    "review",
    "receive",
    "pull",
    "push",
    "migrate",
    "bench",
    "warmup",
    "nodes",
    "key",
    "map",
    "demo",
    "submit",
    "worker",
    "up",
    "doctor",
    "policy",
    "jobs",
]


def test_help_and_version():
    commands = cinemill("--help").stdout.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in commands if line.strip()] == COMMANDS
    assert not [line for line in commands if line.endswith("...")]
    assert re.fullmatch(r"cinemill \d+\.\d+\.\d+\n", cinemill("--version").stdout)
    for option in ("--to", "--colour", "--verify", "--jobs", "--overwrite", "--report", "--json", "--quiet"):
        assert option in cinemill("transcode", "--help").stdout


def test_help_imports_nothing_heavy():
    script = (
        "import sys\nfrom cinemill_workers.cli.main import main\nsys.argv[1:] = ['--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([m for m in ('numpy', 'numba', 'pydicom', 'imagecodecs', 'celery', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_one_file(tmp_path):
    done = cinemill("transcode", ULTRASOUND, tmp_path / "out.dcm", "--to", "rle")
    assert (done.returncode, done.stdout) == (0, "")
    assert "30 frames" in done.stderr
    assert pydicom.dcmread(tmp_path / "out.dcm").file_meta.TransferSyntaxUID.keyword == "RLELossless"
    assert "finished already" in cinemill("transcode", ULTRASOUND, tmp_path / "out.dcm", "--to", "rle").stderr


def test_standard_input(tmp_path):
    with ULTRASOUND.open("rb") as file:
        done = cinemill("transcode", "-", tmp_path / "out.dcm", "--to", "rle", stdin=file)
    assert done.returncode == 0, done.stderr
    assert pydicom.dcmread(tmp_path / "out.dcm").file_meta.TransferSyntaxUID.keyword == "RLELossless"
    with ULTRASOUND.open("rb") as file:
        done = cinemill("split", "-", tmp_path / "parts", "--frames-per-instance", "20", stdin=file)
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        "stdin_0001.dcm",
        "stdin_0002.dcm",
    ]


def test_standard_input_is_called_as_it_was_typed(tmp_path):
    data, report = ULTRASOUND.read_bytes(), tmp_path / "report.jsonl"
    for words, given, said in (
        (("-", tmp_path / "out.dcm", "--lossy-source", "keep"), data, "^- was copied"),
        (("-", ULTRASOUND, tmp_path / "both", "--to", "rle"), data, "(is that of - too|note: -: SOP)"),
        (("-", tmp_path / "cut.dcm", "--to", "rle"), data[:50_000], "failed: -: "),
    ):
        done = cinemill("transcode", *words, "--report", report, text=False, input=given)
        rows = [json.loads(row) for row in report.read_text().splitlines()]
        told = done.stderr.decode() + report.read_text()
        assert "-" in {row["source"] for row in rows}, told
        assert "cinemill-" not in told
        assert re.search(said, told)
        report.unlink()
    page = tmp_path / "page.html"
    done = cinemill("inspect", "-", ULTRASOUND, "--html", page, text=False, input=data)
    told = done.stdout.decode() + page.read_text()
    assert "is that of -, too" in told
    assert "<h3>-</h3>" in told
    assert "<h4>Frames</h4>" in told.partition("<h3>-</h3>")[2].partition("</article>")[0]
    assert "stdin" not in told


def test_the_bar_moves_with_the_frames_of_a_long_cine(tmp_path):
    source = tmp_path / "long.dcm"
    source.write_bytes(bytes(1000))
    progress = Progress(disable=True)
    bar = Bar(progress)
    bar.total(1, 1000)
    bar.frames(Item(source, tmp_path / "out.dcm"), 3, 4)
    (task,) = progress.tasks
    assert (task.completed, task.total) == (750, 1000)
    bar.advance(Receipt(source=str(source), output="", status="transcoded", bytes_before=1000))
    assert task.completed == 1000


def test_a_tree_with_a_report_and_a_table(tmp_path):
    tree = tmp_path / "in"
    tree.mkdir()
    for name in ("CT_small.dcm", "reportsi.dcm"):
        shutil.copy(bundled(name), tree)
    (tree / "bad.dcm").write_bytes(ULTRASOUND.read_bytes()[:50_000])
    done = cinemill(
        "transcode", tree, tmp_path / "out", "--to", "jpeg-ls", "--report", tmp_path / "r.jsonl", "--json"
    )
    assert done.returncode == 1
    assert "bad.dcm" in done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(r"transcoded\s+1\b", done.stderr)
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    reported = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert printed == reported
    assert {record["status"] for record in printed} == {"transcoded", "copied", "failed"}
    assert all(record.keys() == Receipt("", "", "skipped").to_dict().keys() for record in printed)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_report_of_names_that_do_not_decode(tmp_path, suffix):
    """File names are bytes; those of old archives are often Latin-1."""
    name = os.fsdecode(b"\xe9cho.dcm")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(ULTRASOUND.read_bytes()[:-100])
    done = cinemill("transcode", "in", "out", "--to", "rle", "--report", f"r{suffix}", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    report = (tmp_path / f"r{suffix}").read_bytes()
    assert b"\xe9cho.dcm" in report or b"\\udce9cho.dcm" in report


def test_a_report_as_csv(tmp_path):
    done = cinemill(
        "transcode", ULTRASOUND, tmp_path / "o.dcm", "--to", "rle", "--report", tmp_path / "r.csv", "--quiet"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with (tmp_path / "r.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["status"] == "transcoded"
    assert json.loads(row["seconds"])["total"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.dcm", "out.dcm", "--to", "rle"], 2, "missing.dcm: no such file"),
        ([ULTRASOUND, ULTRASOUND, "--to", "rle"], 2, "same"),
        ([ULTRASOUND.parent, ULTRASOUND.parent / "out", "--to", "rle"], 2, "inside"),
        ([ULTRASOUND, "out.dcm", "--to", "mp3"], 2, "jpeg-ls"),
        ([ULTRASOUND, "out.dcm", "--to", "rle", "--colour", "pink"], 2, "pink"),
        ([ULTRASOUND, "out.dcm", "--to", "rle", "--report", "no/such/r.jsonl"], 2, "report"),
        (["empty.dcm", "out.dcm", "--to", "rle"], 1, "empty"),
        (["text.txt", "out.dcm", "--to", "rle"], 1, "not a DICOM file"),
        ([ULTRASOUND, "text.txt", "--to", "rle"], 1, "--overwrite"),
        ([ULTRASOUND, "text.txt/out.dcm", "--to", "rle"], 1, "not a directory"),
    ],
)
def test_bad_usage_and_bad_input_are_one_line(tmp_path, arguments, code, words):
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "text.txt").write_text("nothing here " * 40)
    before = sorted(tmp_path.rglob("*"))
    done = cinemill("transcode", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_demo_that_has_no_place_is_told_why(tmp_path):
    (tmp_path / "text").touch()
    done = cinemill("demo", "--output", "text/demo", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "cinemill: text: can't be written: a part of the path is not a directory\n"


def test_demo(tmp_path):
    done = cinemill("demo", "--output", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo" / "frame_0000.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "demo").glob("*.dcm"))) == len(syntaxes.TARGETS)
    assert "to JPEG" in done.stdout
    assert re.search(r"^jpeg-ls .*× [3-9]\.\d", done.stdout, re.MULTILINE)
    assert "this cine is lossy already: without --to" in done.stdout
    assert re.search(r"^jpeg-ls .* cinemill-jpegls", done.stdout, re.MULTILINE)
    assert len(done.stdout.splitlines()) < 30
