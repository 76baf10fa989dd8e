"""Re-encodes data elements between implicit and explicit VR and between byte orders, values untouched otherwise.

Elements of equal encoding are copied byte for byte. Nothing is parsed as text or number: a value that does not
decode travels as it is (PS3.5 §6.2, §7.1, §7.3). Private elements become UN where no dictionary knows a VR that they
fit, unknown ones always (§6.2.2).
"""

from __future__ import annotations

import struct
from bisect import bisect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import repeat
from operator import ge
from typing import Literal, TypeAlias

from cinemill.dicom.dictionary import find_private_vr, find_vr
from cinemill.dicom.elements import (
    EXPLICIT_LE,
    IMPLICIT_LE,
    ITEM,
    ITEM_END,
    LONG_VRS,
    PIXEL_DATA,
    SEQUENCE_END,
    SHORT_VRS,
    UNDEFINED,
    Element,
    Encoding,
    Ends,
    bounded,
    encoding_inside,
    has_long_header,
    item_content,
    item_encoding,
    items,
    tag_name,
    walk,
)
from cinemill.errors import DamagedFile, UnsupportedTransferSyntax
from cinemill.storage.mapped import Bytes, holds

Part: TypeAlias = "bytes | range"
"""Encoded bytes, or where many of them stand in the data as they are wanted."""
ItemChange = Callable[[list[Element]], Mapping[int, bytes]]
"""Given the elements of an item that holds Pixel Data, returns replacements by tag, in Explicit VR Little Endian."""

_WORD_SIZES = {
    **dict.fromkeys((b"US", b"SS", b"OW", b"AT"), 2),
    **dict.fromkeys((b"UL", b"SL", b"FL", b"OL", b"OF"), 4),
    **dict.fromkeys((b"FD", b"OD", b"OV", b"SV", b"UV"), 8),
}
_LONGEST = {
    **dict.fromkeys((b"AE", b"CS", b"DS", b"SH", b"TM"), 16),
    **dict.fromkeys((b"LO", b"UI"), 64),
    **dict(zip((b"AS", b"DA", b"IS", b"DT"), (4, 8, 12, 26), strict=True)),
}
"""Characters that a value of a VR may have (PS3.5 §6.2)."""
_WITHOUT_ITEMS = (SHORT_VRS | LONG_VRS) - {b"SQ", b"UN"}
_LUT_DATA = frozenset((0x00283006, 0x00281200))
_PIXEL_REPRESENTATION = 0x00280103
_DELIMITERS = ITEM >> 16
_ITEM_TAG = b"\xfe\xff\x00\xe0"
_BEYOND_TAGS = 1 << 32
_NESTED_PIXEL_DATA = b"\xe0\x7f\x10\x00"
_LARGE = 1 << 20


