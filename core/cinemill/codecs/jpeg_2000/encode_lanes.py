"""The wavelet of both encoders in 16-bit lanes: which frames fit them, and where their subbands are in memory.

See `cinemill.kernels.jpeg_2000.encode_wavelet`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cinemill.codecs.jpeg_2000.openjpeg import takes_colour_transform
from cinemill.errors import UnsupportedPixelFormat
from cinemill.kernels.jpeg_2000.tables import HH, HL, LH, LL, START, STRIDE

if TYPE_CHECKING:
    from cinemill.codecs.jpeg_2000.layout import Layout
    from cinemill.codecs.memory import Memory
    from cinemill.pixel_format import PixelFormat, Samples


class Whole(NamedTuple):
    """Tables for one kind of frame, all of whose subbands are there at a time."""

    bands: list[NDArray[np.int64]]
    """The table of bands, for each strip: where those of the first level begin is where the strip's rows of them do."""
    blocks: NDArray[np.int64]
    """The table of code-blocks."""
    size: int
    """Samples of memory for all subbands, and what lies between."""


class Image(NamedTuple):
    """The first arguments of `analyse`."""

    pixels: NDArray[np.uint8]
    form: int
    components: int
    rows: int
    columns: int
    levels: int
    colour: bool
    narrow: bool
    sign: int
    offset: int


