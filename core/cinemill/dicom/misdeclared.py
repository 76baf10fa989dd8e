"""Pixel data that is not as its transfer syntax says, where nobody can mistake what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill import syntaxes
from cinemill.dicom.elements import UNDEFINED
from cinemill.dicom.fragments import read_fragments
from cinemill.dicom.native import fills
from cinemill.errors import DamagedFile

if TYPE_CHECKING:
    from cinemill.dicom.elements import Element
    from cinemill.dicom.source import Source
    from cinemill.storage.mapped import Bytes
    from cinemill.syntaxes import TransferSyntax

_EXPLICIT = "1.2.840.10008.1.2.1"
_TRANSFER_SYNTAX = 0x00020010
_ONE_MEANING = frozenset(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB"))
"""What native samples can be called wherever they came from: YCbCr may be the label of what was decoded to RGB."""


def is_enclosed(data: Bytes, element: Element) -> bool:
    """Whether pixel data of a defined length is a whole run of items: encapsulated (PS3.5 §A.4) but for its length."""
    if element.length == UNDEFINED:
        return False
    try:
        return read_fragments(data, element.value, len(data)).end == element.value + element.length
    except DamagedFile:
        return False


def settled(source: Source) -> TransferSyntax:
    """Return the transfer syntax by which a file is read.

    That is its own, but for native samples that are labelled with a lossless codec: they fill Pixel Data to the byte. The label
    of a lossy one may be all that tells what they went through.
    """
    declared, pixel_data = source.transfer_syntax, source.pixel_data
    if pixel_data is None or not (source.native and declared.encapsulated and declared.lossless):
        return declared
    try:
        pixels, frames = source.pixels, source.promised_frames or 1
    except DamagedFile:
        return declared
    plain = pixels.photometric_interpretation in _ONE_MEANING
    if not plain or not fills(pixels, frames, pixel_data.end - pixel_data.value):
        return declared
    explicit = syntaxes.find(_EXPLICIT)
    source.warnings.append(
        f"{declared.keyword} is declared, but Pixel Data is as long as native samples are; "
        f"read as {explicit.keyword}"
    )
    return explicit


def given_length(source: Source) -> int | None:
    """Return the length that encapsulated pixel data has, None where it has none, as it should be."""
    if source.pixel_data is None or source.native:
        return None
    value = source.pixel_data.value
    length = int.from_bytes(source.data[value - 4 : value], "little")
    return None if length == UNDEFINED else length


def is_misdeclared(source: Source) -> bool:
    """Whether pixel data is read otherwise than it is declared, so that a copy would be as wrong."""
    told = source.meta_text(_TRANSFER_SYNTAX)
    return told not in {"", source.transfer_syntax.uid} or given_length(source) is not None


def check_declared(source: Source) -> None:
    """Check that pixel data is encapsulated where its transfer syntax has it so.

    Raises
    ------
    DamagedFile
        It is not, or only there.
    """
    if source.native == source.transfer_syntax.encapsulated:
        found = "is not" if source.native else "is"
        what = f"the pixel data {found} encapsulated, which contradicts {source.transfer_syntax.keyword}"
        if not source.meta_text(_TRANSFER_SYNTAX):
            what = "the pixel data is encapsulated, but no transfer syntax is given to decode it by"
        raise DamagedFile(what, path=source.path)
