"""Where the HT encoder keeps the subbands of an image, and in which order it takes their code-blocks.

HL, LH and HH of the first decomposition are there for one strip at a time, a row of code-blocks: these are encoded, then the next
strip takes their place. Code-blocks of all other subbands follow those of the last strip.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cinemill.codecs.jpeg_2000.encode_lanes import located, place
from cinemill.codecs.jpeg_2000.layout import MOST_LEVELS, Layout, lay_out
from cinemill.kernels.jpeg_2000.tables import COLUMNS, LL, ROWS

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
    from cinemill.kernels.jpeg_2000.encode_wavelet import STRIP

    levels = _levels(rows, columns)
    layout = lay_out(rows, columns, components, bits, colour_transform=colour_transform, levels=levels)
    bands, size = place(rows, columns, components, levels, STRIP)
    strips = -(-rows // (2 * STRIP))
    blocks = np.empty((len(layout.blocks), 4), np.int64)
    strip_of = np.empty(len(blocks), np.int64)
    for number, (component, level, band, top, left) in enumerate(located(layout, rows, columns)):
        start, pitch = (bands[component, level, at] // 2 for at in (band, band + 4))
        in_strip = levels > 0 and level == 0 and band != LL
        strip_of[number] = top // STRIP if in_strip else strips - 1
        row = top % STRIP if in_strip else top
        blocks[number] = start + row * pitch + left, pitch, *layout.blocks[number, [COLUMNS, ROWS]]
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


def _by_position(layout: Layout, rows: int, columns: int, components: int) -> NDArray[np.int64]:
    """Bring packets from the order of LRCP into that of RPCL (T.800 B.12.1)."""
    ordered, first = [], 0
    for reductions in range(layout.levels, -1, -1):
        down, across = (-(-side // (_PRECINCT << reductions)) for side in (rows, columns))
        packets = layout.packets[first : first + components * down * across]
        ordered.append(packets.reshape(components, -1, 2).swapaxes(0, 1).reshape(-1, 2))
        first += len(packets)
    return np.ascontiguousarray(np.concatenate(ordered))
