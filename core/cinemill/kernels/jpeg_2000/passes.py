"""The coding passes of a code-block (T.800 Annex D): from wavelet coefficients to symbols for the MQ coder.

What a pass codes is read from each word of the planes in scan order (`_emit`): PEXT packs the bits of the coefficients that
the pass codes, PDEP makes room for a sign after each decision that needs one, and the six planes of label and decision
become one byte a symbol, ``CX << 3 | D``: 1.5 ns a symbol with the contexts, against 2.5 ns if each symbol is
stored by itself.

Bounds: up to `SYMBOL_SLACK` bytes after the last symbol are written.
"""

from __future__ import annotations

from typing import Any

from cinemill.kernels.jpeg_2000.contexts import end_bit_plane, find_labels, find_members
from cinemill.kernels.jpeg_2000.planes import (
    AFTER,
    AROUND,
    BEFORE,
    BITS,
    GROUP_STRIDE,
    LABEL,
    MEMBER,
    NEW,
    NOT_ROW_0,
    ORIGIN,
    PLANE,
    REFINED,
    ROW_0,
    RUN,
    SIGN,
    SIGN_LABEL,
    SIGNIFICANT,
    ZERO,
    slice_block,
    word,
)
from cinemill.kernels.jpeg_2000.tables import COLUMNS, ORIENTATION, ROWS, START, STRIDE
from cinemill.kernels.machine.bits import address, shift_down, shift_up, store_64, trailing_zeros
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.x86 import count_ones, deposit_bits, extract_bits, mask_of, move_bits

SYMBOL_SLACK = 64
_EVEN = 0x5555555555555555
_RUN_LENGTH, _UNIFORM = 17, 18
"""Labels of Table D.7."""
_SIXTEEN_RUNS = (_RUN_LENGTH << 3) * 0x0101010101010101 - (1 << 64)


@instructions
def _store_symbols(
    target: Value, first: Value, decision: Value, b0: Value, b1: Value, b2: Value, b3: Value, b4: Value
) -> None:
    """Store 32 symbols, given words of each of their bits and the first bit to take of them."""
    symbols = target.load(8, 32).like(0)
    for bits, weight in ((decision, 1), (b0, 8), (b1, 16), (b2, 32), (b3, 64), (b4, 128)):
        symbols |= mask_of(bits.shifted_down(first), 32).choose(symbols.like(weight), 0)
    symbols.store(target)


@jit("int64(int64, int64, int64, int64, int64, int64)")
def _emit(target: int, words: int, coded: int, signed: int, run: int, bits: int) -> int:
    """Append the zero coding decisions of ``coded``, each followed by its sign if it is in ``signed``.

    Parameters
    ----------
    target
        Address of the next symbol.
    words
        Address of this word in plane 0.
    run
        Columns of ``coded`` whose decision is the run-length one.
    bits
        The magnitude bits to code.
    """
    while coded != 0:
        # Two slots a coefficient: 32 of them fill a word.
        part = coded if count_ones(coded) <= 32 else coded & 0xFFFFFFFF
        coded ^= part
        sign = signed & part
        slots = deposit_bits(shift_up(1, count_ones(part)) - 1, _EVEN)
        slots |= deposit_bits(extract_bits(sign, part), ~_EVEN)
        first, second = extract_bits(_EVEN, slots), extract_bits(~_EVEN, slots)
        decision = move_bits(bits, part, first) | move_bits(word(words, SIGN), sign, second)
        b0 = move_bits(word(words, LABEL) | run, part, first)
        b0 |= move_bits(word(words, SIGN_LABEL), sign, second)
        b1 = move_bits(word(words, LABEL + 1), part, first)
        b1 |= move_bits(word(words, SIGN_LABEL + 1), sign, second)
        b2 = move_bits(word(words, LABEL + 2), part, first)
        b2 |= move_bits(word(words, SIGN_LABEL + 2), sign, second)
        b3 = move_bits(word(words, LABEL + 3), part, first) | second
        b4 = move_bits(run, part, first)
        _store_symbols(target, 0, decision, b0, b1, b2, b3, b4)
        count = count_ones(slots)
        if count > 32:
            _store_symbols(target + 32, 32, decision, b0, b1, b2, b3, b4)
        target += count
    return target


@jit("int64(int64, int64, int64)")
def _emit_refinements(target: int, words: int, bits: int) -> int:
    """Append the decisions of the magnitude refinement pass for one word (Table D.4)."""
    coded = word(words, SIGNIFICANT)
    count = count_ones(coded)
    again = extract_bits(word(words, REFINED), coded)
    around = extract_bits(word(words, AROUND), coded) & ~again
    decision = extract_bits(bits, coded)
    _store_symbols(target, 0, decision, around, ~again, ~again, ~again, again)
    if count > 32:
        _store_symbols(target + 32, 32, decision, around, ~again, ~again, ~again, again)
    return target + count


@jit("int64(int64, int64, int64)")
def _emit_end_of_run(target: int, words: int, at: int) -> int:
    """Append the end of a run at one coefficient: two uniform decisions for its row, and its sign."""
    label = 8
    for bit in range(3):
        label |= (shift_down(word(words, SIGN_LABEL + bit), at) & 1) << bit
    sign = shift_down(word(words, SIGN), at) & 1
    store_64(
        target,
        0,
        (_RUN_LENGTH << 3 | 1)
        | (_UNIFORM << 3 | (at >> 1 & 1)) << 8
        | (_UNIFORM << 3 | (at & 1)) << 16
        | (label << 3 | sign) << 24,
    )
    return target + 4


