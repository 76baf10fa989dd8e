"""Reads what a codestream says of itself: geometry, depth, sign and colour, from its markers alone.

JPEG markers are those of T.81 Annex B (JFIF: T.871, Adobe APP14: T.872 §6.5.3), JPEG-LS those of T.87 Annex C,
JPEG 2000 those of T.800 Annex A, JP2 boxes those of T.800 Annex I, CAP that of T.814 Annex A, and the headers of JPEG XL those
of ISO/IEC 18181-1.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.pixel_format import Buffer, PixelFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cinemill.codecs.jpeg.markers import Component, FrameHeader

_SOF_CODINGS = {
    **dict.fromkeys((0xC0, 0xC1, 0xC2), "jpeg"),
    0xC3: "jpeg-lossless",
    0xF7: "jpeg-ls",
}


class _Markers(NamedTuple):
    """What holds no text in a codestream, by the second bytes of its markers."""

    alone: frozenset[int]
    """Those without a segment."""
    tables: frozenset[int]
    """Those whose segments are numbers; all others may hold text."""
    coded: int
    """What coded samples follow."""
    end: int
    behind: re.Pattern[bytes]
    """What ends coded samples."""


_MARKERS = {
    b"\xff\xd8": _Markers(
        frozenset((0x01, *range(0xD0, 0xD9))),
        frozenset((*range(0xC0, 0xD0), *range(0xDA, 0xE0), 0xF7, 0xF8)),
        0xDA,
        0xD9,
        re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]"),
    ),
    b"\xff\x4f": _Markers(
        frozenset((*range(0x30, 0x40), 0x4F, 0x92, 0x93)),
        frozenset((*range(0x50, 0x64), 0x90)),
        0x93,
        0xD9,
        re.compile(rb"\xff[\x90\xd9]"),
    ),
}
"""Of JPEG with JPEG-LS, and of JPEG 2000, by the marker that they begin with."""
_CODED_BOXES = frozenset((b"jxlc", b"jxlp", b"jbrd"))
_LARGEST_BOX = 1 << 24
"""Bytes of what a compressed box holds, if it is to be searched."""


class Codestream(NamedTuple):
    """What one frame's codestream says of itself.

    Attributes
    ----------
    coding
        ``jpeg``, ``jpeg-lossless``, ``jpeg-ls``, ``jpeg-2000``, ``htj2k`` or ``jpeg-xl``, whatever the transfer syntax claims.
    precision
        Bits of a sample.
    signed
        Of the samples; None where the codestream can't say.
    lossless
        Whether the coding is reversible.
    colour
        Photometric interpretation of the decoded samples where the codestream tells it, else None.
    point_transform
        How many bits JPEG Lossless drops before it codes.
    hint
        Colour that component ids or the Adobe marker of JPEG Lossless or JPEG-LS speak of; they are not believed against the
        label, for encoders write them without regard to it.
    colour_transform
        Whether JPEG 2000 transformed the first three components, and undoes that.
    process
        Short description for messages and receipts.
    """

    coding: str
    rows: int
    columns: int
    components: int
    precision: int
    lossless: bool
    signed: bool | None = None
    colour: str | None = None
    point_transform: int = 0
    hint: str | None = None
    colour_transform: bool = False
    process: str = ""


def read_codestream(data: Buffer) -> Codestream | None:
    """Read the markers of one frame; None where the bytes are no codestream known here.

    Raises
    ------
    CodecError
        It begins as a known codestream and is damaged, or ends too early.
    UnsupportedPixelFormat
        It is of a process that is not read.
    """
    view = memoryview(data)
    if bytes(view[:2]) == b"\xff\xd8":
        return _read_jpeg(view)
    from cinemill.codecs.jpeg_2000.boxes import has_boxes
    from cinemill.codecs.jpeg_xl.boxes import is_jpeg_xl

    if bytes(view[:4]) == b"\xff\x4f\xff\x51" or has_boxes(view):
        return _read_jpeg_2000(view)
    if is_jpeg_xl(view):
        return _read_jpeg_xl(view)
    return None


def least_bytes(coding: str, pixels: PixelFormat) -> int:
    """Return how many bytes a frame of such pixels takes at least, whatever it shows; 0 where there is no such bound.

    JPEG takes a bit a block of the component with most blocks, JPEG Lossless a bit a sample, JPEG-LS a bit for 32768 samples of
    a line, RLE 2 bytes for 128 alike, deflate a byte for 1032, and JPEG XL at least one for each group of 1024 x 1024.
    """
    samples = pixels.rows * pixels.columns
    packed = pixels.nbytes // (8 if pixels.bits_allocated == 1 else 1)
    return {
        "jpeg": samples // (64 * 4 * 8),
        "jpeg-lossless": samples // 8,
        "jpeg-ls": pixels.rows * -(-pixels.columns // 32768) // 8,
        "rle": packed // 64,
        "deflated-frame": packed // 1032,
        "jpeg-xl": samples >> 20,
    }.get(coding, 0)


def with_end(data: Buffer) -> Buffer:
    """Append the end marker (EOI, EOC) that a codestream lacks.

    Decoders of JPEG and JPEG-LS see whether samples are missing; of JPEG 2000, lengths must show that nothing else is.
    """
    if bytes(data[:2]) == b"\xff\x4f":
        from cinemill.codecs.jpeg_2000 import markers as jpeg_2000

        return jpeg_2000.with_end(data)
    if bytes(data[:2]) != b"\xff\xd8":
        return data
    ended = b"\xff\xd9" in bytes(data[-64:]) or b"\xff\xd9" in bytes(data)
    return data if ended else bytes(data) + b"\xff\xd9"


def texts(data: Buffer) -> Iterator[Buffer]:
    """Yield what of a frame may be text: comments, application and unknown segments, boxes, and what stands behind the end.

    Samples and tables are none, though bytes of them look like words. What follows something unexpected may be.

    Raises
    ------
    CodecError
        A compressed box can't be searched.
    """
    from cinemill.codecs.jpeg_2000 import boxes as jpeg_2000
    from cinemill.codecs.jpeg_xl import boxes as jpeg_xl

    view = memoryview(data)
    if known := _MARKERS.get(bytes(view[:2])):
        yield from _texts_among(view, known)
    elif jpeg_2000.has_boxes(view) or jpeg_xl.has_boxes(view):
        behind = 0
        for kind, start, behind in jpeg_2000.each_box(view, 0, len(view)):
            if kind == b"jp2c":
                yield from texts(view[start:behind])
            elif kind == b"brob":
                yield _unpacked(view[start + 4 : behind])
            elif kind not in _CODED_BOXES:
                yield view[start:behind]
        yield view[behind:]


def _unpacked(content: memoryview) -> bytes:
    import imagecodecs

    try:
        return bytes(imagecodecs.brotli_decode(bytes(content), out=_LARGEST_BOX))
    except imagecodecs.BrotliError:
        raise CodecError(
            f"a compressed box (brob) can't be searched for text: it is damaged, or holds more than {_LARGEST_BOX} bytes"
        ) from None


def _texts_among(view: memoryview, known: _Markers) -> Iterator[Buffer]:
    position = 2
    while position + 4 <= len(view) and view[position] == 0xFF and view[position + 1] != known.end:
        marker = view[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        position += 2
        if marker not in known.alone:
            start = position + 2
            position += int.from_bytes(view[position:start], "big")
            if marker not in known.tables:
                yield view[start:position]
        if marker == known.coded:
            found = known.behind.search(view, position)
            position = found.start() if found else len(view)
    yield view[position:]


def _read_jpeg(view: memoryview) -> Codestream:
    from cinemill.codecs.jpeg import markers as jpeg

    start = jpeg.first_scan(view)
    return _read_shared_header(bytes(view[:start])) if start else _read_jpeg_header(view)


@lru_cache(maxsize=8)
def _read_shared_header(header: bytes) -> Codestream:
    """Read what frames of a cine share."""
    return _read_jpeg_header(header)


def _read_jpeg_header(stream: Buffer) -> Codestream:
    """Read what stands before the first scan."""
    from cinemill.codecs.jpeg import markers as jpeg

    frame: FrameHeader | None = None
    has_jfif, adobe = False, None
    process = near = point_transform = 0
    for marker, position, body in jpeg.header_segments(stream):
        if marker == 0xE0 and body[:5] == b"JFIF\0":
            has_jfif = True
        elif marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        elif marker in _SOF_CODINGS:
            process, frame = marker, jpeg.read_frame_header(body, position)
        elif marker in jpeg.FRAMES:
            raise UnsupportedPixelFormat(f"hierarchical or arithmetic JPEG (SOF{marker - 0xC0}) is not read")
        elif marker == jpeg.SOS:
            scan = jpeg.read_scan_header(body, position)
            near, point_transform = scan.first, scan.low
    if frame is None:
        raise CodecError("the JPEG codestream has no frame header (SOF)")
    if not frame.precision:
        raise CodecError("the frame header (SOF) promises samples of 0 bits")
    coding = _SOF_CODINGS[process]
    colour = hint = None
    if coding == "jpeg" and len(frame.components) == 3:
        colour = _jpeg_colour(adobe, frame.components, has_jfif=has_jfif)
    elif len(frame.components) == 3 and (adobe is not None or _ids(frame.components) == b"RGB"):
        hint = _jpeg_colour(adobe, frame.components, has_jfif=False)
    return Codestream(
        coding=coding,
        rows=frame.rows,
        columns=frame.columns,
        components=len(frame.components),
        precision=frame.precision,
        lossless=coding == "jpeg-lossless" or (coding == "jpeg-ls" and near == 0),
        colour=colour,
        point_transform=point_transform if coding == "jpeg-lossless" else 0,
        hint=hint,
        process="JPEG-LS" if coding == "jpeg-ls" else f"JPEG SOF{process - 0xC0}",
    )


def _jpeg_colour(adobe: int | None, components: tuple[Component, ...], *, has_jfif: bool) -> str | None:
    if has_jfif:
        return "YBR_FULL"
    if adobe is not None:
        return "RGB" if adobe == 0 else "YBR_FULL"
    if _ids(components) == b"RGB":
        return "RGB"
    subsampled = len({(component.across, component.down) for component in components}) > 1
    return "YBR_FULL" if subsampled else None


def _ids(components: tuple[Component, ...]) -> bytes:
    return bytes(component.number for component in components)


def _read_jpeg_2000(view: memoryview) -> Codestream:
    from cinemill.codecs.jpeg_2000 import boxes
    from cinemill.codecs.jpeg_2000 import markers as jpeg_2000

    header = jpeg_2000.read_main_header(boxes.bare_codestream(view))
    reversible = header.coding.wavelet == 1
    transformed = header.coding.colour_transform and header.samples >= 3
    return Codestream(
        coding="htj2k" if header.high_throughput else "jpeg-2000",
        rows=header.rows,
        columns=header.columns,
        components=header.samples,
        precision=header.precision,
        lossless=reversible,
        signed=header.signed,
        colour="RGB" if transformed else boxes.box_colour(view),
        colour_transform=bool(transformed),
        process=f"{'HTJ2K' if header.high_throughput else 'JPEG 2000'} {'5-3' if reversible else '9-7'}",
    )


def _read_jpeg_xl(view: memoryview) -> Codestream:
    """Lossy colours come out of every decoder as RGB; lossless ones are what the label says."""
    from cinemill.codecs.jpeg_xl.headers import read_header

    header = read_header(view)
    how = "lossless" if header.lossless else "DCT" if not header.modular else "lossy"
    return Codestream(
        coding="jpeg-xl",
        rows=header.rows,
        columns=header.columns,
        components=header.components,
        precision=header.precision,
        lossless=header.lossless,
        colour="RGB" if header.components == 3 and not header.lossless else None,
        process=f"JPEG XL {how}",
    )
