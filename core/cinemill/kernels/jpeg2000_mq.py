"""The MQ coder (T.800 Annex C), which codes 32 code-blocks at once, one in each byte of a 256-bit vector.

A symbol is one byte, ``CX << 3 | D``: the context label and the decision. A lane is the coder of one code-block.

The adaptive part, which every symbol waits for, is the interval A and the states of the 19 contexts. It runs on
vectors, a symbol of each lane at a time (`_code_four`): 0.8 ns a symbol, against 3.0 ns for two interleaved scalar
coders. What it finds out about a symbol is how much to add to the code register C and how far to shift it. `collect`
then does that for one lane after the other, four symbols in one go wherever they shift by less than 16 bits.

C is kept without the spacer bits and byte counter of C.2: bits leave it as 32-bit words that hold their carry in bit
32. Only at the end of a code-block are carries propagated and bits stuffed (`finish`): the same bytes, later.

Bounds: the interval loses at most 15 bits a symbol (Qe is 1 or more), so `ROUND` symbols append at most
`WORDS_PER_ROUND` words; the caller makes sure that there is room for them. Symbols are read in rounds of `ROUND`
bytes, so there must be so many after the last one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cinemill.kernels._jit import jit
from cinemill.kernels.jpeg2000_simd import (
    Code,
    Vector,
    address,
    shift_left,
    shift_right,
    vector_function,
)

LANES = 32
ROUND = 32
CONTEXTS = 19
WORDS_PER_ROUND = ROUND * 15 // 32 + 1
GROUP = 4
GROUPS = ROUND // GROUP

# Table C.2: Qe, next state after MPS and after LPS, and whether LPS switches the sense of MPS.
_STATES = (
    (0x5601, 1, 1, 1), (0x3401, 2, 6, 0), (0x1801, 3, 9, 0), (0x0AC1, 4, 12, 0), (0x0521, 5, 29, 0),
    (0x0221, 38, 33, 0), (0x5601, 7, 6, 1), (0x5401, 8, 14, 0), (0x4801, 9, 14, 0), (0x3801, 10, 14, 0),
    (0x3001, 11, 17, 0), (0x2401, 12, 18, 0), (0x1C01, 13, 20, 0), (0x1601, 29, 21, 0), (0x5601, 15, 14, 1),
    (0x5401, 16, 14, 0), (0x5101, 17, 15, 0), (0x4801, 18, 16, 0), (0x3801, 19, 17, 0), (0x3401, 20, 18, 0),
    (0x3001, 21, 19, 0), (0x2801, 22, 19, 0), (0x2401, 23, 20, 0), (0x2201, 24, 21, 0), (0x1C01, 25, 22, 0),
    (0x1801, 26, 23, 0), (0x1601, 27, 24, 0), (0x1401, 28, 25, 0), (0x1201, 29, 26, 0), (0x1101, 30, 27, 0),
    (0x0AC1, 31, 28, 0), (0x09C1, 32, 29, 0), (0x08A1, 33, 30, 0), (0x0521, 34, 31, 0), (0x0441, 35, 32, 0),
    (0x02A1, 36, 33, 0), (0x0221, 37, 34, 0), (0x0141, 38, 35, 0), (0x0111, 39, 36, 0), (0x0085, 40, 37, 0),
    (0x0049, 41, 38, 0), (0x0025, 42, 39, 0), (0x0015, 43, 40, 0), (0x0009, 44, 41, 0), (0x0005, 45, 42, 0),
    (0x0001, 45, 43, 0), (0x5601, 46, 46, 0),
)  # fmt: skip
_QE = [state[0] for state in _STATES]
_QE_SHIFT = [16 - qe.bit_length() for qe in _QE]
_QE_RENORMALISED = [qe << shift for qe, shift in zip(_QE, _QE_SHIFT, strict=True)]
# A context is one byte, state << 1 | MPS; the two tables give it with MPS 0.
_AFTER_MPS = [2 * state[1] for state in _STATES]
_AFTER_LPS = [2 * state[2] + state[3] for state in _STATES]

# Table D.7: state 4 for the first zero coding context, 3 for run-length, 46 for uniform.
INITIAL_STATES = np.zeros(CONTEXTS, np.uint8)
INITIAL_STATES[[0, 17, 18]] = 2 * 4, 2 * 3, 2 * 46
INITIAL_INTERVAL = 0x8000

# Widening interleaves within 128-bit halves, as the processor does, so lanes of 16 and 32 bits change places.
_LOW_8 = [16 * half + lane + other for half in (0, 1) for lane in range(8) for other in (0, 32)]
_HIGH_8 = [index + 8 for index in _LOW_8]
_LOW_16 = [8 * half + lane + other for half in (0, 1) for lane in range(4) for other in (0, 16)]
_HIGH_16 = [index + 4 for index in _LOW_16]
_LANES_16 = _LOW_8[::2] + _HIGH_8[::2]
_LANES_32 = [_LANES_16[base + at] for base in (0, 16) for at in (*_LOW_16[::2], *_HIGH_16[::2])]
PLACE_16 = np.argsort(_LANES_16)
PLACE_32 = np.argsort(_LANES_32)


def _look_up(code: Code, keys: list[Vector], table: list[int]) -> Vector:
    """Entry of a table of bytes for each lane; PSHUFB gives 0 where a key is not within its 16 entries."""
    padded = table + [0] * (16 * len(keys) - len(table))
    parts = [
        code.instruction("llvm.x86.avx2.pshuf.b", code.constant(8, padded[at : at + 16] * 2), key)
        for at, key in zip(range(0, len(padded), 16), keys, strict=True)
    ]
    return parts[0] | parts[1] | parts[2]


def _read_contexts(code: Code, states: Any, symbol: Vector) -> Vector:
    """State of each lane's context: a binary tree of choices over the bits of CX."""
    level = [code.load(states, LANES * context, 8, LANES) for context in range(CONTEXTS)]
    for bit in range(3, 8):
        chosen = (symbol.as_lanes_of(16) << (7 - bit)).as_lanes_of(8).top_bit()
        pairs = [level[at : at + 2] for at in range(0, len(level), 2)]
        level = [chosen.choose(pair[1], pair[0]) if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0]


