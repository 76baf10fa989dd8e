"""Compares the elements of two files by value, down into sequences, and says where they differ."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from cinemill.dicom.dictionary import find_keyword, find_vr
from cinemill.dicom.elements import (
    IMPLICIT_LE,
    ITEM,
    SEQUENCE_END,
    UNDEFINED,
    Element,
    Encoding,
    item_content,
    item_encoding,
    items,
    read_header,
    tag_name,
    walk,
)
from cinemill.dicom.recode import Recoder
from cinemill.errors import CinemillError, DamagedFile
from cinemill.frames.icons import native_icons
from cinemill.storage.digests import same_bytes

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.storage.mapped import Bytes

_PADDING = frozenset((0x00080001, 0xFFFCFFFC))
"""Length to End, and Data Set Trailing Padding: retired, or of no meaning."""
_TEXT = frozenset(
    (
        *("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM"),
        *("UC", "UI", "UR", "UT"),
    )
)
_NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d"}
_ANY_VR = frozenset((b"UN", b"OB", b"OW"))
_LONGEST = 32
_LARGE = 1 << 20
_PATIENT = 0x0010


class Difference(NamedTuple):
    """One element that is not the same.

    Attributes
    ----------
    place
        Tags and items on the way to it.
    before, after
        What it held, for people, shortened.
    """

    place: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.place}: expected {self.before}, found {self.after}"


def differences(source: Source, output: Source, may_change: Collection[int]) -> Iterator[Difference]:
    """Yield the elements that differ, whatever the encodings of the two files.

    Group lengths, padding, undefined lengths of sequences, and byte order are no part of a value. Images in sequences are
    compared decoded. A VR that was written has to stay, if it is not UN, or become that of the dictionary.

    Parameters
    ----------
    source, output
        The open files.
    may_change
        Tags of the top level that are not compared.
    """
    if source.unheld and not (source.repair or output.unheld):
        yield Difference("item outside any sequence", "that of the source", "none")
    ignored = _PADDING | set(may_change)
    ignored |= {element.tag for element in source.elements if _is_carried(element, source, output)}
    yield from _compare(_elements(source, ignored), _elements(output, ignored), "")
    written = dict(_written(output.data, output.elements, output.encoding, ""))
    for place, (tag, vr) in _written(source.data, source.elements, source.encoding, ""):
        found, other = written.get(place, (tag, vr))
        if found != tag:
            yield Difference(f"item {place}", tag_name(tag), tag_name(found))
        if vr and other and vr != other and not {vr, other} & _ANY_VR and other.decode("latin-1") != _vr(tag):
            yield Difference(f"VR of {_named(place, tag)}", _quoted(vr), _quoted(other))


def _is_carried(element: Element, source: Source, output: Source) -> bool:
    """Whether a large value is the same bytes in both files, so that it need not be copied to be compared."""
    size, other = element.end - element.value, output.element(element.tag)
    if (
        size < _LARGE
        or other is None
        or other.length != element.length
        or element != source.element(element.tag)
    ):
        return False
    as_found = source.encoding == output.encoding and element.vr == other.vr
    plain = element.length != UNDEFINED and _vr(element.tag) != "SQ" and b"SQ" not in {element.vr, other.vr}
    little = source.encoding.little_endian and output.encoding.little_endian
    return (
        (as_found or (plain and little))
        and size == other.end - other.value
        and same_bytes(source.data, output.data, element.value, other.value, size)
    )


def _written(
    data: Bytes, elements: Iterable[Element], encoding: Encoding, path: str
) -> Iterator[tuple[str, tuple[int, bytes | None]]]:
    """Yield the place of each element and item, with the tag and the VR that are written."""
    for element in elements:
        if not element.tag & 0xFFFF:
            continue
        place = f"{path}{tag_name(element.tag)}"
        yield place, (element.tag, element.vr)
        if element.vr == b"SQ" or (element.vr is None and _vr(element.tag) == "SQ"):
            with suppress(DamagedFile):  # it was compared as bytes
                for number, item in enumerate(items(data, element, encoding), start=1):
                    yield f"{place}[{number}]", (item.tag, None)
                    start, end = item_content(item)
                    inner = item_encoding(data, item, end, encoding)
                    yield from _written(data, walk(data, start, end, inner), inner, f"{place}[{number}].")


def _quoted(vr: bytes) -> str:
    return f"'{vr.decode('latin-1')}'"


def _elements(source: Source, ignored: Collection[int]) -> dict[int, bytes]:
    """Return the elements of a file by tag, in implicit VR."""
    icons = native_icons(source)

    def change(elements: list[Element]) -> Mapping[int, bytes]:
        try:
            return icons(elements)
        except CinemillError:  # what can't be decoded has to be the same bytes
            return {}

    recoder = Recoder(
        source.data, source.encoding, IMPLICIT_LE, signed=False, change_item=change, canonical=True
    )
    compared = (element for element in source.elements if element.tag not in ignored)
    return {element.tag: encoded for element, encoded in recoder.encode(compared)}


def _compare(before: Mapping[int, bytes], after: Mapping[int, bytes], path: str) -> Iterator[Difference]:
    for tag in sorted(before.keys() | after.keys()):
        one, other = before.get(tag), after.get(tag)
        if one == other:
            continue
        place = f"{path}{tag_name(tag)}"
        if one is None or other is None:
            yield Difference(_named(place, tag), _shown(tag, one), _shown(tag, other))
            continue
        first, second = _items(one), _items(other)
        if first is None or second is None:
            if not _same(tag, one[8:], other[8:]):
                yield Difference(_named(place, tag), _shown(tag, one), _shown(tag, other))
        elif len(first) != len(second):
            yield Difference(_named(place, tag), f"{len(first)} items", f"{len(second)} items")
        else:
            for number, pair in enumerate(zip(first, second, strict=True), start=1):
                yield from _compare(*pair, f"{place}[{number}].")


def _items(encoded: bytes) -> list[dict[int, bytes]] | None:
    """Return the elements of each item, None where the value is no sequence."""
    head = read_header(encoded, 0, len(encoded), IMPLICIT_LE)
    if head.length == 0:
        return []
    first = struct.unpack_from("<HH", encoded.ljust(12, b"\0"), 8)
    if first not in {(ITEM >> 16, ITEM & 0xFFFF), (SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF)}:
        return None
    sequence = Element(head.tag, None, 0, head.value, len(encoded), UNDEFINED)
    try:
        return [
            {
                element.tag: encoded[element.start : element.end]
                for element in walk(encoded, *item_content(item), IMPLICIT_LE)
                if element.tag & 0xFFFF and element.tag not in _PADDING
            }
            for item in items(encoded, sequence, IMPLICIT_LE)
        ]
    except DamagedFile:
        return None


def _same(tag: int, one: bytes, other: bytes) -> bool:
    """Whether two values differ at most in what pads them to even length."""
    vr = _vr(tag)
    if vr in _TEXT:
        return one.rstrip(b" \0") == other.rstrip(b" \0")
    if vr:
        return False
    text = one.rstrip(b" ")
    padded = text == other.rstrip(b" ") and text.decode("latin-1").isprintable()
    return padded or (one[:-1] == other[:-1] and {one[-1:], other[-1:]} == {b" ", b"\0"})


def _vr(tag: int) -> str:
    return find_vr(tag) or ""


def _named(place: str, tag: int) -> str:
    return f"{place} {find_keyword(tag)}".rstrip()


def _shown(tag: int, encoded: bytes | None) -> str:
    """Show a value shortly; of what may name a person, little more than its length."""
    if encoded is None:
        return "no such element"
    found = _items(encoded)
    if found:
        return f"{len(found)} item{'s' if len(found) != 1 else ''}"
    return _shown_value(tag, _vr(tag), encoded[8:]) or "an empty value"


def _shown_value(tag: int, vr: str, value: bytes) -> str:
    text = value.rstrip(b" \0").decode("latin-1")
    size = struct.calcsize("<" + _NUMBERS.get(vr, "H"))
    if not value:
        return ""
    if vr in _NUMBERS and len(value) % size == 0 and len(value) // size <= 4:
        return "\\".join(str(n) for n in struct.unpack(f"<{len(value) // size}{_NUMBERS[vr]}", value))
    if not text.isprintable() or not text:
        return f"{len(value)} bytes {value[:8].hex(' ')}{' …' if len(value) > 8 else ''}"
    if tag >> 16 == _PATIENT or vr == "PN":
        return f"'{text[:2]}…' of {len(text)} characters"
    whole = len(text) <= _LONGEST or vr == "UI"
    return f"'{text}'" if whole else f"'{text[:_LONGEST]}…' of {len(text)} characters"
