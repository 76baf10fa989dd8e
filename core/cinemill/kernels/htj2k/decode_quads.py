"""What MEL and VLC say of the quads of a code-block (T.814 7.3.2 to 7.3.6): significance, EMB patterns and u.

Quads are decoded one after the other, without branches: a code word that is not there has no bits. Each waits for its tables most
of the time, so two code-blocks of a size are decoded side by side. The significance of a row's lower samples is one 64-bit word, of
which the contexts of the next row are bits; rows in which nothing is significant are told by the MEL events alone.

Bounds
------
What is read and written depends on the size of the code-block only, but for the position in VLC bits: a pair of quads takes 30 of
them at most, a code-block of 1024 quads half of what there is memory for. Whether that was more than there are is looked at in
the end. There are up to 48 events a row, one for each quad, and in the first row one for each pair.
"""

from __future__ import annotations

from typing import Any

from cinemill.kernels.htj2k.decode_bits import STREAMS_SIZE, VLC, next_events, start_mel
from cinemill.kernels.htj2k.decode_tables import EVENT, TAKEN, U_TAKEN
from cinemill.kernels.machine.bits import (
    leading_zeros,
    load_i64,
    load_u32,
    shift_down,
    shift_up,
    store_8,
    store_16,
    store_64,
)
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.x86 import deposit_bits, extract_bits

ROW = 32
"""Quads that a row has at most."""
QUADS = STREAMS_SIZE
"""In the memory of a code-block: 32 bits a quad, as `quad_codes` has them, row by row."""
US = QUADS + 4 * ROW * ROW + 64
"""u of each quad, a byte."""
EMPTY = US + ROW * ROW + 64
"""Of each row, whether nothing in it is significant; what it has as quads then means nothing."""
QUADS_END = EMPTY + 2 * ROW

_EVENT_BIT = 1 << EVENT
_TABLE, _U_TABLE = 4 << EVENT + 1, 8 << EVENT + 1
"""Bytes of what is looked up in the first row."""
_LOWER_SAMPLES = 0x000A0000000A0000
"""Of a pair of quads."""


def _make_decode_pair(*, half: bool) -> Any:
    @inlined
    def decode_pair(
        word: int,
        bits: int,
        source: int,
        around: int,
        before: int,
        events: int,
        table: int,
        u_table: int,
        quads: int,
        us: int,
    ) -> tuple[int, int, int, int, int, int]:
        """Decode two quads, or with ``half`` the first of them, where the row ends with it.

        ``word`` has ``bits`` bits, the next ones are at ``source``. ``around`` says of the row above, ``before`` of the quad
        to the left, what counts for the context; ``events`` has the next MEL event in bit EVENT. Returned are what word,
        bits and source are then, the second quad, the events left, and the significance of the lower samples.
        """
        word |= shift_up(load_i64(source, 0), bits)
        source += (63 - bits) >> 3
        bits |= 56
        context = (around & 0x180) | (before & 0x380)
        pair = one = load_u32(table, context | (word & 127) | (events & _EVENT_BIT))
        events = shift_down(events, shift_down(one, TAKEN))
        word = shift_down(word, one)
        other = 0
        if not half:
            context = (shift_down(around, 1) & 0x180) | (one & 0x380)
            other = load_u32(table, context | (word & 127) | (events & _EVENT_BIT))
            events = shift_down(events, shift_down(other, TAKEN))
            word = shift_down(word, other)
            pair |= shift_up(other, 32)
        key = (one & 0x40) | shift_up(other & 0x40, 1) | (word & 63) | (events & _EVENT_BIT)
        code = load_i64(u_table, key)
        events = shift_down(events, shift_down(code, U_TAKEN))
        suffixes = deposit_bits(shift_down(word, shift_down(code, 8)), shift_down(code, 16))
        store_16(us, 0, shift_down(code, 32) + suffixes)
        store_64(quads, 0, pair)
        bits -= (one + other + code) & 63
        return shift_down(word, code), bits, source, other, events, extract_bits(pair, _LOWER_SAMPLES)

    return decode_pair


_decode_pair, _decode_half = _make_decode_pair(half=False), _make_decode_pair(half=True)


@jit("UniTuple(int64, 6)(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def _decode_last(
    word: int,
    bits: int,
    source: int,
    around: int,
    before: int,
    events: int,
    table: int,
    u_table: int,
    quads: int,
    us: int,
) -> tuple[int, int, int, int, int, int]:
    """Decode the last quad of an odd number of them."""
    return _decode_half(word, bits, source, around, before, events, table, u_table, quads, us)


@inlined
def _around(lower: int) -> int:
    """Tell which quads of the next row have significant samples above to the left; to the right is that of the next one."""
    left = extract_bits(lower | shift_up(lower, 1), 0x5555555555555555)
    return shift_up(left | shift_up(shift_down(lower, 63), 32), 7)


@inlined
def _quiet(neighbours: int, events: int) -> bool:
    """Tell whether nothing around the next two quads is significant, and MEL says that they aren't either."""
    return (neighbours & 0x380) | (events & 3 * _EVENT_BIT) == 0


