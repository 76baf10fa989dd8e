"""Instances that come over a network that cuts, stalls and delays, while `cinemill receive` is killed and its disk is full: none is lost.

    python bench/receive_chaos.py [--runs 20] [--instances 200] [--seed 1]

DCMTK's storescu and `cinemill push` send, over many associations, into `cinemill receive DIR --to jpeg-ls`, whose disk is full
once; in every second run with `--forward` to another receiver, over another bad network. Afterwards every instance has to be there
exactly once, in the target transfer syntax, with the pixels of the source, nothing may be left over, and what the receiver wrote down
has to agree with what its peers were told.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pydicom

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.chaos import BadNetwork, bad_network, fill, small_disk
from tests.support.pacs import dcmtk, write_study
from tests.support.ports import await_port, free_port
from tests.support.senders import RUN, instances_below

JPEG_LS = "1.2.840.10008.1.2.4.80"
NODES = """
[node.receiver.dimse]
host = "127.0.0.1"
port = {receiver}
called-aet = "CINEMILL"
timeout = 2
[node.second.dimse]
host = "127.0.0.1"
port = {second}
called-aet = "CINEMILL"
timeout = 2
"""
_LOG = "disk/log"
_LONGEST = 400.0
_FULL_SECONDS = 10.0
_SENDERS = 4
_MEGABYTES = 24

_Send = Callable[[Path, list[Path], int], set[Path]]


@dataclass
class Run:
    """What happened in one run.

    Attributes
    ----------
    disk
        Whether the receiver had a file system of its own, which was full for a moment.
    refused
        Instances that were not taken for a moment, since there was no room.
    """

    seed: int
    forwards: bool
    disk: bool = False
    starts: int = 0
    kills: int = 0
    associations: int = 0
    refused: int = 0
    seconds: float = 0.0
    fates: list[dict[str, int]] = field(default_factory=list)


def run(folder: Path, seed: int, instances: int = 200, kills: int = 5, *, forwards: bool = False) -> Run:
    """Receive under chaos, and check everything.

    Parameters
    ----------
    folder
        Empty.
    seed
        Of what happens when.
    instances
        How many there are.
    kills
        How often the receiver is killed, if it is not done before.
    forwards
        Whether it sends on what it made, to another receiver.
    """
    told, started = Run(seed, forwards), time.monotonic()
    large = write_study(folder / "in", seed + 1000, instances // 6, side=320, most=40)
    files = large + write_study(folder / "in", seed, instances - len(large), side=64, most=40)
    random.Random(seed).shuffle(files)
    with ExitStack() as stack:
        told.disk = stack.enter_context(small_disk(folder / "disk", _MEGABYTES))
        receiver = Receiver(folder, free_port(), told, random.Random(seed), kills)
        network = stack.enter_context(bad_network(receiver.port, seed))
        second = stack.enter_context(_second(folder / "second")) if forwards else 0
        between = stack.enter_context(bad_network(second, seed + 1))
        nodes = NODES.format(receiver=network.listening, second=between.listening)
        (folder / "nodes.toml").write_text(nodes)
        receiver.start()
        stack.callback(receiver.end)
        _send_all(folder, files, network, told)
        network.bad = between.bad = 0.0
        receiver.settle()
        told.fates = [each.fates for each in (network, between) if each.fates]
        check(receiver.folder, files)
        _check_report(folder / "report.jsonl", files, told)
        if forwards:
            check(folder / "second", files)
    told.seconds = time.monotonic() - started
    return told


class Receiver:
    """`cinemill receive`, killed at random times and started again, on a thread of its own.

    Parameters
    ----------
    folder
        Of the run.
    port
        Where it listens, each time.
    told
        Counts starts and kills.
    chance
        When it is killed.
    kills
        How often at most.
    """

    def __init__(self, folder: Path, port: int, told: Run, chance: random.Random, kills: int) -> None:
        self.folder, self.port = folder / "disk" / "received", port
        self._home, self._told, self._chance, self._kills = folder, told, chance, kills
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Receive from now on, with interruptions."""
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._told.starts += 1
            options = ["--to", "jpeg-ls", "--jobs", "1", "--reserve", "0", "--timeout", "3", "--quiet"]
            options += ["--port", str(self.port), "--report", str(self._home / "report.jsonl")]
            if self._told.forwards:
                options += ["--forward", "second"]
            self._process = _started(self._home, "receive", str(self.folder), *options, log=_LOG)
            if self._told.kills == self._kills:
                break
            with suppress(AssertionError):  # it may not start while there is no room
                await_port(self.port, self._process)
            if self._ended.wait(self._chance.uniform(0.1, 1.5)):
                break
            self._process.kill()
            self._process.wait()
            self._told.kills += 1

    def settle(self) -> None:
        """Let it do what is left, and end it as it should be ended."""
        self._ended.set()
        self._thread.join()
        hidden = self.folder / ".cinemill"
        end = time.monotonic() + _LONGEST
        while instances_below(hidden / "received") or any((hidden / "forwarding").glob("*")):
            assert time.monotonic() < end, self._log()
            time.sleep(0.1)
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(60) == 0, self._log()

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        self._ended.set()
        self._thread.join()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _log(self) -> str:
        return (self._home / _LOG).read_text()[-2000:]


