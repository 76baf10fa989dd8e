"""What a header says of its pixels (PS3.3 C.7.6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.errors import DamagedFile
from cinemill.model import PixelFormat

if TYPE_CHECKING:
    from cinemill.source import Source


def read_pixel_format(source: Source) -> PixelFormat:
    """Return the pixel format that a header describes.

    Raises
    ------
    DamagedFile
        A description is missing or contradicts itself.
    """
    pixels = PixelFormat(
        rows=source.short(0x00280010),
        columns=source.short(0x00280011),
        samples=source.short(0x00280002, 1),
        bits_allocated=source.short(0x00280100),
        bits_stored=source.short(0x00280101, source.short(0x00280100)),
        signed=bool(source.short(0x00280103, 0)),
        photometric_interpretation=source.text(0x00280004).upper(),
        planar_configuration=source.short(0x00280006, 0),
    )
    if not pixels.rows or not pixels.columns or not pixels.samples:
        raise DamagedFile(
            f"Rows {pixels.rows}, Columns {pixels.columns} and Samples per Pixel {pixels.samples} "
            "describe an empty image",
            path=source.path,
        )
    if not 0 < pixels.bits_stored <= pixels.bits_allocated:
        raise DamagedFile(
            f"Bits Stored {pixels.bits_stored} does not fit Bits Allocated {pixels.bits_allocated}",
            path=source.path,
        )
    return pixels
