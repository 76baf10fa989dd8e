"""Markers and marker segments of JPEG and JPEG-LS codestreams (ITU-T T.81 Annex B, T.87 Annex C)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cinemill.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
_NO_SEGMENT = {0x00, 0xFF, SOI, EOI, *STANDALONE}


class Component(NamedTuple):
    """A component of a frame header, its sampling factors, and the destination of its quantisation table."""

    number: int
    across: int
    down: int
    quantisation: int


class FrameHeader(NamedTuple):
    """SOF: what a frame consists of (B.2.2)."""

    precision: int
    rows: int
    columns: int
    components: tuple[Component, ...]


class ScanHeader(NamedTuple):
    """SOS (B.2.3). JPEG Lossless and JPEG-LS give the last four another meaning than DCT has."""

    components: bytes
    """Their numbers in the frame header."""
    tables: bytes
    """Of each component: DC and AC Huffman table, or the mapping table."""
    first: int
    """Ss: first coefficient; predictor; NEAR."""
    last: int
    """Se: last coefficient; interleave mode."""
    high: int
    """Ah: approximation before."""
    low: int
    """Al: approximation; point transform."""


def first_marker(stream: Buffer) -> int:
    """Return the position behind SOI."""
    if bytes(stream[:2]) != bytes((0xFF, SOI)):
        raise CodecError("a JPEG codestream begins with FF D8", offset=0)
    return 2


def first_scan(stream: Buffer) -> int:
    """Return the position behind the first scan header, or 0 if something else than whole segments stands before it."""
    position = 2
    while position + 4 <= len(stream) and stream[position] == 0xFF:
        marker = stream[position + 1]
        if marker in _NO_SEGMENT:
            return 0
        position += 2 + (stream[position + 2] << 8 | stream[position + 3])
        if marker == SOS:
            return position if position <= len(stream) else 0
    return 0


def next_marker(stream: Buffer, position: int) -> tuple[int, int]:
    """Read a marker with any fill bytes before it; return its second byte and the position behind it."""
    start = position
    while position < len(stream) and stream[position] == 0xFF:
        position += 1
    if position >= len(stream):
        raise CodecError(
            "the codestream ends where a marker is expected: no EOI, it is truncated", offset=len(stream)
        )
    if position == start or stream[position] == 0:
        raise CodecError(f"expected a marker, found byte 0x{stream[position]:02X}", offset=start)
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


def next_segment(stream: Buffer, position: int) -> tuple[int, bytes, int, int]:
    """Read the next marker that stands for more than itself, and its segment; EOI has none.

    Parameters
    ----------
    stream
        The codestream.
    position
        Where a marker is expected.

    Returns
    -------
    tuple
        The marker's second byte, the content of the segment, the position of its length, and that behind it.
    """
    marker, position = next_marker(stream, position)
    while marker in STANDALONE:
        marker, position = next_marker(stream, position)
    if marker == EOI:
        return marker, b"", position, position
    segment = read_segment(stream, position)
    return marker, segment, position, position + 2 + len(segment)


def header_segments(stream: Buffer) -> Iterator[tuple[int, int, bytes]]:
    """Yield each marker up to the first SOS, or EOI, with the position and the content of its segment."""
    position = first_marker(stream)
    while True:
        if position >= len(stream):
            raise CodecError("the codestream ends inside its header", offset=len(stream))
        marker, position = next_marker(stream, position)
        if marker == EOI:
            return
        if marker in STANDALONE:
            continue
        if position + int.from_bytes(stream[position : position + 2], "big") > len(stream):
            raise CodecError("the codestream ends inside its header", offset=len(stream))
        segment = read_segment(stream, position)
        yield marker, position, segment
        if marker == SOS:
            return
        position += 2 + len(segment)


def read_frame_header(segment: bytes, position: int) -> FrameHeader:
    """Read a SOF segment (B.2.2)."""
    if len(segment) < 9 or len(segment) != 6 + 3 * segment[5]:
        raise CodecError(f"a frame header of {len(segment) + 2} bytes contradicts itself", offset=position)
    components = tuple(
        Component(number, factors >> 4, factors & 15, table)
        for number, factors, table in zip(segment[6::3], segment[7::3], segment[8::3], strict=True)
    )
    rows, columns = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
    return FrameHeader(segment[0], rows, columns, components)


def read_scan_header(segment: bytes, position: int) -> ScanHeader:
    """Read a SOS segment (B.2.3)."""
    if len(segment) < 6 or len(segment) != 4 + 2 * segment[0]:
        raise CodecError(f"a scan header of {len(segment) + 2} bytes contradicts itself", offset=position)
    first, last, approximations = segment[-3:]
    return ScanHeader(segment[1:-3:2], segment[2:-3:2], first, last, approximations >> 4, approximations & 15)


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


def read_quantisation_tables(segment: bytes, position: int) -> dict[int, list[int]]:
    """Read a DQT segment (B.2.4.1): each table's 64 factors in zigzag order, by destination."""
    tables = {}
    while segment:
        width = 2 if segment[0] >> 4 else 1
        size = 1 + 64 * width
        if len(segment) < size or segment[0] & ~0x13:
            raise CodecError("a quantisation table contradicts its segment", offset=position)
        factors = range(1, size, width)
        tables[segment[0] & 15] = [int.from_bytes(segment[at : at + width], "big") for at in factors]
        segment = segment[size:]
    return tables
