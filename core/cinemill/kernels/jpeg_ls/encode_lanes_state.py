"""What the encoder of sixteen frames keeps: the memory of all lanes, and what a scan, a row and a column are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cinemill.kernels.machine import types
from cinemill.kernels.machine.types import int32, int64, uint8, uint16


class Memory(NamedTuple):
    """What is known of all lanes, as arrays; the last dimension is the lanes unless it says otherwise.

    Attributes
    ----------
    rows
        Two rows of lanes a component (see `lanes`), taking turns as "above" and "current".
    lines
        The current row of each frame and component, as it comes from the frames; for samples of a byte, what `tiles` calls ``room``.
    contexts
        366 regular contexts of 64-bit words: A in 32 bits, N in 8, B in 8, C in 16 (B and C signed). Lanes that have
        nothing to code share the last one, `IDLE`, whose content means nothing.
    interruptions
        Lanes x 2 run interruption contexts x 4 fields.
    run_indices
        One in each component.
    running, lengths
        Whether the lane is in a run (0 or -1), and the run's length so far.
    gradients
        The quantised gradient of the row above that leads to the next column.
    columns
        Two columns in turn x the fields of `Column`.
    slots
        Symbols on their way to the codes (see `slots`).
    orders
        RUN_ORDERS.
    """

    rows: NDArray[np.uint16]
    lines: NDArray[np.uint16]
    contexts: NDArray[np.int64]
    interruptions: NDArray[np.int32]
    run_indices: NDArray[np.int32]
    running: NDArray[np.uint16]
    lengths: NDArray[np.uint16]
    gradients: NDArray[np.uint16]
    columns: NDArray[np.uint16]
    slots: NDArray[np.uint8]
    orders: NDArray[np.uint8]


MEMORY = types.NamedTuple(
    (
        uint16[:, :, :, ::1],
        uint16[:, :, ::1],
        int64[:, ::1],
        int32[:, :, ::1],
        int32[:, ::1],
        uint16[::1],
        uint16[::1],
        uint16[::1],
        uint16[:, :, ::1],
        uint8[::1],
        uint8[::1],
    ),
    Memory,
)


class Scan(NamedTuple):
    """Parameters of the scan, and the addresses of what `Memory` has under the same names."""

    coding: Any
    contexts: Any
    interruptions: Any
    running: Any
    lengths: Any
    gradients: Any
    columns: Any
    slots: Any
    orders: Any


class Row(NamedTuple):
    """A row of one component from some column on: addresses of its samples, of those above them, and of the run indices."""

    current: Any
    above: Any
    run_indices: Any


class Column(NamedTuple):
    """What `classify` tells `code` of a column: addresses of each lane's context, prediction, sample, and length of a run that ended.

    The context is its offset in bytes. All are 16 bits a lane.
    """

    contexts: Any
    predictions: Any
    samples: Any
    ended: Any
