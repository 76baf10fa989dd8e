"""Splits by patient: a keyed digest decides, so that a patient stays in its split when others are added."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from cinemill.errors import UsageError

if TYPE_CHECKING:
    from cinemill.operations.deidentify.keys import Key

Splits: TypeAlias = tuple[tuple[str, float], ...]
"""Name of each split, and its share of all patients."""

ALL = "all"
_NAMES = {2: ("train", "test"), 3: ("train", "validation", "test")}
_DIGITS = 16


def read_splits(text: str) -> Splits:
    """Read ``patient:0.8,0.1,0.1``: training, validation and test; of two, training and test. Empty: no split.

    Raises
    ------
    UsageError
        It is not understood, or the shares don't add up to 1.
    """
    if not text:
        return ((ALL, 1.0),)
    by, _, shares = text.partition(":")
    try:
        numbers = [float(share) for share in shares.split(",")]
    except ValueError:
        numbers = []
    fit = all(0 < number < 1 for number in numbers) and math.isclose(sum(numbers), 1, abs_tol=1e-6)
    if by != "patient" or len(numbers) not in _NAMES or not fit:
        raise UsageError(
            f"can't read --split {text!r}; expected patient: and two or three shares that add up to 1, "
            "e.g. patient:0.8,0.1,0.1"
        )
    return tuple(zip(_NAMES[len(numbers)], numbers, strict=True))


def split_of(patient: str, splits: Splits, key: Key | None) -> str:
    """Return the split of a patient.

    Parameters
    ----------
    patient
        The pseudonym.
    splits
        See `read_splits`.
    key
        Needed where there is more than one.
    """
    if len(splits) == 1 or key is None:
        return splits[0][0]
    digits = key.digest("split", patient.encode()).rpartition(":")[2][:_DIGITS]
    place, end = int(digits, 16) / 16**_DIGITS, 0.0
    for name, share in splits:
        end += share
        if place < end:
            return name
    return splits[-1][0]
