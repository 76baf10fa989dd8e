"""Mutated codestreams against naive decoders: ``python tests/kernels/fuzz_decoders.py rle 1000000 [seed]``.

Each outcome must be the samples that a naive decoder finds, or a `CodecError` where it finds none.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import naive_rle
import numpy as np

from cinemill.codecs.rle import Rle
from cinemill.errors import CodecError
from cinemill.model import PixelFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Case = tuple[bytes, PixelFormat]
    Naive = Callable[[bytes, PixelFormat], np.ndarray | None]


def mutated(rng: np.random.Generator, codestream: bytes) -> bytes:
    """Change, cut, lengthen, repeat or drop a few bytes; headers are hit as often as all the rest."""
    data = bytearray(codestream)
    for _ in range(int(rng.integers(1, 4))):
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


def _pixels(rows: int, columns: int, samples: int, bits: int, stored: int | None = None) -> PixelFormat:
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
            pixels = _pixels(rows, columns, samples, bits)
            yield Rle().encode([random_frame(rng, pixels)], pixels)[0], pixels


TARGETS: dict[str, tuple[type[Rle], Callable[[np.random.Generator], Iterator[Case]], Naive]] = {
    "rle": (Rle, rle_cases, naive_rle.decode),
}


def run(target: str, count: int, seed: int) -> Counter[str]:
    """Decode `count` mutated codestreams and count the outcomes; an unexpected one raises AssertionError."""
    codec, cases_of, naive = TARGETS[target]
    decoder = codec()
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    cases: list[Case] = []
    for number in range(count):
        if number % 500 == 0:
            cases = list(cases_of(rng))
        codestream, pixels = cases[int(rng.integers(0, len(cases)))]
        codestream = mutated(rng, codestream)
        expected = naive(codestream, pixels)
        where = f"{target} {seed}:{number} {pixels} {codestream.hex()}"
        try:
            found = decoder.decode([codestream], pixels)[0]
        except CodecError as error:
            found, frame = None, error.frame
        if found is None or expected is None:
            assert found is expected, where
            assert frame == 0, where
            outcomes["CodecError"] += 1
        else:
            assert found.dtype == pixels.dtype, where
            assert np.array_equal(found, expected), where
            outcomes["exact samples"] += 1
    return outcomes


if __name__ == "__main__":
    started = time.perf_counter()
    name, amount, *first_seed = sys.argv[1:]
    outcome = run(name, int(amount), int(*first_seed or [0]))
    sys.stdout.write(f"{name}: {dict(outcome)} in {time.perf_counter() - started:.0f} s\n")
