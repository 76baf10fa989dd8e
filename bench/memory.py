"""Shows that memory does not grow with a cine's length, and that any frame of a long one is there at once.

    python bench/memory.py [--folder DIR] [--sizes 0.1 1 6] [--to jpeg-ls] [--jobs 1]

makes cines of so many GB of pixels (JPEG Baseline, RLE, native; the last up to 4 GiB, which is all its length field
can say), transcodes each with ``cinemill transcode`` in a process of its own, and prints the peak
of its resident memory. The first, the middle and the last frame of each output are compared with what pydicom reads.
Then it opens a cine of 20,000 frames with and without an offset table and reads its last frame.
Exit code 1: memory grew by more than 40 MB, or a frame differs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.pixels import pixel_array

import cinemill
from cinemill.codecs.rle import Rle
from cines import RGB, Array, Shape, compress, long_frame, long_sector, sector, write

LARGEST_GROWTH = 40
"""MB between the shortest and the longest cine."""

_ACCESS = Shape(240, 320)
_ACCESS_FRAMES = 20_000
_NATIVE_LIMIT = (1 << 32) - 2
_COMMAND = """
import sys
from cinemill.cli import main
try:
    main()
finally:
    with open("/proc/self/status") as status:
        print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where the cines are made and removed again")
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.1, 1], help="GB of pixels")
    parser.add_argument("--sources", nargs="+", default=["jpeg", "rle", "native"])
    parser.add_argument("--verify", default="full")
    parser.add_argument("--to", default="jpeg-ls", help="the target")
    parser.add_argument("--jobs", default="1", help="threads")
    arguments = parser.parse_args()
    well = True
    subprocess.run([sys.executable, "-c", "from cinemill.warmup import load_all; load_all()"], check=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        print("| source | GB of pixels | frames | peak MB | offset table | first, middle, last frame |")
        print("|---|---|---|---|---|---|")
        for coding in arguments.sources:
            peaks = []
            for size in arguments.sizes:
                peak, exact = _transcode(Path(folder), coding, size, _options(arguments))
                peaks.append(peak)
                well &= exact
            print(f"| {coding} | | | +{max(peaks) - min(peaks):.0f} | | |", flush=True)
            well &= max(peaks) - min(peaks) < LARGEST_GROWTH
        _show_access(Path(folder))
    return 0 if well else 1


def _options(arguments: argparse.Namespace) -> list[str]:
    return ["--to", arguments.to, "--jobs", arguments.jobs, "--verify", arguments.verify]


def _transcode(folder: Path, coding: str, size: float, options: list[str]) -> tuple[float, bool]:
    """Transcode one generated cine; return the peak in MB, and whether frames are exact."""
    frames = int(size * 1e9) // RGB.pixels.nbytes
    if coding == "native":
        frames = min(frames, _NATIVE_LIMIT // RGB.pixels.nbytes)
    source, output = folder / "source.dcm", folder / "output.dcm"
    write(source, RGB.pixels, frames, coding, _codestreams(coding, frames))
    peak = _peak(["transcode", str(source), str(output), *options])
    chosen = (0, frames // 2, frames - 1)
    exact = all(_equal(source, output, index, coding) for index in chosen)
    written = dcmread(output, stop_before_pixels=True, defer_size=1 << 10)
    table = "extended" if "ExtendedOffsetTable" in written else "basic"
    if table == "extended" and len(written.ExtendedOffsetTable) != 8 * frames:
        exact = False
    megabytes = frames * RGB.pixels.nbytes / 1e9
    print(
        f"| {coding} | {megabytes:.2f} | {frames} | {peak:.0f} | {table} | {'exact' if exact else 'DIFFER'} |",
        flush=True,
    )
    source.unlink()
    output.unlink()
    return peak, exact


def _codestreams(coding: str, frames: int) -> Iterator[bytes]:
    for frame in long_sector(RGB, frames):
        yield Rle().encode([frame], RGB.pixels)[0] if coding == "rle" else compress(frame, coding, RGB.bits)


def _peak(arguments: list[str]) -> float:
    """Run a cinemill command; return the peak of its resident memory in MB, mapped pages of files included."""
    run = subprocess.run(
        [sys.executable, "-c", _COMMAND, *arguments], check=True, capture_output=True, text=True
    )
    return int(run.stdout) * 1024 / 1e6


def _equal(source: Path, output: Path, index: int, coding: str) -> bool:
    """Compare one frame of the output, read by pydicom, with what went into it; lossy JPEG by libjpeg-turbo."""
    read, expected = pixel_array(output, index=index), long_frame(RGB, index)
    if coding == "jpeg":
        expected = pixel_array(source, index=index, decoding_plugin="pillow")
    return bool(np.array_equal(read, expected))


def _show_access(folder: Path) -> None:
    print(
        "\n| 20,000 frames | open, ms (of the processor) | cine[19999], ms | cine[10000], ms | exact |\n"
        "|---|---|---|---|---|"
    )
    few = [compress(frame, "jpeg", 8) for frame in sector(_ACCESS, 16)]
    last = compress(long_frame(_ACCESS, _ACCESS_FRAMES - 1), "jpeg", 8)
    for table in ("basic", "extended", "empty"):
        path = folder / f"{table}.dcm"
        codestreams = (
            few[index % 16] if index < _ACCESS_FRAMES - 1 else last for index in range(_ACCESS_FRAMES)
        )
        write(path, _ACCESS.pixels, _ACCESS_FRAMES, "jpeg", codestreams, table=table)
        with cinemill.open(path) as cine:
            expected = cine[-1]
        started, busy = time.perf_counter(), time.process_time()
        with cinemill.open(path) as cine:
            opened, busy = time.perf_counter(), time.process_time() - busy
            frame = cine[-1]
            reached = time.perf_counter()
            cine[_ACCESS_FRAMES // 2]
            middle = time.perf_counter()
        exact = np.array_equal(frame, expected) and _marked(frame)
        print(
            f"| {table} | {1e3 * (opened - started):.0f} ({1e3 * busy:.0f}) | {1e3 * (reached - opened):.1f} "
            f"| {1e3 * (middle - reached):.1f} | {exact} |",
            flush=True,
        )
        path.unlink()


def _marked(frame: Array) -> bool:
    """Read the bar code of the last frame's number from its luminance."""
    bits = frame[12, 4:256:8, 0] > 127
    return int("".join(str(int(bit)) for bit in bits), 2) == _ACCESS_FRAMES - 1


if __name__ == "__main__":
    sys.exit(main())