def room(frame: Samples, pixels: PixelFormat) -> int:
    """Return how many values 16-bit lanes have room for the sum of, of all that such samples give; 0 if not for one.

    There is for one of 12 bits, 11 for the colour transform, and of what varies no more.
    """
    from cinemill.kernels.jpeg_2000.encode_wavelet import GAIN, LOW_GAIN, ROUNDED

    colour = takes_colour_transform(pixels)
    half = 0 if pixels.signed else 1 << pixels.bits_stored - 1
    low, high = -1 << pixels.bits_stored - 1, (1 << pixels.bits_stored - 1) - 1
    if pixels.bits_stored + colour > 12:
        low, high = int(frame.min()) - half, int(frame.max()) - half
    spread = (high - low) * (1 + colour) // 2 + 1
    limit = (1 << 15) - ROUNDED
    most = max(GAIN * spread, LOW_GAIN * spread + abs(low + high) // 2)
    return 0 if colour and 4 * max(-low, high) > limit else limit // most


def image(frame: Samples, pixels: PixelFormat, levels: int, *, narrow: bool) -> Image:
    """Return what `analyse` takes of a frame.

    Parameters
    ----------
    frame, pixels
        Samples, and what they are.
    levels
        Decomposition levels.
    narrow
        Whether sums of two coefficients fit 16 bits.
    """
    from cinemill.kernels.jpeg_2000.encode_wavelet import BYTES, RGB, WORDS

    form = BYTES if frame.itemsize == 1 else WORDS
    sign = 1 << (8 * frame.itemsize - 1) if pixels.signed else 0
    if pixels.samples == 3:
        if form == BYTES and pixels.bits_stored == 8 and not pixels.signed:
            form = RGB
        else:
            frame = np.ascontiguousarray(np.moveaxis(frame, -1, 0))
    return Image(
        frame.reshape(-1).view(np.uint8),
        form,
        pixels.samples,
        pixels.rows,
        pixels.columns,
        levels,
        takes_colour_transform(pixels),
        narrow,
        sign,
        sign or 1 << (pixels.bits_stored - 1),
    )


def transform(given: Image, whole: Whole, coefficients: NDArray[np.int16], memory: Memory) -> int:
    """Turn samples into wavelet coefficients.

    Parameters
    ----------
    given
        The frame.
    whole
        Where its subbands are.
    coefficients
        Receives ``whole.size`` samples.
    memory
        Where rows are kept meanwhile.

    Returns
    -------
    int
        The bits that values need without their sign, as `analyse` tells them.
    """
    from cinemill.kernels.jpeg_2000.encode_wavelet import analyse, row_memory

    rows = memory.array("rows", (row_memory(given.columns, given.components),), np.uint8)
    needed = 0
    for strip, bands in enumerate(whole.bands):
        needed = analyse(*given, bands, rows, coefficients, strip)
    return needed


def check_needed(needed: int, frame: Samples, pixels: PixelFormat, name: str) -> None:
    """Raise `UnsupportedPixelFormat` if samples need more bits than are stored.

    Parameters
    ----------
    needed
        The bits that their values need without their sign.
    frame, pixels
        Samples, and what they are.
    name
        Of what encodes them.
    """
    if needed >> (pixels.bits_stored - 1):
        raise UnsupportedPixelFormat(
            f"{name}: expected values of {pixels.bits_stored} bits, found {frame.min()} to {frame.max()}; "
            "mask what lies above BitsStored first"
        )


def layout_of(pixels: PixelFormat) -> Layout:
    """Return the code-blocks and packets of a kind of frame in Part 1."""
    from cinemill.codecs.jpeg_2000.layout import lay_out

    return lay_out(
        pixels.rows,
        pixels.columns,
        pixels.samples,
        pixels.bits_stored,
        colour_transform=takes_colour_transform(pixels),
    )


@lru_cache(maxsize=16)
def place_whole(pixels: PixelFormat) -> Whole:
    """Return the tables for a kind of frame, with the code-blocks of `layout_of`."""
    from cinemill.kernels.jpeg_2000.encode_wavelet import STRIP

    layout, rows, columns = layout_of(pixels), pixels.rows, pixels.columns
    bands, size = place(rows, columns, pixels.samples, layout.levels, rows)
    blocks = layout.blocks.copy()
    for block, (component, level, band, top, left) in zip(
        blocks, located(layout, rows, columns), strict=True
    ):
        start, pitch = (bands[component, level, at] // 2 for at in (band, band + 4))
        block[START], block[STRIDE] = start + top * pitch + left, pitch
    strips = []
    for first in range(0, rows, 2 * STRIP):
        strip = bands.copy()
        if layout.levels:
            strip[:, 0, HL : HH + 1] += first // 2 * strip[:, 0, HL + 4 : HH + 5]
        strips.append(strip)
    return Whole(strips, blocks, size)


def place(rows: int, columns: int, components: int, levels: int, strip: int) -> tuple[NDArray[np.int64], int]:
    """Place all subbands; without decompositions, LL is the image. Returns the table of bands, and samples of memory.

    Parameters
    ----------
    rows, columns, components, levels
        Of the image.
    strip
        Rows of the first level's HL, LH and HH that are there at a time.
    """
    from cinemill.kernels.jpeg_2000.encode_wavelet import TAIL, pitch_of

    bands = np.zeros((components, max(levels, 1), 8), np.int64)
    at = 0
    for component in range(components):
        high, across = rows, columns
        for level in range(max(levels, 1)):
            low_rows, low_columns = ((high + 1) // 2, (across + 1) // 2) if levels else (high, across)
            sides = {
                LL: (low_rows, low_columns),
                HL: (low_rows, across - low_columns),
                LH: (high - low_rows, low_columns),
                HH: (high - low_rows, across - low_columns),
            }
            for band, (height, width) in sides.items():
                pitch = pitch_of(width)
                bands[component, level, band], bands[component, level, band + 4] = 2 * at, 2 * pitch
                at += pitch * (min(height, strip) if level == 0 and band != LL else height)
            high, across = low_rows, low_columns
    return bands, at + TAIL


def located(layout: Layout, rows: int, columns: int) -> list[tuple[int, int, int, int, int]]:
    """Return of which component, level and subband each code-block is, and at which row and column of it.

    Parameters
    ----------
    layout
        The code-blocks.
    rows, columns
        Of the image.
    """
    found = []
    for start in layout.blocks[:, START].tolist():
        component, at = divmod(start, rows * columns)
        y, x = divmod(at, columns)
        found.append((component, *_locate(y, x, rows, columns, layout.levels)))
    return found


def _locate(y: int, x: int, rows: int, columns: int, levels: int) -> tuple[int, int, int, int]:
    """Return of which level and subband the coefficient is that a decomposition in place puts there, and where in it."""
    for level in range(levels):
        low_rows, low_columns = (rows + 1) // 2, (columns + 1) // 2
        band = (HL if x >= low_columns else LL) + (LH if y >= low_rows else LL)
        if band != LL:
            return level, band, y - low_rows * (y >= low_rows), x - low_columns * (x >= low_columns)
        rows, columns = low_rows, low_columns
    return max(levels - 1, 0), LL, y, x
