"""Reads what a header says of its pixels (PS3.3 C.7.6.3.1), and checks that it does not contradict itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.dicom.elements import tag_name
from cinemill.errors import DamagedFile
from cinemill.pixel_format import PixelFormat

if TYPE_CHECKING:
    from cinemill.dicom.values import Values


def describe(values: Values) -> PixelFormat:
    """Return the pixel format that the header declares.

    Raises
    ------
    DamagedFile
        A description is missing or impossible.
    """
    samples = values.short(0x00280002, 1)
    pixels = PixelFormat(
        rows=values.short(0x00280010),
        columns=values.short(0x00280011),
        samples=samples,
        bits_allocated=values.short(0x00280100),
        bits_stored=values.short(0x00280101, values.short(0x00280100)),
        signed=_flag(values, 0x00280103, "Pixel Representation"),
        photometric_interpretation=values.text(0x00280004).upper(),
        planar_configuration=int(samples > 1 and _flag(values, 0x00280006, "Planar Configuration")),
    )
    if not pixels.rows or not pixels.columns or not pixels.samples:
        raise DamagedFile(
            f"Rows {pixels.rows}, Columns {pixels.columns} and Samples per Pixel {pixels.samples} "
            "describe an empty image",
            path=values.path,
        )
    if not 0 < pixels.bits_stored <= pixels.bits_allocated:
        raise DamagedFile(
            f"Bits Stored {pixels.bits_stored} does not fit Bits Allocated {pixels.bits_allocated}",
            path=values.path,
        )
    return pixels


def _flag(values: Values, tag: int, name: str) -> bool:
    value = values.short(tag, 0)
    if value > 1:
        raise DamagedFile(f"{name} {tag_name(tag)} is {value}, expected 0 or 1", path=values.path)
    return value == 1
