"""Finds damage in the entropy-coded data of JPEG with DCT, which libjpeg-turbo conceals with grey or repeated blocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cinemill.codecs.jpeg import markers
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.jpeg import huffman

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cinemill.pixel_format import Buffer

_BASELINE, _EXTENDED, _PROGRESSIVE, _LOSSLESS = 0xC0, 0xC1, 0xC2, 0xC3
_BLOCKS_AN_MCU = 10
_NOT_SENT = 255


def check_entropy_data(codestream: Buffer) -> None:
    """Walk through all scans of a sequential or progressive JPEG codestream (T.81 Annexes F and G), to its end.

    What can't be found is damage that changes values only, not the number or the places of coefficients. JPEG Lossless
    is left to its decoder.

    Raises
    ------
    CodecError
        The codestream ends early or late, has codes or coefficients that can't be, or lacks restart markers or scans.
    UnsupportedPixelFormat
        It uses arithmetic coding, the hierarchical mode, or a DNL marker.
    """
    start = markers.first_scan(codestream)
    scan = only_scan(bytes(codestream[:start])) if start else None
    if scan is not None:
        marker, position = markers.next_marker(codestream, scan.walk(codestream, start))
        if marker == markers.EOI:
            markers.check_end(codestream, position)
            return
    _Frame(codestream).check()


@lru_cache(maxsize=8)
def only_scan(header: bytes) -> Scan | None:
    """Read what stands before the first scan, which frames of a cine share; None if that is not the whole frame."""
    frame = _Frame(header)
    scan, _ = frame.next_scan(markers.first_marker(header))
    whole = (
        scan is not None and frame.process != _PROGRESSIVE and len(scan.components) == len(frame.components)
    )
    return scan if whole else None


@dataclass
class _Component:
    """A component of the frame header, and which bits of its 64 coefficients have been sent so far."""

    number: int
    across: int
    down: int
    quantisation: int
    rows: int = 0
    columns: int = 0
    approximations: bytearray = field(default_factory=lambda: bytearray([_NOT_SENT] * 64))
    nonzero: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def blocks(self) -> int:
        """Blocks of a scan that has this component only."""
        return self.rows * self.columns


@dataclass(frozen=True)
class _Tables:
    """Of a scan's blocks: ``mcu`` as `entropy.walk_scan` takes it, and a row of ``symbols`` for each Huffman table."""

    process: int
    mcu: NDArray[np.int64]
    symbols: NDArray[np.uint16]

    @cached_property
    def lookup(self) -> NDArray[np.uint16]:
        """For each pair of a DC and an AC table as many symbols at once as `lookup.fill_lookup` finds."""
        from cinemill.kernels.jpeg import lookup
        from cinemill.kernels.jpeg.entropy import AC, DC, PAIR

        pairs = {row[PAIR]: (row[DC], row[AC]) for row in self.mcu.tolist()}
        entries = np.empty((len(pairs), 2, 1 << lookup.INDEX_BITS), np.uint16)
        if self.process == huffman.BLOCKS:
            for pair, (dc, ac) in pairs.items():
                lookup.fill_lookup(self.symbols, dc, ac, entries[pair])
        return entries


@dataclass(frozen=True)
class Scan:
    """What `entropy.walk_scan` needs to know of a scan."""

    components: list[_Component]
    process: int
    mcus: int
    interval: int
    first: int
    last: int
    tables: _Tables
    nonzero: NDArray[np.int64]

    def walk(self, codestream: Buffer, start: int) -> int:
        """Walk the entropy-coded data that start there; return the position behind them."""
        from cinemill.kernels.jpeg import entropy as kernel

        outcome, offset, found, left = kernel.walk_scan(
            np.frombuffer(codestream, np.uint8),
            start,
            self.process,
            self.mcus,
            self.interval,
            self.first,
            self.last,
            self.tables.mcu,
            self.tables.lookup,
            self.tables.symbols,
            self.nonzero,
        )
        if outcome == kernel.COMPLETE:
            return offset
        mcus = self.mcus
        raise CodecError(
            {
                kernel.NO_SUCH_CODE: f"MCU {found} of {mcus} has a code that its Huffman table has not",
                kernel.PAST_BAND: f"MCU {found} of {mcus} has a coefficient beyond the last one, {self.last}",
                kernel.RUN_TOO_LONG: f"expected {mcus} MCUs, a run of empty blocks goes beyond MCU {found - 1}",
                kernel.DATA_END: f"expected {mcus} MCUs, found {found}",
                kernel.DATA_LEFT: f"{found} of {mcus} MCUs found, {left} bytes left over before the marker",
                kernel.NO_RESTART: f"{found} of {mcus} MCUs found, expected a restart marker",
            }[outcome],
            offset=offset,
        )


