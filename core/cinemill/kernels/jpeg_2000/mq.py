"""The MQ coder (T.800 Annex C), which codes 64 code-blocks at once, one in each byte of a vector.

A symbol is one byte, ``CX << 3 | D``: the context label and the decision. A lane is the coder of one code-block.

All lanes take their next symbol in the same step (`_code_four`): the states of the 19 contexts, the intervals A and
what to add to the code registers C are bytes and words of vectors. C itself, in 64 bits, is brought up to date once
in four symbols. That makes 0.7 ns a symbol with AVX-512, against 3.3 ns for two interleaved scalar coders.

C is kept without the spacer bits and byte counter of C.2: bits leave it as 32-bit words that hold their carry in bit
32. Only at the end of a code-block are carries propagated and bits stuffed (`finish`): the same number, though not
always in the bytes that C.2 would write, where a carry may rest in a stuffed bit.

Bounds: the interval loses at most 15 bits a symbol (Qe is 1 or more), so `ROUND` symbols append at most
`WORDS_PER_ROUND` words; the caller makes sure that there is room for them. Symbols are read in rounds of `ROUND`
bytes, so there must be so many after the last one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cinemill.kernels.jpeg_2000.tables import MQ_STATES
from cinemill.kernels.machine import types
from cinemill.kernels.machine.bits import (
    address,
    has_byte_ff,
    shift_down,
    shift_up,
    store_word,
    trailing_zeros,
)
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import jit
from cinemill.kernels.machine.types import int32, int64, uint8, uint16, void
from cinemill.kernels.machine.x86 import (
    looked_up,
    packed_bytes,
)

LANES = 64
ROUND = 64
CONTEXTS = 19
WORDS_PER_ROUND = ROUND * 15 // 32 + 1
GROUP = 4

_QE = [state[0] for state in MQ_STATES]
_QE_SHIFT = [16 - qe.bit_length() for qe in _QE]
_QE_RENORMALISED = [qe << shift for qe, shift in zip(_QE, _QE_SHIFT, strict=True)]
# A context is one byte, state << 1 | MPS; the two tables give it with MPS 0.
_AFTER_MPS = [2 * state[1] for state in MQ_STATES]
_AFTER_LPS = [2 * state[2] + state[3] for state in MQ_STATES]

# Table D.7: state 4 for the first zero coding context, 3 for run-length, 46 for uniform.
INITIAL_STATES = np.zeros(CONTEXTS, np.uint8)
INITIAL_STATES[[0, 17, 18]] = 2 * 4, 2 * 3, 2 * 46
INITIAL_INTERVAL = 0x8000

# Widening interleaves within parts of 128 bits, as the processor does, so that lanes of 16 and 32 bits change places.
_LANES_16 = [
    16 * part + 8 * half + lane for half in (0, 1) for part in range(LANES // 16) for lane in range(8)
]
_LANES_32 = [
    _LANES_16[LANES // 2 * vector + 8 * part + 4 * half + lane]
    for vector in (0, 1)
    for half in (0, 1)
    for part in range(LANES // 16)
    for lane in range(4)
]
PLACE_16 = np.argsort(_LANES_16)
PLACE_32 = np.argsort(_LANES_32)
LANE_AT_32 = np.array(_LANES_32)


def _look_up_words(keys: Value, table: list[int]) -> tuple[Value, Value]:
    """Entry of a table of 16 bits for each lane, in the order of `PLACE_16`."""
    low, high = (looked_up(keys, [entry >> shift & 0xFF for entry in table]) for shift in (0, 8))
    return _widened(low, high)


def _widened(low: Value, high: Value) -> tuple[Value, Value]:
    """Join two vectors to lanes twice as wide, ``high`` being the upper halves."""
    first, second = low.interleaved(high)
    return first.recast(2 * low.bits, low.lanes // 2), second.recast(2 * low.bits, low.lanes // 2)


def _read_contexts(states: Value, symbol: Value) -> Value:
    """State of each lane's context: a binary tree of choices over the bits of CX."""
    level = [(states + LANES * context).load(8, LANES) for context in range(CONTEXTS)]
    for bit in range(3, 8):
        chosen = (symbol.recast(16, LANES // 2) << (7 - bit)).recast(8, LANES) < 0
        pairs = [level[at : at + 2] for at in range(0, len(level), 2)]
        level = [chosen.choose(pair[1], pair[0]) if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0]


def _write_contexts(states: Value, symbol: Value, state: Value) -> None:
    label = symbol & 0xF8
    for context in range(CONTEXTS):
        where = states + LANES * context
        label.equals(context << 3).choose(state, where.load(8, LANES)).store(where)


def _widened_twice(lanes: Value) -> list[Value]:
    """Fill bytes up to 32 bits, in the order of `PLACE_32`."""
    none = lanes.like(0)
    none_16 = none.recast(16, LANES // 2)
    return [wide for half in _widened(lanes, none) for wide in _widened(half, none_16)]


class _Coded(NamedTuple):
    """What a symbol does to half of the lanes, 16 bits each.

    ``exchange`` is negative where the interval becomes Qe, which is shifted by a table; elsewhere it becomes the rest,
    and ``doublings`` says how often that is doubled, as a negative number.
    """

    interval: Value
    addend: Value
    exchange: Value
    doublings: Value


def _coded(interval: Value, qe: Value, renormalised: Value, less_probable: Value) -> _Coded:
    """Divide the interval and renormalise it (C.2.4 to C.2.6)."""
    rest = interval - qe
    # LPS takes Qe, MPS the rest, unless that is smaller: then they change places (C.2.4, C.2.5).
    exchange = less_probable ^ (rest.at_least_unsigned(qe) ^ -1).extended(16)
    takes_qe = exchange < 0
    addend = takes_qe.choose(qe.like(0), qe)
    # Qe is 0x5601 or less, so the rest needs two doublings at most.
    once = (~rest < 0).extended(16)
    rest += rest & once
    twice = (~rest < 0).extended(16)
    rest += rest & twice
    return _Coded(takes_qe.choose(renormalised, rest), addend, exchange, once + twice)


@instructions
def _code_four(
    symbols: Value,
    states: Value,
    intervals: Value,
    registers: Value,
    pending: Value,
    addends: Value,
    shifts: Value,
) -> Value:
    """Code `GROUP` symbols of each lane (C.2.2 to C.2.6).

    Parameters
    ----------
    symbols
        GROUP x LANES bytes.
    states, intervals, registers, pending
        As in `Lanes`, updated; C is not updated in lanes that shift it by 16 or more.
    addends, shifts
        Those of `Lanes` for these symbols.

    Returns
    -------
    int
        A bit for each place in the order of `PLACE_32`: its C has a word to move out, or was not updated.
    """
    interval = [(intervals + LANES * half).load(16, LANES // 2) for half in (0, 1)]
    total = symbols.load(8, LANES).like(0)
    sums = _widened_twice(total)
    for step in range(GROUP):
        symbol = (symbols + step * LANES).load(8, LANES)
        context = _read_contexts(states, symbol)
        state = context.recast(16, LANES // 2).shifted_down(1).recast(8, LANES) & 0x7F
        less_probable = ((symbol ^ context) & 1).equals(1)
        sides = _widened(less_probable.extended(8), less_probable.extended(8))
        of_state = interval, _look_up_words(state, _QE), _look_up_words(state, _QE_RENORMALISED), sides
        halves = [_coded(*half) for half in zip(*of_state, strict=True)]
        interval = [half.interval for half in halves]
        doubled = -packed_bytes(*(half.doublings for half in halves))
        exchanged = packed_bytes(*(half.exchange for half in halves)) < 0
        shift = exchanged.choose(looked_up(state, _QE_SHIFT), doubled)
        shift.store(shifts + LANES * step)
        total += shift
        wide_addends: list[Value] = []
        for number, half in enumerate(halves):
            half.addend.store(addends + LANES * (2 * step + number))
            wide_addends += _widened(half.addend, half.addend.like(0))
        every = zip(sums, wide_addends, _widened_twice(shift), strict=True)
        sums = [(so_far + addend) << bits for so_far, addend, bits in every]
        after = less_probable.choose(looked_up(state, _AFTER_LPS), looked_up(state, _AFTER_MPS))
        after ^= context & 1
        # A state changes only with a renormalisation (C.2.6).
        _write_contexts(states, symbol, shift.equals(0).choose(context, after))
    for number in (0, 1):
        interval[number].store(intervals + LANES * number)
    return _accumulate(sums, _widened_twice(total), registers, pending)


def _accumulate(sums: list[Value], totals: list[Value], registers: Value, pending: Value) -> Value:
    """Shift C and add to it, where that is by less than 16 bits (the sum would not fit its lane otherwise)."""
    attention = registers.like(0)
    for number, (bits_shifted, added) in enumerate(zip(totals, sums, strict=True)):
        first = number * added.lanes
        fits = bits_shifted < 16
        total, addend = fits.choose(bits_shifted, 0), fits.choose(added, 0)
        bits = (pending + 4 * first).load(32, total.lanes) + total
        bits.store(pending + 4 * first)
        attention |= ((fits ^ -1) | (bits >= 32)).packed() << first
        for place in range(0, total.lanes, 8):
            where, some = registers + 8 * (first + place), range(place, place + 8)
            shift, more = (lanes.shuffled(some).resized(64) for lanes in (total, addend))
            ((where.load(64, 8) << shift) + more).store(where)
    return attention


class Lanes(NamedTuple):
    """The coders of all lanes.

    Attributes
    ----------
    states
        The contexts, CONTEXTS x LANES.
    intervals
        A of each lane, in the order of `PLACE_16`.
    registers, pending
        C of each lane and how many bits it has above the 16 of the interval, in the order of `PLACE_32`.
    used, words
        How many words each lane has moved out, and those words.
    addends, shifts
        What each symbol of a round added to C, ROUND x LANES in the order of `PLACE_16`, and how far it then shifted C,
        ROUND x LANES.
    """

    states: Any
    intervals: Any
    registers: Any
    pending: Any
    used: Any
    words: Any
    addends: Any
    shifts: Any


LANES_TYPE = types.NamedTuple(
    (
        uint8[:, ::1],
        uint16[::1],
        int64[::1],
        int32[::1],
        int64[::1],
        int64[:, ::1],
        uint16[:, ::1],
        uint8[:, ::1],
    ),
    Lanes,
)


def new_lanes(words: Any) -> Lanes:
    """Make lanes that code nothing yet, and move their words to rows of an array."""
    return Lanes(
        np.zeros((CONTEXTS, LANES), np.uint8),
        np.full(LANES, INITIAL_INTERVAL, np.uint16),
        np.zeros(LANES, np.int64),
        np.zeros(LANES, np.int32),
        np.zeros(LANES, np.int64),
        words,
        np.empty((ROUND, LANES), np.uint16),
        np.empty((ROUND, LANES), np.uint8),
    )


@jit(void(LANES_TYPE, int64))
def start_lane(lanes: Lanes, lane: int) -> None:
    """Begin a code-block (C.2.8)."""
    lanes.intervals[PLACE_16[lane]] = INITIAL_INTERVAL
    lanes.registers[PLACE_32[lane]] = 0
    lanes.pending[PLACE_32[lane]] = 0
    lanes.used[lane] = 0
    for context in range(CONTEXTS):
        lanes.states[context, lane] = INITIAL_STATES[context]


@jit(void(LANES_TYPE, int64))
def _move_word(lanes: Lanes, lane: int) -> None:
    """Move the 32 upper bits and the carry of a lane's C to its words."""
    place = PLACE_32[lane]
    spare = lanes.pending[place] - 17
    lanes.words[lane, lanes.used[lane]] = shift_down(lanes.registers[place], spare)
    lanes.registers[place] &= shift_up(1, spare) - 1
    lanes.pending[place] -= 32
    lanes.used[lane] += 1


@jit(void(LANES_TYPE, int64, int64, int64))
def apply_steps(lanes: Lanes, lane: int, first: int, last: int) -> None:
    """Apply some steps of the round to the C of one lane, one by one."""
    place = PLACE_32[lane]
    for step in range(first, last):
        addend, shift = np.int64(lanes.addends[step, PLACE_16[lane]]), np.int64(lanes.shifts[step, lane])
        lanes.registers[place] = shift_up(lanes.registers[place] + addend, shift)
        lanes.pending[place] += shift
        if lanes.pending[place] >= 32:
            _move_word(lanes, lane)


@jit(void(uint8[:, ::1], LANES_TYPE))
def code_round(symbols: Any, lanes: Lanes) -> None:
    """Code ROUND x LANES symbols.

    No lane has more than 31 bits pending before and after; WORDS_PER_ROUND more words of each must fit.
    """
    # Once a round: address counts references, which takes 7 % of the encoder's time if done in the loop.
    symbols_at, states, intervals = address(symbols), address(lanes.states), address(lanes.intervals)
    registers, pending = address(lanes.registers), address(lanes.pending)
    addends, shifts = address(lanes.addends), address(lanes.shifts)
    for step in range(0, ROUND, GROUP):
        first = step * LANES
        attention = _code_four(
            symbols_at + first, states, intervals, registers, pending, addends + 2 * first, shifts + first
        )
        while attention != 0:
            place = trailing_zeros(attention)
            attention &= attention - 1
            lane = LANE_AT_32[place]
            if lanes.pending[place] >= 32:
                _move_word(lanes, lane)
            else:
                apply_steps(lanes, lane, step, step + GROUP)


@jit(int64(LANES_TYPE, int64, uint8[::1], int64))
def finish(lanes: Lanes, lane: int, out: Any, start: int) -> int:
    """Flush one code-block (C.2.9), propagate carries, stuff bits (C.2.7) and drop what decoders supply themselves.

    Parameters
    ----------
    lanes, lane
        There is room for two more of the lane's words.
    out
        Receives the bytes from ``start`` on; needs room for ``(used + 2) * 32 / 7`` and 8 more.

    Returns
    -------
    int
        Offset in ``out`` after the last byte.
    """
    register, pending = lanes.registers[PLACE_32[lane]], lanes.pending[PLACE_32[lane]]
    words, used = lanes.words[lane], lanes.used[lane]
    # Any C within the final interval will do; this one ends in as many ones as possible (SETBITS, Figure C.11).
    top = register + INITIAL_INTERVAL
    register |= 0xFFFF
    if register >= top:
        register -= 0x8000
    left = pending + 15
    if left > 31:
        words[used] = shift_down(register, left - 32)
        register &= shift_up(1, left - 32) - 1
        used += 1
        left -= 32
    words[used] = shift_up(register + 1, 32 - left) - 1
    used += 1

    carry = 0
    for at in range(used - 1, -1, -1):
        carry += words[at]
        words[at] = carry & 0xFFFFFFFF
        carry >>= 32

    end, out_at = start, address(out)
    buffer, bits, width = 0, 0, 8
    for at in range(used):
        buffer = (buffer << 32) | words[at]
        bits += 32
        four = shift_down(buffer, bits - 32)
        if width == 8 and has_byte_ff(four) == 0:
            store_word(out_at + end, four << 32)
            bits -= 32
            buffer &= shift_up(1, bits) - 1
            end += 4
            continue
        while bits >= width:
            bits -= width
            byte = shift_down(buffer, bits)
            buffer &= shift_up(1, bits) - 1
            out[end] = byte
            end += 1
            width = 7 if byte == 0xFF else 8
    out[end] = shift_up(buffer + 1, width - bits) - 1
    end += 1

    # A decoder reads ones after the end (D.4.1): trailing ones, stuffed or not, need not be sent.
    while end > start and (
        out[end - 1] == 0xFF or (out[end - 1] == 0x7F and end > start + 1 and out[end - 2] == 0xFF)
    ):
        end -= 1
    return end
