"""What a terminal gets: names of files may hold anything, and none of it may steer the terminal."""

import os
import shutil
import subprocess
import sys
import unicodedata

import pytest
from rich.progress import Progress

from cinemill.cli.show import Bar
from cinemill.errors import MissingFile, printable
from cinemill.storage.tree import Item
from tests.cli.test_cli import RUN, cinemill
from tests.support.files import bundled

EVIL = "a\x1b]0;owned\x07\x1b[2J\nb\x9b31m\u202egpj\u2066\x7f.dcm"


def steers(text: str) -> str:
    """What is left of a text that a terminal would obey, but for the ends of lines."""
    return "".join(c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs"} and c != "\n")


def test_one_function_escapes_what_a_terminal_would_obey():
    assert steers(printable(EVIL)) == ""
    assert "\n" not in printable(EVIL)
    assert printable("Füße 心エコー.dcm") == "Füße 心エコー.dcm"
    assert printable("\udcff") == "\\udcff"


@pytest.mark.parametrize(
    "arguments",
    [
        ("transcode", "{in}", "out", "--to", "rle"),
        ("transcode", "{good}", "out/{name}", "--to", "rle"),
        ("transcode", "{bad}", "out.dcm", "--to", "rle"),
        ("transcode", "missing{name}", "out.dcm", "--to", "rle"),
        ("extract", "{in}", "out", "--frames", "0"),
        ("extract", "{good}", "out/{name}"),
        ("split", "{good}", "out/{name}", "--frames-per-instance", "1"),
        ("bench", "{bad}"),
        ("bench", "{good}"),
        ("bench", "--compare", "{bad}"),
        ("transcode", "{good}", "{good}", "--to", "rle"),
        ("transcode", "{good}", "out.dcm", "--to", "rle", "--report", "no/{name}.csv"),
    ],
    ids=" ".join,
)
def test_names_of_files_are_escaped_wherever_they_are_printed(tmp_path, arguments):
    places = {"in": tmp_path / "in", "good": tmp_path / "in" / EVIL, "bad": tmp_path / "in" / f"bad{EVIL}"}
    places["in"].mkdir()
    shutil.copy(bundled("CT_small.dcm"), places["good"])
    places["bad"].write_bytes(bundled("CT_small.dcm").read_bytes()[:3000])
    filled = [each.format(name=EVIL, **places) for each in arguments]
    done = cinemill(*filled, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert steers(done.stdout + done.stderr) == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_the_encoding_of_the_terminal_lacks_is_escaped(tmp_path, encoding):
    shutil.copy(bundled("examples_ybr_color.dcm"), tmp_path / "心エコー.dcm")
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-c", RUN, "inspect", tmp_path / "心エコー.dcm"],
        capture_output=True,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    told = done.stdout.decode(encoding)
    assert "\\u5fc3\\u30a8\\u30b3\\u30fc.dcm" in told
    assert "\\u2192 have the region corrected" in told


def test_the_bar_escapes_the_name_of_the_file_under_way(tmp_path):
    progress = Progress(disable=True)
    Bar(progress).frames(Item(tmp_path / EVIL, tmp_path / "out"), 1, 2)
    assert steers(progress.tasks[0].fields["frames"]) == ""


def test_an_error_is_one_line_wherever_it_is_printed():
    assert steers(str(MissingFile("no such file", path=EVIL))) == ""
    assert str(MissingFile("no such file", path=EVIL).path) == EVIL
