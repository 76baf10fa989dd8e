"""Transcodes many stills by cinemill and by its peers, on all cores; prints instances per second and ratios in Markdown.

    python bench/stills.py 2000 [--targets jpeg-ls jpeg-2000] [--rounds 1]

The stills are ultrasound in RGB of 640 x 480 and computed tomography of 300 KB, native, each with a real header and its own
pixels. cinemill is its command on a directory, every still verified, with compiled bytecode and kernels as an installed one has
them. The peers verify nothing: `gdcmconv` and `dcmcjpls` in a loop, as many at once as there are cores, and pydicom's `compress`
in processes that have imported all: as many as there are cores, and one. One that is not installed, or that can't write the
target, is left out. Every output is decoded by pydicom and compared with what went in. Then it is emptied, and not deleted:
ext4 gives the inode of a deleted file to no other for minutes, and passes over all of these for each new file, which took every
tool up to 0.7 ms a still.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian

from cines import RGB, TRANSFER_SYNTAXES, Shape, long_frame

CORES = len(os.sched_getaffinity(0))
KINDS = {
    "RGB 640×480": (RGB, "examples_rgb_color.dcm"),
    "CT of 300 KB": (Shape(384, 400, 1, 12), "CT_small.dcm"),
}
"""What is transcoded, and the bundled file of pydicom whose header it has."""

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""

Run = Callable[[Path, Path], None]
"""Transcodes all files of a directory into another one."""


@dataclass
class Result:
    """What one tool took for a directory: seconds on the clock, and of all processors."""

    clock: float
    processor: float
    wrong: int


def make(folder: Path, kind: str, count: int) -> None:
    """Write stills."""
    shape, bundled = KINDS[kind]
    dataset = dcmread(str(get_testdata_file(bundled, download=False)))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Rows, dataset.Columns = shape.rows, shape.columns
    dataset.SamplesPerPixel, dataset.PixelRepresentation = shape.samples, 0
    dataset.PhotometricInterpretation = shape.pixels.photometric_interpretation
    dataset.BitsAllocated, dataset.BitsStored = shape.pixels.bits_allocated, shape.bits
    dataset.HighBit = shape.bits - 1
    if "NumberOfFrames" in dataset:
        dataset.NumberOfFrames = 1
    for number in range(count):
        uid = UID(f"2.25.{20261129 * 10**9 + number}")
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.PixelData = long_frame(shape, number).tobytes()
        dcmwrite(folder / f"{number:05}.dcm", dataset, enforce_file_format=True)


def cinemill(target: str, verify: str, bytecode: Path) -> Run:
    """Return a run of the command, on all cores."""
    start = "from cinemill.cli import main; main()"
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(bytecode),
    }

    def run(source: Path, output: Path) -> None:
        options = ["--to", target, "--verify", verify, "--quiet"]
        subprocess.run(
            [sys.executable, "-c", start, "transcode", str(source), str(output), *options],
            check=True,
            capture_output=True,
            env=environment,
        )

    return run


def loop(*command: str) -> Run:
    """Return a run of a tool that takes one file, as many at once as there are cores."""

    def run(source: Path, output: Path) -> None:
        output.mkdir()
        names = "\0".join(path.name for path in source.iterdir()).encode()
        each = ["xargs", "-0", "-P", str(CORES), "-I{}", *command, f"{source}/{{}}", f"{output}/{{}}"]
        subprocess.run(each, input=names, check=True, capture_output=True)

    return run


def pydicom(target: str, processes: int) -> Run:
    """Return a run of the best encoder that pydicom finds, in so many processes that are there already."""

    def run(source: Path, output: Path) -> None:
        output.mkdir()
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            pool.map(
                partial(_compress, output=output, uid=TRANSFER_SYNTAXES[target]), sorted(source.iterdir()), 16
            )
            pool.close()
            pool.join()

    return run


def _compress(path: Path, output: Path, uid: str) -> None:
    dataset = dcmread(path)
    dataset.compress(uid, generate_instance_uid=False)
    dataset.save_as(output / path.name)


def tools(target: str, bytecode: Path) -> dict[str, Run]:
    """Return what is installed and writes a target."""
    found = {
        "cinemill, every still verified": cinemill(target, "full", bytecode),
        "cinemill, unverified": cinemill(target, "none", bytecode),
    }
    if target == "htj2k":
        return found
    found["pydicom in a process for each core"] = pydicom(target, CORES)
    found["pydicom in one process"] = pydicom(target, 1)
    if shutil.which("gdcmconv"):
        found["GDCM `gdcmconv`"] = loop("gdcmconv", {"jpeg-ls": "--jpegls", "jpeg-2000": "--j2k"}[target])
    if shutil.which("dcmcjpls") and target == "jpeg-ls":
        found["DCMTK `dcmcjpls`"] = loop("dcmcjpls")
    return found


def warm_up(run: Run, source: Path, folder: Path) -> None:
    """Have the command compile what is compiled once, on a few stills."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "in").mkdir(parents=True)
    for path in sorted(source.iterdir())[:24]:
        shutil.copy(path, folder / "in")
    run(folder / "in", folder / "out")


