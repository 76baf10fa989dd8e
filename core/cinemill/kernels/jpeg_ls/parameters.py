"""JPEG-LS coding parameters: defaults (T.87 C.2.4.1.1.1), derived values (A.2.1), run lengths (A.7.1.1)."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

RUN_ORDERS = np.array(
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    dtype=np.uint8,
)
"""J: the run index selects run segments of 2**J samples."""

LANES = 16
"""Frames that are coded side by side, one a SIMD lane."""

LARGEST_THRESHOLD = 0x7FFF
"""T3 that lanes decode."""

BREAK_EVEN = 5
"""Frames from which on this is faster than one after the other: idle lanes cost as much as busy ones."""

DEFAULT_RESET = 64

REGULAR_CONTEXTS = 365
"""Contexts of the regular mode: 0 is unused (it means run mode), the two run interruption contexts follow."""


class Coding(NamedTuple):
    """What a scan is coded with, under the names of T.87."""

    max_value: int
    near: int
    t1: int
    t2: int
    t3: int
    reset: int
    range: int
    qbpp: int
    limit: int
    initial_a: int

    @property
    def exact(self) -> bool:
        """Whether samples are lossless and fill their bits, so that a bit mask reduces them modulo RANGE."""
        return self.near == 0 and self.max_value & (self.max_value + 1) == 0


def default_thresholds(max_value: int, near: int = 0) -> tuple[int, int, int]:
    """Return the default T1, T2 and T3 for samples up to ``max_value``."""

    def clamped(threshold: int, low: int) -> int:
        return low if threshold > max_value or threshold < low else threshold

    if max_value >= 128:
        factor = (min(max_value, 4095) + 128) >> 8
        wanted = factor + 2 + 3 * near, 4 * factor + 3 + 5 * near, 17 * factor + 4 + 7 * near
    else:
        factor = 256 // (max_value + 1)
        wanted = (
            max(2, 3 // factor + 3 * near),
            max(3, 7 // factor + 5 * near),
            max(4, 21 // factor + 7 * near),
        )
    t1 = clamped(wanted[0], near + 1)
    t2 = clamped(wanted[1], t1)
    t3 = clamped(wanted[2], t2)
    return t1, t2, t3


@lru_cache(maxsize=64)
def coding_parameters(
    max_value: int,
    near: int = 0,
    thresholds: tuple[int, int, int] = (0, 0, 0),
    reset: int = 0,
) -> Coding:
    """Complete the parameters of a scan; a zero stands for the default value (T.87 C.2.4.1.1).

    Raises
    ------
    ValueError
        The parameters contradict T.87 table C.1 or C.3.
    """
    if not 1 <= max_value <= 65535:
        raise ValueError(f"MAXVAL {max_value} is outside 1..65535")
    if not 0 <= near <= min(255, max_value // 2):
        raise ValueError(f"NEAR {near} is outside 0..{min(255, max_value // 2)}")
    defaults = default_thresholds(max_value, near)
    t1, t2, t3 = (given or default for given, default in zip(thresholds, defaults, strict=True))
    if not near + 1 <= t1 <= t2 <= t3 <= max_value:
        raise ValueError(f"thresholds {t1}, {t2}, {t3} do not rise from {near + 1} to {max_value}")
    reset = reset or DEFAULT_RESET
    if not 3 <= reset <= max(255, max_value):
        raise ValueError(f"RESET {reset} is outside 3..{max(255, max_value)}")
    value_range = (max_value + 2 * near) // (2 * near + 1) + 1
    bpp = max(2, max_value.bit_length())
    return Coding(
        max_value=max_value,
        near=near,
        t1=t1,
        t2=t2,
        t3=t3,
        reset=reset,
        range=value_range,
        qbpp=(value_range - 1).bit_length(),
        limit=2 * (bpp + max(8, bpp)),
        initial_a=max(2, (value_range + 32) >> 6),
    )
