"""Where the HT encoder keeps the subbands of an image, and in which order it takes their code-blocks.

HL, LH and HH of the first decomposition are there for one strip at a time, a row of code-blocks: these are encoded, then the next
strip takes their place. Code-blocks of all other subbands follow those of the last strip.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cinemill.codecs.jpeg_2000.layout import MOST_LEVELS, Layout, lay_out
from cinemill.kernels.jpeg_2000.tables import COLUMNS, HH, HL, LH, LL, ROWS, START

_THUMBNAIL = 64
"""HTJ2K Lossless RPCL wants an LL that is not wider, or not higher (PS3.5 10.18)."""
_SMALLEST_LL = 8
_PRECINCT = 1 << 15


class Plan(NamedTuple):
    """How a kind of frame is encoded."""

    layout: Layout
    packets: NDArray[np.int64]
    """Those of ``layout``, in the order of RPCL."""
    bands: NDArray[np.int64]
    """Components x levels x (where LL, HL, LH and HH begin, and the bytes of their rows)."""
    size: int
    """Coefficients of all subbands, and what lies between."""
    blocks: NDArray[np.int64]
    """The code-blocks of ``layout``, where `cinemill.kernels.htj2k.encode_blocks` finds them."""
    order: NDArray[np.int64]
    """In which order they are encoded."""
    strips: NDArray[np.int64]
    """Where in it those that are encoded after each strip begin, and where the last ones end."""
    room: int
    """Bytes that all code-blocks take at most."""


@lru_cache(maxsize=16)
def plan(rows: int, columns: int, components: int, bits: int, *, colour_transform: bool) -> Plan:
    """Return how to encode a kind of frame.

    Parameters
    ----------
    rows, columns, components
        Of a frame.
    bits
        Of a sample.
    colour_transform
        Whether the reversible colour transform is used.
    """
    from cinemill.kernels.htj2k.encode_bits import block_room
    from cinemill.kernels.htj2k.encode_wavelet import STRIP

    levels = _levels(rows, columns)
    layout = lay_out(rows, columns, components, bits, colour_transform=colour_transform, levels=levels)
    bands, size = _place(rows, columns, components, levels)
    strips = -(-rows // (2 * STRIP))
    blocks = np.empty((len(layout.blocks), 4), np.int64)
    strip_of = np.empty(len(blocks), np.int64)
    for number, block in enumerate(layout.blocks.tolist()):
        component, place = divmod(block[START], rows * columns)
        y, x = divmod(place, columns)
        level, band, top, left = _locate(y, x, rows, columns, levels)
        start, pitch = (bands[component, level, at] // 2 for at in (band, band + 4))
        in_strip = levels > 0 and level == 0 and band != LL
        strip_of[number] = top // STRIP if in_strip else strips - 1
        top = top % STRIP if in_strip else top
        blocks[number] = start + top * pitch + left, pitch, block[COLUMNS], block[ROWS]
    quads = (layout.blocks[:, COLUMNS] + 1) // 2 * ((layout.blocks[:, ROWS] + 1) // 2)
    return Plan(
        layout,
        _by_position(layout, rows, columns, components),
        bands,
        size,
        blocks,
        np.argsort(strip_of, kind="stable"),
        np.searchsorted(np.sort(strip_of), np.arange(strips + 1)).astype(np.int64),
        sum(block_room(count) for count in quads.tolist()),
    )


def _levels(rows: int, columns: int) -> int:
    """Return as many decomposition levels as leave 8 rows or columns in LL, at most 5 unless it takes more to a thumbnail."""
    levels = 0
    while levels < MOST_LEVELS and max(rows, columns) >> (levels + 1) >= _SMALLEST_LL:
        levels += 1
    while min(rows, columns) > _THUMBNAIL << levels:
        levels += 1
    return levels


def _place(rows: int, columns: int, components: int, levels: int) -> tuple[NDArray[np.int64], int]:
    """Place all subbands; without decompositions, LL is the image."""
    from cinemill.kernels.htj2k.encode_wavelet import STRIP, TAIL, pitch_of

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
                at += pitch * (min(height, STRIP) if level == 0 and band != LL else height)
            high, across = low_rows, low_columns
    return bands, at + TAIL


def _locate(y: int, x: int, rows: int, columns: int, levels: int) -> tuple[int, int, int, int]:
    """Return of which level and subband the coefficient is that a decomposition in place puts there, and where in it."""
    for level in range(levels):
        low_rows, low_columns = (rows + 1) // 2, (columns + 1) // 2
        band = (HL if x >= low_columns else LL) + (LH if y >= low_rows else LL)
        if band != LL:
            return level, band, y - low_rows * (y >= low_rows), x - low_columns * (x >= low_columns)
        rows, columns = low_rows, low_columns
    return max(levels - 1, 0), LL, y, x


def _by_position(layout: Layout, rows: int, columns: int, components: int) -> NDArray[np.int64]:
    """Bring packets from the order of LRCP into that of RPCL (T.800 B.12.1)."""
    ordered, first = [], 0
    for reductions in range(layout.levels, -1, -1):
        down, across = (-(-side // (_PRECINCT << reductions)) for side in (rows, columns))
        packets = layout.packets[first : first + components * down * across]
        ordered.append(packets.reshape(components, -1, 2).swapaxes(0, 1).reshape(-1, 2))
        first += len(packets)
    return np.ascontiguousarray(np.concatenate(ordered))
