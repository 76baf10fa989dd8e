"""Warnings about pixels that are carried over undecoded: where header and codestream differ, and what viewers show wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cinemill.codecs.codestream import with_end
from cinemill.dicom.elements import PIXEL_DATA
from cinemill.errors import CinemillError
from cinemill.frames.colour import decoded_interpretation
from cinemill.frames.decode import PACKED_BITS, FrameDecoder
from cinemill.frames.markers import MARKED, read_markers

if TYPE_CHECKING:
    from cinemill.dicom.source import Source

_LOSSY = 0x00282110
_WRONGLY = "many viewers show that in wrong colours; transcode --colour rgb converts it"


def carried_over(source: Source) -> list[str]:
    """Return what a receipt says of pixels that go into an output as they are coded, judged by the first frame.

    Whatever else is wrong with them is no reason not to carry them over.
    """
    if source.pixel_data is None or source.pixel_data.tag != PIXEL_DATA:
        return []
    try:
        return list(_told(source)) if len(source) else []
    except CinemillError:
        return []


def _told(source: Source) -> Iterator[str]:
    coding, pixels = source.transfer_syntax.coding, source.layout
    if coding == "video":
        return
    frame = source.frame(0)
    stream = read_markers(source, 0, with_end(frame)) if coding in MARKED else None
    interpretation, warning = decoded_interpretation(
        pixels.photometric_interpretation, pixels.samples, stream
    )
    if warning:
        yield warning
    if stream is not None and source.transfer_syntax.lossless and not stream.lossless:
        yield f"{source.transfer_syntax.keyword} is declared, but the codestream is lossy ({stream.process})"
    elif stream is not None and stream.coding != coding:
        yield f"{source.transfer_syntax.keyword} is declared, but the codestream is {stream.process}"
    if stream is not None and not stream.lossless and source.text(_LOSSY) == "00":
        yield f"Lossy Image Compression is 00, but the codestream is lossy ({stream.process})"
    if coding == "native" and pixels.photometric_interpretation == "YBR_FULL_422":
        yield f"YBR_FULL_422 stays native, with chrominance for every second column; {_WRONGLY}"
    if coding in {"jpeg-ls", "rle"} and interpretation == "YBR_FULL":
        yield f"YBR_FULL stays in {'JPEG-LS' if coding == 'jpeg-ls' else 'RLE'}; {_WRONGLY}"
    if (
        stream is not None
        and stream.lossless
        and stream.precision == pixels.bits_allocated > pixels.bits_stored
    ):
        decoder = FrameDecoder(source)
        if decoder.depth.unused and decoder.depth.samples(decoder.decode([0])[0])[1]:
            yield f"codestreams hold more than samples above Bits Stored {pixels.bits_stored}, and stay as they are"
    if coding == "rle" and pixels.bits_allocated == 1:
        from cinemill.codecs.rle import has_packed_bits

        if has_packed_bits(frame, pixels):
            yield PACKED_BITS
