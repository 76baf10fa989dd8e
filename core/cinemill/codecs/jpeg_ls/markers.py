"""Marker segments of JPEG-LS codestreams (T.87 Annex C, T.81 Annex B): read into scans, and written."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cinemill.codecs.jpeg import markers
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.jpeg_ls.parameters import Coding, coding_parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cinemill.pixel_format import Buffer

COM, SOF55, LSE = 0xFE, 0xF7, 0xF8
APP0, APP8, APP15 = 0xE0, 0xE8, 0xEF

INTERLEAVE_NONE, INTERLEAVE_LINE, INTERLEAVE_SAMPLE = 0, 1, 2


class FrameHeader(NamedTuple):
    """SOF55: sample precision and size of the frame, and its component identifiers in order."""

    precision: int
    rows: int
    columns: int
    components: tuple[int, ...]


class Interval(NamedTuple):
    """An entropy-coded segment without stuffed bits: the whole scan, or the lines up to a restart marker."""

    plain: NDArray[np.uint8]
    bits: int
    offset: int
    """Byte offset in the codestream where the segment starts."""


class Scan(NamedTuple):
    """One scan: which components it holds, how they are interleaved and coded, and the code."""

    header: FrameHeader
    first: int
    """Index in the frame of the first of the scan's components, which follow each other."""
    components: int
    interleave: int
    coding: Coding
    restart_lines: int
    """Lines from one restart marker to the next; 0 when the scan is one interval."""
    intervals: tuple[Interval, ...]


class _Preset(NamedTuple):
    """LSE of type 1: preset coding parameters; a zero stands for the default."""

    max_value: int = 0
    thresholds: tuple[int, int, int] = (0, 0, 0)
    reset: int = 0


