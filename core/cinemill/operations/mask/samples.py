"""Blackens rectangles of decoded frames, between decoding and encoding, and digests what is outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from cinemill.errors import CinemillError
from cinemill.frames.geometry import black
from cinemill.frames.render import Renderer
from cinemill.operations.mask.masks import outside
from cinemill.storage.digests import named

if TYPE_CHECKING:
    from cinemill.frames.decode import FrameDecoder
    from cinemill.operations.mask.masks import Mask
    from cinemill.pixel_format import PixelFormat, Samples


class Outside:
    """The samples outside rectangles, and a digest of them over all frames. Thread-safe.

    Parameters
    ----------
    boxes
        The rectangles, within the frame.
    rows, columns
        Of the frame.
    """

    def __init__(self, boxes: Sequence[tuple[int, int, int, int]], rows: int, columns: int) -> None:
        self._kept = outside(boxes, rows, columns)
        self._digests: dict[int, bytes] = {}

    def of(self, frame: Samples) -> Samples:
        """Return XXH3-128 of the samples outside, as 16 bytes: equal for equal samples only."""
        digest = xxhash.xxh3_128()
        for left, top, right, bottom in self._kept:
            digest.update(np.ascontiguousarray(frame[top : bottom + 1, left : right + 1]).data)
        return np.frombuffer(digest.digest(), np.uint8)

    def note(self, outside: Samples, index: int) -> None:
        """Take note of what `of` returned for one frame, before and after."""
        self._digests[index] = outside.tobytes()

    @property
    def digest(self) -> str:
        """XXH3-128 of the digests of all frames, in order."""
        return named(xxhash.xxh3_128(b"".join(self._digests[index] for index in sorted(self._digests))))


class Blackened:
    """Rectangles of one value in every frame: see `cinemill.operations.transcode.transform.FrameTransform`.

    Parameters
    ----------
    mask
        The rectangles.
    value
        Of each sample inside.
    pixels
        The format of the frames.
    """

    def __init__(self, mask: Mask, value: Sequence[int], pixels: PixelFormat) -> None:
        self.mask, self.value = mask, tuple(value)
        self._outside = Outside(mask.boxes, pixels.rows, pixels.columns)

    def apply(self, frame: Samples, index: int) -> Samples:  # noqa: ARG002
        """Return a copy with the rectangles blackened, the frame itself where there are none."""
        if not self.mask.boxes:
            return frame
        after = frame.copy()
        row = np.full(frame.shape[1:], self.value if frame.ndim == 3 else self.value[0], frame.dtype)
        for left, top, right, bottom in self.mask.boxes:
            after[top : bottom + 1, left : right + 1] = row[left : right + 1]
        return after

    def left_alone(self, frame: Samples, index: int) -> Samples:  # noqa: ARG002
        """Return a digest of the samples outside."""
        return self._outside.of(frame)

    def proved(self, left_alone: Samples, index: int) -> None:
        """Note the digest that was the same before and after."""
        self._outside.note(left_alone, index)

    def told(self) -> dict[str, Any]:
        """Return what the receipt says of the mask, once all frames have passed."""
        digest = self._outside.digest
        return {
            **self.mask.to_dict(),
            "value": list(self.value),
            "outside_before": digest,
            "outside_after": digest,
        }


def darkest(decoder: FrameDecoder, interpretation: str) -> tuple[int, ...]:
    """Return the stored value of each sample that shows darkest, behind all transformations of the header.

    Parameters
    ----------
    decoder
        Of the frames.
    interpretation
        Colour space of the frames that are blackened.
    """
    pixels = decoder.pixels.with_(photometric_interpretation=interpretation)
    if pixels.samples > 1:
        return black(pixels)
    stored = decoder.depth.stored
    low = -(1 << stored - 1) if pixels.signed else 0
    ends = np.array([low, low + (1 << stored) - 1])
    if interpretation == "PALETTE COLOR":
        ends = np.arange(ends[0], ends[1] + 1)
    try:
        shown = Renderer(decoder).render(ends.astype(pixels.dtype)[np.newaxis], 0)[0].astype(int)
    except CinemillError:
        return (int(black(pixels.with_(bits_stored=stored))[0]),)
    brightness = shown.sum(axis=-1) if shown.ndim == 2 else shown
    return (int(ends[brightness.argmin()]),)


def as_stored(decoder: FrameDecoder, value: tuple[int, ...]) -> tuple[int, ...]:
    """Return a value as it lies in decoded frames: aligned by High Bit, and nothing in the bits of overlays."""
    depth, source = decoder.depth, decoder.source
    if depth.overlays:
        value = tuple(each & (1 << depth.stored) - 1 for each in value)
    if depth.aligned or decoder.stream is not None:
        return value
    width = 8 * decoder.pixels.dtype.itemsize
    shifted = [each << source.high_bit + 1 - depth.stored & (1 << width) - 1 for each in value]
    signed = decoder.pixels.signed
    return tuple(each - (1 << width) if signed and each >> width - 1 else each for each in shifted)
