"""Fails when a ratio measured in this run is below its floor. Absolute times never fail anything.

    python bench/guard.py [--slow-encoder] [--record]

Each row of `comparisons.py` that has a floor in ``floors.toml`` is measured in interleaved rounds of processor time, so
that other work on the machine slows both sides alike; the best round of each side counts. A row near or below its floor
gets more rounds, three times as many at most; one that stays below is measured again when all others have been, twice at most,
for a neighbour on the same host slows vector code for seconds. Exit code 1: a row is below its floor.

Ratios of compiled code differ between processors. ``floors.toml`` holds floors for the processors that were measured,
by LLVM's name and the vectors that are used, at about 88 % of what was found there for encoders (less where runs differ more), so
that an encoder slower by a fifth falls through; and for all others the promise itself, which catches less. ``--record`` prints the
section for this processor, from one run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from cinemill.codecs import table
from cinemill.kernels.machine import x86
from cinemill.warmup import load_all
from comparisons import CODECS, KERNELS, MASKS, PEERS, PIPELINES, START, Comparison
from measure import interleaved, processor_seconds, ratio, summarise

_ROUNDS = 5
_TURNS = 3
_AGAIN = 2
_NEAR = 1.05
_RECORDED = 0.88
_ROWS = {row.name: row for row in (*KERNELS, *CODECS, *PIPELINES, *MASKS, *PEERS, *START)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slow-encoder", action="store_true", help="slow every encoder of ours by a fifth")
    parser.add_argument("--record", action="store_true", help="print floors for this processor")
    arguments = parser.parse_args()
    if arguments.slow_encoder:
        _slow_encoders_down()
    load_all()
    started = time.perf_counter()
    processor = this_processor()
    floors = read_floors(processor)
    print(f"processor {processor}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    rows = []
    for name, floor in floors.items():
        if _ROWS[name].void():
            print(f"void                       {name}: the kernels don't run on this processor")
            continue
        rows.append(_Measured(_ROWS[name], floor))
        rows[-1].measure()
    for _ in range(_AGAIN):
        for row in rows:
            if row.below:
                row.measure()
    below = sum(row.below for row in rows)
    print(
        f"{below} of {len(floors)} below their floor; {time.perf_counter() - started:.0f} s, "
        f"{processor_seconds():.0f} of them processor time"
    )
    summarise(
        f"Guard on {processor}: {below} of {len(floors)} below their floor",
        ("comparison", "ratio", "floor"),
        [(row.name, f"{row.found:.2f}", f"{row.floor:.2f}") for row in rows],
    )
    if arguments.record:
        print(f'\n["{processor}"]')
        for row in rows:
            print(f'"{row.name}" = {row.found * _RECORDED:.2f}')
    return 1 if below else 0


def this_processor() -> str:
    """Return LLVM's name of this processor, and which vectors the kernels use: a hypervisor may hide the wider ones."""
    return f"{llvm.get_host_cpu_name()} {'AVX-512' if x86.REGISTER == 64 else 'AVX2'}"


def read_floors(processor: str) -> dict[str, float]:
    """Return the floor of each row: this processor's, else the promise."""
    floors: dict[str, dict[str, float]] = tomllib.loads(Path(__file__).with_name("floors.toml").read_text())
    return {**floors["promise"], **floors.get(processor, {})}


class _Measured:
    """A row, and what was found of it so far."""

    def __init__(self, row: Comparison, floor: float) -> None:
        self.name, self.floor = row.name, floor
        self._row = row
        self._ours: list[float] = []
        self._reference: list[float] = []

    @property
    def found(self) -> float:
        """How many times faster than its reference it is."""
        return ratio(self._reference, self._ours)

    @property
    def below(self) -> bool:
        """Whether it is below its floor."""
        return self.found < self.floor

    def measure(self) -> None:
        """Measure it for as many turns as it takes to be well above its floor, and print what was found."""
        prepared = self._row.prepare()
        calls = {"ours": prepared.ours, "reference": prepared.reference}
        for _ in range(_TURNS):
            seconds = interleaved(calls, _ROUNDS, prepared.before)
            self._ours += seconds["ours"]
            self._reference += seconds["reference"]
            if self.found >= self.floor * _NEAR:
                break
        verdict = "BELOW" if self.below else "ok   "
        print(f"{verdict} {self.found:6.2f} (floor {self.floor:.2f})  {self.name}", flush=True)


def _slow_encoders_down() -> None:
    """Make each of our encoders take a fifth longer, to see that the guard notices."""

    def slowed(encode: Callable[..., list[bytes]]) -> Callable[..., list[bytes]]:
        def encode_slowly(*arguments: Any) -> list[bytes]:
            started = time.thread_time()
            codestreams = encode(*arguments)
            end = time.thread_time() + 0.2 * (time.thread_time() - started)
            while time.thread_time() < end:
                pass
            return codestreams

        return encode_slowly

    for coding in ("jpeg-ls", "rle", "jpeg-2000", "htj2k"):
        encoder: Any = table.encoder(coding)
        if encoder.name.startswith("cinemill"):
            encoder.encode = slowed(encoder.encode)


if __name__ == "__main__":
    sys.exit(main())