class _Reader:
    """What the marker segments said up to ``position``."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.position = data, 0
        self.header: FrameHeader | None = None
        self.preset = _Preset()
        self.restart_lines = 0

    def marker(self) -> int:
        """Read the marker at the current position, which any number of fill bytes 0xFF may precede."""
        code, self.position = markers.next_marker(self.data, self.position)
        return code

    def segment(self) -> tuple[int, bytes]:
        """Return where the segment at the current position starts and what it holds, and step behind it."""
        start = self.position
        content = markers.read_segment(self.data, start)
        self.position += 2 + len(content)
        return start, content

    def read_frame_header(self) -> None:
        start, content = self.segment()
        if self.header is not None:
            raise CodecError("expected one frame header (SOF), found a second frame header", offset=start)
        header = markers.read_frame_header(content, start)
        if any((component.across, component.down) != (1, 1) for component in header.components):
            raise CodecError("subsampled components are not supported", offset=start)
        if not 2 <= header.precision <= 16:
            raise CodecError(f"sample precision {header.precision} is outside 2..16", offset=start)
        if not header.rows or not header.columns:
            raise CodecError("a frame of undeclared size (DNL or LSE type 4) is not supported", offset=start)
        self.header = FrameHeader(
            header.precision,
            header.rows,
            header.columns,
            tuple(component.number for component in header.components),
        )

    def read_preset(self) -> None:
        start, content = self.segment()
        kind = content[0] if content else 0
        if kind == 1:
            if len(content) < 11:
                raise CodecError(f"preset parameters of {len(content)} bytes, expected 11", offset=start)
            values = struct.unpack_from(">5H", content, 1)
            self.preset = _Preset(values[0], (values[1], values[2], values[3]), values[4])
        else:
            names = {
                2: "a mapping table",
                3: "a mapping table continuation",
                4: "an oversize frame dimension",
            }
            name = names.get(kind, f"an extension of type {kind}")
            raise UnsupportedPixelFormat(f"JPEG-LS with {name} (LSE) is not read")

    def read_restart_interval(self) -> None:
        start, content = self.segment()
        if not 2 <= len(content) <= 4:
            raise CodecError(
                f"expected a restart interval of 2 to 4 bytes, found {len(content)}", offset=start
            )
        self.restart_lines = int.from_bytes(content, "big")

    def read_application_data(self, code: int) -> None:
        _, transform = self.segment()
        if code == APP8 and transform.startswith(b"mrfx") and transform[4:5] != b"\0":
            raise UnsupportedPixelFormat(
                f"JPEG-LS with HP's colour transform {transform[4:].hex()} is not read"
            )

    def read_scan(self) -> Scan:
        start, content = self.segment()
        header = self.header
        if header is None:
            raise CodecError(
                "expected a frame header (SOF) first, found a scan without a frame header", offset=start
            )
        selectors, mapping, near, interleave, *point_transform = markers.read_scan_header(content, start)
        count = len(selectors)
        if not 1 <= count <= min(4, len(header.components)):
            raise CodecError(f"a scan header of {len(content)} bytes for {count} components", offset=start)
        if selectors[0] not in header.components:
            raise CodecError(f"component {selectors[0]} is not in the frame header", offset=start)
        first = header.components.index(selectors[0])
        if header.components[first : first + count] != tuple(selectors):
            raise CodecError(
                f"components {tuple(selectors)} are not consecutive in the frame header", offset=start
            )
        if any(mapping):
            raise CodecError("mapping tables are not supported", offset=start)
        if interleave > INTERLEAVE_SAMPLE or (count > 1 and interleave == INTERLEAVE_NONE):
            raise CodecError(
                f"expected interleave mode 0 to 2, of several components 1 or 2, found interleave mode {interleave} for {count}",
                offset=start,
            )
        if any(point_transform):
            raise CodecError(f"point transform {content[-1]} is not supported", offset=start)
        max_value = (1 << header.precision) - 1
        if self.preset.max_value > max_value:
            raise CodecError(f"MAXVAL {self.preset.max_value} exceeds {header.precision} bits", offset=start)
        try:
            coding = coding_parameters(
                self.preset.max_value or max_value, near, self.preset.thresholds, self.preset.reset
            )
        except ValueError as error:
            raise CodecError(f"illegal coding parameters: {error}", offset=start) from error
        return Scan(
            header, first, count, interleave, coding, self.restart_lines, self.read_intervals(header.rows)
        )

    def read_intervals(self, rows: int) -> tuple[Interval, ...]:
        from cinemill.kernels.jpeg_ls.bitstream import PADDING

        count = -(-rows // self.restart_lines) if self.restart_lines else 1
        intervals = []
        for number in range(count):
            if number:
                self.expect_restart((number - 1) % 8)
            interval, self.position = _read_interval(self.data, self.position)
            if count > 1:
                plain = interval.plain[: interval.bits // 8 + 1 + PADDING].copy()
                interval = interval._replace(plain=plain)
            intervals.append(interval)
        return tuple(intervals)

    def expect_restart(self, number: int) -> None:
        start = self.position
        code = self.marker()
        if code != 0xD0 + number:
            raise CodecError(f"expected restart marker {number}, found marker 0xFF{code:02X}", offset=start)


def _read_interval(data: memoryview, position: int) -> tuple[Interval, int]:
    """Read the code from a position on, and return the position behind it."""
    from cinemill.kernels.jpeg_ls.bitstream import PADDING, unstuff

    stuffed = np.frombuffer(data[position:], np.uint8)
    plain = np.empty(stuffed.size + 8 + PADDING, np.uint8)
    length, bits = unstuff(stuffed.ctypes.data, stuffed.size, plain.ctypes.data)
    return Interval(plain, bits, position), position + length


def read_another(codestream: Buffer, before: Buffer, scans: list[Scan]) -> Scan | None:
    """Read a codestream of one scan if it begins as the one before; None if there is more to look at.

    Parameters
    ----------
    codestream
        What is read.
    before
        The codestream before.
    scans
        What was read of that one.
    """
    if len(scans) != 1 or len(scans[0].intervals) != 1:
        return None
    data, start = memoryview(codestream).cast("B"), scans[0].intervals[0].offset
    if data[:start] != memoryview(before).cast("B")[:start]:
        return None
    interval, end = _read_interval(data, start)
    rest = bytes(data[end:])
    if not rest.startswith(EPILOGUE) or b"\xff\xd8\xff" in rest:
        return None
    return scans[0]._replace(intervals=(interval,))


def read_scans(codestream: Buffer) -> Iterator[Scan]:
    """Read a codestream from SOI to EOI.

    Raises
    ------
    CodecError
        A segment is damaged or missing.
    UnsupportedPixelFormat
        It uses what DICOM images don't: mapping tables, HP's colour transforms.
    """
    reader = _Reader(memoryview(codestream).cast("B"))
    if reader.marker() != markers.SOI:
        raise CodecError("the codestream does not start with SOI", offset=0)
    coded = 0
    while (code := reader.marker()) != markers.EOI:
        if code == SOF55:
            reader.read_frame_header()
        elif code == LSE:
            reader.read_preset()
        elif code == markers.DRI:
            reader.read_restart_interval()
        elif code == markers.SOS:
            scan = reader.read_scan()
            coded += scan.components
            yield scan
        elif APP0 <= code <= APP15:
            reader.read_application_data(code)
        elif code == COM:
            reader.segment()
        elif 0xC0 <= code <= 0xCF:
            raise CodecError(f"marker 0xFF{code:02X}: JPEG, not JPEG-LS", offset=reader.position - 2)
        else:
            raise CodecError(f"unexpected marker 0xFF{code:02X}", offset=reader.position - 2)
    expected = len(reader.header.components) if reader.header else 1
    if coded != expected:
        raise CodecError(
            f"expected {expected} coded components, found {coded} before EOI", offset=reader.position
        )
    markers.check_end(reader.data, reader.position)


def frame_prologue(header: FrameHeader, coding: Coding) -> bytes:
    """Write SOI to SOS of a codestream with one lossless scan; several components are interleaved by line.

    Above 12 bits the coding parameters are written although they are the defaults: some decoders compute them wrongly (CharLS does the
    same).
    """
    count = len(header.components)
    size = header.rows.to_bytes(2, "big") + header.columns.to_bytes(2, "big")
    components = b"".join(bytes((identifier, 0x11, 0)) for identifier in header.components)
    parts = [
        bytes((0xFF, markers.SOI)),
        _segment(SOF55, bytes((header.precision,)) + size + bytes((count,)) + components),
    ]
    if header.precision > 12:
        values = coding.max_value, coding.t1, coding.t2, coding.t3, coding.reset
        parts.append(_segment(LSE, b"\x01" + b"".join(value.to_bytes(2, "big") for value in values)))
    selectors = b"".join(bytes((identifier, 0)) for identifier in header.components)
    interleave = INTERLEAVE_LINE if count > 1 else INTERLEAVE_NONE
    parts.append(_segment(markers.SOS, bytes((count,)) + selectors + bytes((coding.near, interleave, 0))))
    return b"".join(parts)


def _segment(code: int, parameters: bytes) -> bytes:
    return bytes((0xFF, code)) + (2 + len(parameters)).to_bytes(2, "big") + parameters


EPILOGUE = bytes((0xFF, markers.EOI))
"""The end of a codestream."""
