"""Composes the header of an output: File Meta Information, and the few elements that describe the pixels anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from cinemill._version import __version__
from cinemill.dicom.elements import EXPLICIT_LE, IMPLICIT_LE, ITEM
from cinemill.dicom.recode import Recoder, encode_element, recoded
from cinemill.errors import DamagedFile
from cinemill.storage.mapped import pieces

if TYPE_CHECKING:
    from cinemill.dicom.recode import ItemChange, Part
    from cinemill.dicom.source import Source
    from cinemill.pixel_format import Buffer
    from cinemill.storage.file import OutputFile
    from cinemill.syntaxes import TransferSyntax

IMPLEMENTATION_CLASS_UID = "2.25.111749976784744153086873693828402029034"
"""Identifies files written by cinemill (PS3.7 §D.3.3.2)."""

PRIVATE_CREATOR_UID = "2.25.149821525555633920576191116253499926283"
"""Identifies what cinemill keeps in the Private Information of a file (PS3.10 §7.1)."""

Changes = dict[int, bytes | None]
"""By tag: the element encoded in Explicit VR Little Endian, or None where it is left out; of the File Meta Information too."""

Parts: TypeAlias = "list[tuple[int, Part]]"

_NUMBER_OF_FRAMES = 0x00280008
_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_META = 0x0002
OFFSET_TABLES = (0x7FE00001, 0x7FE00002)
PRIVATE_CREATOR, PRIVATE_INFORMATION = 0x00020100, 0x00020102
REWRITTEN_META = frozenset(
    (0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013)
)


class Header(NamedTuple):
    """The encoded parts of an output around its pixel data.

    Attributes
    ----------
    meta
        Preamble, prefix and File Meta Information.
    private
        Where in it the value of our Private Information stands; empty if there is none.
    before, after
        Data elements in front of and behind the pixel data, by tag; a range is where they stand in the source.
    """

    meta: bytes
    private: range
    before: Parts
    after: Parts


def frame_changes(source: Source) -> Changes:
    """Return a corrected Number of Frames, and drop offset tables, which the writer makes anew."""
    changes: Changes = dict.fromkeys(OFFSET_TABLES)
    if source.renumbered:
        changes[_NUMBER_OF_FRAMES] = encode_element(_NUMBER_OF_FRAMES, b"IS", str(len(source)).encode())
    return changes


def compose(
    source: Source,
    target: TransferSyntax,
    changes: Mapping[int, bytes | None],
    change_item: ItemChange,
    private: int,
) -> Header:
    """Encode everything around the pixel data in the target's encoding.

    Parameters
    ----------
    source
        Whose elements are copied.
    target
        Decides the encoding.
    changes
        What differs: see `Changes`.
    change_item
        Given the elements of a sequence item that holds an image, returns replacements, in Explicit VR Little Endian.
    private
        Bytes of Private Information to leave room for in the File Meta Information. Another's stays, and then there is
        no room.

    Raises
    ------
    CinemillError
        An element, or an item's image, can't be encoded in the target's encoding.
    DamagedFile
        An item outside any sequence holds something that would be lost, and the source is not repaired.
    """
    if source.unheld and not source.repair:
        raise DamagedFile(f"{source.unheld}; transcode --repair leaves them out", path=source.path)
    encoding = IMPLICIT_LE if target.implicit_vr else EXPLICIT_LE
    signed = bool(source.short(0x00280103, 0))
    recoder = Recoder(source.data, source.encoding, encoding, signed=signed, change_item=change_item)
    pixels_at = source.pixel_data.start if source.pixel_data else len(source.data)
    before: Parts = []
    after: Parts = []
    for element, encoded in recoder.encode_runs(source.elements, changes):
        (before if element.start < pixels_at else after).append((element.tag, encoded))
    last = source.pixel_data.tag if source.pixel_data else ITEM
    for tag, new in changes.items():
        if new is not None and tag >> 16 != _META:
            (before if tag < last else after).append((tag, recoded(new, encoding)))
    before.sort(key=itemgetter(0))
    after.sort(key=itemgetter(0))
    meta = _file_meta(source, target, changes, private)
    return Header(meta, _private(meta, private), before, after)


def pieces_of(source: Source, parts: Parts) -> Iterator[Buffer]:
    """Yield elements of a header as bytes, small ones together, large ones piece by piece.

    Parameters
    ----------
    source
        Where ranges stand.
    parts
        See `Header`.
    """
    small: list[bytes] = []
    for _, part in parts:
        if isinstance(part, bytes):
            small.append(part)
        else:
            yield b"".join(small)
            small.clear()
            yield from pieces(source.data, part.start, part.stop)
    yield b"".join(small)


def patch_values(file: OutputFile, start: int, parts: Parts, values: Mapping[int, bytes]) -> None:
    """Fill in values of elements that were written with placeholders.

    Parameters
    ----------
    file
        The output in the making.
    start
        Where the header stands in it.
    parts
        The header: see `Header`.
    values
        New values by tag, as long as those that were written.
    """
    end = start
    for tag, part in parts:
        end += len(part)
        if tag in values:
            file.patch(end - len(values[tag]), values[tag])


def _private(meta: bytes, size: int) -> range:
    """Return where our Private Information, still blank, stands in the File Meta Information."""
    blank = _blank(size)
    start = meta.find(blank) if size else -1
    return range(0) if start < 0 else range(start + len(blank) - size, start + len(blank))


def _blank(size: int) -> bytes:
    return encode_element(PRIVATE_INFORMATION, b"OB", b" " * size)


def _file_meta(
    source: Source, target: TransferSyntax, changes: Mapping[int, bytes | None], private: int
) -> bytes:
    """Return preamble, prefix and group 0002 (PS3.10 §7.1); what others put there stays."""

    def uid(tag: int, in_meta: int) -> bytes:
        changed = _value(changes.get(tag)) or _value(changes.get(in_meta))
        told = changed or source.text(tag) or source.meta_text(in_meta)
        return encode_element(in_meta, b"UI", told.encode("latin-1"))

    told = {e.tag: e for e in source.meta}
    elements = {
        0x00020001: encode_element(0x00020001, b"OB", b"\0\1"),
        0x00020002: uid(_SOP_CLASS, 0x00020002),
        0x00020003: uid(_SOP_INSTANCE, 0x00020003),
        0x00020010: encode_element(0x00020010, b"UI", target.uid.encode()),
        0x00020012: encode_element(0x00020012, b"UI", IMPLEMENTATION_CLASS_UID.encode()),
        0x00020013: encode_element(0x00020013, b"SH", f"CINEMILL_{__version__}".encode()),
    }
    elements = {tag: encoded for tag, encoded in elements.items() if len(encoded) > 8}  # an unknown UID
    left_out = {tag for tag, new in changes.items() if new is None}
    others = told.keys() - REWRITTEN_META - left_out
    if PRIVATE_CREATOR in left_out or source.meta_text(PRIVATE_CREATOR) in {"", PRIVATE_CREATOR_UID}:
        others -= {PRIVATE_CREATOR, PRIVATE_INFORMATION}
        if private:
            elements[PRIVATE_CREATOR] = encode_element(PRIVATE_CREATOR, b"UI", PRIVATE_CREATOR_UID.encode())
            elements[PRIVATE_INFORMATION] = _blank(private)
    for tag in others:
        elements[tag] = source.meta_bytes(told[tag])
    group = b"".join(elements[tag] for tag in sorted(elements))
    length = encode_element(0x00020000, b"UL", len(group).to_bytes(4, "little"))
    return bytes(128) + b"DICM" + length + group


def _value(encoded: bytes | None) -> str:
    """Return the text of an element with a short explicit VR header."""
    return (encoded or b"")[8:].decode("latin-1").strip(" \0")
