"""Ultrasound regions of an image: what each shows, where it lies, and what its pixels measure (PS3.3 C.8.5.5)."""

from __future__ import annotations

import math
import struct
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cinemill.dicom.dictionary import find_keyword, find_vr
from cinemill.dicom.elements import (
    ITEM,
    ITEM_END,
    UNDEFINED,
    encoding_inside,
    item_encoding,
    read_header,
    walk,
)
from cinemill.dicom.values import explained
from cinemill.errors import DamagedFile, NotInFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cinemill.dicom.elements import Encoding
    from cinemill.dicom.values import Values
    from cinemill.pixel_format import Box
    from cinemill.storage.mapped import Bytes

SEQUENCE = 0x00186011
_ITEM_ENDS = frozenset((ITEM_END,))
_FORMS = {
    (order, vr): struct.Struct(order + form)
    for order in "<>"
    for vr, form in ((b"US", "H"), (b"SS", "h"), (b"UL", "L"), (b"SL", "l"), (b"FL", "f"), (b"FD", "d"))
}

_keyword = cache(find_keyword)

_Number = TypeVar("_Number", int, float)

_SPATIAL_FORMATS = ("none", "2D", "M-mode", "spectral", "waveform", "graphics")
_DATA_TYPES = (
    "none",
    "tissue",
    "colour flow",
    "PW spectral Doppler",
    "CW spectral Doppler",
    "Doppler mean trace",
    "Doppler mode trace",
    "Doppler max trace",
    "volume trace",
    "d(volume)/dt trace",
    "ECG trace",
    "pulse trace",
    "phonocardiogram trace",
    "grey bar",
    "colour bar",
    "integrated backscatter",
    "area trace",
    "d(area)/dt trace",
    "other physiological trace",
)
_UNITS = ("none", "percent", "dB", "cm", "s", "Hz", "dB/s", "cm/s", "cm2", "cm2/s", "cm3", "cm3/s", "degrees")


@dataclass(frozen=True, slots=True)
class Region:
    """One item of Sequence of Ultrasound Regions.

    Attributes
    ----------
    spatial_format, data_type
        ``2D``, ``M-mode`` …; ``tissue``, ``colour flow`` …; the number where PS3.3 has no meaning for it.
    bounds
        Left, top, right and bottom pixel, counted from 0, all within the region; clamped to the image.
    units
        Of the horizontal and the vertical direction: ``cm``, ``s``, ``Hz`` …
    deltas
        Physical size of a pixel in these directions, None where absent.
    reference_pixel
        Column and row relative to the region's left top, None where absent.
    reference_values
        Physical value at the reference pixel, None where absent.
    """

    spatial_format: str
    data_type: str
    flags: int
    bounds: Box
    units: tuple[str, str]
    deltas: tuple[float | None, float | None]
    reference_pixel: tuple[int | None, int | None]
    reference_values: tuple[float | None, float | None]

    @property
    def empty(self) -> bool:
        """Whether nothing of the region lies within the image."""
        left, top, right, bottom = self.bounds
        return right < left or bottom < top

    def to_dict(self) -> dict[str, Any]:
        """Return the region as JSON-ready values."""
        return asdict(self)


class Attributes(Protocol):
    """Values by keyword: a data set of pydicom, an item of a sequence."""

    def get(self, key: str, default: Any = None, /) -> Any:
        """Return a value, the default where it is absent."""


def region_items(source: Values) -> list[dict[str, Any]]:
    """Return the items of Sequence of Ultrasound Regions as numbers by keyword, without reading any other element.

    Raises
    ------
    DamagedFile
        The sequence is damaged.
    """
    sequence = source.element(SEQUENCE)
    if sequence is None:
        return []
    inner = encoding_inside(sequence.vr, source.encoding)
    found: list[dict[str, Any]] = []
    offset = sequence.value
    while offset < sequence.end:
        item = read_header(source.data, offset, sequence.end, inner)
        if item.tag != ITEM:
            break
        bounded = item.length != UNDEFINED
        end = item.value + item.length if bounded else sequence.end
        numbers, behind = _numbers(source.data, item.value, end, item_encoding(source.data, item, end, inner))
        found.append(numbers)
        offset = end if bounded else behind + 8
    return found


