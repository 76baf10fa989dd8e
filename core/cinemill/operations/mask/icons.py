"""Images in sequences, such as icons, of an instance that is masked: nobody knows what they show, so they become blank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.dicom.elements import PIXEL_DATA, UNDEFINED
from cinemill.dicom.recode import encode_element
from cinemill.frames.icons import native_icons

if TYPE_CHECKING:
    from cinemill.dicom.elements import Element
    from cinemill.dicom.recode import ItemChange
    from cinemill.dicom.source import Source


def blank_icons(source: Source) -> ItemChange:
    """Return what `cinemill.dicom.rewrite.compose` puts in place of the images in a source's sequences: zeros."""
    made_native = native_icons(source)

    def blank(elements: list[Element]) -> dict[int, bytes]:
        pixels = next(element for element in elements if element.tag == PIXEL_DATA)
        if pixels.length != UNDEFINED:
            vr = pixels.vr or b"OW"
            return {PIXEL_DATA: encode_element(PIXEL_DATA, vr, bytes(pixels.end - pixels.value))}
        native = dict(made_native(elements))
        header = 12  # of an element with a long header, Explicit VR Little Endian
        native[PIXEL_DATA] = native[PIXEL_DATA][:header] + bytes(len(native[PIXEL_DATA]) - header)
        return native

    return blank
