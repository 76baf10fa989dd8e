"""Images and codestreams for the JPEG-LS tests."""

from __future__ import annotations

import jpeg_ls
import numpy as np

from cinemill.pixel_format import PixelFormat

CONTENTS = "noise", "soft", "sparse", "constant", "gradient", "extremes", "sector"


def pixel_format(frame, bits_stored):
    """Describe a frame's array."""
    samples = frame.shape[2] if frame.ndim == 3 else 1
    return PixelFormat(
        rows=frame.shape[0],
        columns=frame.shape[1],
        samples=samples,
        bits_allocated=8 * frame.itemsize,
        bits_stored=bits_stored,
        signed=frame.dtype.kind == "i",
        photometric_interpretation="RGB" if samples == 3 else "MONOCHROME2",
    )


def image(content, shape, bits, rng):
    """Make an unsigned image of one kind of content, in the smallest type."""
    most = (1 << bits) - 1
    rows, columns = np.indices(shape[:2])
    if len(shape) == 3:
        rows, columns = rows[..., None], columns[..., None]
    values = {
        "noise": lambda: rng.integers(0, most + 1, shape),
        "soft": lambda: rng.normal(most / 2, 3, shape).clip(0, most),
        "sparse": lambda: np.where(rng.random(shape) < 0.05, rng.integers(0, most + 1, shape), most // 3),
        "constant": lambda: np.full(shape, rng.integers(0, most + 1)),
        "gradient": lambda: np.broadcast_to((3 * columns + rows) % (most + 1), shape),
        "extremes": lambda: rng.integers(0, 2, shape) * most,
        "sector": lambda: np.where(
            abs(columns - shape[1] / 2) < rows / 2, rng.gamma(2, most / 16, shape).clip(0, most), 0
        ),
    }[content]()
    return np.ascontiguousarray(values).astype("u1" if bits <= 8 else "u2")


def charls(frame, bits, near=0, interleave=2):
    """Encode by CharLS, through pyjpegls (which wants planes for interleave none, else pixels)."""
    samples = frame.shape[2] if frame.ndim == 3 else 1
    if samples == 1:
        interleave = 0
    axes = (2, 0, 1) if interleave == 0 else (0, 1, 2)
    ordered = frame if samples == 1 else frame.transpose(axes)
    return bytes(
        jpeg_ls.encode_buffer(
            np.ascontiguousarray(ordered).tobytes(),
            frame.shape[0],
            frame.shape[1],
            samples,
            bits,
            near,
            interleave_mode=interleave,
        )
    )


def segment(code, parameters):
    """Write a marker segment."""
    return bytes((0xFF, code)) + (2 + len(parameters)).to_bytes(2, "big") + parameters


def frame_header(shape, bits):
    """Write SOF55."""
    count = shape[2] if len(shape) == 3 else 1
    size = shape[0].to_bytes(2, "big") + shape[1].to_bytes(2, "big")
    components = b"".join(bytes((c + 1, 0x11, 0)) for c in range(count))
    return segment(0xF7, bytes((bits,)) + size + bytes((count,)) + components)


def scan_header(components, near=0, interleave=0):
    """Write SOS."""
    selectors = b"".join(bytes((c, 0)) for c in components)
    return segment(0xDA, bytes((len(components),)) + selectors + bytes((near, interleave, 0)))


def preset(max_value, thresholds, reset):
    """Write LSE of type 1."""
    return segment(0xF8, b"\1" + b"".join(v.to_bytes(2, "big") for v in (max_value, *thresholds, reset)))
