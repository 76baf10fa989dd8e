"""Jobs of several hundred instances while children, workers and the server are killed and the disk fills up.

``CHAOS_SEED`` chooses the moments; without it they are the same in every run.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from redis.exceptions import RedisError

from cinemill.errors import CinemillError
from cinemill.operations.extract.request import Extract
from cinemill.operations.operation import Control, Operation
from cinemill.operations.receipt import SUCCESSES
from cinemill.operations.transcode.request import Transcode
from cinemill_workers.ledger.connection import connect
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import Job
from cinemill_workers.local.embedded import Server
from tests.support.harness import Service, assert_exact, files_below, receipts, write_archive, write_instance

pytestmark = pytest.mark.service

GENERATED = 250
CRASHING = "crash"
TROUBLES = 14
LONGEST_SECONDS = 180.0
DISK_BYTES = 128_000_000
WORKS: dict[str, Operation] = {"transcode": Transcode("jpeg-ls"), "extract": Extract("png", frames="0")}


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


def make_archive(folder: Path) -> list[Path]:
    """Collect generated instances, one that crashes its decoder, and pydicom's own odd files."""
    write_archive(folder / "generated", GENERATED)
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


class Troublemaker:
    """Does something evil at random moments."""

    def __init__(self, service: Service, server: Server, disk: Path, seed: int) -> None:
        self.service = service
        self.server = server
        self.disk = disk
        self.random = random.Random(seed)
        self.full = service.folder / "full"

    def start_worker(self) -> None:
        self.service.start_worker(
            "tests.support.faulty_worker",
            FAULTY_SECONDS="0.06",
            FAULTY_CRASH=CRASHING,
            FAULTY_FULL=str(self.full),
        )

    def kill_child(self) -> None:
        children = self.service.workers[-1].children()
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(children), signal.SIGKILL)

    def kill_worker(self) -> None:
        self.service.workers[-1].kill()
        self.start_worker()

    def restart_server(self) -> None:
        if self.random.random() < 0.5 and self.server.pid is not None:
            os.kill(self.server.pid, signal.SIGKILL)
        self.server.stop()
        time.sleep(self.random.uniform(0, 2))
        self.server.start()

    def repeat_messages(self) -> None:
        self.service.repeat_messages()

    def fill_disk(self) -> None:
        """Leave no byte on a disk of our own; on a shared one, have the worker pretend."""
        if not os.path.ismount(self.disk):
            self.full.touch()
            time.sleep(1)
            self.full.unlink()
            return
        ballast = self.disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        time.sleep(1)
        ballast.unlink()

    def plan(self) -> list[Callable[[], None]]:
        """Return everything at least once, in random order."""
        every = [self.kill_child, self.kill_worker, self.restart_server, self.repeat_messages, self.fill_disk]
        plan = every + self.random.choices(every, k=TROUBLES - len(every))
        self.random.shuffle(plan)
        return plan


@pytest.mark.usefixtures("kernels")
def test_chaos(tmp_path: Path, disk: Path) -> None:
    sources = make_archive(tmp_path / "in")
    assert len(sources) >= 300
    fates = {kind: undisturbed(work, tmp_path / "in", tmp_path / kind) for kind, work in WORKS.items()}
    with Server(tmp_path / "state", tmp_path / "s") as server:
        ledger = Ledger(connect(f"unix://{server.socket}", patience=8), lease_seconds=3)
        service = Service(ledger, tmp_path, Service.hasty_environment(server))
        trouble = Troublemaker(service, server, disk, int(os.environ.get("CHAOS_SEED", "0")))
        trouble.start_worker()
        jobs = {kind: service.submit(tmp_path / "in", disk / kind, work=work) for kind, work in WORKS.items()}
        deadline = time.monotonic() + LONGEST_SECONDS
        for act in trouble.plan():
            time.sleep(trouble.random.uniform(0.2, 2.0))
            act()
        ends = {kind: settle(ledger, job, deadline) for kind, job in jobs.items()}
        records = {kind: receipts(ledger, job) for kind, job in jobs.items()}
        service.workers[-1].stop()

    for kind in WORKS:
        lost = check_account(ends[kind], records[kind], fates[kind])
        expected = {
            path for path in files_below(tmp_path / kind) if path.stem.removesuffix("_0000") not in lost
        }
        assert files_below(disk / kind) == expected
        for path in expected:
            assert (disk / kind / path).read_bytes() == (tmp_path / kind / path).read_bytes()
    for source in sources:
        output = disk / "transcode" / source.relative_to(tmp_path / "in")
        if source.parts[-3] == "generated" and output.exists():
            assert_exact(source, output)


def check_account(found: Job, records: list[dict[str, Any]], fates: dict[Path, str]) -> set[str]:
    """Check that every source has one record, as it would have undisturbed; return the names of those lost."""
    assert found.over, found
    assert sum(found.counts.values()) == found.listed == len(fates)
    assert sorted(record["source"] for record in records) == sorted(map(str, fates))
    for record in records:
        fate = fates[Path(record["source"])]
        if record["status"] in SUCCESSES - {"ignored"}:
            assert record["status"] in {fate, "kept"}, record
        elif record["status"] != "ignored":
            assert record["error"]["kind"] in {fate, "WorkerLost"}, record
    lost = {Path(r["source"]).stem for r in records if (r["error"] or {}).get("kind") == "WorkerLost"}
    assert CRASHING in lost
    assert found.counts["quarantined"] >= len(lost)
    return lost


def settle(ledger: Ledger, job: str, deadline: float) -> Job:
    """Wait until the job is over, or the time is."""
    while True:
        with contextlib.suppress(RedisError):
            found = ledger.job(job)
            if found.over or time.monotonic() > deadline:
                return found
        time.sleep(0.1)
