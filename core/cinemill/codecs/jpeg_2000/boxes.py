"""JP2 boxes, which some put around a codestream although DICOM has bare ones (T.800 Annex I)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from cinemill.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cinemill.pixel_format import Buffer

_SIGNATURE = b"jP  "
_ENUMERATED_COLOUR = {16: "RGB", 18: "YBR_FULL"}
_HEADER = struct.Struct(">I4s")


def has_boxes(data: Buffer) -> bool:
    """Whether JP2 boxes stand where a codestream is expected."""
    return bytes(data[4:8]) == _SIGNATURE


def bare_codestream(data: Buffer) -> Buffer:
    """Return the codestream that JP2 boxes hold, or ``data`` itself if it has no boxes (T.800 I.4, I.5.4).

    Raises
    ------
    CodecError
        There are boxes, but no complete codestream box.
    """
    if not has_boxes(data):
        return data
    end = 0
    for kind, start, end in each_box(data, 0, len(data)):
        if kind == b"jp2c":
            return data[start:end]
    raise CodecError("JP2: expected a complete codestream box (jp2c), found none", offset=end)


def box_colour(data: Buffer) -> str | None:
    """Return the photometric interpretation that a colour box enumerates (T.800 I.5.3.3), None if there is none."""
    colour = None
    headers = [box for box in each_box(data, 0, len(data)) if box[0] == b"jp2h"] if has_boxes(data) else []
    for _, first, last in headers:
        for kind, start, end in each_box(data, first, last):
            if kind == b"colr" and data[start] == 1 and end >= start + 7:
                colour = _ENUMERATED_COLOUR.get(int.from_bytes(data[start + 3 : start + 7], "big"))
    return colour


def each_box(data: Buffer, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each whole box, and where its content begins and ends.

    Parameters
    ----------
    data
        Boxes of any family: those of JPEG XL are the same.
    position, end
        Where they stand.
    """
    while position + _HEADER.size <= end:
        size, kind = _HEADER.unpack_from(data, position)
        start = position + _HEADER.size
        if size == 1 and start + 8 <= end:
            size = int.from_bytes(data[start : start + 8], "big")
            start += 8
        behind = position + size if size else end
        if not start <= behind <= end:
            return
        yield kind, start, behind
        position = behind
