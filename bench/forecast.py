"""Shows how near ``cinemill forecast`` comes to the run itself, on an archive that is made for it.

    python bench/forecast.py [--gb 5] [--folder DIR] [--source DIR] [--runs jpeg-ls archive] [-- options of forecast]

makes an archive of so many GB of files (below 5, of shorter cines), always the same: cines of real frames (those of
pip-installable packages, and of the folder named by CINEMILL_CORPUS) and synthetic ones, in several geometries, noises, lengths,
makers and transfer syntaxes, lossy ones among them, and what is no DICOM. Then it runs the forecast and the full run for each
``--to`` (``archive``: without one), and prints how far the forecast was from the run in bytes and in processor time, whether
the bytes lay in its interval, and the time of the one against the other. With ``--source``, that folder is the archive.
Exit code 1: bytes were off by more than 5 % or outside of the interval, or processor time by more than 20 %.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cinemill import Cine
from cinemill.errors import CinemillError
from cinemill.pixel_format import PixelFormat
from cines import (
    LARGE_MONO_8,
    LARGE_RGB,
    MONO_8,
    MONO_12,
    RGB,
    Array,
    Shape,
    compress,
    real_cines,
    sector,
    write,
)

BYTES, SECONDS = 0.05, 0.2
"""How far a forecast may be off, in parts of the truth."""

_COMMAND = "import sys; sys.argv[0] = 'cinemill'; from cinemill_workers.cli.main import main; main()"
_SUBREAPER = 36
_POLICY = "archive"
_DISTINCT = 16


class Kind(NamedTuple):
    """What many cines of an archive have in common: their share is that of the bytes."""

    share: float
    coding: str
    shape: Shape | None
    frames: tuple[int, int]
    noise: tuple[float, float]
    maker: str
    model: str


KINDS = (
    Kind(0.20, "native", RGB, (20, 90), (0, 3), "Alpha", "A1"),
    Kind(0.12, "native", LARGE_MONO_8, (10, 60), (0, 6), "Alpha", "A2"),
    Kind(0.06, "native", MONO_12, (1, 40), (0, 30), "Gamma", "G7"),
    Kind(0.12, "rle", LARGE_RGB, (10, 50), (0, 1), "Beta", "B1"),
    Kind(0.06, "rle", MONO_8, (30, 200), (0, 2), "Beta", "B2"),
    Kind(0.08, "jpeg-lossless", MONO_8, (20, 120), (0, 4), "Gamma", "G7"),
    Kind(0.16, "jpeg", RGB, (30, 150), (0, 2), "Delta", "D5"),
    Kind(0.04, "jpeg", LARGE_RGB, (1, 60), (0, 2), "Delta", "D6"),
    Kind(0.10, "native", None, (10, 60), (0, 1), "Real", "R1"),
    Kind(0.05, "rle", None, (10, 60), (0, 1), "Real", "R2"),
    Kind(0.01, "native", RGB, (1, 1), (0, 4), "Alpha", "A1"),
)


def make_archive(folder: Path, size: int) -> int:
    """Make an archive of so many bytes, in studies; return how many there are."""
    made = 0
    shorter = min(1.0, size / 5e9)
    for number, kind in enumerate(KINDS):
        random = np.random.default_rng(1000 + number)
        left, index = kind.share * size, 0
        while left > 0:
            study = folder / f"{kind.maker}{index // 20:04d}"
            study.mkdir(parents=True, exist_ok=True)
            path = study / f"{number:02d}-{index:05d}.dcm"
            _make(path, kind, random, number * 100_000 + index, shorter)
            left -= path.stat().st_size
            made += path.stat().st_size
            index += 1
            if index % 25 == 0:
                (study / f"notes-{number}-{index}.txt").write_text("no DICOM\n")
    return made


def _make(path: Path, kind: Kind, random: np.random.Generator, number: int, shorter: float) -> Path:
    frames = max(1, round(shorter * random.integers(kind.frames[0], kind.frames[1] + 1)))
    noise = float(random.uniform(*kind.noise))
    base = sector(kind.shape, _DISTINCT) if kind.shape is not None else _real(number)
    pixels = kind.shape.pixels if kind.shape is not None else _format(base)
    codestreams = (
        compress(frame, kind.coding, pixels.bits_stored)
        for frame in _noisy(base, frames, noise, pixels, number)
    )
    return write(
        path,
        pixels,
        frames,
        kind.coding,
        codestreams,
        SOPInstanceUID=f"2.25.{number + 1}",
        StudyInstanceUID=f"2.25.1{number // 20}",
        Manufacturer=kind.maker,
        ManufacturerModelName=kind.model,
    )


def _noisy(base: Array, frames: int, noise: float, pixels: PixelFormat, number: int) -> Iterator[Array]:
    """Yield frames of a cine, shifted and with noise that differs from cine to cine."""
    random = np.random.default_rng(number)
    most = (1 << pixels.bits_stored) - 1
    field = random.standard_normal(base.shape[1:], np.float32) * noise
    for index in range(frames):
        frame = base[index % len(base)]
        moved = np.roll(field, int(random.integers(1, 1 << 16)))
        yield np.clip(frame + moved, 0, most).astype(frame.dtype)


def _real(number: int) -> Array:
    there = _real_frames()
    return there[number % len(there)]


@cache
def _real_frames() -> list[Array]:
    """Return frames of real cines of 8 bits, at most 16 of each."""
    corpus = os.environ.get("CINEMILL_CORPUS")
    more = sorted((Path(corpus) / "files").glob("*")) if corpus else []
    found = []
    for path in [*real_cines().values(), *more]:
        try:
            with Cine(path) as cine:
                if len(cine) < 4:
                    continue
                frames = np.stack([np.asarray(cine[index]) for index in range(min(_DISTINCT, len(cine)))])
        except (CinemillError, ValueError, OSError):
            continue
        if frames.dtype == np.uint8 and frames[0].size >= 1 << 16:
            found.append(frames)
    return found


def _format(frames: Array) -> PixelFormat:
    colour = frames.ndim == 4
    return Shape(frames.shape[1], frames.shape[2], 3 if colour else 1).pixels


class Spent(NamedTuple):
    """What a command took: processor time of it and of all its processes, and time by the clock."""

    processor: float
    clock: float
    output: str


def run(*arguments: str) -> Spent:
    """Run a command of cinemill."""
    before, started = _children(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    while True:  # the server that starts processes outlives the command, and is this process's child then
        try:
            os.wait()
        except ChildProcessError:
            break
    return Spent(_children() - before, time.perf_counter() - started, done.stdout)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare(source: Path, folder: Path, to: str, more: list[str]) -> bool:
    """Print how far the forecast was off; return whether it was near enough."""
    target = [] if to == _POLICY else ["--to", to]
    told = run("forecast", str(source), *target, *more, "--json")
    forecast: dict[str, Any] = json.loads(told.output)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        done = run("transcode", str(source), f"{place}/out", *target, "--json", "--quiet")
        receipts = [json.loads(line) for line in done.output.splitlines()]
    total = forecast["total"]
    after = sum(each["bytes_after"] for each in receipts)
    off = total["bytes_after"] / after - 1
    inside = total["bytes_after_low"] <= after <= total["bytes_after_high"]
    wide = (total["bytes_after_high"] - total["bytes_after_low"]) / 2 / after
    seconds = 3600 * total["processor_hours"]
    slow = seconds / done.processor - 1
    print(
        f"| {to} | {after / 1e6:,.1f} | {total['bytes_after'] / 1e6:,.1f} ± {wide:.1%} | {off:+.2%} | "
        f"{'yes' if inside else 'no'} | {done.processor:,.1f} | {seconds:,.1f} | {slow:+.1%} | "
        f"{told.clock:,.1f} of {done.clock:,.1f} s | {told.processor:,.1f} of {done.processor:,.1f} s | "
        f"{forecast['sample']['instances']} of {forecast['files']['found']} |",
        flush=True,
    )
    return bool(inside and abs(off) <= BYTES and abs(slow) <= SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gb", type=float, default=5.0, help="size of the archive")
    parser.add_argument("--folder", type=Path, help="where the archive is made and removed again")
    parser.add_argument("--source", type=Path, help="an archive that is there")
    parser.add_argument(
        "--runs", nargs="+", default=[_POLICY, "jpeg-ls"], help=f"targets; {_POLICY}: by the built-in policy"
    )
    parser.add_argument("more", nargs="*", help="options of forecast")
    arguments = parser.parse_args()
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        source = arguments.source or Path(folder) / "archive"
        if arguments.source is None:
            size = make_archive(source, int(arguments.gb * 1e9))
            print(f"{size / 1e6:,.0f} MB\n")
        print(
            "| run | MB after | forecast | off | inside | processor s | forecast | off | clock: forecast of run | "
            "processor: forecast of run | tried |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|")
        well = [compare(source, Path(folder), to, arguments.more) for to in arguments.runs]
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
