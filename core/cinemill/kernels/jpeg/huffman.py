"""Huffman tables (T.81 Annex C) for walking a scan: a code by 16 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.kernels.machine import types
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.types import int64, uint8, uint16

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCKS, DC_AGAIN, BAND, BAND_AGAIN = range(4)
"""What a scan holds: whole blocks or DC coefficients for the first time; their refinement; a band of AC coefficients; its refinement."""

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
