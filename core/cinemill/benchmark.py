"""Measures how fast one's own files are decoded and transcoded, in a unit that survives another machine.

Speed is processor time on one thread, the best of interleaved rounds. Beside MB/s it is given as a multiple of the
speed at which CharLS encodes the same frames in the same rounds: that unit changes with the machine and its load as
cinemill does, but not with cinemill.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cinemill.codecs.jpeg_ls.charls import CharLS
from cinemill.errors import Refused
from cinemill.frames.cine import Cine
from cinemill.operations.transcode.transcode import transcode

TARGETS = ("jpeg-ls", "jpeg-2000", "htj2k", "rle")
_ROUNDS = 5
_CHUNK = 16
_UNIT = "CharLS"


@dataclass(frozen=True, slots=True)
class Measurement:
    """How fast one thing is done to one file.

    Attributes
    ----------
    operation
        ``decode``, or ``to`` and the target's name: a whole transcoding without verification.
    megabytes_per_second
        Uncompressed pixels a second of processor time.
    ratio
        The same as a multiple of CharLS encoding these frames.
    """

    file: str
    operation: str
    megabytes_per_second: float
    ratio: float


def measure(path: str | os.PathLike[str]) -> list[Measurement]:
    """Measure decoding one file, and transcoding it to each target that can hold it.

    Raises
    ------
    UnsupportedPixelFormat
        CharLS can't encode such frames, so there is no unit: 1 or 3 samples of 8 or 16 bits are needed.
    CinemillError
        The file can't be read, or is damaged.
    """
    with Cine(path) as cine, tempfile.TemporaryDirectory() as folder:
        pixels, frames, output = cine.pixels, len(cine), Path(folder) / "output.dcm"
        sample = [frame.copy() for frame in cine[:_CHUNK]]

        def decode() -> None:
            for start in range(0, frames, _CHUNK):
                cine[start : start + _CHUNK]

        def to(target: str) -> Callable[[], object]:
            return lambda: transcode(path, output, to=target, threads=1, verify="none", overwrite=True)

        calls: dict[str, Callable[[], object]] = {
            _UNIT: lambda: CharLS().encode(sample, pixels),
            "decode": decode,
            **{f"to {target}": to(target) for target in TARGETS},
        }
        seconds = _best_seconds(calls)
    unit = len(sample) * pixels.nbytes / seconds.pop(_UNIT)
    speeds = {operation: frames * pixels.nbytes / spent for operation, spent in seconds.items()}
    return [
        Measurement(str(path), operation, round(speed / 1e6, 1), round(speed / unit, 3))
        for operation, speed in speeds.items()
    ]


def _best_seconds(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the processor time of each call in its best round; targets that refuse such frames are left out."""
    able = {}
    for name, call in calls.items():
        try:
            call()
        except Refused:
            if name == _UNIT:
                raise
        else:
            able[name] = call
    best = dict.fromkeys(able, float("inf"))
    for _ in range(_ROUNDS):
        for name, call in able.items():
            started = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - started)
    return best


def slower(
    now: Iterable[Measurement], before: Iterable[Measurement], at_least: float
) -> Iterator[tuple[Measurement, float]]:
    """Yield what became slower than `at_least` times what it was, by ratios, and how fast it is now.

    Parameters
    ----------
    now, before
        Measurements of the same files.
    at_least
        Ratio below which a file counts as slower.
    """
    old = {(Path(each.file).name, each.operation): each.ratio for each in before}
    for each in now:
        was = old.get((Path(each.file).name, each.operation))
        if was and each.ratio < at_least * was:
            yield each, each.ratio / was