def _send_all(folder: Path, files: list[Path], network: BadNetwork, told: Run) -> None:
    """Send until all was acknowledged, by several senders at once."""
    acknowledged: set[Path] = set()
    end = time.monotonic() + _LONGEST

    def send(number: int, by: _Send) -> None:
        chance = random.Random(f"{told.seed}/{number}")
        mine = files[number::_SENDERS]
        while (left := [file for file in mine if file not in acknowledged]) and time.monotonic() < end:
            told.associations += 1
            acknowledged.update(by(folder, left[: chance.randint(3, 20)], network.listening))

    ways: list[_Send] = [_by_storescu, _by_push] * (_SENDERS // 2)
    threads = [threading.Thread(target=send, args=each) for each in enumerate(ways)]
    for thread in threads:
        thread.start()
    while told.disk and len(acknowledged) < len(files) // 3 and time.monotonic() < end:
        time.sleep(0.02)
    if told.disk:
        with fill(folder / "disk"):
            _await_refusal(folder / "report.jsonl")
    for thread in threads:
        thread.join()
    assert acknowledged == set(files), f"{len(acknowledged)} of {len(files)} came through"


def _await_refusal(report: Path) -> None:
    """Wait until the receiver has noticed that there is no room, or is killed too often to do so."""
    end = time.monotonic() + _FULL_SECONDS
    while '"0xA700"' not in (report.read_text() if report.exists() else "") and time.monotonic() < end:
        time.sleep(0.1)


def _by_storescu(folder: Path, files: list[Path], port: int) -> set[Path]:
    """Send with DCMTK, and return what was acknowledged with success."""
    options = ["-v", "--no-halt", "-ta", "3", "-td", "3", "-to", "3", "127.0.0.1", str(port)]
    done = subprocess.run(
        [dcmtk("storescu"), *options, *map(str, files)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    acknowledged, now = set(), Path()
    for line in done.stdout.splitlines():
        if line.startswith("I: Sending file: "):
            now = Path(line.removeprefix("I: Sending file: "))
        elif line == "I: Received Store Response (Success)":
            acknowledged.add(now)
    if not acknowledged:
        time.sleep(0.2)
    return acknowledged


def _by_push(folder: Path, files: list[Path], port: int) -> set[Path]:  # noqa: ARG001
    """Send with `cinemill push`, and return what it says was stored."""
    with TemporaryDirectory(dir=folder) as scratch:
        report = Path(scratch) / "report"
        _started(
            folder, "push", *map(str, files), "receiver", "--report", str(report), "--quiet", log="push.log"
        ).wait()
        rows = map(json.loads, report.read_text().splitlines() if report.exists() else ())
        return {Path(row["source"]) for row in rows if row["name"] == "stored"}


def _started(folder: Path, *command: str, log: str) -> subprocess.Popen[str]:
    with (folder / log).open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-c", RUN, *command],
            cwd=folder,
            env={**os.environ, "CINEMILL_NODES": str(folder / "nodes.toml")},
            stdout=file,
            stderr=file,
            text=True,
        )


@contextmanager
def _second(folder: Path) -> Iterator[int]:
    """Run the receiver that is forwarded to."""
    port = free_port()
    process = _started(
        folder.parent, "receive", str(folder), "--port", str(port), "--quiet", log="second.log"
    )
    try:
        await_port(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def check(folder: Path, files: list[Path]) -> None:
    """Compare what a receiver has, by pydicom's decoders, with the sources."""
    sources = {str(each.SOPInstanceUID): each for each in map(pydicom.dcmread, files)}
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    assert Counter(path.name for path in found) == Counter(f"{uid}.dcm" for uid in sources), found
    for each in map(pydicom.dcmread, found):
        assert each.file_meta.TransferSyntaxUID == JPEG_LS, each.file_meta.TransferSyntaxUID
        assert (each.pixel_array == sources[str(each.SOPInstanceUID)].pixel_array).all(), each.SOPInstanceUID


def _check_report(report: Path, files: list[Path], told: Run) -> None:
    """Compare what the receiver wrote down with what was acknowledged: all of it once, and nothing else."""
    rows: list[dict[str, str]] = []
    cut: list[str] = []
    for line in report.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:  # a kill came in the middle of it
            cut.append(line)
    assert len(cut) <= told.kills, cut
    stored = Counter(Path(row["path"]).stem for row in rows if row["outcome"] == "stored")
    there = set(stored) | {Path(row["path"]).stem for row in rows if row["outcome"] == "duplicate"}
    uids = {str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in files}
    assert there == uids, f"not in the report: {uids - there}, which has half the lines {cut}"
    assert set(stored.values()) == {1}, stored.most_common(3)
    refusals = Counter(row["status"] for row in rows if row["outcome"] == "refused")
    assert set(refusals) <= {"0xA700"}, refusals
    told.refused = refusals.total()


def main() -> None:
    """Run it as often as asked for, and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("--runs", 20), ("--instances", 200), ("--seed", 1)):
        parser.add_argument(name, type=int, default=default)
    asked = parser.parse_args()
    for seed in range(asked.seed, asked.seed + asked.runs):
        with TemporaryDirectory(prefix="cinemill-chaos-") as folder:
            print(run(Path(folder), seed, asked.instances, forwards=seed % 2 == 0), flush=True)


if __name__ == "__main__":
    main()
