"""Opens the outside of a Part 10 file: preamble, File Meta Information, transfer syntax, encoding (PS3.10 §7.1)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cinemill import syntaxes
from cinemill.dicom.elements import LONG_VRS, SHORT_VRS, Element, Encoding
from cinemill.dicom.file_meta import walk_meta
from cinemill.errors import DamagedFile, NotDicom
from cinemill.storage.mapped import Bytes, map_file, map_pieces, pieces

if TYPE_CHECKING:
    from cinemill.pixel_format import Buffer
    from cinemill.syntaxes import TransferSyntax

_TRANSFER_SYNTAX = 0x00020010
_PREAMBLE = 128
_META = (b"\x02\0", b"\0\x02")
_DEFLATED, _INFLATED = 64 << 10, 1 << 20
"""Bytes that are inflated at once, and that come of it."""
_VRS = SHORT_VRS | LONG_VRS


class Part10(NamedTuple):
    """A file whose data set can be walked.

    Attributes
    ----------
    file
        The whole file.
    meta
        Elements of group 0002; offsets count from the start of the file.
    data, start
        The bytes that hold the data set, inflated if need be, and where in them it starts.
    encoding
        Of the data set, as found.
    """

    file: Bytes
    meta: list[Element]
    transfer_syntax: TransferSyntax
    data: Bytes
    start: int
    encoding: Encoding


def read_part10(path: Path, given: Bytes | None, warnings: list[str]) -> Part10:
    """Open a file, or bytes given in its place.

    Parameters
    ----------
    warnings
        Takes a line for everything that is missing or wrong but could be told from the data set.

    Raises
    ------
    NotDicom
        Neither a Part 10 file nor a data set without a preamble.
    DamagedFile
        It can't be read, or is truncated.
    UnsupportedTransferSyntax
        The transfer syntax is unknown.
    """
    file = map_file(path) if given is None else given
    start = _find_meta(file)
    meta = list(walk_meta(file, start))
    if meta and start < _PREAMBLE:
        warnings.append("no preamble before the File Meta Information")
    start = meta[-1].end if meta else start
    if not start:
        warnings.append("no preamble and no File Meta Information; the encoding was guessed")
    uid = next((text_of(file, element) for element in meta if element.tag == _TRANSFER_SYNTAX), "")
    transfer_syntax = syntaxes.find(uid) if uid else _guess_syntax(file, start, warnings)
    data: Bytes = file
    if transfer_syntax.deflated:
        data, start = _inflate(file, start), 0
    return Part10(
        file, meta, transfer_syntax, data, start, _find_encoding(data, start, transfer_syntax, warnings)
    )


def read_meta(path: Path) -> tuple[Bytes, list[Element]]:
    """Return the bytes of a file, and its File Meta Information, whatever stands behind it.

    Raises
    ------
    SourceError
        It can't be read, or is no Part 10 file.
    """
    file = map_file(path)
    return file, list(walk_meta(file, _find_meta(file)))


def text_of(data: Bytes, element: Element) -> str:
    """Return a value of the default repertoire, padding stripped."""
    return bytes(data[element.value : element.end]).decode("latin-1").strip(" \0")


def _guess_syntax(data: Bytes, start: int, warnings: list[str]) -> TransferSyntax:
    explicit = _looks_explicit(data, start)
    big = explicit and bytes(data[start : start + 1]) == b"\0"
    names = {
        (False, False): "1.2.840.10008.1.2",
        (True, False): "1.2.840.10008.1.2.1",
        (True, True): "1.2.840.10008.1.2.2",
    }
    guess = syntaxes.find(names[explicit, big])
    warnings.append(f"no transfer syntax is given; the data set was read as {guess.keyword}")
    return guess


def _find_encoding(data: Bytes, start: int, declared: TransferSyntax, warnings: list[str]) -> Encoding:
    """Return the encoding that is there: some writers declare implicit VR and write explicit, or the reverse."""
    explicit = _looks_explicit(data, start)
    if start + 8 <= len(data) and explicit == declared.implicit_vr:
        warnings.append(
            f"{declared.keyword} is declared, "
            f"but the data set is encoded with {'explicit' if explicit else 'implicit'} VR; read as found"
        )
        return Encoding(not explicit, declared.little_endian)
    return Encoding(declared.implicit_vr, declared.little_endian)


def _looks_explicit(data: Bytes, start: int) -> bool:
    return bytes(data[start + 4 : start + 6]) in _VRS


def _find_meta(data: Bytes) -> int:
    """Return where File Meta Information starts; 0 too for a bare data set that starts with group 0008.

    In a bare data set, DICM may stand by chance where a preamble would end.
    """
    bare = _starts_bare(bytes(data[:6]))
    for prefix in (_PREAMBLE, 0):
        start = bytes(data[prefix : prefix + 6])
        if start[:4] == b"DICM" and (start[4:] in _META or not bare):
            return prefix + 4
    if bare:
        return 0
    raise NotDicom("not a DICOM file: no DICM after the preamble (PS3.10 §7.1)")


def _starts_bare(start: bytes) -> bool:
    """Whether an element of group 0002 or 0008 starts here."""
    if start[:2] in _META or (start[:2] == b"\x08\0" and start[3:4] == b"\0"):
        return True
    return start[:3] == b"\0\x08\0" and start[4:] in _VRS


def _inflate(data: Bytes, start: int) -> Bytes:
    """Inflate a data set (RFC 1951), whatever its size."""
    try:
        return map_pieces(_inflated(data, start))
    except zlib.error as error:
        raise DamagedFile(f"the deflated data set can't be inflated: {error}") from None


def _inflated(data: Bytes, start: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for piece in pieces(data, start):
        for at in range(0, len(piece), _DEFLATED):
            left: Buffer = piece[at : at + _DEFLATED]
            while left and not inflater.eof:
                yield inflater.decompress(left, _INFLATED)
                left = inflater.unconsumed_tail
    yield inflater.flush()
    if not inflater.eof:
        raise DamagedFile("the deflated data set ends too early; the file is truncated")
