"""Ultrasound regions of an image: what each shows, where it lies, and what its pixels measure (PS3.3 C.8.5.5)."""

from __future__ import annotations

import math
import struct
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from cinemill.dicom.elements import item_content, item_encoding, items, walk
from cinemill.dicom.values import explained
from cinemill.errors import DamagedFile, NotInFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydicom import Dataset

    from cinemill.dicom.elements import Element
    from cinemill.dicom.values import Values

_Number = TypeVar("_Number", int, float)
_Item: TypeAlias = "Dataset | Mapping[str, Any]"

_WHAT, _ADVICE = "ultrasound regions can't be read", "leave out --sidecar and the options that need them"
_SEQUENCE = 0x00186011
_ELEMENTS = {
    0x00186012: ("RegionSpatialFormat", b"US", "H"),
    0x00186014: ("RegionDataType", b"US", "H"),
    0x00186016: ("RegionFlags", b"UL", "I"),
    0x00186018: ("RegionLocationMinX0", b"UL", "I"),
    0x0018601A: ("RegionLocationMinY0", b"UL", "I"),
    0x0018601C: ("RegionLocationMaxX1", b"UL", "I"),
    0x0018601E: ("RegionLocationMaxY1", b"UL", "I"),
    0x00186020: ("ReferencePixelX0", b"SL", "i"),
    0x00186022: ("ReferencePixelY0", b"SL", "i"),
    0x00186024: ("PhysicalUnitsXDirection", b"US", "H"),
    0x00186026: ("PhysicalUnitsYDirection", b"US", "H"),
    0x00186028: ("ReferencePixelPhysicalValueX", b"FD", "d"),
    0x0018602A: ("ReferencePixelPhysicalValueY", b"FD", "d"),
    0x0018602C: ("PhysicalDeltaX", b"FD", "d"),
    0x0018602E: ("PhysicalDeltaY", b"FD", "d"),
}
"""Keyword, VR and form of the attributes of a region (PS3.6)."""

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
    bounds: tuple[int, int, int, int]
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


def read_regions(header: Dataset, rows: int, columns: int) -> list[Region]:
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
    with explained(_WHAT, _ADVICE, DamagedFile):
        return [_region(item, rows, columns) for item in header.get("SequenceOfUltrasoundRegions") or ()]


def find_regions(source: Values, rows: int, columns: int) -> list[Region]:
    """Return all ultrasound regions of an open file, whose other elements are not interpreted.

    Parameters
    ----------
    source
        The open file.
    rows, columns
        Size of its image, beyond which no region reaches.

    Raises
    ------
    DamagedFile
        A region has values that are none.
    """
    with explained(_WHAT, _ADVICE, DamagedFile):
        return [_region(item, rows, columns) for item in region_items(source)]


def region_items(source: Values) -> list[Dataset] | list[dict[str, Any]]:
    """Return what stands in the ultrasound regions of an open file, by keyword; absent and empty values are not there, or None.

    Raises
    ------
    DamagedFile
        They can't be read.
    """
    sequence = source.element(_SEQUENCE)
    if sequence is None:
        return []
    try:
        read = [_values(source, item) for item in items(source.data, sequence, source.encoding)]
    except (DamagedFile, struct.error):
        read = [None]
    usual = [item for item in read if item is not None]
    if len(usual) == len(read):
        return usual
    with explained(_WHAT, _ADVICE, DamagedFile):
        return list(source.part(_SEQUENCE).get("SequenceOfUltrasoundRegions") or ())


def _values(source: Values, item: Element) -> dict[str, Any] | None:
    """Return the values of a region by keyword, None where one is not as the standard has it."""
    data, encoding = source.data, item_encoding(source.data, item, item.end, source.encoding)
    values: dict[str, Any] = {}
    for element in walk(data, *item_content(item), encoding):
        keyword, vr, form = _ELEMENTS.get(element.tag, ("", b"", ""))
        if keyword and element.end > element.value:
            if element.vr not in {vr, None} or element.end - element.value != struct.calcsize(form):
                return None
            (values[keyword],) = struct.unpack_from(encoding.order + form, data, element.value)
    return values


def bounding_box(regions: Iterable[Region]) -> tuple[int, int, int, int]:
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


def _region(item: _Item, rows: int, columns: int) -> Region:
    left, top = (max(_corner(item, name), 0) for name in ("MinX0", "MinY0"))
    right = min(_corner(item, "MaxX1"), columns - 1)
    bottom = min(_corner(item, "MaxY1"), rows - 1)
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


def _corner(item: _Item, name: str) -> int:
    """Return a bound, which is unsigned by its VR, but may be a negative number all the same."""
    value = _integer(item, f"RegionLocation{name}") or 0
    return value - (1 << 32) if value >= 1 << 31 else value


def _integer(item: _Item, name: str) -> int | None:
    return _value(item, name, int)


def _finite(item: _Item, name: str) -> float | None:
    value = _value(item, name, float)
    return value if value is not None and math.isfinite(value) else None


def _value(item: _Item, name: str, kind: type[_Number]) -> _Number | None:
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
