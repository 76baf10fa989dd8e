"""Decodes JPEG 2000 by cinemill's own kernels, many code-blocks at once, and leaves to OpenJPEG what they don't cover."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cinemill.codecs.jpeg_2000.markers import markers_in_packets
from cinemill.codecs.jpeg_2000.openjpeg import check_codestream, decode_checked, flip_sign
from cinemill.codecs.jpeg_2000.parameters import Packets, read_packets_header
from cinemill.codecs.jpeg_2000.precincts import Tables, lay_out_packets
from cinemill.codecs.memory import Memory
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.jpeg_2000.tables import ACROSS, COLUMNS, DOWN, ROWS, START

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cinemill.pixel_format import Buffer, PixelFormat, Samples

_BLOCKS_AT_ONCE = 512
"""So many can be put together to vectors of like ones, whatever their sizes."""
_BREAK_EVEN = 16
"""Code-blocks that take OpenJPEG as long as a vector whose other lanes are idle takes the kernels."""

_memory = Memory()


class _Frame(NamedTuple):
    """A codestream that the kernels decode, and which frame of a call it is."""

    number: int
    codestream: Buffer
    precision: int
    packets: Packets


def decode(codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
    """Decode frames as `OpenJpeg.decode` does."""
    checked = [check_codestream(data, pixels, number) for number, data in enumerate(codestreams)]
    alike: dict[object, list[_Frame]] = {}
    for number, (codestream, header) in enumerate(checked):
        packets = read_packets_header(codestream, header) if header.signed == pixels.signed else None
        if packets is not None:
            frame = _Frame(number, codestream, header.precision, packets)
            alike.setdefault((packets.parameters, header.precision), []).append(frame)
    decoded: dict[int, Samples] = {}
    for frames in alike.values():
        tables = lay_out_packets(frames[0].packets.parameters)
        if tables is not None:
            at_once = -(-_BLOCKS_AT_ONCE // len(tables.blocks))
            for first in range(0, len(frames), at_once):
                decoded |= _decode(frames[first : first + at_once], tables, pixels)
    return [
        decoded[number] if number in decoded else decode_checked(*whole, pixels, number)
        for number, whole in enumerate(checked)
    ]


def decode_irregular(data: Buffer, pixels: PixelFormat, number: int) -> Samples:
    """Decode a frame by the kernels alone, although code-blocks end with FF (see `cinemill.codecs.jpeg_2000.irregular`).

    Parameters
    ----------
    data
        The bare codestream.
    pixels
        Format of the frame.
    number
        Of the frame, for errors.

    Raises
    ------
    CodecError
        Marker codes stand elsewhere than at the end of code-blocks.
    UnsupportedPixelFormat
        The kernels don't decode such codestreams.
    """
    codestream, header = check_codestream(data, pixels, number, tolerant=True)
    packets = read_packets_header(codestream, header)
    tables = None if packets is None else lay_out_packets(packets.parameters)
    decoded: dict[int, Samples] = {}
    ends: set[int] = set()
    if packets is not None and tables is not None:
        frame = _Frame(number, codestream, header.precision, packets)
        coded = pixels.with_(signed=header.signed)
        decoded = _decode([frame], tables, coded, alone=True, ends=ends)
    if number not in decoded:
        raise UnsupportedPixelFormat("the kernels do not decode this kind of JPEG 2000", frame=number)
    for offset, code in markers_in_packets(codestream, header):
        if offset + 1 not in ends:
            raise CodecError(f"JPEG 2000: found marker {code} in a code-block", offset=offset, frame=number)
    samples = decoded[number]
    if header.signed == pixels.signed:
        return samples
    return np.ascontiguousarray(flip_sign(samples, header), pixels.dtype)


def _decode(
    frames: Sequence[_Frame],
    tables: Tables,
    pixels: PixelFormat,
    *,
    alone: bool = False,
    ends: set[int] | None = None,
) -> dict[int, Samples]:
    """Decode those of some frames with equal parameters whose packets are as expected.

    Parameters
    ----------
    frames, tables, pixels
        The frames, where their code-blocks are, and what they hold.
    alone
        Decode however few code-blocks there are: nobody else does it faster.
    ends
        Filled with the offsets behind each code-block's bytes, all frames joined.
    """
    from cinemill.kernels.jpeg_2000.decode_packets import read_packets

    per_frame, size = len(tables.blocks), pixels.rows * pixels.columns * pixels.samples
    break_even = 0 if alone else _BREAK_EVEN
    if len(frames) * per_frame < break_even:
        return {}
    data = np.frombuffer(b"".join(frame.codestream for frame in frames), np.uint8)
    most = int((tables.areas[:, ACROSS] * tables.areas[:, DOWN]).max())
    coded = np.empty((4, len(frames), per_frame), np.int64)
    sound, first = [], 0
    for place, frame in enumerate(frames):
        start, end = first + frame.packets.start, first + frame.packets.end
        if read_packets(data, start, end, tables.packets, tables.areas, most, *coded[:, place]):
            sound.append(place)
        first += len(frame.codestream)
    if np.count_nonzero(coded[0, sound]) < break_even:
        return {}
    if ends is not None:
        ends.update((coded[2] + coded[3])[coded[3] > 0].tolist())
    blocks = np.tile(tables.blocks, (len(sound), 1))
    blocks[:, START] += np.repeat(np.arange(len(sound)) * size, per_frame)
    coefficients = _memory.array("coefficients", (len(sound) * size,), np.int32)
    coefficients[:] = 0
    kept = np.ascontiguousarray(coded[:, sound]).reshape(4, -1)
    _decode_blocks(data, kept, blocks, coefficients)
    parts = coefficients.reshape(len(sound), size)
    return {
        frames[place].number: _restore(part, frames[place], pixels)
        for place, part in zip(sound, parts, strict=True)
    }


def _decode_blocks(
    data: NDArray[np.uint8],
    coded: NDArray[np.int64],
    blocks: NDArray[np.int64],
    coefficients: NDArray[np.int32],
) -> None:
    """Decode all code-blocks; ``coded`` has what `read_packets` found of them."""
    from cinemill.kernels.jpeg_2000.decode_blocks import MEMORY, decode_blocks, unstuffed_room
    from cinemill.kernels.jpeg_2000.decode_mq import LANES

    bit_planes, missing, starts, lengths = coded
    some = np.flatnonzero(bit_planes)
    # About as many bytes mean about as many symbols in the same places.
    alike = some[np.lexsort((-lengths[some], -blocks[some, ROWS], -blocks[some, COLUMNS]))]
    for first in range(0, len(alike), LANES):
        group = alike[first : first + LANES]
        decode_blocks(
            data,
            bit_planes,
            missing,
            starts,
            lengths,
            blocks,
            group,
            _memory.array("unstuffed", (unstuffed_room(lengths[group]),), np.uint8),
            _memory.array("lanes", (MEMORY,), np.uint8),
            coefficients,
        )


def _restore(coefficients: NDArray[np.int32], frame: _Frame, pixels: PixelFormat) -> Samples:
    """Turn wavelet coefficients, components x rows x columns, into samples."""
    from cinemill.kernels.jpeg_2000.decode_wavelet import restore_colour, restore_levels, synthesise

    parameters = frame.packets.parameters
    planes = _memory.array("planes", (pixels.samples, pixels.rows, pixels.columns), np.int32)
    spare = _memory.array("spare", (pixels.rows, pixels.columns), np.int32)
    scratch = _memory.array("scratch", (2, pixels.columns // 2 + 3), np.int32)
    for source, plane in zip(coefficients.reshape(planes.shape), planes, strict=True):
        synthesise(source, parameters.levels, spare, scratch, plane)
    flat = planes.reshape(pixels.samples, -1)
    if parameters.colour_transform:
        restore_colour(flat)
    half = 1 << frame.precision - 1
    lowest = -half if pixels.signed else 0
    samples = np.empty(pixels.shape, f"u{pixels.dtype.itemsize}")
    restore_levels(flat, lowest + half, lowest, lowest + 2 * half - 1, samples.reshape(-1))
    return samples.view(pixels.dtype)
