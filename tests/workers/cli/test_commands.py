"""The commands of the service as an operator types them."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cinemill import syntaxes
from cinemill.errors import CinemillError
from cinemill.operations.receipt import Receipt
from cinemill_workers.engine.client import open_ledger
from cinemill_workers.engine.scribe import Scribe
from cinemill_workers.ledger.connection import connect
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import ListedItem
from cinemill_workers.local.embedded import Server
from cinemill_workers.settings import Settings
from tests.support.harness import (
    assert_exact,
    closed_window,
    files_below,
    job_spec,
    wait_until,
    write_archive,
    write_instance,
)


@dataclass
class Terminal:
    """Runs ``cinemill`` with an environment of its own."""

    environment: dict[str, str]

    def run(self, *words: object, code: int = 0) -> str:
        done = subprocess.run(
            [*self.command, *map(str, words)],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    def json(self, *words: object, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code))

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-W", "ignore", "-m", "cinemill_workers.cli"]


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    hidden = {name for name in os.environ if name.startswith("CINEMILL_")} - {"CINEMILL_CACHE_DIR"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    environment["CINEMILL_STATE_DIR"] = str(tmp_path_factory.mktemp("state"))
    return Terminal(environment)


@pytest.fixture(scope="module")
def up(kernels: None, terminal: Terminal) -> Iterator[subprocess.Popen[str]]:
    command = [*terminal.command, "up", "--json"]
    with subprocess.Popen(command, env=terminal.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["broker"].startswith("unix:")
        yield process
        process.send_signal(signal.SIGINT)


def test_help_loads_nothing_heavy(terminal: Terminal) -> None:
    heavy = ("celery", "redis", "pydantic", "pydantic_settings", "rich.live", "numpy", "numba", "pydicom")
    code = (
        f"import sys, cinemill_workers.cli.commands; print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=terminal.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_all_commands_are_there(terminal: Terminal) -> None:
    listed = terminal.run("--help")
    for command in ("transcode", "demo", "submit", "jobs", "worker", "up", "doctor"):
        assert listed.count(f"\n  {command} ") == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["jobs", "list"], 1, "start `cinemill up`"),
        (["up"], 1, "CINEMILL_STATE_DIR"),
        (["submit", "{missing}", "{out}", "--to", "jpeg-ls"], 2, "no such file"),
        (["submit", "{here}", "{out}", "--to", "jpeg-xyz"], 2, "choose one of"),
        (["submit", "{here}", "{out}", "--to", "jpeg-ls", "--window", "8-9"], 2, "expected a window"),
        (
            ["submit", "{here}", "{out}", "--to", "rle", "--extract", "png"],
            2,
            "either --to TARGET or --extract",
        ),
        (["submit", "{here}", "{out}", "--to", "rle", "--frames", "0"], 2, "go with --extract"),
        (["submit", "{here}", "{out}", "--extract", "png", "--repair"], 2, "go with --to"),
        (["submit", "{here}", "{out}", "--extract", "bmp"], 2, "choose one of png"),
        (["submit", "{here}", "{out}.mp4", "--extract", "mp4"], 2, "name a directory for several"),
        (["submit", "{here}", "{here}", "--to", "jpeg-ls"], 2, "the same"),
        (["submit", "{here}", "{out}", "--to", "jpeg-ls", "--priority", "urgent"], 2, "urgent"),
    ],
)
def test_what_can_not_be_done_is_said_in_one_line(
    terminal: Terminal, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    (tmp_path / "in").mkdir()
    names = {"missing": tmp_path / "missing", "here": tmp_path / "in", "out": tmp_path / "out"}
    (tmp_path / "file").touch()
    quiet = Terminal({**terminal.environment, "CINEMILL_STATE_DIR": str(tmp_path / "file" / "state")})
    assert message in quiet.run(*(word.format(**names) for word in words), code=code)


def test_a_destination_outside_the_roots_is_refused_at_once(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    confined = Terminal({**terminal.environment, "CINEMILL_ROOTS": str(tmp_path / "in")})
    assert "CINEMILL_ROOTS" in confined.run(
        "submit", tmp_path / "in", tmp_path / "out", "--to", "rle", *WRITTEN, code=1
    )


WRITTEN = ("--if-larger", "write")
"""The instances here are so small that what their outputs remember makes them larger."""


@pytest.mark.service
@pytest.mark.usefixtures("up")
def test_a_job_from_submission_to_report(terminal: Terminal, tmp_path: Path) -> None:
    sources = write_archive(tmp_path / "in", 5)
    words = ("submit", tmp_path / "in", tmp_path / "out", "--to", "jpeg-ls", *WRITTEN, "--name", "first")
    before = [each["id"] for each in terminal.json("jobs", "list")]
    planned = terminal.json(*words, "--dry-run")
    assert planned == {"items": 5, "bytes": sum(source.stat().st_size for source in sources)}
    assert [each["id"] for each in terminal.json("jobs", "list")] == before

    job = terminal.json(*words)["id"]
    watched = terminal.json("jobs", "watch", job)
    shown = terminal.json("jobs", "show", job)
    assert watched["counts"] == shown["counts"]
    assert {"id", "state", "counts", "bytes_in", "bytes_out", "created", "started", "finished"} <= set(shown)
    assert (shown["state"], shown["counts"]["done"]) == ("done", 5)
    for source in sources:
        assert_exact(source, tmp_path / "out" / source.relative_to(tmp_path / "in"))

    assert terminal.json("jobs", "report", job, "-o", tmp_path / "r.jsonl")["rows"] == 5
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert {row["status"] for row in rows} == {"transcoded"}
    terminal.run("jobs", "report", job, "-o", tmp_path / "r.csv")
    with (tmp_path / "r.csv").open(newline="") as file:
        assert [row["digest"] for row in csv.DictReader(file)] == [row["digest"] for row in rows]

    again = terminal.json(*words, "--wait")
    assert again["counts"]["skipped"] == 5
    assert "first" in terminal.run("jobs")
    assert terminal.json("jobs", "show")["id"] == again["id"]

    found = terminal.json("jobs", "find", rows[2]["sop_instance_uid"], job)
    assert [each["receipt"] for each in found] == [rows[2]]
    assert len(terminal.json("jobs", "find", rows[2]["output"])) == 2
    assert rows[2]["source"] in terminal.run("jobs", "find", rows[2]["source"])
    assert "nothing is told of" in terminal.run("jobs", "find", "1.2.3", code=1)

    terminal.json("submit", sources[0], f"{tmp_path}/one/", "--to", "rle", "--wait")
    assert (tmp_path / "one" / sources[0].name).is_file()


@pytest.mark.service
@pytest.mark.usefixtures("up")
def test_a_standing_job_ends_when_it_is_told_to(terminal: Terminal, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 2)
    words = (
        *("submit", tmp_path / "in", tmp_path / "out", "--to", "rle"),
        *("--if-larger", "write", "--standing"),
    )
    assert "no end to wait for" in terminal.run(*words, "--wait", code=2)
    one = (
        "submit",
        tmp_path / "in" / "study000" / "00000.dcm",
        tmp_path / "one.dcm",
        "--to",
        "rle",
        "--standing",
    )
    assert "watches directories" in terminal.run(*one, code=2)
    job = terminal.json(*words)["id"]
    wait_until(lambda: terminal.json("jobs", "show", job)["counts"]["done"] == 2)
    assert terminal.json("jobs", "finish", job)["state"] == "done"
    assert terminal.json("jobs", "watch", job)["counts"]["done"] == 2
    assert "submit it again" not in terminal.run("jobs", "finish", job)


@pytest.mark.service
def test_receipts_are_read_from_their_folder_without_a_server(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    with Server(tmp_path / "state", tmp_path / "s") as server:
        ledger = Ledger(connect(f"unix://{server.socket}"))
        for _ in range(2):
            job = ledger.create(job_spec(tmp_path / "in", tmp_path / "out"))
            ledger.feed(job, 0, [[ListedItem(0, "/in/a", "/out/a", 1)]], exhausted=True)
            parcel = ledger.claim("holder", "worker")
            assert parcel is not None
            told = Receipt("/in/a", "/out/a", "transcoded", sop_instance_uid="1.2")
            ledger.finish(parcel, "done", told.to_dict())
            Scribe(ledger, Settings()).turn()
            folder = ledger.job(job).folder
            assert ledger.delete(job)
    gone = Terminal({**terminal.environment, "CINEMILL_STATE_DIR": str(tmp_path / "nowhere")})
    for place in (tmp_path / "out", folder):
        report = tmp_path / "r.jsonl"
        report.unlink(missing_ok=True)
        assert gone.json("jobs", "report", place, "-o", report)["rows"] == 1
        assert json.loads(report.read_text())["sop_instance_uid"] == "1.2"
    assert len(gone.json("jobs", "find", "1.2", tmp_path / "out")) == 2
    lines = gone.run("jobs", "find", "1.2", tmp_path / "out").splitlines()
    assert [line.strip() for line in lines][1:3] == ["/in/a", "/out/a"]
    assert len(lines) == 6
    assert "holds no receipts" in gone.run(
        "jobs", "report", tmp_path / "in", "-o", tmp_path / "r.csv", code=2
    )


@pytest.mark.service
@pytest.mark.usefixtures("up")
def test_an_extraction_by_the_queue_is_that_of_the_command(terminal: Terminal, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 3, frames=4)
    options = ("--count", 2, "--size", "12x0", "--sidecar", "--display")
    words = (
        "submit",
        tmp_path / "in",
        tmp_path / "out",
        "--extract",
        "png",
        "--voi-window",
        "2000,4000",
        *options,
    )
    assert terminal.json(*words, "--wait")["counts"]["done"] == 3
    words = (
        "extract",
        tmp_path / "in",
        tmp_path / "direct",
        "--format",
        "png",
        "--window",
        "2000,4000",
        *options,
    )
    terminal.run(*words)
    assert len(files_below(tmp_path / "direct")) == 9
    assert files_below(tmp_path / "out") == files_below(tmp_path / "direct")
    for path in files_below(tmp_path / "direct"):
        assert (tmp_path / "out" / path).read_bytes() == (tmp_path / "direct" / path).read_bytes()


@pytest.mark.service
@pytest.mark.usefixtures("up")
def test_parts_made_by_the_queue_are_those_of_the_command(terminal: Terminal, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 2, frames=5)
    options = ("--frames-per-instance", 2)
    words = ("submit", tmp_path / "in", tmp_path / "out", "--split", *options)
    assert terminal.json(*words, "--wait")["counts"]["done"] == 2
    terminal.run("split", tmp_path / "in", tmp_path / "direct", *options)
    assert len(files_below(tmp_path / "direct")) == 6
    assert files_below(tmp_path / "out") == files_below(tmp_path / "direct")
    for path in files_below(tmp_path / "direct"):
        assert (tmp_path / "out" / path).read_bytes() == (tmp_path / "direct" / path).read_bytes()
    assert terminal.json(*words, "--wait")["counts"]["skipped"] == 2


@pytest.mark.service
@pytest.mark.usefixtures("up")
def test_steering_a_job(terminal: Terminal, tmp_path: Path) -> None:
    write_archive(tmp_path / "in", 3)
    words = ("submit", tmp_path / "in", tmp_path / "out", "--to", "rle", *WRITTEN)
    job = terminal.json(*words, "--window", closed_window())["id"]
    assert terminal.json("jobs", "pause", job)["state"] == "paused"
    assert terminal.json("jobs", "resume", job)["state"] in {"running", "waiting"}
    assert terminal.json("jobs", "cancel", job)["state"] == "cancelled"
    assert "can become running" in terminal.run("jobs", "resume", job, code=2)
    assert "submit it again" in terminal.run("jobs", "retry", job, code=2)
    assert "no job begins" in terminal.run("jobs", "show", "nothing", code=2)


@pytest.mark.service
@pytest.mark.usefixtures("up")
def test_failures_show_in_exit_codes_and_can_be_retried(terminal: Terminal, tmp_path: Path) -> None:
    write_instance(tmp_path / "in" / "short.dcm", 1)
    whole = (tmp_path / "in" / "short.dcm").read_bytes()
    (tmp_path / "in" / "short.dcm").write_bytes(whole[:-100])
    failed = terminal.json(
        "submit", tmp_path / "in", tmp_path / "out", "--to", "rle", *WRITTEN, "--wait", code=1
    )
    assert failed["counts"]["failed"] == 1
    (tmp_path / "in" / "short.dcm").write_bytes(whole)
    assert terminal.json("jobs", "retry", failed["id"])["retried"] == 1
    wait_until(lambda: terminal.json("jobs", "show", failed["id"])["counts"]["done"] == 1)


@pytest.mark.service
@pytest.mark.usefixtures("up")
def test_the_doctor_finds_this_machine_well(terminal: Terminal) -> None:
    ask = [*terminal.command, "doctor", "--worker"]
    wait_until(
        lambda: (
            subprocess.run(ask, env=terminal.environment, stdout=subprocess.PIPE, check=False).returncode == 0
        )
    )
    checks = {finding["check"]: finding for finding in json.loads(terminal_output(terminal))}
    for check in ("kernels", "broker", "broker persistence", "broker memory", "workers"):
        assert checks[check]["well"], checks[check]


def terminal_output(terminal: Terminal) -> str:
    """Return the doctor's answer, whether or not the package's metadata is installed where tests run."""
    command = [*terminal.command, "doctor", "--json"]
    return subprocess.run(
        command, env=terminal.environment, capture_output=True, text=True, check=False
    ).stdout


@pytest.mark.service
def test_deleting_a_job_that_is_shown_does_not_end_up(
    terminal: Terminal, up: subprocess.Popen[str], tmp_path: Path
) -> None:
    write_archive(tmp_path / "in", 1)
    words = ("submit", tmp_path / "in", tmp_path / "out", "--to", "rle", *WRITTEN, "--name", "passing")
    terminal.json(*words, "--wait")
    shown = terminal.json("jobs", "show", "passing")
    wait_until(lambda: Path(shown["folder"], "job.json").exists())
    assert shown["folder"] in terminal.run("jobs", "delete", "passing")
    assert Path(shown["folder"], "job.json").exists()
    terminal.json(*words, "--wait")
    assert up.poll() is None
    assert terminal.json("jobs", "show", "pass")["statuses"] == {"kept": 1}
    assert terminal.run("jobs", "show").count("kept") == 1
    terminal.run("jobs", "cancel", code=2)
    terminal.run("jobs", "delete", code=2)


@pytest.mark.service
def test_a_report_can_be_had_while_the_service_is_stopped(terminal: Terminal, tmp_path: Path) -> None:
    stopped = Terminal({**terminal.environment, "CINEMILL_STATE_DIR": str(tmp_path / "state")})
    chosen = Settings(state_dir=tmp_path / "state")
    with Server(chosen.state_dir, chosen.socket_path):
        ledger = open_ledger(chosen)
        job = ledger.create(replace(job_spec(tmp_path / "in", tmp_path / "out"), name="\x1b[31mname"))
        ledger.feed(job, 0, [[ListedItem(0, "/in/a", "/out/a", 1)]], exhausted=True)
        parcel = ledger.claim("holder", "worker")
        assert parcel is not None
        ledger.finish(parcel, "done", Receipt("/in/a", "/out/a", "transcoded").to_dict())
    assert stopped.json("jobs", "report", "-o", tmp_path / "r.jsonl") == {
        "id": job,
        "rows": 1,
        "file": str(tmp_path / "r.jsonl"),
    }
    assert stopped.json("jobs", "show", "\x1b")["id"] == job
    assert "\x1b" not in stopped.run("jobs")
    assert not chosen.socket_path.exists()


@pytest.fixture
def without_metrics(terminal: Terminal, tmp_path: Path) -> Terminal:
    """An installation without the extra ``metrics``, told to serve them."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import sys; sys.modules['prometheus_client'] = None")
    path = os.pathsep.join([str(tmp_path / "site"), terminal.environment["PYTHONPATH"]])
    state = str(tmp_path / "state")
    more = {"PYTHONPATH": path, "CINEMILL_METRICS_PORT": "9464", "CINEMILL_STATE_DIR": state}
    return Terminal({**terminal.environment, **more})


