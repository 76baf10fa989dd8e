"""JPEG Lossless, Huffman-coded with any predictor (ITU-T T.81 process 14), by cinemill's own kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cinemill._version import __version__
from cinemill.codecs.compiling import Spared
from cinemill.codecs.jpeg import markers
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.jpeg import lossless as kernel
from cinemill.kernels.jpeg import lossless_differences as differences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cinemill.pixel_format import Buffer, PixelFormat, Samples

    _Tables = tuple[NDArray[np.uint16], NDArray[np.int64], NDArray[np.int64]]

_SOF3 = 0xC3
_CATEGORIES = 17


class JpegLossless:
    """Decoder of JPEG Lossless frames: 2 to 16 bits, 1 to 4 components without subsampling."""

    name = "cinemill-jpeg-lossless"
    version = __version__
    batch = 2

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames to arrays of ``pixels.shape`` and ``pixels.dtype``, in the codestream's colour space.

        Samples have the codestream's precision, which may differ from BitsStored, and are extended by their
        sign if ``pixels.signed``.

        Raises
        ------
        CodecError
            A codestream is damaged, of another JPEG process, or holds another geometry.
        UnsupportedPixelFormat
            JPEG Lossless can't hold such samples, or a codestream uses subsampling or a DNL marker.
        """
        if pixels.dtype.itemsize > 2:
            raise UnsupportedPixelFormat(
                f"JPEG Lossless holds up to 16 bits a sample, not {pixels.bits_allocated}"
            )
        frames: list[Samples] = []
        while len(frames) < len(codestreams):
            number = len(frames)
            frames += _two(codestreams[number : number + self.batch], pixels)
            if len(frames) == number:
                try:
                    frames.append(_Frame(codestreams[number], pixels).decode())
                except (CodecError, UnsupportedPixelFormat) as error:
                    raise error.locate(frame=number) from None
        return frames


_spared = Spared(400_000_000, "cinemill.kernels.jpeg.lossless_pairs.decode_two_scans")
"""Bytes of frames that are decoded one by one."""


