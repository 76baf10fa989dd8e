"""Decodes JPEG 2000 by cinemill's own kernels, many code-blocks at once, and leaves to OpenJPEG what they don't cover."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cinemill.codecs.compiling import Spared
from cinemill.codecs.jpeg_2000.layout import repeated
from cinemill.codecs.jpeg_2000.markers import markers_in_packets
from cinemill.codecs.jpeg_2000.openjpeg import check_codestream, decode_checked, flip_sign
from cinemill.codecs.jpeg_2000.parameters import Packets, Parameters, read_packets_header
from cinemill.codecs.jpeg_2000.precincts import Tables, lay_out_packets
from cinemill.codecs.jpeg_2000.subbands import Whole, kind_of_pixels, place_whole
from cinemill.codecs.memory import Memory
from cinemill.codecs.memory import shared as _memory
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.jpeg_2000.tables import ACROSS, COLUMNS, DOWN, ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cinemill.pixel_format import Buffer, PixelFormat, Samples

_BLOCKS_AT_ONCE = 2560
"""The more there are, the more alike are those that are put together to a vector; their coefficients take 20 MB."""
_BREAK_EVEN = 16
"""Code-blocks that take OpenJPEG as long as a vector whose other lanes are idle takes the kernels."""


_spared = Spared(60_000, "cinemill.kernels.jpeg_2000.decode_blocks._decode_blocks")
"""Code-blocks."""


class _Frame(NamedTuple):
    """A codestream that the kernels decode, and which frame of a call it is."""

    number: int
    codestream: Buffer
    precision: int
    packets: Packets


def decode(codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[tuple[Samples, bool]]:
    """Decode frames as `OpenJpeg.decode` does; with each comes whether the kernels decoded it."""
    _memory.begin()
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
            parts = -(-len(frames) * len(tables.blocks) // _BLOCKS_AT_ONCE)
            at_once = -(-len(frames) // parts)
            for first in range(0, len(frames), at_once):
                decoded |= _decode(frames[first : first + at_once], tables, pixels)
    return [
        (decoded[number], True) if number in decoded else (decode_checked(*whole, pixels, number), False)
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
    _memory.begin()
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

    per_frame = len(tables.blocks)
    blocks = len(frames) * per_frame
    break_even = 0 if alone else _BREAK_EVEN
    if not alone and (blocks < break_even or not _spared.worth_compiling(blocks)):
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
    kept = np.ascontiguousarray(coded[:, sound])
    chosen = [frames[place] for place in sound]
    if not chosen:
        return {}
    decoded = _decode_in_lanes(data, kept, chosen, pixels)
    left = [place for place, frame in enumerate(chosen) if frame.number not in decoded]
    if left:
        kept = np.ascontiguousarray(kept[:, left])
        decoded |= _decode_wide(data, kept, [chosen[place] for place in left], pixels, tables)
    return decoded


def _decode_in_lanes(
    data: NDArray[np.uint8], coded: NDArray[np.int64], frames: Sequence[_Frame], pixels: PixelFormat
) -> dict[int, Samples]:
    """Decode frames by way of 16-bit coefficients, but for those that might exceed these or whose samples must be limited.

    Parameters
    ----------
    data
        All codestreams.
    coded
        What `read_packets` found, for each frame and code-block.
    frames, pixels
        The frames, of equal parameters, and what they hold.
    """
    parameters = frames[0].packets.parameters
    whole, kind = place_whole(parameters), kind_of_pixels(pixels, parameters)
    half = 1 << frames[0].precision - 1
    if whole is None or kind is None or not _likely_fit(coded[0], whole, kind, half):
        return {}
    blocks = repeated(whole.blocks, len(frames), whole.coded)
    made = whole.size - whole.coded
    coefficients = _memory.array("samples", (len(frames) * whole.coded + made,), np.int16)
    coefficients[:] = 0
    _decode_blocks(data, coded.reshape(4, -1), blocks, coefficients)
    decoded = {}
    # What is made of a frame's subbands lies where those of the next one were.
    for place in reversed(range(len(frames))):
        part = coefficients[place * whole.coded :][: whole.size]
        samples = _restore_in_lanes(part, _largest(coded[0, place], whole), whole, kind, half, pixels)
        if samples is not None:
            decoded[frames[place].number] = samples
    return decoded


def _largest(bit_planes: NDArray[np.int64], whole: Whole) -> NDArray[np.int64]:
    """Return the largest magnitude that each subband can have, component x level x LL, HL, LH, HH."""
    largest = np.zeros((*whole.bands.shape[:2], 4), np.int64)
    np.maximum.at(largest.reshape(-1), whole.band_of, (1 << bit_planes) - 1)
    return largest


def _likely_fit(bit_planes: NDArray[np.int64], whole: Whole, kind: int, half: int) -> bool:
    """Tell whether 16 bits hold all of some frames, if what is reconstructed on the way has the range of samples."""
    from cinemill.kernels.jpeg_2000.decode_rows import LL, MOST, fits_lanes, reach

    largest = _largest(bit_planes.max(axis=0), whole)
    largest[..., LL] = np.maximum(largest[..., LL], 2 * half)
    lower = largest[:, 1:].reshape(-1, 4)
    return bool(fits_lanes(largest, kind, half)) and all(reach(level) <= MOST for level in lower)


def _restore_in_lanes(
    coefficients: NDArray[np.int16],
    largest: NDArray[np.int64],
    whole: Whole,
    kind: int,
    half: int,
    pixels: PixelFormat,
) -> Samples | None:
    """Turn 16-bit coefficients into samples; None if they do not fit after all.

    Parameters
    ----------
    coefficients, largest, whole
        All subbands, the largest magnitude that each can have, and where they are.
    kind, half, pixels
        Kind of the pixels, half of the values they can have, and their format.
    """
    from cinemill.kernels.jpeg_2000.decode_rows import (
        fits_lanes,
        ring_room,
        synthesise_low,
        synthesise_rows,
    )

    rows, columns = pixels.rows, pixels.columns
    if not synthesise_low(coefficients, rows, columns, whole.bands, largest):
        return None
    if not fits_lanes(largest, kind, half):
        return None
    samples = np.empty(pixels.shape, f"u{pixels.dtype.itemsize}")
    seen = synthesise_rows(
        coefficients,
        kind,
        rows,
        columns,
        half,
        half if pixels.signed else 0,
        whole.bands,
        0,
        _memory.array("ring", (ring_room(columns, pixels.samples),), np.int16),
        samples.reshape(-1).view(np.uint8),
        0,
        rows + 2,
    )
    return samples.view(pixels.dtype) if seen < 2 * half else None


def _decode_wide(
    data: NDArray[np.uint8],
    coded: NDArray[np.int64],
    frames: Sequence[_Frame],
    pixels: PixelFormat,
    tables: Tables,
) -> dict[int, Samples]:
    """Decode frames by way of 32-bit coefficients.

    Parameters
    ----------
    data, coded, frames, pixels
        As above.
    tables
        Where the code-blocks are in the planes of each component.
    """
    size = pixels.rows * pixels.columns * pixels.samples
    blocks = repeated(tables.blocks, len(frames), size)
    coefficients = _memory.array("coefficients", (len(frames) * size,), np.int32)
    coefficients[:] = 0
    _decode_blocks(data, coded.reshape(4, -1), blocks, coefficients)
    parts = coefficients.reshape(len(frames), size)
    decoded: dict[int, Samples] = {}
    for frame, part in zip(frames, parts, strict=True):
        samples = np.empty(pixels.shape, f"u{pixels.dtype.itemsize}")
        restore(part, frame.packets.parameters, frame.precision, samples, _memory, signed=pixels.signed)
        decoded[frame.number] = samples.view(pixels.dtype)
    return decoded


def _decode_blocks(
    data: NDArray[np.uint8],
    coded: NDArray[np.int64],
    blocks: NDArray[np.int64],
    coefficients: NDArray[np.int16] | NDArray[np.int32],
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


def restore(
    coefficients: NDArray[np.int32],
    parameters: Parameters,
    precision: int,
    samples: NDArray[Any],
    memory: Memory,
    *,
    signed: bool,
) -> None:
    """Turn wavelet coefficients of 32 bits into samples.

    Parameters
    ----------
    coefficients
        Components x rows x columns, in any shape.
    parameters, precision, signed
        How they are coded, and what the samples are.
    samples
        Receives them: unsigned, of 8 or 16 bits, rows x columns x components in any shape; signed ones in two's complement.
    memory
        Takes what lies between.
    """
    from cinemill.kernels.jpeg_2000.decode_wavelet import restore_colour, restore_levels, synthesise

    rows, columns = parameters.rows, parameters.columns
    planes = memory.array("planes", (parameters.samples, rows, columns), np.int32)
    spare = memory.array("spare", (rows, columns), np.int32)
    scratch = memory.array("scratch", (2, columns // 2 + 3), np.int32)
    for source, plane in zip(coefficients.reshape(planes.shape), planes, strict=True):
        synthesise(source, parameters.levels, spare, scratch, plane)
    flat = planes.reshape(parameters.samples, -1)
    if parameters.colour_transform:
        restore_colour(flat)
    half = 1 << precision - 1
    lowest = -half if signed else 0
    restore_levels(flat, lowest + half, lowest, lowest + 2 * half - 1, samples.reshape(-1))
