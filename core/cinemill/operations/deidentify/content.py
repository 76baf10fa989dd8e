"""Content items of structured reports (PS3.3 C.17.3), where their text is not cleaned: those that refer to instances are left."""

from __future__ import annotations

from collections.abc import Sequence

from cinemill.dicom.elements import Element
from cinemill.dicom.recode import encode_element, encode_item
from cinemill.storage.mapped import Bytes

CONTENT_SEQUENCE = 0x0040A730
_VALUE_TYPE, _RELATIONSHIP, _TEXT_VALUE, _CONCEPT = 0x0040A040, 0x0040A010, 0x0040A160, 0x0040A043
_REFERENCES = frozenset(
    (b"CONTAINER", b"IMAGE", b"COMPOSITE", b"WAVEFORM", b"SCOORD", b"SCOORD3D", b"TCOORD", b"UIDREF", b"")
)


def is_reference(data: Bytes, item: Sequence[Element]) -> bool:
    """Whether a content item holds, or leads to, nothing but references: by-reference relations have no value type.

    Parameters
    ----------
    data
        The data set.
    item
        The elements of the content item.
    """
    for element in item:
        if element.tag == _VALUE_TYPE:
            return bytes(data[element.value : element.end]).strip(b" \0") in _REFERENCES
    return True


def code(value: str, scheme: str, meaning: str) -> bytes:
    """Return an item of a code sequence (PS3.3 §8.8).

    Parameters
    ----------
    value, scheme, meaning
        Code Value, Coding Scheme Designator and Code Meaning.
    """
    return encode_item(
        encode_element(0x00080100, b"SH", value.encode())
        + encode_element(0x00080102, b"SH", scheme.encode())
        + encode_element(0x00080104, b"LO", meaning.encode())
    )


def removed_content() -> bytes:
    """Return the content item that stands for all that were removed."""
    return encode_item(
        encode_element(_RELATIONSHIP, b"CS", b"CONTAINS")
        + encode_element(_VALUE_TYPE, b"CS", b"TEXT")
        + encode_element(_CONCEPT, b"SQ", code("121106", "DCM", "Comment"))
        + encode_element(_TEXT_VALUE, b"UT", b"REMOVED")
    )
