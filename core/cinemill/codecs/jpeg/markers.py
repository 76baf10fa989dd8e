"""Markers and marker segments of JPEG codestreams (ITU-T T.81 Annex B)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.errors import CodecError

if TYPE_CHECKING:
    from cinemill.pixel_format import Buffer

DHT, SOI, EOI, SOS, DQT, DNL, DRI = 0xC4, 0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD
FRAMES = {
    0xC0: "baseline",
    0xC1: "extended sequential",
    0xC2: "progressive",
    0xC3: "lossless",
    0xC5: "differential sequential",
    0xC6: "differential progressive",
    0xC7: "differential lossless",
    0xC9: "extended sequential with arithmetic coding",
    0xCA: "progressive with arithmetic coding",
    0xCB: "lossless with arithmetic coding",
    0xCD: "differential sequential with arithmetic coding",
    0xCE: "differential progressive with arithmetic coding",
    0xCF: "differential lossless with arithmetic coding",
    0xF7: "LS",
}
"""The process that each frame header stands for."""

STANDALONE = {0x01, *range(0xD0, 0xD8)}
"""Markers without a segment that may stand between segments."""


def first_marker(stream: Buffer) -> int:
    """Return the position behind SOI."""
    if bytes(stream[:2]) != bytes((0xFF, SOI)):
        raise CodecError("a JPEG codestream begins with FF D8", offset=0)
    return 2


def next_marker(stream: Buffer, position: int) -> tuple[int, int]:
    """Read a marker with any fill bytes before it; return its second byte and the position behind it."""
    start = position
    while position < len(stream) and stream[position] == 0xFF:
        position += 1
    if position >= len(stream):
        raise CodecError("the codestream ends without an EOI marker", offset=len(stream))
    if position == start or stream[position] == 0:
        raise CodecError(f"expected a marker, found {stream[start]:02X} {stream[position]:02X}", offset=start)
    return stream[position], position + 1


def check_end(stream: Buffer, position: int) -> None:
    """Check that no other image stands behind EOI: padding, with whatever, does no harm."""
    if (second := bytes(stream[position:]).find(b"\xff\xd8\xff")) >= 0:
        raise CodecError("another codestream follows EOI", offset=position + second)


def read_segment(stream: Buffer, position: int) -> bytes:
    """Return the content of a marker segment whose length stands at `position`."""
    length = int.from_bytes(stream[position : position + 2], "big")
    segment = bytes(stream[position + 2 : position + length])
    if length < 2 or len(segment) != length - 2:
        raise CodecError(
            f"a marker segment of {length} bytes has {len(stream) - position} left", offset=position
        )
    return segment


def read_restart_interval(segment: bytes, position: int) -> int:
    """Read a DRI segment (B.2.4.4)."""
    if len(segment) != 2:
        raise CodecError(f"a DRI segment has 4 bytes, not {len(segment) + 2}", offset=position)
    return int.from_bytes(segment, "big")


def read_huffman_tables(segment: bytes, position: int) -> dict[int, bytes]:
    """Read a DHT segment (B.2.4.2): each table's 16 counts and its symbols, by class and destination."""
    tables = {}
    while segment:
        size = 17 + sum(segment[1:17])
        if len(segment) < size or segment[0] & ~0x13:
            raise CodecError("a Huffman table contradicts its segment", offset=position)
        tables[segment[0]] = segment[1:size]
        segment = segment[size:]
    return tables
