"""Reads the frames of one file as samples within Bits Stored, by decoders that share no code with the encoders here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cinemill.codecs import table
from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.frames.decode import FrameDecoder
from cinemill.frames.depth import restrict
from cinemill.frames.overlays import EmbeddedOverlays

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.pixel_format import Samples


class Reader:
    """The frames of one file. Thread-safe.

    Attributes
    ----------
    decoder : FrameDecoder
        By an independent implementation, where the codestreams are lossless or it gives the same samples; else by the one that
        transcodes too, for decoders of lossy codestreams round differently.
    overlays : dict of int to int
        Bit position by group of overlays that lie in unused bits.

    Raises
    ------
    CinemillError
        The file is damaged, or can't be decoded.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.decoder = FrameDecoder(source)
        if not self.decoder.lossy or table.exact(self.decoder.codec):
            self.decoder.codec = table.independent(self.decoder.coding)
        embedded = EmbeddedOverlays.find(source)
        self.overlays = {} if embedded is None else embedded.bits

    @cached_property
    def council(self) -> FrameDecoder:
        """Decodes frames that are in doubt: two implementations have to agree, where they give the same samples."""
        return FrameDecoder(self.source, confirm_every=1)

    @property
    def aligned(self) -> bool:
        """Whether samples stand in the lowest bits."""
        return self.source.high_bit == self.source.pixels.bits_stored - 1

    def read(self, indices: Sequence[int], interpretation: str) -> list[Samples]:
        """Decode frames.

        Parameters
        ----------
        indices
            Of the frames, counted from 0.
        interpretation
            Colour space to convert to.

        Raises
        ------
        CinemillError
            A frame does not decode.
        """
        try:
            return self.decoder.decode(indices, interpretation)
        except (CodecError, UnsupportedPixelFormat):
            return self.council.decode(indices, interpretation)

    def overlay(self, group: int, index: int, frame: Samples) -> Samples | None:
        """Return the bits of an overlay, None where there is none.

        Parameters
        ----------
        group
            Of the overlay's elements.
        index
            Of the frame, counted from 0.
        frame
            Its samples, unused bits included.
        """
        if group in self.overlays:
            return (frame >> self.overlays[group]) & 1
        element = self.source.element(group << 16 | 0x3000)
        if element is None:
            return None
        first, last = index * frame.size, (index + 1) * frame.size
        data = self.source.data[
            element.value + first // 8 : min(element.value + (last + 7) // 8, element.end)
        ]
        bits = np.unpackbits(np.frombuffer(bytes(data), np.uint8), bitorder="little")[first % 8 :][
            : frame.size
        ]
        return bits.reshape(frame.shape) if bits.size == frame.size else None

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the file but did no harm."""
        council = self.__dict__.get("council")
        return [*self.decoder.warnings, *(council.warnings if council is not None else ())]

    def __str__(self) -> str:
        return self.decoder.decoded_by


def within(frame: Samples, bits: int) -> tuple[Samples, bool]:
    """Return the samples within so many bits, and whether any had others.

    Parameters
    ----------
    frame
        Decoded samples.
    bits
        Signed samples are two's complement within them.
    """
    if bits >= 8 * frame.dtype.itemsize:
        return frame, False
    return restrict(frame, bits, masked=True)
