"""The MQ decoder (T.800 C.3), which decodes one symbol of 64 code-blocks at once, one in each lane of a vector.

All lanes decode in the same step, each in a context of its own; lanes that have no symbol to decode stay as they are. A set
of lanes is a 64-bit word, a bit a lane, and so are 64 decisions. Where few lanes are active, these are decoded one after the
other: they don't wait for each other, and a vector costs as much as eight of them. Where a register holds half of the lanes, every
third one has no active lane, and is left as it is.

C is kept without the byte counter of C.3: a code-block's bytes are unstuffed beforehand (`unstuff`), carries resolved,
and C has the 16 bits that are compared with A, and the up to 16 that follow. When a lane has used these up, all lanes are
filled up (`_fill`): that is once in a dozen steps, which branch prediction gets along with.

Bounds: bytes are read at a lane's position, or at its end if that comes first; there are 8 bytes of ones, which the
standard wants read for ever (D.4.1). Nothing else depends on what is decoded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cinemill.kernels.jpeg_2000.tables import MQ_STATES
from cinemill.kernels.machine.bits import (
    address,
    choose,
    has_byte_ff,
    leading_zeros,
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    load_word,
    shift_down,
    shift_up,
    store_8,
    store_16,
    store_64,
    store_word,
    trailing_zeros,
)
from cinemill.kernels.machine.instructions import Value, gathered, instructions
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.x86 import (
    REGISTER,
    count_ones,
    deposit_bits,
    extract_bits,
    high_product,
    looked_up,
    looked_up_16,
    mask_of,
    packed_bytes,
)

LANES = 64
ZERO_CODING, SIGN_CODING, REFINEMENT, RUN_LENGTH, UNIFORM = 0, 9, 14, 17, 18
"""Labels of the first context of each kind (Tables D.1, D.3, D.4 and D.7)."""
CONTEXTS = 19
FEW = 4 if REGISTER < LANES else 6
"""Up to so many lanes, to decode in one after the other is faster than in a vector."""
_FIRST_LANES = (1 << REGISTER) - 1 if REGISTER < LANES else -1

INTERVAL, CODE, FOLLOWING, LEFT, EMPTY, POSITION, END, STATES = 0, 128, 256, 384, 448, 512, 1024, 1536
"""Where in the memory of a vector of lanes A, C and the bits that follow are (16 bits a lane), how many of these are
left (8 bits), which lanes of the last register lack bits of C, the addresses of the next bits and of the end (64), and
the contexts (8)."""
DECODERS_SIZE = STATES + CONTEXTS * LANES

# A context is one byte: the state, and MPS in bit 7.
_QE_LOW = [state[0] & 0xFF for state in MQ_STATES]
_QE_HIGH = [state[0] >> 8 for state in MQ_STATES]
_QE_SHIFT = [16 - state[0].bit_length() for state in MQ_STATES]
_AFTER_MPS = [state[1] for state in MQ_STATES]
_AFTER_LPS = [state[2] | state[3] << 7 for state in MQ_STATES]
_STATES = np.zeros(256, np.uint32)
"""By context: Qe, the context after MPS, and the one after LPS."""
for _number, (_qe, _mps, _lps, _switch) in enumerate(MQ_STATES):
    _STATES[_number] = _qe | _mps << 16 | (_lps | _switch << 7) << 24
    _STATES[_number | 0x80] = _qe | (_mps | 0x80) << 16 | (_lps | (1 - _switch) << 7) << 24
_POWER_LOW = [(1 << shift) & 0xFF for shift in range(16)]
_POWER_HIGH = [1 << shift >> 8 for shift in range(16)]
_INITIAL_CONTEXTS = np.zeros(CONTEXTS, np.uint8)
_INITIAL_CONTEXTS[[ZERO_CODING, RUN_LENGTH, UNIFORM]] = 4, 3, 46  # Table D.7


def _place(lane: int) -> int:
    """Where in vectors of 16 bits a lane is, in bytes: as `Value.interleaved` leaves it."""
    register, within = divmod(lane, REGISTER)
    part, number = divmod(within, 16)
    half, number = divmod(number, 8)
    return 2 * REGISTER * register + REGISTER * half + 16 * part + 2 * number


_PLACES = np.array([_place(lane) for lane in range(LANES)], np.uint8)


def _read_context(contexts: Value, count: int, label: list[Value]) -> Value:
    """Read each lane's context: a binary tree of choices over the bits of its label."""
    level = [(contexts + LANES * number).load(8, REGISTER) for number in range(count)]
    for bit in label:
        pairs = [level[at : at + 2] for at in range(0, len(level), 2)]
        level = [bit.choose(pair[1], pair[0]) if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0]


