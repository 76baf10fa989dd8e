"""What the HT decoder looks up: code words of quads and of u (T.814 7.3.5, 7.3.6 and Annex C), with the MEL event that may come first.

An event is bit 10 of an index, wherever it does not matter too, and an entry tells whether it was taken: so decoding needs neither
branches nor conditions.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinemill.kernels.htj2k.tables import u_decoding, vlc_decoding

EVENT = 10
"""The bit of an index that is the next MEL event."""
TAKEN, U_TAKEN = 31, 48
"""The bit of an entry that tells that it was taken."""


@cache
def quad_codes() -> NDArray[np.uint32]:
    """Return what code words for quads mean: 2 x 2048, those of the first row, and those of others.

    The index is that of `vlc_decoding`, and 1 << EVENT if the next event is a one. Only where the context is 0, an event is
    taken, and if it is a zero, so is the quad. Entries are those of `vlc_decoding`.
    """
    known = vlc_decoding()[:, :1024]
    found = np.concatenate([known, known], axis=1)
    found[:, :128] = 0
    found[:, :128] |= np.uint32(1 << TAKEN)
    found[:, 1 << EVENT : (1 << EVENT) + 128] |= np.uint32(1 << TAKEN)
    return _fixed(found)


@cache
def u_codes() -> NDArray[np.uint64]:
    """Return what code words for u of pairs of quads mean: 2 x 2048, of which the indices without bits 8 and 9 are used.

    The index is that of `u_decoding`, but for the event. In the first row, an event is taken where both quads have u.
    """
    known = u_decoding()
    found = np.zeros((2, 2048), np.uint64)
    found[:, :256], found[:, 1 << EVENT : (1 << EVENT) + 256] = known[:, :256], known[:, :256]
    found[0, (1 << EVENT) + 192 : (1 << EVENT) + 256] = known[0, 448:512]
    found[0, 192:256] |= np.uint64(1 << U_TAKEN)
    found[0, (1 << EVENT) + 192 : (1 << EVENT) + 256] |= np.uint64(1 << U_TAKEN)
    return _fixed(found)


def _fixed(table: NDArray[Any]) -> NDArray[Any]:
    """Make a table read-only, as kernels expect it."""
    table.flags.writeable = False
    return table
