"""Frozen value types that travel along the path from source to receipt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Buffer: TypeAlias = "bytes | memoryview"
"""One frame's codestream."""

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom pixel of a rectangle, counted from 0, all inside."""

Samples: TypeAlias = "NDArray[Any]"
"""One decoded frame: C-contiguous, (rows, columns) or (rows, columns, samples), native byte order."""


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the samples of one frame are laid out and what they mean (PS3.3 C.7.6.3).

    ``photometric_interpretation`` names the colour space of the samples it is used with, which is not always
    what the header says. Arrays are always interleaved by pixel; ``planar_configuration`` concerns the bytes of a file only.
    """

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric_interpretation: str
    planar_configuration: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Array shape of one frame: (rows, columns), or (rows, columns, samples) for more than one sample."""
        grey = self.rows, self.columns
        return grey if self.samples == 1 else (*grey, self.samples)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Sample type of a frame's array, in native byte order; bit-packed samples take a byte each."""
        import numpy as np

        return np.dtype(f"{'i' if self.signed else 'u'}{max(self.bits_allocated, 8) // 8}")

    @property
    def nbytes(self) -> int:
        """Bytes of one frame's array."""
        return self.rows * self.columns * self.samples * (max(self.bits_allocated, 8) // 8)

    def with_(self, **changes: Any) -> PixelFormat:
        """Return a copy with some fields replaced."""
        return replace(self, **changes)
