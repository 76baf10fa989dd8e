"""Damaged sequential JPEG that is to be masked: ``python -m tests.fuzz.jpeg_blacken 1000000 [seed]``.

Every other codestream goes to the kernel as it is, without the check for damage that stands before it otherwise.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np

from cinemill.codecs.jpeg import blacken as module
from cinemill.errors import CodecError, UnsupportedPixelFormat
from tests.fuzz.decoders import mutated
from tests.fuzz.jpeg_entropy import cases
from tests.support.guarded_memory import GuardedMemory

if TYPE_CHECKING:
    from cinemill.pixel_format import Box


def run(count: int, seed: int) -> Counter[str]:
    """Mask `count` mutated codestreams and count the outcomes."""
    rng = np.random.default_rng(seed)
    memory = GuardedMemory()
    outcomes: Counter[str] = Counter()
    streams: list[bytes] = []
    for number in range(count):
        if number % 5000 == 0:
            streams = [*cases(rng)]
        stream = mutated(rng, streams[int(rng.integers(0, len(streams)))])
        left, top = (int(at) for at in rng.integers(0, 40, 2))
        box = (left, top, left + int(rng.integers(0, 20)), top + int(rng.integers(0, 20)))
        values = [int(rng.choice([0, 128, 255]))] * 4
        try:
            if number % 2:
                module.blacken(memory.copy(stream).data, [box], values)
            else:
                _unchecked(memory.copy(stream).data, box, values)
            outcomes["written"] += 1
        except (CodecError, UnsupportedPixelFormat):
            outcomes["error"] += 1
    return outcomes


def _unchecked(stream: memoryview, box: Box, values: list[int]) -> None:
    """Mask without the check, where parsing may end in whatever error: only the kernel is on trial."""
    with mock.patch.object(module, "check_entropy_data"), suppress(LookupError, ValueError, ArithmeticError):
        module.blacken(stream, [box], values)


if __name__ == "__main__":
    started = time.perf_counter()
    sys.stdout.write(f"{dict(run(int(sys.argv[1]), int((*sys.argv, '0')[2])))}")
    sys.stdout.write(f" in {time.perf_counter() - started:.0f} s\n")
