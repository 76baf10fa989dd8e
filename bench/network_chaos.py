"""Migrations over a network that cuts, stalls and delays, with `cinemill migrate` and the archive killed: nothing may be lost.

    python bench/network_chaos.py [--runs 20] [--instances 200] [--seed 1]

Orthanc holds the instances, and gets them back as JPEG-LS. Both processes are killed (SIGKILL) at random times, and connections
between them fail, for many starts of the same command, until one ends well. Afterwards the archive has to have every
instance exactly once, in the target transfer syntax, with the pixels of the source, and the ledger to say so.
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
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pydicom

sys.path.insert(0, str(Path(__file__).parents[1]))

from cinemill.network.instances import read_instance
from cinemill.network.store import store
from cinemill.operations.exchange.ledger import Ledger
from tests.support.chaos import BadNetwork, bad_network
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
_STARTS_IN_TROUBLE, _MOST_STARTS = 12, 40


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
    folder: Path, seed: int, instances: int = 200, a_study: int = 10, kills: int = 4, restarts: int = 3
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
            _migrate(folder, archive, network, told, kills, restarts)
        told.fates = network.fates
        check(folder, archive, files)
    told.seconds = time.monotonic() - started
    return told


def _migrate(
    folder: Path, archive: Orthanc, network: BadNetwork, told: Run, kills: int, restarts: int
) -> None:
    chance = random.Random(told.seed)
    (folder / "nodes.toml").write_text(ENTRY.format(port=network.listening))
    ended = threading.Event()

    def restart() -> None:
        while told.restarts < restarts and not ended.wait(chance.uniform(1, 6)):
            archive.restart()
            told.restarts += 1

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        while True:
            told.starts += 1
            assert told.starts < _MOST_STARTS, (folder / "log").read_text()[-2000:]
            process = _started(folder)
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
    finally:
        ended.set()
        thread.join()


def _started(folder: Path) -> subprocess.Popen[bytes]:
    command = ["migrate", "pacs", "--query", "StudyDate=20190301", "--to", "jpeg-ls", "--jobs", "1"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", _MAIN, *command],
            cwd=folder,
            env={**os.environ, "CINEMILL_NODES": str(folder / "nodes.toml")},
            stdout=log,
            stderr=log,
        )


def check(folder: Path, archive: Orthanc, files: list[Path]) -> None:
    """Compare the archive, by its own interface and pydicom's decoders, with the sources, and the ledger with both."""
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
    with Ledger(folder / "pacs.migration", only_reads=True) as ledger:
        studies, settled, rows = ledger.totals()
    count = len({str(each.StudyInstanceUID) for each in sources.values()})
    assert (studies, settled) == (count, count)
    assert [row[:3] for row in rows] == [("seen", "", len(sources))], rows
    left = [path for path in (folder / "pacs.migration" / "studies").rglob("*") if path.is_file()]
    assert not left, left


def main() -> None:
    """Run it as often as asked for, and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("--runs", 20), ("--instances", 200), ("--seed", 1)):
        parser.add_argument(name, type=int, default=default)
    asked = parser.parse_args()
    for seed in range(asked.seed, asked.seed + asked.runs):
        with TemporaryDirectory(prefix="cinemill-chaos-") as folder:
            print(run(Path(folder), seed, asked.instances), flush=True)


if __name__ == "__main__":
    main()