def measure(run: Run, source: Path, output: Path) -> Result:
    """Run a tool once into a new directory, and check what it wrote."""
    before, started = _processor_seconds(), time.perf_counter()
    run(source, output)
    clock = time.perf_counter() - started
    processor = _processor_seconds() - before
    with ProcessPoolExecutor(CORES) as pool:
        names = [path.name for path in source.iterdir()]
        wrong = len(names) - sum(pool.map(partial(_is_right, source, output), names, chunksize=16))
    empty(output)
    return Result(clock, processor, wrong)


def empty(folder: Path) -> None:
    """Give back the room of all files of a directory."""
    for path in folder.iterdir():
        os.truncate(path, 0)


def _processor_seconds() -> float:
    """Return what all descendants have used, those included that outlived their parents."""
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _is_right(source: Path, output: Path, name: str) -> bool:
    try:
        return bool(np.array_equal(pixel_array(source / name), pixel_array(output / name)))
    except Exception:  # noqa: BLE001  # an output that does not decode is a tool's result
        return False


def show(kind: str, target: str, count: int, results: Mapping[str, Sequence[Result]]) -> None:
    """Print one table; the ratio is that of the best peer's time to cinemill's, by the clock and by the processors."""
    best = {
        name: Result(min(r.clock for r in runs), min(r.processor for r in runs), sum(r.wrong for r in runs))
        for name, runs in results.items()
    }
    print(f"\n**{count} × {kind} to {target}**, {CORES} cores\n")
    print(
        "| | instances/s | ms of a processor each | wrong | the first is ahead by the clock | by processor time |"
    )
    print("|---|---|---|---|---|---|")
    first = next(iter(best.values()))
    for name, one in best.items():
        print(
            f"| {name} | {count / one.clock:.0f} | {1e3 * one.processor / count:.1f} | {one.wrong} | "
            f"{one.clock / first.clock:.1f}× | {one.processor / first.processor:.1f}× |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int, nargs="?", default=500)
    parser.add_argument(
        "--targets", nargs="+", choices=("jpeg-ls", "jpeg-2000", "htj2k"), default=["jpeg-ls"]
    )
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="cinemill-stills-") as name:
        for number, kind in enumerate(KINDS):
            source, outputs = Path(name) / f"source{number}", Path(name) / f"outputs{number}"
            source.mkdir()
            outputs.mkdir()
            make(source, kind, arguments.count)
            for target in arguments.targets:
                able = tools(target, Path(name) / "bytecode")
                warm_up(able["cinemill, every still verified"], source, Path(name) / "warm")
                results: dict[str, list[Result]] = {tool: [] for tool in able}
                for each in range(arguments.rounds):
                    for place, (tool, run) in enumerate(able.items()):
                        output = outputs / f"{target}-{each}-{place}"
                        results[tool].append(measure(run, source, output))
                show(kind, target, arguments.count, results)
            empty(source)
    print(f"\nload at the end: {os.getloadavg()[0]:.1f} on {CORES} cores")


if __name__ == "__main__":
    main()