@jit("int64(int64, int64, int64)")
def _emit_clean_up(target: int, words: int, bits: int) -> int:
    """Append the symbols of the clean-up pass for one word."""
    coded = word(words, ZERO) & ~word(words, MEMBER)
    signed = coded & bits
    run = word(words, RUN)
    if coded == -1 and run == ROW_0 and signed == 0:
        # Sixteen runs, as most words of the upper bit-planes are.
        store_64(target, 0, _SIXTEEN_RUNS)
        store_64(target + 8, 0, _SIXTEEN_RUNS)
        return target + 16
    in_runs = 15 * run
    ones = signed & in_runs
    if ones == 0:
        return _emit(target, words, (coded & ~in_runs) | run, signed, run, bits)
    # The first one of each column ends its run; the coefficients below it are coded as usual.
    below = (ones << 1) & NOT_ROW_0
    below |= (below << 1) & NOT_ROW_0
    below |= (below << 1) & NOT_ROW_0
    ends = ones & ~below
    run &= ~(ones | shift_down(ones, 1) | shift_down(ones, 2) | shift_down(ones, 3))
    coded = (coded & ~in_runs) | run | (below & in_runs)
    while ends != 0:
        end = ends & -ends
        ends ^= end
        target = _emit(target, words, coded & (end - 1), signed, run, bits)
        coded &= ~(end - 1)
        target = _emit_end_of_run(target, words, trailing_zeros(end))
    return _emit(target, words, coded, signed, run, bits)


@inlined
def _address(planes: int, group: int, stripe: int) -> int:
    """Address of a word in plane 0."""
    return planes + ORIGIN + group * GROUP_STRIDE + stripe * 8


@jit("int64(int64, int64, int64, int64, int64)")
def _propagate_significance(target: int, planes: int, bits: int, groups: int, stripes: int) -> int:
    """Append the symbols of the significance propagation pass (D.3.1)."""
    for stripe in range(stripes):
        for group in range(groups):
            words = _address(planes, group, stripe)
            members = word(words, MEMBER)
            if members != 0:
                target = _emit(target, words, members, word(words, NEW), 0, word(words, bits))
    return target


@jit("int64(int64, int64, int64, int64, int64)")
def _refine_magnitudes(target: int, planes: int, bits: int, groups: int, stripes: int) -> int:
    """Append the symbols of the magnitude refinement pass (D.3.3)."""
    for stripe in range(stripes):
        for group in range(groups):
            words = _address(planes, group, stripe)
            if word(words, SIGNIFICANT) != 0:
                target = _emit_refinements(target, words, word(words, bits))
    return target


@jit("int64(int64, int64, int64, int64, int64)")
def _clean_up(target: int, planes: int, bits: int, groups: int, stripes: int) -> int:
    """Append the symbols of the clean-up pass (D.3.4)."""
    for stripe in range(stripes):
        for group in range(groups):
            words = _address(planes, group, stripe)
            target = _emit_clean_up(target, words, word(words, bits))
    return target


@jit("int64(uint8[::1], boolean, int64[::1], int64, uint8[::1], int64, uint64[::1])")
def form_symbols(
    coefficients: Any, wide: bool, block: Any, bit_planes: int, symbols: Any, first: int, workspace: Any
) -> int:
    """Turn a code-block into the symbols of all its coding passes.

    Parameters
    ----------
    coefficients, wide
        Wavelet coefficients, and whether they have 32 bits, not 16; there must be 3 x STRIDE + READ_AHEAD after the code-block.
    block
        A row of the table of code-blocks.
    bit_planes
        What `count_bit_planes` says, at most MAX_BIT_PLANES.
    symbols
        Receives ``CX << 3 | D`` from ``first`` on; needs room for all and SYMBOL_SLACK.
    workspace
        PLANES_SIZE bytes.

    Returns
    -------
    int
        The number of symbols.
    """
    columns, rows, orientation = block[COLUMNS], block[ROWS], block[ORIENTATION]
    groups, stripes = (columns + 15) // 16, (rows + 3) // 4
    planes = address(workspace)
    workspace[: BITS * PLANE // 8] = 0
    size = 4 if wide else 2
    first_coefficient = address(coefficients) + size * block[START]
    slice_block(first_coefficient, wide, size * block[STRIDE], columns, rows, bit_planes, planes)
    target = address(symbols) + first
    for bit_plane in range(bit_planes - 1, -1, -1):
        bits = BITS + bit_plane
        find_members(planes, bits, groups, stripes)
        if bit_plane < bit_planes - 1:
            find_labels(planes, orientation, BEFORE, SIGNIFICANT, groups, stripes)
            target = _propagate_significance(target, planes, bits, groups, stripes)
            target = _refine_magnitudes(target, planes, bits, groups, stripes)
        find_labels(planes, orientation, AFTER, BEFORE, groups, stripes)
        target = _clean_up(target, planes, bits, groups, stripes)
        end_bit_plane(planes, groups, stripes)
    return target - (address(symbols) + first)
