"""Marker segments of a JPEG 2000 codestream (T.800 Annex A): what the header says, whether all is there."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from cinemill.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cinemill.pixel_format import Buffer

SOC, CAP, SIZ, COD, QCD, SOT, SOD, EOC = 0xFF4F, 0xFF50, 0xFF51, 0xFF52, 0xFF5C, 0xFF90, 0xFF93, 0xFFD9
COC, TLM, PLT, CPF, QCC, COM = 0xFF53, 0xFF55, 0xFF58, 0xFF59, 0xFF5D, 0xFF64
_START = b"\xff\x4f\xff\x51"
_END = EOC.to_bytes(2, "big")
# Bit stuffing keeps packets free of these (T.800 B.10.1, C.2.5); SOP and EPH (FF91, FF92) may separate them.
_MARKER_IN_PACKETS = re.compile(rb"\xff[\x90\x93-\xff]")


class CodingStyle(NamedTuple):
    """COD without precincts (T.800 A.6.1)."""

    style: int
    progression: int
    layers: int
    colour_transform: int
    levels: int
    block_width: int
    block_height: int
    block_style: int
    wavelet: int


@dataclass(frozen=True, slots=True)
class MainHeader:
    """What the main header says of the samples, and how they are coded (T.800 A.5.1, A.6.1)."""

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool
    alike: bool
    """Whether all components have the same precision and sign; else the first one's are given."""
    subsampled: bool
    tiles: int
    coding: CodingStyle
    precincts: tuple[tuple[int, int], ...]
    """PPx and PPy of each resolution."""
    high_throughput: bool
    length: int
    """Bytes before the first tile-part."""

    @property
    def colour_transform(self) -> bool:
        """Whether the samples are RGB before a component transform (T.800 Annex G)."""
        return self.coding.colour_transform == 1


def read_main_header(codestream: Buffer) -> MainHeader:
    """Read SIZ and COD, without decoding.

    Raises
    ------
    CodecError
        The header is damaged.
    """
    siz = cod = b""
    length = 0
    high_throughput = False
    for marker, offset, segment in segments(codestream, 0):
        if marker == SIZ:
            siz = segment
        elif marker == COD:
            cod = segment
        elif marker == CAP:
            high_throughput = True
        elif marker == SOT:
            length = offset
            break
    if len(siz) < 39 or len(cod) < 10 or not length:
        raise CodecError("JPEG 2000: expected SIZ and COD before the first tile-part")
    return _main_header(siz, cod, length, high_throughput=high_throughput)


@lru_cache(maxsize=16)
def _main_header(siz: bytes, cod: bytes, length: int, *, high_throughput: bool) -> MainHeader:
    """Put together what frames of a cine say alike."""
    right, bottom, left, top, *tile, samples = struct.unpack_from(">8IH", siz, 2)
    tile_width, tile_height, tile_left, tile_top = tile
    components = [siz[at : at + 3] for at in range(36, len(siz), 3)]
    if len(siz) != 36 + 3 * samples or not (tile_width and tile_height):
        raise CodecError("JPEG 2000: SIZ contradicts itself, or its tiles are empty")
    depth = components[0][0]
    return MainHeader(
        rows=bottom - top,
        columns=right - left,
        samples=samples,
        precision=(depth & 0x7F) + 1,
        signed=depth > 0x7F,
        alike=all(component[0] == depth for component in components),
        subsampled=any(component[1:] != b"\x01\x01" for component in components),
        tiles=-(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height),
        coding=CodingStyle(*struct.unpack_from(">BBHBBBBBB", cod)),
        precincts=tuple((size & 15, size >> 4) for size in cod[10:]) or ((15, 15),) * (cod[5] + 1),
        high_throughput=high_throughput,
        length=length,
    )


def check_room(codestream: Buffer, header: MainHeader) -> None:
    """Check that there can be a packet for each precinct (T.800 B.6): some decoders prepare for all that are promised.

    Raises
    ------
    CodecError
        There are fewer bytes than precincts.
    """
    packets = _least_packets(header)
    if packets > len(codestream):
        raise CodecError(f"JPEG 2000: expected {packets} packets or more, found {len(codestream)} bytes")


