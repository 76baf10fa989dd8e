"""What terminals show of jobs."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast, get_args

import pytest
from rich.console import Console, RenderableType
from rich.text import Text

from cinemill.operations.receipt import Status
from cinemill_workers.cli import watch
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import ITEM_STATES, Job
from tests.support.harness import job_spec


@pytest.mark.parametrize("name", ["[/]", "[bold]", "\x1b[31m\n", "\udcff", "n" * 200])
def test_any_name_can_be_shown(name: str) -> None:
    console = Console(width=80, file=io.StringIO())
    job = make_job(name)
    for shown in (watch.listing([job]), watch.details(job, [])):
        console.print(shown)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert written.encode().count(job.id.encode()) == 4
    assert "\x1b" not in written


def make_job(name: str) -> Job:
    counts = dict.fromkeys(ITEM_STATES, 0)
    spec = job_spec(Path("/in"), Path("/out"), name=name)
    note = "listing stopped"
    return Job("20261126-111750-641231", spec, "paused", counts, listed=0, exhausted=False, note=note)


def shown(renderable: RenderableType, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_failure_is_shown_with_its_frame_and_in_the_words_of_reports() -> None:
    job = replace(make_job("name"), statuses={"transcoded": 2, "kept": 1, "refused": 1, "failed": 1})
    error = {"kind": "CodecError", "frame": 3, "message": "the codestream ends"}
    receipt = {"status": "failed", "source": "/in/a.dcm", "error": error}
    again = {"status": "refused", "source": "/in/b.dcm", "error": error | {"frame": None}}
    text = shown(
        watch.details(
            job,
            [
                {"state": "failed", "attempts": 1, "receipt": receipt},
                {"state": "quarantined", "attempts": 3, "receipt": again},
            ],
        )
    )
    assert "failed: /in/a.dcm: frame 3: the codestream ends\n" in text
    assert "refused: /in/b.dcm: the codestream ends (quarantined, attempt 3)" in text
    assert text.splitlines()[4] == "2 transcoded, 1 kept, 1 refused, 1 failed"
    assert not {"done", "skipped"} & set(text.split())


def test_states_of_items_are_told_by_the_statuses_of_receipts() -> None:
    job = replace(make_job("name"), statuses=dict.fromkeys(get_args(Status), 1))
    assert set(get_args(Status)) <= set(shown(watch.details(job, [])).replace(",", " ").split())


def test_a_job_is_shown_whole_in_80_columns() -> None:
    job = replace(make_job("name"), statuses=dict.fromkeys(get_args(Status), 1234), retries=1)
    text = shown(watch.details(job, []), 80)
    assert "…" not in text
    assert "0.0 MB before, 0.0 MB after, 0.0 MB/s of pixels, retries: 1" in text


def test_no_name_reaches_the_terminal_as_a_command() -> None:
    evil = "\x1b]0;owned\x07[red]x[/]"
    job = replace(make_job(evil), note=evil)
    job = replace(job, spec=replace(job.spec, work={"kind": "transcode", "to": evil}, destination=evil))
    failure = {
        "state": "failed",
        "attempts": 1,
        "receipt": {"status": "failed", "source": evil, "error": {"message": evil}},
    }
    for renderable in (watch.details(job, [failure]), watch.listing([job], {evil: evil})):
        text = shown(renderable)
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "[red]x[/]" in text


def test_what_follows_a_watch_begins_a_line_without_a_terminal_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    view = SimpleNamespace(render=lambda _: Text("workers: one"))
    monkeypatch.setattr(watch, "View", lambda *_: view)
    with watch.live(cast("Ledger", None)) as show:
        show([])
    assert capsys.readouterr().err.endswith("workers: one\n")


def test_the_list_tells_which_worker_gave_up() -> None:
    assert "cinemill-1@host ended because" in shown(
        watch.listing([], {"cinemill-1@host": "ended because of this"})
    )
