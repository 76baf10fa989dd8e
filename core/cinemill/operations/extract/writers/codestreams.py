"""Bare codestreams: JPEG-LS, JPEG 2000, or whatever the source holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.codecs import table
from cinemill.codecs.codestream import with_end
from cinemill.errors import UnsupportedPixelFormat
from cinemill.frames.depth import DepthExceeded, restrict
from cinemill.frames.held import held_codestream
from cinemill.operations.extract.writers import Clip, FrameFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cinemill.pixel_format import Buffer, Samples
    from cinemill.storage.folder import Staging

_END_MARKER = b"\xff\xd9"
"""EOI of JPEG and JPEG-LS, EOC of JPEG 2000."""


class Raw(FrameFiles):
    """The frames as they are coded in the source; native ones as little endian samples."""

    def files(self, indices: Sequence[int]) -> Iterable[Buffer]:
        """Return codestreams."""
        return (codestream(self.clip, index) for index in indices)


class _Encoded(FrameFiles):
    """Codestreams of one coding: copied where the source has them, and nothing but samples in them, else encoded losslessly."""

    coding: str

    def __init__(self, clip: Clip, staging: Staging) -> None:
        depth, source = clip.cine.depth, clip.cine.source
        same = clip.as_coded and clip.cine.coding == self.coding
        self._copies = same and not (depth.unused and depth.masked)
        if not (depth.aligned or self._copies):
            raise UnsupportedPixelFormat(
                f"High Bit {source.high_bit} with Bits Stored {source.pixels.bits_stored}: {self.coding} holds "
                "right-aligned samples only; use raw, npy or tiff"
            )
        super().__init__(clip, staging)

    def files(self, indices: Sequence[int]) -> Iterable[Buffer]:
        """Return codestreams."""
        if self._copies:
            return [codestream(self.clip, index) for index in indices]
        frames = self.clip.frames(indices)
        pixels = self.clip.pixels.with_(bits_stored=self._bits(frames))
        return table.encoder(self.coding).encode(frames, pixels)

    def _bits(self, frames: Sequence[Samples]) -> int:
        """Return Bits Stored, or as many as are coded or fit where samples use more."""
        coded = self.clip.pixels.bits_stored
        for bits in (min(self.clip.cine.source.pixels.bits_stored, coded), coded):
            try:
                for frame in frames:
                    restrict(frame, bits, masked=False)
            except DepthExceeded:
                continue
            return bits
        return 8 * self.clip.pixels.dtype.itemsize


class JpegLs(_Encoded):
    """JPEG-LS codestreams."""

    coding = "jpeg-ls"


class Jpeg2000(_Encoded):
    """JPEG 2000 codestreams."""

    coding = "jpeg-2000"


def codestream(clip: Clip, index: int) -> Buffer:
    """Return a frame as it is coded in the source (or the JPEG that JPEG XL holds), without the padding behind an end marker.

    One that lacks its end marker gets it, if it decodes.

    Raises
    ------
    CodecError
        It is cut short.
    """
    frame = held_codestream(clip.cine.source, index)
    if clip.cine.stream is None:
        return frame
    if clip.cine.coding in {"jpeg-2000", "htj2k"}:
        from cinemill.codecs.jpeg_2000.openjpeg import check_codestream

        check_codestream(frame, clip.cine.pixels, index)
    stripped = bytes(frame).rstrip(b"\0") if frame[-1:] == b"\0" else frame
    if stripped[-2:] == _END_MARKER:
        return stripped
    whole = with_end(frame)
    if whole is not frame:
        clip.frames([index])
    return whole
