"""Masks: the rectangles that are to be black in an instance, and who says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cinemill.pixel_format import Box


@dataclass(frozen=True, slots=True)
class Mask:
    """What is to be black in every frame of an instance.

    Attributes
    ----------
    boxes
        Rectangles within the frame; none where nothing is to be black.
    origin
        Who says so, for receipts: ``outside-regions``, ``rect``, ``rules: NAME``, ``detected`` …
    """

    boxes: tuple[Box, ...]
    origin: str

    def __or__(self, other: Mask) -> Mask:
        """Return what either of two masks blackens."""
        both = self.boxes + tuple(box for box in other.boxes if box not in self.boxes)
        return Mask(both, f"{self.origin}, {other.origin}")

    def to_dict(self) -> dict[str, Any]:
        """Return the mask as JSON-ready values, rectangles as left, top, width and height."""
        return {"origin": self.origin, "rectangles": [list(sized(box)) for box in self.boxes]}


def sized(box: Box) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a rectangle."""
    left, top, right, bottom = box
    return left, top, right - left + 1, bottom - top + 1


def placed(left: int, top: int, width: int, height: int) -> Box:
    """Return the rectangle of a place and a size.

    Parameters
    ----------
    left, top
        Of its first pixel, counted from 0.
    width, height
        In pixels.
    """
    return left, top, left + width - 1, top + height - 1


def clipped(boxes: Sequence[Box], rows: int, columns: int) -> tuple[Box, ...]:
    """Return what of rectangles lies within a frame.

    Parameters
    ----------
    boxes
        Rectangles, anywhere.
    rows, columns
        Of the frame.
    """
    within = (
        (max(left, 0), max(top, 0), min(right, columns - 1), min(bottom, rows - 1))
        for left, top, right, bottom in boxes
    )
    return tuple(box for box in within if box[0] <= box[2] and box[1] <= box[3])


def outside(boxes: Sequence[Box], rows: int, columns: int) -> tuple[Box, ...]:
    """Return rectangles, none of which overlap, that cover just what none of the given ones does.

    Parameters
    ----------
    boxes
        Rectangles, anywhere.
    rows, columns
        Of the frame.
    """
    covered = clipped(boxes, rows, columns)
    edges = sorted({0, rows, *(box[1] for box in covered), *(box[3] + 1 for box in covered)})
    found: list[Box] = []
    for top, below in pairwise(edges):
        spans = [(box[0], box[2]) for box in covered if box[1] <= top and below - 1 <= box[3]]
        for left, right in _gaps(spans, columns):
            above = next((box for box in found if (box[0], box[2], box[3]) == (left, right, top - 1)), None)
            if above is not None:
                found.remove(above)
            found.append((left, top if above is None else above[1], right, below - 1))
    return tuple(found)


def _gaps(spans: Sequence[tuple[int, int]], columns: int) -> Iterator[tuple[int, int]]:
    """Yield what of a row some spans leave free."""
    start = 0
    for left, right in sorted(spans):
        if left > start:
            yield start, left - 1
        start = max(start, right + 1)
    if start < columns:
        yield start, columns - 1
