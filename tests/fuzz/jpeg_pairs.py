"""Damaged JPEG Lossless, two frames at a time: ``python -m tests.fuzz.jpeg_pairs 100000 [seed]``.

Each outcome must be what the frames give one by one. Codestreams end where memory ends, so that reading beyond them is a crash.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from cinemill.codecs.compiling import Spared
from cinemill.codecs.jpeg import lossless
from cinemill.codecs.jpeg.lossless import JpegLossless
from cinemill.errors import CodecError, UnsupportedPixelFormat
from tests.fuzz.decoders import mutated, pixel_format, random_frame
from tests.support.guarded_memory import GuardedMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cinemill.pixel_format import Buffer, PixelFormat


def cases(rng: np.random.Generator) -> Iterator[tuple[list[bytes], PixelFormat]]:
    """Two frames that libjpeg-turbo codes alike, some of them longer than a round of look-ups, some not."""
    for number in range(40):
        samples, bits = int(rng.choice([1, 3])), int(rng.choice([8, 8, 12]))
        rows, columns = int(rng.integers(1, 30)), int(rng.integers(1, 90))
        pixels = pixel_format(rows, columns, samples, 8 if bits == 8 else 16, bits)
        frames = [random_frame(rng, pixels) >> int(rng.integers(0, bits)) for _ in range(2)]
        how: dict[str, Any] = {"predictor": number % 7 + 1, "bitspersample": bits, "lossless": True}
        yield [bytes(imagecodecs.jpeg8_encode(frame, **how)) for frame in frames], pixels


def outcome_of(streams: list[Buffer], pixels: PixelFormat) -> list[np.ndarray] | str:
    """Samples, or what the error says."""
    try:
        return JpegLossless().decode(streams, pixels)
    except (CodecError, UnsupportedPixelFormat) as error:
        return f"{error.frame} {error}"


def run(count: int, seed: int) -> Counter[str]:
    """Decode `count` pairs of which one or both are mutated, and count the outcomes."""
    rng = np.random.default_rng(seed)
    memories = GuardedMemory(), GuardedMemory()
    together = lossless._two
    lossless._spared = Spared(-1, lossless._spared.kernel)
    outcomes: Counter[str] = Counter()
    streams: list[tuple[list[bytes], PixelFormat]] = []
    for number in range(count):
        if number % 500 == 0:
            streams = list(cases(rng))
        pair, pixels = streams[int(rng.integers(0, len(streams)))]
        start = pair[0].index(b"\xff\xda") + 14
        damaged = [
            stream[:start] + mutated(rng, stream[start:]) if rng.random() < 0.6 else stream for stream in pair
        ]
        given: list[Buffer] = [
            memory.copy(stream).data for memory, stream in zip(memories, damaged, strict=True)
        ]
        found = outcome_of(given, pixels)
        lossless._two = lambda *_: []
        try:
            expected = outcome_of(given, pixels)
        finally:
            lossless._two = together
        same = found == expected if isinstance(expected, str) else np.array_equal(found, expected)
        assert same, f"{seed}:{number} {pixels} {[stream.hex() for stream in damaged]}"
        outcomes["error" if isinstance(expected, str) else "exact samples"] += 1
    return outcomes


if __name__ == "__main__":
    started = time.perf_counter()
    outcome = run(int(sys.argv[1]), int((*sys.argv, "0")[2]))
    sys.stdout.write(f"{dict(outcome)} in {time.perf_counter() - started:.0f} s\n")
