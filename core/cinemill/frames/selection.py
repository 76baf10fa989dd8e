"""Chooses frames of a cine: by number, by a step in time, or evenly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from cinemill.errors import NotInFile, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_RANGE = re.compile(r"(\d{1,18})-(\d{1,18})", re.ASCII)
_SLICE = re.compile(r"(-?\d{1,18})?:(-?\d{1,18})?(?::(-?\d{1,18})?)?", re.ASCII)
_TOLERANCE = 1e-6
"""Milliseconds by which a frame may come late: times in DS have few digits."""

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s)?", re.ASCII)


def read_numbers(text: str) -> list[range | slice]:
    """Read a list of frames: ``5``, ``10-20`` (with frame 20), or a slice as in Python, ``::2``, separated by commas.

    Raises
    ------
    UsageError
        An item is not understood.
    """
    return [_read_item(item.strip()) for item in text.split(",")]


def by_number(text: str, frames: int) -> list[int]:
    """Return the frames that a list names, ascending, each once.

    Parameters
    ----------
    text
        See `read_numbers`; counted from 0.
    frames
        Number of frames in the cine.

    Raises
    ------
    UsageError
        The list is not understood.
    NotInFile
        A frame is out of range, or none is left.
    """
    chosen: set[int] = set()
    for item in read_numbers(text):
        numbers = range(frames)[item] if isinstance(item, slice) else item
        if numbers and numbers[-1] >= frames:
            raise NotInFile(f"frame {numbers[-1]} is out of range; this cine has frames 0 to {frames - 1}")
        chosen.update(numbers)
    if not chosen:
        raise NotInFile(f"--frames {text} selects no frame; this cine has frames 0 to {frames - 1}")
    return sorted(chosen)


def _read_item(item: str) -> range | slice:
    if _NUMBER.fullmatch(item):
        return range(int(item), int(item) + 1)
    if match := _RANGE.fullmatch(item):
        return range(int(match[1]), int(match[2]) + 1)
    if match := _SLICE.fullmatch(item):
        start, stop, step = (int(part) if part else None for part in match.groups())
        if step != 0:
            return slice(start, stop, step)
    raise UsageError(f"can't read the frames {item!r}; expected e.g. 0,5,10-20,::2")


def by_time(step: float, times: NDArray[np.float64]) -> list[int]:
    """Return the frames that are on show at 0, step, 2 step … after the first.

    Parameters
    ----------
    step
        Milliseconds, positive.
    times
        Milliseconds of each frame, shape (frames,).

    Raises
    ------
    NotInFile
        The cine has no times.
    """
    if not np.isfinite(times).all():
        raise NotInFile("the header gives no frame times; choose frames by --frames or --count")
    relative = times - times[0]
    moment = np.ceil((relative - _TOLERANCE) / step)
    last = moment[-1] * step <= relative[-1] + _TOLERANCE
    return np.flatnonzero(np.append(np.diff(moment) > 0, last)).tolist()


def evenly(count: int, frames: int) -> list[int]:
    """Return so many frames at even distances, the first and the last among them.

    Raises
    ------
    NotInFile
        There are not as many.
    """
    if count > frames:
        raise NotInFile(f"--count {count} is out of range; this cine has 1 to {frames} frames to choose")
    return [round(index) for index in np.linspace(0, frames - 1, count).tolist()]


def milliseconds(text: str) -> float:
    """Read a duration such as ``100ms``, ``0.5s``, or a bare number of milliseconds.

    Raises
    ------
    UsageError
        It is none, or not positive.
    """
    match = _DURATION.fullmatch(text.strip())
    value = 0.0 if match is None else float(match[1]) * (1000 if match[2] == "s" else 1)
    if not value > 0:
        raise UsageError(f"can't read the duration {text!r}; expected a positive one, e.g. 100ms or 0.5s")
    return value
