"""Reads File Meta Information however it is encoded, and says where it is not as PS3.10 §7.1 wants it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cinemill.dicom.elements import (
    EXPLICIT_LE,
    SHORT_VRS,
    UNDEFINED,
    Element,
    Encoding,
    read_header,
    tag_name,
    walk,
)

if TYPE_CHECKING:
    from cinemill.dicom.values import Values
    from cinemill.storage.mapped import Bytes

_GROUP_LENGTH, _SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX = 0x00020000, 0x00020002, 0x00020003, 0x00020010
_DIRECTORY_RECORDS = 0x00041220
_IN_DATA_SET = {
    "SOP Class UID": (_SOP_CLASS, 0x00080016),
    "SOP Instance UID": (_SOP_INSTANCE, 0x00080018),
}


def walk_meta(data: Bytes, start: int) -> Iterator[Element]:
    """Yield the elements of group 0002 that stand from an offset, each encoded in any way."""
    offset, size = start, len(data)
    while (encoding := meta_encoding(data, offset)) is not None:
        tag, vr, _, value, _, length = read_header(data, offset, size, encoding)
        end = value + length
        if length == UNDEFINED or end > size:
            element = next(walk(data, offset, size, encoding))
        else:
            element = Element(tag, vr, offset, value, end, length)
        yield element
        offset = element.end


def meta_encoding(data: Bytes, offset: int) -> Encoding | None:
    """Tell how the element of group 0002 at an offset is encoded, None where there is none.

    It should be Explicit VR Little Endian; some writers encode the group as they do the data set.
    """
    head = bytes(data[offset : offset + 8])
    little = head[:2] == b"\2\0"
    if len(head) < 8 or not (little or head[:2] == b"\0\2"):
        return None
    vr = head[4:6]
    if little and vr in SHORT_VRS:
        return EXPLICIT_LE
    upper_half = head[6:8] if little else head[4:6]
    return Encoding(
        implicit_vr=not (vr.isalpha() and vr.isupper()) and upper_half == b"\0\0", little_endian=little
    )


def meta_faults(source: Values) -> list[str]:
    """Say what is wrong with the File Meta Information of a file, other than that it is missing.

    Parameters
    ----------
    source
        An open file whose elements are known.
    """
    if not source.meta:
        return []
    return [*wrong_encoding(source), *wrong_length(source), *other_uids(source)]


def wrong_encoding(source: Values) -> Iterator[str]:
    """Say whether File Meta Information is encoded otherwise than in Explicit VR Little Endian."""
    encodings = {meta_encoding(source.file, element.start) for element in source.meta}
    if encodings != {EXPLICIT_LE}:
        yield "the File Meta Information is not encoded in Explicit VR Little Endian; read as found"


def other_uids(source: Values) -> Iterator[str]:
    """Say which UIDs of File Meta Information are not those of the data set."""
    for name, (in_meta, in_data_set) in _IN_DATA_SET.items():
        told, true = source.meta_text(in_meta), source.text(in_data_set)
        if true and told != true:
            yield (
                f"{name} {tag_name(in_meta)} of the File Meta Information is {_shown(told)}, "
                f"that of the data set {_shown(true)}; outputs say what the data set says"
            )


def _shown(uid: str) -> str:
    return ascii(uid[:64])[1:-1] or "absent"


def wrong_length(source: Values) -> Iterator[str]:
    """Say whether the group length of File Meta Information is missing or wrong."""
    first, last = source.meta[0], source.meta[-1]
    if first.tag != _GROUP_LENGTH:
        yield "the File Meta Information has no group length"
        return
    if first.end - first.value != 4:
        yield "the group length of the File Meta Information is no number"
        return
    order = "<" if source.file[first.start : first.start + 2] == b"\2\0" else ">"
    (told,) = struct.unpack_from(order + "L", source.file, first.value)
    if told != last.end - first.end:
        yield (
            f"the group length of the File Meta Information is {told}, "
            f"{last.end - first.end} bytes are there; read as found"
        )


def is_part10(source: Values) -> bool:
    """Tell whether a copy of a file would be a Part 10 file that says what it holds; a DICOMDIR is left as it is.

    Parameters
    ----------
    source
        An open file whose elements are known.
    """
    if source.element(_DIRECTORY_RECORDS) is not None:
        return True
    preamble = bytes(source.file[128:132]) == b"DICM"
    return preamble and bool(source.meta_text(_TRANSFER_SYNTAX)) and not source.meta_faults
