"""Measures what decides how transcoding scales over cores: serial shares, memory bandwidth, and what two cores make of it.

    python bench/scaling.py [--frames 64] [--rounds 3]

Prints, in Markdown: the bandwidth of copying by one thread and by all; of each target the share of a verified cine's time
that its threads don't divide, and the bytes that pass through memory a second; what threads and processes gain here on all
cores, beside what these figures say; and what they say of 16 and of 64 cores. docs/SCALING.md says how to read it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import cinemill
from cines import RGB, write_cine

CORES = len(os.sched_getaffinity(0))
TARGETS = ("jpeg-ls", "jpeg-2000", "htj2k", "rle")
DIVIDED = ("decode", "restrict", "encode", "verify")
"""Stages that threads share."""

TRAFFIC = 12
"""Bytes that pass through memory for each byte of pixels of a verified cine whose frames don't stay in the caches: read from the
file, decoded (written, read), encoded (read), compared (written, read twice), and as many again by kernels with 32-bit samples."""

SERVER = 200e9
"""Bytes a second of a socket with eight channels of DDR4-3200, of which nine tenths can be had."""

_ARRAY = 96 << 20


@dataclass
class Cost:
    """Of a cine on one thread: bytes of pixels a second, and the share of the time that threads don't divide."""

    rate: float
    serial: float

    def threads(self, count: int) -> float:
        """Return what threads gain (Amdahl)."""
        return 1 / (self.serial + (1 - self.serial) / count)

    def processes(self, count: int, bandwidth: float) -> float:
        """Return what processes gain, until the memory has no more to give."""
        return min(count, bandwidth / (TRAFFIC * self.rate))


def bandwidth(threads: int, rounds: int) -> float:
    """Return the bytes a second that copying reads and writes."""
    pairs = [(np.ones(_ARRAY, np.uint8), np.zeros(_ARRAY, np.uint8)) for _ in range(threads)]

    def copy(pair: tuple[np.ndarray, np.ndarray]) -> None:
        np.copyto(pair[1], pair[0])

    with ThreadPoolExecutor(threads) as executor:
        return 2 * _ARRAY * threads / _best(lambda: list(executor.map(copy, pairs)), 3 * rounds)


def cost(path: Path, output: Path, target: str, rounds: int) -> Cost:
    """Measure a cine on one thread."""
    receipts = [_transcode(path, output, target) for _ in range(rounds + 1)][1:]
    best = min(receipts, key=lambda receipt: receipt.seconds["total"])
    total = best.seconds["total"]
    return Cost(best.pixel_bytes / total, 1 - sum(best.seconds.get(stage, 0) for stage in DIVIDED) / total)


def _transcode(path: Path, output: Path, target: str, threads: int = 1) -> cinemill.Receipt:
    return cinemill.transcode(path, output, to=target, threads=threads, overwrite=True)


def _best(call: Callable[[], object], rounds: int) -> float:
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def gains(path: Path, output: Path, target: str, rounds: int) -> tuple[float, float]:
    """Return what all cores gain here: as threads of one cine, and as processes with a cine each."""
    outputs = [output.with_name(f"{number}{output.name}") for number in range(CORES)]
    one = _best(partial(_transcode, path, output, target), rounds)
    threads = _best(partial(_transcode, path, output, target, CORES), rounds)
    with ProcessPoolExecutor(CORES, mp_context=get_context("forkserver")) as pool:
        work = partial(_transcode, path, target=target)
        processes = _best(lambda: list(pool.map(work, outputs)), rounds)
    return one / threads, CORES * one / processes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rounds = arguments.rounds
    for threads in sorted({1, CORES}):
        print(f"copying, {threads} threads: {bandwidth(threads, rounds) / 1e9:.1f} GB/s read and written")
    print(
        "\n| target | MB/s on a core | serial | through memory, GB/s | threads here | said | processes here | said |"
    )
    print("|---|---|---|---|---|---|---|---|")
    costs = {}
    everything = bandwidth(CORES, rounds)
    with tempfile.TemporaryDirectory(prefix="cinemill-scaling-") as name:
        path, output = Path(name) / "cine.dcm", Path(name) / "output.dcm"
        write_cine(path, RGB, arguments.frames, "jpeg")
        for target in TARGETS:
            costs[target] = one = cost(path, output, target, rounds)
            by_threads, by_processes = gains(path, output, target, rounds)
            print(
                f"| {target} | {one.rate / 1e6:.0f} | {one.serial:.1%} | {TRAFFIC * one.rate / 1e9:.1f} | {by_threads:.2f}× | "
                f"{one.threads(CORES):.2f}× | {by_processes:.2f}× | {one.processes(CORES, everything):.2f}× |",
                flush=True,
            )
    print("\n| target | threads of a cine on 16 | on 64 | processes on 16 | on 64 |\n|---|---|---|---|---|")
    for target, one in costs.items():
        alone = " | ".join(f"{one.threads(count):.0f}×" for count in (16, 64))
        shared = " | ".join(f"{one.processes(count, 0.9 * SERVER):.0f}×" for count in (16, 64))
        print(f"| {target} | {alone} | {shared} |")
    print(f"\nload at the end: {os.getloadavg()[0]:.1f} on {CORES} cores")


if __name__ == "__main__":
    main()
