"""Images in sequences, such as icons: made native where they are encapsulated, since the target's codec need not be theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.codecs import table
from cinemill.dicom.elements import PIXEL_DATA, UNDEFINED
from cinemill.dicom.recode import encode_element
from cinemill.dicom.source import Source
from cinemill.errors import CinemillError, CodecError
from cinemill.frames.decode import FrameDecoder

if TYPE_CHECKING:
    from cinemill.dicom.elements import Element
    from cinemill.dicom.recode import ItemChange
    from cinemill.pixel_format import PixelFormat

_PHOTOMETRIC, _PLANAR = 0x00280004, 0x00280006


def native_icons(source: Source) -> ItemChange:
    """Return what `cinemill.dicom.rewrite.compose` puts in place of the encapsulated images in a source's sequences."""

    def make_native(elements: list[Element]) -> dict[int, bytes]:
        if next(element for element in elements if element.tag == PIXEL_DATA).length != UNDEFINED:
            return {}
        try:
            pixels, native = _decode(source, elements)
        except CinemillError as error:
            raise CodecError(f"an icon (image in a sequence) can't be made native: {error.message}") from None
        return {
            PIXEL_DATA: encode_element(PIXEL_DATA, b"OW" if pixels.bits_allocated > 8 else b"OB", native),
            _PHOTOMETRIC: encode_element(_PHOTOMETRIC, b"CS", pixels.photometric_interpretation.encode()),
            _PLANAR: encode_element(_PLANAR, b"US", bytes(2)),
        }

    return make_native


def _decode(source: Source, elements: list[Element]) -> tuple[PixelFormat, bytes]:
    encoded = b"".join(bytes(source.data[element.start : element.end]) for element in elements)
    meta = encode_element(0x00020010, b"UI", source.transfer_syntax.uid.encode())
    decoder = FrameDecoder(Source(source.path, data=bytes(128) + b"DICM" + meta + encoded))
    (native,) = table.encoder("native").encode(decoder.decode([0]), decoder.pixels)
    return decoder.pixels, native
