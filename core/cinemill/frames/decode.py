"""Decodes frames of a source to samples of one stated format, whatever each codestream does."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from cinemill.codecs import table, together
from cinemill.codecs.codec import credited, named
from cinemill.codecs.codestream import Codestream, least_bytes, with_end
from cinemill.codecs.faults import known_to_fail
from cinemill.dicom.elements import PIXEL_DATA
from cinemill.errors import CinemillError, CodecError, UnsupportedPixelFormat
from cinemill.frames import colour
from cinemill.frames.depth import Depth
from cinemill.frames.held import held_codestream, holds_jpeg
from cinemill.frames.markers import MARKED, check_geometry, read_markers
from cinemill.frames.opinions import Opinions

if TYPE_CHECKING:
    from cinemill.codecs.codec import Codec
    from cinemill.dicom.source import Source
    from cinemill.pixel_format import Buffer, PixelFormat, Samples

PACKED_BITS = "RLE frames hold eight 1-bit pixels a byte, where PS3.5 G.2 has a byte for each"


class FrameDecoder:
    """Decodes frames of one source. Thread-safe: frames may be asked for in any order, by any thread.

    Parameters
    ----------
    confirm_every
        Have every so many frames of a lossless codestream decoded by another implementation too; 0 for none.
    confirm_lossy
        And of a lossy one, if there is an implementation that gives the same samples.

    Attributes
    ----------
    pixels : PixelFormat
        What `decode` returns: as many bits as are coded, the colour space that is coded.
    depth : Depth
        Which bits of these are the samples: see `samples`.
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

    def __init__(self, source: Source, *, confirm_every: int = 0, confirm_lossy: bool = True) -> None:
        self.source = source
        self._confirm_every = confirm_every
        self._confirm_lossy = confirm_lossy
        self._all_confirmed = True
        self._lock = threading.Lock()
        self.warnings: list[str] = []
        self._by: set[str] = set()
        try:
            table.decoder(source.transfer_syntax.coding)
            source.check()
            if source.pixel_data is None or source.pixel_data.tag != PIXEL_DATA:
                raise UnsupportedPixelFormat(
                    "floating point pixel data has no codec in DICOM; use explicit, implicit or deflated"
                )
            self._marked = source.transfer_syntax.coding in MARKED
            self.stream = read_markers(source, 0, self._codestream(0)) if self._marked else None
            self.coding = self._coding()
            lossy_wavelet = (
                self.coding == "jpeg-2000" and self.stream is not None and not self.stream.lossless
            )
            self.codec: Codec = table.decoder("jpeg-2000-lossy" if lossy_wavelet else self.coding)
            self.pixels, self._native_pixels = self._formats()
            self.depth = Depth.of(source, self.stream, self.pixels)
        except CinemillError as error:
            raise self._located(error) from None

    def _located(self, error: CinemillError, frame: int | None = None) -> CinemillError:
        syntax = self.source.transfer_syntax.uid
        return error.locate(path=self.source.path, frame=frame, transfer_syntax=syntax)

    @property
    def batch(self) -> int:
        """How many frames are best decoded at once."""
        return self.codec.batch

    @property
    def decoded_by(self) -> str:
        """Name and version of the codec; of those that it had decode every frame, where it decoded none itself."""
        return credited(self.codec, self._by)

    @cached_property
    def lossy(self) -> bool:
        """Whether a codestream is lossy by its own markers; the first speaks for all where the transfer syntax is lossless."""
        if self.stream is None or not self.stream.lossless or self.source.transfer_syntax.lossless:
            return self.stream is not None and not self.stream.lossless
        streams = (read_markers(self.source, i, self._codestream(i)) for i in range(1, len(self.source)))
        return not all(stream.lossless for stream in streams)

    def decode(self, indices: Sequence[int], interpretation: str | None = None) -> list[Samples]:
        """Decode frames to arrays of ``pixels.shape`` and ``pixels.dtype``, with whatever stands in unused bits.

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
        told = self._decode(indices, codestreams)
        self._by.update({named(codec) for _, codec in told})
        decoded = self._confirm(indices, codestreams, told)
        del told
        wanted = interpretation or self.pixels.photometric_interpretation
        for place, found in enumerate(interpretations):
            decoded[place] = colour.convert(decoded[place], found, wanted)  # and let go what it was
        return decoded

    def samples(self, indices: Sequence[int], interpretation: str | None = None) -> list[Samples]:
        """Decode frames to samples as they leave in arrays, pictures and codestreams: of Bits Stored bits, sign extended.

        Parameters
        ----------
        interpretation
            See `decode`.

        Raises
        ------
        CodecError
            See `decode`.
        """
        found = []
        for frame in self.decode(indices, interpretation):
            samples, changed = self.depth.samples(frame)
            if changed:
                self._note(str(self.depth))
            found.append(samples)
        if not self.depth.aligned:
            self._note(
                f"High Bit is {self.source.high_bit} with Bits Stored {self.depth.stored}; samples are given as they lie"
            )
        return found

    def _codestream(self, index: int) -> Buffer:
        frame = held_codestream(self.source, index)
        whole = with_end(frame) if self._marked else frame
        if whole is not frame:
            end = "EOC" if self.source.transfer_syntax.coding in {"jpeg-2000", "htj2k"} else "EOI"
            self._note(f"codestreams lack their end marker ({end}); all their samples are there")
        return whole

    def _decode(self, indices: Sequence[int], codestreams: Sequence[Buffer]) -> list[tuple[Samples, Codec]]:
        try:
            return together.attributed(self.codec, codestreams, self._native_pixels)
        except (CodecError, UnsupportedPixelFormat) as error:
            irregular = [self._irregular(data) for data in codestreams]
            if not any(irregular):
                error.frame = indices[error.frame or 0]
                raise self._located(error) from None
        except MemoryError:
            message = f"frames of {self.pixels.nbytes} bytes do not fit into memory"
            raise self._located(UnsupportedPixelFormat(message), indices[0]) from None
        return [
            (self._decode_irregular(index, data, marker), self.codec)
            if marker
            else self._decode([index], [data])[0]
            for index, data, marker in zip(indices, codestreams, irregular, strict=True)
        ]

    def _irregular(self, data: Buffer) -> str | None:
        """Return a marker code that stands in the packets of JPEG 2000, where nothing else is wrong."""
        if self.coding != "jpeg-2000":
            return None
        from cinemill.codecs.jpeg_2000.irregular import stray_marker

        return stray_marker(data, self._native_pixels)

    def _decode_irregular(self, index: int, data: Buffer, marker: str) -> Samples:
        """Decode JPEG 2000 that is not conformant: what two decoders read alike is what it holds."""
        problem = f"JPEG 2000: expected packets, found marker {marker} in them, as OpenJPEG 1.x wrote"
        exact = self.stream is not None and self.stream.lossless
        opinions = Opinions(0 if exact else 1 << max(0, self._native_pixels.bits_stored - 14))
        for codec in table.irregular_decoders():
            try:
                samples = opinions.ask(codec, data, self._native_pixels, damage=True)
            except CodecError as error:
                error.frame = index
                raise self._located(error) from None
            if samples is not None:
                self._note(
                    f"codestreams have markers in their packets, as OpenJPEG 1.x wrote; read alike by {opinions.agreed}"
                )
                return samples
        raise self._located(CodecError(f"{problem}; no two decoders read it alike ({opinions})"), index)

    def _confirm(
        self, indices: Sequence[int], codestreams: Sequence[Buffer], told: list[tuple[Samples, Codec]]
    ) -> list[Samples]:
        """Have two decoders agree: what a lossless codestream holds is no matter of opinion, nor what two decoders give alike.

        What another than `codec` decoded, since it does not, has been told by who would be asked.
        """
        if not self._confirm_every or (self.lossy and not (self._confirm_lossy and table.exact(self.codec))):
            return [frame for frame, _ in told]
        return [
            self._confirmed(index, data, frame) if self._is_chosen(index) and codec is self.codec else frame
            for index, data, (frame, codec) in zip(indices, codestreams, told, strict=True)
        ]

    def _is_chosen(self, index: int) -> bool:
        with self._lock:
            chosen = index % self._confirm_every == 0
            self._all_confirmed &= chosen
        return chosen

    def _confirmed(self, index: int, data: Buffer, frame: Samples) -> Samples:
        """Return what two decoders say, this one and another; where they differ, a third settles it.

        Raises
        ------
        CodecError
            No two of them agree, or other frames were decoded by the one that is outvoted here.
        """
        if self._irregular(data):
            return frame  # two agreed already
        stream = None if self.stream is None else read_markers(self.source, index, data)
        opinions = Opinions()
        opinions.hear(self.codec.name, frame)
        agreed = self._ask(opinions, table.second_opinions(self.coding), stream, data)
        if agreed is None and len(opinions.dissenters) > 1:
            agreed = self._ask(opinions, table.arbiters(self.coding), stream, data)
        for name, why in opinions.silent.items():
            self._note(f"{name} can't confirm what {self.codec.name} decoded ({why})")
        if agreed is None and len(opinions.dissenters) > 1:
            raise self._located(CodecError(str(opinions)), index)
        if agreed is not None and opinions.dissenters:
            self._note(
                f"{', '.join(opinions.dissenters)} decoded otherwise than {opinions.agreed}, whose samples were taken"
            )
            if agreed is not frame:
                self._distrust(index)
        return frame if agreed is None else agreed

    def _ask(
        self, opinions: Opinions, codecs: Iterable[Codec], stream: Codestream | None, data: Buffer
    ) -> Samples | None:
        """Ask decoders, but for those known to be wrong there, until one agrees with another."""
        for codec in codecs:
            if not known_to_fail(codec.name, stream):
                agreed = opinions.ask(codec, data, self._native_pixels)
                if agreed is not None:
                    return agreed
        return None

    def _distrust(self, index: int) -> None:
        """Have every frame confirmed from now on, if that is not too late."""
        with self._lock:
            self._confirm_every = 1
            if self._all_confirmed:
                return
        message = (
            f"two other decoders read it otherwise than {self.codec.name}, which decoded other frames alone; "
            "transcode --verify independent has every frame confirmed"
        )
        raise self._located(CodecError(message), index)

    def _note_packed_bits(self, data: Buffer) -> None:
        from cinemill.codecs.rle import has_packed_bits

        if has_packed_bits(data, self._native_pixels):
            self._note(PACKED_BITS)

    def _note(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def _coding(self) -> str:
        syntax = self.source.transfer_syntax
        if self.stream is None:
            return syntax.coding
        coding = "jpeg" if holds_jpeg(self.source) else syntax.coding
        if self.stream.coding != coding:
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
        if header.signed and header.samples == 3:
            self.warnings.append("Pixel Representation is 1, but colour has no sign; it is shown as unsigned")
        coded = header
        if self.stream is not None:
            check_geometry(self.stream, header)
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
        if stream.signed is None and header.signed and stream.precision < header.bits_stored:
            self.warnings.append(
                f"Bits Stored is {header.bits_stored}, but the codestream has {stream.precision} bits; the highest of "
                "these is read as the sign"
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
            if self.coding == "rle" and self.pixels.bits_allocated == 1:
                self._note_packed_bits(data)
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
            check_geometry(stream, self.pixels)
        except CinemillError as error:
            raise self._located(error, index) from None
        label = self.source.pixels.photometric_interpretation
        interpretation, warning = colour.decoded_interpretation(label, self.pixels.samples, stream)
        if warning:
            self._note(warning)
        return interpretation
