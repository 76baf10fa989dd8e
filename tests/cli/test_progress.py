"""The bar of a run: drawn on a terminal, once a run takes a moment, and told what it has missed."""

import os
import pty
import re
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from cinemill.cli import app, exchange, progress
from cinemill.cli.exchange import Shown
from cinemill.cli.progress import LateBar, between_lines
from cinemill.errors import Cancelled
from cinemill.network.pace import Pace
from cinemill.operations.dataset.making import Making
from cinemill.operations.receipt import Receipt
from cinemill.storage.tree import Item
from tests.support.files import bundled

FIRST, SECOND = (Receipt(source, "", "transcoded") for source in "ab")


def terminal(*, there=True):
    stream = SimpleNamespace(isatty=lambda: there)
    return SimpleNamespace(stdout=stream, stderr=stream)


class Drawn:
    """A bar that notes what it is told."""

    def __init__(self):
        self.told = []
        self.whole = threading.Event()

    def __getattr__(self, name):
        def tell(*arguments):
            self.told.append((name, *arguments))
            if name == "total":
                self.whole.set()

        return tell

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.told.append(("end",))


@pytest.fixture
def drawn(monkeypatch):
    from cinemill.cli import show

    bar = Drawn()
    monkeypatch.setattr(show, "bar", lambda: bar)
    monkeypatch.setattr(progress, "sys", terminal())
    monkeypatch.setattr(progress, "_PATIENCE", 0.01)
    return bar


def test_a_short_run_draws_nothing_and_counts_nothing(drawn, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_PATIENCE", 60)
    with LateBar(lambda: pytest.fail("nobody asked")) as bar:
        bar.advance(FIRST)
        bar.say("a line", "a", "red")
    assert drawn.told == []
    assert capsys.readouterr().err == "a line\n"


def test_a_longer_run_is_told_what_it_has_missed(drawn, monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 60)
    with LateBar(lambda: (2, 100)) as bar:
        bar.advance(FIRST)
        bar.compiling("kernel")
        bar.say("a line")
        bar.advance(SECOND)
        assert drawn.whole.wait(60)
    order = [each for each in drawn.told if each[0] != "total"]
    assert order == [
        ("advance", FIRST),
        ("compiling", "kernel"),
        ("say", "a line", "", None),
        ("advance", SECOND),
        ("end",),
    ]
    assert ("total", 2, 100) in drawn.told


def test_it_is_drawn_by_itself_after_a_moment(drawn):
    with LateBar(lambda: (1, 1)):
        assert drawn.whole.wait(60)
    assert drawn.told == [("total", 1, 1), ("end",)]


@pytest.mark.parametrize("hidden", [True, False])
def test_without_a_terminal_or_if_hidden_nothing_is_drawn(drawn, monkeypatch, hidden):
    if not hidden:
        monkeypatch.setattr(progress, "sys", terminal(there=False))
    with LateBar(lambda: pytest.fail("nobody asked"), hidden=hidden) as bar:
        bar.frames(Item(Path("in"), Path("out")), 1, 2)
        threading.Event().wait(0.05)
    assert drawn.told == []


def test_a_long_name_takes_no_room_from_numbers(monkeypatch):
    from cinemill.cli import show

    monkeypatch.setattr(show, "console", Console(file=StringIO(), force_terminal=True, width=80))
    with show.bar() as bar:
        bar.total(1320, 81_000_000)
        item = Item(Path(f"{'long' * 20}.dcm"), Path("out"))
        bar.frames(item, 12, 30)
        with show.console.capture() as capture:
            show.console.print(bar._progress.make_tasks_table(bar._progress.tasks))
    lines = click.unstyle(capture.get()).splitlines()
    assert [line for line in lines if re.search(r"0/1320 instances ━{20} 0 MB/s +(long)+l?o?n?…$", line)]


def test_what_a_terminal_shows_of_ctrl_c_fits_behind_the_bar(monkeypatch):
    from cinemill.cli import show

    monkeypatch.setattr(show, "console", Console(file=StringIO(), force_terminal=True, width=80))
    with show.bar() as bar:
        bar.frames(Item(Path(f"{'long' * 20}.dcm"), Path("out")), 12, 30)
        with show.console.capture() as capture:
            show.console.print(bar._progress.get_renderable())
    assert max(map(len, click.unstyle(capture.get()).splitlines())) == 78


def test_that_a_data_set_was_stopped_is_said_once_the_bar_is_gone(monkeypatch):
    def make(_):
        raise Cancelled("stopped")

    bar = SimpleNamespace(close=lambda: click.echo("gone", err=True))
    monkeypatch.setattr("cinemill.cli.dataset.phases", lambda **_: closing(bar))
    monkeypatch.setattr(Making, "make", make)
    assert CliRunner().invoke(app, ["dataset", str(bundled("CT_small.dcm")), "set"]).output == (
        "gone\nstopped; the same command goes on from here\n"
    )


@pytest.fixture
def screen(monkeypatch):
    """What a terminal gets on which both streams end."""
    from cinemill.cli import show

    written = StringIO()
    monkeypatch.setattr(show, "console", Console(file=written, force_terminal=True, width=80))
    for module in (progress, exchange):
        monkeypatch.setattr(module, "sys", terminal())
    return written


def test_what_went_wrong_on_the_network_stands_above_the_bar(screen, capsys):
    with Shown(Pace()) as shown:
        shown.wrong("down", "a.dcm: nobody answers")
    assert capsys.readouterr().err == ""
    drawn = click.unstyle(screen.getvalue())
    assert "0 instances, 0 MB" in drawn
    assert re.search(r"^down: a\.dcm: nobody answers$", drawn.replace("\r", "\n"), re.MULTILINE)


def test_there_is_no_bar_between_lines_of_json_on_a_terminal(screen, monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 0)
    with Shown(Pace(), as_json=True) as shown, LateBar(lambda: (1, 1), hidden=between_lines(as_json=True)):
        shown.wrong("down", "a.dcm: nobody answers")
        time.sleep(0.05)
    assert screen.getvalue() == ""


def test_a_small_file_on_a_terminal_is_one_line_and_no_bar(tmp_path):
    parent, child = pty.openpty()
    start = "from cinemill_workers.cli.main import main; import cinemill.cli.progress as p; p._PATIENCE = 60; main()"
    words = ["transcode", str(bundled("CT_small.dcm")), str(tmp_path / "out.dcm"), "--to", "explicit"]
    try:
        subprocess.run([sys.executable, "-c", start, *words], stderr=child, check=True)
        os.close(child)
        shown = b""
        with suppress(OSError):  # nobody has the other end any more
            while part := os.read(parent, 1 << 16):
                shown += part
    finally:
        os.close(parent)
    assert b"\x1b" not in shown
    assert shown.count(b"\n") == 1
