"""Keeps samples within Bits Stored: finds what lies above, and removes it where it is no part of the sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cinemill.pixel_format import Samples


class DepthExceeded(Exception):  # a signal to the planner, never seen outside
    """Samples of a codestream use more bits than Bits Stored says."""


def restrict(frame: Samples, limit: int, *, masked: bool) -> tuple[Samples, bool]:
    """Return the samples within ``limit`` bits, and whether any had to be changed.

    Parameters
    ----------
    frame
        Integers of any shape; signed ones are two's complement within the limit.
    masked
        Whether what lies above the limit may be removed.

    Raises
    ------
    DepthExceeded
        Something lies above the limit and may not be removed.
    """
    signed = frame.dtype.kind == "i"
    low, high = (-(1 << limit - 1), (1 << limit - 1) - 1) if signed else (0, (1 << limit) - 1)
    if frame.max() <= high and frame.min() >= low:
        return frame, False
    shift = 8 * frame.dtype.itemsize - limit
    within = (frame << shift) >> shift
    if masked:
        return within, True
    if signed and frame.min() >= 0 and frame.max() < 1 << limit:
        return (
            within,
            False,
        )  # two's complement of the limit in a deeper codestream: its highest bit is the sign
    raise DepthExceeded