def _write_context(contexts: Value, count: int, label: list[Value], context: Value) -> None:
    number = context.like(0)
    for bit, mask in enumerate(label):
        number |= mask.choose(context.like(1 << bit), 0)
    for other in range(count):
        where = contexts + LANES * other
        number.equals(other).choose(context, where.load(8, REGISTER)).store(where)


def _words(low: Value, high: Value) -> list[Value]:
    """Join bytes to 16 bits, in two vectors."""
    return [half.recast(16, REGISTER // 2) for half in low.interleaved(high)]


def _decode_register(
    lanes: Value, contexts: Value, first: Value, count: int, active: Value, bits: list[Value]
) -> Value:
    """Do what `_decode` says; ``active`` and ``bits`` begin with the first lane of the register."""
    label = [mask_of(bit, REGISTER) for bit in bits]
    contexts += first
    context = _read_context(contexts, count, label)
    # Without Qe, nothing changes in a lane.
    coded = mask_of(active, REGISTER)
    qes = _words(*(coded.choose(looked_up(context, table), 0) for table in (_QE_LOW, _QE_HIGH)))
    places = lanes + (first << 1), lanes + ((first << 1) + REGISTER)
    intervals, codes, uppers, overs, tops = [], [], [], [], []
    for place, qe in zip(places, qes, strict=True):
        interval, code = ((place + at).load(16, REGISTER // 2) for at in (INTERVAL, CODE))
        rest = interval - qe
        upper = code.at_least_unsigned(qe)
        intervals.append(upper.choose(rest, qe))
        codes.append(code.minimum_unsigned(code - qe))
        uppers.append(upper.extended(16))
        overs.append(rest.at_least_unsigned(qe).extended(16))
        tops.append(rest.shifted_down(12))
    # The smaller of Qe and the rest is LPS, whichever of them comes first (Figures C.16, C.17).
    upper = packed_bytes(*uppers)
    less_probable = upper ^ packed_bytes(*overs)
    # Qe is 0x5601 or less, so the rest needs two doublings at most.
    rest_shift = looked_up_16(packed_bytes(*tops), [2] * 4 + [1] * 4 + [0] * 8)
    shift = (upper < 0).choose(rest_shift, looked_up(context, _QE_SHIFT))
    powers = _words(*(looked_up_16(shift, table) for table in (_POWER_LOW, _POWER_HIGH)))
    for place, interval, code, power in zip(places, intervals, codes, powers, strict=True):
        following = (place + FOLLOWING).load(16, REGISTER // 2)
        (interval * power).store(place + INTERVAL)
        (code * power | high_product(following, power)).store(place + CODE)
        (following * power).store(place + FOLLOWING)
    left = (lanes + (first + LEFT)).load(8, REGISTER) - shift
    left.store(lanes + (first + LEFT))
    (left < 0).packed().store(lanes + EMPTY)

    after = (less_probable < 0).choose(looked_up(context, _AFTER_LPS), looked_up(context, _AFTER_MPS))
    after ^= context & 0x80
    # A state changes only with a renormalisation.
    _write_context(contexts, count, label, shift.equals(0).choose(context, after))
    return ((context ^ less_probable) < 0).packed() & active


def _decode(count: int) -> Any:
    """Make the operation that decodes a symbol of the active lanes of one register in one of ``count`` contexts (C.3.2, C.3.3).

    The label counts from the first of these contexts; each argument ``b0`` to ``b3`` has one bit of it for all lanes. Lane
    ``first`` is the first one of the register; ``EMPTY`` receives which of its lanes lack bits of C.
    """
    label_bits = (count - 1).bit_length()

    @instructions
    def decode(
        lanes: Value, contexts: Value, first: Value, active: Value, b0: Value, b1: Value, b2: Value, b3: Value
    ) -> Value:
        bits = [bit.shifted_down(first) for bit in (b0, b1, b2, b3)[:label_bits]]
        return _decode_register(lanes, contexts, first, count, active.shifted_down(first), bits)

    return decode


@instructions
def _fill(lanes: Value) -> None:
    """Complete C in all lanes, and fill up the 16 bits that follow."""
    for first in range(0, LANES, 8):
        end = (lanes + (END + 8 * first)).load(64, 8)
        position = (lanes + (POSITION + 8 * first)).load(64, 8).minimum(end)
        byte = position.shifted_down(3)
        new = gathered([byte.lane(lane).load(64) for lane in range(8)]).bytes_reversed() << (position & 7)
        left = (lanes + (LEFT + first)).load(8, 8).extended(64)
        place = lanes + _place(first)
        code, following = ((place + at).load(16, 8).resized(64) for at in (CODE, FOLLOWING))
        filled = (code << 48) | (following << 32) | new.shifted_down(left + 16)
        filled.shifted_down(48).resized(16).store(place + CODE)
        filled.shifted_down(32).resized(16).store(place + FOLLOWING)
        (position + 16 - left).store(lanes + (POSITION + 8 * first))
        left.like(16).resized(8).store(lanes + (LEFT + first))


@jit("void(int64)")
def fill(lanes: int) -> None:
    """Fill all lanes, as has to be done once before anything is decoded."""
    _fill(lanes)


@jit("int64(int64, int64, int64, int64, int64, int64, int64)")
def _decode_few(lanes: int, contexts: int, active: int, b0: int, b1: int, b2: int, b3: int) -> int:
    """Do what `_decode` does for at most 16 active lanes, one after the other: they don't wait for each other."""
    labels = (
        deposit_bits(extract_bits(b0, active), 0x1111_1111_1111_1111)
        | deposit_bits(extract_bits(b1, active), 0x2222_2222_2222_2222)
        | deposit_bits(extract_bits(b2, active), 0x4444_4444_4444_4444)
        | deposit_bits(extract_bits(b3, active), -0x7777_7777_7777_7778)
    )
    states, places = address(_STATES), address(_PLACES)
    decisions = lacking = 0
    while active != 0:
        lane = trailing_zeros(active)
        active &= active - 1
        where = contexts + LANES * (labels & 15) + lane
        labels = shift_down(labels, 4)
        context = load_u8(where, 0)
        state = load_u32(states, context)
        place = lanes + load_u8(places, lane)
        code = (load_u16(place + CODE, 0) << 16) | load_u16(place + FOLLOWING, 0)
        qe = state & 0xFFFF
        rest = load_u16(place + INTERVAL, 0) - qe
        # Masks: C is below Qe; LPS.
        lower = (code - (qe << 16)) >> 63
        less_probable = lower ^ ((rest - qe) >> 63)
        interval = rest ^ ((rest ^ qe) & lower)
        shift = leading_zeros(interval) - 48
        code = shift_up(code - ((qe << 16) & ~lower), shift)
        store_16(place + INTERVAL, 0, shift_up(interval, shift))
        store_16(place + CODE, 0, shift_down(code, 16))
        store_16(place + FOLLOWING, 0, code)
        left = load_u8(lanes + LEFT, lane) - shift
        store_8(lanes + LEFT, lane, left)
        lacking |= left
        after = shift_down(state, 16 + (less_probable & 8))
        store_8(where, 0, choose(shift, after, context))
        decisions |= shift_up(((context >> 7) ^ less_probable) & 1, lane)
    if lacking < 0:
        fill(lanes)
    return decisions


def _decode_in(count: int) -> Any:
    """Make the decoding of a symbol of the active lanes in ``count`` contexts, register by register."""
    decode_register = _decode(count)

    @inlined
    def decode(lanes: int, contexts: int, active: int, b0: int, b1: int, b2: int, b3: int) -> int:
        if count_ones(active) <= FEW:
            return _decode_few(lanes, contexts, active, b0, b1, b2, b3)
        decisions = lacking = 0
        for first in range(0, LANES, REGISTER):
            if active & shift_up(_FIRST_LANES, first) != 0:
                found = decode_register(lanes, contexts, first, active, b0, b1, b2, b3)
                decisions |= shift_up(found, first)
                lacking |= load_i64(lanes + EMPTY, 0)
        if lacking != 0:
            fill(lanes)
        return decisions

    return decode


_decode_in_9, _decode_in_5, _decode_in_3, _decode_in_1 = (_decode_in(count) for count in (9, 5, 3, 1))


@jit("int64(int64, int64, int64, int64, int64, int64)")
def decode_zero(lanes: int, active: int, b0: int, b1: int, b2: int, b3: int) -> int:
    """Decode whether coefficients become significant."""
    return _decode_in_9(lanes, lanes + STATES + ZERO_CODING * LANES, active, b0, b1, b2, b3)


@jit("int64(int64, int64, int64, int64, int64)")
def decode_sign(lanes: int, active: int, b0: int, b1: int, b2: int) -> int:
    """Decode signs, before the XOR bit; the label counts from SIGN_CODING."""
    return _decode_in_5(lanes, lanes + STATES + SIGN_CODING * LANES, active, b0, b1, b2, 0)


@jit("int64(int64, int64, int64, int64)")
def decode_refinement(lanes: int, active: int, b0: int, b1: int) -> int:
    """Decode magnitude bits; the label counts from REFINEMENT."""
    return _decode_in_3(lanes, lanes + STATES + REFINEMENT * LANES, active, b0, b1, 0, 0)


@jit("int64(int64, int64, int64)")
def decode_in(lanes: int, label: int, active: int) -> int:
    """Decode in the same context in all lanes."""
    return _decode_in_1(lanes, lanes + STATES + label * LANES, active, 0, 0, 0, 0)


@jit("int64(Array(uint8, 1, 'C', readonly=True), int64, int64, uint8[::1], int64)")
def unstuff(data: Any, start: int, length: int, out: Any, first: int) -> int:
    """Copy the bytes of a code-block, without stuffed bits, behind a bit 0 and before 8 bytes of ones.

    A stuffed bit may hold a carry, which is added to what is before it. A marker ends the bytes (C.3.4).

    Parameters
    ----------
    data
        Has ``length`` bytes from ``start`` on.
    out
        Needs room for ``length`` and 9 more bytes from ``first`` on.

    Returns
    -------
    int
        Offset in ``out`` of the bytes of ones.
    """
    source, target = address(data) + start, address(out)
    at, end = 0, first
    pending, bits, before = 0, 1, 0
    while at < length:
        if before != 0xFF and at + 8 <= length:
            word = load_word(source + at)
            if has_byte_ff(word) == 0:
                store_word(target + end, shift_up(pending, 64 - bits) | shift_down(word, bits))
                pending = word & (shift_up(1, bits) - 1)
                at, end = at + 8, end + 8
                continue
        byte = load_u8(source + at, 0)
        at += 1
        if before == 0xFF:
            if byte > 0x8F:
                break
            pending, bits = (pending << 7) + byte, bits + 7
            if pending >> bits:
                pending &= shift_up(1, bits) - 1
                carried = end - 1
                while carried > first and out[carried] == 0xFF:
                    out[carried] = 0
                    carried -= 1
                if carried >= first:
                    out[carried] += 1
        else:
            pending, bits = pending << 8 | byte, bits + 8
        before = byte
        if bits >= 8:
            bits -= 8
            out[end] = shift_down(pending, bits)
            pending &= shift_up(1, bits) - 1
            end += 1
    out[end] = shift_up(pending + 1, 8 - bits) - 1
    store_64(target + end + 1, 0, -1)
    return end + 1


@jit("void(int64, int64, int64, int64)")
def start_lane(lanes: int, lane: int, start: int, end: int) -> None:
    """Begin a code-block (C.3.5), given the addresses of its unstuffed bytes, and of the ones after them."""
    place = np.int64(_PLACES[lane])
    store_16(lanes + INTERVAL + place, 0, 0x8000)
    store_16(lanes + CODE + place, 0, 0)
    store_16(lanes + FOLLOWING + place, 0, 0)
    store_8(lanes + LEFT, lane, -16)
    store_64(lanes + POSITION, lane, 8 * start)
    store_64(lanes + END, lane, 8 * end)
    for context in range(CONTEXTS):
        store_8(lanes + STATES + context * LANES, lane, np.int64(_INITIAL_CONTEXTS[context]))
