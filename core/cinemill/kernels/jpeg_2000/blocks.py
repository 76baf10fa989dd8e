"""Code-blocks to bytes: contexts (T.800 Annex D) and arithmetic coding (Annex C) of a batch, 64 at once.

A lane takes a code-block, forms its symbols into a buffer of its own, and codes them together with 63 other lanes;
when it is through it takes the next one, from whichever component or frame. Long code-blocks go first, so that the
lanes finish at about the same time. Lanes without a code-block cost as much as others.

Bounds: a lane's row of symbols and of words has room for the worst code-block of the most bit-planes (`symbol_room`,
`word_room`); the bytes of a code-block are written only where there is room for them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cinemill.kernels.jpeg_2000.mq import (
    LANES,
    LANES_TYPE,
    PLACE_32,
    ROUND,
    WORDS_PER_ROUND,
    Lanes,
    apply_steps,
    code_round,
    finish,
    start_lane,
)
from cinemill.kernels.jpeg_2000.passes import SYMBOL_SLACK, form_symbols
from cinemill.kernels.jpeg_2000.planes import PLANES_SIZE, count_bit_planes
from cinemill.kernels.jpeg_2000.tables import BLOCK, COLUMNS, ROWS, START, STRIDE
from cinemill.kernels.machine import types
from cinemill.kernels.machine.bits import address
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.types import boolean, int64, uint8, uint64

_INTERLEAVED = [lane + other for lane in range(LANES) for other in (0, LANES)]


@instructions
def _interleave(first: Value, second: Value, target: Value) -> None:
    """Interleave two rows of a byte in each lane, a step of transposing a square."""
    rows = first.load(8, LANES), second.load(8, LANES)
    rows[0].shuffled(_INTERLEAVED[:LANES], rows[1]).store(target)
    rows[0].shuffled(_INTERLEAVED[LANES:], rows[1]).store(target + LANES)


def symbol_room(bit_planes: int) -> int:
    """Bytes for the symbols of one lane.

    A coefficient has one decision a bit-plane, and one sign; a column of four leaves run-length mode once, which takes
    three symbols in place of one.
    """
    return BLOCK * BLOCK * (bit_planes + 1) + 2 * BLOCK * BLOCK // 4 + SYMBOL_SLACK + ROUND


def word_room(bit_planes: int) -> int:
    """Words for what one lane codes: 15 bits a symbol, at worst; most of it is never touched."""
    return symbol_room(bit_planes) * 15 // 32 + WORDS_PER_ROUND + 2


def data_room(coefficients: int, bit_planes: int) -> int:
    """Bytes that are all but always enough for what so many coefficients are coded to: some more than uncoded bits."""
    return coefficients * (bit_planes + 4) // 8 + 4096


@jit("void(uint8[::1], boolean, int64[:, ::1], int64[::1])")
def count_planes(coefficients: Any, wide: bool, blocks: Any, bit_planes: Any) -> None:
    """Count the bit-planes of each code-block; its arguments are those of `code_blocks`."""
    size = 4 if wide else 2
    for block in range(blocks.shape[0]):
        start, stride = address(coefficients) + size * blocks[block, START], blocks[block, STRIDE]
        columns, rows = blocks[block, COLUMNS], blocks[block, ROWS]
        bit_planes[block] = count_bit_planes(start, wide, stride, columns, rows)


class _Batch(NamedTuple):
    """The code-blocks to code, as `code_blocks` gets them."""

    coefficients: Any
    wide: Any
    blocks: Any
    bit_planes: Any
    order: Any
    starts: Any
    lengths: Any


class Work(NamedTuple):
    """What each lane codes.

    Attributes
    ----------
    block
        Its code-block, or -1.
    position, left
        Where its next symbol is among those of all lanes, and how many there are.
    saved
        LANES x 3: C, its pending bits and the number of words before the round.
    workspace
        Bit-planes of the code-block whose symbols are formed.
    rounds
        Two buffers of ROUND x LANES symbols.
    """

    block: Any
    position: Any
    left: Any
    saved: Any
    workspace: Any
    rounds: Any


WORK_TYPE = types.NamedTuple(
    (int64[::1], int64[::1], int64[::1], int64[:, ::1], uint64[::1], uint8[:, ::1]), Work
)


def new_work() -> Work:
    """Make lanes that have nothing to code."""
    return Work(
        np.full(LANES, -1, np.int64),
        np.zeros(LANES, np.int64),
        np.zeros(LANES, np.int64),
        np.zeros((LANES, 3), np.int64),
        np.zeros(PLANES_SIZE // 8, np.uint64),
        np.empty((2 * ROUND, LANES), np.uint8),
    )


@inlined
def _retire(batch: _Batch, work: Work, lanes: Lanes, lane: int, data: Any, end: int) -> int:
    """Write the bytes of a lane's code-block; returns where they end."""
    block = work.block[lane]
    batch.starts[block] = end
    end = finish(lanes, lane, data, end)
    batch.lengths[block] = end - batch.starts[block]
    work.block[lane], lanes.used[lane] = -1, 0
    return end


