"""Marker segments of a JPEG 2000 codestream (T.800 Annex A): what the header says, whether all is there."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cinemill.errors import CodecError, UnsupportedPixelFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cinemill.pixel_format import Buffer

SOC, SIZ, COD, QCD, SOT, SOD, EOC = 0xFF4F, 0xFF51, 0xFF52, 0xFF5C, 0xFF90, 0xFF93, 0xFFD9
TLM, PLT, COM = 0xFF55, 0xFF58, 0xFF64
_START = b"\xff\x4f\xff\x51"
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
# Bit stuffing keeps packets free of these (T.800 B.10.1, C.2.5); SOP and EPH (FF91, FF92) may separate them.
_MARKER_IN_PACKETS = re.compile(rb"\xff[\x90\x93-\xff]")


@dataclass(frozen=True, slots=True)
class MainHeader:
    """What the main header says of the samples (T.800 A.5.1, A.6.1)."""

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool
    subsampled: bool
    tiles: int
    colour_transform: bool
    length: int
    """Bytes before the first tile-part."""


def bare_codestream(data: Buffer) -> Buffer:
    """Return the codestream that JP2 boxes hold, or ``data`` itself if it has no boxes (T.800 I.4, I.5.4).

    Raises
    ------
    CodecError
        There are boxes, but no complete codestream box.
    """
    if bytes(data[:12]) != _JP2_SIGNATURE:
        return data
    position = 0
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        start = position + 8
        if size == 1 and start + 8 <= len(data):
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = position + size if size else len(data)
        if not start <= end <= len(data):
            break
        if kind == b"jp2c":
            return data[start:end]
        position = end
    raise CodecError("JP2: expected a complete codestream box (jp2c), found none", offset=position)


def read_main_header(codestream: Buffer) -> MainHeader:
    """Read SIZ and COD, without decoding.

    Raises
    ------
    CodecError
        The header is damaged.
    UnsupportedPixelFormat
        Its components differ in precision or sign.
    """
    siz = cod = b""
    length = 0
    for marker, offset, segment in segments(codestream, 0):
        if marker == SIZ:
            siz = segment
        elif marker == COD:
            cod = segment
        elif marker == SOT:
            length = offset
            break
    if len(siz) < 39 or len(cod) < 5 or not length:
        raise CodecError("JPEG 2000: expected SIZ and COD before the first tile-part")
    right, bottom, left, top, *tile, samples = struct.unpack_from(">8IH", siz, 2)
    tile_width, tile_height, tile_left, tile_top = tile
    components = [siz[at : at + 3] for at in range(36, len(siz), 3)]
    depths = {component[0] for component in components}
    if len(siz) != 36 + 3 * samples or not (tile_width and tile_height):
        raise CodecError("JPEG 2000: SIZ contradicts itself, or its tiles are empty")
    if len(depths) != 1:
        raise UnsupportedPixelFormat("JPEG 2000 with components of different depths is not read")
    depth = depths.pop()
    return MainHeader(
        rows=bottom - top,
        columns=right - left,
        samples=samples,
        precision=(depth & 0x7F) + 1,
        signed=depth > 0x7F,
        subsampled=any(component[1:] != b"\x01\x01" for component in components),
        tiles=-(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height),
        colour_transform=cod[4] == 1,
        length=length,
    )


def check_tile_parts(codestream: Buffer, header: MainHeader) -> None:
    """Check that every tile is there, each tile-part is whole, its packets hold no marker, and EOC follows.

    A damaged packet goes unnoticed unless it happens to contain a marker code: the coder has no checksum.

    Raises
    ------
    CodecError
        One of these does not hold; ``offset`` says where.
    """
    tiles = set()
    position = header.length
    while (marker := bytes(codestream[position : position + 2])) == SOT.to_bytes(2, "big"):
        if position + 14 > len(codestream):
            raise CodecError("JPEG 2000: the codestream ends in a tile-part header", offset=position)
        tile, size = struct.unpack_from(">HI", codestream, position + 4)
        end = position + size if size else _end_of_last_tile_part(codestream)
        if end > len(codestream):
            raise CodecError(f"JPEG 2000: expected {end + 2} bytes, found {len(codestream)}", offset=position)
        _check_packets(codestream, position, end)
        tiles.add(tile)
        position = end
    if len(tiles) != header.tiles or max(tiles) >= header.tiles:
        raise CodecError(f"JPEG 2000: expected {header.tiles} tiles, found {len(tiles)}", offset=position)
    if marker != EOC.to_bytes(2, "big"):
        raise CodecError("JPEG 2000: expected EOC after the last tile-part", offset=position)
    if (second := bytes(codestream[position:]).find(_START)) >= 0:
        raise CodecError("another codestream follows EOC", offset=position + second)


def _end_of_last_tile_part(codestream: Buffer) -> int:
    """Offset of EOC where Psot is 0; one byte may pad the codestream to even length."""
    at = bytes(codestream[-3:]).rfind(EOC.to_bytes(2, "big"))
    if at < 0:
        raise CodecError("JPEG 2000: expected EOC at the end", offset=len(codestream))
    return len(codestream) - 3 + at


def _check_packets(codestream: Buffer, tile_part: int, end: int) -> None:
    start = next((at + 2 for marker, at, _ in segments(codestream, tile_part) if marker == SOD), end + 1)
    if start > end:
        raise CodecError("JPEG 2000: expected SOD within the tile-part", offset=tile_part)
    if stray := _MARKER_IN_PACKETS.search(memoryview(codestream)[start:end]):
        code = stray[0].hex().upper()
        raise CodecError(f"JPEG 2000: expected packets, found marker {code}", offset=start + stray.start())


def segments(codestream: Buffer, position: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield each marker with its offset and its segment's content, up to and including SOD."""
    while position + 4 <= len(codestream):
        marker, size = struct.unpack_from(">HH", codestream, position)
        if marker in (SOC, SOD):
            yield marker, position, b""
            position += 2
        elif marker > 0xFF00 and size >= 2:
            yield marker, position, bytes(codestream[position + 4 : position + 2 + size])
            position += 2 + size
        else:
            break
        if marker == SOD:
            return
    raise CodecError("JPEG 2000: expected a marker segment", offset=position)
