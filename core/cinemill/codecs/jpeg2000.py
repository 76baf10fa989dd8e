"""JPEG 2000 Part 1, lossless encoding by cinemill's own kernels, many code-blocks at once."""

from __future__ import annotations

import math
import struct
import threading
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from cinemill.codecs.jpeg2000_markers import COD, EOC, QCD, SIZ, SOC, SOD, SOT
from cinemill.codecs.openjpeg import check_encodable, takes_colour_transform
from cinemill.errors import UnsupportedPixelFormat
from cinemill.kernels import jpeg2000_instructions
from cinemill.kernels.jpeg2000_contexts import BLOCK, HH, HL, LH, LL, READ_AHEAD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cinemill.model import Buffer, PixelFormat, Samples

_GUARD_BITS = 2
_GAIN = {LL: 0, HL: 1, LH: 1, HH: 2}
_PRECINCT = 1 << 15
_MOST_LEVELS = 5
_SMALLEST_LL = 16
_BLOCKS_AT_ONCE = 256


class _Memory(threading.local):
    """Arrays that a thread keeps for the next batch: fresh pages cost it a third of its time."""

    def __init__(self) -> None:
        self._held: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
        """Return an array of any content; the last one of this name may no longer be used."""
        size = math.prod(shape)
        held = self._held.get(name)
        if held is None or held.size < size:
            held = self._held[name] = np.empty(size, kind)
        return held[:size].reshape(shape)


_memory = _Memory()


def available() -> bool:
    """Whether this machine can run the kernels."""
    return jpeg2000_instructions.available()


