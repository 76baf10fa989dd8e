"""Mutated codestreams against other decoders: ``python -m tests.fuzz.decoders rle 1000000 [seed]``.

Each outcome must be the samples that a naive decoder (OpenJPEG for JPEG 2000) finds, or an error of ours where it finds none. Codestreams
end where memory ends, so that reading beyond them is a crash.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from cinemill.codecs.jpeg.lossless import JpegLossless
from cinemill.codecs.jpeg_2000 import codec as jpeg2000
from cinemill.codecs.jpeg_2000 import decode as jpeg2000_decode
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg
from cinemill.codecs.rle import Rle
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.pixel_format import PixelFormat
from tests.support import naive_jpeg_lossless, naive_rle
from tests.support.guarded_memory import GuardedMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cinemill.codecs.codec import Codec

    Case = tuple[bytes, PixelFormat]
    Naive = Callable[[bytes, PixelFormat], np.ndarray | None]


def mutated(rng: np.random.Generator, codestream: bytes) -> bytes:
    """Change, cut, lengthen, repeat or drop a few bytes; headers are hit as often as all the rest."""
    data = bytearray(codestream)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        size = max(len(data), 1)
        place = int(rng.integers(0, min(size, 80) if rng.random() < 0.5 else size))
        match int(rng.integers(0, 8)):
            case 0 | 1:
                data[place : place + 1] = rng.bytes(1)
            case 2 if data:
                data[min(place, len(data) - 1)] ^= 1 << int(rng.integers(0, 8))
            case 3:
                del data[place:]
            case 4:
                data[place:place] = rng.bytes(int(rng.integers(1, 40)))
            case 5:
                del data[place : place + int(rng.integers(1, 40))]
            case 6:
                data[place:place] = data[place : place + int(rng.integers(1, 200))]
            case _:
                extreme = (0, 1, 0x7F, 0x80, 0xFF)[int(rng.integers(0, 5))]
                data[place : place + int(rng.integers(1, 5))] = bytes([extreme]) * int(rng.integers(1, 5))
    return bytes(data)


def pixel_format(rows: int, columns: int, samples: int, bits: int, stored: int | None = None) -> PixelFormat:
    space = "MONOCHROME2" if samples == 1 else "RGB"
    return PixelFormat(
        rows, columns, samples, bits, stored or bits, signed=False, photometric_interpretation=space
    )


def random_frame(rng: np.random.Generator, pixels: PixelFormat) -> np.ndarray:
    """Noise, a gradient, long runs or a constant."""
    top = (1 << pixels.bits_stored) - 1
    match int(rng.integers(0, 4)):
        case 0:
            frame = rng.integers(0, top, pixels.shape, np.uint32, endpoint=True)
        case 1:
            frame = np.add.accumulate(rng.integers(0, 3, pixels.shape, np.uint32), axis=1) & top
        case 2:
            frame = np.repeat(rng.integers(0, top, pixels.shape, np.uint32, endpoint=True), 9, axis=1)
            frame = np.ascontiguousarray(frame[:, : pixels.columns])
        case _:
            frame = np.full(pixels.shape, int(rng.integers(0, top, endpoint=True)), np.uint32)
    return frame.astype(pixels.dtype)


def rle_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Codestreams of all sample sizes."""
    for samples, bits in ((1, 1), (1, 8), (1, 16), (1, 32), (3, 8), (3, 16), (3, 32), (4, 8)):
        for rows, columns in ((1, 1), (7, 13), (2, 300), (40, 5)):
            pixels = pixel_format(rows, columns, samples, bits)
            yield Rle().encode([random_frame(rng, pixels)], pixels)[0], pixels


