"""JPEG 2000 Part 1, lossless encoding by cinemill's own kernels, many code-blocks at once."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from cinemill._version import __version__
from cinemill.codecs.compiling import kernels_wanted
from cinemill.codecs.jpeg_2000 import decode as jpeg2000_decode
from cinemill.codecs.jpeg_2000.encode_lanes import check_needed, image, layout_of, place_whole, room
from cinemill.codecs.jpeg_2000.encode_lanes import transform as transform_in_lanes
from cinemill.codecs.jpeg_2000.layout import GUARD_BITS, Layout, repeated
from cinemill.codecs.jpeg_2000.markers import COD, EOC, QCD, SIZ, SOC, SOD, SOT
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg, check_encodable, takes_colour_transform
from cinemill.codecs.memory import shared as _memory
from cinemill.errors import UnsupportedPixelFormat
from cinemill.kernels.jpeg_2000.tables import COLUMNS, READ_AHEAD, ROWS, STRIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cinemill.codecs.codec import Codec, Encoder
    from cinemill.pixel_format import Buffer, PixelFormat, Samples

_BLOCKS_AT_ONCE = 384
"""So many keep all lanes busy almost to the end."""


def fastest() -> Encoder:
    """Return the kernels where they are wanted, else OpenJPEG."""
    return Jpeg2000() if kernels_wanted() else OpenJpeg()


class Jpeg2000:
    """cinemill's JPEG 2000 coders as an `cinemill.codecs.codec.Encoder`.

    It writes one tile, one quality layer, LRCP, 64 x 64 code-blocks, the reversible 5-3 wavelet with up to 5 levels,
    and the reversible colour transform for RGB: what `OpenJpeg` writes. It decodes what lossless encoders commonly write,
    and has OpenJPEG decode the rest (`cinemill.codecs.jpeg_2000.parameters.read_packets_header`).
    """

    name = "cinemill-jpeg2000"
    version = f"{__version__} with openjpeg {OpenJpeg.version}"
    batch = 8

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames as `OpenJpeg.decode` does, to the same samples."""
        return [frame for frame, _ in jpeg2000_decode.decode(codestreams, pixels)]

    def attributed(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[tuple[Samples, Codec]]:
        """Decode frames; with each comes who decoded it, this one or OpenJPEG."""
        told = jpeg2000_decode.decode(codestreams, pixels)
        return [(frame, self if ours else OpenJpeg()) for frame, ours in told]

    def encode(self, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
        """Encode arrays of ``pixels.shape`` and ``pixels.dtype``: 1 or 3 samples of 1 to 16 bits.

        Raises
        ------
        UnsupportedPixelFormat
            Other samples than these, or values beyond ``bits_stored``.
        """
        check_encodable(pixels)
        _memory.begin()
        layout = layout_of(pixels)
        at_once = -(-_BLOCKS_AT_ONCE // len(layout.blocks))
        groups = (frames[first : first + at_once] for first in range(0, len(frames), at_once))
        return [codestream for group in groups for codestream in _encode(group, pixels, layout)]


def _encode(frames: Sequence[Samples], pixels: PixelFormat, layout: Layout) -> list[bytes]:
    """Encode a few frames whose code-blocks share the lanes."""
    from cinemill.kernels.jpeg_2000.blocks import (
        code_blocks,
        count_planes,
        data_room,
        new_work,
        symbol_room,
        word_room,
    )
    from cinemill.kernels.jpeg_2000.mq import LANES, new_lanes

    for frame in frames:
        if frame.shape != pixels.shape or frame.dtype != pixels.dtype:
            raise UnsupportedPixelFormat(
                f"JPEG 2000: expected {pixels.dtype} samples {pixels.shape}, found {frame.dtype} {frame.shape}"
            )
    fit = min(room(frame, pixels) for frame in frames)
    if fit:
        blocks, coefficients = _transform_in_lanes(frames, pixels, layout, narrow=fit > 1)
    else:
        blocks, coefficients = _transform_wide(frames, pixels, layout)
    wide = not fit
    planes, starts, lengths = (np.empty(len(blocks), np.int64) for _ in range(3))
    count_planes(coefficients, wide, blocks, planes)
    longest_first = np.argsort(-planes * blocks[:, ROWS] * blocks[:, COLUMNS], kind="stable")
    most = int(planes.max())
    symbols = _memory.array("symbols", (LANES * symbol_room(most),), np.uint8)
    words = _memory.array("words", (LANES, word_room(most)), np.int64)
    space, end = data_room(pixels.rows * pixels.columns * pixels.samples * len(frames), most), -1
    while end < 0:
        data = _memory.array("data", (space,), np.uint8)
        lanes, work = new_lanes(words), new_work()
        end = code_blocks(
            coefficients, wide, blocks, planes, longest_first, symbols, lanes, work, data, starts, lengths
        )
        space *= 2
    per_frame = len(layout.blocks)
    parts = (slice(first, first + per_frame) for first in range(0, len(blocks), per_frame))
    return [_codestream(pixels, layout, planes[part], starts[part], lengths[part], data) for part in parts]


def _transform_in_lanes(
    frames: Sequence[Samples], pixels: PixelFormat, layout: Layout, *, narrow: bool
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Turn frames that fit 16-bit lanes into coefficients; return their table of code-blocks, and the coefficients' bytes."""
    whole = place_whole(pixels)
    more = 3 * int(whole.blocks[:, STRIDE].max()) + READ_AHEAD
    coefficients = _memory.array("coefficients", (len(frames) * whole.size + more,), np.int16)
    for index, frame in enumerate(frames):
        needed = transform_in_lanes(
            image(frame, pixels, layout.levels, narrow=narrow),
            whole,
            coefficients[index * whole.size :],
            _memory,
        )
        check_needed(needed, frame, pixels, "JPEG 2000")
    return repeated(whole.blocks, len(frames), whole.size), coefficients.view(np.uint8)


def _transform_wide(
    frames: Sequence[Samples], pixels: PixelFormat, layout: Layout
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Turn frames into coefficients of 32 bits; return what `_transform_in_lanes` does."""
    size = pixels.rows * pixels.columns * pixels.samples
    coefficients = _memory.array(
        "coefficients", (len(frames) * size + 3 * pixels.columns + READ_AHEAD,), np.int32
    )
    for index, frame in enumerate(frames):
        transform(frame, pixels, layout.levels, coefficients[index * size : (index + 1) * size])
    return repeated(layout.blocks, len(frames), size), coefficients.view(np.uint8)


def transform(frame: Samples, pixels: PixelFormat, levels: int, coefficients: NDArray[np.int32]) -> None:
    """Turn samples into wavelet coefficients, the memory for which is `cinemill.codecs.memory.shared`.

    Parameters
    ----------
    frame, pixels
        Samples, and what they are.
    levels
        Decomposition levels.
    coefficients
        Receives components x rows x columns.

    Raises
    ------
    UnsupportedPixelFormat
        Values are beyond ``bits_stored``.
    """
    from cinemill.kernels.jpeg_2000.wavelet import analyse, shift_levels, transform_colour

    planes = _memory.array("planes", (pixels.samples, pixels.rows, pixels.columns), np.int32)
    spare = _memory.array("spare", (pixels.rows, pixels.columns), np.int32)
    scratch = _memory.array("scratch", (2, pixels.columns // 2 + 3), np.int32)
    flat = planes.reshape(pixels.samples, -1)
    sign = 1 << (8 * frame.itemsize - 1) if pixels.signed else 0
    offset = sign or 1 << (pixels.bits_stored - 1)
    needed = shift_levels(frame.view(f"u{frame.itemsize}").reshape(-1), sign, offset, flat)
    check_needed(needed, frame, pixels, "JPEG 2000")
    if takes_colour_transform(pixels):
        transform_colour(flat)
    for plane, target in zip(planes, coefficients.reshape(planes.shape), strict=True):
        analyse(plane, levels, spare, scratch, target)


def _codestream(
    pixels: PixelFormat,
    layout: Layout,
    planes: NDArray[np.int64],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    data: NDArray[np.uint8],
) -> bytes:
    """Put the code-blocks of one frame into packets, and those into a codestream of one tile-part."""
    from cinemill.kernels.jpeg_2000.packets import packets_room, write_packets

    packets = np.empty(packets_room(len(layout.packets), len(lengths), int(lengths.sum())), np.uint8)
    size = write_packets(layout.packets, layout.areas, planes, starts, lengths, data, packets)
    tile_part = struct.pack(">HHHIBBH", SOT, 10, 0, 14 + size, 0, 1, SOD)
    return b"".join((_main_header(pixels, layout), tile_part, packets[:size].data, EOC.to_bytes(2, "big")))


def _main_header(pixels: PixelFormat, layout: Layout) -> bytes:
    """SOC, SIZ, COD and QCD (T.800 A.4.1, A.5.1, A.6.1, A.6.4)."""
    size = pixels.columns, pixels.rows
    component = struct.pack(">BBB", (pixels.bits_stored - 1) | pixels.signed << 7, 1, 1)
    siz = struct.pack(">H8IH", 0, *size, 0, 0, *size, 0, 0, pixels.samples) + component * pixels.samples
    cod = struct.pack(">BBHBBBBBB", 0, 0, 1, takes_colour_transform(pixels), layout.levels, 4, 4, 0, 1)
    qcd = bytes([GUARD_BITS << 5, *(value << 3 for value in layout.exponents)])
    segments = ((SIZ, siz), (COD, cod), (QCD, qcd))
    return SOC.to_bytes(2, "big") + b"".join(
        struct.pack(">HH", marker, 2 + len(segment)) + segment for marker, segment in segments
    )
