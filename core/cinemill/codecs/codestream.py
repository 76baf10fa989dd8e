"""Reads what a codestream says of itself: geometry, depth, sign and colour, from its markers alone.

JPEG markers are those of T.81 Annex B (JFIF: T.871, Adobe APP14: T.872 §6.5.3), JPEG-LS those of T.87 Annex C,
JPEG 2000 those of T.800 Annex A, JP2 boxes those of T.800 Annex I, and CAP that of T.814 Annex A.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.pixel_format import Buffer

_SOF_CODINGS = {
    **dict.fromkeys((0xC0, 0xC1, 0xC2), "jpeg"),
    0xC3: "jpeg-lossless",
    0xF7: "jpeg-ls",
}
_UNSUPPORTED_SOF = {0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_ENUMERATED_COLOUR = {16: "RGB", 17: None, 18: "YBR_FULL"}


@dataclass(frozen=True, slots=True)
class Codestream:
    """What one frame's codestream says of itself.

    Attributes
    ----------
    coding
        ``jpeg``, ``jpeg-lossless``, ``jpeg-ls``, ``jpeg-2000`` or ``htj2k``, whatever the transfer syntax claims.
    precision
        Bits of a sample.
    signed
        Of the samples; None where the codestream can't say.
    lossless
        Whether the coding is reversible.
    colour
        Photometric interpretation of the decoded samples where the codestream tells it, else None.
    subsampled
        Whether components have different sampling.
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
    subsampled: bool = False
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
    start = bytes(view[:12])
    try:
        if start.startswith(b"\xff\xd8"):
            return _read_jpeg(view)
        if start.startswith(b"\xff\x4f\xff\x51"):
            return _read_jpeg_2000(view, None)
        if start[4:8] == b"jP  ":
            return _read_jp2(view)
    except (struct.error, IndexError):
        raise CodecError("the codestream ends inside its header", offset=len(view)) from None
    return None


def with_end(data: Buffer) -> Buffer:
    """Append the end marker (EOI) that a JPEG or JPEG-LS codestream lacks: its decoder sees whether samples are missing."""
    ended = b"\xff\xd9" in bytes(data[-64:]) or b"\xff\xd9" in bytes(data)
    return data if ended or bytes(data[:2]) != b"\xff\xd8" else bytes(data) + b"\xff\xd9"


def _read_jpeg(view: memoryview) -> Codestream:
    colour: str | None = None
    frame: tuple[int, int, int, int, int, bytes, bool] | None = None
    has_jfif, adobe = False, None
    near = 0
    for marker, body in _jpeg_segments(view):
        if marker == 0xE0 and bytes(body[:5]) == b"JFIF\0":
            has_jfif = True
        elif marker == 0xEE and bytes(body[:5]) == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        elif marker in _UNSUPPORTED_SOF:
            raise UnsupportedPixelFormat(f"hierarchical or arithmetic JPEG (SOF{marker - 0xC0}) is not read")
        elif marker in _SOF_CODINGS:
            precision, rows, columns, components = struct.unpack_from(">BHHB", body)
            ids = bytes(body[6::3][:components])
            sampling = bytes(body[7::3][:components])
            frame = marker, precision, rows, columns, components, ids, len(set(sampling)) > 1
        elif marker == 0xDA:
            near = body[2 * body[0] + 1]
            break
    if frame is None:
        raise CodecError("the JPEG codestream has no frame header (SOF)")
    marker, precision, rows, columns, components, ids, subsampled = frame
    if not precision:
        raise CodecError("the frame header (SOF) promises samples of 0 bits")
    coding = _SOF_CODINGS[marker]
    if coding == "jpeg" and components == 3:
        colour = _jpeg_colour(adobe, ids, has_jfif=has_jfif, subsampled=subsampled)
    return Codestream(
        coding=coding,
        rows=rows,
        columns=columns,
        components=components,
        precision=precision,
        lossless=coding == "jpeg-lossless" or (coding == "jpeg-ls" and near == 0),
        colour=colour,
        subsampled=subsampled,
        process="JPEG-LS" if coding == "jpeg-ls" else f"JPEG SOF{marker - 0xC0}",
    )


def _jpeg_colour(adobe: int | None, ids: bytes, *, has_jfif: bool, subsampled: bool) -> str | None:
    if has_jfif:
        return "YBR_FULL"
    if adobe is not None:
        return "RGB" if adobe == 0 else "YBR_FULL"
    if ids == b"RGB":
        return "RGB"
    return "YBR_FULL" if subsampled else None


def _jpeg_segments(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    offset = 2
    while True:
        if view[offset] != 0xFF:
            raise CodecError("expected a marker", offset=offset)
        while view[offset] == 0xFF:
            offset += 1
        marker = view[offset]
        offset += 1
        if marker == 0xD9:
            return
        (length,) = struct.unpack_from(">H", view, offset)
        yield marker, view[offset + 2 : offset + length]
        offset += length


def _read_jpeg_2000(view: memoryview, colour: str | None) -> Codestream:
    columns = rows = components = depth = 0
    high_throughput = reversible = False
    transform = False
    subsampled = False
    offset = 2
    while True:
        marker, length = struct.unpack_from(">HH", view, offset)
        body = view[offset + 4 : offset + 2 + length]
        if marker == 0xFF51:
            x1, y1, x0, y0 = struct.unpack_from(">LLLL", body, 2)
            columns, rows = x1 - x0, y1 - y0
            (components,) = struct.unpack_from(">H", body, 34)
            depth = body[36]
            subsampled = any(body[37 + 3 * i] != 1 or body[38 + 3 * i] != 1 for i in range(components))
        elif marker == 0xFF50:
            high_throughput = True
        elif marker == 0xFF52:
            transform, reversible = bool(body[4]), body[9] == 1
        elif marker == 0xFF90:
            break
        offset += 2 + length
    if transform and components >= 3:
        colour = "RGB"
    return Codestream(
        coding="htj2k" if high_throughput else "jpeg-2000",
        rows=rows,
        columns=columns,
        components=components,
        precision=(depth & 0x7F) + 1,
        lossless=reversible,
        signed=bool(depth & 0x80),
        colour=colour,
        subsampled=subsampled,
        process=f"{'HTJ2K' if high_throughput else 'JPEG 2000'} {'5-3' if reversible else '9-7'}",
    )


def _read_jp2(view: memoryview) -> Codestream:
    colour: str | None = None
    for kind, body in _boxes(view):
        if kind == b"jp2h":
            for inner, content in _boxes(body):
                if inner == b"colr" and content[0] == 1:
                    colour = _ENUMERATED_COLOUR.get(struct.unpack_from(">L", content, 3)[0])
        elif kind == b"jp2c":
            return _read_jpeg_2000(body, colour)
    raise CodecError("the JP2 file has no codestream box")


def _boxes(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    offset = 0
    while offset + 8 <= len(view):
        length, kind = struct.unpack_from(">L4s", view, offset)
        head = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", view, offset + 8)
            head = 16
        end = offset + length if length else len(view)
        if end <= offset:
            return
        yield kind, view[offset + head : end]
        offset = end
