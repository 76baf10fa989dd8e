"""Blackens the JPEGs of one instance in their coefficients, frame by frame, and proves it by decoding both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cinemill.codecs import table
from cinemill.codecs.codestream import with_end
from cinemill.codecs.jpeg.blacken import blacken, frame_header, grown, touched
from cinemill.dicom.rewrite import frame_changes
from cinemill.dicom.writer import InstanceWriter
from cinemill.errors import CinemillError, UnsupportedPixelFormat, VerificationError
from cinemill.frames.decode import FrameDecoder
from cinemill.frames.markers import read_markers
from cinemill.operations.clock import Clock, record
from cinemill.operations.jpegs import CHECK_EVERY, Carried, Carrier, carry, check_kind
from cinemill.operations.mask.icons import blank_icons
from cinemill.operations.mask.masks import sized
from cinemill.operations.mask.samples import Outside, darkest
from cinemill.storage.file import Sink
from cinemill.storage.likeness import Likeness

if TYPE_CHECKING:
    from cinemill.codecs.codec import Codec
    from cinemill.operations.mask.masks import Mask
    from cinemill.operations.operation import Control
    from cinemill.operations.origin import Origin
    from cinemill.operations.policy.words import Level
    from cinemill.operations.receipt import Receipt
    from cinemill.operations.transcode.request import Transcode
    from cinemill.pixel_format import Buffer, Samples


class _Jpegs:
    """The JPEGs of one instance, masked one by one.

    Parameters
    ----------
    decoder
        Of the source's frames.
    mask
        What is to be black.
    level
        How much is decoded: with ``independent``, everything by other implementations too.
    """

    def __init__(self, decoder: FrameDecoder, mask: Mask, level: Level) -> None:
        self.decoder, self.mask = decoder, mask
        self.check_every = CHECK_EVERY[level]
        self.decoders: list[Codec] = [decoder.codec]
        if level == "independent":
            self.decoders += [
                each for each in table.second_opinions("jpeg") if each.name != decoder.codec.name
            ]
        precision = decoder.pixels.bits_stored
        shown = darkest(decoder, decoder.pixels.photometric_interpretation)
        self.values = tuple(value & (1 << precision) - 1 for value in shown)
        self.shown = shown
        header = frame_header(decoder.source.frame(0))
        self.grown, self.touched = grown(header, mask.boxes), touched(header, mask.boxes)
        self._components = header.components
        self.outside = Outside(self.touched, decoder.pixels.rows, decoder.pixels.columns)

    def blackened(self, jpeg: Buffer, index: int) -> Carried:
        """Mask one frame, and compare what decoders make of it with what they make of the source's.

        Raises
        ------
        UnsupportedPixelFormat
            It is of another kind than the first, or can't be masked exactly.
        VerificationError
            Something changed outside, or the inside is not black.
        """
        try:
            jpeg = with_end(jpeg)
            self._check_kind(jpeg, index)
            written = blacken(jpeg, self.mask.boxes, self.values)
            if self.check_every and index % self.check_every == 0:
                for number, codec in enumerate(self.decoders):
                    left_alone = self._compare(codec, jpeg, written)
                    if number == 0:
                        self.outside.note(left_alone, index)
        except CinemillError as error:
            raise error.locate(frame=index) from None
        return Carried(written, written)

    def _check_kind(self, jpeg: Buffer, index: int) -> None:
        assert self.decoder.stream is not None
        check_kind(read_markers(self.decoder.source, index, jpeg), self.decoder.stream, "--to jpeg-ls")
        if frame_header(jpeg).components != self._components:
            raise UnsupportedPixelFormat(
                "expected components, and sampling of them, as in the first frame's JPEG, found others; use --to jpeg-ls"
            )

    def _compare(self, codec: Codec, jpeg: Buffer, written: bytes) -> Samples:
        pixels = self.decoder.pixels
        before, after = (codec.decode([each], pixels)[0] for each in (jpeg, written))
        left_alone = self.outside.of(before)
        if not np.array_equal(left_alone, self.outside.of(after)):
            raise VerificationError(f"{codec.name}: samples outside the mask changed; nothing was kept")
        for left, top, right, bottom in self.mask.boxes:
            inside = after[top : bottom + 1, left : right + 1]
            if (inside != (self.shown if after.ndim == 3 else self.shown[0])).any():
                raise VerificationError(
                    f"{codec.name}: samples inside the mask are not black; nothing was kept"
                )
        return left_alone

    def told(self) -> dict[str, Any]:
        """Return what the receipt says of the mask."""
        digest = self.outside.digest if self.check_every else ""
        return {
            **self.mask.to_dict(),
            "value": list(self.shown),
            "grown": [list(sized(box)) for box in self.grown],
            "touched": [list(sized(box)) for box in self.touched],
            "outside_before": digest,
            "outside_after": digest,
        }


def can_blacken(decoder: FrameDecoder) -> bool:
    """Whether frames are JPEGs with DCT, which are masked as they are or not at all."""
    return decoder.coding == "jpeg" and decoder.source.transfer_syntax.coding in {"jpeg", "jpeg-lossless"}


def blacken_jpegs(
    origin: Origin,
    output: Path,
    request: Transcode,
    control: Control,
    mask: Mask,
    told: Mapping[str, Any],
) -> Receipt:
    """Write one instance with its JPEGs masked, in the transfer syntax that it has.

    Parameters
    ----------
    origin
        What the output is made from.
    output
        Where the instance will appear.
    request
        The options.
    control
        Threads, cancellation and progress.
    mask
        What is to be black.
    told
        What the receipt says besides.

    Raises
    ------
    CinemillError
        Nothing was written: a frame can't be masked exactly, or is not what it should be.
    """
    source = origin.source
    decoder = FrameDecoder(source)
    frames = _Jpegs(decoder, mask, request.verify)
    clock = Clock()
    carrier = Carrier(frames.blackened, "mask", check_every=frames.check_every)
    likeness = Likeness.of(source.path, preserve=request.preserve)
    target = source.transfer_syntax
    with Sink(output, overwrite=request.overwrite, likeness=likeness) as sink:
        instance = InstanceWriter(
            sink, source, target, frame_changes(source) | origin.changes, blank_icons(source), origin.room
        )
        writer = instance.begin_frames(source.pixels, len(source), source.encoded_bytes + 1024 * len(source))
        digest = carry(source, writer, carrier, clock, control)
        receipt = record(
            source,
            output,
            "transcoded",
            target,
            frames=len(source),
            decoder=decoder.decoded_by,
            jpeg_digest=digest,
            lossy_source=True,
            pixel_bytes=decoder.pixels.nbytes * len(source),
            verification=_verification(frames),
            mask=frames.told(),
            warnings=(*source.warnings, *decoder.warnings),
            source_digest=origin.digest,
            **told,
        )
        instance.end(private=origin.remembered(receipt))
        if request.verify != "none":
            with clock("verify"), instance.read_back():
                pass
        return clock.commit(sink, receipt)


def _verification(frames: _Jpegs) -> str:
    if not frames.check_every:
        return "none"
    which = "every frame" if frames.check_every == 1 else f"every {frames.check_every}th frame"
    names = " and ".join(f"{codec.name} {codec.version}" for codec in frames.decoders)
    return f"{which} outside and inside the mask, before and after, by {names}"
