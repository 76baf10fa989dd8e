"""Recompresses the JPEGs of one instance as JPEG XL that gives each back byte for byte (PS3.5 §8.2.15, §A.4.12).

Each frame is a fragment with JPEG XL boxes: what rebuilds the JPEG (jbrd) has its place there, and no bare codestream has one.
Nothing is lost or gained by it, so the history of lossy compression stays as it is told (PS3.3 C.7.6.1.1.5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinemill.codecs.codestream import Codestream
from cinemill.codecs.jpeg_xl import libjxl
from cinemill.codecs.jpeg_xl.headers import read_header
from cinemill.dicom.writer import InstanceWriter
from cinemill.errors import CinemillError, UnsupportedPixelFormat
from cinemill.frames.decode import FrameDecoder
from cinemill.frames.icons import native_icons
from cinemill.frames.markers import read_markers
from cinemill.operations.clock import Clock, record
from cinemill.operations.jpegs import CHECK_EVERY, SAMPLE_EVERY, Carried, Carrier, carry, check_kind
from cinemill.operations.transcode.changes import format_changes, wrong_high_bit
from cinemill.operations.transcode.plan import check_legal
from cinemill.storage.file import Sink
from cinemill.storage.likeness import Likeness

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.operations.operation import Control
    from cinemill.operations.origin import Origin
    from cinemill.operations.policy.words import Level
    from cinemill.operations.receipt import Receipt
    from cinemill.operations.transcode.request import Transcode
    from cinemill.pixel_format import Buffer, PixelFormat
    from cinemill.syntaxes import TransferSyntax

_LOSSY = 0x00282110
_GROWTH = 1.5
"""What boxes and small JPEGs may take beyond the JPEG; decides whether offsets might pass 32 bits."""


def recompressed_ratios(source: Source, target: TransferSyntax, indices: Sequence[int]) -> list[float]:
    """Return how many times the bytes of its JPEG each of some frames takes when it is recompressed.

    Parameters
    ----------
    source
        The open file.
    target
        JPEG XL JPEG Recompression.
    indices
        The frames.

    Raises
    ------
    CinemillError
        They are no such JPEGs as come back.
    """
    frames = _Jpegs(source)
    check_legal(frames.written, target)
    carried = [frames.recompressed(source.frame(index), index) for index in indices]
    return [len(frame.written) / len(frame.jpeg) for frame in carried]


def recompress(
    origin: Origin,
    output: Path,
    request: Transcode,
    control: Control,
    target: TransferSyntax,
    told: Mapping[str, Any],
) -> Receipt:
    """Write one instance with each JPEG recompressed, after all came back byte for byte.

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
    target
        JPEG XL JPEG Recompression.
    told
        What the receipt says of the policy.

    Raises
    ------
    WouldGrow
        It would be larger than its source, which is to be kept.
    CinemillError
        Nothing was written: the frames are no JPEGs, or one does not come back.
    """
    source = origin.source
    frames = _Jpegs(source)
    written = frames.written
    check_legal(written, target)
    if request.colour == "rgb" and written.photometric_interpretation == "YBR_FULL_422":
        raise UnsupportedPixelFormat("jpeg-xl-jpeg keeps JPEGs as they are, YCbCr too; use jpeg-xl")
    changes = format_changes(source, written) | origin.changes
    clock = Clock()
    carrier = Carrier(frames.recompressed, "encode", libjxl.to_jpeg, CHECK_EVERY[request.verify])
    likeness = Likeness.of(source.path, preserve=request.preserve)
    most = len(source.file) if request.if_larger == "keep" else None
    with Sink(output, overwrite=request.overwrite, likeness=likeness, most=most) as sink:
        instance = InstanceWriter(sink, source, target, changes, native_icons(source), origin.room)
        expected = int(source.encoded_bytes * _GROWTH) + 1024 * len(source)
        writer = instance.begin_frames(written, len(source), expected)
        digest = carry(source, writer, carrier, clock, control)
        receipt = record(
            source,
            output,
            "transcoded",
            target,
            photometric_interpretation_after=written.photometric_interpretation,
            frames=len(source),
            encoder=f"{libjxl.NAME} {libjxl.VERSION}",
            jpeg_digest=digest,
            lossy_source=True,
            pixel_bytes=written.nbytes * len(source),
            verification=_told(request.verify),
            warnings=(
                *source.warnings,
                *frames.decoder.warnings,
                *wrong_high_bit(source),
                *frames.warnings,
            ),
            source_digest=origin.digest,
            **told,
        )
        instance.end(private=origin.remembered(receipt))
        if request.verify != "none":
            with clock("verify"), instance.read_back():
                pass
        return clock.commit(sink, receipt)


def _told(level: Level) -> str:
    if level == "none":
        return "none"
    which = "every frame" if level != "sample" else f"every {SAMPLE_EVERY}th frame"
    return f"the JPEG of {which}, rebuilt by {libjxl.NAME} {libjxl.VERSION}, byte for byte"


class _Jpegs:
    """The JPEGs of one instance, all of one kind: what JPEG XL can hold so that they come back.

    Raises
    ------
    UnsupportedPixelFormat
        They are no such JPEGs.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.warnings: list[str] = []
        if source.transfer_syntax.coding not in {"jpeg", "jpeg-lossless"}:
            raise UnsupportedPixelFormat(
                f"jpeg-xl-jpeg recompresses JPEG only, found {source.transfer_syntax.keyword}; use jpeg-xl"
            )
        self.decoder = FrameDecoder(source)
        assert self.decoder.stream is not None
        self.first: Codestream = self.decoder.stream
        if source.text(_LOSSY) == "00":
            self.warnings.append("Lossy Image Compression is 00, but the codestreams are lossy")
        if self.first.coding != "jpeg" or self.first.precision != 8:
            raise UnsupportedPixelFormat(
                f"jpeg-xl-jpeg recompresses JPEG of 8 bits with DCT, found {self.first.process} of "
                f"{self.first.precision} bits; use jpeg-xl"
            )
        header = source.layout
        if (header.bits_allocated, header.bits_stored, header.signed) != (8, 8, False):
            raise UnsupportedPixelFormat(
                "jpeg-xl-jpeg holds unsigned samples of 8 bits in 8 (PS3.5 §8.2.15), found "
                f"{header.bits_stored} in {header.bits_allocated}{', signed' if header.signed else ''}; use jpeg-xl"
            )

    @property
    def written(self) -> PixelFormat:
        """What the header of the output says: YCbCr is called YBR_FULL_422, however often chrominance is sampled."""
        found = self.decoder.pixels.photometric_interpretation
        label = "YBR_FULL_422" if found == "YBR_FULL" else found
        if label == "RGB" and self.first.colour is None:
            raise UnsupportedPixelFormat(
                "Photometric Interpretation is RGB, but nothing in the JPEG says so: readers of JPEG XL would take it "
                "for YCbCr; use jpeg-xl"
            )
        return self.source.layout.with_(photometric_interpretation=label, planar_configuration=0)

    def recompressed(self, jpeg: Buffer, index: int) -> Carried:
        """Recompress one frame.

        Raises
        ------
        UnsupportedPixelFormat
            It is of another kind than the first, or does not come back.
        """
        try:
            check_kind(read_markers(self.source, index, jpeg), self.first, "jpeg-xl")
            boxes = libjxl.from_jpeg(jpeg, index)
            self._check(boxes)
        except CinemillError as error:
            raise error.locate(frame=index) from None
        return Carried(jpeg, boxes)

    def _check(self, boxes: bytes) -> None:
        """Check that readers of the codestream, who rebuild no JPEG, see the same."""
        header = read_header(boxes)
        if header.orientation != 1:
            raise UnsupportedPixelFormat(
                f"the JPEG has Exif orientation {header.orientation}, by which readers of JPEG XL turn it; use jpeg-xl"
            )
        if self.first.colour is not None and header.modular is False:
            told = "YBR_FULL" if header.ycbcr else "RGB"
            if told != self.first.colour:
                raise UnsupportedPixelFormat(
                    f"the JPEG is {self.first.colour}, but libjxl takes it for {told}; use jpeg-xl"
                )
