"""Measures cinemill and its peers on the same files in the same run; prints tables in Markdown.

    python bench/peers.py [--pydcm PYTHON] [--frames 32] [--rounds 3]

Peers: DCMTK and GDCM (Debian packages dcmtk, libgdcm-tools), pydicom with its plug-ins, and pydcm, which needs its own
interpreter (CPython 3.12 or newer with `pip install pydcm`) named by ``--pydcm`` or ``PYDCM_PYTHON``. One that is not
there is left out, and said so. Every cell is MB of uncompressed pixels per processor second, the median of interleaved
rounds, for whole files: reading, decoding, encoding, writing; then the output's bytes. Every output is decoded by pydicom
(JPEG XL by libjxl, which rebuilds JPEGs), all frames, and compared with what went in: ``!`` marks wrong pixels, ``±n``
those of another JPEG decoder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median

import imagecodecs
import numpy as np
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array

from cines import LARGE_RGB, RGB, TRANSFER_SYNTAXES, Array, real_cines, write_cine
from measure import processor_seconds

TARGETS = {
    "JPEG-LS": "jpeg-ls",
    "JPEG 2000": "jpeg-2000",
    "HTJ2K": "htj2k",
    "JPEG XL": "jpeg-xl",
    "JPEG XL that gives JPEG back": "jpeg-xl-jpeg",
}
_CODINGS = {uid: coding for coding, uid in TRANSFER_SYNTAXES.items()}


@dataclass(frozen=True)
class Job:
    """One file, to be written as one target."""

    source: Path
    coding: str
    target: str
    nbytes: int
    output: Path

    @property
    def uid(self) -> str:
        """The transfer syntax UID of the target."""
        return TRANSFER_SYNTAXES[self.target]


@dataclass(frozen=True)
class Tool:
    """Something that transcodes a file: returns processor seconds, or None where it can't."""

    name: str
    run: Callable[[Job], float | None]


def commands(*lines: Callable[[Job], list[str] | None]) -> Callable[[Job], float | None]:
    """Return a runner of one command after the other; one that has nothing to do is None."""

    def run(job: Job) -> float | None:
        started = processor_seconds()
        for line in lines:
            command = line(job)
            if command is not None:
                subprocess.run(command, check=True, capture_output=True)
        return processor_seconds() - started

    return run


def _dcmtk(job: Job) -> float | None:
    if job.target != "jpeg-ls":
        return None
    decode = {"jpeg": "dcmdjpeg", "jpeg-lossless": "dcmdjpeg", "rle": "dcmdrle"}.get(job.coding)
    native = job.output.with_suffix(".native") if decode else job.source
    return commands(
        lambda job: [decode, str(job.source), str(native)] if decode else None,
        lambda job: ["dcmcjpls", str(native), str(job.output)],
    )(job)


def _gdcm(job: Job) -> float | None:
    option = {"jpeg-ls": "--jpegls", "jpeg-2000": "--j2k"}.get(job.target)
    if option is None:
        return None
    return commands(lambda job: ["gdcmconv", option, str(job.source), str(job.output)])(job)


def _cinemill(verify: str) -> Callable[[Job], float | None]:
    start = "from cinemill.cli import main; main()"
    options = ["--verify", verify, "--jobs", "1", "--overwrite"]
    return commands(
        lambda job: [
            *(sys.executable, "-c", start, "transcode", str(job.source), str(job.output), "--to", job.uid),
            *options,
        ]
    )


