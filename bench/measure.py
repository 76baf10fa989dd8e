"""Measures calls against each other: processor time, turn by turn, so that a busy machine slows both alike."""

from __future__ import annotations

import gc
import os
import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import cinemill
from cinemill import benchmark
from cinemill.codecs import table
from cinemill.dicom.source import Source
from cinemill.frames.colour import convert
from cinemill.frames.decode import FrameDecoder
from cinemill.operations.instance import of_source
from cinemill.operations.mask.masks import Mask
from cinemill.operations.mask.write import write_masked
from cinemill.operations.operation import Control
from cinemill.operations.origin import Origin
from cinemill.operations.transcode.plan import make_plan
from cinemill.operations.transcode.request import Transcode
from cinemill.syntaxes import target

if TYPE_CHECKING:
    from cinemill.operations.receipt import Receipt
    from cinemill.pixel_format import Box

Call = Callable[[], Any]
Measure = Callable[..., Any]
"""The fixture ``measure``."""


def processor_seconds() -> float:
    """Return the processor time that this process and its finished children have used."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def summarise(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Append a table to what CI shows of this job, where there is such a page."""
    if page := os.environ.get("GITHUB_STEP_SUMMARY"):
        benchmark.summarise(Path(page), title, columns, rows)


def interleaved(
    calls: Mapping[str, Call], rounds: int, before: Call = lambda: None
) -> dict[str, list[float]]:
    """Return the processor seconds of each call in each round; all calls have been made once before.

    ``before`` is called ahead of each of them, and does not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        before()
        call()
    gc.collect()
    for turn in range(rounds):
        names = list(calls)
        for name in names if turn % 2 == 0 else reversed(names):
            before()
            started = processor_seconds()
            calls[name]()
            seconds[name].append(processor_seconds() - started)
    return seconds


def ratio(reference: Sequence[float], ours: Sequence[float]) -> float:
    """Return how many times faster than the reference ours is, each in its best round.

    Other work on a machine only ever adds to processor time (through caches and memory that are shared), and more to
    vector code than to scalar code: over repeated runs the best rounds agree within 3 %, medians within 20 %.
    """
    return min(reference) / min(ours)


def rate(nbytes: int, seconds: Sequence[float]) -> float:
    """Return MB/s: the median of the rounds."""
    return nbytes / 1e6 / median(seconds)


class Floor:
    """The bare codec calls that a transcoding can't do without: decode, convert colour, encode; nothing else.

    Frames lie in memory, in the batches that the encoder likes best, and what is encoded is thrown away.
    """

    def __init__(self, path: Path, to: str) -> None:
        with Source(path) as source:
            decoder = FrameDecoder(source)
            plan = make_plan(decoder, target(to), "auto")
            self.codestreams = [bytes(source.frame(index)) for index in range(len(source))]
            self._told = source.layout if source.native else decoder.pixels
        self._decoder, self._encoder = decoder.codec, table.encoder(plan.target.coding)
        self._found = plan.decoded.photometric_interpretation
        self._encoded = plan.encoded
        self.nbytes = plan.encoded.nbytes * len(self.codestreams)

    def __call__(self) -> None:
        """Make the calls."""
        batch = max(self._encoder.batch, 1)
        for start in range(0, len(self.codestreams), batch):
            decoded = self._decoder.decode(self.codestreams[start : start + batch], self._told)
            wanted = self._encoded.photometric_interpretation
            converted = [convert(frame, self._found, wanted) for frame in decoded]
            self._encoder.encode(converted, self._encoded)


def transcoding(path: Path, output: Path, to: str, **options: Any) -> Call:
    """Return a call that transcodes a file on one thread, without verification unless asked for; the output may not be there."""
    return lambda: cinemill.transcode(path, output, to=to, threads=1, **{"verify": "none", **options})


def masking(path: Path, output: Path, to: str, boxes: Sequence[Box]) -> Call:
    """Return a call that masks a file on one thread, verified; without a target, in the transfer syntax that it has."""
    request, mask = Transcode(), Mask(tuple(boxes), "rect")

    def write(source: Source) -> Receipt:
        chosen = target(to) if to else None
        return write_masked(Origin(source, {}), output, request, Control(threads=1), mask, target=chosen)

    return lambda: of_source(path, output, write)
