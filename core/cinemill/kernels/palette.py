"""PALETTE COLOR indices through their lookup tables (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cinemill.errors import UsageError
from cinemill.kernels.machine import types
from cinemill.kernels.machine.jit import jit
from cinemill.kernels.machine.types import uint8, uint16, void

if TYPE_CHECKING:
    from numpy.typing import NDArray


def palette_table(
    red: NDArray[Any],
    green: NDArray[Any],
    blue: NDArray[Any],
    *,
    first_mapped: int,
    index_type: np.dtype[Any],
) -> NDArray[Any]:
    """Join three lookup tables to one with an entry for every possible index.

    Parameters
    ----------
    red, green, blue
        uint8 or uint16, (entries,), all of one length and type.
    first_mapped
        The index that the first entry belongs to (second value of the descriptors). Lower indices get the first
        entry, those beyond the table the last one.
    index_type
        Type of the indices: integers of 8 or 16 bits.

    Returns
    -------
    NDArray[Any]
        (256, 3) or (65536, 3) of the tables' type, in the order of the indices' bits read without a sign.

    Raises
    ------
    UsageError
        The tables or the indices have another type, or the tables differ in length.
    """
    tables = [np.asarray(table) for table in (red, green, blue)]
    if len({(table.dtype, table.shape) for table in tables}) > 1 or red.dtype not in (np.uint8, np.uint16):
        raise UsageError("the three lookup tables must have one length, and one type of 8 or 16 bits")
    if not red.size or index_type.kind not in "iu" or index_type.itemsize > 2:
        raise UsageError(f"indices of {index_type} into {red.size} entries")
    indices = np.arange(1 << 8 * index_type.itemsize).astype(f"u{index_type.itemsize}").view(index_type)
    entries = np.clip(indices.astype(np.int64) - first_mapped, 0, red.size - 1)
    return np.stack([table[entries] for table in tables], axis=-1)


@jit(
    [
        void(types.Array(index, 1, "C", readonly=True), types.Array(entry, 2, "C", readonly=True), entry[::1])
        for index in (uint8, uint16)
        for entry in (uint8, uint16)
    ],
    error_model="numpy",
)
def _look_up(indices: NDArray[Any], table: NDArray[Any], colours: NDArray[Any]) -> None:
    for pixel in range(indices.size):
        index = indices[pixel]
        colours[3 * pixel] = table[index, 0]
        colours[3 * pixel + 1] = table[index, 1]
        colours[3 * pixel + 2] = table[index, 2]


def apply_palette(indices: NDArray[Any], table: NDArray[Any]) -> NDArray[Any]:
    """Replace indices by their colours.

    Parameters
    ----------
    indices
        Integers of 8 or 16 bits, any shape, e.g. (rows, columns).
    table
        What `palette_table` makes for indices of this type.

    Returns
    -------
    NDArray[Any]
        Colours by pixel, shape of `indices` and 3, e.g. (rows, columns, 3); RGB of the tables' depth.

    Raises
    ------
    UsageError
        The table is not one for such indices.
    """
    unsigned = np.dtype(f"u{indices.dtype.itemsize}")
    if indices.dtype.kind not in "iu" or table.shape != (1 << 8 * unsigned.itemsize, 3):
        raise UsageError(f"a palette table of {table.shape} does not fit indices of {indices.dtype}")
    colours = np.empty((*indices.shape, 3), table.dtype)
    _look_up(np.ascontiguousarray(indices).reshape(-1).view(unsigned), table, colours.reshape(-1))
    return colours
