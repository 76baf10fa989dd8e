"""Damaged HTJ2K: ``python -m tests.fuzz.htj2k_decode 1000000 [seed]``.

Codestreams end, and every array of the decoder lies, beside pages that can't be touched: reading or writing beyond them is a crash.
Some code-blocks are decoded by the naive decoder too, which has to find the same samples or the same lack of sense.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cinemill.codecs import memory
from cinemill.codecs.jpeg_2000 import htj2k_decode
from cinemill.codecs.jpeg_2000.openjpeg import check_codestream
from cinemill.codecs.jpeg_2000.openjph import OpenJph
from cinemill.codecs.jpeg_2000.parameters import Packets, read_packets_header
from cinemill.codecs.jpeg_2000.precincts import lay_out_packets
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.kernels.htj2k import decode_blocks, decode_samples
from cinemill.kernels.htj2k.decode_bits import DAMAGED, SOUND, UNUSUAL
from cinemill.kernels.htj2k.decode_tables import quad_codes, u_codes
from cinemill.kernels.htj2k.tables import mel_decoding
from cinemill.kernels.jpeg_2000 import decode_wavelet
from cinemill.pixel_format import PixelFormat
from tests.fuzz.decoders import mutated, pixel_format
from tests.support import guarded_memory, naive_htj2k

if TYPE_CHECKING:
    from collections.abc import Iterator


class Block(NamedTuple):
    """The code-block of LL."""

    data: bytes
    columns: int
    rows: int
    samples: np.ndarray


def random_frame(rng: np.random.Generator, pixels: PixelFormat) -> np.ndarray:
    """Samples around the middle, by more or less; seldom flat, or beyond the range and cut."""
    spread = rng.choice([0.0, 0.4, 2.0, 9.0, 60.0, 3000.0])
    lowest = -(1 << pixels.bits_stored - 1) if pixels.signed else 0
    values = rng.laplace(lowest + (1 << pixels.bits_stored - 1), spread, pixels.shape)
    values[rng.random(pixels.shape) < rng.choice([0, 0, 0.01])] = lowest
    return np.clip(np.rint(values), lowest, lowest + (1 << pixels.bits_stored) - 1).astype(pixels.dtype)


def cases(rng: np.random.Generator) -> Iterator[tuple[bytes, PixelFormat, np.ndarray]]:
    """Small codestreams of OpenJPH."""
    for _ in range(24):
        samples, bits = int(rng.choice([1, 1, 3])), int(rng.choice([1, 4, 8, 8, 8, 12, 12, 16]))
        rows, columns = (int(side) for side in rng.integers(1, 140, 2))
        pixels = pixel_format(rows, columns, samples, 8 if bits <= 8 else 16, bits)
        pixels = pixels.with_(
            signed=bool(rng.integers(0, 2)),
            photometric_interpretation=str(rng.choice(["RGB", "YBR_FULL"]))
            if samples == 3
            else "MONOCHROME2",
        )
        frame = random_frame(rng, pixels)
        yield OpenJph().encode([frame], pixels)[0], pixels, frame


def damaged(rng: np.random.Generator, codestream: bytes) -> bytes:
    """Hit the packets, or now and then anything."""
    if rng.random() < 0.1:
        return mutated(rng, codestream)
    data, start = bytearray(codestream), codestream.find(b"\xff\x93") + 2
    if start < len(data) - 2:
        for _ in range(int(rng.choice([1, 1, 2, 8, 30]))):
            at = int(rng.integers(start, len(data) - 2))
            data[at] = int(rng.choice([0, 0xFF, 0x7F, *rng.integers(0, 256, 3)]))
    return bytes(data)


def run(count: int, seed: int) -> Counter[str]:
    """Decode ``count`` damaged codestreams, and count what became of them."""
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    place = guarded_memory.GuardedMemory()
    streams: list[tuple[bytes, PixelFormat, np.ndarray]] = []
    with guarded_memory.guarding(memory):
        for number in range(count):
            if number % 2000 == 0:
                streams = list(cases(rng))
                htj2k_decode._memory = memory.Memory()
            stream, pixels, frame = streams[int(rng.integers(0, len(streams)))]
            data = place.copy(damaged(rng, stream)).data
            try:
                whole = check_codestream(data, pixels, 0, tolerant=True)
                found = htj2k_decode.decode_by_kernels(*whole, pixels, 0)
            except (CodecError, UnsupportedPixelFormat):
                outcomes["refused"] += 1
                continue
            if found is None:
                outcomes["handed over"] += 1
            else:
                outcomes["right" if np.array_equal(found, frame) else "wrong"] += 1
    return outcomes


def block(rng: np.random.Generator, rows: int, columns: int, bits: int) -> Block:
    """One code-block, by OpenJPH, of samples that have up to so many bits and a sign."""
    spread = rng.choice([0.2, 1.0, 5.0, float(1 << bits)])
    samples = np.clip(np.rint(rng.laplace(0, spread, (rows, columns))), 1 - (1 << bits), (1 << bits) - 1)
    samples = np.where(rng.random(samples.shape) < rng.choice([0.05, 1]), samples, 0).astype(np.int16)
    if not samples.any():
        samples[0, 0] = 1
    stream, packets = _encoded(smooth_frame(samples))
    if packets.parameters.levels == 0:  # imagecodecs 2026.10 counts resolutions, 2026.3 decompositions
        stream, packets = _encoded(samples)
    tables = lay_out_packets(packets.parameters)
    assert tables is not None
    coded = htj2k_decode._read_packets(np.frombuffer(stream, np.uint8), packets, tables, 0)
    assert coded is not None
    start, length = coded[2:, 0]
    return Block(stream[start : start + length], columns, rows, samples.astype(np.int64))


def _encoded(frame: np.ndarray) -> tuple[bytes, Packets]:
    """Have OpenJPH encode a frame with as few decompositions as it can."""
    import imagecodecs

    stream = bytes(imagecodecs.htj2k_encode(frame, reversible=True, resolutions=1, planar=False))
    pixels = pixel_format(frame.shape[0], frame.shape[1], 1, 16).with_(signed=True)
    packets = read_packets_header(*check_codestream(stream, pixels, 0), high_throughput=True)
    assert packets is not None
    return stream, packets


def smooth_frame(low: np.ndarray) -> np.ndarray:
    """A frame of which one decomposition leaves these samples and zeros."""
    rows, columns = (2 * side - 1 for side in low.shape)
    coefficients, frame = np.zeros((rows, columns), np.int32), np.zeros((rows, columns), np.int32)
    coefficients[: low.shape[0], : low.shape[1]] = low
    scratch = np.zeros((2, columns // 2 + 3), np.int32)
    decode_wavelet.synthesise(coefficients, 1, np.zeros_like(frame), scratch, frame)
    return frame.astype(np.int16)


def by_kernel(data: np.ndarray, columns: int, rows: int, *, wide: bool) -> tuple[int, np.ndarray]:
    """Decode a code-block twice over, beside itself."""
    stride = (columns + 31) // 16 * 16
    table = np.array([(at, stride, columns, rows, 0) for at in (0, rows * stride)])
    coded = np.array([(1, 1), (0, 0), (0, 0), (data.size, data.size)])
    samples = np.full((2, rows, stride), 99, np.int32 if wide else np.int16)
    largest = np.zeros((1, 1, 4), np.int64)
    status = decode_blocks.decode_frame(
        data,
        coded,
        table,
        np.arange(2),
        np.array([0, 2]),
        -decode_samples.MOST_WIDE_U if wide else decode_samples.MOST_U,
        np.full(decode_blocks.MEMORY, 0xA5, np.uint8),
        quad_codes(),
        u_codes(),
        mel_decoding(),
        samples.reshape(-1).view(np.int16),
        largest,
        np.zeros((1, 1, 8), np.int64),
        64,
        decode_blocks.NO_PIXELS,
        0,
        0,
        0,
        0,
        0,
        np.zeros(1, np.int16),
        np.zeros(1, np.uint8),
    )
    if status == SOUND:
        np.testing.assert_array_equal(samples[0, :, :columns], samples[1, :, :columns])
        if not wide:
            assert largest[0, 0, 0] >= np.abs(samples[0, :, :columns].astype(int)).max()
    return status, samples[0, :, :columns]


def compare(data: bytes, columns: int, rows: int, place: guarded_memory.GuardedMemory, *, wide: bool) -> str:
    """Decode a code-block by the kernel and naively."""
    where = f"{columns} x {rows}, wide {wide}: {data.hex()}"
    most = decode_samples.MOST_WIDE_U if wide else decode_samples.MOST_U
    try:
        expected, left_over = naive_htj2k.decode(data, columns, rows, most)
    except naive_htj2k.Damaged:
        expected, left_over = None, 0
    status, found = by_kernel(place.copy(data), columns, rows, wide=wide)
    if expected is None:
        assert status != SOUND, where
        return "refused alike"
    if status == SOUND:
        np.testing.assert_array_equal(found, expected, where)
        return "alike"
    # A marker code is damage even in bytes that no sample needs.
    assert left_over or re.search(rb"\xff[\x90-\xff]", data), where
    assert status in {DAMAGED, UNUSUAL}, where
    return "bytes left over"


def run_blocks(count: int, seed: int) -> Counter[str]:
    """Compare the decoding of ``count`` small code-blocks, most of them damaged, with the naive one."""
    rng = np.random.default_rng(seed)
    place = guarded_memory.GuardedMemory()
    outcomes: Counter[str] = Counter()
    for number in range(count):
        if number % 20 == 0:
            rows, columns = (int(side) for side in rng.integers(1, 20, 2))
            bits = int(rng.integers(1, 16))
            sound = block(rng, rows, columns, bits)
        data = sound.data if number % 20 == 0 else mutated(rng, sound.data)
        outcomes[compare(data, columns, rows, place, wide=bool(number & 1 or bits > 12))] += 1
    return outcomes


if __name__ == "__main__":
    started = time.perf_counter()
    amount, seed = int(sys.argv[1]), int((*sys.argv, "0")[2])
    sys.stdout.write(f"code-blocks: {dict(run_blocks(amount // 100, seed))}\n")
    sys.stdout.write(f"codestreams: {dict(run(amount, seed))} in {time.perf_counter() - started:.0f} s\n")