@dataclass
class _Frame:
    """The state of checking one codestream, marker segment by marker segment."""

    codestream: Buffer
    process: int = 0
    precision: int = 0
    mcus: int = 0
    components: list[_Component] = field(default_factory=list)
    tables: dict[int, bytes] = field(default_factory=dict)
    quantisation: set[int] = field(default_factory=set)
    restart_interval: int = 0

    def check(self) -> None:
        """Walk through all scans."""
        scan, position = self.next_scan(markers.first_marker(self.codestream))
        while scan is not None:
            scan, position = self.next_scan(scan.walk(self.codestream, position))

    def next_scan(self, position: int) -> tuple[Scan | None, int]:
        """Follow the markers up to a scan's entropy-coded data; None at the end of the image, or for JPEG Lossless."""
        while True:
            marker, segment, start, position = markers.next_segment(self.codestream, position)
            if marker == markers.EOI:
                self._check_complete(position - 2)
                markers.check_end(self.codestream, position)
                return None, position
            if marker == _LOSSLESS:
                return None, position
            if marker == markers.SOS:
                return self._scan(segment, start), position
            self._header(marker, segment, start)

    def _header(self, marker: int, segment: bytes, position: int) -> None:
        """Read any segment but a scan's; those without a meaning for decoding are skipped."""
        if marker in {_BASELINE, _EXTENDED, _PROGRESSIVE}:
            self.process = marker
            self._frame_header(segment, position)
        elif marker == markers.DQT:
            self.quantisation.update(markers.read_quantisation_tables(segment, position))
        elif marker == markers.DHT:
            self.tables.update(markers.read_huffman_tables(segment, position))
        elif marker == markers.DRI:
            self.restart_interval = markers.read_restart_interval(segment, position)
        elif marker == markers.DNL:
            raise UnsupportedPixelFormat("the number of lines is given by a DNL marker")
        elif marker in markers.FRAMES:
            raise UnsupportedPixelFormat(f"JPEG {markers.FRAMES[marker]} can't be checked for damage")

    def _frame_header(self, segment: bytes, position: int) -> None:
        """Read SOF0, SOF1 or SOF2 (T.81 B.2.2)."""
        if self.components:
            raise CodecError("expected one frame header (SOF), found a second frame header", offset=position)
        self.precision, rows, columns, header = markers.read_frame_header(segment, position)
        if self.precision not in ({8} if self.process == _BASELINE else {8, 12}):
            raise CodecError(
                f"JPEG {markers.FRAMES[self.process]} with {self.precision} bits", offset=position
            )
        if rows == 0:
            raise UnsupportedPixelFormat("the number of lines is left to a DNL marker")
        components = [_Component(*component) for component in header]
        factors = {factor for component in components for factor in (component.across, component.down)}
        if columns == 0 or not factors <= {1, 2, 3, 4}:
            raise CodecError(
                f"expected columns, and sampling factors of 1 to 4, found {columns} columns, sampling factors {sorted(factors)}",
                offset=position,
            )
        if len({component.number for component in components}) < len(components):
            raise CodecError(
                f"expected components with numbers of their own, found {[component.number for component in components]}",
                offset=position,
            )
        across = max(component.across for component in components)
        down = max(component.down for component in components)
        self.mcus = -(-rows // (8 * down)) * -(-columns // (8 * across))
        for component in components:
            component.rows = -(-rows * component.down // (8 * down))
            component.columns = -(-columns * component.across // (8 * across))
        self.components = components

    def _scan(self, segment: bytes, position: int) -> Scan:
        """Read a scan header (T.81 B.2.3)."""
        if not self.components:
            raise CodecError(
                "expected a frame header (SOF) first, found a scan without a frame header", offset=position
            )
        header = markers.read_scan_header(segment, position)
        components = self._scanned(header.components, position)
        first, last, high, low = header[2:] if self.process == _PROGRESSIVE else (0, 63, 0, 0)
        _note_sent(components, (first, last, high, low), position)
        process = (huffman.BAND if first else huffman.BLOCKS) + (1 if high else 0)
        sizes, mcus = [component.across * component.down for component in components], self.mcus
        if len(components) == 1:
            sizes, mcus = [1], components[0].blocks
        if sum(sizes) > _BLOCKS_AN_MCU:
            raise CodecError(f"an MCU of {sum(sizes)} blocks, {_BLOCKS_AN_MCU} are allowed", offset=position)
        if first and components[0].nonzero.size == 0:
            components[0].nonzero = np.zeros(mcus, np.int64)
        tables = [
            (
                self._table(selector >> 4, position) if process == huffman.BLOCKS else b"",
                self._table(0x10 | selector & 15, position) if last else b"",
            )
            for selector in header.tables
        ]
        try:
            read = _tables_of(process, self.precision, tuple(zip(sizes, tables, strict=True)))
        except ValueError as error:
            raise CodecError(str(error), offset=position) from None
        return Scan(
            components,
            process,
            mcus,
            self.restart_interval or mcus,
            first,
            last,
            read,
            components[0].nonzero,
        )

    def _scanned(self, numbers: bytes, position: int) -> list[_Component]:
        """Return the components of a scan."""
        known = {component.number: component for component in self.components}
        if not known.keys() >= set(numbers) or len(set(numbers)) < len(numbers):
            raise CodecError(
                f"expected a scan of components of {[*known]}, each once, found {[*numbers]}", offset=position
            )
        missing = {known[number].quantisation for number in numbers} - self.quantisation
        if missing:
            raise CodecError(f"there is no quantisation table {min(missing)}", offset=position)
        return [known[number] for number in numbers]

    def _table(self, destination: int, position: int) -> bytes:
        if destination not in self.tables:
            kind = "AC" if destination >> 4 else "DC"
            raise CodecError(f"there is no {kind} Huffman table {destination & 15}", offset=position)
        return self.tables[destination]

    def _check_complete(self, position: int) -> None:
        """Raise if a component lacks its DC coefficients, or the refinement of any."""
        for component in self.components:
            if component.approximations[0] == _NOT_SENT or set(component.approximations) - {0, _NOT_SENT}:
                raise CodecError(
                    f"end of image, scans of component {component.number} are missing", offset=position
                )
        if not self.components:
            raise CodecError("end of image without a frame header", offset=position)


def _note_sent(components: list[_Component], progression: tuple[int, int, int, int], position: int) -> None:
    """Note what a scan sends: coefficients Ss to Se, after approximation Ah in approximation Al (T.81 G.1.1.1)."""
    first, last, high, low = progression
    whole = progression == (0, 63, 0, 0)
    band = first <= last <= 63 and (last == 0 or (first > 0 and len(components) == 1))
    if not whole and not (band and low <= 13 and high in {0, low + 1}):
        raise CodecError(
            f"a scan of {len(components)} components with Ss, Se, Ah, Al {progression}", offset=position
        )
    for component in components:
        sent = component.approximations[first : last + 1]
        if set(sent) != {high or _NOT_SENT}:
            raise CodecError(
                f"component {component.number}, coefficients {first} to {last}: approximation {high} is expected "
                f"before {low}, found {[*set(sent)]}",
                offset=position,
            )
        component.approximations[first : last + 1] = bytes([low]) * (last + 1 - first)


@lru_cache(maxsize=16)
def _tables_of(
    process: int, precision: int, components: tuple[tuple[int, tuple[bytes, bytes]], ...]
) -> _Tables:
    """Build what a scan needs to know of an MCU, from the blocks, DC and AC table of each component."""
    rows: dict[tuple[int, bytes], int] = {}
    pairs: dict[tuple[int, int], int] = {}
    mcu = []
    for size, tables in components:
        dc, ac = (
            rows.setdefault((kind, table), len(rows)) if table else -1 for kind, table in enumerate(tables)
        )
        mcu += [(pairs.setdefault((dc, ac), len(pairs)), dc, ac)] * size
    symbols = np.empty((len(rows), 1 << 16), np.uint16)
    for (kind, table), row in rows.items():
        known = symbols_of(kind, precision, process)
        excess = huffman.fill_symbols(np.frombuffer(table, np.uint8), known, symbols[row])
        if excess:
            raise ValueError(f"a Huffman table has too many codes of {excess} bits")
    return _Tables(process, np.array(mcu, np.int64), symbols)


def symbols_of(kind: int, precision: int, process: int = huffman.BLOCKS) -> NDArray[np.bool_]:
    """Mark the symbols (of 256) that have a meaning in a DC table, kind 0, or an AC table, kind 1.

    Parameters
    ----------
    kind
        Class of the table.
    precision
        Bits of a sample.
    process
        What a scan with that table holds.
    """
    return _ac_symbols(process, precision) if kind else _dc_symbols(precision)


def _dc_symbols(precision: int) -> NDArray[np.bool_]:
    """Mark the categories of DC differences (T.81 Table F.1)."""
    known: NDArray[np.bool_] = np.arange(256) <= precision + 3
    return known


def _ac_symbols(process: int, precision: int) -> NDArray[np.bool_]:
    """Mark the meaningful pairs of run and category (T.81 F.1.2.2.1, G.1.2.2, G.1.2.3)."""
    run, category = np.divmod(np.arange(256), 16)
    known: NDArray[np.bool_] = category <= (1 if process == huffman.BAND_AGAIN else precision + 2)
    if process == huffman.BLOCKS:
        known &= (category > 0) | (run == 0) | (run == 15)
    return known