@lru_cache(maxsize=16)
def _least_packets(header: MainHeader) -> int:
    packets = 0
    for resolution, (across, down) in enumerate(header.precincts):
        reduction = max(header.coding.levels - resolution, 0)
        columns, rows = -(-header.columns // (1 << reduction)), -(-header.rows // (1 << reduction))
        packets += -(-columns // (1 << across)) * -(-rows // (1 << down)) * header.samples
    return packets


def check_tile_parts(codestream: Buffer, header: MainHeader, *, tolerant: bool = False) -> None:
    """Check that every tile is there, each tile-part is whole, its packets hold no marker, and EOC follows.

    A damaged packet goes unnoticed unless it happens to contain a marker code: the coder has no checksum.

    Parameters
    ----------
    tolerant
        Accept marker codes in packets.

    Raises
    ------
    CodecError
        One of these does not hold; ``offset`` says where.
    """
    tiles = set()
    position = header.length
    for tile, start, end in _tile_parts(codestream, header):
        stray = None if tolerant else _MARKER_IN_PACKETS.search(memoryview(codestream)[start:end])
        if stray:
            code = stray[0].hex().upper()
            raise CodecError(
                f"JPEG 2000: expected packets, found marker {code}", offset=start + stray.start()
            )
        tiles.add(tile)
        position = end
    if len(tiles) != header.tiles or max(tiles) >= header.tiles:
        raise CodecError(f"JPEG 2000: expected {header.tiles} tiles, found {len(tiles)}", offset=position)
    if bytes(codestream[position : position + 2]) != _END:
        raise CodecError("JPEG 2000: expected EOC after the last tile-part", offset=position)
    if (second := bytes(codestream[position:]).find(_START)) >= 0:
        raise CodecError("another codestream follows EOC", offset=position + second)


def markers_in_packets(codestream: Buffer, header: MainHeader) -> Iterator[tuple[int, str]]:
    """Yield where marker codes stand in the packets of a codestream whose tile-parts are whole, and which."""
    for _, start, end in _tile_parts(codestream, header):
        for found in _MARKER_IN_PACKETS.finditer(memoryview(codestream)[start:end]):
            yield start + found.start(), found[0].hex().upper()


def with_end(codestream: Buffer) -> Buffer:
    """Append the EOC that a codestream lacks, where the lengths of its tile-parts (Psot) show that nothing else is missing."""
    if bytes(codestream[:4]) != _START or _END in bytes(codestream[-16:]):
        return codestream
    try:
        header = read_main_header(codestream)
        behind = [(tile, end) for tile, _, end in _tile_parts(codestream, header)]
    except CodecError:
        return codestream
    whole = bool(behind) and len({tile for tile, _ in behind}) == header.tiles
    left = bytes(codestream[behind[-1][1] :]) if whole else b"?"
    return codestream if left.strip(b"\0") else bytes(codestream[: len(codestream) - len(left)]) + _END


def with_precision(codestream: bytes, bits: int) -> bytes:
    """Have SIZ say another precision of all components; their sign stays."""
    found = {marker: at for marker, at, _ in segments(codestream, 0)}
    first = found[SIZ] + 40
    count = int.from_bytes(codestream[first - 2 : first], "big")
    changed = bytearray(codestream)
    for at in range(first, first + 3 * count, 3):
        changed[at] = changed[at] & 0x80 | bits - 1
    return bytes(changed)


def _tile_parts(codestream: Buffer, header: MainHeader) -> Iterator[tuple[int, int, int]]:
    """Yield the tile of each tile-part, and where its packets begin and end."""
    position = header.length
    while bytes(codestream[position : position + 2]) == SOT.to_bytes(2, "big"):
        if position + 14 > len(codestream):
            raise CodecError("JPEG 2000: the codestream ends in a tile-part header", offset=position)
        tile, size = struct.unpack_from(">HI", codestream, position + 4)
        end = position + size if size else _end_of_last_tile_part(codestream)
        if end > len(codestream):
            raise CodecError(f"JPEG 2000: expected {end + 2} bytes, found {len(codestream)}", offset=position)
        start = next((at + 2 for marker, at, _ in segments(codestream, position) if marker == SOD), end + 1)
        if start > end:
            raise CodecError("JPEG 2000: expected SOD within the tile-part", offset=position)
        yield tile, start, end
        position = end


def _end_of_last_tile_part(codestream: Buffer) -> int:
    """Offset of EOC where Psot is 0; one byte may pad the codestream to even length."""
    at = bytes(codestream[-3:]).rfind(_END)
    if at < 0:
        raise CodecError("JPEG 2000: expected EOC at the end", offset=len(codestream))
    return len(codestream) - 3 + at


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
            raise CodecError("JPEG 2000: expected a marker segment", offset=position)
        if marker == SOD:
            return
    raise CodecError("the codestream ends inside its header", offset=len(codestream))