def _numbers(data: Bytes, start: int, end: int, encoding: Encoding) -> tuple[dict[str, Any], int]:
    """Return the numbers of an item up to its delimiter, and where that stands."""
    found: dict[str, Any] = {}
    for element in walk(data, start, end, encoding, until=_ITEM_ENDS):
        start, name = element.end, _keyword(element.tag)
        vr = element.vr if element.vr not in {None, b"UN"} else (find_vr(element.tag) or "").encode()
        value, form = bytes(data[element.value : element.end]), _FORMS.get((encoding.order, vr))
        if form is not None and len(value) >= form.size:
            (found[name],) = form.unpack_from(value)
        elif value:
            found[name] = value
    return found, start


def read_regions(header: Attributes, rows: int, columns: int) -> list[Region]:
    """Return all ultrasound regions of an image, in the order of the header.

    Parameters
    ----------
    header
        Of the image.
    rows, columns
        Its size, beyond which no region reaches.

    Raises
    ------
    DamagedFile
        A region has values that are none.
    """
    with explained(
        "ultrasound regions can't be read", "leave out --sidecar and the options that need them", DamagedFile
    ):
        return [_region(item, rows, columns) for item in header.get("SequenceOfUltrasoundRegions") or ()]


def bounding_box(regions: Iterable[Region]) -> Box:
    """Return left, top, right and bottom of the smallest rectangle around all regions.

    Raises
    ------
    NotInFile
        There is no region within the image.
    """
    bounds = [region.bounds for region in regions if not region.empty]
    if not bounds:
        raise NotInFile("the header has no ultrasound regions; leave out the options that need them")
    left, top, right, bottom = zip(*bounds, strict=True)
    return min(left), min(top), max(right), max(bottom)


def shared(one: Box, other: Box) -> int:
    """Return how many pixels two rectangles have in common."""
    width = min(one[2], other[2]) - max(one[0], other[0]) + 1
    height = min(one[3], other[3]) - max(one[1], other[1]) + 1
    return max(width, 0) * max(height, 0)


def _region(item: Attributes, rows: int, columns: int) -> Region:
    left, top = (max(corner(item, name), 0) for name in ("MinX0", "MinY0"))
    right = min(corner(item, "MaxX1"), columns - 1)
    bottom = min(corner(item, "MaxY1"), rows - 1)
    return Region(
        spatial_format=_meaning(_SPATIAL_FORMATS, _integer(item, "RegionSpatialFormat")),
        data_type=_meaning(_DATA_TYPES, _integer(item, "RegionDataType")),
        flags=_integer(item, "RegionFlags") or 0,
        bounds=(left, top, right, bottom),
        units=(
            _meaning(_UNITS, _integer(item, "PhysicalUnitsXDirection")),
            _meaning(_UNITS, _integer(item, "PhysicalUnitsYDirection")),
        ),
        deltas=(_finite(item, "PhysicalDeltaX"), _finite(item, "PhysicalDeltaY")),
        reference_pixel=(_integer(item, "ReferencePixelX0"), _integer(item, "ReferencePixelY0")),
        reference_values=(
            _finite(item, "ReferencePixelPhysicalValueX"),
            _finite(item, "ReferencePixelPhysicalValueY"),
        ),
    )


def corner(item: Attributes, name: str) -> int:
    """Return a bound, such as ``MinX0``, which is unsigned by its VR, but may be a negative number all the same."""
    value = _integer(item, f"RegionLocation{name}") or 0
    return value - (1 << 32) if value >= 1 << 31 else value


def _integer(item: Attributes, name: str) -> int | None:
    return _value(item, name, int)


def _finite(item: Attributes, name: str) -> float | None:
    value = _value(item, name, float)
    return value if value is not None and math.isfinite(value) else None


def _value(item: Attributes, name: str, kind: type[_Number]) -> _Number | None:
    """Return an element's value, None where it is absent or empty."""
    value = item.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r}")
    return value


def _meaning(meanings: tuple[str, ...], code: int | None) -> str:
    if code is None:
        return ""
    return meanings[code] if 0 <= code < len(meanings) else f"{code}"
