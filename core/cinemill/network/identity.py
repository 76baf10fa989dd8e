"""Reads which instance a received file holds, and checks that its data set is complete."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from cinemill.dicom.elements import EXPLICIT_LE, IMPLICIT_LE, LONG_VRS, SHORT_VRS, Encoding, bounded, walk
from cinemill.dicom.part10 import read_meta, read_part10, text_of
from cinemill.errors import DamagedFile
from cinemill.storage.mapped import Bytes, forget
from cinemill.syntaxes import TRANSFER_SYNTAXES

_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_TAGS = (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES)
_FILE_META = 0x0002
_PIXELS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
_HEAD = 1 << 18
_PIECE = 1 << 18
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
LONGEST_UID = 64
_LONGEST_TITLE = 16
TITLE = "an AE title: 1 to 16 characters of ASCII, no backslash, not spaces alone"


@dataclass(frozen=True, slots=True)
class Identity:
    """The UIDs of an instance, as its data set has them; empty where they are absent."""

    sop_class: str
    sop_instance: str
    study: str
    series: str


def is_title(text: str) -> bool:
    """Whether a text can be an AE title (PS3.5 6.2)."""
    fits = len(text) <= _LONGEST_TITLE and text.isascii() and text.isprintable()
    return fits and "\\" not in text and bool(text.strip())


def is_uid(text: str) -> bool:
    """Whether a text is a UID, and so a name without any meaning to a file system: digits, and dots between them."""
    return len(text) <= LONGEST_UID and _UID.fullmatch(text) is not None


def identify(path: Path, syntax: str, *, most: int) -> Identity:
    """Read the UIDs of a file, and look whether its elements end where it ends.

    Parameters
    ----------
    path
        A Part 10 file.
    syntax
        UID of its transfer syntax. A data set that is deflated is inflated, and not kept; that of a private one is little
        endian, with or without VRs.
    most
        Bytes that it may be inflated to.

    Raises
    ------
    SourceError
        It is truncated, or no data set.
    """
    row = TRANSFER_SYNTAXES.get(syntax)
    if row is None:
        file, meta = read_meta(path)
        start = meta[-1].end
        explicit = bytes(file[start + 4 : start + 6]) in SHORT_VRS | LONG_VRS
        return _identify_walked(file, start, EXPLICIT_LE if explicit else IMPLICIT_LE)
    if row.deflated:
        return _identify_deflated(path, most)
    if not row.encapsulated:
        part10 = read_part10(path, None, [])
        return _identify_walked(part10.data, part10.start, part10.encoding)
    from cinemill.dicom.source import Source

    with Source(path) as source:
        return Identity(*map(source.text, _TAGS))


def _identify_walked(data: Bytes, start: int, encoding: Encoding) -> Identity:
    """Read the UIDs on the way through all elements."""
    found: dict[int, str] = {}
    tags: list[int] = []
    for element in bounded(walk(data, start, len(data), encoding)):
        tags.append(element.tag)
        if element.tag in _TAGS:
            found[element.tag] = text_of(data, element)
    if not tags:
        raise DamagedFile("there are no data elements; the file is truncated")
    if any(tag >> 16 == _FILE_META for tag in tags):
        raise DamagedFile("File Meta Information stands in the data set")
    if sum(tag in _PIXELS for tag in tags) > 1:
        raise DamagedFile("there is pixel data twice; which one is meant can't be told")
    return Identity(*(found.get(tag, "") for tag in _TAGS))


def _identify_deflated(path: Path, most: int) -> Identity:
    file, meta = read_meta(path)
    head = _inflated_head(file, meta[-1].end, most)
    found: dict[int, str] = {}
    try:
        for element in walk(head, 0, len(head), EXPLICIT_LE):
            if element.tag in _TAGS:
                found[element.tag] = text_of(head, element)
            if element.tag >= _SERIES:
                break
    except DamagedFile:
        if len(head) < _HEAD:
            raise
    return Identity(*(found.get(tag, "") for tag in _TAGS))


def _inflated_head(file: Bytes, start: int, most: int) -> bytes:
    """Inflate a data set to its end, and return its beginning."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    head, size = b"", 0
    try:
        for offset in range(start, len(file), _PIECE):
            deflated = bytes(file[offset : offset + _PIECE])
            while deflated and not inflater.eof:
                inflated = inflater.decompress(deflated, _PIECE)
                deflated = inflater.unconsumed_tail
                size += len(inflated)
                if len(head) < _HEAD:
                    head += inflated
                if size > most:
                    raise DamagedFile(f"the data set inflates to more than {most} bytes")
            forget(file)
    except zlib.error as error:
        raise DamagedFile(f"the deflated data set can't be inflated: {error}") from None
    if not inflater.eof:
        raise DamagedFile("the deflated data set ends too early; the file is truncated")
    return head