@pytest.mark.parametrize("command", ["up", "worker"])
def test_what_metrics_need_is_said_at_the_start(without_metrics: Terminal, command: str) -> None:
    said = without_metrics.run(command, code=2)
    assert "pip install 'cinemill[metrics]'" in said


@pytest.mark.parametrize(
    ("roots", "faults"), [(["{tmp}", "/sys"], []), (["/sys"], ["/sys"]), (["{tmp}", "/proc/0"], ["/proc/0"])]
)
def test_a_root_may_be_for_sources_alone(
    terminal: Terminal, tmp_path: Path, roots: list[str], faults: list[str]
) -> None:
    """An archive that is mounted so that nobody can write to it, as docker-compose.yml does, is no fault."""
    places = [root.format(tmp=tmp_path) for root in roots]
    settings = {"CINEMILL_ROOTS": os.pathsep.join(places), "CINEMILL_STATE_DIR": str(tmp_path / "state")}
    alone = Terminal({**terminal.environment, **settings})
    findings = {finding["check"]: finding for finding in alone.json("doctor", code=1)}
    assert [place for place in places if not findings[f"root {place}"]["well"]] == faults


@pytest.mark.service
def test_the_doctor_finds_fault_with_a_service_that_does_nothing(
    without_metrics: Terminal, tmp_path: Path
) -> None:
    chosen = Settings(state_dir=tmp_path / "state")
    with Server(chosen.state_dir, chosen.socket_path):
        open_ledger(chosen).complain("cinemill-1@host", "ended because of this")
        findings = {f["check"]: f for f in without_metrics.json("doctor", code=1)}
    assert "cinemill[metrics]" in findings["settings"]["remedy"]
    assert not findings["workers"]["well"]
    assert "cinemill up" in findings["workers"]["remedy"]
    assert findings["worker cinemill-1@host"]["found"] == "ended because of this"


