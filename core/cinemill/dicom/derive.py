"""Attributes of instances that are derived from another one: UIDs, Source Image Sequence, Image Type (PS3.3 C.7.6.1)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from cinemill.dicom.elements import EXPLICIT_LE, items
from cinemill.dicom.recode import Recoder, encode_element, encode_item
from cinemill.dicom.rewrite import OFFSET_TABLES, Changes
from cinemill.errors import DamagedFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cinemill.dicom.source import Source

_IMAGE_TYPE, _SOP_CLASS, _SOP_INSTANCE, _SERIES = 0x00080008, 0x00080016, 0x00080018, 0x0020000E
_INSTANCE_NUMBER = 0x00200013
_SOURCE_IMAGES, _DERIVATION = 0x00082112, 0x00082111
_PER_FRAME_GROUPS = 0x52009230
_CONCATENATION = 0x00200242, 0x00209161, 0x00209162, 0x00209163, 0x00209228
"""What makes an instance a part of another whole (PS3.3 C.7.6.16.2.2.4)."""


def derived_uid(source: Source, purpose: str) -> str:
    """Return a UID that the same source and purpose always give (PS3.5 §B.2, name-based)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{source.text(_SOP_INSTANCE)} {purpose}').int}"


def derivation(source: Source, frames: Sequence[int], *, instance: str, series: str, number: int) -> Changes:
    """Return what makes an instance one that was derived from frames of another.

    Parameters
    ----------
    source
        The instance that it is derived from.
    frames
        Its frames, counted from 0.
    instance, series
        What the new UIDs are for: see `derived_uid`.
    number
        Instance Number.

    Raises
    ------
    DamagedFile
        The source has no SOP Instance UID to point back to, or functional groups that can't be read.
    """
    if not source.text(_SOP_INSTANCE):
        raise DamagedFile(
            "SOP Instance UID is absent; what is derived could not point back to it", path=source.path
        )
    image_type = source.text(_IMAGE_TYPE).split("\\")[1:] or ["PRIMARY"]
    changes: Changes = dict.fromkeys((*OFFSET_TABLES, *_CONCATENATION))
    changes |= {
        _IMAGE_TYPE: encode_element(
            _IMAGE_TYPE, b"CS", "\\".join(["DERIVED", *image_type]).encode("latin-1")
        ),
        _SOP_INSTANCE: encode_element(_SOP_INSTANCE, b"UI", derived_uid(source, instance).encode()),
        _SERIES: encode_element(_SERIES, b"UI", derived_uid(source, series).encode()),
        _INSTANCE_NUMBER: integer(_INSTANCE_NUMBER, number),
        _SOURCE_IMAGES: _source_images(source, frames),
        **_per_frame_groups(source, frames),
    }
    return changes


def described(text: str) -> Changes:
    """Return a Derivation Description."""
    return {_DERIVATION: encode_element(_DERIVATION, b"ST", text.encode())}


def integer(tag: int, value: int) -> bytes:
    """Return an element of VR IS."""
    return encode_element(tag, b"IS", str(value).encode())


def _source_images(source: Source, frames: Sequence[int]) -> bytes:
    """Point back to the source's frames, behind what the source itself was made from (PS3.3 table 10-3)."""
    existing = source.element(_SOURCE_IMAGES)
    before = b"" if existing is None else _explicit(source).encode_items(existing)
    item = encode_element(0x00081150, b"UI", source.text(_SOP_CLASS).encode())
    item += encode_element(0x00081155, b"UI", source.text(_SOP_INSTANCE).encode())
    numbers = "\\".join(str(index + 1) for index in frames).encode()
    if len(numbers) < 0xFFFE:
        item += encode_element(0x00081160, b"IS", numbers)
    return encode_element(_SOURCE_IMAGES, b"SQ", before + encode_item(item))


def _per_frame_groups(source: Source, frames: Sequence[int]) -> Changes:
    """Keep the frames' items of the Per-Frame Functional Groups (PS3.3 C.7.6.16)."""
    groups = source.element(_PER_FRAME_GROUPS)
    if groups is None:
        return {}
    try:
        given = len(list(items(source.data, groups, source.encoding)))
        chosen = _explicit(source).encode_items(groups, slice(frames[0], frames[-1] + 1))
    except DamagedFile as error:
        raise DamagedFile(f"the per-frame functional groups can't be read ({error.message})") from None
    if given not in {0, len(source)}:
        raise DamagedFile(f"there are {given} per-frame functional groups for {len(source)} frames")
    return {_PER_FRAME_GROUPS: encode_element(_PER_FRAME_GROUPS, b"SQ", chosen)}


def _explicit(source: Source) -> Recoder:
    return Recoder(source.data, source.encoding, EXPLICIT_LE, signed=source.pixels.signed)
