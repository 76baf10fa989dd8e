"""The lifting steps of the inverse 5-3 wavelet (T.800 F.3), and magnitudes, in 16-bit lanes."""

from __future__ import annotations

from typing import Any

from cinemill.kernels.machine.instructions import Value, instructions

_LANES = 16


def make_lifting(lanes: int, *, narrow: bool) -> tuple[Any, Any, Any]:
    """Make the steps that join halves of a row, and undo the update and the prediction of a row by those above and below it.

    Parameters
    ----------
    lanes
        Samples of a step.
    narrow
        Whether sums of two values fit 16 bits.
    """

    def average(first: Value, second: Value) -> Value:
        return (first + second) >> 1 if narrow else (first & second) + ((first ^ second) >> 1)

    def update(first: Value, second: Value) -> Value:
        return (first + second + 2) >> 2 if narrow else (average(first, second) + 1) >> 1

    @instructions
    def join(low: Value, high: Value, row: Value) -> None:
        """Lift and interleave 16 low and 16 high coefficients of a row (Equations F-5 and F-6)."""
        detail = high.load(16, lanes)
        even = low.load(16, lanes) - update((high - 2).load(16, lanes), detail)
        after = (low + 2).load(16, lanes) - update(detail, (high + 2).load(16, lanes))
        odd = detail + average(even, after)
        order = [lane // 2 + lanes * (lane & 1) for lane in range(2 * lanes)]
        even.shuffled(order[:lanes], odd).store(row)
        even.shuffled(order[lanes:], odd).store(row + 2 * lanes)

    @instructions
    def lower(row: Value, above: Value, below: Value) -> None:
        """Undo the update of an even row (Equation F-5)."""
        (row.load(16, lanes) - update(above.load(16, lanes), below.load(16, lanes))).store(row)

    @instructions
    def raise_(row: Value, above: Value, below: Value) -> None:
        """Undo the prediction of an odd row (Equation F-6)."""
        (row.load(16, lanes) + average(above.load(16, lanes), below.load(16, lanes))).store(row)

    return join, lower, raise_


def make_note_magnitudes(count: int) -> Any:
    """Make the operation that keeps the largest magnitude of ``count`` samples in each of 16 lanes."""

    @instructions
    def note_magnitudes(samples: Value, most: Value) -> None:
        """Keep the largest magnitude of each lane."""
        found = samples.load(16, count).magnitude()
        while found.lanes > _LANES:
            half = found.lanes // 2
            found = found.shuffled(range(half)).maximum_unsigned(found.shuffled(range(half, 2 * half)))
        found.maximum_unsigned(most.load(16, _LANES)).store(most)

    return note_magnitudes


@instructions
def clear_lanes(lanes: Value) -> None:
    """Clear 16 lanes in memory."""
    lanes.load(16, _LANES).like(0).store(lanes)


@instructions
def largest_lane(lanes: Value) -> Value:
    """Return the largest of 16 lanes in memory."""
    most = lanes.load(16, _LANES)
    for half in (8, 4, 2, 1):
        most = most.maximum_unsigned(most.shuffled([(lane + half) % _LANES for lane in range(_LANES)]))
    return most.lane(0).resized(64)