def _two(codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
    """Decode two frames at the same time; nothing comes back where that can't be done, or one of them is unsound."""
    if len(codestreams) < 2 or not _spared.worth_compiling(2 * pixels.nbytes):
        return []
    from cinemill.kernels.jpeg import lossless_pairs as pairs

    frames = [_Frame(codestream, pixels) for codestream in codestreams]
    made: list[Samples] = []
    given: list[Any] = []
    alike = set()
    try:
        for frame in frames:
            segment, position = frame.next_scan(markers.first_marker(frame.codestream))
            scan = frame.read_scan(segment, position)
            if not scan.is_plain or frame.restart_interval or len(scan.places) != pixels.samples:
                return []
            made.append(frame.room())
            alike.add(
                (scan.selection, frame.precision, scan.point_transform, pixels.samples, made[-1].itemsize)
            )
            source, start = np.frombuffer(frame.codestream, np.uint8), position + 2 + len(segment)
            given += [source, start, *scan.tables, made[-1].view(np.uint8).reshape(pixels.rows, -1)]
        if len(alike) > 1:
            return []
        row = pixels.columns * pixels.samples
        memory = np.empty((pairs.LANES, kernel.ROWS, row + differences.AHEAD), np.uint16)
        given += [*alike.pop(), memory]
        ends = pairs.decode_two_scans(*given)
        for frame, end in zip(frames, ends, strict=True):
            markers.check_end(frame.codestream, end)
    except (CodecError, UnsupportedPixelFormat):
        return []
    return (
        [frame.with_sign(samples) for frame, samples in zip(frames, made, strict=True)] if all(ends) else []
    )


class _Scan(NamedTuple):
    """What a scan header says: places of the components in a pixel, and what `_lookup_of` makes of their tables."""

    places: list[int]
    selection: int
    point_transform: int
    tables: _Tables

    @property
    def is_plain(self) -> bool:
        """Whether the components stand in order, and several differences are looked up at once."""
        return self.places == [*range(len(self.places))] and self.tables[1].size > 0


@dataclass
class _Frame:
    """The state of decoding one codestream, marker segment by marker segment."""

    codestream: Buffer
    pixels: PixelFormat
    precision: int = 0
    components: list[int] = field(default_factory=list)
    decoded: set[int] = field(default_factory=set)
    tables: dict[int, bytes] = field(default_factory=dict)
    restart_interval: int = 0

    def decode(self) -> Samples:
        """Follow the markers from SOI until each component has been decoded."""
        samples = self.room()
        position = markers.first_marker(self.codestream)
        while not self.components or len(self.decoded) < len(self.components):
            segment, position = self.next_scan(position)
            position = self._scan(segment, position, samples)
        markers.check_end(self.codestream, position)
        return self.with_sign(samples)

    def room(self) -> NDArray[np.unsignedinteger]:
        """Return what samples are decoded into."""
        return np.empty(self.pixels.shape, np.dtype(f"u{self.pixels.dtype.itemsize}"))

    def next_scan(self, position: int) -> tuple[bytes, int]:
        """Read segments up to a scan header; return this one and its position."""
        while True:
            marker, segment, start, position = markers.next_segment(self.codestream, position)
            if marker == markers.EOI:
                raise CodecError(
                    f"end of image with {len(self.decoded)} of {len(self.components) or self.pixels.samples} "
                    "components decoded",
                    offset=position - 2,
                )
            if marker == markers.SOS:
                return segment, start
            self._header(marker, segment, start)

    def _header(self, marker: int, segment: bytes, position: int) -> None:
        """Read any segment but a scan's; those without a meaning for decoding are skipped."""
        if marker == _SOF3:
            self._frame_header(segment, position)
        elif marker == markers.DHT:
            self.tables.update(markers.read_huffman_tables(segment, position))
        elif marker == markers.DRI:
            self.restart_interval = markers.read_restart_interval(segment, position)
        elif marker == markers.DNL:
            raise UnsupportedPixelFormat("the number of lines is given by a DNL marker")
        elif marker in markers.FRAMES:
            raise CodecError(
                f"the codestream is JPEG {markers.FRAMES[marker]}, not Huffman-coded lossless",
                offset=position,
            )

    def _frame_header(self, segment: bytes, position: int) -> None:
        """Read SOF3 (T.81 B.2.2) and compare it with what is expected."""
        if self.components:
            raise CodecError("expected one frame header (SOF), found a second frame header", offset=position)
        pixels = self.pixels
        self.precision, rows, columns, components = markers.read_frame_header(segment, position)
        if rows == 0:
            raise UnsupportedPixelFormat("the number of lines is left to a DNL marker")
        if (rows, columns, len(components)) != (pixels.rows, pixels.columns, pixels.samples):
            raise CodecError(
                f"expected {pixels.rows} rows, {pixels.columns} columns and {pixels.samples} samples, "
                f"found {rows}, {columns} and {len(components)}",
                offset=position,
            )
        if not 2 <= self.precision <= min(16, 8 * pixels.dtype.itemsize):
            raise CodecError(
                f"a precision of {self.precision} bits does not fit {pixels.bits_allocated} bits allocated",
                offset=position,
            )
        self.components = [component.number for component in components]
        if len(set(self.components)) < len(self.components):
            raise CodecError(
                f"expected components with numbers of their own, found {self.components}", offset=position
            )
        factors = {(component.across, component.down) for component in components}
        if len(components) > 1 and factors != {(1, 1)}:
            raise UnsupportedPixelFormat("JPEG Lossless with sampling factors other than 1 x 1")

    def read_scan(self, segment: bytes, position: int) -> _Scan:
        """Read a scan header (T.81 B.2.3), and make its tables."""
        if not self.components:
            raise CodecError(
                "expected a frame header (SOF) first, found a scan without a frame header", offset=position
            )
        names, selectors, selection, _, _, point_transform = markers.read_scan_header(segment, position)
        places = [self.components.index(name) for name in names if name in self.components]
        if len(places) != len(names) or len({*places, *self.decoded}) != len(places) + len(self.decoded):
            raise CodecError(
                f"expected a scan of components of {self.components}, each once, found {[*names]}",
                offset=position,
            )
        if not 1 <= selection <= 7 or point_transform >= self.precision:
            raise CodecError(
                f"expected a predictor of 1 to 7 and a point transform below {self.precision}, "
                f"found predictor {selection} and point transform {point_transform}",
                offset=position,
            )
        tables = self._tables_of(selectors, position)
        if self.restart_interval % self.pixels.columns:
            raise CodecError(
                f"a restart interval of {self.restart_interval} is not whole rows of {self.pixels.columns}",
                offset=position,
            )
        return _Scan(places, selection, point_transform, tables)

    def _scan(self, segment: bytes, position: int, samples: NDArray[np.unsignedinteger]) -> int:
        """Decode a scan; return the position behind its entropy-coded data."""
        scan = self.read_scan(segment, position)
        rows, columns = self.pixels.rows, self.pixels.columns
        outcome, offset, row = kernel.decode_scan(
            np.frombuffer(self.codestream, np.uint8),
            position + 2 + len(segment),
            self.restart_interval // columns or rows,
            *scan.tables,
            scan.selection,
            self.precision,
            scan.point_transform,
            len(self.components),
            np.array(scan.places),
            samples.itemsize,
            samples.view(np.uint8).reshape(rows, -1),
            np.empty((kernel.ROWS, columns * len(self.components) + differences.AHEAD), np.uint16),
        )
        if outcome != kernel.DECODED:
            raise CodecError(
                {
                    kernel.NO_SUCH_CODE: f"row {row} has a code that no Huffman table has",
                    kernel.DATA_END: f"expected {rows} rows, the data end in row {row}",
                    kernel.DATA_LEFT: f"expected {rows} rows, there is more data after row {row - 1}",
                    kernel.NO_RESTART: f"expected a restart marker after row {row - 1}",
                }[outcome],
                offset=offset,
            )
        self.decoded.update(scan.places)
        return offset

    def _tables_of(self, selectors: bytes, position: int) -> _Tables:
        """Return what the kernel needs of each component's Huffman table, or of the one that all share."""
        tables = []
        for selector in selectors:
            if selector >> 4 not in self.tables:
                raise CodecError(f"there is no Huffman table {selector >> 4}", offset=position)
            tables.append(self.tables[selector >> 4])
        if len(set(tables)) == 1:
            del tables[1:]
        try:
            return _lookup_of(tuple(tables))
        except ValueError as error:
            raise CodecError(str(error), offset=position) from None

    def with_sign(self, samples: NDArray[np.unsignedinteger]) -> Samples:
        if not self.pixels.signed:
            return samples
        signed = samples.view(self.pixels.dtype)
        unused = 8 * signed.itemsize - self.precision
        return signed << unused >> unused if unused else signed


@lru_cache(maxsize=32)
def _lookup_of(tables: tuple[bytes, ...]) -> _Tables:
    """Build what the kernel needs of Huffman tables as they stand in DHT: `lossless_differences.fill_tables` says what.

    Several differences at once are looked up where there is one table, and one fits into the index in 3 of 4 cases, going by
    the lengths of codes; else that array is empty.
    """
    codes = [_codes_of(table) for table in tables]
    padded = np.zeros((len(tables), max(map(len, codes)), 3), np.int64)
    ones = np.empty((len(tables), 1 << differences.INDEX_BITS), np.uint16)
    several = np.empty(1 << differences.SEVERAL_BITS, np.int64)
    for number, rows in enumerate(codes):
        padded[number, : len(rows)] = rows
        differences.fill_tables(padded[number, : len(rows)], ones[number], several)
    dense = len(tables) == 1 and np.count_nonzero(several) >= several.size * 3 // 4
    return ones, several[: several.size if dense else 0], padded


def _codes_of(table: bytes) -> list[tuple[int, int, int]]:
    """List code, length and category of a Huffman table (T.81 Annex C)."""
    categories = iter(table[16:])
    codes = []
    code = 0
    for length, count in enumerate(table[:16], 1):
        for _ in range(count):
            codes.append((code, length, next(categories)))
            code += 1
        if code > 1 << length:
            raise ValueError(f"a Huffman table has {count} codes of {length} bits, too many")
        code <<= 1
    if not codes or max(table[16:]) >= _CATEGORIES:
        raise ValueError("a Huffman table of JPEG Lossless has categories 0 to 16")
    return codes
