"""Checks of ultrasound regions: where they lie, and whether their calibration can be measured by (PS3.3 C.8.5.5)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from cinemill.dicom.dictionary import find_name
from cinemill.frames.regions import Region, corner, read_regions, shared
from cinemill.operations.inspect.checks.check import Problems, Subject, check
from cinemill.operations.inspect.model import Severity

_REGIONS = 0x00186011
_SEQUENCE = "SequenceOfUltrasoundRegions"
_REQUIRED = {
    0x00186012: "RegionSpatialFormat",
    0x00186014: "RegionDataType",
    0x00186016: "RegionFlags",
    0x00186018: "RegionLocationMinX0",
    0x0018601A: "RegionLocationMinY0",
    0x0018601C: "RegionLocationMaxX1",
    0x0018601E: "RegionLocationMaxY1",
    0x00186024: "PhysicalUnitsXDirection",
    0x00186026: "PhysicalUnitsYDirection",
    0x0018602C: "PhysicalDeltaX",
    0x0018602E: "PhysicalDeltaY",
}
_UNITS = {
    "2D": (("cm",), ("cm",)),
    "M-mode": (("s",), ("cm",)),
    "spectral": (("s",), ("cm/s", "Hz")),
}
_NO_UNIT = ("", "none")
_LOW_PRIORITY = 1
_FAR = 4
"""Reference pixels more than so many sizes of the image away are no positions."""

_MEASURED = (
    "have the region corrected where the instance is made; what is measured in it is wrong or can't be"
)


@check(
    "regions.missing",
    Severity.NOTICE,
    "PS3.3 C.8.5.5",
    about="ultrasound says what its pixels measure",
    remedy="nothing can be measured in it; ask for the export with calibration",
    pixels=True,
)
def missing(subject: Subject) -> Problems:
    """Yield an ultrasound image without regions."""
    if subject.image and subject.ultrasound and not subject.source.value(_REGIONS):
        yield "there is no Sequence of Ultrasound Regions (0018,6011)"


@check(
    "regions.attributes",
    Severity.WARNING,
    "PS3.3 C.8.5.5",
    about="each region has its attributes of type 1",
    remedy=_MEASURED,
    pixels=True,
)
def attributes(subject: Subject) -> Problems:
    """Yield what regions lack."""
    if subject.region_items:
        read_regions({_SEQUENCE: subject.region_items}, subject.facts.rows or 0, subject.facts.columns or 0)
    for number, item in enumerate(subject.region_items, 1):
        lacks = [find_name(tag) for tag, keyword in _REQUIRED.items() if item.get(keyword) in {None, ""}]
        if lacks:
            yield f"region {number} has no {', '.join(lacks)}"


@check(
    "regions.bounds",
    Severity.WARNING,
    "PS3.3 C.8.5.5.1.14",
    about="each region lies within the image, and is not empty",
    remedy="have the region corrected; cinemill clamps it to the image",
    pixels=True,
)
def bounds(subject: Subject) -> Problems:
    """Yield regions that reach beyond the image, or hold nothing."""
    rows, columns = subject.facts.rows or 0, subject.facts.columns or 0
    for number, item in enumerate(subject.region_items, 1):
        left, top, right, bottom = (corner(item, each) for each in ("MinX0", "MinY0", "MaxX1", "MaxY1"))
        where = f"region {number} is columns {left} to {right}, rows {top} to {bottom}"
        if right < left or bottom < top or (right, bottom) == (left, top) == (0, 0):
            yield f"{where}: it is empty"
        elif left < 0 or top < 0 or right >= columns or bottom >= rows:
            yield f"{where}; the image is columns 0 to {columns - 1}, rows 0 to {rows - 1}"


@check(
    "regions.units",
    Severity.WARNING,
    "PS3.3 C.8.5.5.1.15",
    about="units are those of the spatial format: cm by cm in 2D, s by cm in M-mode, s by cm/s or Hz in spectra",
    remedy=_MEASURED,
    pixels=True,
)
def units(subject: Subject) -> Problems:
    """Yield units that such a region does not have."""
    for number, region in enumerate(subject.regions, 1):
        wanted = _UNITS.get(region.spatial_format)
        for axis, unit, allowed in zip("XY", region.units, wanted or ((), ()), strict=True):
            if unit.isdigit():
                yield f"Physical Units {axis} Direction of region {number} is {unit}, expected 0 to 12"
            elif allowed and unit not in {*allowed, *_NO_UNIT}:
                yield (
                    f"region {number} ({region.spatial_format}) has {unit} in direction {axis}, "
                    f"expected {' or '.join(allowed)}"
                )


@check(
    "regions.deltas",
    Severity.WARNING,
    "PS3.3 C.8.5.5",
    about="a pixel of a region that has units has a size",
    remedy=_MEASURED,
    pixels=True,
)
def deltas(subject: Subject) -> Problems:
    """Yield sizes that are none."""
    for number, region in enumerate(subject.regions, 1):
        for axis, unit, delta in zip("XY", region.units, region.deltas, strict=True):
            if unit in _NO_UNIT or unit.isdigit():
                continue
            if not delta:
                found = "absent" if delta is None else "0"
                yield f"Physical Delta {axis} of region {number} ({unit}) is {found}"


@check(
    "regions.direction",
    Severity.NOTICE,
    "PS3.3 C.8.5.5",
    about="columns and rows of 2D regions count upwards in the patient's plane",
    remedy="measure by the magnitude of Physical Delta; the image is mirrored, or its origin lies on the other side",
    pixels=True,
)
def direction(subject: Subject) -> Problems:
    """Yield sizes below 0, which some programs show as negative lengths."""
    for number, region in enumerate(subject.regions, 1):
        for axis, unit, delta in zip("XY", region.units, region.deltas, strict=True):
            if region.spatial_format == "2D" and delta is not None and delta < 0:
                yield f"Physical Delta {axis} of region {number} (2D) is {delta:g} {unit}"


@check(
    "regions.overlap",
    Severity.NOTICE,
    "PS3.3 C.8.5.5.1.3",
    about="where 2D regions of other calibrations overlap, Region Flags say which is on top",
    remedy="measure only where one region lies",
    pixels=True,
)
def overlap(subject: Subject) -> Problems:
    """Yield pairs that contradict each other."""
    numbered = [each for each in enumerate(subject.regions, 1) if _is_2d(each[1])]
    for (first, one), (second, other) in combinations(numbered, 2):
        common = shared(one.bounds, other.bounds)
        same = one.deltas == other.deltas and one.units == other.units
        if common and not same and (one.flags ^ other.flags) & _LOW_PRIORITY == 0:
            yield f"regions {first} and {second} share {common} pixels, and have other sizes of a pixel"


def _is_2d(region: Region) -> bool:
    return region.spatial_format == "2D" and not region.empty


@check(
    "regions.reference",
    Severity.NOTICE,
    "PS3.3 C.8.5.5",
    about="a reference pixel has both coordinates, and lies near the image",
    remedy=_MEASURED,
    pixels=True,
)
def reference(subject: Subject) -> Problems:
    """Yield reference pixels that are none."""
    shape = subject.facts.columns or 0, subject.facts.rows or 0
    for number, region in enumerate(subject.regions, 1):
        yield from (f"region {number}: {fault}" for fault in _misplaced(region, shape))


def _misplaced(region: Region, shape: tuple[int, int]) -> Iterator[str]:
    column, row = region.reference_pixel
    if (column is None) != (row is None):
        yield f"Reference Pixel {'X0' if column is None else 'Y0'} is absent, the other one is there"
    for axis, at, size in zip("XY", region.reference_pixel, shape, strict=True):
        if at is not None and abs(at) > _FAR * size:
            yield f"Reference Pixel {axis}0 is {at}, the image has {size} pixels in this direction"
    for axis, at, value in zip("XY", region.reference_pixel, region.reference_values, strict=True):
        if value is not None and at is None:
            yield f"Reference Pixel Physical Value {axis} is {value:g}, but there is no Reference Pixel {axis}0"
