"""Blackens rectangles of sequential JPEG with DCT in its coefficients: outside them, none changes (ITU-T T.81 Annex F).

Rectangles grow to the edges of MCUs: 8 samples for grey, and as many times more for colour as the largest sampling factors say.
Blocks inside get one DC coefficient; all others keep their 64. Decoders that interpolate subsampled chrominance take in one
sample of it from across an edge: see `touched`.

What could show or name somebody is left out: application segments (but JFIF without its thumbnail, Adobe, ICC), comments,
and whatever stands behind EOI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cinemill.codecs.jpeg import markers
from cinemill.codecs.jpeg.extend import extended
from cinemill.codecs.jpeg.scans import check_entropy_data, symbols_of
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.jpeg import blacken as kernel
from cinemill.kernels.jpeg import huffman
from cinemill.kernels.jpeg.entropy import COMPLETE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cinemill.pixel_format import Box, Buffer

_SEQUENTIAL = frozenset((0xC0, 0xC1))
_APP0, _APP2, _APP14, _COMMENT = 0xE0, 0xE2, 0xEE, 0xFE
_MARGIN = 4096
_INSTEAD = "use --to jpeg-ls, which decodes, masks and encodes losslessly"


def blacken(codestream: Buffer, boxes: Sequence[Box], values: Sequence[int]) -> bytes:
    """Return the codestream with rectangles of one colour; all coefficients outside their MCUs are the same numbers.

    Parameters
    ----------
    codestream
        One frame.
    boxes
        The rectangles, within the frame.
    values
        What each component is decoded to inside: 0, the middle, or the largest value of its precision.

    Raises
    ------
    CodecError
        The codestream is damaged.
    UnsupportedPixelFormat
        It is progressive, lossless, arithmetic or hierarchical, or quantised too coarsely for such values.
    """
    header = frame_header(codestream)
    check_entropy_data(codestream)
    try:
        return _Rewriter(codestream, header, boxes, values).run()
    except _NoCode:
        return _Rewriter(codestream, header, boxes, values, extends=True).run()


def frame_header(codestream: Buffer) -> markers.FrameHeader:
    """Return the frame header of a codestream that `blacken` can write.

    Raises
    ------
    UnsupportedPixelFormat
        It is of another process.
    CodecError
        There is none, or one of a size of 0.
    """
    for marker, position, segment in markers.header_segments(codestream):
        if marker in _SEQUENTIAL:
            header = markers.read_frame_header(segment, position)
            if not all(
                (header.rows, header.columns, *(part.across * part.down for part in header.components))
            ):
                raise CodecError(
                    "the frame header (SOF) has a size or a sampling factor of 0", offset=position
                )
            return header
        if marker in markers.FRAMES:
            raise UnsupportedPixelFormat(
                f"JPEG {markers.FRAMES[marker]} can't be masked in its coefficients, only baseline and extended "
                f"sequential can; {_INSTEAD}"
            )
    raise CodecError("the JPEG codestream has no frame header (SOF)")


def grown(header: markers.FrameHeader, boxes: Sequence[Box]) -> tuple[Box, ...]:
    """Return rectangles grown to the edges of MCUs, or of the frame, and so far that interpolation leaves them black."""
    across, down = _mcu_size(header)
    return tuple(
        (
            left // across * across,
            top // down * down,
            min((right // across + 1) * across, header.columns) - 1,
            min((bottom // down + 1) * down, header.rows) - 1,
        )
        for left, top, right, bottom in _spread(header, boxes)
    )


def touched(header: markers.FrameHeader, boxes: Sequence[Box]) -> tuple[Box, ...]:
    """Return grown rectangles with the samples around that decoders may interpolate from them."""
    return _spread(header, grown(header, boxes))


def _spread(header: markers.FrameHeader, boxes: Sequence[Box]) -> tuple[Box, ...]:
    """Return rectangles with half a step of subsampled components around: as far as one sample of these is interpolated."""
    across, down = (
        -(-max(factors) // (2 * min(factors))) if max(factors) > min(factors) else 0
        for factors in zip(*((part.across, part.down) for part in header.components), strict=True)
    )
    return tuple(
        (
            max(left - across, 0),
            max(top - down, 0),
            min(right + across, header.columns - 1),
            min(bottom + down, header.rows - 1),
        )
        for left, top, right, bottom in boxes
    )


def _mcu_size(header: markers.FrameHeader) -> tuple[int, int]:
    """Return width and height of an MCU; one component alone has its blocks one by one (A.2.2)."""
    if len(header.components) == 1:
        return 8, 8
    return 8 * max(part.across for part in header.components), 8 * max(
        part.down for part in header.components
    )


class _NoCode(Exception):
    """A Huffman table lacks a symbol that is to be written."""


@dataclass
class _Rewriter:
    """The state of writing one codestream anew, marker segment by marker segment; it was checked before."""

    codestream: Buffer
    header: markers.FrameHeader
    boxes: Sequence[Box]
    values: Sequence[int]
    extends: bool = False
    tables: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    quantisers: dict[int, int] = field(default_factory=dict)
    restart_interval: int = 0

    def run(self) -> bytes:
        """Return the whole codestream."""
        parts: list[bytes | memoryview] = [b"\xff\xd8"]
        position = markers.first_marker(self.codestream)
        while True:
            marker, segment, start, position = markers.next_segment(self.codestream, position)
            if marker == markers.EOI:
                return b"".join((*parts, b"\xff\xd9"))
            if kept := self._segment(marker, segment, start):
                parts.append(bytes((0xFF, marker)) + (len(kept) + 2).to_bytes(2, "big") + kept)
            if marker == markers.SOS:
                position, data = self._scan(segment, position)
                parts.append(data)

    def _segment(self, marker: int, segment: bytes, position: int) -> bytes:
        """Read a segment; return what is written in its place, nothing where it is left out."""
        if marker == markers.DHT:
            return self._huffman_tables(segment, position)
        if marker == markers.DQT:
            for destination, factors in markers.read_quantisation_tables(segment, position).items():
                self.quantisers[destination] = factors[0]
        elif marker == markers.DRI:
            self.restart_interval = markers.read_restart_interval(segment, position)
        elif marker == _COMMENT or _APP0 <= marker < 0xF0:
            return _without_pictures(marker, segment)
        return segment

    @cached_property
    def masked(self) -> NDArray[np.uint8]:
        """Return (rows, columns) of MCUs, 1 where they are masked."""
        across, down = _mcu_size(self.header)
        masked = np.zeros((-(-self.header.rows // down), -(-self.header.columns // across)), np.uint8)
        for left, top, right, bottom in grown(self.header, self.boxes):
            masked[top // down : bottom // down + 1, left // across : right // across + 1] = 1
        return masked

    def _huffman_tables(self, segment: bytes, position: int) -> bytes:
        """Note each table as it is read and as it is written; return the segment to be written."""
        written = b""
        for destination, table in markers.read_huffman_tables(segment, position).items():
            new = table
            if self.extends:
                needed = (0,) if destination >> 4 else range(self.header.precision + 4)
                new = extended(table, tuple(needed))
            self.tables[destination] = table, new
            written += bytes((destination,)) + new
        return written

    def _scan(self, segment: bytes, position: int) -> tuple[int, bytes]:
        """Write the entropy-coded data that start there; return the position behind them, and what is written."""
        scan = markers.read_scan_header(segment, position)
        numbers = [part.number for part in self.header.components]
        places = [numbers.index(number) for number in scan.components]
        alone = len(places) == 1
        mcu, rows = [], []
        for place, selector in zip(places, scan.tables, strict=True):
            part = self.header.components[place]
            keys = selector >> 4, 0x10 | selector & 15
            rows += [key for key in keys if key not in rows]
            block = [place, rows.index(keys[0]), rows.index(keys[1])]
            mcu += [block] * (1 if alone else part.across * part.down)
        pairs = [self.tables[key] for key in rows]
        precision = self.header.precision
        symbols, codes = _tables_of(precision, tuple(key >> 4 for key in rows), tuple(pairs))
        masked = self._blocks(places[0]) if alone else self.masked
        data, room = np.frombuffer(self.codestream, np.uint8), len(self.codestream) - position + _MARGIN
        buffer = np.empty(len(data) - position + kernel.SLACK, np.uint8)
        while True:
            written = np.empty(room, np.uint8)
            outcome, end, size, found = kernel.blacken_scan(
                data,
                position,
                masked.size,
                self.restart_interval or masked.size,
                precision + 3,
                np.array(mcu, np.int64),
                np.ascontiguousarray(masked).reshape(-1),
                np.array([self._level(place) for place in range(len(numbers))], np.int64),
                symbols,
                codes,
                buffer,
                written,
            )
            if outcome == COMPLETE:
                return end, written[:size].tobytes()
            if outcome != kernel.NO_ROOM:
                raise self._error(outcome, end, found)
            room *= 2

    def _error(self, outcome: int, end: int, found: int) -> Exception:
        if outcome == kernel.NO_CODE_TO_WRITE and not self.extends:
            return _NoCode()
        what = (
            "has a DC coefficient out of range" if outcome == kernel.OUT_OF_RANGE else "can't be written anew"
        )
        return CodecError(f"MCU {found} {what}; {_INSTEAD}", offset=end)

    def _blocks(self, place: int) -> NDArray[np.uint8]:
        """Return (rows, columns) of the blocks of one component, 1 where they are masked."""
        header, part = self.header, self.header.components[place]
        if len(header.components) == 1:
            return self.masked
        across, down = _mcu_size(header)
        rows, columns = -(-header.rows * part.down // down), -(-header.columns * part.across // across)
        spread = self.masked.repeat(part.down, axis=0).repeat(part.across, axis=1)
        return spread[:rows, :columns]

    def _level(self, place: int) -> int:
        """Return the DC coefficient that a component of one value has: beyond its ends, decoders clamp."""
        middle = 1 << self.header.precision - 1
        value, quantiser = (
            self.values[place],
            self.quantisers.get(self.header.components[place].quantisation, 1),
        )
        if value == middle:
            return 0
        if value not in {0, 2 * middle - 1} or not 0 < quantiser <= 16 * middle:
            raise UnsupportedPixelFormat(
                f"a JPEG of {self.header.precision} bits whose DC coefficients have steps of {quantiser} can't be set "
                f"to {value} exactly; {_INSTEAD}"
            )
        return 8 * middle // -quantiser if value == 0 else -(8 * (middle - 1) // -quantiser)


def _without_pictures(marker: int, segment: bytes) -> bytes:
    """Return of an application segment what decoders need to know of colour."""
    if marker == _APP0 and segment[:5] == b"JFIF\0" and len(segment) >= 14:
        return segment[:12] + b"\0\0"
    adobe = marker == _APP14 and segment[:5] == b"Adobe"
    profile = marker == _APP2 and segment[:12] == b"ICC_PROFILE\0"
    return segment if profile else segment[:12] if adobe else b""


@lru_cache(maxsize=16)
def _tables_of(
    precision: int, kinds: tuple[int, ...], tables: tuple[tuple[bytes, bytes], ...]
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Build what `kernel.blacken_scan` needs to know of tables, each as it is read and as it is written."""
    symbols = np.empty((len(tables), 1 << 16), np.uint16)
    codes = np.zeros((len(tables), 256), np.int64)
    for row, (kind, (read, written)) in enumerate(zip(kinds, tables, strict=True)):
        known = symbols_of(kind, precision)
        huffman.fill_symbols(np.frombuffer(read, np.uint8), known, symbols[row])
        code, values = 0, iter(written[16:])
        for length in range(1, 17):
            for _ in range(written[length - 1]):
                codes[row, next(values)] = code | length << 16
                code += 1
            code <<= 1
    return symbols, codes