def jpeg_lossless_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Small codestreams of all precisions, predictors, tables and kinds of scan."""
    tables = naive_jpeg_lossless.FIVE_BITS, naive_jpeg_lossless.SHORT_FIRST, naive_jpeg_lossless.LONG_CODES
    for number in range(40):
        precision = int(rng.choice([2, 7, 8, 8, 10, 12, 16]))
        samples = int(rng.choice([1, 1, 3, 4]))
        rows, columns = (int(size) for size in rng.integers(1, 9, 2))
        pixels = pixel_format(rows, columns * 2, samples, 8 if precision <= 8 else 16, precision)
        chosen = tuple(tables[int(which)] for which in rng.integers(0, 3, samples))
        how = naive_jpeg_lossless.Scan(
            precision,
            selection=number % 7 + 1,
            point_transform=int(rng.integers(0, 2)),
            restart_rows=int(rng.integers(0, 3)),
            interleaved=bool(rng.integers(0, 2)),
            tables=chosen if rng.integers(0, 2) else chosen[:1],
        )
        frame = random_frame(rng, pixels).reshape(rows, columns * 2, samples)
        signed = bool(rng.integers(0, 2))
        yield naive_jpeg_lossless.encode(frame, how), pixels.with_(signed=signed)


def jpeg_2000_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Codestreams by two encoders, of which the kernels decode even those with few code-blocks."""
    jpeg2000_decode._BREAK_EVEN = 0
    for number in range(40):
        samples, stored = int(rng.choice([1, 3])), int(rng.choice([4, 8, 8, 12, 16]))
        rows, columns = (int(size) for size in rng.integers(1, 90, 2))
        pixels = pixel_format(rows, columns, samples, 8 if stored <= 8 else 16, stored)
        encoder = jpeg2000.Jpeg2000() if number % 2 else OpenJpeg()
        codestream = encoder.encode([random_frame(rng, pixels)], pixels)[0]
        for _ in range(3):
            yield mutated_packets(rng, codestream), pixels


def mutated_packets(rng: np.random.Generator, codestream: bytes) -> bytes:
    """Change a byte of the packets, which no check notices."""
    data, start = bytearray(codestream), codestream.find(b"\xff\x93") + 2
    if rng.random() < 0.7 and start < len(data) - 2:
        data[int(rng.integers(start, len(data) - 2))] = int(rng.integers(0, 256))
    return bytes(data)


def openjpeg_samples(codestream: bytes, pixels: PixelFormat) -> np.ndarray | None:
    """What OpenJPEG decodes."""
    return decoded(OpenJpeg(), codestream, pixels)


def decoded(decoder: Codec, codestream: bytes, pixels: PixelFormat) -> np.ndarray | None:
    """Samples, or None where the decoder finds an error."""
    try:
        return decoder.decode([codestream], pixels)[0]
    except (CodecError, UnsupportedPixelFormat):
        return None


_CARRY = re.compile(rb"\xff[\x80-\x8f]")
"""A carry in a stuffed bit. OpenJPEG adds it a few symbols after ours does, which matters only where no encoder put it."""

TARGETS: dict[str, tuple[Codec, Callable[[np.random.Generator], Iterator[Case]], Naive]] = {
    "rle": (Rle(), rle_cases, naive_rle.decode),
    "jpeg-lossless": (JpegLossless(), jpeg_lossless_cases, naive_jpeg_lossless.decode),
    "jpeg-2000": (jpeg2000.fastest(), jpeg_2000_cases, openjpeg_samples),
}


def run(target: str, count: int, seed: int) -> Counter[str]:
    """Decode `count` mutated codestreams and count the outcomes; an unexpected one raises AssertionError."""
    decoder, cases_of, naive = TARGETS[target]
    rng = np.random.default_rng(seed)
    memory = GuardedMemory()
    outcomes: Counter[str] = Counter()
    cases: list[Case] = []
    for number in range(count):
        if number % 500 == 0:
            cases = list(cases_of(rng))
        codestream, pixels = cases[int(rng.integers(0, len(cases)))]
        codestream = mutated(rng, codestream)
        if target == "jpeg-2000" and _CARRY.search(codestream):
            continue
        expected = naive(codestream, pixels)
        where = f"{target} {seed}:{number} {pixels} {codestream.hex()}"
        try:
            found = decoder.decode([memory.copy(codestream).data], pixels)[0]
        except (CodecError, UnsupportedPixelFormat) as error:
            found, frame = None, error.frame
        if found is None or expected is None:
            assert found is expected, where
            assert frame == 0, where
            outcomes["error"] += 1
        else:
            assert found.dtype == pixels.dtype, where
            assert np.array_equal(found, expected), where
            outcomes["exact samples"] += 1
    return outcomes


if __name__ == "__main__":
    started = time.perf_counter()
    name, amount, *first_seed = sys.argv[1:]
    outcome = run(name, int(amount), int(*first_seed or ["0"]))
    sys.stdout.write(f"{name}: {dict(outcome)} in {time.perf_counter() - started:.0f} s\n")