class Recoder:
    """Copies elements of one data set into a target encoding.

    Parameters
    ----------
    data, source
        The encoded data set, and how it is encoded.
    target
        Little endian, implicit or explicit.
    signed
        Pixel Representation, which decides (for items: their own, where they have one) whether an ambiguous VR is SS or US.
    change_item
        Asked for every sequence item that holds Pixel Data: what to put in place of its elements.
    canonical
        Encode anew what is encoded as the target asks already, so that what means the same becomes the same.
    """

    def __init__(
        self,
        data: Bytes,
        source: Encoding,
        target: Encoding,
        *,
        signed: bool,
        change_item: ItemChange | None = None,
        canonical: bool = False,
    ) -> None:
        self.data, self.source, self.target, self.signed = data, source, target, signed
        self.change_item = change_item
        self.canonical = canonical
        self._ends: Ends = {}

    def encode(self, elements: Iterable[Element]) -> Iterator[tuple[Element, bytes]]:
        """Yield each element of one level with its bytes in the target encoding; group lengths are dropped.

        Group lengths are retired (PS3.5 §7.2), and would be wrong.
        """
        level = [element for element in elements if element.tag & 0xFFFF]
        for element, parts in self._encode_level(level, self.source, self.target, {}):
            yield element, self._joined(parts)

    def encode_runs(
        self, elements: Iterable[Element], apart: Collection[int]
    ) -> Iterator[tuple[Element, Part]]:
        """Yield what `encode` does, but for elements that stay as they are, one behind the other: these at once, with their first.

        An element with a large value in it is several parts: that one is not copied.

        Parameters
        ----------
        elements
            Of one level.
        apart
            Tags that are left out, and that no run goes across.
        """
        level = [e for e in elements if e.tag & 0xFFFF and e.tag not in apart]
        plain = self.source == self.target == EXPLICIT_LE and not self.canonical
        tags = [element.tag for element in level]
        if not plain or any(map(ge, tags, tags[1:])):
            for element, parts in self._encode_level(level, self.source, self.target, {}):
                yield from zip(repeat(element), parts)
            return
        ends = [*sorted(apart), _BEYOND_TAGS]
        first: Element | None = None
        so_far = before = 0
        for element in level:
            tag, vr, start, _, end, _ = element
            if first is not None and start == so_far and tag < before and vr in _WITHOUT_ITEMS:
                so_far = end
                continue
            if first is not None:
                yield first, self._found(first.start, so_far)
                first = None
            if vr in _WITHOUT_ITEMS:
                first, so_far, before = element, end, ends[bisect(ends, tag)]
            else:
                yield from zip(repeat(element), self._encode(element, self.source, self.target, {}))
        if first is not None:
            yield first, self._found(first.start, so_far)

    def _found(self, start: int, end: int) -> Part:
        return range(start, end) if end - start >= _LARGE else bytes(self.data[start:end])

    def _joined(self, parts: list[Part]) -> bytes:
        return b"".join(
            [part if isinstance(part, bytes) else self.data[part.start : part.stop] for part in parts]
        )

    def _encode(
        self, element: Element, source: Encoding, target: Encoding, creators: dict[int, str]
    ) -> list[Part]:
        vr = element.vr or self._dictionary_vr(element, creators)
        if vr == b"SQ" or (element.length == UNDEFINED and vr == b"UN"):
            return self._encode_sequence(element, vr, source, target)
        if target.implicit_vr and self._is_sequence_by_dictionary(element, creators):
            return self._encode_sequence(element, b"UN", source, target)
        if source == target and not self.canonical:
            return [self._found(element.start, element.end)]
        value = self._found(element.value, element.end)
        if element.length == UNDEFINED:
            if target.implicit_vr and not self.canonical:
                raise UnsupportedTransferSyntax(
                    f"{tag_name(element.tag)} is made of fragments, which implicit VR has no way to say; "
                    "choose another target"
                )
            return [encode_header(element.tag, vr, UNDEFINED, target), value]
        if not source.little_endian:
            value = _swap(self._joined([value]), vr)
        return _element(element.tag, vr, [value], target)

    def _is_sequence_by_dictionary(self, element: Element, creators: dict[int, str]) -> bool:
        """Tell whether an element of another VR is going to be read as a sequence where no VR is written."""
        holds_items = self.data[element.value : element.value + 4] == _ITEM_TAG
        return holds_items and element.length != UNDEFINED and self._dictionary_vr(element, creators) == b"SQ"

    def _encode_sequence(
        self, sequence: Element, vr: bytes, source: Encoding, target: Encoding
    ) -> list[Part]:
        tag, _, start, first, end, length = sequence
        if source == target and not self.canonical and not holds(self.data, _NESTED_PIXEL_DATA, start, end):
            return [self._found(start, end)]
        inside = (IMPLICIT_LE, IMPLICIT_LE) if vr == b"UN" else (source, target)
        try:
            value, behind = list[Part](), first
            for item in items(self.data, sequence, source, self._ends):
                value += self._encode_item(item, *inside)
                behind = item.end
        except DamagedFile:
            plain = vr == b"UN" and length != UNDEFINED
            if not plain and (source == target or self.canonical):
                return [self._found(start, end)]
            if not plain and source != IMPLICIT_LE:
                raise
            return _element(tag, b"UN", [self._found(first, end)], target)
        if length != UNDEFINED:
            value.append(self._behind_items(behind, end, inside[0]))
            return _element(tag, vr, value, target)
        closing = encode_header(SEQUENCE_END, b"", 0, target)
        return _whole([encode_header(tag, vr, UNDEFINED, target), *value, closing])

    def _behind_items(self, start: int, end: int, source: Encoding) -> bytes:
        """Return a delimiter that ends the items of a sequence of defined length, and what stands behind it, as it is."""
        rest = bytes(self.data[start:end])
        return rest if source.little_endian else _swap(rest[:4], b"US") + _swap(rest[4:8], b"UL") + rest[8:]

    def encode_items(self, sequence: Element, chosen: slice = slice(None)) -> bytes:
        """Return items of a top-level sequence, one after the other."""
        found = list(items(self.data, sequence, self.source, self._ends))[chosen]
        inner = encoding_inside(sequence.vr, self.source)
        return b"".join(self._joined(self._encode_item(item, inner, self.target)) for item in found)

    def _encode_item(self, item: Element, source: Encoding, target: Encoding) -> list[Part]:
        start, end = item_content(item)
        source = item_encoding(self.data, item, end, source)
        elements = list(bounded(walk(self.data, start, end, source, ends=self._ends)))
        changed: Mapping[int, bytes] = {}
        if self.change_item and any(element.tag == PIXEL_DATA for element in elements):
            changed = {tag: recoded(new, target) for tag, new in self.change_item(elements).items()}
        outer, self.signed = self.signed, self._pixel_representation(elements, source)
        try:
            level = self._encode_level(elements, source, target, changed)
            content = [part for _, parts in level for part in parts]
        finally:
            self.signed = outer
        header, closing = _around_item(sum(map(len, content)), undefined=item.length == UNDEFINED)
        return _whole([header, *content, closing])

    def _pixel_representation(self, elements: list[Element], source: Encoding) -> bool:
        order: Literal["little", "big"] = "little" if source.little_endian else "big"
        own = [e for e in elements if e.tag == _PIXEL_REPRESENTATION and e.end - e.value >= 2]
        return int.from_bytes(self.data[own[0].value : own[0].end], order) != 0 if own else self.signed

    def _encode_level(
        self, elements: Iterable[Element], source: Encoding, target: Encoding, changed: Mapping[int, bytes]
    ) -> Iterator[tuple[Element, list[Part]]]:
        creators: dict[int, str] = {}
        as_found = source == target == EXPLICIT_LE and not self.canonical
        for element in elements:
            if as_found and element.vr in _WITHOUT_ITEMS and element.tag not in changed:
                yield element, [self._found(element.start, element.end)]
                continue
            if element.tag & 0x10000:
                self._note_creator(element, creators)
            if element.tag in changed:
                yield element, [changed[element.tag]]
            elif element.tag & 0xFFFF or (source == target and not self.canonical):
                yield element, self._encode(element, source, target, creators)

    def _note_creator(self, element: Element, creators: dict[int, str]) -> None:
        """Keep the creator of a block of private elements (PS3.5 §7.8.1), if this element names one."""
        group, number = element.tag >> 16, element.tag & 0xFFFF
        if 0x10 <= number <= 0xFF and element.length != UNDEFINED:
            creator = bytes(self.data[element.value : element.end]).decode("latin-1").strip(" \0")
            creators[group << 8 | number] = creator

    def _dictionary_vr(self, element: Element, creators: dict[int, str]) -> bytes:
        group, number = element.tag >> 16, element.tag & 0xFFFF
        if number == 0:
            return b"UL"
        if group & 1:
            if 0x10 <= number <= 0xFF:
                return b"LO"
            creator = creators.get(group << 8 | number >> 8)
            vr = find_private_vr(element.tag, creator) if creator else None
            if vr is not None and not self._fits(element, vr.encode()):
                vr = None
        else:
            vr = find_vr(element.tag)
        known = b"UN" if vr is None else self._unambiguous(element, vr)
        if element.length == UNDEFINED and (vr is None or known not in LONG_VRS):
            return b"SQ"
        return known

    def _fits(self, element: Element, vr: bytes) -> bool:
        """Whether a value can be of a VR (PS3.5 §6.2), which a dictionary of others says of a private element."""
        if element.length == UNDEFINED:
            return True
        if vr not in _LONGEST:
            return element.length % (4 if vr == b"AT" else _WORD_SIZES.get(vr, 1)) == 0
        value = bytes(self.data[element.value : element.end])
        characters = not value.isascii() or b"\x1b" in value
        return characters or max(map(len, value.rstrip(b"\0").split(b"\\"))) <= _LONGEST[vr]

    def _unambiguous(self, element: Element, vr: str) -> bytes:
        if " or " not in vr:
            return vr.encode()
        if element.tag in _LUT_DATA:
            return b"OW" if element.length > 2 else b"US"
        if vr == "OB or OW" or (vr.endswith("or OW") and "SS" not in vr):
            return b"OW"
        return b"SS" if self.signed else b"US"


