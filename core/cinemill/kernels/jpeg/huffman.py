"""Huffman tables (T.81 Annex C) for walking a scan: a code by 16 bits, and as many symbols at once as 12 bits hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.kernels.machine import types
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.types import int64, uint8, uint16, void

if TYPE_CHECKING:
    from numpy.typing import NDArray

INDEX_BITS = 12
ENDED = 64
_MOST_BITS = 18
"""What one look-up may skip: three of them stay within the 56 bits that a word holds at least."""
_UNKNOWN = 255 << 8

_BYTES = types.Array(uint8, 1, "C", readonly=True)
SYMBOLS = types.Array(uint16, 2, "C", readonly=True)


@inlined
def code_length(code: int) -> int:
    """Bits of the code itself, of an entry of ``symbols``; 0 if there is no such code."""
    return code & 255


@inlined
def code_symbol(code: int) -> int:
    """Return what the code stands for: zeros before a coefficient, and its size in bits."""
    return code >> 8


@inlined
def code_zeros(code: int) -> int:
    """Zeros before the coefficient; the length of the run of an end-of-band code."""
    return code >> 12


@inlined
def code_size(code: int) -> int:
    """Bits of the coefficient, which follow the code."""
    return code >> 8 & 15


@inlined
def entry_bits(entry: int) -> int:
    """Bits to skip, of an entry of ``lookup``, or of a sum of up to three."""
    return entry & 63


@inlined
def entry_blocks(sums: int) -> int:
    """Blocks that ended, of such a sum."""
    return sums >> 6 & 3


@inlined
def entry_coefficients(entry: int) -> int:
    """Coefficients that an entry of ``lookup`` goes on by; 255 where the next code does not fit into the index."""
    return entry >> 8


@jit(int64(_BYTES, types.Array(types.boolean, 1, "C", readonly=True), uint16[::1]))
def fill_symbols(table: NDArray[np.uint8], known: NDArray[np.bool_], symbols: NDArray[np.uint16]) -> int:
    """Assign codes to the symbols of a Huffman table (T.81 Annex C).

    Parameters
    ----------
    table
        16 counts and the symbols, as they stand in a DHT segment.
    known
        (256,): which symbols have a meaning; the others get no code.
    symbols
        (65536,): destination, indexed by the next 16 bits: ``length of the code | symbol << 8``, or 0.

    Returns
    -------
    int
        0, or the length of which the table has too many codes.
    """
    symbols[:] = 0
    code, number = 0, 16
    for length in range(1, 17):
        unused = 16 - length
        for _ in range(table[length - 1]):
            if code >= 1 << length:
                return length
            symbol = np.int64(table[number])
            if known[symbol]:
                symbols[code << unused : (code + 1) << unused] = length | symbol << 8
            code += 1
            number += 1
        code <<= 1
    return 0


@jit(void(SYMBOLS, int64, int64, uint16[:, ::1]))
def fill_lookup(symbols: NDArray[np.uint16], dc: int, ac: int, lookup: NDArray[np.uint16]) -> None:
    """Fill the tables for blocks with a DC and an AC table, given as rows of ``symbols``; `ac` is -1 if DC stands alone.

    Parameters
    ----------
    lookup
        (2, 4096): destination, for the start and for the rest of a block: ``bits | 64 if the block ended |
        coefficients << 8``; 255 coefficients where the next code does not fit into the index.
    """
    for rest in range(2):
        for index in range(1 << INDEX_BITS):
            bits, coefficients, ended = 0, 0, 0
            row = ac if rest else dc
            while row >= 0 and bits < INDEX_BITS and not ended:
                following = index << bits & ((1 << INDEX_BITS) - 1)
                code = int(symbols[row, following << (16 - INDEX_BITS)])
                end = bits + code_length(code)
                if end == bits or end > INDEX_BITS or end + code_size(code) > _MOST_BITS:
                    break
                if row == ac and code_symbol(code) == 0:
                    ended = ENDED
                elif coefficients + code_zeros(code) + 1 > 63:
                    break
                else:
                    coefficients += code_zeros(code) + 1
                    ended = ENDED if ac < 0 else 0
                bits = end + code_size(code)
                row = ac
            lookup[rest, index] = bits | ended | coefficients << 8 if bits else _UNKNOWN
