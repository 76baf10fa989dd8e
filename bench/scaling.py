"""Measures what decides how transcoding scales over cores: serial shares, memory traffic, and what sharing two cores costs.

    python bench/scaling.py [--frames 64] [--rounds 3]

All is processor time, best rounds, so that other work on the machine disturbs little. Printed, in Markdown: the bytes a second
that copying moves on one core; of each target the share of a verified cine's time that its threads don't divide, what two
threads and two processes cost more than one after the other, and the bytes that pass through memory a second; then what
follows for 16 and 64 cores. docs/SCALING.md says how to read it.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import cinemill
from cinemill.batch import run_all
from cinemill.operations import clock
from cinemill.operations.transcode.request import Transcode
from cinemill.storage.tree import discover
from cines import RGB, write_cine

TARGETS = ("jpeg-ls", "jpeg-2000", "htj2k", "rle")
DIVIDED = ("decode", "restrict", "encode", "verify")
"""Stages that threads share."""

TRAFFIC = 12
"""Bytes that pass through memory for each byte of pixels of a verified cine whose frames don't stay in the caches: decoded
(written, read), converted (written, read), encoded (read), decoded again (written), compared (read twice), and codestreams and tables."""

SERVER = 180e9
"""Bytes a second that a socket with eight channels of DDR4-3200 really gives."""

_ARRAY = 96 << 20


@dataclass
class Cost:
    """Of a verified cine.

    Attributes
    ----------
    rate
        Bytes of pixels a processor second.
    serial
        Share of the time that threads don't divide.
    threads, processes
        Processor time of two at a time, as a multiple of that of one after the other.
    """

    rate: float
    serial: float
    threads: float
    processes: float

    def by_threads(self, count: int) -> float:
        """Return what threads gain (Amdahl)."""
        return 1 / (self.serial + (1 - self.serial) / count)

    def by_processes(self, count: int) -> float:
        """Return what processes gain, until the memory has no more to give."""
        return min(count, SERVER / (TRAFFIC * self.rate))


def copying(rounds: int) -> float:
    """Return the bytes that copying reads and writes a second, on one core."""
    source, target = np.ones(_ARRAY, np.uint8), np.zeros(_ARRAY, np.uint8)
    seconds = []
    for _ in range(3 * rounds):
        started = time.thread_time()
        np.copyto(target, source)
        seconds.append(time.thread_time() - started)
    return 2 * _ARRAY / min(seconds)


def _transcode(path: Path, output: Path, target: str, threads: int = 1) -> tuple[float, float, int]:
    """Return the processor time of all, of its divided stages, and the bytes of pixels."""
    started = time.process_time()
    receipt = cinemill.transcode(path, output, to=target, threads=threads, overwrite=True)
    total = time.process_time() - started
    return total, sum(receipt.seconds.get(stage, 0) for stage in DIVIDED), receipt.pixel_bytes


def measure(path: Path, output: Path, target: str, rounds: int) -> Cost:
    """Measure a cine as one thread does it, as two do, and as two processes do at the same time."""
    _transcode(path, output, target)
    one = min(_transcode(path, output, target) for _ in range(rounds))
    two = min(_transcode(path, output, target, 2) for _ in range(rounds))
    outputs = [output.with_name(f"{number}.dcm") for number in range(2)]
    with ProcessPoolExecutor(2, mp_context=get_context("forkserver")) as pool:
        both = [
            list(pool.map(_transcode, [path] * 2, outputs, [target] * 2, timeout=600))
            for _ in range(rounds + 1)
        ]
    shared = min(sum(total for total, _, _ in each) for each in both[1:])
    return Cost(one[2] / one[0], 1 - one[1] / one[0], two[0] / one[0], shared / 2 / one[0])


def dispatching(folder: Path, count: int = 1000) -> float:
    """Return the processor seconds that a tree costs its parent process for each instance: there is one parent, however many cores."""
    for number in range(count):
        (folder / str(number)).write_bytes(b"?")
    started = time.process_time()
    for _ in run_all(discover([folder], folder.with_name("tree")), Transcode("rle"), jobs=2):
        pass
    return (time.process_time() - started) / count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    by_processor: Any = SimpleNamespace(perf_counter=time.thread_time)
    vars(clock)["time"] = by_processor
    print(f"copying on one core: {copying(arguments.rounds) / 1e9:.1f} GB/s read and written")
    with tempfile.TemporaryDirectory(prefix="cinemill-scaling-") as name:
        (Path(name) / "sources").mkdir()
        seconds = dispatching(Path(name) / "sources")
        print(f"the parent of a tree's processes: {1e3 * seconds:.2f} ms an instance")
    print(
        "\n| target | MB/s on a core | serial | two threads cost | two processes cost | through memory, GB/s |"
    )
    print("|---|---|---|---|---|---|")
    costs = {}
    with tempfile.TemporaryDirectory(prefix="cinemill-scaling-") as name:
        path, output = Path(name) / "cine.dcm", Path(name) / "output.dcm"
        write_cine(path, RGB, arguments.frames, "jpeg")
        for target in TARGETS:
            costs[target] = one = measure(path, output, target, arguments.rounds)
            print(
                f"| {target} | {one.rate / 1e6:.0f} | {one.serial:.1%} | {one.threads:.2f}× | {one.processes:.2f}× | "
                f"{TRAFFIC * one.rate / 1e9:.1f} |",
                flush=True,
            )
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print("\n| target | threads of a cine on 16 | on 64 | processes on 16 | on 64 |\n|---|---|---|---|---|")
    for target, one in costs.items():
        gains = [each(count) for each in (one.by_threads, one.by_processes) for count in (16, 64)]
        print(f"| {target} | {' | '.join(f'{gain:.0f}×' for gain in gains)} |")
    print(f"\npeak memory: {most} MB")
    print(f"\nload at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
