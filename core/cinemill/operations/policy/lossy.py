"""Whether the pixels of a source are coded lossily: its codestreams decide, not its transfer syntax."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.codecs.codestream import with_end
from cinemill.dicom.elements import PIXEL_DATA
from cinemill.errors import CinemillError
from cinemill.frames.depth import may_be_truncated
from cinemill.frames.markers import MARKED, read_markers

if TYPE_CHECKING:
    from cinemill.codecs.codestream import Codestream
    from cinemill.dicom.source import Source


def first_codestream(source: Source) -> Codestream | None:
    """Return what the first frame's codestream says of itself; None where it has no markers, or is damaged."""
    if source.pixel_data is None or source.pixel_data.tag != PIXEL_DATA:
        return None
    return _codestream(source, 0) if source.transfer_syntax.coding in MARKED else None


def is_lossy(source: Source, stream: Codestream | None) -> bool:
    """Whether the codestreams of a source are lossy.

    Reversible JPEG 2000 under a transfer syntax that may be lossy counts as such where Lossy Image Compression is 01, for
    layers may have been left out.

    Parameters
    ----------
    source
        The open file.
    stream
        See `first_codestream`.
    """
    syntax = source.transfer_syntax
    if stream is None:
        return not syntax.lossless
    if not stream.lossless or syntax.lossless:
        return not stream.lossless
    if may_be_truncated(source, stream):
        return True
    others = (_codestream(source, index) for index in range(1, len(source)))
    return any(other is not None and not other.lossless for other in others)


def _codestream(source: Source, index: int) -> Codestream | None:
    try:
        return read_markers(source, index, with_end(source.frame(index)))
    except (CinemillError, IndexError):
        return None
