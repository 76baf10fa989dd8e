"""Generated images through the HTJ2K encoder: ``python -m tests.fuzz.htj2k 10000 [seed]``.

Each has to come out of OpenJPEG, OpenJPH and pylibjpeg-openjpeg as it went in, its header has to say what HTJ2K Lossless RPCL asks
for, and all together take no more bytes than OpenJPH's.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

import imagecodecs
import numpy as np
import openjpeg

from cinemill.codecs.jpeg_2000.htj2k import Htj2k
from cinemill.codecs.jpeg_2000.markers import TLM, read_main_header, segments
from cinemill.codecs.jpeg_2000.openjpeg import OpenJpeg
from cinemill.codecs.jpeg_2000.openjph import OpenJph
from cinemill.pixel_format import PixelFormat
from tests.support.pictures import CONTENTS, picture

_SIDES = 8, 20, 70, 140, 300


def draw(rng: np.random.Generator) -> tuple[PixelFormat, np.ndarray]:
    """Draw a format and a picture; small ones are more frequent."""
    rows, columns = (int(rng.integers(1, rng.choice(_SIDES) + 1)) for _ in range(2))
    bits, samples, signed = int(rng.integers(1, 17)), int(rng.choice([1, 3])), bool(rng.integers(0, 2))
    allocated = 16 if bits > 8 or rng.integers(0, 4) == 0 else 8
    label = "MONOCHROME2" if samples == 1 else str(rng.choice(["RGB", "YBR_FULL"]))
    pixels = PixelFormat(rows, columns, samples, allocated, bits, signed, label)
    frame = picture(pixels, str(rng.choice(CONTENTS)), int(rng.integers(0, 1 << 30)))
    if rng.integers(0, 4) == 0:
        # A part of it is blank.
        frame[rng.integers(0, rows) :, : rng.integers(0, columns) + 1] = frame.reshape(-1)[0]
    return pixels, frame


def check(pixels: PixelFormat, frame: np.ndarray, stream: bytes) -> None:
    """Raise `AssertionError` if a decoder reads something else, or the header does not say what it has to."""
    header = read_main_header(stream)
    assert header.high_throughput
    assert (header.precision, header.signed, header.samples) == (
        pixels.bits_stored,
        pixels.signed,
        pixels.samples,
    )
    assert header.coding.progression == 2
    assert min(header.rows, header.columns) <= 64 << header.coding.levels
    assert TLM in {marker for marker, _, _ in segments(stream, 0)}
    np.testing.assert_array_equal(OpenJpeg().decode([stream], pixels)[0], frame, "OpenJPEG")
    np.testing.assert_array_equal(
        imagecodecs.htj2k_decode(stream, planar=False).reshape(pixels.shape), frame, "OpenJPH"
    )
    np.testing.assert_array_equal(openjpeg.decode(stream).reshape(pixels.shape), frame, "pylibjpeg-openjpeg")


def run(count: int, seed: int) -> Counter[str]:
    """Check so many images; returns what they were, and the bytes that they took."""
    rng, counts = np.random.default_rng(seed), Counter[str]()
    for number in range(count):
        pixels, frame = draw(rng)
        (stream,) = Htj2k().encode([frame], pixels)
        (other,) = OpenJph().encode([frame], pixels)
        try:
            check(pixels, frame, stream)
        except Exception as error:
            raise AssertionError(f"image {number} of seed {seed}, {pixels}") from error
        counts["images"] += 1
        counts["by OpenJPH"] += stream == other
        counts["bytes"] += len(stream)
        counts["bytes of OpenJPH"] += len(other)
    return counts


if __name__ == "__main__":
    begun = time.perf_counter()
    print(dict(run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)))
    print(f"{time.perf_counter() - begun:.0f} s")
