"""Frames of many kinds of content, and the formats of frames, for the tests of codecs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.pixel_format import PixelFormat

if TYPE_CHECKING:
    from pydicom import Dataset

CONTENTS = "noise", "constant", "sparse", "saturated", "ramp", "checked", "smooth"


def pixel_format(
    rows: int, columns: int, samples: int = 1, bits: int = 8, *, signed: bool = False
) -> PixelFormat:
    interpretation = "RGB" if samples == 3 else "MONOCHROME2"
    return PixelFormat(rows, columns, samples, 8 if bits <= 8 else 16, bits, signed, interpretation)


def format_of(dataset: Dataset) -> PixelFormat:
    """The format that a header describes."""
    return PixelFormat(
        dataset.Rows,
        dataset.Columns,
        dataset.SamplesPerPixel,
        dataset.BitsAllocated,
        dataset.BitsStored,
        bool(dataset.PixelRepresentation),
        dataset.PhotometricInterpretation,
    )


def picture(pixels: PixelFormat, content: str, seed: int = 0) -> np.ndarray:
    """Samples over the whole range that ``pixels`` allows."""
    rng, levels = np.random.default_rng(seed), 1 << pixels.bits_stored
    y, x, sample = np.ogrid[: pixels.rows, : pixels.columns, : pixels.samples]
    shape = pixels.rows, pixels.columns, pixels.samples
    values = {
        "noise": lambda: rng.integers(0, levels, shape),
        "constant": lambda: np.full(shape, rng.integers(0, levels)),
        "sparse": lambda: np.where(rng.random(shape) < 0.01, rng.integers(0, levels, shape), 0),
        "saturated": lambda: np.where(rng.random(shape) < 0.5, 0, levels - 1),
        "ramp": lambda: (x * 3 + y * 2 + sample) % levels,
        "checked": lambda: (x + y) % 2 * (levels - 1) + 0 * sample,
        "smooth": lambda: (
            levels / 2 * (1 + np.sin(x / 40) * np.cos(y / 30 + sample)) + rng.normal(0, 2, shape)
        ),
    }[content]()
    lowest = -levels // 2 if pixels.signed else 0
    return (np.clip(values, 0, levels - 1).astype(int) + lowest).astype(pixels.dtype).reshape(pixels.shape)
