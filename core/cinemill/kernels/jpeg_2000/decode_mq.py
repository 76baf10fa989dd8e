"""The MQ decoder (T.800 C.3), which decodes one symbol of 64 code-blocks at once, one in each lane of a vector.

All lanes decode in the same step, each in a context of its own; lanes that have no symbol to decode stay as they are. A set
of lanes is a 64-bit word, a bit a lane, and so are 64 decisions. A step takes 20 ns with AVX-512 and 35 ns with AVX2.

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
    has_byte_ff,
    load_i64,
    load_u8,
    load_word,
    shift_down,
    shift_up,
    store_8,
    store_16,
    store_64,
    store_word,
)
from cinemill.kernels.machine.instructions import Value, gathered, instructions
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.x86 import funnel_shifted, looked_up, mask_of

LANES = 64
ZERO_CODING, SIGN_CODING, REFINEMENT, RUN_LENGTH, UNIFORM = 0, 9, 14, 17, 18
"""Labels of the first context of each kind (Tables D.1, D.3, D.4 and D.7)."""
CONTEXTS = 19

INTERVAL, CODE, FOLLOWING, LEFT, EMPTY, POSITION, END, STATES = 0, 128, 256, 384, 448, 512, 1024, 1536
"""Where in the memory of a vector of lanes A, C and the bits that follow are (16 bits a lane), how many of these are
left (8 bits), which lanes lack bits of C, the addresses of the next bits and of the end (64), and the contexts (8)."""
DECODERS_SIZE = STATES + CONTEXTS * LANES

# A context is one byte: the state, and MPS in bit 7.
_QE_LOW = [state[0] & 0xFF for state in MQ_STATES]
_QE_HIGH = [state[0] >> 8 for state in MQ_STATES]
_QE_SHIFT = [16 - state[0].bit_length() for state in MQ_STATES]
_AFTER_MPS = [state[1] for state in MQ_STATES]
_AFTER_LPS = [state[2] | state[3] << 7 for state in MQ_STATES]
_INITIAL_CONTEXTS = np.zeros(CONTEXTS, np.uint8)
_INITIAL_CONTEXTS[[ZERO_CODING, RUN_LENGTH, UNIFORM]] = 4, 3, 46  # Table D.7


def _read_context(contexts: Value, count: int, label: list[Value]) -> Value:
    """Read each lane's context: a binary tree of choices over the bits of its label."""
    level = [(contexts + LANES * number).load(8, LANES) for number in range(count)]
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
        number.equals(other).choose(context, where.load(8, LANES)).store(where)


def _decode(count: int) -> Any:
    """Make the operation that decodes a symbol of the active lanes in one of ``count`` contexts (C.3.2, C.3.3).

    The label counts from the first of these contexts; each argument ``b0`` to ``b3`` has one bit of it for all lanes.
    """
    label_bits = (count - 1).bit_length()

    @instructions
    def decode(
        lanes: Value, contexts: Value, active: Value, b0: Value, b1: Value, b2: Value, b3: Value
    ) -> Value:
        label = [mask_of(bit, LANES) for bit in (b0, b1, b2, b3)[:label_bits]]
        context = _read_context(contexts, count, label)
        # Without Qe, nothing changes in a lane.
        coded = mask_of(active, LANES)
        qe = coded.choose(looked_up(context, _QE_LOW), 0).resized(16)
        qe |= coded.choose(looked_up(context, _QE_HIGH), 0).resized(16) << 8
        interval, code = (lanes + INTERVAL).load(16, LANES), (lanes + CODE).load(16, LANES)
        following, left = (lanes + FOLLOWING).load(16, LANES), (lanes + LEFT).load(8, LANES)

        rest = interval - qe
        upper = code.at_least_unsigned(qe)
        interval = upper.choose(rest, qe)
        code = upper.choose(code - qe, code)
        # The smaller of Qe and the rest is LPS, whichever of them comes first (Figures C.16, C.17); one comparison
        # does for both cases, and spares LLVM combinations of masks that it takes apart lane by lane with AVX2.
        less_probable = upper.choose(qe - 1, rest).at_least_unsigned(interval)

        # Qe is 0x5601 or less, so the rest needs two doublings at most.
        once = (rest.at_least_unsigned(0x8000) ^ -1).choose(rest.like(1), 0)
        twice = (rest.at_least_unsigned(0x4000) ^ -1).choose(rest.like(1), 0)
        shift = upper.choose(once + twice, looked_up(context, _QE_SHIFT).resized(16))
        (interval << shift).store(lanes + INTERVAL)
        funnel_shifted(code, following, shift).store(lanes + CODE)
        (following << shift).store(lanes + FOLLOWING)
        left -= shift.resized(8)
        left.store(lanes + LEFT)
        (left < 0).packed().store(lanes + EMPTY)

        after = less_probable.choose(looked_up(context, _AFTER_LPS), looked_up(context, _AFTER_MPS))
        after ^= context & 0x80
        # A state changes only with a renormalisation.
        _write_context(contexts, count, label, shift.differs(0).choose(after, context))
        return (less_probable.choose(context ^ 0x80, context) < 0).packed() & active

    return decode


