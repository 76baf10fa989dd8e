"""JPEG XL boxes, which hold a codestream and may hold what rebuilds a JPEG from it (ISO/IEC 18181-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.codecs.jpeg_2000.boxes import each_box
from cinemill.errors import CodecError

if TYPE_CHECKING:
    from cinemill.pixel_format import Buffer

SIGNATURE = b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"
CODESTREAM = b"\xff\x0a"
_COUNTER = 4
"""Bytes of the number in front of each part of a codestream."""


def has_boxes(data: Buffer) -> bool:
    """Whether JPEG XL boxes stand here."""
    return bytes(data[: len(SIGNATURE)]) == SIGNATURE


def is_jpeg_xl(data: Buffer) -> bool:
    """Whether a JPEG XL codestream begins here, bare or in boxes."""
    return bytes(data[:2]) == CODESTREAM or has_boxes(data)


def bare_codestream(data: Buffer) -> Buffer:
    """Return the codestream that boxes hold, or ``data`` itself if it has no boxes.

    Raises
    ------
    CodecError
        There are boxes, but no complete codestream in them.
    """
    if not has_boxes(data):
        return data
    parts = []
    end = 0
    for kind, start, end in each_box(data, 0, len(data)):
        if kind == b"jxlc":
            return data[start:end]
        if kind == b"jxlp":
            parts.append(data[start + _COUNTER : end])
    if not parts:
        raise CodecError("JPEG XL: expected a complete codestream box (jxlc or jxlp), found none", offset=end)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def reconstructable(data: Buffer) -> Buffer | None:
    """Return the boxes that a JPEG can be rebuilt from, without padding behind them; None where there are none."""
    if not has_boxes(data):
        return None
    found, last = False, 0
    for kind, _, end in each_box(data, 0, len(data)):
        found |= kind == b"jbrd"
        last = end
    return data[:last] if found else None
