"""Chooses frames of a cine: by number, by a step in time, or evenly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from cinemill.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMBER = re.compile(r"\d+", re.ASCII)
_RANGE = re.compile(r"(\d+)-(\d+)", re.ASCII)
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(-?\d+)?)?", re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s)?", re.ASCII)


def by_number(text: str, frames: int) -> list[int]:
    """Return the frames that a list names, ascending, each once.

    Parameters
    ----------
    text
        Items separated by commas: ``5``, ``10-20`` (with frame 20), or a slice as in Python, ``::2``. Counted from 0.
    frames
        Number of frames in the cine.

    Raises
    ------
    UsageError
        An item is not understood, a frame is out of range, or none is left.
    """
    chosen: set[int] = set()
    for item in text.split(","):
        chosen.update(_item(item.strip(), frames))
    return _not_empty(sorted(chosen), f"--frames {text}", frames)


def _item(item: str, frames: int) -> range:
    if _NUMBER.fullmatch(item):
        chosen = range(int(item), int(item) + 1)
    elif match := _RANGE.fullmatch(item):
        chosen = range(int(match[1]), int(match[2]) + 1)
    elif match := _SLICE.fullmatch(item):
        start, stop, step = (int(part) if part else None for part in match.groups())
        if step == 0:
            raise UsageError(f"the step of {item!r} is 0; expected another number")
        return range(frames)[start:stop:step]
    else:
        raise UsageError(f"can't read the frames {item!r}; expected e.g. 0,5,10-20,::2")
    if len(chosen) and chosen[-1] >= frames:
        raise UsageError(f"frame {chosen[-1]} is out of range; this cine has frames 0 to {frames - 1}")
    return chosen


def by_time(step: float, times: NDArray[np.float64]) -> list[int]:
    """Return the frames that are on show at 0, step, 2 step … after the first.

    Parameters
    ----------
    step
        Milliseconds.
    times
        Milliseconds of each frame, shape (frames,).

    Raises
    ------
    UsageError
        The step is not positive, or the cine has no times.
    """
    if not step > 0:
        raise UsageError(f"--every {step:g} ms is no step in time; expected a positive one, e.g. 100ms")
    if not np.isfinite(times).all():
        raise UsageError("the header gives no frame times; choose frames by --frames or --count")
    relative = times - times[0]
    moments = np.arange(int(relative.max() / step + 1e-9) + 1) * step
    shown = np.searchsorted(relative, moments + 1e-6, side="right") - 1
    return np.unique(shown).tolist()


def evenly(count: int, frames: int) -> list[int]:
    """Return so many frames at even distances, the first and the last among them.

    Raises
    ------
    UsageError
        There are not as many.
    """
    if not 1 <= count <= frames:
        raise UsageError(f"--count {count} is out of range; this cine has 1 to {frames} frames to choose")
    return np.round(np.linspace(0, frames - 1, count)).astype(int).tolist()


def milliseconds(text: str) -> float:
    """Read a duration such as ``100ms``, ``0.5s``, or a bare number of milliseconds.

    Raises
    ------
    UsageError
        It is none.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"can't read the duration {text!r}; expected e.g. 100ms or 0.5s")
    return float(match[1]) * (1000 if match[2] == "s" else 1)


def _not_empty(chosen: list[int], asked: str, frames: int) -> list[int]:
    if not chosen:
        raise UsageError(f"{asked} selects no frame; this cine has frames 0 to {frames - 1}")
    return chosen
