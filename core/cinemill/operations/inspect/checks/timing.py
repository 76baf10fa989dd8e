"""Checks of what a header says of times: which attribute tells them, whether its values can be, whether others contradict it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cinemill.dicom.dictionary import find_name
from cinemill.dicom.elements import tag_name
from cinemill.operations.inspect.checks.check import Problem, Problems, Subject, check
from cinemill.operations.inspect.facts import numbers
from cinemill.operations.inspect.model import Severity

_FRAME_TIME, _FRAME_TIME_VECTOR, _POINTER = 0x00181063, 0x00181065, 0x00280009
_CINE_RATE, _DISPLAY_RATE, _DURATION = 0x00180040, 0x00082144, 0x00180072
_START_TRIM, _STOP_TRIM = 0x00082142, 0x00082143
_CINES = frozenset(("US", "IVUS", "XA", "RF", "ES"))
_SHORTEST, _LONGEST = 0.1, 60_000.0
"""Milliseconds of a frame beyond which nobody records a cine."""

_ALIKE = 0.05
"""Rates that differ by less, or by less than one a second, which is what integers leave out, are the same."""

_SET = "have Frame Increment Pointer and Frame Time (or Frame Time Vector) say what is true; viewers differ in what they believe"


def _attribute(tag: int) -> str:
    return f"{find_name(tag)} {tag_name(tag)}"


@check(
    "timing.pointer",
    Severity.WARNING,
    "PS3.3 C.7.6.6.1.2",
    about="Frame Increment Pointer of a cine is there, and points to what is there",
    remedy=_SET,
    pixels=True,
)
def pointer(subject: Subject) -> Problems:
    """Yield a pointer that is missing, or leads nowhere."""
    source, known = subject.source, subject.sop_class
    grouped = known is not None and known.grouped
    if not subject.image or (subject.facts.frames or 1) < 2 or grouped:
        return
    value = source.value(_POINTER)
    if not value:
        if known is not None and known.frames != "never":
            yield f"{_attribute(_POINTER)} is {'absent' if value is None else 'empty'}"
        return
    words = np.frombuffer(value[: len(value) // 4 * 4], f"{source.encoding.order}u2").reshape(-1, 2).tolist()
    for group, element in words:
        tag = group << 16 | element
        if not subject.present(tag):
            yield f"{_attribute(_POINTER)} points to {_attribute(tag).strip()}, which is {_state(subject, tag)}"


def _state(subject: Subject, tag: int) -> str:
    return "absent" if subject.source.element(tag) is None else "empty"


@check(
    "timing.missing",
    Severity.WARNING,
    "PS3.3 C.7.6.5",
    about="a cine says when its frames were taken",
    remedy="have Frame Time filled in where the instance is made; viewers play it as fast as they like",
    pixels=True,
)
def missing(subject: Subject) -> Problems:
    """Yield a cine without times."""
    frames, facts = subject.facts.frames or 1, subject.facts
    if subject.image and frames > 1 and facts.modality in _CINES and facts.frame_rate is None:
        yield f"nothing tells the times of {frames} frames: no Frame Time, Frame Time Vector or rate that can be used"


@check(
    "timing.values",
    Severity.WARNING,
    "PS3.5 6.2",
    about="times and rates are numbers that a cine can have: a frame lasts 0.1 ms to 60 s",
    remedy=_SET,
    pixels=True,
)
def values(subject: Subject) -> Problems:
    """Yield values that are no numbers, or none of a cine."""
    if not subject.image:
        return
    still = (subject.facts.frames or 1) == 1
    for tag in (_FRAME_TIME, _CINE_RATE, _DISPLAY_RATE):
        told, known = subject.source.text(tag), numbers(subject.source, tag)[:1]
        if not told or (still and known == [0.0]):
            continue
        if not known:
            yield f"{_attribute(tag)} is {told[:32]!r}, which is no number"
            continue
        lasts = known[0] if tag == _FRAME_TIME else 1000 / known[0] if known[0] else 0.0
        if not _SHORTEST <= lasts <= _LONGEST:
            yield f"{_attribute(tag)} is {told[:32]}, expected {_range(tag)}"


def _range(tag: int) -> str:
    if tag == _FRAME_TIME:
        return f"{_SHORTEST:g} to {_LONGEST:g} ms"
    return f"{1000 / _LONGEST:.3g} to {1000 / _SHORTEST:g} frames a second"


@check(
    "timing.vector",
    Severity.WARNING,
    "PS3.3 C.7.6.5.1.2",
    about="Frame Time Vector has a value for each frame, that of the first one 0, all others above 0",
    remedy="correct Frame Time Vector, or name a Frame Time; where it can't be used, viewers fall back on a rate",
    pixels=True,
)
def vector(subject: Subject) -> Problems:
    """Yield what is wrong with the vector."""
    frames, told = subject.facts.frames, subject.source.text(_FRAME_TIME_VECTOR)
    if not told or frames is None or not subject.image:
        return
    count, found = told.count("\\") + 1, numbers(subject.source, _FRAME_TIME_VECTOR)
    if len(found) < count:
        yield f"{count - len(found)} of {count} values of Frame Time Vector are no numbers"
    elif count == frames - 1:
        yield f"Frame Time Vector has {count} values for {frames} frames: that of the first frame, 0, is missing"
    elif count != frames:
        yield f"Frame Time Vector has {count} values for {frames} frames"
    elif found[0] != 0:
        yield Problem(f"Frame Time Vector begins with {found[0]:g}, expected 0", 0)
    first = count == frames
    back = [at for at, step in enumerate(found) if step <= 0 and (at > 0 or not first)]
    if back:
        yield Problem(
            f"value {back[0] + 1} of Frame Time Vector is {found[back[0]]:g}: time does not go forward",
            back[0],
        )


@check(
    "timing.rates",
    Severity.WARNING,
    "PS3.3 C.7.6.5",
    about="Frame Time, Frame Time Vector, Cine Rate and Recommended Display Frame Rate tell the same rate",
    remedy=_SET,
    pixels=True,
)
def rates(subject: Subject) -> Problems:
    """Yield rates that differ by more than 5 % and one frame a second."""
    frames = subject.facts.frames or 1
    told = dict(_rates(subject)) if frames > 1 and subject.image else {}
    if len(told) < 2:
        return
    low, high = min(told.values()), max(told.values())
    if high - low > max(1.0, _ALIKE * high):
        yield "frames a second: " + ", ".join(f"{rate:.4g} by {name}" for name, rate in told.items())


def _rates(subject: Subject) -> Iterator[tuple[str, float]]:
    source, frames = subject.source, subject.facts.frames or 1
    steps = numbers(source, _FRAME_TIME)[:1]
    if steps and steps[0] > 0:
        yield "Frame Time", 1000 / steps[0]
    found = numbers(source, _FRAME_TIME_VECTOR)
    if len(found) in {frames - 1, frames} and (total := math.fsum(found[len(found) - frames + 1 :])) > 0:
        yield "Frame Time Vector", (frames - 1) * 1000 / total
    for name, tag in (("Cine Rate", _CINE_RATE), ("Recommended Display Frame Rate", _DISPLAY_RATE)):
        rate = numbers(source, tag)[:1]
        if rate and rate[0] > 0:
            yield name, rate[0]


@check(
    "timing.duration",
    Severity.NOTICE,
    "PS3.3 C.7.6.5",
    about="Effective Duration is that of the frames",
    remedy="leave Effective Duration (0018,0072) out, or correct it",
    pixels=True,
)
def duration(subject: Subject) -> Problems:
    """Yield both durations where they differ by more than a tenth, and two frames."""
    told, facts = numbers(subject.source, _DURATION)[:1], subject.facts
    if not told or facts.duration is None or not facts.frames or subject.present(_START_TRIM):
        return
    if abs(told[0] - facts.duration) > max(0.1 * facts.duration, 2 * facts.duration / facts.frames):
        yield (
            f"Effective Duration is {told[0]:g} s, the {facts.frames} frames last {facts.duration:.4g} s "
            f"by {facts.frame_rate_source}"
        )


@check(
    "timing.trim",
    Severity.WARNING,
    "PS3.3 C.7.6.5",
    about="Start Trim and Stop Trim are frames, and in this order",
    remedy="leave both out, or correct them; viewers show only what lies between them",
    pixels=True,
)
def trim(subject: Subject) -> Problems:
    """Yield trims beyond the frames, or reversed."""
    frames = subject.facts.frames
    if frames is None or not subject.image:
        return
    ends = {tag: numbers(subject.source, tag)[:1] for tag in (_START_TRIM, _STOP_TRIM)}
    for tag, told in ends.items():
        if told and not 1 <= told[0] <= frames:
            yield f"{_attribute(tag)} is {told[0]:g}, expected 1 to {frames}"
    start, stop = ends.values()
    if start and stop and start > stop:
        yield f"Start Trim is {start[0]:g} and Stop Trim {stop[0]:g}, which lies before it"
