"""Measures how fast one's own files are decoded and transcoded, in a unit that survives another machine.

Speed is processor time on one thread, the best of interleaved rounds. Beside MB/s it is given as a multiple of the
speed at which CharLS encodes the same frames in the same rounds: that unit changes with the machine and its load as
cinemill does, but not with cinemill.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median, quantiles, stdev
from typing import Any

from cinemill._version import __version__
from cinemill.codecs.jpeg_ls.charls import CharLS
from cinemill.errors import Refused, UsageError
from cinemill.frames.cine import Cine
from cinemill.operations.transcode.transcode import transcode
from cinemill.storage.scratch import scratch

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
    seconds
        Of processor time, in each round.
    """

    file: str
    operation: str
    megabytes_per_second: float
    ratio: float
    seconds: tuple[float, ...] = ()


def measure(path: str | os.PathLike[str]) -> list[Measurement]:
    """Measure decoding one file, and transcoding it to each target that can hold it.

    Raises
    ------
    UnsupportedPixelFormat
        CharLS can't encode such frames, so there is no unit: 1 or 3 samples of 8 or 16 bits are needed.
    CinemillError
        The file can't be read, or is damaged.
    """
    with Cine(path) as cine, scratch() as folder:
        pixels, frames, output = cine.pixels, len(cine), folder / "output.dcm"
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
        seconds = _rounds(calls)
    unit = len(sample) * pixels.nbytes / min(seconds.pop(_UNIT))
    measured = []
    for operation, spent in seconds.items():
        speed = frames * pixels.nbytes / min(spent)
        measured.append(
            Measurement(str(path), operation, round(speed / 1e6, 1), round(speed / unit, 3), tuple(spent))
        )
    return measured


def _rounds(calls: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Return the processor time of each call in each round; targets that refuse such frames are left out."""
    able = {}
    for name, call in calls.items():
        try:
            call()
        except Refused:
            if name == _UNIT:
                raise
        else:
            able[name] = call
    spent: dict[str, list[float]] = {name: [] for name in able}
    for _ in range(_ROUNDS):
        for name, call in able.items():
            started = time.process_time()
            call()
            spent[name].append(time.process_time() - started)
    return spent


def to_document(measured: Iterable[Measurement]) -> dict[str, Any]:
    """Return measurements as pytest-benchmark writes them, so that its ``compare`` reads them."""
    now = datetime.now(UTC).isoformat()
    return {
        "machine_info": {
            "node": "",
            "processor": platform.processor(),
            "machine": platform.machine(),
            "python_implementation": platform.python_implementation(),
            "python_version": platform.python_version(),
            "system": platform.system(),
            "release": platform.release(),
            "cpu": {"count": os.cpu_count()},
        },
        "commit_info": {"id": __version__, "time": now, "project": "cinemill", "branch": "", "dirty": False},
        "datetime": now,
        "version": __version__,
        "benchmarks": [_benchmark(each) for each in measured],
    }


def _benchmark(measured: Measurement) -> dict[str, Any]:
    file = Path(measured.file).name
    return {
        "group": file,
        "name": f"{file}: {measured.operation}",
        "fullname": f"{measured.file}::{measured.operation}",
        "params": None,
        "param": None,
        "extra_info": {
            "file": measured.file,
            "operation": measured.operation,
            "MB/s": measured.megabytes_per_second,
            "ratio": measured.ratio,
        },
        "options": {"timer": "process_time"},
        "stats": _statistics(measured.seconds),
    }


def _statistics(seconds: Sequence[float]) -> dict[str, Any]:
    low, _, high = quantiles(seconds, method="inclusive") if len(seconds) > 1 else (seconds[0],) * 3
    mean, spread = fmean(seconds), stdev(seconds) if len(seconds) > 1 else 0.0
    inside = [each for each in seconds if abs(each - mean) <= spread]
    fence = 1.5 * (high - low)
    near = [each for each in seconds if low - fence <= each <= high + fence]
    return {
        "min": min(seconds),
        "max": max(seconds),
        "mean": mean,
        "stddev": spread,
        "rounds": len(seconds),
        "median": median(seconds),
        "iqr": high - low,
        "q1": low,
        "q3": high,
        "iqr_outliers": len(seconds) - len(near),
        "stddev_outliers": len(seconds) - len(inside),
        "outliers": f"{len(seconds) - len(inside)};{len(seconds) - len(near)}",
        "ld15iqr": min(near),
        "hd15iqr": max(near),
        "ops": 1 / mean if mean else 0.0,
        "total": sum(seconds),
        "iterations": 1,
        "data": list(seconds),
    }


def from_document(document: Any) -> list[Measurement]:
    """Return the measurements of a document that `to_document` made.

    Raises
    ------
    ValueError
        It is none.
    """
    try:
        return [
            Measurement(
                str(info["file"]),
                str(info["operation"]),
                float(info["MB/s"]),
                float(info["ratio"]),
                tuple(each["stats"]["data"]),
            )
            for each in document["benchmarks"]
            if "operation" in (info := each["extra_info"])
        ]
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"no benchmarks of cinemill in it ({error})") from None


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


def summarise(summary: Path, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Append a table in Markdown to a file: text in the first column to the left, figures to the right.

    Parameters
    ----------
    summary
        Such as the one that GITHUB_STEP_SUMMARY names.
    title
        Heading of the table.
    columns, rows
        Their cells.

    Raises
    ------
    UsageError
        The file can't be written.
    """
    rule = ["---", *["--:"] * (len(columns) - 1)]
    lines = (
        "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        for cells in (columns, rule, *rows)
    )
    try:
        with summary.open("a", encoding="utf-8") as file:
            file.write("\n".join([f"### {title}", "", *lines, "", ""]))
    except OSError as error:
        raise UsageError(f"the summary can't be written: {error.strerror}", path=summary) from None
