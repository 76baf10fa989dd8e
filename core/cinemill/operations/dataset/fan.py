"""The fan of an ultrasound image as geometry: a sector, a rectangle or a disc, and which pixels lie in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Shape: TypeAlias = "NDArray[np.bool_]"
    Lengths: TypeAlias = "NDArray[np.floating[Any]]"

Kind: TypeAlias = Literal["sector", "rectangle", "disc"]


@dataclass(frozen=True, slots=True)
class Fan:
    """Where a probe sees. Lengths are widths of a pixel, counted from the left top corner of the image.

    A point lies in it if it lies in the box, and besides, of a sector, between two rays and two arcs around its apex, of a
    disc, between two circles. A curved array has an inner arc, a phased one has none; the box cuts what the display cuts.

    Attributes
    ----------
    kind
        ``sector``, ``rectangle`` or ``disc``.
    box
        Left, top, right and bottom.
    apex
        Where the rays meet, or the centre of the circles.
    angles
        Of the left and the right ray, in degrees from straight down (from straight up, where it looks up).
    radii
        Of the inner and the outer arc.
    up
        Whether it looks up: the apex is below.
    aspect
        Height over width of a pixel: rows are this many lengths apart.
    confidence
        Shared area of the fan and what moves in the cine, over the area of both together: 1 where they are the same.
    """

    kind: Kind
    box: tuple[float, float, float, float]
    apex: tuple[float, float] = (0.0, 0.0)
    angles: tuple[float, float] = (-90.0, 90.0)
    radii: tuple[float, float] = (0.0, math.inf)
    up: bool = False
    aspect: float = 1.0
    confidence: float = 0.0

    def holds(self, x: Lengths, y: Lengths) -> Shape:
        """Return whether points lie in the fan.

        Parameters
        ----------
        x, y
            In pixels of the image, the centre of the first one at 0.5; shapes that broadcast.
        """
        y = y * self.aspect
        left, top, right, bottom = self.box
        inside: Shape = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
        if self.kind == "rectangle":
            return inside
        across = x - self.apex[0]
        along = self.apex[1] - y if self.up else y - self.apex[1]
        square = across * across + along * along
        inside &= square <= self.radii[1] ** 2
        if self.radii[0] > 0:
            inside &= square >= self.radii[0] ** 2
        if self.kind == "sector":
            first, last = (math.radians(angle) for angle in self.angles)
            inside &= across * math.cos(first) >= along * math.sin(first)
            inside &= across * math.cos(last) <= along * math.sin(last)
        return inside

    def mask(self, rows: int, columns: int, left: int = 0, top: int = 0) -> Shape:
        """Return which pixels of a rectangle lie in the fan, (rows, columns).

        Parameters
        ----------
        rows, columns
            Size of the rectangle.
        left, top
            Its first pixel.
        """
        x = left + 0.5 + np.arange(columns, dtype=np.float64)[None, :]
        y = top + 0.5 + np.arange(rows, dtype=np.float64)[:, None]
        return self.holds(x, y)

    def moved(self, left: float, top: float) -> Fan:
        """Return the same fan seen from an image that begins so many pixels to the left and above."""
        top *= self.aspect
        first, above, last, below = self.box
        return replace(
            self,
            box=(first + left, above + top, last + left, below + top),
            apex=(self.apex[0] + left, self.apex[1] + top),
        )
