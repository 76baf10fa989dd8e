"""What `--mask` asks for, read from its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cinemill.errors import UsageError
from cinemill.operations.mask.masks import placed

if TYPE_CHECKING:
    from cinemill.pixel_format import Box

OUTSIDE, RULES, DETECTED, REVIEW, NONE = WORDS = ("outside-regions", "rules", "detected", "review", "none")
_RECT = "rect:"
_EXPECTED = f"expected {', '.join(WORDS)} or {_RECT}X,Y,WIDTH,HEIGHT"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where the mask of each instance comes from.

    Attributes
    ----------
    words
        Those of `WORDS` that were named; all of them have to know a mask, and what any blackens is black.
    boxes
        Rectangles that were given, the same for all instances.
    """

    words: tuple[str, ...]
    boxes: tuple[Box, ...]

    def __bool__(self) -> bool:
        return bool(self.boxes) or NONE not in self.words


def read_wanted(given: Sequence[str]) -> Wanted:
    """Read the words of one or several `--mask`, with ``+`` between those of one.

    Raises
    ------
    UsageError
        A word is none of them, or they contradict each other.
    """
    words: list[str] = []
    boxes: list[Box] = []
    for word in (word.strip() for text in given for word in text.split("+")):
        if word.startswith(_RECT):
            boxes.append(_box(word))
        elif word in WORDS:
            words += [word] if word not in words else []
        else:
            raise UsageError(f"unknown mask {word!r}; {_EXPECTED}")
    alone = next((word for word in (NONE, REVIEW) if word in words), None)
    if alone is not None and (len(words) > 1 or boxes):
        raise UsageError(f"--mask {alone} stands alone; leave out the others")
    if not (words or boxes):
        raise UsageError(f"--mask needs a value: {_EXPECTED}")
    return Wanted(tuple(words), tuple(boxes))


def _box(word: str) -> Box:
    try:
        left, top, width, height = (int(number) for number in word[len(_RECT) :].split(","))
    except ValueError:
        raise UsageError(f"--mask {word!r}: expected four whole numbers, {_RECT}X,Y,WIDTH,HEIGHT") from None
    if min(left, top) < 0 or min(width, height) < 1:
        raise UsageError(f"--mask {word!r}: expected a place of 0 or more, and a size of 1 or more")
    return placed(left, top, width, height)