@inlined
def _clear_pair(quads: int, us: int) -> None:
    store_64(quads, 0, 0)
    store_16(us, 0, 0)


@inlined
def _clear_quads(quads: int, us: int, first: int, count: int) -> None:
    """Clear what follows the last pair, as far as eight quads are taken at once."""
    for pair in range(first, (count + 7) // 8 * 4):
        _clear_pair(quads + 8 * pair, us + 2 * pair)


@jit(
    "void(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64[:, ::1], int64[::1])"
)
def decode_quads(
    memory_a: int,
    memory_b: int,
    columns: int,
    rows: int,
    start_a: int,
    end_a: int,
    start_b: int,
    end_b: int,
    table: int,
    u_table: int,
    mel_table: int,
    mel: Any,
    used: Any,
) -> None:
    """Decode the quads of two code-blocks of a size, which may be one and the same.

    Parameters
    ----------
    memory_a, memory_b
        With the bits of each, as `unstuff` leaves them; receives its quads.
    columns, rows
        Of both.
    start_a, end_a, start_b, end_b
        Where MEL of each begins, and the code-block's last byte.
    table, u_table, mel_table
        Addresses of `quad_codes`, `u_codes` and `mel_decoding`.
    mel
        Memory for two MEL decoders.
    used
        Receives how many bits of VLC each took.
    """
    start_mel(memory_a, mel[0], start_a, end_a)
    start_mel(memory_b, mel[1], start_b, end_b)
    quads, pairs = (columns + 1) >> 1, (columns + 1) >> 2
    every = shift_up(shift_up(1, quads) - 1, EVENT)
    quads_a, us_a, quads_b, us_b = memory_a + QUADS, memory_a + US, memory_b + QUADS, memory_b + US
    around_a, event_a, around_b, event_b = 0, 0, 0, 0
    word_a, bits_a, source_a = 0, 0, memory_a + VLC
    word_b, bits_b, source_b = 0, 0, memory_b + VLC
    for row in range((rows + 1) >> 1):
        events_a = next_events(memory_a, mel[0], event_a, mel_table)
        events_b = next_events(memory_b, mel[1], event_b, mel_table)
        lower_a, before_a, lower_b, before_b = 0, 0, 0, 0
        empty = around_a | (events_a & every) | around_b | (events_b & every) == 0
        store_8(memory_a + EMPTY, row, empty)
        store_8(memory_b + EMPTY, row, empty)
        if empty:
            event_a += quads
            event_b += quads
        else:
            for pair in range(pairs):
                if _quiet(around_a | around_b | before_a | before_b, events_a | events_b):
                    _clear_pair(quads_a + 8 * pair, us_a + 2 * pair)
                    _clear_pair(quads_b + 8 * pair, us_b + 2 * pair)
                    around_a, events_a = shift_down(around_a, 2), shift_down(events_a, 2)
                    around_b, events_b = shift_down(around_b, 2), shift_down(events_b, 2)
                    continue
                word_a, bits_a, source_a, before_a, events_a, some = _decode_pair(
                    word_a,
                    bits_a,
                    source_a,
                    around_a,
                    before_a,
                    events_a,
                    table,
                    u_table,
                    quads_a + 8 * pair,
                    us_a + 2 * pair,
                )
                lower_a |= shift_up(some, 4 * pair)
                around_a = shift_down(around_a, 2)
                word_b, bits_b, source_b, before_b, events_b, some = _decode_pair(
                    word_b,
                    bits_b,
                    source_b,
                    around_b,
                    before_b,
                    events_b,
                    table,
                    u_table,
                    quads_b + 8 * pair,
                    us_b + 2 * pair,
                )
                lower_b |= shift_up(some, 4 * pair)
                around_b = shift_down(around_b, 2)
            if quads & 1:
                word_a, bits_a, source_a, before_a, events_a, some = _decode_last(
                    word_a,
                    bits_a,
                    source_a,
                    around_a,
                    before_a,
                    events_a,
                    table,
                    u_table,
                    quads_a + 8 * pairs,
                    us_a + 2 * pairs,
                )
                lower_a |= shift_up(some, 4 * pairs)
                word_b, bits_b, source_b, before_b, events_b, some = _decode_last(
                    word_b,
                    bits_b,
                    source_b,
                    around_b,
                    before_b,
                    events_b,
                    table,
                    u_table,
                    quads_b + 8 * pairs,
                    us_b + 2 * pairs,
                )
                lower_b |= shift_up(some, 4 * pairs)
            event_a += leading_zeros(events_a)
            event_b += leading_zeros(events_b)
            _clear_quads(quads_a, us_a, (quads + 1) >> 1, quads)
            _clear_quads(quads_b, us_b, (quads + 1) >> 1, quads)
        around_a, around_b = _around(lower_a), _around(lower_b)
        quads_a, us_a, quads_b, us_b = quads_a + 4 * ROW, us_a + ROW, quads_b + 4 * ROW, us_b + ROW
        if row == 0:
            table += _TABLE
            u_table += _U_TABLE
    used[0] = 8 * (source_a - memory_a - VLC) - bits_a
    used[1] = 8 * (source_b - memory_b - VLC) - bits_b