def recoded(encoded: bytes, target: Encoding) -> bytes:
    """Return elements of Explicit VR Little Endian in another encoding."""
    if target == EXPLICIT_LE:
        return encoded
    recoder = Recoder(encoded, EXPLICIT_LE, target, signed=False)
    return b"".join(new for _, new in recoder.encode(walk(encoded, 0, len(encoded), EXPLICIT_LE)))


def encode_element(tag: int, vr: bytes, value: bytes, target: Encoding = EXPLICIT_LE) -> bytes:
    """Return an element of defined length; a value too long for its VR's 16-bit length becomes UN (PS3.5 §6.2.2).

    Parameters
    ----------
    tag, vr
        Of the element.
    value
        As encoded; it is padded to even length.
    target
        How the element is encoded.
    """
    if len(value) % 2:
        value += _padding(vr)
    return encode_header(tag, _vr_for(vr, len(value), target), len(value), target) + value


def _element(tag: int, vr: bytes, value: list[Part], target: Encoding) -> list[Part]:
    """Do the same with a value in parts."""
    size = sum(map(len, value))
    padding = _padding(vr) if size % 2 else b""
    size += len(padding)
    return _whole([encode_header(tag, _vr_for(vr, size, target), size, target), *value, padding])


def _padding(vr: bytes) -> bytes:
    return b" " if vr in SHORT_VRS - {b"UI"} or vr in {b"UC", b"UR", b"UT"} else b"\0"