_decode_in_9, _decode_in_5, _decode_in_3, _decode_in_1 = (_decode(count) for count in (9, 5, 3, 1))


@instructions
def _fill(lanes: Value) -> None:
    """Complete C in all lanes, and fill up the 16 bits that follow."""
    for first in range(0, LANES, 8):
        end = (lanes + (END + 8 * first)).load(64, 8)
        position = (lanes + (POSITION + 8 * first)).load(64, 8).minimum(end)
        byte = position.shifted_down(3)
        new = gathered([byte.lane(lane).load(64) for lane in range(8)]).bytes_reversed() << (position & 7)
        left = (lanes + (LEFT + first)).load(8, 8).extended(64)
        code, following = ((lanes + (at + 2 * first)).load(16, 8).resized(64) for at in (CODE, FOLLOWING))
        filled = (code << 48) | (following << 32) | new.shifted_down(left + 16)
        filled.shifted_down(48).resized(16).store(lanes + (CODE + 2 * first))
        filled.shifted_down(32).resized(16).store(lanes + (FOLLOWING + 2 * first))
        (position + 16 - left).store(lanes + (POSITION + 8 * first))
        left.like(16).resized(8).store(lanes + (LEFT + first))


@jit("void(int64)")
def fill(lanes: int) -> None:
    """Fill all lanes, as has to be done once before anything is decoded."""
    _fill(lanes)


@inlined
def _fill_if_empty(lanes: int) -> None:
    if load_i64(lanes + EMPTY, 0) != 0:
        fill(lanes)


@jit("int64(int64, int64, int64, int64, int64, int64)")
def decode_zero(lanes: int, active: int, b0: int, b1: int, b2: int, b3: int) -> int:
    """Decode whether coefficients become significant."""
    decision = _decode_in_9(lanes, lanes + STATES + ZERO_CODING * LANES, active, b0, b1, b2, b3)
    _fill_if_empty(lanes)
    return decision


@jit("int64(int64, int64, int64, int64, int64)")
def decode_sign(lanes: int, active: int, b0: int, b1: int, b2: int) -> int:
    """Decode signs, before the XOR bit; the label counts from SIGN_CODING."""
    decision = _decode_in_5(lanes, lanes + STATES + SIGN_CODING * LANES, active, b0, b1, b2, 0)
    _fill_if_empty(lanes)
    return decision


@jit("int64(int64, int64, int64, int64)")
def decode_refinement(lanes: int, active: int, b0: int, b1: int) -> int:
    """Decode magnitude bits; the label counts from REFINEMENT."""
    decision = _decode_in_3(lanes, lanes + STATES + REFINEMENT * LANES, active, b0, b1, 0, 0)
    _fill_if_empty(lanes)
    return decision


@jit("int64(int64, int64, int64)")
def decode_in(lanes: int, label: int, active: int) -> int:
    """Decode in the same context in all lanes."""
    decision = _decode_in_1(lanes, lanes + STATES + label * LANES, active, 0, 0, 0, 0)
    _fill_if_empty(lanes)
    return decision


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
    store_16(lanes + INTERVAL, lane, 0x8000)
    store_16(lanes + CODE, lane, 0)
    store_16(lanes + FOLLOWING, lane, 0)
    store_8(lanes + LEFT, lane, -16)
    store_64(lanes + POSITION, lane, 8 * start)
    store_64(lanes + END, lane, 8 * end)
    for context in range(CONTEXTS):
        store_8(lanes + STATES + context * LANES, lane, np.int64(_INITIAL_CONTEXTS[context]))
