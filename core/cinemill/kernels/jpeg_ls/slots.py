"""Symbols of sixteen JPEG-LS encoders, joined by fours and appended to each lane's code.

Memory
------
slots
    `SLOTS` times sixteen symbols of 32 bits, zeros behind the last slot in use; frame n's is number `half_place` (n).
    Behind them: the bits that `_append` holds back, their number, where they go, four joined symbols (64 bits each), and the lengths of
    these; frame n's are number `half_place` (`half_place` (n)).
"""

from __future__ import annotations

from cinemill.kernels.jpeg_ls.encode_model import LONGEST_VALUE, joined
from cinemill.kernels.jpeg_ls.parameters import LANES
from cinemill.kernels.machine.bits import copy_bytes, load_i64, store_64
from cinemill.kernels.machine.instructions import Value, instructions
from cinemill.kernels.machine.jit import inlined

SLOTS = 16
SLOT = 4 * LANES
"""Bytes from one slot to the next."""

WORDS = SLOTS * SLOT
HELD = WORDS + 8 * LANES
OUT = HELD + 8 * LANES
QUADS = OUT + 8 * LANES
QUAD_LENGTHS = QUADS + 8 * LANES
SLOTS_BYTES = QUAD_LENGTHS + 8 * LANES
"""Offsets behind the slots, and all bytes."""


@inlined
def half_place(number: int) -> int:
    """Return where a number stands when the even ones stand before the odd ones."""
    return (number >> 1) + (number & 1) * (LANES // 2)


@inlined
def start_codes(slots: int, plain: int, capacity: int) -> None:
    """Empty all slots; each lane's code goes to ``capacity`` bytes from ``plain`` on."""
    for word in range(SLOTS_BYTES // 8):
        store_64(slots, word, 0)
    for lane in range(LANES):
        store_64(slots + OUT, half_place(half_place(lane)), plain + capacity * lane)


@inlined
def code_bits(slots: int, lane: int, start: int) -> int:
    """Return how many bits a lane's code has that starts at an address."""
    place = half_place(half_place(lane))
    return 8 * (load_i64(slots + OUT, place) - start) + load_i64(slots + HELD, place)


def _symbols(slot: Value) -> tuple[Value, Value]:
    """Read a slot: the symbols' values and lengths, 32 bits each."""
    symbols = slot.load(32, LANES)
    return symbols & ((1 << LONGEST_VALUE) - 1), symbols.shifted_down(LONGEST_VALUE)


def _apart(numbers: Value) -> Value:
    """Widen 32-bit lanes to 64 bits, the even ones first."""
    pairs = numbers.recast(64, LANES // 2)
    return (pairs & 0xFFFFFFFF).shuffled(range(LANES), pairs.shifted_down(32))


def _append(slots: Value, values: Value, lengths: Value) -> None:
    """Append up to 56 bits to each lane's code.

    Eight bytes are written each time, of which the later ones are not final.
    """
    held = (slots + HELD).load(64, LANES) + lengths
    words = (slots + WORDS).load(64, LANES) | ((values << (held.like(63) - held)) << 1)
    final = words.bytes_reversed()
    for lane in range(LANES):
        final.lane(lane).store((slots + OUT + 8 * lane).load(64))
    (words << (held & 56)).store(slots + WORDS)
    (held & 7).store(slots + HELD)
    ((slots + OUT).load(64, LANES) + held.shifted_down(3)).store(slots + OUT)


@instructions
def _join(slot: Value, slots: Value) -> Value:
    """Join the symbols of four slots in each lane; returns the lanes in which two exceed 31 bits, or all 56, and are not right."""
    first, second, third, last = (_symbols(slot + SLOT * number) for number in range(4))
    pairs = joined(*first, *second), joined(*third, *last)
    values, lengths = joined(*(_apart(part) for pair in pairs for part in pair))
    values.store(slots + QUADS)
    lengths.store(slots + QUAD_LENGTHS)
    one, other = pairs[0][1], pairs[1][1]
    return ((one.maximum(other) > 31) | (one + other > 56)).packed()


@instructions
def _append_joined(slots: Value) -> None:
    """Append what `_join` has joined."""
    _append(slots, (slots + QUADS).load(64, LANES), (slots + QUAD_LENGTHS).load(64, LANES))


@instructions
def _append_slot(slot: Value, slots: Value) -> None:
    """Append the symbols of one slot, of up to 64 bits: as many of their leading zeros as exceed 32 bits, and the rest."""
    values, lengths = (_apart(part) for part in _symbols(slot))
    zeros = (lengths - 32).maximum(0)
    _append(slots, values.like(0), zeros)
    _append(slots, values, lengths - zeros)


@instructions
def _clear(slot: Value) -> None:
    """Empty a slot."""
    slot.load(32, LANES).like(0).store(slot)


@inlined
def flush(slots: int, count: int) -> int:
    """Append whole fours of slots to the lanes' codes; returns how many slots, below four, stay in use."""
    done = 0
    while done + 4 <= count:
        if _join(slots + SLOT * done, slots) == 0:
            _append_joined(slots)
        else:
            for number in range(done, done + 4):
                _append_slot(slots + SLOT * number, slots)
        done += 4
    for number in range(done, count):
        copy_bytes(slots + SLOT * (number - done), slots + SLOT * number, SLOT)
    for number in range(count - done, count):
        _clear(slots + SLOT * number)
    return count - done
