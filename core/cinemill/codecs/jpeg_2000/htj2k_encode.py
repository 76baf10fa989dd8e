"""Encodes HTJ2K (T.814), lossless, by cinemill's own kernels.

Code-blocks are encoded in 16-bit lanes. The wavelet has them too where all that samples could give fits, else it is the one of
JPEG 2000 Part 1; frames that have a coefficient of 16 bits or more are left to OpenJPH.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cinemill.codecs.jpeg_2000.codec import transform
from cinemill.codecs.jpeg_2000.encode_lanes import check_needed, image, room
from cinemill.codecs.jpeg_2000.htj2k_layout import Plan, plan
from cinemill.codecs.jpeg_2000.layout import GUARD_BITS
from cinemill.codecs.jpeg_2000.markers import CAP, COD, EOC, QCD, SIZ, SOC, SOD, SOT, TLM
from cinemill.codecs.jpeg_2000.openjpeg import check_encodable, takes_colour_transform
from cinemill.codecs.jpeg_2000.openjph import OpenJph
from cinemill.codecs.memory import Memory, shared
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
    fit = room(frame, pixels)
    if fit:
        packets: NDArray[np.uint8] | None = _encode_strips(frame, pixels, how, narrow=fit > 1)
    else:
        packets = _encode_planes(frame, pixels, how)
    return OpenJph().encode([frame], pixels)[0] if packets is None else _codestream(pixels, packets)


def _encode_strips(frame: Samples, pixels: PixelFormat, how: Plan, *, narrow: bool) -> NDArray[np.uint8]:
    """Transform a frame and encode its code-blocks, strip by strip; returns its packets.

    Parameters
    ----------
    frame, pixels, how
        The frame, its format, and how such frames are encoded.
    narrow
        Whether sums of two coefficients fit 16 bits.
    """
    from cinemill.kernels.jpeg_2000.encode_wavelet import row_memory

    packets, needed = _encode_frame(
        (
            *image(frame, pixels, how.layout.levels, narrow=narrow),
            how.bands,
            _memory.array("rows", (row_memory(pixels.columns, pixels.samples),), np.uint8),
        ),
        _memory.array("coefficients", (how.size,), np.int16),
        (how.blocks, how.order, how.strips),
        how,
    )
    check_needed(needed, frame, pixels, "HTJ2K")
    return packets


def _encode_planes(frame: Samples, pixels: PixelFormat, how: Plan) -> NDArray[np.uint8] | None:
    """Transform a whole frame in 32-bit lanes, then encode its code-blocks, unless a coefficient has 16 bits or more."""
    from cinemill.kernels.htj2k.encode_frame import ANALYSED
    from cinemill.kernels.jpeg_2000.encode_wavelet import TAIL

    wide = _memory.array("wide", (frame.size,), np.int32)
    shared.begin()
    transform(frame, pixels, how.layout.levels, wide)
    if max(int(wide.max()), -int(wide.min())) >= 1 << 15:
        return None
    coefficients = _memory.array("coefficients", (frame.size + TAIL,), np.int16)
    coefficients[: frame.size] = wide
    blocks = np.ascontiguousarray(how.layout.blocks[:, [START, STRIDE, COLUMNS, ROWS]])
    nothing = np.empty(0, np.uint8)
    packets, _ = _encode_frame(
        (nothing, ANALYSED, *[0] * 5, False, 0, 0, how.bands, nothing),
        coefficients,
        (blocks, np.arange(len(blocks)), np.array([0, len(blocks)])),
        how,
    )
    return packets


def _encode_frame(
    image: tuple[Any, ...], coefficients: NDArray[np.int16], blocks: tuple[Any, ...], how: Plan
) -> tuple[NDArray[np.uint8], int]:
    """Call `encode_frame`, which names what is passed; returns the packets, and the bits that samples need.

    Parameters
    ----------
    image
        Its first arguments, as far as the coefficients.
    coefficients
        Of all subbands.
    blocks
        Where code-blocks are in them, and in which order they are encoded.
    how
        How such frames are encoded.
    """
    from cinemill.kernels.htj2k.encode_blocks import SCRATCH
    from cinemill.kernels.htj2k.encode_frame import encode_frame
    from cinemill.kernels.htj2k.tables import mel_encoding, u_encoding, vlc_encoding
    from cinemill.kernels.jpeg_2000.packets import packets_room, write_packets

    count = len(how.blocks)
    found = _memory.array("found", (3, count), np.int64)
    data = _memory.array("data", (how.room,), np.uint8)
    arguments: list[Any] = [
        *image,
        coefficients,
        *blocks,
        _memory.array("scratch", (SCRATCH,), np.uint8),
        vlc_encoding(),
        u_encoding(),
        mel_encoding(),
        found,
        data,
    ]
    needed = encode_frame(*arguments)
    packets = _memory.array(
        "packets", (packets_room(len(how.packets), count, int(found[2].sum())),), np.uint8
    )
    size = write_packets(how.packets, how.layout.areas, found[0], found[1], found[2], data, packets)
    return packets[:size], needed


def _codestream(pixels: PixelFormat, packets: NDArray[np.uint8]) -> bytes:
    """Put packets into a codestream of one tile-part."""
    tile_part = struct.pack(">HHHIBBH", SOT, 10, 0, 14 + packets.size, 0, 1, SOD)
    tlm = struct.pack(">HHBBHI", TLM, 10, 0, 0x60, 0, 14 + packets.size)
    return b"".join((_main_header(pixels), tlm, tile_part, packets.data, EOC.to_bytes(2, "big")))


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
