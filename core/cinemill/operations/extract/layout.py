"""Which part of each frame is extracted, and how large it becomes: from what was asked and the regions of a cine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.errors import NotInFile
from cinemill.frames.geometry import Geometry, fit, pixel_aspect, square
from cinemill.frames.regions import bounding_box

if TYPE_CHECKING:
    from cinemill.frames.cine import Cine
    from cinemill.operations.extract.request import Extract
    from cinemill.pixel_format import Box


def lay_out(cine: Cine, request: Extract, *, display: bool) -> Geometry:
    """Say what is kept of a cine's frames; for display, pixels become square unless a size is given.

    Parameters
    ----------
    cine
        The open cine.
    request
        The options.
    display
        Whether frames are rendered.

    Raises
    ------
    NotInFile
        There is no such region.
    Refused
        The result would be empty or too large.
    """
    crop = 0, 0, cine.pixels.columns - 1, cine.pixels.rows - 1
    keep = None
    if request.region is not None:
        crop = _region(cine, request.region)
    elif request.crop_to_region:
        crop = bounding_box(cine.regions)
    if request.mask_outside_regions:
        bounding_box(cine.regions)
        keep = tuple(region.bounds for region in cine.regions if not region.empty)
    left, top, right, bottom = crop
    size = bottom - top + 1, right - left + 1
    if display:
        if request.size is None or 0 in request.size:
            size = square(size, pixel_aspect(cine.source))
        size = fit(size, request.size, request.scale)
    return Geometry(crop, keep, size)


def _region(cine: Cine, number: int) -> Box:
    """Return the bounds of one ultrasound region."""
    valid = [index for index, region in enumerate(cine.regions) if not region.empty]
    if number in valid:
        return cine.regions[number].bounds
    if number in range(len(cine.regions)):
        left, top, right, bottom = cine.regions[number].bounds
        what = f"lies outside the image (columns {left} to {right}, rows {top} to {bottom})"
    else:
        what = "is out of range"
    there = f"regions {', '.join(map(str, valid))}" if valid else "no regions"
    raise NotInFile(f"--region {number} {what}; this image has {there}")
