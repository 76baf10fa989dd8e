"""Keeps samples within Bits Stored: finds what lies above, and removes it where it is no part of the sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from cinemill.frames.overlays import EmbeddedOverlays

if TYPE_CHECKING:
    from cinemill.codecs.codestream import Codestream
    from cinemill.dicom.source import Source
    from cinemill.pixel_format import PixelFormat, Samples


_LOSSY = 0x00282110
_TRUNCATED = frozenset(("jpeg-2000", "htj2k"))
"""Codings whose reversible codestreams are made lossy by leaving out their last layers; only the header can tell."""


def may_be_truncated(source: Source, stream: Codestream) -> bool:
    """Whether a reversible codestream may lack layers: where its transfer syntax allows it, and Lossy Image Compression is 01."""
    return stream.coding in _TRUNCATED and not source.transfer_syntax.lossless and source.text(_LOSSY) == "01"


class DepthExceeded(Exception):  # a signal to the planner, never seen outside
    """Samples of a codestream use more bits than Bits Stored says."""


class Depth(NamedTuple):
    """Which bits of decoded values are the sample (PS3.5 §8.1.1).

    Attributes
    ----------
    stored, signed
        Bits of a sample, and whether the highest of them is its sign.
    unused
        Whether the value has bits above them.
    masked
        Whether the bits above are junk or overlays and may be removed. That is so for native values, and for lossless
        codestreams as deep as Bits Allocated, whose encoder got native values as they were. In a codestream of another depth,
        and in one that may be truncated, all bits are needed by its samples.
    aligned
        Whether the sample is in the lowest bits of a value, by High Bit. Values that are not aligned so are left unchanged.
    overlays
        Whether overlays of the header lie in the unused bits.
    """

    stored: int
    signed: bool
    unused: bool
    masked: bool
    aligned: bool
    overlays: bool

    @classmethod
    def of(cls, source: Source, stream: Codestream | None, decoded: PixelFormat) -> Self:
        """Tell the depth of a source's samples.

        Parameters
        ----------
        source
            The open file.
        stream
            What its codestreams say of themselves, where they have markers.
        decoded
            Format of the decoded values.
        """
        header = source.pixels
        stored = min(header.bits_stored, decoded.bits_allocated)
        overlays = EmbeddedOverlays.find(source) is not None
        whole = stream is None or (
            stream.lossless
            and stream.precision == header.bits_allocated
            and not may_be_truncated(source, stream)
        )
        return cls(
            stored=stored,
            signed=decoded.signed,
            unused=decoded.bits_allocated > 1 and stored < 8 * decoded.dtype.itemsize,
            masked=whole or overlays,
            aligned=source.high_bit == header.bits_stored - 1,
            overlays=overlays,
        )

    def samples(self, frame: Samples) -> tuple[Samples, bool]:
        """Return the samples of decoded values, and whether there was something else in them.

        A codestream whose samples need more than Bits Stored keeps them.
        """
        if not (self.unused and self.aligned):
            return frame, False
        try:
            return restrict(frame, self.stored, masked=self.masked)
        except DepthExceeded:
            return frame, False

    def __str__(self) -> str:
        """Say what is done to values that have something above their samples."""
        where = f"bits above Bits Stored {self.stored}"
        if self.signed:
            return f"{where} were not those of the sign; they were set to it"
        return f"{where} were not zero; they were cleared"


def restrict(frame: Samples, limit: int, *, masked: bool) -> tuple[Samples, bool]:
    """Return the samples within ``limit`` bits, and whether any had to be changed.

    Parameters
    ----------
    frame
        Integers of any shape; signed ones are two's complement within the limit.
    masked
        Whether what lies above the limit may be removed.

    Raises
    ------
    DepthExceeded
        Something lies above the limit and may not be removed.
    """
    signed = frame.dtype.kind == "i"
    low, high = (-(1 << limit - 1), (1 << limit - 1) - 1) if signed else (0, (1 << limit) - 1)
    if frame.max() <= high and (not signed or frame.min() >= low):
        return frame, False
    shift = 8 * frame.dtype.itemsize - limit
    within = (frame << shift) >> shift
    if masked:
        return within, True
    if signed and frame.min() >= 0 and frame.max() < 1 << limit:
        return within, False  # two's complement of the limit in a deeper codestream
    raise DepthExceeded
