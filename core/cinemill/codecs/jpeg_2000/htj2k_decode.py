"""Decodes HTJ2K (T.814) by cinemill's own kernels, and leaves to OpenJPEG what they don't cover, or what is unusual."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from cinemill.codecs.jpeg_2000.alike import Pattern, packets_alike, pattern
from cinemill.codecs.jpeg_2000.decode import restore
from cinemill.codecs.jpeg_2000.openjpeg import check_codestream, decode_checked
from cinemill.codecs.jpeg_2000.parameters import Packets, Parameters, read_packets_header
from cinemill.codecs.jpeg_2000.precincts import Tables, lay_out_packets
from cinemill.codecs.jpeg_2000.subbands import STRIP_ROWS, UNCODED_BIT, Places, kind_of_pixels, place
from cinemill.codecs.memory import Memory
from cinemill.errors import CodecError
from cinemill.kernels.htj2k.decode_tables import quad_codes, u_codes
from cinemill.kernels.htj2k.tables import mel_decoding
from cinemill.kernels.jpeg_2000.tables import ACROSS, COLUMNS, DOWN, ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cinemill.codecs.jpeg_2000.markers import MainHeader
    from cinemill.pixel_format import Buffer, PixelFormat, Samples

_AT_ONCE = 8
"""Frames: the memory of one is kept as long as another one is."""

_memory = Memory()


class _Last(threading.local):
    """What a thread's last codestreams had in common."""

    pattern: Pattern | None = None


_last = _Last()


