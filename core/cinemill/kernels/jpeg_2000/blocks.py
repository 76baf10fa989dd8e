"""Code-blocks to bytes: contexts (T.800 Annex D) and arithmetic coding (Annex C) of a batch, 64 at once.

A lane takes a code-block, forms its symbols into a buffer of its own, and codes them together with 63 other lanes;
when it is through it takes the next one, from whichever component or frame. Long code-blocks go first, so that the
lanes finish at about the same time. Lanes without a code-block cost as much as others.

Bounds: a lane's row of symbols and of words has room for the worst code-block of the most bit-planes (`symbol_room`,
`word_room`); the bytes of a code-block are written only after making room for them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cinemill.kernels.jpeg_2000.mq import (
    CONTEXTS,
    INITIAL_INTERVAL,
    INITIAL_STATES,
    LANES,
    PLACE_16,
    PLACE_32,
    ROUND,
    WORDS_PER_ROUND,
    apply_steps,
    code_round,
    finish,
    gather_symbols,
)
from cinemill.kernels.jpeg_2000.passes import SYMBOL_SLACK, form_symbols
from cinemill.kernels.jpeg_2000.planes import PLANES_SIZE, count_bit_planes
from cinemill.kernels.jpeg_2000.tables import BLOCK, COLUMNS, ROWS, START, STRIDE
from cinemill.kernels.machine.bits import address, copy_bytes
from cinemill.kernels.machine.jit import jit


def symbol_room(bit_planes: int) -> int:
    """Bytes for the symbols of one lane.

    A coefficient has one decision a bit-plane, and one sign; a column of four leaves run-length mode once, which takes
    three symbols in place of one.
    """
    return BLOCK * BLOCK * (bit_planes + 1) + 2 * BLOCK * BLOCK // 4 + SYMBOL_SLACK + ROUND


def word_room(bit_planes: int) -> int:
    """Words for what one lane codes: 15 bits a symbol, at worst; most of it is never touched."""
    return symbol_room(bit_planes) * 15 // 32 + WORDS_PER_ROUND + 2


@jit("void(int32[::1], int64[:, ::1], int64[::1])")
def count_planes(coefficients: Any, blocks: Any, bit_planes: Any) -> None:
    """Count the bit-planes of each code-block."""
    for block in range(blocks.shape[0]):
        start, stride = blocks[block, START], blocks[block, STRIDE]
        columns, rows = blocks[block, COLUMNS], blocks[block, ROWS]
        bit_planes[block] = count_bit_planes(coefficients, start, stride, columns, rows)


@jit("uint8[::1](uint8[::1], int64, int64)")
def _with_room(data: Any, used: int, needed: int) -> Any:
    if used + needed <= data.size:
        return data
    larger = np.empty(2 * data.size + needed, np.uint8)
    copy_bytes(address(larger), address(data), used)
    return larger


@jit(
    "uint8[::1](int32[::1], int64[:, ::1], int64[::1], int64[::1], uint8[:, ::1], int64[:, ::1], uint8[::1],"
    " int64[::1], int64[::1])"
)
def code_blocks(
    coefficients: Any,
    blocks: Any,
    bit_planes: Any,
    order: Any,
    symbols: Any,
    words: Any,
    data: Any,
    starts: Any,
    lengths: Any,
) -> Any:
    """Code a batch of code-blocks.

    Parameters
    ----------
    coefficients
        Those of all components and frames, with what `form_symbols` may read after the last one.
    blocks
        The table of code-blocks.
    bit_planes
        What `count_planes` says.
    order
        In which order to take the code-blocks: the longest first.
    symbols, words
        LANES x `symbol_room` and LANES x `word_room` of the most bit-planes.
    data
        Receives the bytes of all code-blocks.
    starts, lengths
        Receive where the bytes of each code-block are.

    Returns
    -------
    uint8 array
        ``data``, or a larger array in its place.
    """
    room = symbols.shape[1]
    every_symbol = symbols.reshape(-1)
    workspace = np.zeros(PLANES_SIZE // 8, np.uint64)
    states = np.zeros((CONTEXTS, LANES), np.uint8)
    intervals = np.full(LANES, INITIAL_INTERVAL, np.uint16)
    registers, pending = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    rounds = np.empty((2 * ROUND, LANES), np.uint8)
    addends, shifts = np.empty((ROUND, LANES), np.uint16), np.empty((ROUND, LANES), np.uint8)
    # Of each lane: its code-block, where its next symbol is, how many there are, and how many words it has moved out.
    held = np.full(LANES, -1, np.int64)
    positions = np.arange(LANES) * room
    left, used = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    before = np.zeros((LANES, 3), np.int64)
    end, taken, live = 0, 0, 1
    starts[:], lengths[:] = 0, 0
    while live > 0:
        live = 0
        for lane in range(LANES):
            if left[lane] == 0:
                place = PLACE_32[lane]
                if held[lane] >= 0:
                    block = held[lane]
                    data = _with_room(data, end, 5 * (used[lane] + 2) + 8)
                    starts[block] = end
                    end = finish(registers[place], pending[place], words[lane], used[lane], data, end)
                    lengths[block] = end - starts[block]
                    held[lane] = -1
                registers[place], pending[place], used[lane] = 0, 0, 0
                while taken < order.size and bit_planes[order[taken]] == 0:
                    taken += 1
                if taken < order.size:
                    block = order[taken]
                    taken += 1
                    held[lane], positions[lane] = block, lane * room
                    left[lane] = form_symbols(
                        coefficients, blocks[block], bit_planes[block], every_symbol, lane * room, workspace
                    )
                    intervals[PLACE_16[lane]] = INITIAL_INTERVAL
                    for context in range(CONTEXTS):
                        states[context, lane] = INITIAL_STATES[context]
            live += left[lane] > 0
            if left[lane] < ROUND:
                place = PLACE_32[lane]
                before[lane, 0], before[lane, 1], before[lane, 2] = (
                    registers[place],
                    pending[place],
                    used[lane],
                )
        if live == 0:
            break
        gather_symbols(every_symbol, positions, rounds)
        code_round(rounds, states, intervals, registers, pending, used, words, addends, shifts)
        for lane in range(LANES):
            if left[lane] >= ROUND:
                left[lane] -= ROUND
                positions[lane] += ROUND
            else:
                # The lane had fewer symbols than the round: take back the coding of what follows them.
                place = PLACE_32[lane]
                registers[place], pending[place], used[lane] = (
                    before[lane, 0],
                    before[lane, 1],
                    before[lane, 2],
                )
                apply_steps(lane, 0, left[lane], registers, pending, used, words, addends, shifts)
                left[lane] = 0
    return data
