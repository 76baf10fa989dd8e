"""Which frames of a cine make up a clip: those nearest in true time to evenly spaced moments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cinemill.errors import DamagedFile
from cinemill.frames.timing import durations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cinemill.operations.dataset.words import Short, Which

_MOST = 1_000_000
"""Moments in a cine."""

_TOLERANCE = 1e-3
"""Milliseconds by which a moment may lie behind the end of a cine: times in DS have few digits."""


@dataclass(frozen=True, slots=True)
class Moments:
    """The frames of one clip.

    Attributes
    ----------
    frames
        Numbers of the frames in the cine, counted from 0; -1 for black ones.
    times
        When each was taken, in ms from the beginning of the cine; NaN where that is unknown, or the frame is black.
    wanted
        The moments that they stand for, in ms from the beginning of the cine.
    true
        How many of them are in the cine: those behind are black, or begin anew.
    """

    frames: tuple[int, ...]
    times: tuple[float, ...]
    wanted: tuple[float, ...]
    true: int

    @property
    def deviation(self) -> float | None:
        """By how many ms a frame is off its moment at most, None where times are unknown."""
        off = [abs(time - moment) for time, moment in zip(self.times[: self.true], self.wanted, strict=False)]
        return None if any(np.isnan(off)) else round(max(off), 6)


def cut(
    times: NDArray[np.float64],
    chosen: Sequence[int],
    *,
    fps: float,
    length: int,
    which: Which,
    short: Short,
) -> list[Moments] | None:
    """Cut a cine into clips that don't overlap; None where it is shorter than one and such are skipped.

    A frame is on show until the next one, and the last one as long as the one before. Without times, frames follow one
    another as they stand. There is no clip of a time in which a frame is on show for longer than the clip: nothing moves in it.

    Parameters
    ----------
    times
        Of all frames of the cine, in ms.
    chosen
        Frames that may be used, ascending.
    fps
        Moments a second.
    length
        Moments in a clip.
    which
        Of the clips that fit: all of them, the first, or the one in the middle of the cine.
    short
        What is done about a cine that is shorter than one clip: black frames, beginning anew, or nothing.

    Raises
    ------
    DamagedFile
        It lasts longer than any cine.
    """
    step = 1000 / fps
    frames = np.array(chosen, np.int64)
    known = bool(np.isfinite(times).all())
    moments = times[frames] - times[0] if known else frames.astype(np.float64) * step
    start, covered = float(moments[0]), len(frames)
    shown = durations(moments) if len(frames) > 1 else np.array([step])
    if known:
        end = moments[-1] + shown[-1] - start
        if end / step > _MOST:
            raise DamagedFile(
                f"{len(frames)} frames last {end / 1000:g} s by their times, expected {_MOST * step / 1000:g} s at most"
            )
        covered = max(1, math.ceil((end - _TOLERANCE) / step))
    wanted = start + np.arange(max(covered, length), dtype=np.float64) * step
    nearest = _nearest(moments, wanted[:covered]) if known else np.arange(covered)
    taken = moments if known else np.full(len(moments), np.nan)
    if covered < length:
        again = nearest[np.arange(length) % covered]
        return (
            None if short == "skip" else [_clip(frames, taken, again, wanted, covered, black=short == "pad")]
        )
    begins = list(range(0, covered - length + 1, length))
    if which == "middle":
        begins = [(covered - length) // 2]
    if known:
        apart = shown > length * step + _TOLERANCE
        still = apart[np.searchsorted(moments, wanted + _TOLERANCE, side="right") - 1]
        begins = [begin for begin in begins if not still[begin:][:length].any()]
    if which == "first":
        begins = begins[:1]
    return [
        _clip(frames, taken, nearest[begin:][:length], wanted[begin:][:length], length) for begin in begins
    ]


def _clip(
    frames: NDArray[np.int64],
    taken: NDArray[np.float64],
    nearest: NDArray[np.int64],
    wanted: NDArray[np.float64],
    true: int,
    *,
    black: bool = False,
) -> Moments:
    """Return a clip of the frames at some places, of which those behind the true ones are black or not."""
    numbers, times = frames[nearest], taken[nearest]
    if black:
        numbers[true:], times[true:] = -1, np.nan
    return Moments(tuple(numbers.tolist()), _rounded(times), _rounded(wanted), true)


def _nearest(times: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the frames that are nearest to moments, the earlier one of two that are as near."""
    behind = np.clip(np.searchsorted(times, wanted), 1, max(1, len(times) - 1))
    before = behind - 1
    behind = np.minimum(behind, len(times) - 1)
    later = times[behind] - wanted < wanted - times[before] - _TOLERANCE
    return np.where(later, behind, before)


def _rounded(times: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(time, 6) for time in times.tolist())
