"""Symbols of sixteen JPEG-LS encoders, joined by fours and appended to each lane's code.

Memory
------
slots
    `SLOTS` times sixteen symbols of 32 bits, zeros behind the last slot in use. Behind them, by lane: the bits that `emit` holds back,
    their number, where they go, four joined symbols (64 bits each), and the length of these (32 bits).
"""

from __future__ import annotations

from cinemill.kernels._jit import inlined
from cinemill.kernels.bits import Value, copy_bytes, instructions, load_i64, load_u32, store_64
from cinemill.kernels.jpegls_encode_model import LONGEST_VALUE, emit, emit_symbol, joined
from cinemill.kernels.jpegls_parameters import LANES

SLOTS = 16
SLOT = 4 * LANES
"""Bytes from one slot to the next."""

WORDS = SLOTS * SLOT
HELD = WORDS + 8 * LANES
OUT = HELD + 8 * LANES
QUADS = OUT + 8 * LANES
QUAD_LENGTHS = QUADS + 8 * LANES
SLOTS_BYTES = QUAD_LENGTHS + 4 * LANES
"""Offsets behind the slots, and all bytes."""


@inlined
def start_codes(slots: int, plain: int, capacity: int) -> None:
    """Empty all slots; each lane's code goes to ``capacity`` bytes from ``plain`` on."""
    for word in range(SLOTS_BYTES // 8):
        store_64(slots, word, 0)
    for lane in range(LANES):
        store_64(slots + OUT, lane, plain + capacity * lane)


@inlined
def code_bits(slots: int, lane: int, start: int) -> int:
    """Return how many bits a lane's code has that starts at an address."""
    return 8 * (load_i64(slots + OUT, lane) - start) + load_i64(slots + HELD, lane)


@instructions
def _join(slot: Value, slots: Value) -> Value:
    """Join the symbols of four slots in each lane; returns the lanes in which they exceed 56 bits and are not right."""
    symbols = [(slot + SLOT * number).load(32, LANES) for number in range(4)]
    values = [(symbol & ((1 << LONGEST_VALUE) - 1)).resized(64) for symbol in symbols]
    lengths = [symbol.shifted_down(LONGEST_VALUE).resized(64) for symbol in symbols]
    first = joined(values[0], lengths[0], values[1], lengths[1])
    value, length = joined(*first, *joined(values[2], lengths[2], values[3], lengths[3]))
    value.store(slots + QUADS)
    length.resized(32).store(slots + QUAD_LENGTHS)
    return (length > 56).packed()


@instructions
def _clear(slot: Value) -> None:
    """Empty a slot."""
    slot.load(32, LANES).like(0).store(slot)


@inlined
def flush(slots: int, count: int) -> int:
    """Append whole fours of slots to the lanes' codes; returns how many slots, below four, stay in use."""
    done = 0
    while done + 4 <= count:
        exceeding = _join(slots + SLOT * done, slots)
        for lane in range(LANES):
            word, held, out = (
                load_i64(slots + WORDS, lane),
                load_i64(slots + HELD, lane),
                load_i64(slots + OUT, lane),
            )
            if (exceeding >> lane) & 1:
                for number in range(done, done + 4):
                    word, held, out = emit_symbol(word, held, out, load_u32(slots + SLOT * number, lane))
            else:
                word, held, out = emit(
                    word, held, out, load_i64(slots + QUADS, lane), load_u32(slots + QUAD_LENGTHS, lane)
                )
            store_64(slots + WORDS, lane, word)
            store_64(slots + HELD, lane, held)
            store_64(slots + OUT, lane, out)
        done += 4
    for number in range(done, count):
        copy_bytes(slots + SLOT * (number - done), slots + SLOT * number, SLOT)
    for number in range(count - done, count):
        _clear(slots + SLOT * number)
    return count - done
