"""Migrations over a network that cuts, stalls and delays, with `cinemill migrate` and the archive killed: nothing may be lost.

    python bench/network_chaos.py [--runs 20] [--instances 200] [--seed 1] [--service]

Orthanc holds the instances, and gets them back as JPEG-LS. Both processes are killed (SIGKILL) at random times, and connections
between them fail, for many starts of the same command, until one ends well; with `--service`, a job is submitted, and workers are
killed in place of the command. Afterwards the archive has to have every instance exactly once, in the target transfer
syntax, with the pixels of the source, and the ledger to say so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import pydicom

sys.path.insert(0, str(Path(__file__).parents[1]))

from cinemill.network.instances import read_instance
from cinemill.network.store import store
from cinemill.operations.exchange.ledger import Ledger as Instances
from cinemill_workers.ledger.connection import connect
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.local.embedded import Server
from tests.support.chaos import BadNetwork, bad_network
from tests.support.harness import Service
from tests.support.pacs import Orthanc, orthanc, write_study

JPEG_LS = "1.2.840.10008.1.2.4.80"
ENTRY = """
[node.pacs.dimse]
host = "127.0.0.1"
port = {port}
called-aet = "ORTHANC"
timeout = 2
[node.pacs.limits]
associations = 2
"""
_MAIN = "from cinemill_workers.cli.main import main; main()"
_ASKED = ("--query", "StudyDate=20190301", "--to", "jpeg-ls")
_STARTS_IN_TROUBLE, _MOST_STARTS = 12, 40
_TROUBLE_SECONDS = 120.0


@dataclass
class Run:
    """What happened in one migration."""

    seed: int
    starts: int = 0
    kills: int = 0
    restarts: int = 0
    seconds: float = 0.0
    fates: dict[str, int] | None = None


def run(
    folder: Path,
    seed: int,
    instances: int = 200,
    a_study: int = 10,
    kills: int = 4,
    restarts: int = 3,
    *,
    by_service: bool = False,
) -> Run:
    """Migrate once under chaos, and check everything.

    Parameters
    ----------
    folder
        Empty.
    seed
        Of what happens when.
    instances, a_study
        How many there are, and how many of them in a study.
    kills, restarts
        How often the migration and the archive are killed.
    by_service
        Whether workers migrate, and are killed.
    """
    told, started = Run(seed), time.monotonic()
    with orthanc(folder / "orthanc") as archive:
        files = [
            file
            for number in range(instances // a_study)
            for file in write_study(
                folder / "in", seed * 1000 + number, a_study, side=64, most=40, study_date="20190301"
            )
        ]
        stored = Counter(each.name for each in store(archive.node(), map(read_instance, files)))
        assert stored == {"stored": instances}, stored
        with bad_network(archive.dicom, seed) as network:
            (folder / "nodes.toml").write_text(ENTRY.format(port=network.listening))
            chance = random.Random(seed)
            with _restarting(archive, told, chance, restarts):
                if by_service:
                    _serve(folder, network, told, chance, kills)
                else:
                    _migrate(folder, network, told, chance, kills)
        told.fates = network.fates
        spools = sorted((folder / "spool").glob("[0-9]*")) if by_service else [folder / "pacs.migration"]
        check(spools, archive, files)
    told.seconds = time.monotonic() - started
    return told


@contextmanager
def _restarting(archive: Orthanc, told: Run, chance: random.Random, restarts: int) -> Iterator[None]:
    """Kill the archive now and then, and start it again, until the context is left."""
    ended = threading.Event()

    def restart() -> None:
        while told.restarts < restarts and not ended.wait(chance.uniform(1, 6)):
            archive.restart()
            told.restarts += 1

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _migrate(folder: Path, network: BadNetwork, told: Run, chance: random.Random, kills: int) -> None:
    """Start the command again and again."""
    while True:
        told.starts += 1
        assert told.starts < _MOST_STARTS, (folder / "log").read_text()[-2000:]
        process = _started(folder, ["migrate", "pacs", *_ASKED, "--jobs", "1"])
        if told.kills < kills:
            try:
                process.wait(chance.uniform(1.5, 8))
            except subprocess.TimeoutExpired:
                process.kill()
                told.kills += 1
        elif told.starts > _STARTS_IN_TROUBLE:
            network.bad = 0.0
        if process.wait(300) == 0:
            return


def _serve(folder: Path, network: BadNetwork, told: Run, chance: random.Random, kills: int) -> None:
    """Submit a job, and start workers again and again."""
    with Server(folder / "state", folder / "server.sock") as server:
        ledger = Ledger(connect(f"unix://{server.socket}", patience=2), lease_seconds=3)
        environment = Service.hasty_environment(server) | {"CINEMILL_NODES": str(folder / "nodes.toml")}
        service = Service(ledger, folder, environment | {"CINEMILL_ATTEMPTS": "100"})
        while _started(folder, ["submit", "spool", "--migrate", "pacs", *_ASKED], environment).wait(300):
            told.starts += 1
            assert told.starts < _MOST_STARTS, (folder / "log").read_text()[-2000:]
        (job,) = ledger.jobs()
        for _ in range(kills):
            worker = service.start_worker()
            told.starts += 1
            time.sleep(chance.uniform(3, 12))
            worker.kill()
            told.kills += 1
        worker = service.start_worker()
        end = time.monotonic() + _TROUBLE_SECONDS
        while not ledger.job(job.id).over:
            if time.monotonic() > end:
                network.bad = 0.0
            assert time.monotonic() < end + _TROUBLE_SECONDS, worker.log[-2000:]
            time.sleep(0.5)
        worker.stop()
        counts = ledger.job(job.id).counts
        assert counts["done"] == ledger.job(job.id).listed, counts


def _started(
    folder: Path, words: Sequence[str], environment: Mapping[str, str] = MappingProxyType({})
) -> subprocess.Popen[bytes]:
    nodes = {"CINEMILL_NODES": str(folder / "nodes.toml")}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", _MAIN, *words],
            cwd=folder,
            env={**os.environ, **nodes, **environment},
            stdout=log,
            stderr=log,
        )


def check(spools: Sequence[Path], archive: Orthanc, files: list[Path]) -> None:
    """Compare the archive, by its own interface and pydicom's decoders, with the sources, and the ledgers with both."""
    sources = {str(each.SOPInstanceUID): each for each in map(pydicom.dcmread, files)}
    held = json.loads(archive.rest("/instances?expand"))
    uids = Counter(each["MainDicomTags"]["SOPInstanceUID"] for each in held)
    assert uids == Counter(list(sources)), f"{len(held)} instances are held, {len(sources)} were sent"
    for each in held:
        data = archive.rest(f"/instances/{each['ID']}/file")
        found = pydicom.dcmread(BytesIO(data))
        assert found.file_meta.TransferSyntaxUID == JPEG_LS, found.file_meta.TransferSyntaxUID
        expected = sources[str(found.SOPInstanceUID)]
        assert (found.pixel_array == expected.pixel_array).all(), found.SOPInstanceUID
    studies = settled = seen = 0
    for spool in spools:
        with Instances(spool, only_reads=True) as ledger:
            begun, ended, rows = ledger.totals()
        assert [row[:2] for row in rows] == [("seen", "")], rows
        studies, settled, seen = studies + begun, settled + ended, seen + rows[0][2]
        left = [path for path in (spool / "studies").rglob("*") if path.is_file()]
        assert not left, left
    count = len({str(each.StudyInstanceUID) for each in sources.values()})
    assert (studies, settled, seen) == (count, count, len(sources))


def main() -> None:
    """Run it as often as asked for, and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("--runs", 20), ("--instances", 200), ("--seed", 1)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--service", action="store_true")
    asked = parser.parse_args()
    for seed in range(asked.seed, asked.seed + asked.runs):
        with TemporaryDirectory(prefix="cinemill-chaos-") as folder:
            print(run(Path(folder), seed, asked.instances, by_service=asked.service), flush=True)


if __name__ == "__main__":
    main()
