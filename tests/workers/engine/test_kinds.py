"""Operations as the JSON values of a job, and as `submit` takes them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import cinemill_workers.cli.commands  # noqa: F401  registers the commands of the service
from cinemill.cli import app
from cinemill.errors import CinemillError, UsageError
from cinemill.network.pace import Window
from cinemill.operations.deidentify.keys import make_key
from cinemill.operations.deidentify.request import Deidentify
from cinemill.operations.exchange.request import Migrate, Pull, Push
from cinemill.operations.extract.request import Extract
from cinemill.operations.operation import Operation
from cinemill.operations.restore.request import Restore
from cinemill.operations.split.request import Split
from cinemill.operations.transcode.request import Transcode
from cinemill_workers.engine import client
from cinemill_workers.engine.kinds import KINDS, describe, from_json, to_json
from cinemill_workers.ledger.model import JobSpec

ASKED: list[Operation] = [
    Transcode("jpeg-ls", colour="rgb"),
    Extract("png", window=(1, 2)),
    Split(max_bytes=9),
    Restore(recheck=True),
    Deidentify(key="/secret/key", option="retain-uids", mask="none"),
    Pull("pacs", "day", at_once=2),
    Push("pacs", "web", "jpeg-2000,explicit"),
    Migrate("jpeg-ls", node="pacs", target="other", force=True),
]
IN_BULK: dict[str, Any] = {"if_larger": "keep", "lossy_source": "keep"}
"""What jobs do unless they are told otherwise."""
KEYS = {
    "transcode": {
        "kind",
        "to",
        "colour",
        "verify",
        "overwrite",
        "repair",
        "recheck",
        "preserve",
        "copy_rest",
        *("if_larger", "lossy_source", "readable_by", "policy", "collapse_grey"),
    },
    "extract": {
        *("kind", "format", "frames", "every", "count", "mode", "window", "voi", "region", "crop_to_region"),
        *(
            "mask_outside_regions",
            "size",
            "scale",
            "sidecar",
            "keep_index",
            "overwrite",
            "into_directory",
            "colour",
        ),
    },
    "split": {"kind", "frames_per_instance", "max_bytes"},
    "restore": {"kind", "overwrite", "recheck", "preserve", "copy_rest"},
    "deidentify": {
        *("kind", "to", "colour", "verify", "overwrite", "repair", "recheck", "preserve", "copy_rest"),
        *("if_larger", "lossy_source", "readable_by", "policy", "collapse_grey"),
        *("profile", "option", "key", "map", "mask", "mask_rules"),
    },
    "pull": {"kind", "node", "by", "at_once"},
    "push": {"kind", "node", "via", "fallback", "force", "at_once"},
    "migrate": {
        *("kind", "to", "colour", "verify", "overwrite", "repair", "recheck", "preserve", "copy_rest"),
        *("if_larger", "lossy_source", "readable_by", "policy", "collapse_grey"),
        *("node", "target", "via", "fallback", "force", "at_once"),
    },
}


@pytest.mark.parametrize("operation", ASKED, ids=lambda operation: operation.kind)
def test_an_operation_comes_back_from_json(operation: Operation) -> None:
    values = json.loads(json.dumps(to_json(operation)))
    assert values.keys() == KEYS[operation.kind]
    assert from_json(values) == operation


def test_every_operation_is_a_kind_of_job() -> None:
    assert {operation.kind for operation in ASKED} == set(KINDS)


def test_a_job_of_another_version_is_refused() -> None:
    for values in ({"kind": "dream"}, {"kind": "split", "max_bytes": 9, "newer": 1}):
        with pytest.raises(UsageError, match="install the version that submitted it"):
            from_json(values)


def test_an_operation_is_named_in_a_word_or_two() -> None:
    assert [describe(to_json(operation)) for operation in ASKED] == [
        "to jpeg-ls",
        "extract png",
        "split",
        "restore",
        "deidentify",
        "pull pacs",
        "push pacs",
        "migrate pacs to jpeg-ls",
    ]
    assert describe({"kind": "transcode", "to": "newest"}) == "to newest"
    assert describe(to_json(Transcode())) == "by archive"
    assert describe(to_json(Transcode("rle,jpeg-ls"))) == "to rle, jpeg-ls"


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Submit with options, and return the job that would be stored."""
    found: list[JobSpec] = []
    monkeypatch.setattr(client, "check", found.append)
    monkeypatch.setattr(client, "census", lambda spec: (0, 0))
    (tmp_path / "in").mkdir()

    def submit(*words: str) -> JobSpec:
        every = ["submit", str(tmp_path / "in"), str(tmp_path / "out"), "--dry-run", *words]
        done = CliRunner().invoke(app, every)
        if isinstance(done.exception, CinemillError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return found.pop()

    return submit


def test_submit_takes_the_options_of_every_operation(submitted: Any) -> None:
    done = submitted("--to", "rle", "--colour", "keep", "--overwrite")
    assert from_json(done.work) == Transcode("rle", "keep", overwrite=True, **IN_BULK)
    done = submitted()
    assert from_json(done.work) == Transcode(**IN_BULK)
    done = submitted("--extract", "jpg", "--count", "2", "--stored", "--index")
    assert from_json(done.work) == Extract(
        "jpeg", count=2, mode="stored", keep_index=True, into_directory=True
    )
    done = submitted("--split", "--frames-per-instance", "5")
    assert from_json(done.work) == Split(frames_per_instance=5)
    assert from_json(submitted("--restore", "--overwrite").work) == Restore(overwrite=True)


def test_a_job_that_de_identifies_takes_targets_too_and_carries_the_key_by_its_path(
    submitted: Any, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    make_key(key)
    words = ("--deidentify", "--key", str(key), "--option", "retain-uids")
    wanted = Deidentify(key=str(key), option="retain-uids", **IN_BULK)
    assert from_json(submitted(*words).work) == wanted
    done = submitted(*words, "--to", "rle")
    assert from_json(done.work) == replace(wanted, to="rle")
    assert key.read_text().strip() not in done.to_json()
    with pytest.raises(UsageError, match="--copy-rest go with --to, not with --deidentify"):
        submitted(*words, "--copy-rest")
    with pytest.raises(UsageError, match="can't be read"):
        submitted("--deidentify", "--key", str(tmp_path / "none"))


def test_what_a_job_tells_of_identities_stands_beside_its_destination(tmp_path: Path) -> None:
    spec = JobSpec((str(tmp_path),), "/research/out", {"kind": "deidentify"})
    assert spec.folder("j") == Path("/research/.cinemill/j")
    assert replace(spec, work={"kind": "split"}).folder("j") == Path("/research/out/.cinemill/j")


def test_a_window_is_of_values_and_hours_are_of_the_day(submitted: Any) -> None:
    for name in ("--window", "--voi-window"):
        done = submitted("--extract", "png", name, "40,400", "--hours", "20:00-06:00")
        operation = from_json(done.work)
        assert isinstance(operation, Extract)
        assert (operation.window, done.window) == ((40, 400), "20:00-06:00")
    done = submitted("--to", "rle", "--window", "20:00-06:00")
    Window.parse(done.window)
    assert from_json(done.work) == Transcode("rle", **IN_BULK)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--split", "--to", "rle"), "expected either --to"),
        (("--split",), "give either the frames or the bytes"),
        (("--split", "--max-bytes", "9", "--repair"), "--repair go with --to, not with --split"),
        (("--to", "rle", "--max-bytes", "9"), "--max-bytes go with --split, not with --to"),
        (("--split", "--max-bytes", "9", "--overwrite"), "--overwrite go with --to, not with --split"),
        (("--extract", "png", "--every", "3"), "has no unit"),
    ],
)
def test_options_that_do_not_fit_the_operation_are_refused(
    submitted: Any, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        submitted(*words)


def test_standard_output_is_no_destination(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["submit", str(tmp_path), "-", "--to", "rle"])
    assert "- can't be the destination" in str(done.exception)


@pytest.mark.parametrize("command", ["worker", "up"])
@pytest.mark.parametrize("name", ["--jobs", "-j", "--concurrency"])
def test_processes_are_counted_by_jobs_as_everywhere(
    monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    found = []
    monkeypatch.setattr("cinemill_workers.cli.up.run", lambda count, **_: found.append(count))
    monkeypatch.setattr("cinemill_workers.engine.worker.run", found.append)
    assert CliRunner().invoke(app, [command, name, "3"]).exit_code == 0
    assert found == [3]
    shown = CliRunner().invoke(app, [command, "--help"]).output
    assert "--jobs" in shown
    assert "--concurrency" not in shown


def test_a_field_of_an_operation_is_in_its_job() -> None:
    for kind, operation in KINDS.items():
        assert {each.name for each in fields(operation)} | {"kind"} == KEYS[kind]  # type: ignore[arg-type]


def test_a_worker_loads_every_operation_before_it_forks() -> None:
    script = (
        "import sys; from celery.signals import worker_init; import cinemill_workers.engine.tasks\n"
        "worker_init.send(sender=None)\n"
        "from cinemill_workers.engine.kinds import KINDS\n"
        "print([each.kind for each in KINDS.values() if each.body not in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
