"""Sequential JPEG of 8 bits (ITU-T T.81 processes 1 and 2) by cinemill's own kernels, to the very samples of libjpeg-turbo."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cinemill._version import __version__
from cinemill.codecs.compiling import kernels_wanted
from cinemill.codecs.jpeg import markers, scans
from cinemill.codecs.jpeg.libjpeg_turbo import LibjpegTurbo
from cinemill.codecs.memory import Memory
from cinemill.errors import CodecError, UnsupportedPixelFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cinemill.codecs.codec import Codec
    from cinemill.pixel_format import Buffer, PixelFormat, Samples

_SEQUENTIAL = frozenset((0xC0, 0xC1))
_KNOWN = _SEQUENTIAL | {markers.DHT, markers.DQT, markers.DRI, markers.SOS, *range(0xE0, 0xF0), 0xFE}
"""Marker segments that stand before a scan; libjpeg refuses reserved ones."""
_FORMS = frozenset([(1, 1), (2, 1), (2, 2)])
"""Pixels across and down that have one sample of chrominance."""
_NARROW = 4
"""Columns of which libjpeg does not interpolate chrominance."""
_LARGEST = 65500
"""Rows or columns that libjpeg decodes."""

_memory = Memory()


def fastest() -> Codec:
    """Return the kernels where they are wanted, else libjpeg-turbo."""
    return SequentialJpeg() if kernels_wanted() else LibjpegTurbo()


class SequentialJpeg:
    """cinemill's decoder of JPEG with DCT as a `cinemill.codecs.codec.Codec`.

    Damage is found by the way, and colour comes out as it is coded, subsampled chrominance interpolated. libjpeg-turbo decodes
    what is not of 8 bits in one scan, what is subsampled otherwise than by 2 across, or 2 across and down, and what is unsound.
    """

    name = "cinemill-jpeg"
    version = f"{__version__} with libjpeg-turbo {LibjpegTurbo.version}"
    batch = 1

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames as `LibjpegTurbo.decode` does, to the same samples and errors."""
        return [frame for frame, _ in self.attributed(codestreams, pixels)]

    def attributed(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[tuple[Samples, Codec]]:
        """Decode frames; with each comes who decoded it, this one or libjpeg-turbo."""
        decoded: list[tuple[Samples, Codec]] = []
        for number, data in enumerate(codestreams):
            samples = _decode_by_kernels(data, pixels)
            decoded.append(
                (samples, self) if samples is not None else (_left(data, pixels, number), LibjpegTurbo())
            )
        return decoded


@dataclass(frozen=True)
class _Layout:
    """What frames with the same header share: see `cinemill.kernels.jpeg`, `sequential.decode_scan` and `upsampling.put_together`.

    ``starts`` is where each component's plane begins, ``pitch`` the length of a row of the first one, ``size`` that of all planes.
    """

    shape: tuple[int, ...]
    across: int
    down: int
    mcus_across: int
    mcus: int
    interval: int
    mcu: NDArray[np.int64]
    flat: NDArray[np.int32]
    codes: NDArray[np.uint16]
    lookup: NDArray[np.int64]
    symbols: NDArray[np.uint16]
    quantisation: NDArray[np.uint16]
    starts: list[int]
    pitch: int
    size: int


def _left(codestream: Buffer, pixels: PixelFormat, number: int) -> Samples:
    """Have libjpeg-turbo decode a frame."""
    try:
        (samples,) = LibjpegTurbo().decode([codestream], pixels)
    except (CodecError, UnsupportedPixelFormat) as error:
        error.frame = number
        raise
    return samples


def _decode_by_kernels(codestream: Buffer, pixels: PixelFormat) -> Samples | None:
    """Decode a frame, or return None if it is nothing for the kernels, or unsound."""
    from cinemill.kernels.jpeg.sequential import MEMORY, SLACK, decode_scan

    start = markers.first_scan(codestream)
    layout = _layout(bytes(codestream[:start])) if start else None
    if layout is None or layout.shape != pixels.shape or pixels.dtype != np.uint8:
        return None
    planes = _memory.array("planes", (layout.size,), np.uint8)
    sound, position = decode_scan(
        np.frombuffer(codestream, np.uint8),
        start,
        layout.mcus_across,
        layout.mcus,
        layout.interval,
        layout.mcu,
        layout.flat,
        layout.codes,
        layout.lookup,
        layout.symbols,
        layout.quantisation,
        _zigzag(),
        _memory.array("scan", (MEMORY + SLACK + len(codestream) - start + 8,), np.uint8),
        planes,
    )
    return _frame(planes, layout) if sound and _ends(codestream, position) else None


def _frame(planes: NDArray[np.uint8], layout: _Layout) -> Samples:
    """Make a frame of its planes."""
    from cinemill.kernels.jpeg.upsampling import MARGIN, SPARE, put_together

    rows, columns = layout.shape[:2]
    if len(layout.shape) == 2:
        whole = planes[MARGIN : MARGIN + rows * layout.pitch].reshape(rows, layout.pitch)
        return whole[:, :columns].copy()
    frame = np.empty(layout.shape, np.uint8)
    put_together(
        planes,
        rows,
        columns,
        layout.across,
        layout.down,
        layout.pitch,
        layout.starts[1],
        layout.starts[2] - layout.starts[1],
        _memory.array("spare", (SPARE,), np.uint8),
        frame.reshape(-1),
    )
    return frame


def _ends(codestream: Buffer, position: int) -> bool:
    """Whether the image ends there, and no other one follows."""
    try:
        marker, position = markers.next_marker(codestream, position)
        markers.check_end(codestream, position)
    except CodecError:
        return False
    return marker == markers.EOI


@cache
def _zigzag() -> NDArray[np.uint8]:
    """Return the place in a block of each coefficient (T.81 Figure A.6), and 64 where there is none."""
    from cinemill.kernels.jpeg.sequential import PLACES

    diagonals = sorted(range(64), key=lambda at: (sum(divmod(at, 8)), at if sum(divmod(at, 8)) % 2 else -at))
    return np.array(diagonals + [64] * (PLACES - 64), np.uint8)


@lru_cache(maxsize=8)
def _layout(header: bytes) -> _Layout | None:
    """Read what stands before the scan of a sequential frame; None if the kernels don't cover it, or libjpeg refuses it."""
    try:
        scan = scans.only_scan(header)
        segments = list(markers.header_segments(header))
    except (CodecError, UnsupportedPixelFormat):
        return None
    if scan is None:
        return None
    frame = next(
        markers.read_frame_header(body, at) for marker, at, body in segments if marker in _SEQUENTIAL
    )
    first, *others = scan.components
    forms = (first.across, first.down) if others else (1, 1), *((one.across, one.down) for one in others)
    if (
        frame.precision != 8
        or max(frame.rows, frame.columns) > _LARGEST
        or len(others) not in {0, 2}
        or [one.number for one in scan.components] != [one.number for one in frame.components]
        or forms[0] not in _FORMS
        or {(1, 1), *forms[1:]} != {(1, 1)}
        or (forms[0] != (1, 1) and frame.columns <= _NARROW)
        or not _KNOWN.issuperset(marker for marker, *_ in segments)
        or not all(_is_regular(body, at) for marker, at, body in segments if marker == markers.DHT)
    ):
        return None
    tables = dict[int, list[int]]()
    for marker, at, body in segments:
        if marker == markers.DQT:
            tables.update(markers.read_quantisation_tables(body, at))
    quantisation = np.zeros((len(scan.components), 64), np.uint16)
    quantisation[:, _zigzag()[:64]] = [tables[one.quantisation] for one in scan.components]
    if quantisation.max() >= 1 << 13:
        return None
    return _laid_out(frame, scan, forms[0], quantisation)


def _laid_out(
    frame: markers.FrameHeader, scan: scans.Scan, form: tuple[int, int], quantisation: NDArray[np.uint16]
) -> _Layout:
    """Place the planes of a frame, each of whole MCUs, and make its tables.

    Parameters
    ----------
    frame, scan
        What the headers say.
    form
        Pixels across and down that have one sample of chrominance.
    quantisation
        Of each component.
    """
    from cinemill.kernels.jpeg.sequential import INDEX_BITS, fill_entries, fill_flat
    from cinemill.kernels.jpeg.upsampling import BETWEEN, MARGIN

    mcus_across = -(-frame.columns // (8 * form[0]))
    starts, end, blocks = list[int](), MARGIN, list[tuple[int, ...]]()
    tables = scan.tables.mcu[:, 1:].tolist()
    pairs = sorted({(dc, ac) for dc, ac in tables})
    for number in range(len(scan.components)):
        wide, high = (1, 1) if number else form
        pitch = wide * (8 * mcus_across + BETWEEN)
        starts.append(end)
        for block in range(wide * high):
            start = end + 8 * (block % wide) + 8 * pitch * (block // wide)
            dc, ac = tables[len(blocks)]
            blocks.append((number, dc, ac, pairs.index((dc, ac)), start, 8 * wide, 8 * high * pitch, pitch))
        end += pitch * 8 * high * (scan.mcus // mcus_across) + MARGIN
    codes, lookup = (
        np.empty((len(scan.tables.symbols), 1 << INDEX_BITS), kind) for kind in (np.uint16, np.int64)
    )
    for row, entries in enumerate(lookup):
        fill_entries(scan.tables.symbols, row, codes[row], entries)
    flat = np.empty((len(pairs), 1 << INDEX_BITS), np.int32)
    for (dc, ac), entries in zip(pairs, flat, strict=True):
        fill_flat(scan.tables.symbols, dc, ac, entries)
    return _Layout(
        shape=(frame.rows, frame.columns, 3)[: 2 if len(starts) == 1 else 3],
        across=form[0],
        down=form[1],
        mcus_across=mcus_across,
        mcus=scan.mcus,
        interval=scan.interval,
        mcu=np.array(blocks, np.int64),
        flat=flat,
        codes=codes,
        lookup=lookup,
        symbols=scan.tables.symbols,
        quantisation=quantisation,
        starts=starts,
        pitch=form[0] * (8 * mcus_across + BETWEEN),
        size=end,
    )


def _is_regular(segment: bytes, position: int) -> bool:
    """Whether libjpeg takes Huffman tables: no code is all ones (T.81 Annex C), no DC symbol is larger than 15."""
    for destination, table in markers.read_huffman_tables(segment, position).items():
        code = 0
        for length, count in enumerate(table[:16], 1):
            code += count
            if count and code >= 1 << length:
                return False
            code <<= 1
        if destination >> 4 == 0 and max(table[16:], default=0) > 15:
            return False
    return True
