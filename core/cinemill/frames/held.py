"""The codestream that a frame is decoded from: its own, or the JPEG that a recompressed frame in JPEG XL holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.codecs.jpeg_xl.boxes import reconstructable

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.pixel_format import Buffer


def holds_jpeg(source: Source) -> bool:
    """Whether the first frame is JPEG XL that a JPEG can be rebuilt from."""
    return source.transfer_syntax.coding == "jpeg-xl" and reconstructable(source.frame(0)) is not None


def held_codestream(source: Source, index: int) -> Buffer:
    """Return the bytes of a frame, or the JPEG that it holds: so it shows what it showed before it was recompressed.

    Raises
    ------
    CodecError
        The JPEG can't be rebuilt, or the frame has another size than the header says.
    """
    frame = source.frame(index)
    if source.transfer_syntax.coding != "jpeg-xl" or reconstructable(frame) is None:
        return frame
    from cinemill.codecs.jpeg_xl.libjxl import check_geometry, to_jpeg

    check_geometry(frame, source.layout, index)
    return to_jpeg(frame, index)
