"""Decodes frames of a source to samples of one stated format, whatever each codestream does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cinemill.codecs import table
from cinemill.codecs.codestream import Codestream, least_bytes, read_codestream, with_end
from cinemill.dicom.elements import PIXEL_DATA
from cinemill.errors import CinemillError, CodecError, UnsupportedPixelFormat
from cinemill.frames import colour

if TYPE_CHECKING:
    from cinemill.codecs.codec import Codec
    from cinemill.dicom.source import Source
    from cinemill.pixel_format import Buffer, PixelFormat, Samples

_MARKED = frozenset(("jpeg", "jpeg-lossless", "jpeg-ls", "jpeg-2000", "htj2k"))


class FrameDecoder:
    """Decodes frames of one source. Thread-safe: frames may be asked for in any order, by any thread.

    Parameters
    ----------
    confirm_every
        Have every so many frames of a lossless codestream decoded by another implementation too; 0 for none.

    Attributes
    ----------
    pixels : PixelFormat
        What `decode` returns: as many bits as are coded, the colour space that is coded.
    stream : Codestream or None
        What the first frame's codestream says of itself, where it has markers.
    codec : Codec
    warnings : list of str
        Where the codestream contradicts the header or the transfer syntax, and how that was resolved.

    Raises
    ------
    CinemillError
        The source is damaged, or can't be decoded.
    """

    def __init__(self, source: Source, *, confirm_every: int = 0) -> None:
        self.source = source
        self._confirm_every = confirm_every
        self.warnings: list[str] = []
        try:
            table.decoder(source.transfer_syntax.coding)
            source.check()
            if source.pixel_data is None or source.pixel_data.tag != PIXEL_DATA:
                raise UnsupportedPixelFormat(
                    "floating point pixel data has no codec in DICOM; use explicit, implicit or deflated"
                )
            self._marked = source.transfer_syntax.coding in _MARKED
            self.stream = read_markers(source, 0, self._codestream(0)) if self._marked else None
            self.coding = self._coding()
            lossy_wavelet = (
                self.coding == "jpeg-2000" and self.stream is not None and not self.stream.lossless
            )
            self.codec: Codec = table.decoder("jpeg-2000-lossy" if lossy_wavelet else self.coding)
            self.pixels, self._native_pixels = self._formats()
        except CinemillError as error:
            raise self._located(error) from None

    def _located(self, error: CinemillError, frame: int | None = None) -> CinemillError:
        syntax = self.source.transfer_syntax.uid
        return error.locate(path=self.source.path, frame=frame, transfer_syntax=syntax)

    @property
    def batch(self) -> int:
        """How many frames are best decoded at once."""
        return self.codec.batch

    @cached_property
    def lossy(self) -> bool:
        """Whether a codestream is lossy by its own markers; the first speaks for all where the transfer syntax is lossless."""
        if self.stream is None or not self.stream.lossless or self.source.transfer_syntax.lossless:
            return self.stream is not None and not self.stream.lossless
        streams = (read_markers(self.source, i, self._codestream(i)) for i in range(1, len(self.source)))
        return not all(stream.lossless for stream in streams)

    def decode(self, indices: Sequence[int], interpretation: str | None = None) -> list[Samples]:
        """Decode frames to arrays of ``pixels.shape`` and ``pixels.dtype``.

        Parameters
        ----------
        interpretation
            Colour space to convert to, that of ``pixels`` by default. A frame coded in another one than the first
            frame's is converted once, from what it is.

        Raises
        ------
        CodecError
            A codestream is damaged or differs in geometry; ``path`` and ``frame`` say which.
        """
        codestreams = [self._codestream(index) for index in indices]
        interpretations = [self._check(data, index) for index, data in zip(indices, codestreams, strict=True)]
        try:
            decoded = self.codec.decode(codestreams, self._native_pixels)
        except (CodecError, UnsupportedPixelFormat) as error:
            error.frame = indices[error.frame or 0]
            raise self._located(error) from None
        except MemoryError:
            raise self._located(
                UnsupportedPixelFormat(f"frames of {self.pixels.nbytes} bytes do not fit into memory"),
                indices[0],
            ) from None
        self._confirm(indices, codestreams, decoded)
        wanted = interpretation or self.pixels.photometric_interpretation
        return [
            colour.convert(frame, found, wanted)
            for frame, found in zip(decoded, interpretations, strict=True)
        ]

    def _codestream(self, index: int) -> Buffer:
        frame = self.source.frame(index)
        whole = with_end(frame) if self._marked else frame
        if whole is not frame:
            self._note("codestreams lack their end marker (EOI); all their samples are there")
        return whole

    def _confirm(
        self, indices: Sequence[int], codestreams: Sequence[Buffer], frames: Sequence[Samples]
    ) -> None:
        """Have two decoders agree: what a lossless codestream holds is no matter of opinion."""
        chosen = [
            at for at, index in enumerate(indices) if self._confirm_every and index % self._confirm_every == 0
        ]
        if not chosen or self.lossy:
            return
        for codec in table.second_opinions(self.coding):
            try:
                others = codec.decode([codestreams[at] for at in chosen], self._native_pixels)
            except (CodecError, UnsupportedPixelFormat) as error:
                self._note(f"{codec.name} can't confirm what {self.codec.name} decoded ({error.message})")
                continue
            for at, other in zip(chosen, others, strict=True):
                if not np.array_equal(frames[at], other):
                    raise self._located(
                        CodecError(
                            f"{self.codec.name} and {codec.name} decode it differently in "
                            f"{np.count_nonzero(frames[at] != other)} of {other.size} samples"
                        ),
                        indices[at],
                    )

    def _note(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _coding(self) -> str:
        syntax = self.source.transfer_syntax
        if self.stream is None:
            return syntax.coding
        if self.stream.coding != syntax.coding:
            self.warnings.append(
                f"{syntax.keyword} is declared, but the codestream is {self.stream.process}; decoded as such"
            )
        elif syntax.lossless and not self.stream.lossless:
            self.warnings.append(
                f"{syntax.keyword} is declared, but the codestream is lossy ({self.stream.process})"
            )
        return self.stream.coding

    def _formats(self) -> tuple[PixelFormat, PixelFormat]:
        """Return the format of decoded samples, and the one the codec is told."""
        header = self.source.layout
        if header.bits_allocated not in {1, 8, 16, 32}:
            raise UnsupportedPixelFormat(
                f"Bits Allocated {header.bits_allocated} can't be decoded; expected 1, 8, 16 or 32"
            )
        if header.photometric_interpretation == "YBR_FULL_422" and header.bits_allocated != 8:
            raise UnsupportedPixelFormat("YBR_FULL_422 is defined for 8 bits allocated only")
        label = header.photometric_interpretation
        interpretation, warning = colour.decoded_interpretation(label, header.samples, self.stream)
        if warning:
            self.warnings.append(warning)
        coded = header
        if self.stream is not None:
            _check_geometry(self.stream, header)
            coded = self._coded_depth(self.stream, header)
        return coded.with_(photometric_interpretation=interpretation, planar_configuration=0), coded

    def _coded_depth(self, stream: Codestream, header: PixelFormat) -> PixelFormat:
        allocated = header.bits_allocated
        if stream.precision > max(allocated, 8):
            allocated = 16 if stream.precision <= 16 else 32
            self.warnings.append(
                f"Bits Allocated is {header.bits_allocated}, but the codestream has {stream.precision} bits"
            )
        if stream.signed is not None and stream.signed != header.signed:
            self.warnings.append(
                f"Pixel Representation is {int(header.signed)}, but the codestream's samples are "
                f"{'signed' if stream.signed else 'unsigned'}; read by Pixel Representation"
            )
        return header.with_(bits_allocated=allocated, bits_stored=stream.precision)

    def _check(self, data: Buffer, index: int) -> str:
        """Check one frame's size and its own markers; return the colour space of its samples."""
        least = least_bytes(self.coding, self._native_pixels)
        if len(data) < least:
            error = CodecError(
                f"{self.pixels.rows} x {self.pixels.columns} samples take at least {least} bytes, found {len(data)}"
            )
            raise self._located(error, index)
        if self.stream is None:
            return self.pixels.photometric_interpretation
        try:
            stream = read_markers(self.source, index, data)
            if (stream.coding, stream.precision) != (self.stream.coding, self.stream.precision):
                raise CodecError(
                    f"expected {self.stream.process} of {self.stream.precision} bits like the first frame, "
                    f"found {stream.process} of {stream.precision} bits"
                )
            if not (stream.lossless or self.lossy):
                raise CodecError(
                    f"expected a lossless codestream like the first frame's, found {stream.process}"
                )
            _check_geometry(stream, self.pixels)
        except CinemillError as error:
            raise self._located(error, index) from None
        label = self.source.pixels.photometric_interpretation
        interpretation, warning = colour.decoded_interpretation(label, self.pixels.samples, stream)
        if warning:
            self._note(warning)
        return interpretation


def read_markers(source: Source, index: int, data: Buffer) -> Codestream:
    """Read what one frame's codestream says of itself.

    Raises
    ------
    CodecError
        The bytes are no codestream, or a damaged one.
    UnsupportedPixelFormat
        The codestream is of a process that is not read.
    """
    try:
        stream = read_codestream(data)
    except CinemillError as error:
        raise error.locate(frame=index) from None
    if stream is None:
        raise CodecError(
            f"expected a {source.transfer_syntax.keyword} codestream, "
            f"found {bytes(data[:8]).hex(' ') or 'no bytes'}",
            frame=index,
        )
    return stream


def _check_geometry(stream: Codestream, pixels: PixelFormat) -> None:
    expected = pixels.rows, pixels.columns, pixels.samples
    found = stream.rows, stream.columns, stream.components
    if expected != found:
        raise CodecError(
            "the header has {} rows, {} columns, {} samples; the codestream has {}, {}, {}".format(
                *expected, *found
            )
        )
