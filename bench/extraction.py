"""Measures extraction against DCMTK and pydicom with Pillow on the same cines in the same run; prints a table.

    python bench/extraction.py [--frames 60] [--rounds 3]

Every cell is frames per processor second, the best of interleaved rounds, each tool's own start included for commands;
behind it stands how many times faster cinemill is. Then the last frame of a long cine: bytes read from the disk, with
nothing of the file in memory before, and time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.pixels import iter_pixels, pixel_array

import cinemill
from cines import RGB, TRANSFER_SYNTAXES, Shape, compress, real_cines, sector, write, write_cine
from measure import interleaved

_COMMAND = [
    sys.executable,
    "-c",
    "from cinemill.cli import main; main()",
    "extract",
    "--overwrite",
    "--display",
]
_DCMTK = {"png": "+on", "jpeg": "+oj"}
_SAME_JPEG: dict[str, Any] = {"quality": 95, "subsampling": 0}
_LONG, _FRAMES = Shape(480, 640), 20_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=60, help="of the synthetic cines")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sources = real_cines()
        for coding in ("jpeg", "rle", "native"):
            path = Path(folder) / f"{coding}.dcm"
            sources[f"{RGB}, {coding}"] = write_cine(path, RGB, arguments.frames, coding)
        print("| cine | to | cinemill | command | dcmj2pnm | pydicom + Pillow |\n|---|---|---|---|---|---|")
        for name, path in sources.items():
            for form in ("png", "jpeg", "npy"):
                _compare(name, path, form, Path(folder) / "out", arguments.rounds)
        _show_last_frame(Path(folder))


def _compare(name: str, path: Path, form: str, out: Path, rounds: int) -> None:
    calls: dict[str, Callable[[], object]] = {
        "cinemill": lambda: cinemill.extract(path, out, format=form, mode="display", overwrite=True),
        "command": lambda: _run([*_COMMAND, "--format", form, str(path), str(out)]),
    }
    if form in _DCMTK and shutil.which("dcmj2pnm"):
        calls["dcmj2pnm"] = lambda: _run(["dcmj2pnm", "+Fa", _DCMTK[form], str(path), str(out / "dcmtk")])
    calls["pydicom"] = lambda: _pydicom(path, form, out)
    out.mkdir(exist_ok=True)
    seconds = {tool: min(rounds) for tool, rounds in interleaved(calls, rounds).items()}
    with cinemill.open(path) as cine:
        frames = len(cine)
    cells = []
    for tool in ("cinemill", "command", "dcmj2pnm", "pydicom"):
        if tool in seconds:
            times = (
                "" if tool in {"cinemill", "command"} else f" ({seconds[tool] / seconds['cinemill']:.1f}×)"
            )
            cells.append(f"{frames / seconds[tool]:.0f}{times}")
        else:
            cells.append("–")
    print(f"| {name} | {form} | {' | '.join(cells)} |", flush=True)
    shutil.rmtree(out)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _pydicom(path: Path, form: str, out: Path) -> None:
    jpeg = dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == TRANSFER_SYNTAXES["jpeg"]
    for index, frame in enumerate(iter_pixels(path, decoding_plugin="pillow" if jpeg else "")):
        target = out / f"pydicom_{index}.{form}"
        if form == "npy":
            np.save(target, frame)
        else:
            Image.fromarray(frame).save(target, **(_SAME_JPEG if form == "jpeg" else {}))


def _show_last_frame(folder: Path) -> None:
    print(
        f"\n| last of {_FRAMES} frames | cinemill, ms | MB read | pydicom, ms | MB read |\n|---|---|---|---|---|"
    )
    few = [compress(frame, "jpeg", 8) for frame in sector(_LONG, 16)]
    for table in ("basic", "extended", "empty", "kept index"):
        path = folder / "long.dcm"
        kept = table == "kept index"
        if not kept:
            streams = (few[index % 16] for index in range(_FRAMES))
            write(path, _LONG.pixels, _FRAMES, "jpeg", streams, table=table)
        with cinemill.open(path, keep_index=kept) as cine:
            expected = cine[-1]

        def by_cinemill(path: Path = path, *, kept: bool = kept) -> np.ndarray:
            with cinemill.open(path, keep_index=kept) as cine:
                return cine[-1]

        def by_pydicom(path: Path = path) -> np.ndarray:
            return pixel_array(path, index=_FRAMES - 1, raw=True, decoding_plugin="pillow")

        ours, theirs = _cold(path, by_cinemill, expected), _cold(path, by_pydicom, expected)
        print(f"| {table} | {ours} | {theirs} |", flush=True)


def _cold(path: Path, read: Callable[[], np.ndarray], expected: np.ndarray) -> str:
    """Read a frame of a file that is not in memory; return milliseconds and megabytes from the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before, started = _bytes_read(), time.perf_counter()
    frame = read()
    milliseconds, megabytes = 1e3 * (time.perf_counter() - started), (_bytes_read() - before) / 1e6
    assert np.array_equal(frame, expected)
    return f"{milliseconds:.0f} | {megabytes:.2f}"


def _bytes_read() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


if __name__ == "__main__":
    main()
