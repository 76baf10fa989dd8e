"""What is done to the samples of a frame between decoding and encoding, and what must be left of them as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cinemill.errors import VerificationError

if TYPE_CHECKING:
    from cinemill.pixel_format import Samples


class FrameTransform(Protocol):
    """A change of samples that keeps shape, dtype and colour space, the same each time. Thread-safe."""

    def apply(self, frame: Samples, index: int) -> Samples:
        """Return the frame as it is to be encoded: the frame itself where nothing changes, else a new array."""
        ...

    def left_alone(self, frame: Samples, index: int) -> Samples:
        """Return the samples that the change must not touch, or a digest of them; called with the frame before and after it."""
        ...

    def proved(self, left_alone: Samples, index: int) -> None:
        """Take note of those samples, once they were found to be the same before and after."""
        ...

    def told(self) -> dict[str, Any] | None:
        """Return what the receipt says of the change, once all frames have passed; None where there was none."""
        ...


class Identity:
    """Leaves every frame as it is."""

    def apply(self, frame: Samples, index: int) -> Samples:  # noqa: ARG002
        """Return the frame itself."""
        return frame

    def left_alone(self, frame: Samples, index: int) -> Samples:  # noqa: ARG002
        """Return the whole frame."""
        return frame

    def proved(self, left_alone: Samples, index: int) -> None:
        """Need no note."""

    def told(self) -> dict[str, Any] | None:
        """Return None."""
        return None


def transformed(transform: FrameTransform, frame: Samples, index: int) -> Samples:
    """Apply a transform, and prove that it left alone what it must.

    Parameters
    ----------
    transform
        What is done.
    frame
        Decoded samples, in the colour space that is encoded.
    index
        Of the frame, counted from 0.

    Raises
    ------
    VerificationError
        Samples changed that must not.
    """
    after = transform.apply(frame, index)
    if after is not frame:
        left_alone = transform.left_alone(frame, index)
        if not np.array_equal(left_alone, transform.left_alone(after, index)):
            raise VerificationError(
                "samples changed that are to be left alone; nothing was kept", frame=index
            )
        transform.proved(left_alone, index)
    return after
