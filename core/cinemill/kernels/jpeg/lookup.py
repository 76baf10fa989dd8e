"""As many symbols of sequential JPEG at once as 12 bits hold, for walking a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.kernels.jpeg.huffman import SYMBOLS, code_length, code_size, code_symbol, code_zeros
from cinemill.kernels.machine.jit import inlined, jit
from cinemill.kernels.machine.types import int64, uint16, void

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INDEX_BITS = 12
ENDED = 64
_MOST_BITS = 18
"""What one look-up may skip: three of them stay within the 56 bits that a word holds at least."""
_UNKNOWN = 255 << 8


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
