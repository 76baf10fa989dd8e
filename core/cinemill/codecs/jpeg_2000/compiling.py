"""Whether compiling a decoder's kernels pays yet: until then OpenJPEG decodes, for a few frames don't wait for a compiler."""

from __future__ import annotations

from collections.abc import Callable


class Spared:
    """What a process has left to OpenJPEG, in place of compiling kernels.

    Parameters
    ----------
    most
        How much takes OpenJPEG about as long as it takes to compile the kernels.
    compiled
        Whether they are compiled.
    """

    def __init__(self, most: int, compiled: Callable[[], bool]) -> None:
        self._most, self._compiled = most, compiled
        self._left = 0
        self._wanted = False

    def worth_compiling(self, amount: int) -> bool:
        """Whether the kernels are to decode so much; else OpenJPEG is."""
        if not self._wanted:
            self._wanted = self._left > self._most or self._compiled()
            self._left += amount
        return self._wanted
