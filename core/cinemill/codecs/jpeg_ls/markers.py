"""Marker segments of JPEG-LS codestreams (T.87 Annex C, T.81 Annex B): read into scans, and written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cinemill.codecs.jpeg.markers import check_end
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.jpeg_ls.parameters import Coding, coding_parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cinemill.pixel_format import Buffer

SOI, EOI, SOS, DRI, DNL, COM, SOF55, LSE = 0xD8, 0xD9, 0xDA, 0xDD, 0xDC, 0xFE, 0xF7, 0xF8
APP0, APP8, APP15 = 0xE0, 0xE8, 0xEF

INTERLEAVE_NONE, INTERLEAVE_LINE, INTERLEAVE_SAMPLE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """SOF55: sample precision and size of the frame, and its component identifiers in order."""

    precision: int
    rows: int
    columns: int
    components: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """An entropy-coded segment without stuffed bits: the whole scan, or the lines up to a restart marker."""

    plain: NDArray[np.uint8]
    bits: int
    offset: int
    """Byte offset in the codestream where the segment starts."""


@dataclass(frozen=True, slots=True)
class Scan:
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


@dataclass(frozen=True, slots=True)
class _Preset:
    """LSE of type 1: preset coding parameters; a zero stands for the default."""

    max_value: int = 0
    thresholds: tuple[int, int, int] = (0, 0, 0)
    reset: int = 0


@dataclass(slots=True)
class _Reader:
    """What the marker segments said up to ``position``."""

    data: memoryview
    position: int = 0
    header: FrameHeader | None = None
    preset: _Preset = field(default_factory=_Preset)
    restart_lines: int = 0

    def number(self, position: int, size: int) -> int:
        """Read a big-endian integer."""
        if position + size > len(self.data):
            raise CodecError("the codestream ends inside a marker segment", offset=len(self.data))
        return int.from_bytes(self.data[position : position + size], "big")

    def marker(self) -> int:
        """Read the marker at the current position, which any number of fill bytes 0xFF may precede."""
        start = self.position
        if start >= len(self.data):
            raise CodecError(
                "the codestream ends where a marker is expected: no EOI, it is truncated", offset=start
            )
        if self.data[start] != 0xFF:
            raise CodecError(f"expected a marker, found byte 0x{self.data[start]:02X}", offset=start)
        while self.position < len(self.data) and self.data[self.position] == 0xFF:
            self.position += 1
        code = self.number(self.position, 1)
        self.position += 1
        return code

    def segment(self) -> tuple[int, int]:
        """Return where the parameters of the segment at the current position start and end, and step behind it."""
        start = self.position
        end = start + self.number(start, 2)
        if end < start + 2 or end > len(self.data):
            raise CodecError(
                f"a marker segment of {end - start} bytes does not fit the codestream", offset=start
            )
        self.position = end
        return start + 2, end

    def parameters(self, size: int) -> int:
        """Return where the parameters of a segment start that must hold at least ``size`` bytes."""
        start, end = self.segment()
        if end - start < size:
            raise CodecError(f"expected {size} bytes of parameters, found {end - start}", offset=start)
        return start

    def read_frame_header(self) -> None:
        start, end = self.segment()
        if self.header is not None:
            raise CodecError("a second frame header", offset=start)
        count = self.number(start + 5, 1)
        if end - start != 6 + 3 * count:
            raise CodecError(f"a frame header of {end - start} bytes for {count} components", offset=start)
        components = [self.data[at : at + 3] for at in range(start + 6, end, 3)]
        if any(sampling != 0x11 for _, sampling, _ in components):
            raise CodecError("subsampled components are not supported", offset=start + 6)
        self.header = FrameHeader(
            precision=self.number(start, 1),
            rows=self.number(start + 1, 2),
            columns=self.number(start + 3, 2),
            components=tuple(identifier for identifier, _, _ in components),
        )
        if not 2 <= self.header.precision <= 16:
            raise CodecError(f"sample precision {self.header.precision} is outside 2..16", offset=start)
        if not self.header.rows or not self.header.columns:
            raise CodecError(
                "a frame of undeclared size (DNL or LSE type 4) is not supported", offset=start + 1
            )

    def read_preset(self) -> None:
        start = self.parameters(1)
        kind = self.number(start, 1)
        if kind == 1:
            values = [self.number(at, 2) for at in range(start + 1, start + 11, 2)]
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
        start, end = self.segment()
        if not 2 <= end - start <= 4:
            raise CodecError(f"a restart interval of {end - start} bytes", offset=start)
        self.restart_lines = self.number(start, end - start)

    def read_application_data(self, code: int) -> None:
        start, end = self.segment()
        transform = bytes(self.data[start:end])
        if code == APP8 and transform.startswith(b"mrfx") and transform[4:5] != b"\0":
            raise UnsupportedPixelFormat(
                f"JPEG-LS with HP's colour transform {transform[4:].hex()} is not read"
            )

    def read_scan(self) -> Scan:
        start, end = self.segment()
        header = self.header
        if header is None:
            raise CodecError("a scan without a frame header", offset=start)
        count = self.number(start, 1)
        if end - start != 4 + 2 * count or not 1 <= count <= min(4, len(header.components)):
            raise CodecError(f"a scan header of {end - start} bytes for {count} components", offset=start)
        selectors = tuple(self.data[start + 1 : end - 3 : 2])
        if selectors[0] not in header.components:
            raise CodecError(f"component {selectors[0]} is not in the frame header", offset=start + 1)
        first = header.components.index(selectors[0])
        if header.components[first : first + count] != selectors:
            raise CodecError(
                f"components {selectors} are not consecutive in the frame header", offset=start + 1
            )
        if any(self.data[start + 2 : end - 3 : 2]):
            raise CodecError("mapping tables are not supported", offset=start + 2)
        near, interleave, transform = self.data[end - 3 : end]
        if interleave > INTERLEAVE_SAMPLE or (count > 1 and interleave == INTERLEAVE_NONE):
            raise CodecError(f"interleave mode {interleave} for {count} components", offset=end - 2)
        if transform:
            raise CodecError(f"point transform {transform} is not supported", offset=end - 1)
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
        from cinemill.kernels.jpeg_ls.bitstream import PADDING, unstuff

        count = -(-rows // self.restart_lines) if self.restart_lines else 1
        intervals = []
        for number in range(count):
            if number:
                self.expect_restart((number - 1) % 8)
            stuffed = np.frombuffer(self.data[self.position :], np.uint8)
            plain = np.empty(stuffed.size + 8 + PADDING, np.uint8)
            length, bits = unstuff(stuffed.ctypes.data, stuffed.size, plain.ctypes.data)
            if count > 1:
                plain = plain[: bits // 8 + 1 + PADDING].copy()
            intervals.append(Interval(plain, bits, self.position))
            self.position += length
        return tuple(intervals)

    def expect_restart(self, number: int) -> None:
        start = self.position
        code = self.marker()
        if code != 0xD0 + number:
            raise CodecError(f"expected restart marker {number}, found marker 0xFF{code:02X}", offset=start)


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
    if reader.marker() != SOI:
        raise CodecError("the codestream does not start with SOI", offset=0)
    coded = 0
    while (code := reader.marker()) != EOI:
        if code == SOF55:
            reader.read_frame_header()
        elif code == LSE:
            reader.read_preset()
        elif code == DRI:
            reader.read_restart_interval()
        elif code == SOS:
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
    check_end(reader.data, reader.position)


def frame_prologue(header: FrameHeader, coding: Coding) -> bytes:
    """Write SOI to SOS of a codestream with one lossless scan; several components are interleaved by line.

    Above 12 bits the coding parameters are written although they are the defaults: some decoders compute them wrongly (CharLS does the
    same).
    """
    count = len(header.components)
    size = header.rows.to_bytes(2, "big") + header.columns.to_bytes(2, "big")
    components = b"".join(bytes((identifier, 0x11, 0)) for identifier in header.components)
    parts = [
        bytes((0xFF, SOI)),
        _segment(SOF55, bytes((header.precision,)) + size + bytes((count,)) + components),
    ]
    if header.precision > 12:
        values = coding.max_value, coding.t1, coding.t2, coding.t3, coding.reset
        parts.append(_segment(LSE, b"\x01" + b"".join(value.to_bytes(2, "big") for value in values)))
    selectors = b"".join(bytes((identifier, 0)) for identifier in header.components)
    interleave = INTERLEAVE_LINE if count > 1 else INTERLEAVE_NONE
    parts.append(_segment(SOS, bytes((count,)) + selectors + bytes((coding.near, interleave, 0))))
    return b"".join(parts)


def _segment(code: int, parameters: bytes) -> bytes:
    return bytes((0xFF, code)) + (2 + len(parameters)).to_bytes(2, "big") + parameters


EPILOGUE = bytes((0xFF, EOI))
"""The end of a codestream."""