def _write_contexts(code: Code, states: Any, symbol: Vector, state: Vector) -> None:
    label = symbol & 0xF8
    for context in range(CONTEXTS):
        old = code.load(states, LANES * context, 8, LANES)
        code.store(states, LANES * context, label.equals(context << 3).choose(state, old))


@vector_function
def _code_four(
    code: Code, symbols: Any, states: Any, intervals: Any, addends: Any, shifts: Any, sums: Any, totals: Any
) -> None:
    """Code `GROUP` symbols of each lane (C.2.2 to C.2.6), up to what is done to C.

    Parameters
    ----------
    symbols
        GROUP x LANES bytes.
    states
        CONTEXTS x LANES bytes, updated.
    intervals
        A of each lane, 16 bits, in the order of `PLACE_16`, updated.
    addends, shifts
        GROUP x LANES: what each symbol adds to C, 16 bits in the order of `PLACE_16`, and how far it then shifts C,
        8 bits.
    sums, totals
        LANES: the same for the group as a whole: 32 bits in the order of `PLACE_32`, valid if the total shift, 8
        bits, is below 16.
    """
    zero = code.constant(8, [0] * LANES)
    zero_16 = zero.as_lanes_of(16)
    interval = [code.load(intervals, 32 * half, 16, 16) for half in (0, 1)]
    total = zero
    group = [zero.as_lanes_of(32)] * 4
    for at in range(GROUP):
        symbol = code.load(symbols, at * LANES, 8, LANES)
        context = _read_contexts(code, states, symbol)
        index = (context.as_lanes_of(16) >> 1).as_lanes_of(8) & 0x7F
        bias = code.constant(8, [0x70] * LANES)
        keys = [code.instruction("llvm.uadd.sat.v32i8", index ^ first, bias) for first in (0, 16, 32)]
        qe_low, qe_high = (_look_up(code, keys, [qe >> s & 0xFF for qe in _QE]) for s in (0, 8))
        new_low, new_high = (_look_up(code, keys, [qe >> s & 0xFF for qe in _QE_RENORMALISED]) for s in (0, 8))
        less_probable = ((symbol ^ context) & 1).equals(1)
        spread = less_probable.filled(8)
        takes_qe, doublings, addend = [], [], []
        for half, order in enumerate((_LOW_8, _HIGH_8)):
            qe = qe_low.shuffle(qe_high, order).as_lanes_of(16)
            rest = interval[half] - qe
            # LPS takes Qe, MPS the rest, unless that is smaller: then they change places (C.2.4, C.2.5).
            exchange = spread.shuffle(spread, order).as_lanes_of(16) ^ rest.below(qe).filled(16)
            chosen = exchange.top_bit()
            addend.append(chosen.choose(zero_16, qe))
            # Qe is 0x5601 or less, so the rest needs two doublings at most.
            once = (~rest).top_bit().filled(16)
            rest += rest & once
            twice = (~rest).top_bit().filled(16)
            rest += rest & twice
            interval[half] = chosen.choose(new_low.shuffle(new_high, order).as_lanes_of(16), rest)
            takes_qe.append(exchange)
            doublings.append(once + twice)
            code.store(addends, 64 * at + 32 * half, addend[half])
        took_qe = code.instruction("llvm.x86.avx2.packsswb", *takes_qe).top_bit()
        doubled = zero - code.instruction("llvm.x86.avx2.packsswb", *doublings)
        shift = took_qe.choose(_look_up(code, keys, _QE_SHIFT), doubled)
        code.store(shifts, LANES * at, shift)
        total += shift
        for half, order in enumerate((_LOW_8, _HIGH_8)):
            wide_shift = shift.shuffle(zero, order).as_lanes_of(16)
            for part, order_16 in enumerate((_LOW_16, _HIGH_16)):
                lanes = group[2 * half + part] + addend[half].shuffle(zero_16, order_16).as_lanes_of(32)
                group[2 * half + part] = lanes << wide_shift.shuffle(zero_16, order_16).as_lanes_of(32)
        after_mps, after_lps = _look_up(code, keys, _AFTER_MPS), _look_up(code, keys, _AFTER_LPS)
        new_context = less_probable.choose(after_lps, after_mps) ^ (context & 1)
        # A state changes only with a renormalisation (C.2.6).
        _write_contexts(code, states, symbol, shift.equals(0).choose(context, new_context))
    for half in (0, 1):
        code.store(intervals, 32 * half, interval[half])
    for part in range(4):
        code.store(sums, 32 * part, group[part])
    code.store(totals, 0, total)


