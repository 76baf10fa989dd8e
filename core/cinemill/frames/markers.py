"""Reads what one frame's codestream says of itself, without decoding it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.codecs.codestream import Codestream, read_codestream
from cinemill.errors import CinemillError, CodecError

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.pixel_format import Buffer, PixelFormat

MARKED = frozenset(("jpeg", "jpeg-lossless", "jpeg-ls", "jpeg-2000", "htj2k", "jpeg-xl"))
"""Codings whose codestreams have markers."""


def read_markers(source: Source, index: int, data: Buffer) -> Codestream:
    """Read what one frame's codestream says of itself.

    Parameters
    ----------
    source
        The open file.
    index
        Of the frame.
    data
        Its bytes.

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


def check_geometry(stream: Codestream, pixels: PixelFormat) -> None:
    """Check that a codestream has the rows, columns and samples of the header.

    Raises
    ------
    CodecError
        It has others.
    """
    expected = pixels.rows, pixels.columns, pixels.samples
    found = stream.rows, stream.columns, stream.components
    if expected != found:
        raise CodecError(
            "the header has {} rows, {} columns, {} samples; the codestream has {}, {}, {}".format(
                *expected, *found
            )
        )
