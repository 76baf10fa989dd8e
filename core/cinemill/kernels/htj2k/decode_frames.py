"""Frames of a cine in one call: first the packet headers of each, then their code-blocks and pixels."""

from __future__ import annotations

from typing import Any

from cinemill.kernels.htj2k.decode_blocks import decode_frame
from cinemill.kernels.jpeg_2000.decode_packets import marker_between, read_packets
from cinemill.kernels.machine.jit import jit

WHOLE, NOT_WHOLE = -1, -2
"""Of a frame's packets: they end where they should, or not; else where a marker code is in them."""

_READ_ONLY = "Array({}, {}, 'C', readonly=True)"
_DATA = _READ_ONLY.format("uint8", 1)
_TABLES = ", ".join(_READ_ONLY.format(*kind) for kind in (("uint32", 2), ("uint64", 2), ("uint32", 1)))


@jit(f"void({_DATA}, int64[:, ::1], int64[:, ::1], int64[:, ::1], int64, int64[:, :, ::1], int64[::1])")
def read_frames(
    data: Any, bounds: Any, packets: Any, areas: Any, most: int, coded: Any, statuses: Any
) -> None:
    """Read the packet headers of frames.

    Parameters
    ----------
    data, bounds
        Codestreams, and of each where its packets begin and end.
    packets, areas, most
        As in `read_packets`.
    coded
        Receives of each frame what `read_packets` finds of each code-block: bit-planes, passes left out, where its bytes are, and
        how many.
    statuses
        Receives what became of each frame.
    """
    for frame in range(len(bounds)):
        start, end, found = bounds[frame, 0], bounds[frame, 1], coded[frame]
        statuses[frame] = marker_between(data, start, end)
        if statuses[frame] < 0:
            whole = read_packets(
                data, start, end, packets, areas, most, found[0], found[1], found[2], found[3]
            )
            statuses[frame] = WHOLE if whole else NOT_WHOLE


@jit(
    f"void({_DATA}, int64[:, :, ::1], int64[:, ::1], int64[:, ::1], int64[::1], int64, uint8[::1], {_TABLES}, int16[::1],"
    " int64[:, :, :, ::1], int64[:, :, ::1], int64, int64, int64, int64, int64, int64, int64, int16[::1],"
    " uint8[:, ::1], int64[::1])"
)
def decode_frames(
    data: Any,
    coded: Any,
    blocks: Any,
    orders: Any,
    strips: Any,
    limit: int,
    memory: Any,
    quad_table: Any,
    u_table: Any,
    mel_table: Any,
    coefficients: Any,
    largest: Any,
    bands: Any,
    strip_rows: int,
    kind: int,
    rows: int,
    columns: int,
    half: int,
    back: int,
    most: int,
    ring: Any,
    pixels: Any,
    statuses: Any,
) -> None:
    """Decode frames one after the other.

    Parameters
    ----------
    data, coded
        Codestreams, and what `read_frames` found in them.
    blocks, strips, limit, memory, quad_table, u_table, mel_table, coefficients, bands, strip_rows
        As in `decode_frame`.
    kind, rows, columns, half, back, most, ring
        As in `decode_frame`.
    orders, largest, pixels
        Of each frame what `decode_frame` takes.
    statuses
        Receives what it returns.
    """
    for frame in range(len(statuses)):
        statuses[frame] = decode_frame(
            data,
            coded[frame],
            blocks,
            orders[frame],
            strips,
            limit,
            memory,
            quad_table,
            u_table,
            mel_table,
            coefficients,
            largest[frame],
            bands,
            strip_rows,
            kind,
            rows,
            columns,
            half,
            back,
            most,
            ring,
            pixels[frame],
        )
