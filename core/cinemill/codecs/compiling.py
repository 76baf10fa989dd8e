"""Whether kernels are used where another way is there: they run here, are wanted, and for a decoder, compiling them pays by now."""

from __future__ import annotations

import os

from cinemill.errors import UsageError
from cinemill.kernels.machine import x86
from cinemill.kernels.machine.jit import is_compiled


def kernels_wanted() -> bool:
    """Whether this processor runs the kernels of JPEG, JPEG 2000 and HTJ2K; ``CINEMILL_KERNELS=portable`` asks for others' codecs.

    Raises
    ------
    UsageError
        The variable has another value.
    """
    asked = os.environ.get("CINEMILL_KERNELS", "")
    if asked not in {"", "portable"}:
        raise UsageError(f"CINEMILL_KERNELS: expected portable, or nothing, found {asked}")
    return not asked and x86.available()


class Spared:
    """What a process has decoded without kernels, in place of compiling them.

    Parameters
    ----------
    most
        How much takes about as long without them as it takes to compile them.
    kernel
        The name of the one that takes longest.
    """

    def __init__(self, most: int, kernel: str) -> None:
        self._most, self.kernel = most, kernel
        self._left = 0
        self._wanted = False

    def worth_compiling(self, amount: int) -> bool:
        """Whether the kernels are to decode so much; else the other way is taken."""
        if not self._wanted:
            self._wanted = self._left > self._most or is_compiled(self.kernel)
            self._left += amount
        return self._wanted
