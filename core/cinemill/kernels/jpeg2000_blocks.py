"""Code-blocks to bytes: contexts (T.800 Annex D) and arithmetic coding (Annex C) of a batch, 32 at once.

A lane takes a code-block, forms its symbols into a buffer of its own, and codes them together with 31 other lanes;
when it is through it takes the next one, from whichever component or frame. Long code-blocks go first, so that the
lanes finish at about the same time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cinemill.kernels._jit import jit
from cinemill.kernels.jpeg2000_contexts import (
    BLOCK,
    PLANES_SIZE,
    SYMBOL_SLACK,
    count_bit_planes,
    form_symbols,
)
from cinemill.kernels.jpeg2000_mq import (
    CONTEXTS,
    GROUPS,
    INITIAL_INTERVAL,
    INITIAL_STATES,
    LANES,
    PLACE_16,
    ROUND,
    WORDS_PER_ROUND,
    code_round,
    collect,
    finish,
    gather_symbols,
)

START, STRIDE, COLUMNS, ROWS, ORIENTATION = range(5)
"""Columns of the table of code-blocks; START counts coefficients."""


@jit("void(int32[::1], int64[:, ::1], int64[::1])")
def count_planes(coefficients: Any, blocks: Any, bit_planes: Any) -> None:
    """Count the bit-planes of each code-block."""
    for index in range(blocks.shape[0]):
        block = blocks[index]
        bit_planes[index] = count_bit_planes(
            coefficients, block[START], block[STRIDE], block[COLUMNS], block[ROWS]
        )


@jit("int64(int64)")
def _symbol_bound(bit_planes: int) -> int:
    """Symbols that a code-block has at most.

    A coefficient has one decision a bit-plane, and one sign; a column of four leaves run-length mode once, which takes
    three symbols in place of one.
    """
    return BLOCK * BLOCK * (bit_planes + 1) + 2 * BLOCK * BLOCK // 4


@jit("uint8[::1](uint8[::1], int64, int64)")
def _with_room(data: Any, used: int, needed: int) -> Any:
    if used + needed <= data.size:
        return data
    larger = np.empty(2 * data.size + needed, np.uint8)
    larger[:used] = data[:used]
    return larger


@jit("uint8[::1](int32[::1], int64[:, ::1], int64[::1], int64[::1], int64[::1], int64[::1])")
def code_blocks(coefficients: Any, blocks: Any, bit_planes: Any, order: Any, starts: Any, lengths: Any) -> Any:
    """Code a batch of code-blocks.

    Parameters
    ----------
    coefficients
        Those of all components and frames, with what `form_symbols` may read after the last one.
    blocks
        Code-blocks x (START, STRIDE, COLUMNS, ROWS, ORIENTATION).
    bit_planes
        What `count_planes` says.
    order
        In which order to take the code-blocks: the longest first.
    starts, lengths
        Receive where the bytes of each code-block are in the result.

    Returns
    -------
    uint8 array
        The bytes of all code-blocks, and some that mean nothing after them.
    """
    most = bit_planes.max()
    capacity = _symbol_bound(most) + SYMBOL_SLACK + ROUND
    symbols = np.empty(LANES * capacity, np.uint8)
    # 4 bits a symbol: an MQ coder that loses more than 2 a symbol for long would not be adaptive; checked below.
    words = np.empty((LANES, capacity // 8 + WORDS_PER_ROUND + 2), np.int64)
    workspace = np.zeros(PLANES_SIZE // 8, np.uint64)
    states = np.zeros((CONTEXTS, LANES), np.uint8)
    intervals = np.full(LANES, INITIAL_INTERVAL, np.uint16)
    rounds = np.empty((2 * ROUND, LANES), np.uint8)
    addends, shifts = np.empty((ROUND, LANES), np.uint16), np.empty((ROUND, LANES), np.uint8)
    sums, totals = np.empty((GROUPS, LANES), np.uint32), np.empty((GROUPS, LANES), np.uint8)
    positions = np.arange(LANES) * capacity
    left, registers = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    pending, used = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    held = np.full(LANES, -1, np.int64)
    data = np.empty(coefficients.size + 65536, np.uint8)
    end, taken, live = 0, 0, 1
    lengths[:] = 0
    while live > 0:
        live = 0
        for lane in range(LANES):
            if left[lane] == 0:
                block = held[lane]
                if block >= 0:
                    data = _with_room(data, end, 5 * (used[lane] + 2) + 8)
                    starts[block] = end
                    end = finish(registers[lane], pending[lane], words[lane], used[lane], data, end)
                    lengths[block] = end - starts[block]
                    held[lane] = -1
                while taken < order.size and bit_planes[order[taken]] == 0:
                    taken += 1
                if taken < order.size:
                    block = order[taken]
                    taken += 1
                    held[lane] = block
                    positions[lane] = lane * capacity
                    left[lane] = form_symbols(
                        coefficients, blocks[block], bit_planes[block], symbols, positions[lane], workspace
                    )
                    registers[lane], pending[lane], used[lane] = 0, 0, 0
                    intervals[PLACE_16[lane]] = INITIAL_INTERVAL
                    states[:, lane] = INITIAL_STATES
            if left[lane] > 0:
                live += 1
                if used[lane] + WORDS_PER_ROUND + 2 > words.shape[1]:
                    raise RuntimeError("MQ coder: more than 4 bits a symbol")
        if live > 0:
            gather_symbols(symbols, positions, rounds)
            code_round(rounds, states, intervals, addends, shifts, sums, totals)
            for lane in range(LANES):
                if left[lane] > 0:
                    count = min(left[lane], ROUND)
                    registers[lane], pending[lane], used[lane] = collect(
                        lane, count, registers[lane], pending[lane], used[lane],
                        addends, shifts, sums, totals, words,
                    )  # fmt: skip
                    left[lane] -= count
                    positions[lane] += count
    return data