def attributed(codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[tuple[Samples, bool]]:
    """Decode frames as `OpenJpeg.decode` does; with each comes whether the kernels decoded it.

    Raises
    ------
    CodecError
        A codestream is damaged: more is told here than OpenJPEG sees, for code-blocks read exactly the bits they have.
    UnsupportedPixelFormat
        As `OpenJpeg.decode`.
    """
    decoded: list[tuple[Samples, bool]] = []
    while len(decoded) < len(codestreams):
        first = len(decoded)
        together = _decode_alike(codestreams[first : first + _AT_ONCE], pixels)
        for number in range(first, min(first + max(len(together), 1), len(codestreams))):
            samples = together[number - first] if together else None
            decoded.append(
                _decode_alone(codestreams[number], pixels, number) if samples is None else (samples, True)
            )
    return decoded


def _decode_alone(data: Buffer, pixels: PixelFormat, number: int) -> tuple[Samples, bool]:
    """Decode a codestream of which nothing is known, by OpenJPEG if it is nothing for the kernels."""
    codestream, header = check_codestream(data, pixels, number, tolerant=True)
    samples = decode_by_kernels(codestream, header, pixels, number)
    if samples is not None:
        return samples, True
    check_codestream(data, pixels, number)
    return decode_checked(codestream, header, pixels, number), False


def _decode_alike(codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples | None]:
    """Decode as many codestreams as have the headers of the last one; None is one that has to be looked at more closely."""
    from cinemill.kernels.htj2k.decode_bits import BEYOND, SOUND
    from cinemill.kernels.htj2k.decode_frames import WHOLE

    known = _last.pattern
    if known is None or known.pixels != pixels:
        return []
    bounds, at = [], 0
    for codestream in codestreams:
        packets = packets_alike(codestream, known)
        if packets is None:
            break
        bounds.append((at + packets[0], at + packets[1]))
        at += len(codestream)
    tables, places = lay_out_packets(known.parameters), place(known.parameters)
    kind = kind_of_pixels(pixels, known.parameters)
    if not bounds or tables is None or places is None or kind is None:
        return []
    chosen = codestreams[: len(bounds)]
    data = np.frombuffer(chosen[0] if len(chosen) == 1 else b"".join(chosen), np.uint8)
    coded, statuses = _read_frames(data, np.array(bounds), tables)
    readable = (statuses == WHOLE) & (coded[:, 0].max(1, initial=0) <= 1)
    if not readable.all():
        return [None] * len(bounds)
    samples: Samples = np.empty((len(bounds), *pixels.shape), f"u{pixels.dtype.itemsize}")
    statuses = _decode_lanes(data, coded, places, known, kind, samples)
    if BEYOND in statuses:
        _last.pattern = None
    return [
        frame if status == SOUND else None
        for frame, status in zip(samples.view(pixels.dtype), statuses, strict=True)
    ]


def decode_by_kernels(
    codestream: Buffer, header: MainHeader, pixels: PixelFormat, number: int
) -> Samples | None:
    """Decode what `check_codestream` returned, or return None if the kernels don't. Marker codes in packets are found here.

    Parameters
    ----------
    codestream, header
        Bare, and whole, and its main header.
    pixels
        Format of the frame.
    number
        Of the frame, for errors.

    Raises
    ------
    CodecError
        It is damaged.
    """
    from cinemill.kernels.htj2k.decode_bits import BEYOND, DAMAGED, SOUND

    packets = read_packets_header(codestream, header, high_throughput=True)
    tables = None if packets is None else lay_out_packets(packets.parameters)
    if packets is None or tables is None or header.signed != pixels.signed:
        return None
    data = np.frombuffer(codestream, np.uint8)
    coded = _read_packets(data, packets, tables, number)
    if coded is None:
        return None
    samples: Samples = np.empty(pixels.shape, f"u{pixels.dtype.itemsize}")
    places, kind = place(packets.parameters), kind_of_pixels(pixels, packets.parameters)
    known = pattern(codestream, header, packets, pixels)
    status = BEYOND
    if places is not None and kind is not None:
        told = Pattern(pixels, header, packets.parameters, (), b"") if known is None else known
        (status,) = _decode_lanes(data, coded[None], places, told, kind, samples[None])
    if status == SOUND:
        _last.pattern = known
    if status == BEYOND:
        status = _decode_wide(data, coded, tables, packets.parameters, header, samples)
    if status == DAMAGED:
        raise CodecError(
            "HTJ2K: expected code-blocks that read the bits they have, found one that doesn't; the codestream is damaged",
            frame=number,
        )
    return samples.view(pixels.dtype) if status == SOUND else None


def _read_packets(
    data: NDArray[np.uint8], packets: Packets, tables: Tables, number: int
) -> NDArray[np.int64] | None:
    """Read the packet headers; None if code-blocks have more passes than one, which lossless encoders do without."""
    from cinemill.kernels.htj2k.decode_frames import WHOLE

    (coded,), (status,) = _read_frames(data, np.array([(packets.start, packets.end)]), tables)
    if status >= 0:
        code = data[status : status + 2].tobytes().hex().upper()
        raise CodecError(
            f"JPEG 2000: expected packets, found marker {code}", offset=int(status), frame=number
        )
    if coded[0].max() > 1:
        return None
    if status != WHOLE:
        raise CodecError(
            "HTJ2K: expected packets that end with the tile-part, found others; the codestream is damaged",
            offset=packets.end,
            frame=number,
        )
    found: NDArray[np.int64] = coded
    return found


def _read_frames(
    data: NDArray[np.uint8], bounds: NDArray[np.int64], tables: Tables
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Call `read_frames`; returns what it found of each frame's code-blocks, and what became of each frame."""
    from cinemill.kernels.htj2k.decode_frames import read_frames

    coded = np.empty((len(bounds), 4, len(tables.blocks)), np.int64)
    statuses = np.empty(len(bounds), np.int64)
    most = int((tables.areas[:, ACROSS] * tables.areas[:, DOWN]).max())
    read_frames(data, bounds, tables.packets, tables.areas, most, coded, statuses)
    return coded, statuses


def _decode_lanes(
    data: NDArray[np.uint8],
    coded: NDArray[np.int64],
    places: Places,
    known: Pattern,
    kind: int,
    samples: Samples,
) -> NDArray[np.int64]:
    """Decode frames in 16-bit lanes, those whose coefficients fit; returns what became of each."""
    from cinemill.kernels.htj2k.decode_samples import MOST_U
    from cinemill.kernels.jpeg_2000.decode_rows import ring_room

    header, parameters = known.header, known.parameters
    half = 1 << header.precision - 1
    return _decode_blocks(
        data,
        coded,
        places,
        min(max(parameters.bit_planes) + 1, MOST_U),
        _memory.array("subbands", (places.size,), np.int16),
        (kind, parameters.rows, parameters.columns, half, half if header.signed else 0, 2 * half - 1),
        _memory.array("ring", (ring_room(parameters.columns, parameters.samples),), np.int16),
        samples.reshape(len(samples), -1).view(np.uint8),
    )


def _decode_blocks(
    data: NDArray[np.uint8],
    coded: NDArray[np.int64],
    places: Places,
    limit: int,
    coefficients: NDArray[np.int16],
    kind: tuple[int, int, int, int, int, int],
    ring: NDArray[np.int16],
    pixels: NDArray[np.uint8],
) -> NDArray[np.int64]:
    """Call `decode_frames`, which names what is passed."""
    from cinemill.kernels.htj2k.decode_blocks import MEMORY
    from cinemill.kernels.htj2k.decode_frames import decode_frames

    bands, frames = places.bands, len(coded)
    statuses = np.empty(frames, np.int64)
    decode_frames(
        data,
        coded,
        places.blocks,
        np.argsort(places.alike | (coded[:, 0] == 0).astype(np.int64) << UNCODED_BIT),
        places.strips,
        limit,
        _memory.array("blocks", (MEMORY,), np.uint8),
        quad_codes(),
        u_codes(),
        mel_decoding(),
        coefficients,
        np.zeros((frames, bands.shape[0], bands.shape[1], 4), np.int64),
        bands,
        STRIP_ROWS,
        *kind,
        ring,
        pixels,
        statuses,
    )
    return statuses


def _decode_wide(
    data: NDArray[np.uint8],
    coded: NDArray[np.int64],
    tables: Tables,
    parameters: Parameters,
    header: MainHeader,
    samples: Samples,
) -> int:
    """Decode a frame to coefficients of 32 bits, and from them as Part 1 is."""
    from cinemill.kernels.htj2k.decode_bits import SOUND
    from cinemill.kernels.htj2k.decode_blocks import NO_PIXELS
    from cinemill.kernels.htj2k.decode_samples import MOST_WIDE_U

    size = parameters.samples * parameters.rows * parameters.columns
    coefficients = _memory.array("coefficients", (size,), np.int32)
    (status,) = _decode_blocks(
        data,
        coded[None],
        _planes(tables),
        -min(max(parameters.bit_planes) + 1, MOST_WIDE_U),
        coefficients.view(np.int16),
        (NO_PIXELS, 0, 0, 0, 0, 0),
        _memory.array("ring", (0,), np.int16),
        np.empty((1, 0), np.uint8),
    )
    if status != SOUND:
        return int(status)
    restore(coefficients, parameters, header.precision, samples, _memory, signed=header.signed)
    return SOUND


def _planes(tables: Tables) -> Places:
    """Place code-blocks in planes of all components, as Part 1 has them; there are no strips."""
    return Places(
        bands=np.zeros((0, 0, 8), np.int64),
        blocks=tables.blocks,
        alike=(tables.blocks[:, COLUMNS] << 8 | tables.blocks[:, ROWS]) << UNCODED_BIT + 1,
        strips=np.array([0, len(tables.blocks)]),
        size=0,
    )