def _vr_for(vr: bytes, size: int, target: Encoding) -> bytes:
    return vr if target.implicit_vr or vr in LONG_VRS or size <= 0xFFFE else b"UN"


def _whole(parts: list[Part]) -> list[Part]:
    """Join parts if all are bytes."""
    small = [part for part in parts if isinstance(part, bytes)]
    return [b"".join(small)] if len(small) == len(parts) else parts


def encode_header(tag: int, vr: bytes, length: int, target: Encoding) -> bytes:
    """Return the tag, VR and length of an element, little endian (PS3.5 §7.1).

    Parameters
    ----------
    tag, vr
        Of the element.
    length
        Of the value in bytes, or ``UNDEFINED``.
    target
        How the element is encoded.
    """
    group, number = tag >> 16, tag & 0xFFFF
    if target.implicit_vr or group == _DELIMITERS:
        return struct.pack("<HHL", group, number, length)
    if has_long_header(vr):
        return struct.pack("<HH2sHL", group, number, vr, 0, length)
    return struct.pack("<HH2sH", group, number, vr, length)


def encode_item(content: bytes, *, undefined: bool = False) -> bytes:
    """Return a sequence item around encoded elements (PS3.5 §7.5)."""
    header, end = _around_item(len(content), undefined=undefined)
    return header + content + end


def _around_item(size: int, *, undefined: bool) -> tuple[bytes, bytes]:
    header = encode_header(ITEM, b"", UNDEFINED if undefined else size, IMPLICIT_LE)
    return header, encode_header(ITEM_END, b"", 0, IMPLICIT_LE) if undefined else b""


def _swap(value: bytes, vr: bytes) -> bytes:
    size = _WORD_SIZES.get(vr, 1)
    whole = len(value) // size * size
    if size == 1 or not whole:
        return value
    import numpy as np

    return np.frombuffer(value[:whole], f">u{size}").astype(f"<u{size}").tobytes() + value[whole:]
