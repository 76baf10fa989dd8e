"""Rows of sixteen frames of bytes to and from rows of lanes (see `lanes`), sixteen samples at a time.

Samples of a row of a frame are interleaved: those of one component, or of three. Frames are touched from the first sample of a row
to its last, lanes up to 15 columns behind it (`rows_of_lanes` has room for them).

Memory
------
room
    `ROOM` bytes: where the row of each frame is, by lane; a copy of each row's last samples, fewer than sixteen; and where they would be
    if the row were all there.
"""

from __future__ import annotations

from cinemill.kernels.jpeg_ls.lanes import GROUP
from cinemill.kernels.jpeg_ls.parameters import LANES
from cinemill.kernels.machine.bits import load_i64, load_u8, store_8, store_64
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined

TILE = 16
"""Samples of a frame, and bytes of a vector of them."""

_HALF = LANES // 2

_ENDS = 8 * LANES
_END_PLACES = _ENDS + TILE * LANES
ROOM = _END_PLACES + 8 * LANES


def _rotated(rows: list[Value], steps: int) -> list[Value]:
    """Interleave the bytes of eight vectors, the first with the fifth and so on: 7 steps change nothing, 3 transpose."""
    apart = len(rows) // 2
    for _ in range(steps):
        pairs = [rows[i].interleaved(rows[i + apart]) for i in range(apart)]
        rows = [half for pair in pairs for half in pair]
    return rows


def _groups(first: Value, second: Value, third: Value, stride: Value) -> list[Value]:
    """Return where the group of each of `TILE` samples is; the first three are given, and how far apart those of a kind are."""
    starts = [first, second, third]
    return [starts[number % 3] + stride * (number // 3) for number in range(TILE)]


@instructions
def _tile_to_lanes(
    places: Value, offset: Value, mask: Value, first: Value, second: Value, third: Value, stride: Value
) -> None:
    samples = [((places + 8 * lane).load(64) + offset).load(8, TILE) for lane in range(LANES)]
    both = range(2 * TILE)
    rows = [samples[i].shuffled(both, samples[i + _HALF]) & mask for i in range(_HALF)]
    groups = _groups(first, second, third, stride)
    for number, columns in enumerate(_rotated(rows, 3)):
        for one, column in enumerate(columns.interleaved(columns.like(0))):
            column.store(groups[2 * number + one])


@instructions
def _tile_from_lanes(
    places: Value, offset: Value, first: Value, second: Value, third: Value, stride: Value
) -> None:
    groups = [group.load(16, LANES) & 0xFF for group in _groups(first, second, third, stride)]
    halves = [2 * lane for lane in range(_HALF)]
    order = [part + lane for part in (0, LANES) for lane in (*halves, *(2 * LANES + half for half in halves))]
    columns = [
        groups[i].recast(8, 2 * LANES).shuffled(order, groups[i + 1].recast(8, 2 * LANES))
        for i in range(0, TILE, 2)
    ]
    for lane, samples in enumerate(_rotated(columns, 4)):
        for part in (0, 1):
            place = (places + 8 * (lane + _HALF * part)).load(64)
            samples.shuffled(range(TILE * part, TILE * part + TILE)).store(place + offset)


@inlined
def _group(row: int, plane: int, components: int, sample: int) -> int:
    """Return where the group of a sample is, counted in a row of all components."""
    return row + plane * (sample % components) + GROUP * (sample // components + 1)


@inlined
def bytes_to_lanes(room: int, row: int, plane: int, columns: int, components: int, mask: int) -> None:
    """Spread the rows of sixteen frames over a row of lanes a component; these are ``plane`` bytes apart, from ``row`` on.

    Where the frames' rows are is in ``room``.
    """
    stride = 3 * GROUP // components
    count = columns * components
    whole = count // TILE * TILE
    if whole < count:
        for lane in range(LANES):
            end = room + _ENDS + TILE * lane
            store_64(room + _END_PLACES, lane, end - whole)
            for sample in range(count - whole):
                store_8(end, sample, load_u8(load_i64(room, lane) + whole, sample))
    for sample in range(0, count, TILE):
        places = room if sample < whole else room + _END_PLACES
        _tile_to_lanes(
            places,
            sample,
            mask,
            _group(row, plane, components, sample),
            _group(row, plane, components, sample + 1),
            _group(row, plane, components, sample + 2),
            stride,
        )


@inlined
def bytes_from_lanes(row: int, plane: int, room: int, columns: int, components: int) -> None:
    """Gather what `bytes_to_lanes` spreads."""
    stride = 3 * GROUP // components
    count = columns * components
    whole = count // TILE * TILE
    for lane in range(LANES):
        store_64(room + _END_PLACES, lane, room + _ENDS + TILE * lane - whole)
    for sample in range(0, count, TILE):
        places = room if sample < whole else room + _END_PLACES
        _tile_from_lanes(
            places,
            sample,
            _group(row, plane, components, sample),
            _group(row, plane, components, sample + 1),
            _group(row, plane, components, sample + 2),
            stride,
        )
    for lane in range(LANES):
        for sample in range(count - whole):
            store_8(load_i64(room, lane) + whole, sample, load_u8(room + _ENDS + TILE * lane, sample))