class Worker:
    """A library in a process of its own, which stays between jobs."""

    def __init__(self, library: str, *, python: str = sys.executable, verify: str = "none") -> None:
        script = Path(__file__).with_name("peer_worker.py")
        self._verify = verify
        self._process = subprocess.Popen(
            [python, str(script), library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __call__(self, job: Job) -> float | None:
        """Transcode one file."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {
            "source": str(job.source),
            "output": str(job.output),
            "uid": job.uid,
            "verify": self._verify,
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        seconds: float | None = answer.get("seconds")
        return seconds


def find_tools(pydcm: str | None) -> list[Tool]:
    """Return what is installed; say what is not."""
    tools = [
        Tool("cinemill, in process", Worker("cinemill")),
        Tool("cinemill, in process, every frame verified", Worker("cinemill", verify="full")),
        Tool("cinemill, command", _cinemill("none")),
        Tool("cinemill, command, every frame verified", _cinemill("full")),
        Tool("pydicom + plug-ins, in process", Worker("pydicom")),
    ]
    if pydcm and Path(pydcm).exists():
        tools.append(Tool("pydcm, in process", Worker("pydcm", python=pydcm)))
    else:
        print("pydcm is left out: name an interpreter that has it by --pydcm")
    for name, program, run in (("DCMTK", "dcmcjpls", _dcmtk), ("GDCM", "gdcmconv", _gdcm)):
        if shutil.which(program):
            tools.append(Tool(name, run))
        else:
            print(f"{name} is left out: {program} is not installed")
    return tools


@dataclass
class Cell:
    """What one tool did with one job, over the rounds."""

    nbytes: int
    seconds: list[float] = field(default_factory=list)
    verdict: str = ""
    written: int = 0

    @property
    def rate(self) -> float:
        """MB per processor second; 0 where there is nothing, or wrong pixels."""
        if not self.seconds or self.verdict.startswith("!"):
            return 0
        return self.nbytes / 1e6 / median(self.seconds)

    def __str__(self) -> str:
        if not self.seconds:
            return self.verdict or "–"
        rate = f"{self.nbytes / 1e6 / median(self.seconds):.0f}"
        return f"{rate}, {self.written / 1e6:.2f} MB {self.verdict}".rstrip()


def check(job: Job) -> str:
    """Return what is wrong with an output's pixels: nothing, ``±n`` or ``! …``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if job.target == "jpeg-xl-jpeg":
                return "" if _jpegs(job.output) == _frames(job.source) else "! other JPEGs"
            written, expected = _written(job), _expected(job.source)
        except Exception as error:  # noqa: BLE001  # an output that does not decode is a peer's result
            return f"! {type(error).__name__}"
    if written.shape != expected.shape:
        return f"! {written.shape}"
    difference = np.abs(written.astype(np.int16) - expected)
    if not difference.any():
        return ""
    another_decoder = job.coding == "jpeg" and difference.mean() < 1
    return f"±{difference.max()}" if another_decoder else "! wrong pixels"


def _frames(path: Path) -> list[bytes]:
    header = dcmread(path)
    return list(generate_frames(header.PixelData, number_of_frames=int(header.NumberOfFrames)))


def _jpegs(path: Path) -> list[bytes]:
    return [bytes(imagecodecs.jpegxl_decode_jpeg(frame, numthreads=1)) for frame in _frames(path)]


def _written(job: Job) -> Array:
    if job.target != "jpeg-xl":
        return pixel_array(job.output)
    return np.stack([imagecodecs.jpegxl_decode(frame) for frame in _frames(job.output)])


@cache
def _expected(source: Path) -> Array:
    array: Array = pixel_array(source).astype(np.int16)
    return array


def sources(folder: Path, frames: int) -> dict[str, Path]:
    """Return what is transcoded: a synthetic sector in each coding, and real cines."""
    made = {
        f"{coding} {shape}": write_cine(folder / f"{coding}{shape.rows}.dcm", shape, frames, coding)
        for coding, shape in (
            ("jpeg", RGB),
            ("rle", RGB),
            ("native", RGB),
            ("native", LARGE_RGB),
            ("jpeg-lossless", RGB),
        )
    }
    return {**made, **{f"{name} (real)": path for name, path in real_cines().items()}}


def job(source: Path, target: str, output: Path) -> Job:
    """Describe one job."""
    header = dcmread(source, stop_before_pixels=True)
    nbytes = header.Rows * header.Columns * header.SamplesPerPixel * header.BitsAllocated // 8
    coding = _CODINGS[header.file_meta.TransferSyntaxUID]
    return Job(source, coding, target, nbytes * int(header.NumberOfFrames), output)


def measure(tools: list[Tool], jobs: dict[str, Job], rounds: int) -> dict[str, dict[str, Cell]]:
    """Run every tool on every file: once to check its output and to warm up, then in turns."""
    cells = {tool.name: {label: Cell(job.nbytes) for label, job in jobs.items()} for tool in tools}
    for label, job in jobs.items():
        able = []
        for tool in tools:
            cell = cells[tool.name][label]
            job.output.unlink(missing_ok=True)
            try:
                seconds = tool.run(job)
            except subprocess.CalledProcessError as error:
                cell.verdict = f"! exit code {error.returncode}"
                continue
            if seconds is not None:
                cell.verdict = check(job)
                cell.written = job.output.stat().st_size
                able.append((tool, cell))
        for _ in range(rounds):
            for tool, cell in able:
                cell.seconds.append(tool.run(job) or 0)
    return cells


def show(title: str, jobs: dict[str, Job], cells: dict[str, dict[str, Cell]]) -> None:
    """Print one table: tools by files, and how far cinemill is ahead of the best peer with right pixels."""
    print(
        f"\n**to {title}**, MB of pixels per processor second, and what was written\n\n| | {' | '.join(jobs)} |\n|---|{'---|' * len(jobs)}"
    )
    for name, row in cells.items():
        print(f"| {name} | {' | '.join(str(row[label]) for label in jobs)} |")
    ours = cells["cinemill, in process"]
    peers = [row for name, row in cells.items() if not name.startswith("cinemill")]
    ahead = []
    for label in jobs:
        best = max(row[label].rate for row in peers)
        ahead.append(f"{ours[label].rate / best:.1f}×" if best else "–")
    print(f"| **cinemill ÷ best peer** | {' | '.join(ahead)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pydcm", default=os.environ.get("PYDCM_PYTHON"), help="interpreter that has pydcm")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    arguments = parser.parse_args()
    tools = find_tools(arguments.pydcm)
    with tempfile.TemporaryDirectory(prefix="cinemill-peers-") as name:
        folder = Path(name)
        files = sources(folder, arguments.frames)
        for title in arguments.targets:
            jobs = {label: job(path, TARGETS[title], folder / "output.dcm") for label, path in files.items()}
            if TARGETS[title] == "jpeg-xl-jpeg":
                jobs = {label: each for label, each in jobs.items() if each.coding == "jpeg"}
            show(title, jobs, measure(tools, jobs, arguments.rounds))
    print(f"\nload at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
