"""The part of an image that clips are cut from: 2D regions, and what one of their pixels measures (PS3.3 C.8.5.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from cinemill.frames.geometry import pixel_aspect
from cinemill.frames.regions import shared

if TYPE_CHECKING:
    from cinemill.frames.cine import Cine
    from cinemill.frames.regions import Region
    from cinemill.pixel_format import Box

_SHOWN = frozenset(("tissue", "colour flow"))
_SMALLEST = 16
"""Rows and columns that a region has at least."""

_INSIDE = 0.5
"""Share of a region in a larger one from which on it is a part of that: the colour box within tissue."""

_LONGEST = 16.0
"""Sides of a pixel to each other beyond which deltas are no sizes."""

_PIXEL_SPACING = 0x00280030

Measured: TypeAlias = Literal["region", "pixel-spacing", ""]


@dataclass(frozen=True, slots=True)
class Place:
    """A rectangle of an image, and what its pixels measure.

    Attributes
    ----------
    region
        Its number in the header, counted from 0; None for the whole image.
    shows
        Region Data Type: ``tissue`` or ``colour flow``; empty for the whole image.
    bounds
        Left, top, right and bottom pixel, all inside.
    aspect
        Height over width of a pixel.
    mm
        Width and height of a pixel in mm, None where they are unknown.
    measured
        What tells them.
    """

    region: int | None
    shows: str
    bounds: Box
    aspect: float
    mm: tuple[float, float] | None
    measured: Measured

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        left, top, right, bottom = self.bounds
        return bottom - top + 1, right - left + 1


def choose(cine: Cine, *, each: bool, whole: bool) -> list[Place]:
    """Return the places of an image that clips are cut from, empty where there are none.

    Parameters
    ----------
    cine
        The open cine.
    each
        All regions with 2D, but those that lie in larger ones; else the largest, the first of equal ones.
    whole
        Take the whole image where the header has no regions at all.
    """
    regions = cine.regions
    if not regions:
        return [_whole(cine)] if whole else []
    found = [
        (number, region)
        for number, region in enumerate(regions)
        if region.spatial_format == "2D"
        and region.data_type in _SHOWN
        and not region.empty
        and min(_sides(region.bounds)) >= _SMALLEST
    ]
    found.sort(key=lambda one: -_area(one[1].bounds))
    chosen: list[tuple[int, Region]] = []
    for number, region in found:
        area = _area(region.bounds)
        if all(shared(region.bounds, other.bounds) < _INSIDE * area for _, other in chosen):
            chosen.append((number, region))
    return [_place(cine, number, region) for number, region in (chosen if each else chosen[:1])]


def _place(cine: Cine, number: int, region: Region) -> Place:
    across, down = (abs(delta or 0.0) * 10 for delta in region.deltas)
    if region.units == ("cm", "cm") and _are_sizes(across, down):
        return Place(number, region.data_type, region.bounds, down / across, (across, down), "region")
    return Place(number, region.data_type, region.bounds, pixel_aspect(cine.source), None, "")


def _whole(cine: Cine) -> Place:
    bounds = 0, 0, cine.pixels.columns - 1, cine.pixels.rows - 1
    mm = _spacing(cine)
    if mm is None:
        return Place(None, "", bounds, pixel_aspect(cine.source), None, "")
    return Place(None, "", bounds, mm[1] / mm[0], mm, "pixel-spacing")


def _spacing(cine: Cine) -> tuple[float, float] | None:
    """Return Pixel Spacing as width and height, None where it is absent or wrong."""
    try:
        rows, columns = (float(value) for value in cine.source.text(_PIXEL_SPACING).split("\\"))
    except ValueError:
        return None
    return (columns, rows) if _are_sizes(columns, rows) else None


def _are_sizes(width: float, height: float) -> bool:
    """Whether these can be the sizes of a pixel: finite, and not as long as no pixel is."""
    return 0 < width < math.inf and 0 < height < math.inf and 1 / _LONGEST <= height / width <= _LONGEST


def _sides(bounds: Box) -> tuple[int, int]:
    left, top, right, bottom = bounds
    return right - left + 1, bottom - top + 1


def _area(bounds: Box) -> int:
    width, height = _sides(bounds)
    return width * height
