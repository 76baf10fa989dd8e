"""Memory that threads keep: fresh pages for each frame take a third of the JPEG 2000 kernels' time, and 8 times RLE's own."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LINE = 64
_LEAST = 32 << 20
"""Bytes of address space, memory being taken by what is used of it; smaller blocks would lie among those of frames."""


def _aligned(size: int) -> NDArray[np.uint8]:
    """Return so many bytes that begin with a line of the cache: vectors that run over the end of one take twice as long."""
    whole = np.empty(size + _LINE, np.uint8)
    first = -whole.ctypes.data % _LINE
    return whole[first : first + size]


class Memory(threading.local):
    """Arrays that a thread keeps for its next frames."""

    def __init__(self) -> None:
        self._held: dict[str, NDArray[Any]] = {}

    def begin(self) -> None:
        """Begin a call: the arrays of the one before are used no more."""

    def array(self, name: str, shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
        """Return an array of any content, in place of the last one of this name.

        Parameters
        ----------
        name
            By which the thread finds it again.
        shape
            Of the array.
        kind
            Its dtype.
        """
        size = math.prod(shape)
        held = self._held.get(name)
        if held is None or held.size < size:
            held = self._held[name] = _aligned(size * np.dtype(kind).itemsize).view(kind)
        return held[:size].reshape(shape)


class SharedMemory(Memory):
    """Arrays in a block that a thread keeps for calls of several kinds, large ones, of which it makes one at a time."""

    def __init__(self) -> None:
        self._block: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._places: dict[str, slice] = {}
        self._end = 0

    def begin(self) -> None:
        """Begin a call: its arrays take the place of those of the one before."""
        self._places.clear()
        self._end = 0

    def array(self, name: str, shape: tuple[int, ...], kind: type[np.generic]) -> NDArray[Any]:
        """Return an array of any content, in place of the last one of this name; none lies in another of the same call.

        Parameters
        ----------
        name
            By which the call finds it again.
        shape
            Of the array.
        kind
            Its dtype.
        """
        size = math.prod(shape) * np.dtype(kind).itemsize
        place = self._places.get(name, slice(0, -1))
        if place.stop - place.start < size:
            place = self._places[name] = slice(self._end, self._end + size)
            self._end += -(-size // _LINE) * _LINE
            if self._block.size < self._end:
                self._block = _aligned(max(_LEAST, 2 * self._end))
        return self._block[place][:size].view(kind).reshape(shape)


shared: Memory = SharedMemory()
"""The coefficients of JPEG 2000, encoded or decoded, and frames of JPEG-LS that are compared and let go."""
