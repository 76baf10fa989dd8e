"""Files that users name to be written: an earlier one of the same kind is replaced or continued, another's file never is."""

import shutil

import pytest
from click.testing import CliRunner

from cinemill.cli import app
from cinemill.cli.exchange import report_file
from cinemill.cli.receiving import Log
from cinemill.errors import UsageError
from tests.support.files import bundled

COMMANDS = {
    "forecast": ("forecast", "{tree}", "--within", "1", "--html", "{named}", "-q"),
    "review": ("review", "{tree}", "-o", "{named}", "--no-text", "-q"),
    "masks for review": ("deidentify", "{tree}", "{named}", "--mask", "review", "-q"),
    "a table": ("index", "{tree}", "-o", "{named}", "-q"),
    "a report": ("split", "{tree}", "{out}", "--max-bytes", "99999", "--report", "{named}", "-q"),
}
SUFFIXES = {"a table": (".csv", ".parquet"), "a report": (".csv", ".jsonl")}


@pytest.fixture
def typed(tmp_path):
    """Type a command that writes a file of this name."""
    (tmp_path / "tree").mkdir()
    shutil.copy(bundled("CT_small.dcm"), tmp_path / "tree")

    def run(kind, named):
        places = {"tree": tmp_path / "tree", "out": tmp_path / "out", "named": named}
        return CliRunner().invoke(app, [word.format(**places) for word in COMMANDS[kind]])

    return run


@pytest.mark.parametrize(
    ("kind", "suffix"), [(kind, suffix) for kind in COMMANDS for suffix in SUFFIXES.get(kind, (".html",))]
)
def test_a_file_of_ours_is_written_again_and_a_foreign_one_stays(typed, tmp_path, kind, suffix):
    named = tmp_path / f"named{suffix}"
    for _ in range(2):
        done = typed(kind, named)
        assert not isinstance(done.exception, Exception), done.exception
    assert named.stat().st_size
    foreign = tmp_path / f"foreign{suffix}"
    foreign.write_text("<!doctype html>\n<p>of somebody else\n")
    done = typed(kind, foreign)
    assert isinstance(done.exception, UsageError)
    assert str(done.exception).startswith(f"{foreign}: exists and is no ")
    assert foreign.read_text().endswith("of somebody else\n")
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    (folder / "file").touch()
    if kind != "masks for review":
        assert "no regular file" in str(typed(kind, folder).exception)


def test_lines_of_exchanges_are_added_to_such_lines_only(tmp_path):
    named = tmp_path / "notes.txt"
    named.write_text("of somebody else\n")
    with pytest.raises(UsageError, match="is no report of instances"), report_file(named):
        pass
    with pytest.raises(UsageError, match="is no report of instances"):
        Log(named, tmp_path / "in")
    assert named.read_text() == "of somebody else\n"
