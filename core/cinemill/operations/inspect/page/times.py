"""Times of a cine as a drawing: how long it is from each frame to the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.frames.timing import read_timing
from cinemill.operations.pages import text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cinemill.dicom.source import Source
    from cinemill.operations.inspect.model import Facts

_COLUMNS, _HEIGHT = 500, 100
"""Pixels of the drawing; of more intervals than that the least and the greatest of each column are drawn."""

_LONGEST = 1 << 22
"""Frames of a cine whose times are looked at."""

_ALIKE = 1e-3
"""Share by which intervals differ that are still the same."""


def times_of(source: Source, facts: Facts) -> tuple[NDArray[np.float64], str | None]:
    """Return the times of the frames of a cine in ms, and where they come from; empty where they are not told."""
    frames = facts.frames or 0
    stored = facts.pixel_bytes or 0
    if not 1 < frames <= min(_LONGEST, stored):
        return np.empty(0), None
    with np.errstate(all="ignore"):
        timing = read_timing(source, frames)
    return (timing.times, timing.attribute) if np.isfinite(timing.times).all() else (np.empty(0), None)


def plot(times: NDArray[np.float64], attribute: str | None, rate: float | None) -> str:
    """Return the drawing of the intervals between frames, as HTML with SVG; empty where there are none.

    Parameters
    ----------
    times
        Of the frames, in ms.
    attribute
        Keyword of the attribute that they come from.
    rate
        Frames a second: the mean.
    """
    steps = np.diff(times)
    if not len(steps):
        return ""
    least, most = float(steps.min()), float(steps.max())
    told = _words(steps, least, most)
    mean = f"; {rate:.4g} frames/s in the mean" if rate else ""
    source = f" by {attribute}" if attribute else ""
    top = max(most, 0.0) * 1.15 or 1.0
    return (
        f"<p>{text(f'{told}{mean}{source}.')}</p>"
        f'<div class="plot"><div class="ends"><span>time to the next frame, 0 to {top:.4g} ms</span></div>'
        f'<svg role="img" aria-label="{text(f"Time from each frame to the next one: {told}")}" '
        f'viewBox="0 0 {_COLUMNS} {_HEIGHT}" preserveAspectRatio="none"><path d="{_path(steps, top)}"/></svg>'
        f'<div class="ends"><span>frame 0, at 0 ms</span><span>frame {len(steps)}, at {times[-1] - times[0]:.6g} ms</span></div>'
        "</div>"
    )


def _words(steps: NDArray[np.float64], least: float, most: float) -> str:
    if most - least <= _ALIKE * abs(most):
        return f"All {len(steps):,} intervals last {float(np.median(steps)):.4g} ms"
    return (
        f"{len(steps):,} intervals of {least:.4g} to {most:.4g} ms, median {float(np.median(steps)):.4g} ms"
    )


def _path(steps: NDArray[np.float64], top: float) -> str:
    """Return the line, level for each interval; of many, from the least to the greatest of each column."""
    count = len(steps)
    heights = _HEIGHT * (1 - np.clip(steps / top, 0, 1))
    if count <= _COLUMNS:
        parts = [
            f"{at * _COLUMNS / count:.4g} {height:.4g}H{(at + 1) * _COLUMNS / count:.4g}"
            for at, height in enumerate(heights)
        ]
        return "M" + "L".join(parts)
    edges = np.arange(_COLUMNS) * count // _COLUMNS
    lows, highs = np.minimum.reduceat(heights, edges), np.maximum.reduceat(heights, edges)
    parts = [
        f"{at} {low:.4g}L{at} {high:.4g}" for at, (low, high) in enumerate(zip(lows, highs, strict=True))
    ]
    return "M" + "L".join(parts)
