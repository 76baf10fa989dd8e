"""Codestreams of a cine that say the same in their headers, which are then read once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cinemill.codecs.jpeg_2000.markers import COM, EOC, SOT, TLM, MainHeader, check_room, segments
from cinemill.errors import CodecError

if TYPE_CHECKING:
    from cinemill.codecs.jpeg_2000.parameters import Packets, Parameters
    from cinemill.pixel_format import Buffer, PixelFormat

_END = EOC.to_bytes(2, "big")
_TILE_PART = SOT.to_bytes(2, "big") + b"\x00\x0a\x00\x00"
_SIZE, _REST = slice(6, 10), slice(10, 14)
"""In the header of a tile-part: how long it is, and its number, how many there are, and SOD."""


class Pattern(NamedTuple):
    """What is the same in all of them, and was found to be right in one."""

    pixels: PixelFormat
    header: MainHeader
    parameters: Parameters
    same: tuple[tuple[slice, bytes], ...]
    """Pieces of the main header, without segments that don't matter for decoding."""
    tile_part: bytes
    """Number of the only tile-part, how many there are, and SOD."""


def pattern(codestream: Buffer, header: MainHeader, packets: Packets, pixels: PixelFormat) -> Pattern | None:
    """Return what others may have in common with a checked codestream of one tile-part; None if its header has more than SOT.

    Parameters
    ----------
    codestream, header
        Bare, and its main header.
    packets
        Where its packets are.
    pixels
        Format of the frame.
    """
    start = header.length
    if packets.start != start + 14:
        return None
    same, begin = [], 0
    for marker, offset, segment in segments(codestream, 0):
        if marker in (TLM, COM):
            same.append((begin, offset + 4))
            begin = offset + 4 + len(segment)
        if marker == SOT:
            break
    same.append((begin, start))
    pieces = tuple((slice(*piece), bytes(codestream[slice(*piece)])) for piece in same)
    tile_part = bytes(codestream[start : packets.start])
    return Pattern(pixels, header, packets.parameters, pieces, tile_part[_REST])


def packets_alike(codestream: Buffer, found: Pattern) -> tuple[int, int] | None:
    """Return where the packets of a codestream begin and end that differs in nothing else from the pattern, None if it may.

    Lengths are checked as `check_tile_parts` and `check_room` do.
    """
    if any(codestream[where] != piece for where, piece in found.same):
        return None
    start = found.header.length
    head = bytes(codestream[start : start + 14])
    if head[:6] != _TILE_PART or head[_REST] != found.tile_part:
        return None
    end = start + int.from_bytes(head[_SIZE], "big")
    if not (start + 14 <= end <= len(codestream) - 2 <= end + 1) or codestream[end : end + 2] != _END:
        return None
    try:
        check_room(codestream, found.header)
    except CodecError:
        return None
    return start + 14, end
