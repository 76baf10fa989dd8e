"""Walks the data elements of an encoded data set as byte spans, without interpreting values (PS3.5 §7)."""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator
from itertools import chain, islice
from typing import NamedTuple, TypeAlias

from cinemill.errors import DamagedFile
from cinemill.storage.mapped import Bytes, only_zeros

UNDEFINED = 0xFFFFFFFF
ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010

MOST_ELEMENTS = 1 << 15
"""Of one level: real data sets have hundreds, and each takes forty times the memory of its eight bytes in a file."""

LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
"""VRs whose explicit header has two reserved bytes and a 32-bit length (PS3.5 §7.1.2)."""

SHORT_VRS = frozenset(
    (
        *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO"),
        *(b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
    )
)


class Encoding(NamedTuple):
    """How a data set is encoded: VR implicit or explicit, little or big endian."""

    implicit_vr: bool
    little_endian: bool

    @property
    def order(self) -> str:
        """Byte order as the struct module writes it."""
        return "<" if self.little_endian else ">"


IMPLICIT_LE = Encoding(implicit_vr=True, little_endian=True)
EXPLICIT_LE = Encoding(implicit_vr=False, little_endian=True)


class Element(NamedTuple):
    """Where one data element stands in its file.

    Attributes
    ----------
    tag
        Group in the upper 16 bits, element in the lower.
    vr
        As encoded; None in implicit VR.
    start, value, end
        Offsets of the header, of the value, and of the byte after the element, delimiters included.
    length
        Value length as encoded, ``UNDEFINED`` where undefined.
    """

    tag: int
    vr: bytes | None
    start: int
    value: int
    end: int
    length: int


_DELIMITERS = ITEM >> 16
_IMPLICIT, _EXPLICIT, _LENGTH = (
    tuple(struct.Struct(order + fields) for order in "><") for fields in ("HHL", "HH2sH", "L")
)
"""By form: how a header is read in big and in little endian."""

_BLANK = tuple(bytes(size) for size in range(5))


def has_long_header(vr: bytes) -> bool:
    """Tell whether an explicit header has a 32-bit length: so has a VR that is not known, but not what can be none."""
    return vr in LONG_VRS or (vr not in SHORT_VRS and vr.isalpha() and vr.isupper())


def tag_name(tag: int) -> str:
    """Write a tag as people do: (gggg,eeee)."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


Ends: TypeAlias = dict[tuple[int, Encoding], int]
"""Where sequences and items of undefined length end, by where their content begins and how it is encoded.

Who goes down into sequences keeps them, or each level would be walked again for every level above it. Each is used once.
"""


def walk(
    data: Bytes,
    start: int,
    end: int,
    encoding: Encoding,
    *,
    until: Container[int] = (),
    ends: Ends | None = None,
) -> Iterator[Element]:
    """Yield the elements between two offsets, in the order they stand in, up to the first tag of ``until``.

    Nothing but zeros behind an element is padding, and no element.

    Parameters
    ----------
    data
        The file, or the inflated data set.
    start, end
        Offsets between which the elements stand.
    encoding
        How they are encoded.
    until
        Tags at which the walk ends.
    ends
        What is known already, and takes what is found.

    Raises
    ------
    DamagedFile
        An element's header or value reaches past the end.
    """
    offset, implicit = start, encoding.implicit_vr
    unpack = (_IMPLICIT if implicit else _EXPLICIT)[encoding.little_endian].unpack_from
    new = tuple.__new__  # half the time of calling the class: a header has hundreds
    vr: bytes | None = None
    while offset < end:
        value = offset + 8
        try:
            if implicit:
                group, number, length = unpack(data, offset)
            else:
                group, number, vr, length = unpack(data, offset)
        except struct.error:
            group = number = length = 0
        tag = group << 16 | number
        if not (implicit or vr in SHORT_VRS) or value > end or not 0 < group < _DELIMITERS:
            if data[offset : offset + 4] in _BLANK and only_zeros(data, offset, end):
                return
            tag, vr, value, length = _read(data, offset, end, encoding)
        if tag in until:
            return
        if length == UNDEFINED:
            inner = encoding_inside(vr, encoding)
            after = ends.pop((value, inner), end + 1) if ends else end + 1
            if after > end:
                after = _end_of_items(data, Element(tag, vr, offset, value, value, length), end, inner, ends)
        else:
            after = value + length
            if after > end:
                raise DamagedFile(
                    f"{tag_name(tag)} at byte {offset} promises {length} bytes of value, "
                    f"{end - value} are there; the file is truncated or damaged"
                )
        yield new(Element, (tag, vr, offset, value, after, length))
        offset = after


def bounded(elements: Iterator[Element]) -> Iterator[Element]:
    """Pass on the elements of a level that are all kept, as long as they are not more than any data set has.

    Raises
    ------
    DamagedFile
        They are more.
    """
    return chain(islice(elements, MOST_ELEMENTS), _too_many(elements))


def _too_many(elements: Iterator[Element]) -> Iterator[Element]:
    for element in elements:
        raise DamagedFile(
            f"more than {MOST_ELEMENTS} elements stand in a row, up to byte {element.start}; this is no data set"
        )
    yield from ()


def read_header(data: Bytes, offset: int, end: int, encoding: Encoding) -> Element:
    """Read the tag, VR and length at an offset; the element's ``end`` is that of its header.

    Parameters
    ----------
    data
        The file, or the inflated data set.
    offset
        Where the element begins.
    end
        Where the data that may hold it end.
    encoding
        How it is encoded.

    Raises
    ------
    DamagedFile
        The header reaches past the end.
    """
    tag, vr, value, length = _read(data, offset, end, encoding)
    return Element(tag, vr, offset, value, value, length)


def _read(data: Bytes, offset: int, end: int, encoding: Encoding) -> tuple[int, bytes | None, int, int]:
    """Return the tag and the VR of the element at an offset, where its value begins, and its length as encoded."""
    vr: bytes | None
    little = encoding.little_endian
    try:
        if encoding.implicit_vr:
            group, number, length = _IMPLICIT[little].unpack_from(data, offset)
            vr, value = None, offset + 8
        else:
            group, number, vr, length = _EXPLICIT[little].unpack_from(data, offset)
            value = offset + 8
            if group == _DELIMITERS:
                vr, length = None, _LENGTH[little].unpack_from(data, offset + 4)[0]
            elif vr not in SHORT_VRS and has_long_header(vr):
                length, value = _LENGTH[little].unpack_from(data, offset + 8)[0], offset + 12
    except struct.error:
        value = end + 1
    if value > end:
        raise DamagedFile(f"the data set ends inside an element's header, at byte {offset} of {end}")
    return group << 16 | number, vr, value, length


def items(data: Bytes, element: Element, encoding: Encoding, ends: Ends | None = None) -> Iterator[Element]:
    """Yield the items of a sequence or of encapsulated pixel data, delimiters left out.

    An item of undefined length ends after its delimiter, a sequence of undefined length after its own.

    Parameters
    ----------
    data
        The file, or the inflated data set.
    element
        The sequence.
    encoding
        Of the data set that the sequence stands in.
    ends
        See `walk`.
    """
    inner = encoding_inside(element.vr, encoding)
    offset = element.value
    while offset < element.end:
        item = read_header(data, offset, element.end, inner)
        if item.tag == SEQUENCE_END:
            return
        known = ends.pop((item.value, inner), None) if ends else None
        if known is None or known > element.end:
            known = _end_of_item(data, item, element.end, inner, ends)
        after = known
        yield Element(item.tag, None, offset, item.value, after, item.length)
        offset = after


def encoding_inside(vr: bytes | None, encoding: Encoding) -> Encoding:
    """Return how the items of a sequence are encoded that stands in a data set with this VR (PS3.5 §6.2.2)."""
    return IMPLICIT_LE if vr == b"UN" else encoding


def item_encoding(data: Bytes, item: Element, end: int, encoding: Encoding) -> Encoding:
    """Return how an item is encoded: some writers leave explicit VR in sequences of an implicit VR data set, or the reverse.

    Parameters
    ----------
    data
        The file, or the inflated data set.
    item
        Whose elements are looked at.
    end
        Where its content ends.
    encoding
        Of the sequence that it stands in: see `encoding_inside`.
    """
    vr = bytes(data[item.value + 4 : item.value + 6])
    contrary = vr in SHORT_VRS if encoding.implicit_vr else not (vr.isalpha() and vr.isupper())
    if not contrary:
        return encoding
    other = Encoding(not encoding.implicit_vr, encoding.little_endian)
    try:
        first = read_header(data, item.value, end, other)
        after = first.value + first.length
        follows = after == end or read_header(data, after, end, other).tag > first.tag
    except DamagedFile:
        return encoding
    return other if follows and first.tag != ITEM_END else encoding


def item_content(item: Element) -> tuple[int, int]:
    """Return the offsets between which an item's elements stand."""
    return item.value, item.end - 8 if item.length == UNDEFINED else item.end


def _end_of_items(data: Bytes, sequence: Element, end: int, encoding: Encoding, ends: Ends | None) -> int:
    offset = sequence.value
    while True:
        item = read_header(data, offset, end, encoding)
        if item.tag == SEQUENCE_END:
            return item.value
        if item.tag != ITEM:
            raise DamagedFile(
                f"expected an item of {tag_name(sequence.tag)} at byte {offset}, "
                f"found {tag_name(item.tag)}; the sequence is damaged"
            )
        offset = _end_of_item(data, item, end, encoding, ends)
        if ends is not None:
            ends[item.value, encoding] = offset


def _end_of_item(data: Bytes, item: Element, end: int, encoding: Encoding, ends: Ends | None) -> int:
    if item.length != UNDEFINED:
        after = item.value + item.length
        if after > end:
            raise DamagedFile(
                f"the item at byte {item.start} promises {item.length} bytes, {end - item.value} are there"
            )
        return after
    offset = item.value
    encoding = item_encoding(data, item, end, encoding)
    while True:
        element = read_header(data, offset, end, encoding)
        if element.tag == ITEM_END:
            return element.value
        if element.length == UNDEFINED:
            inner = encoding_inside(element.vr, encoding)
            offset = _end_of_items(data, element, end, inner, ends)
            if ends is not None:
                ends[element.value, inner] = offset
        else:
            offset = element.value + element.length