class Jpeg2000:
    """cinemill's JPEG 2000 encoder as a `cinemill.codecs.Codec`; it decodes nothing.

    It writes one tile, one quality layer, LRCP, 64 x 64 code-blocks, the reversible 5-3 wavelet with up to 5 levels,
    and the reversible colour transform for RGB.
    """

    name = "cinemill-jpeg2000"
    version = "0.1.0"
    batch = 8

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> NoReturn:
        """Raise: `cinemill.codecs.openjpeg` decodes what this codec encodes."""
        raise NotImplementedError

    def encode(self, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
        """Encode arrays of ``pixels.shape`` and ``pixels.dtype``: 1 or 3 samples of 1 to 16 bits.

        Raises
        ------
        UnsupportedPixelFormat
            Other samples than these, or values beyond ``bits_stored``.
        """
        check_encodable(pixels)
        layout = _lay_out(pixels.rows, pixels.columns, pixels.samples)
        at_once = -(-_BLOCKS_AT_ONCE // len(layout.blocks))
        groups = (frames[first : first + at_once] for first in range(0, len(frames), at_once))
        return [codestream for group in groups for codestream in _encode(group, pixels, layout)]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where subbands, precincts and code-blocks are in the planes of one frame (T.800 B.5 to B.7)."""

    levels: int
    orientations: tuple[int, ...]
    """Of each subband, in the order of QCD."""
    blocks: NDArray[np.int64]
    """Code-blocks x (start, stride, columns, rows, orientation), component after component."""
    areas: NDArray[np.int64]
    """Parts of subbands within a precinct x (code-blocks across, down, index of the first, gain)."""
    packets: NDArray[np.int64]
    """Packets in the order of LRCP x (first area, number of areas)."""


@lru_cache(maxsize=16)
def _lay_out(rows: int, columns: int, components: int) -> _Layout:
    levels = 0
    while levels < _MOST_LEVELS and max(rows, columns) >> (levels + 1) >= _SMALLEST_LL:
        levels += 1
    blocks: list[tuple[int, ...]] = []
    areas: list[tuple[int, ...]] = []
    packets = []
    for resolution in range(levels + 1):
        for component in range(components):
            plane = component * rows * columns
            for precinct in _precincts(rows, columns, levels, resolution):
                packets.append((len(areas), len(precinct)))
                for orientation, top, left, height, width in precinct:
                    across, down = -(-width // BLOCK), -(-height // BLOCK)
                    areas.append((across, down, len(blocks), _GAIN[orientation]))
                    blocks += [
                        (
                            plane + y * columns + x,
                            columns,
                            min(BLOCK, left + width - x),
                            min(BLOCK, top + height - y),
                            orientation,
                        )
                        for y in range(top, top + height, BLOCK)
                        for x in range(left, left + width, BLOCK)
                    ]
    return _Layout(
        levels,
        (LL, *(HL, LH, HH) * levels),
        np.array(blocks, np.int64),
        np.array(areas, np.int64),
        np.array(packets, np.int64),
    )


def _precincts(rows: int, columns: int, levels: int, resolution: int) -> Iterator[list[tuple[int, ...]]]:
    """Yield the precincts of a resolution, each as (orientation, top, left, rows, columns) of its parts of subbands."""
    down = levels - resolution
    height, width = (rows + (1 << down) - 1) >> down, (columns + (1 << down) - 1) >> down
    for top in range(0, height, _PRECINCT):
        for left in range(0, width, _PRECINCT):
            bottom, right = min(top + _PRECINCT, height), min(left + _PRECINCT, width)
            if resolution == 0:
                yield [(LL, top, left, bottom - top, right - left)]
                continue
            low_rows, low_columns = (height + 1) // 2, (width + 1) // 2
            rows_low, rows_high = (top // 2, (bottom + 1) // 2), (low_rows + top // 2, low_rows + bottom // 2)
            columns_low = (left // 2, (right + 1) // 2)
            columns_high = (low_columns + left // 2, low_columns + right // 2)
            yield [
                (orientation, r[0], c[0], r[1] - r[0], c[1] - c[0])
                for orientation, r, c in (
                    (HL, rows_low, columns_high),
                    (LH, rows_high, columns_low),
                    (HH, rows_high, columns_high),
                )
            ]


def _encode(frames: Sequence[Samples], pixels: PixelFormat, layout: _Layout) -> list[bytes]:
    from cinemill.kernels.jpeg2000_blocks import code_blocks, count_planes, symbol_room, word_room
    from cinemill.kernels.jpeg2000_mq import LANES
    from cinemill.kernels.jpeg2000_packets import (
        HEADER_BYTES_PER_BLOCK,
        HEADER_BYTES_PER_PACKET,
        write_packets,
    )

    frame_size = pixels.rows * pixels.columns * pixels.samples
    size = len(frames) * frame_size + 3 * pixels.columns + READ_AHEAD
    coefficients = _memory.array("coefficients", (size,), np.int32)
    for index, frame in enumerate(frames):
        _transform(frame, pixels, layout.levels, coefficients[index * frame_size : (index + 1) * frame_size])

    per_frame = len(layout.blocks)
    blocks = np.tile(layout.blocks, (len(frames), 1))
    blocks[:, 0] += np.repeat(np.arange(len(frames)) * frame_size, per_frame)
    bit_planes = np.empty(len(blocks), np.int64)
    count_planes(coefficients, blocks, bit_planes)
    order = np.argsort(-bit_planes * blocks[:, 2] * blocks[:, 3], kind="stable")
    starts, lengths = np.empty_like(bit_planes), np.empty_like(bit_planes)
    most = int(bit_planes.max())
    data = code_blocks(
        coefficients,
        blocks,
        bit_planes,
        order,
        _memory.array("symbols", (LANES, symbol_room(most)), np.uint8),
        _memory.array("words", (LANES, word_room(most)), np.int64),
        _memory.array("data", (size,), np.uint8),
        starts,
        lengths,
    )

    colour_transform = takes_colour_transform(pixels)
    areas = layout.areas.copy()
    areas[:, 3] += _GUARD_BITS - 1 + pixels.bits_stored + colour_transform
    header = _main_header(pixels, layout, colour_transform=colour_transform)
    codestreams = []
    for index in range(len(frames)):
        part = slice(index * per_frame, (index + 1) * per_frame)
        overhead = HEADER_BYTES_PER_PACKET * len(layout.packets) + HEADER_BYTES_PER_BLOCK * per_frame
        packets = np.empty(overhead + int(lengths[part].sum()), np.uint8)
        size = write_packets(
            layout.packets, areas, bit_planes[part], starts[part], lengths[part], data, packets, 0
        )
        tile_part = struct.pack(">HHHIBBH", SOT, 10, 0, 14 + size, 0, 1, SOD)
        codestreams.append(b"".join((header, tile_part, packets[:size].data, EOC.to_bytes(2, "big"))))
    return codestreams


def _transform(frame: Samples, pixels: PixelFormat, levels: int, coefficients: NDArray[np.int32]) -> None:
    from cinemill.kernels.jpeg2000_wavelet import analyse, shift_levels, transform_colour

    planes = _memory.array("planes", (pixels.samples, pixels.rows, pixels.columns), np.int32)
    spare = _memory.array("spare", (pixels.rows, pixels.columns), np.int32)
    scratch = _memory.array("scratch", (2, pixels.columns // 2 + 3), np.int32)
    flat = planes.reshape(pixels.samples, -1)
    sign = 1 << (8 * frame.itemsize - 1) if pixels.signed else 0
    offset = sign or 1 << (pixels.bits_stored - 1)
    needed = shift_levels(frame.view(f"u{frame.itemsize}").reshape(-1), sign, offset, flat)
    if needed >> (pixels.bits_stored - 1):
        raise UnsupportedPixelFormat(
            f"JPEG 2000: expected values of {pixels.bits_stored} bits, found {frame.min()} to {frame.max()}; "
            "mask what lies above BitsStored first"
        )
    if takes_colour_transform(pixels):
        transform_colour(flat)
    for plane, target in zip(planes, coefficients.reshape(planes.shape), strict=True):
        analyse(plane, levels, spare, scratch, target)


def _main_header(pixels: PixelFormat, layout: _Layout, *, colour_transform: bool) -> bytes:
    """SOC, SIZ, COD and QCD (T.800 A.4.1, A.5.1, A.6.1, A.6.4)."""
    size = pixels.columns, pixels.rows
    component = struct.pack(">BBB", (pixels.bits_stored - 1) | pixels.signed << 7, 1, 1)
    siz = struct.pack(">H8IH", 0, *size, 0, 0, *size, 0, 0, pixels.samples) + component * pixels.samples
    cod = struct.pack(">BBHBBBBBB", 0, 0, 1, colour_transform, layout.levels, 4, 4, 0, 1)
    exponents = (pixels.bits_stored + colour_transform + _GAIN[orientation] for orientation in layout.orientations)
    qcd = bytes([_GUARD_BITS << 5, *(exponent << 3 for exponent in exponents)])
    segments = ((SIZ, siz), (COD, cod), (QCD, qcd))
    return SOC.to_bytes(2, "big") + b"".join(
        struct.pack(">HH", marker, 2 + len(segment)) + segment for marker, segment in segments
    )