POISON = ("select", "celery", "random", "redis", "numba", "logging", "cinemill_workers", "prometheus_client")


@pytest.mark.service
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("command", ["up", "worker", "demo"])
def test_modules_in_the_working_directory_are_never_executed(
    terminal: Terminal, tmp_path: Path, command: str
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    for name in POISON:
        (place / f"{name}.py").write_text(
            f"open({str(tmp_path / 'executed')!r}, 'a').write(__file__ + '\\n')\n"
        )
    write_archive(tmp_path / "in", 2)
    chosen = Settings(state_dir=tmp_path / "state")
    more = {"CINEMILL_STATE_DIR": str(chosen.state_dir)}
    start = [sys.executable, "-P", "-W", "ignore", "-m", "cinemill_workers.cli", command]
    with ExitStack() as stack:
        if command == "worker":
            stack.enter_context(Server(chosen.state_dir, chosen.socket_path))
        log = stack.enter_context((tmp_path / "log").open("wb"))
        process = stack.enter_context(
            subprocess.Popen(start, env=terminal.environment | more, cwd=place, stdout=log, stderr=log)
        )
        stack.callback(process.terminate)
        if command == "demo":
            assert process.wait(180) == 0
        else:
            wait_until(lambda: process.poll() is None and _answers(chosen))
            ledger = open_ledger(chosen)
            job = ledger.create(job_spec(tmp_path / "in", tmp_path / "out"))
            wait_until(lambda: ledger.job(job).over)
            assert ledger.job(job).counts["done"] == 2
    assert not (tmp_path / "executed").exists(), (tmp_path / "executed").read_text()


def _answers(chosen: Settings) -> bool:
    try:
        open_ledger(chosen)
    except CinemillError:
        return False
    return True


@pytest.mark.service
def test_interrupting_up_leaves_nothing_running(terminal: Terminal, tmp_path: Path) -> None:
    environment = {**terminal.environment, "CINEMILL_STATE_DIR": str(tmp_path / "state")}
    command = [*terminal.command, "up", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        worker = json.loads(process.stdout.readline())["worker"]
        assert "runs here already" in Terminal(environment).run("up", code=2)
        socket = tmp_path / "state" / "server.sock"
        client = connect(f"unix://{socket}")
        os.kill(client.info()["process_id"], signal.SIGKILL)
        wait_until(lambda: bool(client.ping()))
        client.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert not Path(f"/proc/{worker}").exists()
    assert not (tmp_path / "state" / "server.sock").exists()


@pytest.mark.service
def test_the_demo_ends_with_verified_files(terminal: Terminal, tmp_path: Path) -> None:
    assert "every frame was read back and compared" in terminal.run("demo", "-o", tmp_path / "demo")
    names = sorted(path.name for path in files_below(tmp_path / "demo"))
    assert "frame_0000.png" in names
    assert len(names) == len(syntaxes.TARGETS) + 1
