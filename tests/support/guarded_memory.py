"""Arrays between pages that can't be touched: a kernel that reads or writes outside its buffers dies at once."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

PAGE = mmap.PAGESIZE
GUARD = 16 * PAGE
_LARGEST = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)


def guarded(nbytes: int, *, at_end: bool = True) -> memoryview:
    """Return writable memory that touches the guard behind it, or with ``at_end=False`` the one before it."""
    room = -(-max(nbytes, 1) // PAGE) * PAGE
    whole = mmap.mmap(-1, room + 2 * GUARD)
    base = ctypes.addressof(ctypes.c_char.from_buffer(whole))
    for start in (base, base + GUARD + room):
        if _libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(GUARD), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    first = GUARD + (room - nbytes if at_end else 0)
    return memoryview(whole)[first : first + nbytes]


class GuardedMemory:
    """A place for one array of up to a mebibyte that ends where the guard begins: for many calls in turn."""

    def __init__(self) -> None:
        self._bytes = np.frombuffer(guarded(_LARGEST), np.uint8)

    def array(self, size: int) -> np.ndarray:
        """Return the last ``size`` bytes before the guard."""
        return self._bytes[_LARGEST - size :]

    def copy(self, data: bytes) -> np.ndarray:
        """Put data right before the guard."""
        array = self.array(len(data))
        array[:] = np.frombuffer(data, np.uint8)
        return array


class GuardedNumpy:
    """Stands for numpy in a module under test: what `empty` returns is guarded, on alternating sides."""

    def __init__(self) -> None:
        self.at_end = True

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike = float) -> np.ndarray:
        dtype = np.dtype(dtype)
        count = int(np.prod(shape))
        self.at_end = not self.at_end
        memory = guarded(count * dtype.itemsize, at_end=self.at_end)
        array = np.frombuffer(memory, dtype, count).reshape(shape)
        array.view("u1")[...] = 0xA5
        return array


@contextmanager
def guarding(*modules: Any) -> Iterator[GuardedNumpy]:
    """Let modules allocate guarded arrays."""
    numpy = GuardedNumpy()
    before = [module.np for module in modules]
    for module in modules:
        module.np = numpy
    try:
        yield numpy
    finally:
        for module, original in zip(modules, before, strict=True):
            module.np = original
