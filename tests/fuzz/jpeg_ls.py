"""Decode damaged JPEG-LS codestreams: ``python -m tests.fuzz.jpeg_ls [COUNT [SEED]]``.

Each must end in samples of the promised shape or in a `CodecError` with an offset, and may not touch memory outside its buffers,
which `guarded_memory` makes fatal.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import suppress

import numpy as np

import cinemill.codecs.jpeg_ls.codec
import cinemill.codecs.jpeg_ls.markers
import cinemill.kernels.jpeg_ls.decode
import cinemill.kernels.jpeg_ls.decode_lanes
import cinemill.kernels.jpeg_ls.lanes
from cinemill.codecs.jpeg_ls.codec import JpegLs
from cinemill.errors import CodecError, UnsupportedPixelFormat
from tests.support.guarded_memory import guarded, guarding
from tests.support.jpegls_images import CONTENTS, charls, image, pixel_format, preset, segment

MODULES = (
    cinemill.codecs.jpeg_ls.codec,
    cinemill.codecs.jpeg_ls.markers,
    cinemill.kernels.jpeg_ls.decode,
    cinemill.kernels.jpeg_ls.decode_lanes,
    cinemill.kernels.jpeg_ls.lanes,
)


def seeds(rng):
    """Make sound codestreams of many kinds, with the pixel format of each."""
    made = []
    for bits in (2, 8, 12, 16):
        for shape in ((17, 23), (5, 64), (9, 14, 3), (1, 1), (1, 200)):
            for content in CONTENTS:
                frame = image(content, shape, bits, rng)
                pixels = pixel_format(frame, bits)
                made.append((JpegLs().encode([frame], pixels)[0], pixels))
                for near, interleave in ((0, 0), (0, 2), (2, 1), (1, 2)):
                    # pyjpegls reserves too little for what does not shrink.
                    with suppress(RuntimeError):
                        made.append((charls(frame, bits, min(near, bits - 2), interleave), pixels))
    return made


def damaged(codestream, rng):
    """Return a codestream with a few bits, bytes or stretches changed, or cut."""
    data = bytearray(codestream)
    if rng.random() < 0.1:  # other coding parameters
        at = data.index(b"\xff\xda")
        values = [int(v) for v in rng.integers(0, 1 << int(rng.integers(1, 17)), 5)]
        data[at:at] = preset(values[0], sorted(values[1:4]), values[4])
    if rng.random() < 0.1:
        at = data.index(b"\xff\xda")
        data[at:at] = segment(0xDD, int(rng.integers(0, 8)).to_bytes(2, "big"))
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, len(data)))
        kind = int(rng.integers(0, 6))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            data[at] = int(rng.integers(0, 256))
        elif kind == 2:
            del data[at : at + int(rng.integers(1, 20))]
        elif kind == 3:
            data[at:at] = rng.integers(0, 256, int(rng.integers(1, 20)), dtype="u1").tobytes()
        elif kind == 4:
            length = int(rng.integers(1, 40))
            data[at : at + length] = bytes((int(rng.choice([0, 0x7F, 0xFF])),)) * length
        else:
            del data[at:]
        if not data:
            data = bytearray(b"\xff")
    return bytes(data)


def fuzz(count, seed):
    """Decode that many damaged codestreams, half of them one by one; return how often each outcome came."""
    rng = np.random.default_rng(seed)
    sound = seeds(rng)
    codec = JpegLs()
    outcomes: Counter[str] = Counter()
    with guarding(*MODULES):
        while outcomes.total() < count:
            codestream, pixels = sound[int(rng.integers(0, len(sound)))]
            together = JpegLs.batch if rng.random() < 0.5 else 1
            group = []
            for number in range(together):
                # Streams with a sound header stay in a batch of lanes.
                data = damaged(codestream, rng) if rng.random() < 0.8 else codestream
                memory = guarded(len(data), at_end=number % 2 == 0)
                memory[:] = data
                group.append(memory)
            while group:
                try:
                    frames = codec.decode(group, pixels)
                except (CodecError, UnsupportedPixelFormat) as error:
                    offset = (error.offset if isinstance(error, CodecError) else 0) or 0
                    if error.frame is None or not 0 <= offset <= len(group[error.frame]):
                        raise
                    outcomes["refused"] += 1
                    del group[error.frame]
                else:
                    for frame in frames:
                        assert frame.shape == pixels.shape
                        assert frame.dtype == pixels.dtype
                    outcomes["decoded"] += len(group)
                    break
    return outcomes


if __name__ == "__main__":
    wanted, seed = [int(argument) for argument in sys.argv[1:]] + [1_000_000, 0][len(sys.argv) - 1 :]
    total: Counter[str] = Counter()
    while total.total() < wanted:
        total += fuzz(10_000, seed)
        seed += 1
        print(dict(total), flush=True)