@vector_function
def _interleave(code: Code, first: Any, second: Any, target: Any) -> None:
    """Interleave two rows of LANES bytes to 2 x LANES bytes."""
    rows = code.load(first, 0, 8, LANES), code.load(second, 0, 8, LANES)
    for half in (0, 1):
        order = [lane + other for lane in range(LANES // 2 * half, LANES // 2 * (half + 1)) for other in (0, LANES)]
        code.store(target, half * LANES, rows[0].shuffle(rows[1], order))


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
    for row in range(16):
        _interleave(base + starts[row], base + starts[row + 16], first + 64 * row)
    for _ in range(2):
        for row in range(16):
            _interleave(first + 32 * row, first + 32 * (row + 16), second + 64 * row)
        for row in range(16):
            _interleave(second + 32 * row, second + 32 * (row + 16), first + 64 * row)


@jit(
    "void(uint8[:, ::1], uint8[:, ::1], uint16[::1], uint16[:, ::1], uint8[:, ::1], uint32[:, ::1], uint8[:, ::1])"
)
def code_round(
    symbols: Any, states: Any, intervals: Any, addends: Any, shifts: Any, sums: Any, totals: Any
) -> None:
    """Code `ROUND` symbols of every lane with `_code_four`, whose arrays these are, a row a symbol or a group."""
    for group in range(GROUPS):
        _code_four(
            address(symbols) + group * GROUP * LANES,
            address(states),
            address(intervals),
            address(addends) + group * GROUP * LANES * 2,
            address(shifts) + group * GROUP * LANES,
            address(sums) + group * LANES * 4,
            address(totals) + group * LANES,
        )


@jit(
    "UniTuple(int64, 3)(int64, int64, int64, int64, int64, uint16[:, ::1], uint8[:, ::1], uint32[:, ::1],"
    " uint8[:, ::1], int64[:, ::1])"
)
def collect(
    lane: int,
    count: int,
    register: int,
    pending: int,
    used: int,
    addends: Any,
    shifts: Any,
    sums: Any,
    totals: Any,
    words: Any,
) -> tuple[int, int, int]:
    """Apply one lane's additions and shifts to its code register C, and move full words out of it.

    Parameters
    ----------
    count
        How many of the round's symbols are this lane's.
    register, pending
        C with ``pending`` bits above the 16 of the interval (one of them the carry), below 32 between calls.
    used
        Words that the lane has moved out; they are in ``words[lane]``.

    Returns
    -------
    register, pending, used
    """
    at_16, at_32 = PLACE_16[lane], PLACE_32[lane]
    for group in range(GROUPS):
        if GROUP * group + GROUP <= count and totals[group, lane] < 16:
            total = np.int64(totals[group, lane])
            register = shift_left(register, total) + np.int64(sums[group, at_32])
            pending += total
            if pending >= 32:
                words[lane, used] = shift_right(register, pending - 17)
                register &= shift_left(1, pending - 17) - 1
                pending -= 32
                used += 1
            continue
        for step in range(GROUP * group, min(GROUP * group + GROUP, count)):
            shift = np.int64(shifts[step, lane])
            register = shift_left(register + np.int64(addends[step, at_16]), shift)
            pending += shift
            if pending >= 32:
                words[lane, used] = shift_right(register, pending - 17)
                register &= shift_left(1, pending - 17) - 1
                pending -= 32
                used += 1
    return register, pending, used


@jit("int64(int64, int64, int64[::1], int64, uint8[::1], int64)")
def finish(register: int, pending: int, words: Any, used: int, out: Any, start: int) -> int:
    """Flush one code-block (C.2.9), propagate carries, stuff bits (C.2.7) and drop what decoders supply themselves.

    Parameters
    ----------
    words
        The lane's ``used`` words, with room for two more.
    out
        Receives the bytes from ``start`` on; needs room for ``(used + 2) * 32 / 7`` and 8 more.

    Returns
    -------
    int
        Offset in ``out`` after the last byte.
    """
    # Any C within the final interval will do; this one ends in as many ones as possible (SETBITS, Figure C.11).
    top = register + INITIAL_INTERVAL
    register |= 0xFFFF
    if register >= top:
        register -= 0x8000
    left = pending + 15
    if left > 31:
        words[used] = shift_right(register, left - 32)
        register &= shift_left(1, left - 32) - 1
        used += 1
        left -= 32
    words[used] = shift_left(register + 1, 32 - left) - 1
    used += 1

    carry = 0
    for at in range(used - 1, -1, -1):
        carry += words[at]
        words[at] = carry & 0xFFFFFFFF
        carry >>= 32

    end = start
    buffer, bits, width = 0, 0, 8
    for at in range(used):
        buffer = (buffer << 32) | words[at]
        bits += 32
        while bits >= width:
            bits -= width
            byte = shift_right(buffer, bits)
            buffer &= shift_left(1, bits) - 1
            out[end] = byte
            end += 1
            width = 7 if byte == 0xFF else 8
    out[end] = shift_left(buffer + 1, width - bits) - 1
    end += 1

    # A decoder reads ones after the end (D.4.1): trailing ones, stuffed or not, need not be sent.
    while end > start and (out[end - 1] == 0xFF or (out[end - 1] == 0x7F and end > start + 1 and out[end - 2] == 0xFF)):
        end -= 1
    return end
