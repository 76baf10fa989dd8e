"""Jobs of several hundred instances while children, hosts, the server and the storage fail in every way we know.

``CHAOS_SEED`` chooses their order and moments: a number, several (``3,7``) or a range (``0-19``). Without it, two runs
share the troubles of one seed. ``CHAOS_INSTANCES``: how many are generated.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
from redis.exceptions import RedisError

from cinemill.errors import CinemillError
from cinemill.operations.extract.request import Extract
from cinemill.operations.operation import Control, Operation
from cinemill.operations.receipt import SUCCESSES
from cinemill.operations.split.request import Split
from cinemill.operations.transcode.request import Transcode
from cinemill_workers.ledger.connection import connect
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.local.embedded import Server
from tests.support.harness import Service, assert_exact, files_below, write_archive, write_instance
from tests.support.trouble import LEASE_SECONDS, Troublemaker

pytestmark = pytest.mark.service

GENERATED = int(os.environ.get("CHAOS_INSTANCES", "250"))
CRASHING = "crash"
LONGEST_SECONDS = 400.0
DISK_BYTES = 128_000_000
WORKS: dict[str, Operation] = {
    "transcode": Transcode("jpeg-ls"),
    "extract": Extract("png", frames="0"),
    "split": Split(frames_per_instance=1),
}
OPTIONS = {
    "transcode": ("--to", "jpeg-ls", "--if-larger", "write", "--lossy-source", "transcode"),
    "extract": ("--extract", "png", "--frames", "0"),
    "split": ("--split", "--frames-per-instance", "1"),
}
_OUTPUT = re.compile(r"_\d{4}$")
"""What the first frame, or a part, has behind the name of its source."""


def runs() -> list[tuple[int, slice]]:
    """Return seeds, and which of their troubles are made: all of them, or in two runs half of them each."""
    chosen = os.environ.get("CHAOS_SEED")
    if chosen is None:
        return [(0, slice(0, None, 2)), (0, slice(1, None, 2))]
    found: list[int] = []
    for part in chosen.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return [(seed, slice(None)) for seed in found]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A destination on a small disk of its own; an ordinary directory where mounting is not permitted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)]
    mounted = os.getuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    yield folder
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@dataclass
class Calm:
    """An archive, and what becomes of it where nothing disturbs."""

    root: Path
    sources: list[Path]
    outputs: dict[str, Path]
    fates: dict[str, dict[Path, str]]


@pytest.fixture(scope="module")
def calm(kernels: None, tmp_path_factory: pytest.TempPathFactory) -> Calm:
    folder = tmp_path_factory.mktemp("calm")
    sources = make_archive(folder / "in")
    outputs = {kind: folder / kind for kind in WORKS}
    fates = {kind: undisturbed(work, folder / "in", outputs[kind]) for kind, work in WORKS.items()}
    return Calm(folder / "in", sources, outputs, fates)


def make_archive(folder: Path) -> list[Path]:
    """Collect generated instances, one that crashes its decoder, and pydicom's own odd files."""
    write_archive(folder / "generated", GENERATED)
    write_archive(folder / "cines", GENERATED // 10, first_seed=2 * GENERATED, frames=5)
    write_instance(folder / "generated" / f"{CRASHING}.dcm", GENERATED)
    odd = Path(pydicom.__file__).parent / "data" / "test_files"
    for path in sorted(odd.glob("*.dcm")):
        (folder / "odd").mkdir(exist_ok=True)
        shutil.copy(path, folder / "odd" / path.name)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def undisturbed(work: Operation, origin: Path, destination: Path) -> dict[Path, str]:
    """Do the work in this process, one instance after the other; return each source's fate."""
    fates: dict[Path, str] = {}
    for item in work.discover([origin], destination):
        try:
            receipt = work.apply(item.source, item.output, Control(threads=1))
            fates[item.source] = receipt.status
        except CinemillError as error:
            fates[item.source] = error.kind
    return fates


@pytest.mark.parametrize(("seed", "part"), runs())
def test_chaos(calm: Calm, tmp_path: Path, disk: Path, seed: int, part: slice) -> None:
    assert len(calm.sources) >= GENERATED + 50
    with Server(tmp_path / "state", tmp_path / "s") as server:
        ledger = Ledger(connect(f"unix://{server.socket}", patience=8), lease_seconds=LEASE_SECONDS)
        service = Service(ledger, tmp_path, Service.hasty_environment(server))
        with Troublemaker(
            service, server, calm.root, disk, seed, crashing=CRASHING, seconds=10 / GENERATED
        ) as trouble:
            trouble.start_worker()
            jobs = {kind: submit(trouble, calm.root, disk, kind) for kind in WORKS}
            deadline = time.monotonic() + LONGEST_SECONDS
            for act in trouble.plan()[part]:
                time.sleep(trouble.random.uniform(0.1, 1.0))
                print(f"{LONGEST_SECONDS - deadline + time.monotonic():5.1f} s  {act.__name__}")
                act()
            ends = settle(trouble, jobs, deadline)
            print(f"{LONGEST_SECONDS - deadline + time.monotonic():5.1f} s  over")
            lost: dict[str, set[str]] = {}
            for kind, job in jobs.items():
                lost[kind] = check_account(ends[kind], report(trouble, job), calm.fates[kind])
                check_outputs(disk / kind, calm.outputs[kind], lost[kind])

            trouble.variables |= {"FAULTY_CRASH": "", "FAULTY_SECONDS": "0"}
            trouble.kill_worker()
            again = {kind: submit(trouble, calm.root, disk, kind) for kind in WORKS}
            for kind, found in settle(trouble, again, deadline + LONGEST_SECONDS).items():
                assert found["counts"]["quarantined"] == 0
                assert found["counts"]["done"] + found["counts"]["copied"] == len(lost[kind])
                assert files_below(disk / kind) == files_below(calm.outputs[kind])
            print(
                f"{LONGEST_SECONDS - deadline + time.monotonic():5.1f} s  over again, {len(lost['transcode'])} were lost"
            )

    for source in calm.sources:
        output = disk / "transcode" / source.relative_to(calm.root)
        if source.parts[-3] == "generated" and output.exists():
            assert_exact(source, output)


def submit(trouble: Troublemaker, root: Path, disk: Path, kind: str) -> str:
    told = trouble.cinemill("submit", str(root), str(disk / kind), *OPTIONS[kind])
    trouble.submit(told["id"])
    return str(told["id"])


def settle(trouble: Troublemaker, jobs: dict[str, str], deadline: float) -> dict[str, dict[str, Any]]:
    """Wait until the jobs are over, or the time is; return what is shown of them."""
    while time.monotonic() < deadline:
        with contextlib.suppress(RedisError):
            if all(trouble.service.ledger.job(job).over for job in jobs.values()):
                break
        time.sleep(0.1)
    return {kind: trouble.cinemill("jobs", "show", job) for kind, job in jobs.items()}


def report(trouble: Troublemaker, job: str) -> list[dict[str, Any]]:
    path = trouble.service.folder / f"{job}.jsonl"
    trouble.cinemill("jobs", "report", job, "--output", str(path))

    return [json.loads(line) for line in path.read_text().splitlines()]


def check_account(found: dict[str, Any], records: list[dict[str, Any]], fates: dict[Path, str]) -> set[str]:
    """Check that every source has one record, as it would have undisturbed; return the names of those lost."""
    counts = found["counts"]
    assert found["finished"], found
    assert sum(counts.values()) == found["listed"] == len(fates)
    assert Counter(record["source"] for record in records) == Counter(map(str, fates))
    for record in records:
        fate = fates[Path(record["source"])]
        if record["status"] in SUCCESSES - {"ignored"}:
            assert record["status"] in {fate, "kept"}, record
        elif record["status"] != "ignored":
            assert record["error"]["kind"] in {fate, "WorkerLost"}, record
    lost = {Path(r["source"]).stem for r in records if (r["error"] or {}).get("kind") == "WorkerLost"}
    assert CRASHING in lost
    assert counts["quarantined"] >= len(lost)
    return lost


def check_outputs(found: Path, calm: Path, lost: set[str]) -> None:
    expected = {path for path in files_below(calm) if _OUTPUT.sub("", path.stem) not in lost}
    assert files_below(found) == expected
    for path in expected:
        assert (found / path).read_bytes() == (calm / path).read_bytes()
