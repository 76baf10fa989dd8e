"""Jobs that pull, push and migrate: studies of a real archive by real workers, through kills, outages and limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest

from cinemill.network.instances import read_instance
from cinemill.network.store import store
from cinemill_workers.ledger.model import Job
from tests.support.harness import Service, failures, receipts, wait_until
from tests.support.pacs import Orthanc, orthanc, write_study
from tests.support.ports import free_port

pytestmark = [pytest.mark.service, pytest.mark.tools]

JPEG_LS = "1.2.840.10008.1.2.4.80"
STUDIES, A_STUDY = 4, 3


class Archive:
    """An Orthanc that holds some studies, and the nodes file that names it ``pacs``."""

    def __init__(self, running: Orthanc, folder: Path, **limits: int) -> None:
        self.running = running
        self.files = [
            file
            for seed in range(STUDIES)
            for file in write_study(folder / "sent", 60 + seed, A_STUDY, side=64, most=40)
        ]
        sent = store(running.node(), [read_instance(file) for file in self.files])
        assert {each.name for each in sent} == {"stored"}
        self.nodes = folder / "nodes.toml"
        self.write_nodes(running.dicom, **limits)

    def write_nodes(self, port: int, **limits: int) -> None:
        limited = "".join(f"{name} = {value}\n" for name, value in limits.items())
        self.nodes.write_text(
            f'[node.pacs.dimse]\nhost = "127.0.0.1"\nport = {port}\ncalled-aet = "ORTHANC"\ntimeout = 5\n'
            f"[node.pacs.limits]\n{limited or 'associations = 2'}\n"
        )

    def held(self) -> Counter[str]:
        """The transfer syntaxes of what it has, once their pixels were compared."""
        found: Counter[str] = Counter()
        for file in self.files:
            source = pydicom.dcmread(file)
            given = pydicom.dcmread(BytesIO(self.running.file(str(source.SOPInstanceUID))))
            assert (given.pixel_array == source.pixel_array).all()
            found[str(given.file_meta.TransferSyntaxUID)] += 1
        return found


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Archive]:
    with orthanc(tmp_path / "orthanc") as running:
        yield Archive(running, tmp_path)


@pytest.fixture
def submit(service: Service, pacs: Archive) -> Any:
    """Type ``cinemill submit``, and return the job's id."""
    environment = {**os.environ, **service.environment, "CINEMILL_NODES": str(pacs.nodes)}

    def typed(*words: object, code: int = 0) -> str:
        command = [sys.executable, "-W", "ignore", "-m", "cinemill_workers.cli", "submit", *map(str, words)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return str(json.loads(done.stdout)["id"]) if code == 0 else done.stderr

    return lambda *words, **more: typed(*words, "--json", **more)


def start(service: Service, pacs: Archive) -> None:
    service.start_worker(CINEMILL_NODES=str(pacs.nodes))


def nonzero(job: Job) -> dict[str, int]:
    return {state: count for state, count in job.counts.items() if count}


def instances(service: Service, job: str) -> Counter[str]:
    return sum((Counter(each["instances"]) for each in receipts(service.ledger, job)), Counter())


def test_a_job_migrates_studies_and_its_receipts_say_what_was_seen(
    service: Service, pacs: Archive, submit: Any, tmp_path: Path
) -> None:
    start(service, pacs)
    words = (
        tmp_path / "spool",
        "--migrate",
        "pacs",
        "--query",
        "StudyDate=20200101-20201231",
        "--to",
        "jpeg-ls",
    )
    found = service.finish(submit(*words))
    assert nonzero(found) == {"done": STUDIES}
    assert pacs.held() == {JPEG_LS: len(pacs.files)}
    told = receipts(service.ledger, found.id)
    assert {each["status"] for each in told} == {"migrated"}
    assert {each["verification"] for each in told} == {"every frame's bytes, every other element"}
    assert instances(service, found.id) == {"replaced": len(pacs.files)}
    assert sum(each["bytes_before"] for each in told) > sum(each["bytes_after"] for each in told) > 0
    again = service.finish(submit(*words))
    assert nonzero(again) == {"done": STUDIES}
    assert instances(service, again.id) == {"replaced": len(pacs.files)}


def test_a_job_pulls_studies_and_another_one_pushes_them(
    service: Service, pacs: Archive, submit: Any, tmp_path: Path
) -> None:
    start(service, pacs)
    pulled = service.finish(
        submit(tmp_path / "in", "--pull", "pacs", "--query", "StudyDate=20200102", "--by", "day")
    )
    assert nonzero(pulled) == {"done": STUDIES}
    assert instances(service, pulled.id) == {"fetched": len(pacs.files)}
    there = sorted((tmp_path / "in" / "20200102").rglob("*.dcm"))
    uids = {str(pydicom.dcmread(file).SOPInstanceUID) for file in pacs.files}
    assert {path.stem for path in there} == uids
    with orthanc(tmp_path / "other") as other:
        pacs.write_nodes(other.dicom)
        pushed = service.finish(submit(tmp_path / "in", tmp_path / "told", "--push", "pacs"))
        assert nonzero(pushed) == {"done": len(there)}
        assert set(other.instances()) == uids
    assert instances(service, pushed.id) == {"stored": len(there)}
    pacs.write_nodes(pacs.running.dicom)
    again = service.finish(
        submit(tmp_path / "in", "--pull", "pacs", "--study", there[0].parent.name, "--by", "day")
    )
    assert instances(service, again.id) == {"kept": A_STUDY}


def test_a_job_rests_while_the_node_is_down_and_goes_on_by_itself(
    service: Service, pacs: Archive, submit: Any, tmp_path: Path
) -> None:
    job = submit(tmp_path / "spool", "--migrate", "pacs", "--query", "StudyDate=20200102", "--to", "jpeg-ls")
    pacs.write_nodes(free_port())
    start(service, pacs)
    wait_until(lambda: "tries again by itself" in service.ledger.job(job).note)
    assert nonzero(service.ledger.job(job)).keys() <= {"pending", "running"}
    pacs.write_nodes(pacs.running.dicom)
    found = service.finish(job)
    assert (nonzero(found), found.retries, found.note) == ({"done": STUDIES}, 0, "")


def test_killed_workers_and_archives_lose_no_instance(
    service: Service, pacs: Archive, submit: Any, tmp_path: Path
) -> None:
    start(service, pacs)
    job = submit(tmp_path / "spool", "--migrate", "pacs", "--query", "StudyDate=20200102", "--to", "jpeg-ls")
    for _ in range(3):
        wait_until(lambda: service.ledger.job(job).counts["running"] > 0 or service.ledger.job(job).over)
        time.sleep(0.2)
        service.workers[-1].kill()
        pacs.running.restart()
        start(service, pacs)
    found = service.finish(job)
    if failures(service.ledger, job):
        pytest.fail(str(failures(service.ledger, job)))
    assert nonzero(found) == {"done": STUDIES}
    assert pacs.held() == {JPEG_LS: len(pacs.files)}
    assert instances(service, job) == {"replaced": len(pacs.files)}


def test_what_can_not_be_submitted_is_said_before_anything_is_stored(submit: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for words, message in (
        ((out, "--pull", "pcas", "--query", "StudyDate=20200102"), "did you mean pacs"),
        ((out, "--pull", "pacs"), "give --study or --query"),
        ((tmp_path, out, "--pull", "pacs", "--study", "1.2"), "expected DST alone"),
        ((out, "--migrate", "pacs", "--study", "1.2", "--to", "htj2k"), "pacs does not take htj2k"),
        ((out, "--pull", "pacs", "--query", "StudyDate=19000102"), "lists no such study"),
        ((out, "--push", "pacs"), "expected SRC... and DST"),
        ((tmp_path, out, "--push", "pacs", "--standing"), "only jobs that leave an output"),
        ((tmp_path, out, "--to", "rle", "--query", "StudyDate=20200102"), "go with --pull and --migrate"),
        ((tmp_path, out, "--to", "rle", "--associations", "2"), "goes with --pull"),
        ((tmp_path, out, "--split", "--max-bytes", "9", "--via", "web"), "--via go with --push"),
    ):
        assert message in submit(*words, code=2)