@inlined
def _refill(batch: _Batch, work: Work, lanes: Lanes, lane: int, taken: int, symbols: Any) -> int:
    """Let a lane take the next code-block that has symbols; returns how many have been taken or left out."""
    start_lane(lanes, lane)
    while taken < batch.order.size and batch.bit_planes[batch.order[taken]] == 0:
        taken += 1
    if taken < batch.order.size:
        block, first = batch.order[taken], lane * (symbols.size // LANES)
        work.block[lane], work.position[lane] = block, first
        work.left[lane] = form_symbols(
            batch.coefficients,
            batch.wide,
            batch.blocks[block],
            batch.bit_planes[block],
            symbols,
            first,
            work.workspace,
        )
        taken += 1
    return taken


@inlined
def _save(work: Work, lanes: Lanes, lane: int) -> None:
    """Note what `_undo_overrun` needs of a lane that has fewer symbols than the round."""
    place = PLACE_32[lane]
    work.saved[lane, 0], work.saved[lane, 1] = lanes.registers[place], lanes.pending[place]
    work.saved[lane, 2] = lanes.used[lane]


@inlined
def _undo_overrun(work: Work, lanes: Lanes, lane: int) -> None:
    """Take back the coding of what follows a lane's last symbol."""
    place = PLACE_32[lane]
    lanes.registers[place], lanes.pending[place] = work.saved[lane, 0], work.saved[lane, 1]
    lanes.used[lane] = work.saved[lane, 2]
    if work.left[lane] > 0:
        apply_steps(lanes, lane, 0, work.left[lane])
        work.left[lane] = 0


@jit("void(uint8[::1], int64[::1], uint8[:, ::1])")
def gather_symbols(symbols: Any, starts: Any, rounds: Any) -> None:
    """Transpose the next `ROUND` symbols of each lane.

    Parameters
    ----------
    symbols
        Symbols of all lanes; `ROUND` bytes are read from each of ``starts`` (LANES) on.
    rounds
        Two buffers of ROUND x LANES; the result is in the first.
    """
    base, first, second = address(symbols), address(rounds), address(rounds) + ROUND * LANES
    half = LANES // 2
    for row in range(half):
        _interleave(base + starts[row], base + starts[row + half], second + 2 * LANES * row)
    for _ in range(5):
        for row in range(half):
            _interleave(second + LANES * row, second + LANES * (row + half), first + 2 * LANES * row)
        first, second = second, first


@jit(
    int64(
        uint8[::1],
        boolean,
        int64[:, ::1],
        int64[::1],
        int64[::1],
        uint8[::1],
        LANES_TYPE,
        WORK_TYPE,
        uint8[::1],
        int64[::1],
        int64[::1],
    )
)
def code_blocks(
    coefficients: Any,
    wide: bool,
    blocks: Any,
    bit_planes: Any,
    order: Any,
    symbols: Any,
    lanes: Lanes,
    work: Work,
    data: Any,
    starts: Any,
    lengths: Any,
) -> int:
    """Code a batch of code-blocks.

    Parameters
    ----------
    coefficients, wide
        Those of all components and frames, with what `form_symbols` may read after the last one; whether they have 32 bits,
        not 16.
    blocks
        The table of code-blocks.
    bit_planes
        What `count_planes` says.
    order
        In which order to take the code-blocks: the longest first.
    symbols
        LANES * `symbol_room` of the most bit-planes.
    lanes
        What `new_lanes` makes of LANES x `word_room` of the most bit-planes.
    work
        What `new_work` makes.
    data
        Receives the bytes of all code-blocks.
    starts, lengths
        Receive where the bytes of each code-block are.

    Returns
    -------
    int
        How many bytes there are, or -1 where ``data`` is too short for them (see `data_room`).
    """
    batch = _Batch(coefficients, wide, blocks, bit_planes, order, starts, lengths)
    end, taken, live = 0, 0, 1
    starts[:], lengths[:] = 0, 0
    while live > 0:
        live = 0
        for lane in range(LANES):
            if work.block[lane] >= 0 and work.left[lane] == 0:
                if data.size - end < 5 * (lanes.used[lane] + 2) + 8:
                    return -1
                end = _retire(batch, work, lanes, lane, data, end)
            if work.block[lane] < 0 and taken < order.size:
                taken = _refill(batch, work, lanes, lane, taken, symbols)
            live += work.left[lane] > 0
            if work.left[lane] < ROUND:
                _save(work, lanes, lane)
        if live > 0:
            gather_symbols(symbols, work.position, work.rounds)
            code_round(work.rounds, lanes)
            for lane in range(LANES):
                if work.left[lane] < ROUND:
                    _undo_overrun(work, lanes, lane)
                else:
                    work.left[lane] -= ROUND
                    work.position[lane] += ROUND
    return end
