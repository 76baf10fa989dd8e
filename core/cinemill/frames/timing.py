"""When each frame of a cine was taken, and how long it is shown (PS3.3 C.7.6.5, C.7.6.6, C.7.6.16)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from cinemill.dicom.values import explained
from cinemill.errors import DamagedFile

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

    from cinemill.dicom.source import Source

_FRAME_TIME, _FRAME_TIME_VECTOR, _FRAME_DELAY = 0x00181063, 0x00181065, 0x00181066
_RATES = {0x00082144: "RecommendedDisplayFrameRate", 0x00180040: "CineRate"}
_FRAME_INCREMENT_POINTER = 0x00280009
_PER_FRAME_GROUPS = 0x52009230

_SHORTEST, _LONGEST = 1e-3, 1e10
"""Milliseconds from one frame to the next that can be meant."""
UNKNOWN_FRAME_TIME = 40.0
"""Milliseconds for which a frame is shown where the header does not tell."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When the frames of a cine were taken, and how that is known.

    Attributes
    ----------
    times
        Milliseconds of each frame, shape (frames,): NaN where the header does not tell.
    attribute
        Keyword of the attribute that they come from, None where the header does not tell.
    """

    times: NDArray[np.float64]
    attribute: str | None


def frame_times(source: Source) -> NDArray[np.float64]:
    """Return the time of each frame in ms, shape (frames,): NaN where the header does not tell."""
    return read_timing(source, len(source)).times


def read_timing(source: Source, frames: int) -> Timing:
    """Return the time of each frame, and the attribute that tells it.

    The first frame is at Frame Delay, 0 where it is absent. Frame Increment Pointer decides between Frame Time Vector
    and Frame Time; without it, whichever is there, then the acquisition times of the functional groups, then Recommended
    Display Frame Rate, then Cine Rate.

    Parameters
    ----------
    source
        The open file, of which the header alone is read.
    frames
        How many there are.
    """
    delay = next((delay for delay in _numbers(source, _FRAME_DELAY)[:1] if abs(delay) <= _LONGEST), 0.0)
    vector = _increments(source, frames)
    steps = [step for step in _numbers(source, _FRAME_TIME)[:1] if _SHORTEST <= step <= _LONGEST]
    if vector is not None and (_points_to(source, _FRAME_TIME_VECTOR) or not steps):
        return Timing(delay + np.cumsum(vector), "FrameTimeVector")
    if steps:
        return Timing(delay + np.arange(frames, dtype=np.float64) * steps[0], "FrameTime")
    grouped = _group_times(source, frames)
    if grouped is not None:
        return Timing(grouped, "PerFrameFunctionalGroupsSequence")
    for tag, keyword in _RATES.items():
        for rate in _numbers(source, tag):
            if 1000 / _LONGEST <= rate <= 1000 / _SHORTEST:
                return Timing(delay + np.arange(frames, dtype=np.float64) * (1000 / rate), keyword)
    return Timing(
        delay + np.arange(frames, dtype=np.float64) * np.nan if frames > 1 else np.array([delay]), None
    )


def durations(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for how many ms each frame is shown, shape (frames,): the last one as long as the one before it.

    Parameters
    ----------
    times
        Milliseconds of each frame in order, shape (frames,).
    """
    if len(times) == 1:
        return np.array([UNKNOWN_FRAME_TIME])
    steps = np.diff(times)
    return np.append(steps, steps[-1])


def _increments(source: Source, frames: int) -> NDArray[np.float64] | None:
    """Return Frame Time Vector with the 0 of the first frame, which some files leave out."""
    vector = np.array(_numbers(source, _FRAME_TIME_VECTOR), np.float64)
    if not len(vector):
        return None
    if len(vector) == frames - 1:
        vector = np.insert(vector, 0, 0)
    if len(vector) != frames:
        source.warnings.append(f"Frame Time Vector has {len(vector)} values for {frames} frames; not used")
        return None
    if (vector[1:] <= 0).any():
        source.warnings.append("Frame Time Vector does not go forward; not used")
        return None
    if len(vector) > 1 and not _SHORTEST <= vector[1:].min() <= vector[1:].max() <= _LONGEST:
        steps = f"{vector[1:].min():g} to {vector[1:].max():g} ms"
        source.warnings.append(f"Frame Time Vector has steps of {steps}, which can't be meant; not used")
        return None
    vector[0] = 0
    return vector


def _group_times(source: Source, frames: int) -> NDArray[np.float64] | None:
    """Return times since the first frame from the Frame Content functional groups."""
    if source.value(_PER_FRAME_GROUPS) is None:
        return None
    try:
        with explained("functional groups can't be read", "their times are not used", DamagedFile):
            groups = source.part(_PER_FRAME_GROUPS).get("PerFrameFunctionalGroupsSequence") or ()
            times = [_acquisition_seconds(group) for group in groups]
    except DamagedFile as error:
        source.warnings.append(error.message)
        return None
    known = [time for time in times if time is not None]
    if len(known) != frames:
        return None
    relative = np.array(known) - known[0]
    return relative * 1000 if (np.diff(relative) > 0).all() else None


def _acquisition_seconds(group: Dataset) -> float | None:
    from pydicom.valuerep import DT

    for content in group.get("FrameContentSequence") or ():
        text = content.get("FrameAcquisitionDateTime") or content.get("FrameReferenceDateTime")
        try:
            moment = DT(str(text)) if text else None
        except ValueError:
            return None
        if moment is not None:
            zone = moment.tzinfo or UTC  # a clock without a zone has no hour twice
            return datetime.combine(moment.date(), moment.time(), zone).timestamp()
    return None


def _points_to(source: Source, tag: int) -> bool:
    pointer = source.value(_FRAME_INCREMENT_POINTER)
    if not pointer:
        return True
    words = np.frombuffer(pointer[: len(pointer) // 4 * 4], f"{source.encoding.order}u2").reshape(-1, 2)
    return [tag >> 16, tag & 0xFFFF] in words.tolist()


def _numbers(source: Source, tag: int) -> list[float]:
    try:
        numbers = [float(value) for value in source.text(tag).split("\\") if value.strip()]
    except ValueError:
        return []
    return numbers if np.isfinite(numbers).all() else []
