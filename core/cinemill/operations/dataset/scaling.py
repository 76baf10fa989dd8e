"""Scales a region of an image to the size of clips, by one physical factor in both directions, so that shapes and angles stay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cinemill.operations.dataset.fan import Fan, Shape
    from cinemill.operations.dataset.places import Place
    from cinemill.operations.dataset.words import Fit

    Picture: TypeAlias = "NDArray[np.uint8]"

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a place of an image becomes a clip's frame.

    Attributes
    ----------
    place
        The place.
    box
        What is shown of the image: left, top, right and bottom in pixels, edges and not centres.
    factors
        Pixels of the clip in one of the image, across and down: they differ only as much as pixels are not square.
    content
        Columns and rows that are shown.
    offset
        Columns to their left and rows above them, which are black, as is what is left on the other sides.
    size
        Columns and rows of the clip.
    """

    place: Place
    box: tuple[float, float, float, float]
    factors: tuple[float, float]
    content: tuple[int, int]
    offset: tuple[int, int]
    size: tuple[int, int]

    @property
    def mm_per_pixel(self) -> float | None:
        """What a pixel of the clip measures in both directions, None where the header does not tell."""
        return None if self.place.mm is None else self.place.mm[0] / self.factors[0]

    def apply(self, picture: Picture) -> Picture:
        """Return a clip's frame, (rows, columns) or (rows, columns, 3): shrunk by weighted means of areas.

        Parameters
        ----------
        picture
            The place only, of 8 bits.
        """
        from PIL import Image

        left, top, right, bottom = self.box
        first, above = self.place.bounds[:2]
        box = left - first, top - above, right - first, bottom - above
        image = Image.fromarray(picture).resize(self.content, Image.Resampling.BILINEAR, box=box)
        frame = np.zeros((self.size[1], self.size[0], *picture.shape[2:]), np.uint8)
        (across, down), (columns, rows) = self.offset, self.content
        frame[down : down + rows, across : across + columns] = np.asarray(image)
        return frame

    def mask(self, fan: Fan | None) -> Shape:
        """Return which pixels of a clip show the fan, or the place where there is no fan: (rows, columns)."""
        (across, down), (columns, rows) = self.offset, self.content
        shape = np.zeros((self.size[1], self.size[0]), np.bool_)
        x = self.box[0] + (np.arange(columns) + 0.5)[None, :] / self.factors[0]
        y = self.box[1] + (np.arange(rows) + 0.5)[:, None] / self.factors[1]
        shape[down : down + rows, across : across + columns] = True if fan is None else fan.holds(x, y)
        return shape


def scale(place: Place, size: tuple[int, int], fit: Fit) -> Scaling:
    """Say how a place becomes frames of one size.

    Parameters
    ----------
    place
        The place.
    size
        Columns and rows.
    fit
        ``contain``: all of it, with black beside it; less than a pixel of the clip is lost at its edges, so that the scale is
        exact. ``cover``: its middle, which fills the frame.
    """
    left, top, right, bottom = place.bounds
    columns, rows = right - left + 1, bottom - top + 1
    ratios = size[0] / columns, size[1] / (rows * place.aspect)
    factor = min(ratios) if fit == "contain" else max(ratios)
    factors = factor, factor * place.aspect
    across = _whole(columns * factors[0], size[0])
    down = _whole(rows * factors[1], size[1])
    width, height = min(columns, across / factors[0]), min(rows, down / factors[1])
    first, above = left + (columns - width) / 2, top + (rows - height) / 2
    return Scaling(
        place=place,
        box=(first, above, first + width, above + height),
        factors=factors,
        content=(across, down),
        offset=((size[0] - across) // 2, (size[1] - down) // 2),
        size=size,
    )


def _whole(length: float, most: int) -> int:
    return max(1, min(most, math.floor(length + _ROUNDING)))
