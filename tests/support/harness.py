"""What the tests of the service use: archives of small instances, workers in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from cinemill.operations.extract.request import Extract
from cinemill.operations.transcode.request import Transcode
from cinemill.storage.tree import OURS
from cinemill_workers.engine import journal
from cinemill_workers.engine.kinds import to_json
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import Job, JobSpec
from cinemill_workers.local.embedded import Server
from tests.support.files import bundled

TO_JPEG_LS = Transcode("jpeg-ls")


def job_spec(
    source: Path, destination: Path, *, work: Transcode | Extract = TO_JPEG_LS, **more: Any
) -> JobSpec:
    return JobSpec((str(source),), str(destination), to_json(work), **more)


def write_instance(path: Path, seed: int, *, side: int = 24, frames: int = 1) -> None:
    """Write a small grey instance whose pixels depend on the seed."""
    dataset = pydicom.dcmread(bundled("CT_small.dcm"))
    pixels = np.random.default_rng(seed).integers(0, 4000, (frames, side, side), dtype="<i2")
    dataset.Rows = dataset.Columns = side
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.PixelData = pixels.tobytes()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=[str(seed)]
    )
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)


def write_archive(folder: Path, count: int, *, first_seed: int = 0, **options: int) -> list[Path]:
    """Write instances, twenty to a directory."""
    paths = [folder / f"study{number // 20:03}" / f"{number:05}.dcm" for number in range(count)]
    for number, path in enumerate(paths):
        write_instance(path, first_seed + number, **options)
    return paths


def make_tree(folder: Path, sizes: list[int]) -> None:
    """Write files of so many zero bytes, ten to a directory."""
    for number, size in enumerate(sizes):
        path = folder / f"{number // 10:03}" / f"{number:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))


def samples(path: Path) -> np.ndarray:
    """Decode a file with pydicom and a decoder that is not ours."""
    return pydicom.dcmread(path).pixel_array


def assert_exact(source: Path, output: Path) -> None:
    np.testing.assert_array_equal(samples(output), samples(source))


def files_below(folder: Path) -> set[Path]:
    """Return the files of a tree, without what the service tells of them."""
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path for path in found if OURS not in path.parts}


def receipts(ledger: Ledger, job: str) -> list[dict[str, Any]]:
    return list(journal.receipts([journal.Records.of_job(ledger, ledger.job(job))]))


def failures(ledger: Ledger, job: str) -> list[dict[str, Any]]:
    records = map(json.loads, journal.newest([journal.Records.of_job(ledger, ledger.job(job))]))
    return [record for record in records if record["state"] in {"failed", "quarantined"}]


def retry(ledger: Ledger, job: str) -> int:
    return journal.retry(ledger, ledger.job(job))


def closed_window() -> str:
    """Return a window of the day that does not open during a test."""
    opens, closes = (datetime.now() + timedelta(hours=hours) for hours in (2, 3))  # noqa: DTZ005
    return f"{opens:%H:%M}-{closes:%H:%M}"


def wait_until(condition: Callable[[], bool], seconds: float = 120.0, *, pause: float = 0.05) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(pause)


@dataclass
class Worker:
    """A worker in a process of its own, started through ``celery`` as an operator would."""

    folder: Path
    environment: dict[str, str]
    application: str = "cinemill_workers.engine.app"
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    @property
    def command(self) -> list[str]:
        celery = [sys.executable, "-P", "-W", "ignore", "-m", "celery"]
        return [*celery, "-A", self.application, "worker", "-c", "2"]

    def start(self) -> None:
        with (self.folder / "worker.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    @property
    def log(self) -> str:
        return (self.folder / "worker.log").read_text()

    def children(self, *, stewards: bool = False) -> list[int]:
        """Return the process ids of the pool's children, or of the steward."""
        listing = subprocess.run(
            ["ps", "--ppid", str(self.process.pid), "-o", "pid=,args="],
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line.split(maxsplit=1) for line in listing.stdout.splitlines()]
        return [int(pid) for pid, arguments in lines if ("steward" in arguments) == stewards]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(120)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """Kill the worker and its children, which else go on for a moment, maybe with the next test's work."""
        children = [*self.children(), *self.children(stewards=True)]
        self.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


@dataclass
class Service:
    """A ledger, and workers upon it."""

    ledger: Ledger
    folder: Path
    environment: dict[str, str]
    workers: list[Worker] = field(default_factory=list)

    @staticmethod
    def hasty_environment(server: Server) -> dict[str, str]:
        """Return settings under which recovery takes seconds."""
        return {
            "CINEMILL_BROKER_URL": f"unix://{server.socket}",
            "CINEMILL_LEASE_SECONDS": "3",
            "CINEMILL_RETRY_SECONDS": "0.2",
            "CINEMILL_GRACE_SECONDS": "1",
            "CINEMILL_HOLD_SECONDS": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }

    def start_worker(self, application: str = "cinemill_workers.engine.app", **variables: str) -> Worker:
        folder = self.folder / f"worker{len(self.workers)}"
        folder.mkdir()
        self.workers.append(Worker(folder, self.environment | variables, application))
        return self.workers[-1]

    def submit(self, source: Path, destination: Path, **options: Any) -> str:
        return self.ledger.create(job_spec(source, destination, **options))

    def repeat_messages(self) -> None:
        """Deliver every waiting message once more."""
        client = self.ledger.client
        for message in client.lrange("cinemill.work", 0, -1):
            client.rpush("cinemill.work", message)

    def finish(self, job: str, seconds: float = 180.0) -> Job:
        wait_until(lambda: self.ledger.job(job).over, seconds)
        return self.ledger.job(job)
