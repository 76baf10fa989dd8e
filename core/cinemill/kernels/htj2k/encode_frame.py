"""A frame to the bytes of its code-blocks, strip by strip: a strip is in the cache when it is encoded."""

from __future__ import annotations

from typing import Any

from cinemill.kernels.htj2k.encode_blocks import encode_blocks
from cinemill.kernels.jpeg_2000.encode_wavelet import analyse
from cinemill.kernels.machine.jit import jit

ANALYSED = 0
"""In place of a form of pixels: ``coefficients`` hold all subbands already."""

_READ_ONLY = "Array({}, {}, 'C', readonly=True)"
_TABLES = ", ".join(_READ_ONLY.format(*kind) for kind in (("uint32", 2), ("uint64", 2), ("uint32", 1)))


@jit(
    f"int64({_READ_ONLY.format('uint8', 1)}, int64, int64, int64, int64, int64, int64, boolean, int64, int64,"
    " int64[:, :, ::1], uint8[::1], int16[::1], int64[:, ::1], int64[::1], int64[::1], uint8[::1],"
    f" {_TABLES}, int64[:, ::1], uint8[::1])"
)
def encode_frame(
    pixels: Any,
    form: int,
    components: int,
    rows: int,
    columns: int,
    levels: int,
    colour: int,
    narrow: bool,
    sign: int,
    offset: int,
    bands: Any,
    row_memory: Any,
    coefficients: Any,
    blocks: Any,
    order: Any,
    strips: Any,
    block_memory: Any,
    words: Any,
    us: Any,
    events: Any,
    found: Any,
    data: Any,
) -> int:
    """Encode a frame.

    Parameters
    ----------
    pixels, form, components, rows, columns, levels, colour, narrow, sign, offset, bands, row_memory, coefficients
        As in `analyse`, or `ANALYSED`.
    blocks, block_memory, words, us, events
        As in `encode_blocks`.
    order, strips
        In which order code-blocks are encoded; where in it those of each strip begin, and where the last ones end.
    found
        Receives ``coded``, ``starts`` and ``lengths`` of `encode_blocks`, a row each.
    data
        Receives the bytes of all code-blocks.

    Returns
    -------
    int
        What `analyse` returned last, else 0.
    """
    end, needed = 0, 0
    for strip in range(len(strips) - 1):
        if form != ANALYSED:
            needed = analyse(
                pixels,
                form,
                components,
                rows,
                columns,
                levels,
                colour,
                narrow,
                sign,
                offset,
                bands,
                row_memory,
                coefficients,
                strip,
            )
        end = encode_blocks(
            coefficients,
            blocks,
            order[strips[strip] : strips[strip + 1]],
            block_memory,
            words,
            us,
            events,
            data,
            end,
            found[0],
            found[1],
            found[2],
        )
    return needed
