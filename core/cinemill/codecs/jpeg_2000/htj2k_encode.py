"""Encodes HTJ2K (T.814), lossless, by cinemill's own kernels.

Code-blocks are encoded in 16-bit lanes. The wavelet has them too where all that samples could give fits, else it is the one of
JPEG 2000 Part 1; frames that have a coefficient of 16 bits or more are left to OpenJPH.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cinemill.codecs.jpeg_2000.codec import begin, transform
from cinemill.codecs.jpeg_2000.htj2k_layout import Plan, plan
from cinemill.codecs.jpeg_2000.layout import GUARD_BITS
from cinemill.codecs.jpeg_2000.markers import CAP, COD, EOC, QCD, SIZ, SOC, SOD, SOT, TLM
from cinemill.codecs.jpeg_2000.openjpeg import check_encodable, takes_colour_transform
from cinemill.codecs.jpeg_2000.openjph import OpenJph
from cinemill.codecs.memory import Memory
from cinemill.errors import UnsupportedPixelFormat
from cinemill.kernels.jpeg_2000.tables import COLUMNS, ROWS, START, STRIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.pixel_format import PixelFormat, Samples

_RPCL = 2
_HT = 1 << 17
"""Pcap 15: the codestream needs what Part 15 says (T.814 A.3)."""
_PART_15 = 1 << 14
"""The same in Rsiz."""
_HT_BLOCKS = 0x40
"""All code-blocks are HT ones (SPcod)."""

_memory = Memory()


def encode(frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
    """Encode frames as `cinemill.codecs.jpeg_2000.htj2k.Htj2k.encode` does."""
    check_encodable(pixels)
    how = _plan(pixels)
    return [_encode(frame, pixels, how) for frame in frames]


def _plan(pixels: PixelFormat) -> Plan:
    colour_transform = takes_colour_transform(pixels)
    return plan(
        pixels.rows, pixels.columns, pixels.samples, pixels.bits_stored, colour_transform=colour_transform
    )


def _encode(frame: Samples, pixels: PixelFormat, how: Plan) -> bytes:
    if frame.shape != pixels.shape or frame.dtype != pixels.dtype:
        raise UnsupportedPixelFormat(
            f"HTJ2K: expected {pixels.dtype} samples {pixels.shape}, found {frame.dtype} {frame.shape}"
        )
    blocks = (_encode_strips if _fits(frame, pixels) else _encode_planes)(frame, pixels, how)
    return OpenJph().encode([frame], pixels)[0] if blocks is None else _codestream(pixels, how, blocks)


class _Blocks(NamedTuple):
    """Code-blocks of a frame: which have bytes, where these begin, how many, and the bytes."""

    coded: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    data: NDArray[np.uint8]


def _no_blocks(how: Plan) -> _Blocks:
    coded, starts, lengths = np.empty((3, len(how.blocks)), np.int64)
    return _Blocks(coded, starts, lengths, _memory.array("data", (how.room,), np.uint8))


def _fits(frame: Samples, pixels: PixelFormat) -> bool:
    """Whether 16-bit lanes hold all that such samples give: 12 bits, 11 for the colour transform, and what varies no more."""
    from cinemill.kernels.htj2k.encode_wavelet import GAIN, LOW_GAIN, ROUNDED

    colour = takes_colour_transform(pixels)
    half = 0 if pixels.signed else 1 << pixels.bits_stored - 1
    low, high = -1 << pixels.bits_stored - 1, (1 << pixels.bits_stored - 1) - 1
    if pixels.bits_stored + colour > 12:
        low, high = int(frame.min()) - half, int(frame.max()) - half
    spread = (high - low) * (1 + colour) // 2 + 1
    limit = (1 << 15) - ROUNDED
    return (
        GAIN * spread <= limit
        and LOW_GAIN * spread + abs(low + high) // 2 <= limit
        and (4 * max(-low, high) <= limit or not colour)
    )


def _encode_strips(frame: Samples, pixels: PixelFormat, how: Plan) -> _Blocks:
    """Transform a frame and encode its code-blocks, strip by strip."""
    from cinemill.kernels.htj2k.encode_wavelet import BYTES, RGB, WORDS, analyse, row_memory

    form = BYTES if frame.itemsize == 1 else WORDS
    sign = 1 << (8 * frame.itemsize - 1) if pixels.signed else 0
    if pixels.samples == 3:
        if form == BYTES and pixels.bits_stored == 8 and not pixels.signed:
            form = RGB
        else:
            frame = np.ascontiguousarray(np.moveaxis(frame, -1, 0))
    samples = frame.reshape(-1).view(np.uint8)
    rows = _memory.array("rows", (row_memory(pixels.columns, pixels.samples),), np.uint8)
    coefficients = _memory.array("coefficients", (how.size,), np.int16)
    encoded = _no_blocks(how)
    end = needed = 0
    for strip, numbers in enumerate(how.strips):
        needed = analyse(
            samples,
            form,
            pixels.samples,
            pixels.rows,
            pixels.columns,
            how.layout.levels,
            takes_colour_transform(pixels),
            sign,
            sign or 1 << (pixels.bits_stored - 1),
            how.bands,
            rows,
            coefficients,
            strip,
        )
        end = _encode_blocks(coefficients, how.blocks, numbers, encoded, end)
    if needed >> (pixels.bits_stored - 1):
        raise UnsupportedPixelFormat(
            f"HTJ2K: expected values of {pixels.bits_stored} bits, found {frame.min()} to {frame.max()}; "
            "mask what lies above BitsStored first"
        )
    return encoded


def _encode_planes(frame: Samples, pixels: PixelFormat, how: Plan) -> _Blocks | None:
    """Transform a whole frame in 32-bit lanes, then encode its code-blocks, unless a coefficient has 16 bits or more."""
    from cinemill.kernels.htj2k.encode_wavelet import TAIL

    wide = _memory.array("wide", (frame.size,), np.int32)
    begin()
    transform(frame, pixels, how.layout.levels, wide)
    if max(int(wide.max()), -int(wide.min())) >= 1 << 15:
        return None
    coefficients = _memory.array("coefficients", (frame.size + TAIL,), np.int16)
    coefficients[: frame.size] = wide
    blocks = np.ascontiguousarray(how.layout.blocks[:, [START, STRIDE, COLUMNS, ROWS]])
    encoded = _no_blocks(how)
    _encode_blocks(coefficients, blocks, np.arange(len(blocks)), encoded, 0)
    return encoded


def _encode_blocks(
    coefficients: NDArray[np.int16],
    blocks: NDArray[np.int64],
    order: NDArray[np.int64],
    encoded: _Blocks,
    end: int,
) -> int:
    """Encode some code-blocks behind those that end at ``end``; returns where they end."""
    from cinemill.kernels.htj2k.encode_blocks import SCRATCH, encode_blocks
    from cinemill.kernels.htj2k.tables import mel_encoding, u_encoding, vlc_encoding

    return encode_blocks(
        coefficients,
        blocks,
        order,
        _memory.array("scratch", (SCRATCH,), np.uint8),
        vlc_encoding(),
        u_encoding(),
        mel_encoding(),
        encoded.data,
        end,
        encoded.coded,
        encoded.starts,
        encoded.lengths,
    )


def _codestream(pixels: PixelFormat, how: Plan, blocks: _Blocks) -> bytes:
    """Put code-blocks into packets, and those into a codestream of one tile-part."""
    from cinemill.kernels.jpeg_2000.packets import packets_room, write_packets

    packets = _memory.array("packets", (packets_room(len(how.packets), blocks.lengths),), np.uint8)
    size = write_packets(how.packets, how.layout.areas, *blocks, packets)
    tile_part = struct.pack(">HHHIBBH", SOT, 10, 0, 14 + size, 0, 1, SOD)
    tlm = struct.pack(">HHBBHI", TLM, 10, 0, 0x60, 0, 14 + size)
    return b"".join((_main_header(pixels), tlm, tile_part, packets[:size].data, EOC.to_bytes(2, "big")))


@lru_cache(maxsize=16)
def _main_header(pixels: PixelFormat) -> bytes:
    """SOC, SIZ, CAP, COD and QCD (T.800 A.4.1, A.5, A.6.1, A.6.4; T.814 A)."""
    size, layout = (pixels.columns, pixels.rows), _plan(pixels).layout
    component = struct.pack(">BBB", (pixels.bits_stored - 1) | pixels.signed << 7, 1, 1)
    siz = (
        struct.pack(">H8IH", _PART_15, *size, 0, 0, *size, 0, 0, pixels.samples) + component * pixels.samples
    )
    most = max(GUARD_BITS + exponent - 1 for exponent in layout.exponents)
    cap = struct.pack(">IH", _HT, max(most - 8, 0))
    cod = struct.pack(
        ">BBHBBBBBB", 0, _RPCL, 1, takes_colour_transform(pixels), layout.levels, 4, 4, _HT_BLOCKS, 1
    )
    qcd = bytes([GUARD_BITS << 5, *(value << 3 for value in layout.exponents)])
    segments = ((SIZ, siz), (CAP, cap), (COD, cod), (QCD, qcd))
    return SOC.to_bytes(2, "big") + b"".join(
        struct.pack(">HH", marker, 2 + len(segment)) + segment for marker, segment in segments
    )
