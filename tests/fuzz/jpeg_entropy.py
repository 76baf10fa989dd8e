"""Damaged lossy JPEG: ``python -m tests.fuzz.jpeg_entropy 1000000 [seed]``, or with files, flips of their bits.

Codestreams end where memory ends, so that reading beyond them is a crash.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cinemill.codecs.jpeg.scans import check_entropy_data
from cinemill.errors import CodecError, UnsupportedPixelFormat
from tests.fuzz.decoders import mutated
from tests.support import naive_jpeg_dct
from tests.support.guarded_memory import GuardedMemory

if TYPE_CHECKING:
    from collections.abc import Iterator


def cases(rng: np.random.Generator) -> Iterator[bytes]:
    """Small codestreams: random symbols in any layout, and images in all that libjpeg-turbo writes."""
    for _ in range(20):
        yield naive_jpeg_dct.write(rng, naive_jpeg_dct.random_layout(rng))
    for progressive in (False, True, True):
        for samples in (1, 3):
            shape = (*(int(size) for size in rng.integers(1, 40, 2)), 3)[: 2 if samples == 1 else 3]
            buffer = BytesIO()
            Image.fromarray(rng.integers(0, int(rng.choice([2, 256])), shape, np.uint8)).save(
                buffer,
                "JPEG",
                quality=int(rng.integers(1, 101)),
                progressive=progressive,
                restart_marker_blocks=int(rng.integers(0, 4)),
            )
            yield buffer.getvalue()


def run(count: int, seed: int) -> Counter[str]:
    """Check `count` mutated codestreams and count the outcomes."""
    rng = np.random.default_rng(seed)
    memory = GuardedMemory()
    outcomes: Counter[str] = Counter()
    streams: list[bytes] = []
    for number in range(count):
        if number % 5000 == 0:
            streams = list(cases(rng))
        stream = mutated(rng, streams[int(rng.integers(0, len(streams)))])
        try:
            check_entropy_data(memory.copy(stream).data)
            outcomes["passed"] += 1
        except (CodecError, UnsupportedPixelFormat):
            outcomes["error"] += 1
    return outcomes


def flips_found(stream: bytes, count: int, seed: int) -> float:
    """Flip one bit of the entropy-coded data at a time; return the part of flips that are found."""
    rng = np.random.default_rng(seed)
    start = stream.rindex(b"\xff\xda") + 14
    found = 0
    for place in rng.integers(8 * start, 8 * (len(stream) - 2), count):
        damaged = bytearray(stream)
        damaged[place >> 3] ^= 1 << (place & 7)
        try:
            check_entropy_data(bytes(damaged))
        except CodecError:
            found += 1
    return found / count


def frames_of(path: Path) -> list[bytes]:
    """Return the lossy JPEG codestreams of a DICOM file."""
    import pydicom
    from pydicom.encaps import generate_frames

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(path, force=True)
            if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
                return []
            number = int(dataset.get("NumberOfFrames") or 1)
            frames = list(generate_frames(dataset.PixelData, number_of_frames=number))
        except (AttributeError, ValueError, TypeError, EOFError, pydicom.errors.InvalidDicomError):
            return []
    return [frame for frame in frames if is_lossy_jpeg(frame)]


def is_lossy_jpeg(stream: bytes) -> bool:
    """Look for SOF0, SOF1 or SOF2 before the first scan."""
    position = 2
    while stream[:2] == b"\xff\xd8" and position + 4 <= len(stream) and stream[position] == 0xFF:
        if stream[position + 1] in {0xC0, 0xC1, 0xC2}:
            return True
        if stream[position + 1] in {0xC3, 0xF7, 0xDA}:
            return False
        position += 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
    return False


def check_files(paths: list[Path]) -> int:
    """Check each frame of lossy JPEG in DICOM files; return their number."""
    streams = [stream for path in paths for stream in frames_of(path)]
    for stream in streams:
        check_entropy_data(stream)
    return len(streams)


if __name__ == "__main__":
    started = time.perf_counter()
    if sys.argv[1].isdigit():
        sys.stdout.write(f"{dict(run(int(sys.argv[1]), int((*sys.argv, '0')[2])))}")
    for name in [] if sys.argv[1].isdigit() else sys.argv[1:]:
        share = flips_found(frames_of(Path(name))[0], 1000, 0)
        sys.stdout.write(f"{Path(name).name}: {share:.1%} of flipped bits found\n")
    sys.stdout.write(f" in {time.perf_counter() - started:.0f} s\n")
