"""Finds out what would become of one instance: it goes through the real code, a long cine with some of its frames only."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cinemill.codecs import table
from cinemill.dicom.source import Source
from cinemill.errors import Cancelled, CinemillError, DamagedFile, Refused
from cinemill.operations.clock import Clock
from cinemill.operations.copies import copy
from cinemill.operations.forecast.excerpt import BLOCKS, PIECE, Excerpt, PartlyRead, excerpt_of
from cinemill.operations.instance import is_directory
from cinemill.operations.operation import Control, Operation
from cinemill.operations.policy.decide import decide
from cinemill.operations.receipt import Receipt, failure
from cinemill.operations.transcode.choose import choose, kept_as_it_is
from cinemill.operations.transcode.transcode import decisive, write_instance
from cinemill.operations.transcode.transcode import run as transcode

if TYPE_CHECKING:
    from cinemill.operations.policy.decide import Decision
    from cinemill.operations.transcode.choose import Choice
    from cinemill.operations.transcode.request import Transcode

_OFTEN = 16
"""Frames a batch, at the least that is thought of when it is told whether a cine is long."""

_LONG = 3.0
"""Processor time of an instance beside which that of loading is little: it is not tried twice."""

_warm: set[tuple[object, ...]] = set()
"""Kinds of instances that this process has met: what they need is loaded."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What would become of one instance.

    Attributes
    ----------
    done
        As `Receipt.done` says.
    syntax
        UID of the output's transfer syntax.
    error
        Why there would be none.
    bytes_before, bytes_after
        Of the source, and of the output.
    bytes_otherwise
        What the output would have taken, where it would have grown.
    seconds
        Processor time, but for what grows with the frames.
    seconds_of_frames
        Processor time of all frames.
    variance
        Of `bytes_after`, for not all frames were tried.
    loading
        Processor time that a process takes once, before the first of its kind.
    frames_tried
        How many went through the encoders.
    kind
        Of instances for which a process has to load the same.
    """

    done: str
    syntax: str = ""
    error: str = ""
    bytes_before: int = 0
    bytes_after: int = 0
    bytes_otherwise: int = 0
    seconds: float = 0.0
    seconds_of_frames: float = 0.0
    variance: float = 0.0
    loading: float = 0.0
    frames_tried: int = 0
    kind: tuple[object, ...] = ()

    @property
    def total(self) -> float:
        """Processor time in all."""
        return self.seconds + self.seconds_of_frames


@dataclass(frozen=True, slots=True)
class Probed(Receipt):
    """Says what each of several runs would make of an instance.

    Attributes
    ----------
    starting
        Processor time that the process had taken before its first instance.
    starting_all
        Processor time that the process had taken that starts all of them.
    """

    predictions: tuple[Prediction, ...] = ()
    starting: float = 0.0
    starting_all: float = 0.0


@dataclass(frozen=True, slots=True)
class Probe(Operation):
    """What is asked of instances that are tried.

    Attributes
    ----------
    asked
        Each as a run would have it.
    """

    kind: ClassVar[str] = "forecast"
    body: ClassVar[str] = "cinemill.operations.forecast.probe"
    only_reads: ClassVar[bool] = True

    asked: tuple[Transcode, ...] = ()


def run(request: Probe, src: Path, dst: Path, control: Control) -> Probed:
    """Try one instance.

    Parameters
    ----------
    request
        What it is asked for.
    src
        The file.
    dst
        A place for what is written and removed at once.
    control
        Cancellation.
    """
    starting, starting_all = (0.0, 0.0) if _warm else (time.process_time(), _of_parent())
    predictions = []
    for asked in request.asked:
        control.check()
        prediction = _once(asked, src, dst, control)
        if prediction.kind not in _warm:
            _warm.add(prediction.kind)
            if prediction.total > _LONG:
                predictions.append(prediction)
                continue
            again = _once(asked, src, dst, control)
            prediction = replace(again, loading=max(0.0, prediction.total - again.total))
        predictions.append(prediction)
    return Probed(
        source=str(src),
        output=str(dst),
        status="verified",
        predictions=tuple(predictions),
        starting=starting,
        starting_all=starting_all,
    )


def _of_parent() -> float:
    """Return the processor time of the process that started this one, 0 where the system does not tell."""
    try:
        told = Path(f"/proc/{os.getppid()}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


def _once(asked: Transcode, src: Path, dst: Path, control: Control) -> Prediction:
    alone = Control(1, control.cancelled)
    started = time.process_time()
    try:
        with Source(src, scan=False) as source:
            long = _is_long(source)
        if long:
            return _long(asked, src, dst, alone)
        started = time.process_time()
        receipt = transcode(asked, src, dst, alone)
    except Cancelled:
        raise
    except (CinemillError, RecursionError) as error:
        known = error if isinstance(error, CinemillError) else DamagedFile("sequences are nested too deeply")
        receipt = failure(src, dst, known)
    finally:
        taken = time.process_time() - started
        with suppress(OSError):
            dst.unlink()
    return _whole(receipt, taken)


def _is_long(source: Source) -> bool:
    if source.pixel_data is None:
        return len(source.file) > PIECE
    frames, frame_bytes = len(source), source.pixels.nbytes
    return len(excerpt_of(frames, frame_bytes, _OFTEN)) < frames or len(source.file) > 4 * PIECE


def _whole(receipt: Receipt, taken: float) -> Prediction:
    """Return the prediction of an instance all of whose frames were tried."""
    stages = {name: value for name, value in receipt.seconds.items() if name not in {"commit", "total"}}
    of_frames = taken * min(0.95, sum(stages.values()) / max(receipt.seconds.get("total", 0.0), 1e-9))
    error = receipt.error or {}
    pixels = (receipt.samples, receipt.bits_allocated, receipt.photometric_interpretation_before)
    return Prediction(
        receipt.done,
        receipt.transfer_syntax_after,
        str(error.get("message", "")),
        receipt.bytes_before,
        receipt.bytes_after,
        receipt.bytes_otherwise,
        taken - of_frames,
        of_frames,
        frames_tried=receipt.frames or 0,
        kind=(receipt.done, receipt.transfer_syntax_before, receipt.transfer_syntax_after, *pixels),
    )


def _long(asked: Transcode, src: Path, dst: Path, control: Control) -> Prediction:
    """Try an instance that is too long to be tried as a whole."""
    started = time.process_time()
    with Source(src, scan=False) as source:
        size = len(source.file)
        if is_directory(source):
            return Prediction("skipped", bytes_before=size, seconds=time.process_time() - started)
        decision = decide(source, asked.rules, asked.options)
        request = asked.decided(decision.options)
        origin = PartlyRead(source, decisive(decision, request))
        choice = choose(source, decision, control, room=origin.room)
        taken = time.process_time() - started
        if choice.action == "transcode":
            prediction = _excerpt(choice, decision, source, dst, request, control)
        else:
            prediction = _carried(source, dst, "copied" if choice.action == "copy" else "transcoded")
            if choice.action != "copy":
                prediction = replace(prediction, syntax=choice.target.uid, bytes_after=size + origin.room)
        if choice.reason:
            told = Receipt("", "", "copied", reason=choice.reason).done
            prediction = replace(prediction, done=told, bytes_otherwise=choice.bytes_otherwise)
        kind = (prediction.done, source.transfer_syntax.uid, prediction.syntax, *_described(source), "long")
    return replace(prediction, seconds=prediction.seconds + taken, kind=kind)


def _described(source: Source) -> tuple[object, ...]:
    if source.pixel_data is None:
        return ()
    pixels = source.pixels
    return pixels.samples, pixels.bits_allocated, pixels.photometric_interpretation


def _carried(source: Source, dst: Path, done: str) -> Prediction:
    """Copy a piece of a file, and tell the time of the whole."""
    started = time.process_time()
    if source.pixel_data is not None:
        source.check()
    size = len(source.file)
    checked = time.process_time()
    try:
        with memoryview(source.file) as whole, whole[:PIECE] as piece:
            copy(piece, dst, Clock(), likeness=None, overwrite=True)
    finally:
        with suppress(OSError):
            dst.unlink()
    ended = time.process_time()
    return Prediction(
        done,
        source.transfer_syntax.uid,
        bytes_before=size,
        bytes_after=size,
        seconds=checked - started,
        seconds_of_frames=(ended - checked) * size / max(1, min(PIECE, size)),
    )


def _excerpt(
    choice: Choice, decision: Decision, source: Source, dst: Path, request: Transcode, control: Control
) -> Prediction:
    """Transcode some frames of a cine, and tell size and time of all."""
    batch = table.encoder(choice.target.coding).batch
    frames = len(source)
    indices = excerpt_of(frames, source.pixels.nbytes, batch)
    marks = []
    started = time.process_time()
    with Excerpt(source.path, indices) as excerpt:
        origin = PartlyRead(excerpt, decisive(decision, request))
        writing = replace(request, if_larger="write", overwrite=True)
        timed = control._replace(progress=lambda *_: marks.append(time.process_time()))
        try:
            receipt = write_instance(choice, decision, origin, dst, writing, timed)
            ended = time.process_time()
            sizes = _sizes(dst)
        except Refused as refused:
            kept = kept_as_it_is(refused, choice, decision, source)
            return _carried(source, dst, Receipt("", "", "copied", reason=kept.reason or "").done)
        finally:
            with suppress(OSError):
                dst.unlink()
    taken = ended - started
    run = len(indices) if len(marks) < 2 else len(indices) // len(marks)
    a_frame = (marks[-1] - marks[0]) / ((len(marks) - 1) * run) if len(marks) > 1 else taken / len(indices)
    tried = sum(sizes)
    mean = tried / len(indices)
    after = receipt.bytes_after + round(mean * (frames - len(indices))) + 4 * (frames - len(indices))
    prediction = Prediction(
        receipt.done,
        choice.target.uid,
        bytes_before=len(source.file),
        bytes_after=after,
        seconds=max(0.0, taken - a_frame * len(indices)) + origin.seconds_left,
        seconds_of_frames=a_frame * frames,
        variance=variance_of(sizes, frames),
        frames_tried=len(indices),
    )
    if decision.guarded and after > len(source.file):
        return _grown(prediction, source, dst)
    return prediction


def _grown(prediction: Prediction, source: Source, dst: Path) -> Prediction:
    """Return the prediction of an instance that is copied as soon as its output passes the source's size."""
    copied = _carried(source, dst, Receipt("", "", "copied", reason="would-grow").done)
    share = len(source.file) / prediction.bytes_after
    return replace(
        copied,
        bytes_otherwise=prediction.bytes_after,
        seconds=prediction.seconds + copied.seconds,
        seconds_of_frames=prediction.seconds_of_frames * share + copied.seconds_of_frames,
        frames_tried=prediction.frames_tried,
    )


def _sizes(output: Path) -> list[int]:
    """Return the bytes that each frame takes in an output."""
    with Source(output) as written:
        around = 8 if written.transfer_syntax.encapsulated else 0
        return [
            len(frame) + len(frame) % 2 + around for frame in (written.frame(i) for i in range(len(written)))
        ]


def variance_of(sizes: list[int], frames: int) -> float:
    """Return the variance of the sum over all frames, from those of a few runs.

    It is that between the runs, or that between frames where this is larger, for two runs may be alike by chance.

    Parameters
    ----------
    sizes
        Of the frames that were tried.
    frames
        How many there are.
    """
    run = max(1, len(sizes) // BLOCKS)
    runs = [sum(sizes[at : at + run]) for at in range(0, len(sizes) - run + 1, run)]
    return max(_of_sum(runs, frames / run), _of_sum(sizes, frames))


def _of_sum(found: list[int], units: float) -> float:
    if len(found) < 2 or len(found) >= units:
        return 0.0
    mean = sum(found) / len(found)
    spread = sum((each - mean) ** 2 for each in found) / (len(found) - 1)
    return units**2 * (1 - len(found) / units) * spread / len(found)
