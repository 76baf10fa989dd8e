"""Arrays that end where memory ends: one byte further, and the process dies with SIGSEGV."""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np

_LARGEST = 1 << 20


class GuardedMemory:
    """A place for one array of up to a mebibyte, followed by a page that can be neither read nor written."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, _LARGEST + mmap.PAGESIZE)
        self._bytes = np.frombuffer(self._map, np.uint8)
        if sys.platform == "linux":
            guard = ctypes.c_void_p(self._bytes.ctypes.data + _LARGEST)
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.mprotect(guard, ctypes.c_size_t(mmap.PAGESIZE), 0) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")

    def array(self, size: int) -> np.ndarray:
        """Return the last `size` bytes before the guard."""
        return self._bytes[_LARGEST - size : _LARGEST]

    def copy(self, data: bytes) -> np.ndarray:
        """Put data right before the guard."""
        array = self.array(len(data))
        array[:] = np.frombuffer(data, np.uint8)
        return array
