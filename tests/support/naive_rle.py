"""RLE Lossless decoded one byte at a time, as PS3.5 Annex G describes it: the oracle of the tests."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cinemill.pixel_format import PixelFormat


def packets(segment: bytes, enough: int = 1 << 40) -> tuple[bytes, int]:
    """Decode packets until there are enough bytes, the last one as far as it is there; and find their end."""
    plane = bytearray()
    position = 0
    while position < len(segment) and len(plane) < enough:
        control = segment[position]
        if control < 128:
            plane += segment[position + 1 : position + 2 + control]
            position += 2 + control
        elif control > 128:
            plane += segment[position + 1 : position + 2] * (257 - control)
            position += 2
        else:
            position += 1
    return bytes(plane), position


def plane_of(segment: bytes, size: int) -> bytes | None:
    """Decode a segment of `size` bytes, followed by at most one and by padding."""
    plane, end = packets(segment, size)
    surplus, _ = packets(segment[end:].rstrip(b"\x00\x80"))
    return plane[:size] if size <= len(plane) <= size + 1 - len(surplus) else None


def decode(codestream: bytes, pixels: PixelFormat) -> np.ndarray | None:
    """Decode one frame; None if it is damaged."""
    bytes_a_sample = max(pixels.bits_allocated // 8, 1)
    header = np.frombuffer(codestream[:64].ljust(64, b"\0"), "<u4").tolist()
    segments = pixels.samples * bytes_a_sample
    if len(codestream) < 64 or header[0] != segments:
        return None
    bounds = [*header[1 : segments + 1], len(codestream)]
    if min(bounds) < 64 or bounds != sorted(bounds):
        return None
    size = pixels.rows * pixels.columns
    planes = []
    for segment in (codestream[start:end] for start, end in itertools.pairwise(bounds)):
        plane = plane_of(segment, size)
        packed, _ = packets(segment)
        if plane is None and pixels.bits_allocated == 1 and len(packed) - (size + 7) // 8 in {0, 1}:
            plane = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")[:size].tobytes()
        if plane is None or (pixels.bits_allocated == 1 and max(plane) > 1):
            return None
        planes.append(plane)
    by_sample = np.frombuffer(b"".join(planes), np.uint8).reshape(pixels.samples, bytes_a_sample, size)
    samples = np.ascontiguousarray(by_sample.transpose(2, 0, 1)).view(f">u{bytes_a_sample}")
    return samples.astype(pixels.dtype).reshape(pixels.shape)
