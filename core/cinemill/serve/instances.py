"""One instance of the tree: its file, its metadata, and its frames as they are coded or decoded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cinemill.dicom.dictionary import find_vr
from cinemill.dicom.elements import Element
from cinemill.dicom.header_only import HeaderOnly
from cinemill.dicom.source import Source
from cinemill.errors import MissingFile, NotInFile, UnknownTarget, Unreadable
from cinemill.frames.cine import Cine
from cinemill.serve.accept import ANY, EXPLICIT, OCTETS, Accepted, media_of
from cinemill.serve.dicom_json import Attributes, attribute, attributes_of, tag_of
from cinemill.storage.location import State, state
from cinemill.syntaxes import TransferSyntax, target

if TYPE_CHECKING:
    from cinemill.pixel_format import Buffer
    from cinemill.serve.catalogue import Found

SOP_INSTANCE = 0x00080018
_OPEN = 32
"""Files that a process keeps open."""

_LARGE = 1 << 20
_TAG = re.compile("[0-9A-Fa-f]{8}")
_PIECE = 1 << 18


class Gone(Unreadable):
    """The file is no longer what it was when it was indexed."""


class Coding(NamedTuple):
    """How frames are given.

    Attributes
    ----------
    media
        Type of each.
    transfer_syntax
        UID.
    in_parts
        Whether the answer is multipart/related.
    as_coded
        Whether they are as the file has them.
    """

    media: str
    transfer_syntax: str
    in_parts: bool
    as_coded: bool

    @property
    def content_type(self) -> str:
        """Of each frame."""
        return f"{self.media}; transfer-syntax={self.transfer_syntax}"


def header_of(found: Found) -> HeaderOnly:
    """Open an instance as far as its pixel data; the caller closes it.

    Raises
    ------
    Gone
        The file is not there any more, or another one is.
    CinemillError
        It can't be read.
    """
    try:
        header = HeaderOnly(found.path)
    except MissingFile:
        raise _gone(found) from None
    if header.text(SOP_INSTANCE) != found.uids[-1] and len(found.uids) == 3:
        raise _gone(found)
    return header


def cine_of(found: Found) -> Cine:
    """Open the frames of an instance; several are kept open, and none must be closed.

    Raises
    ------
    Gone
        The file is not there any more, or another one is.
    NotInFile
        There are no frames in it.
    CinemillError
        It can't be read.
    """
    there = state(found.path)
    if there is None:
        raise _gone(found)
    cine = _opened(found.path, there)
    if cine.source.text(SOP_INSTANCE) != found.uids[-1]:
        raise _gone(found)
    return cine


@lru_cache(maxsize=_OPEN)
def _opened(path: Path, _: State) -> Cine:
    source = Source(path, scan=False)
    if source.pixel_data is None:
        raise NotInFile("there is no image in it", path=path)
    return Cine(source)


def _gone(found: Found) -> Gone:
    return Gone(f"{found.uids[-1]} is not where it was when the tree was looked through; ask again later")


def metadata_of(found: Found, url: str) -> Attributes:
    """Return all that stands before the pixel data of an instance.

    Parameters
    ----------
    found
        The instance.
    url
        Of it; large values have theirs below.

    Raises
    ------
    CinemillError
        It can't be read.
    """

    def address(tag: int) -> str:
        return f"{url}/bulkdata/{tag:08X}"

    with header_of(found) as header:
        large = [element for element in header.elements if _is_large(element)]
        small = {element.tag for element in header.elements}.difference(element.tag for element in large)
        told = attributes_of(header.part(*small), address)
        pixels = [] if header.pixel_data is None else [header.pixel_data]
        for element in (*large, *pixels):
            told[f"{element.tag:08X}"] = {"vr": _vr(element), "BulkDataURI": address(element.tag)}
        told[tag_of("AvailableTransferSyntaxUID")] = attribute("UI", header.transfer_syntax.uid)
    return dict(sorted(told.items()))


def _is_large(element: Element) -> bool:
    return element.end - element.value >= _LARGE and _vr(element) != "SQ"


def _vr(element: Element) -> str:
    told = find_vr(element.tag) or "UN" if element.vr is None else element.vr.decode("latin-1")
    return told.rpartition(" ")[2]


def value_of(found: Found, tag: str) -> bytes:
    """Return the value of a top-level element, little endian.

    Parameters
    ----------
    found
        The instance.
    tag
        Of the element, eight hexadecimal digits.

    Raises
    ------
    NotInFile
        There is no such element.
    CinemillError
        It can't be read.
    """
    with header_of(found) as header:
        number = int(tag, 16) if _TAG.fullmatch(tag) else 0
        if header.pixel_data is not None and header.pixel_data.tag == number:
            return bytes(header.data[header.pixel_data.value : header.pixel_data.end])
        if header.element(number) is None:
            raise NotInFile(f"there is no element {tag[:64]!r} with a value of its own in {found.uids[-1]}")
        value = header.part(number)[number].value
        return value if isinstance(value, bytes) else str(value).encode()


def coding_for(cine: Cine, ranges: Sequence[Accepted]) -> Coding | None:
    """Return how frames are given that a request accepts: as they are coded, or decoded; None where it accepts neither.

    Parameters
    ----------
    cine
        The instance.
    ranges
        What is accepted, the best first.
    """
    syntax = cine.source.transfer_syntax
    media = media_of(syntax)
    has_streams = not cine.source.native and syntax.coding != "video"
    for each in ranges:
        in_parts, takes_octets = each.in_parts is not False, each.takes(OCTETS)
        if has_streams and each.takes(media):
            if each.transfer_syntax in {syntax.uid, ANY} or (
                each.transfer_syntax is None and not takes_octets
            ):
                return Coding(media, syntax.uid, in_parts, as_coded=True)
        elif has_streams and takes_octets and each.transfer_syntax == ANY:
            return Coding(OCTETS, syntax.uid, in_parts, as_coded=True)
        if takes_octets and each.transfer_syntax in {None, ANY, EXPLICIT}:
            return Coding(OCTETS, EXPLICIT, in_parts, as_coded=False)
    return None


def frames_of(cine: Cine, numbers: Sequence[int], coding: Coding) -> Iterator[Buffer]:
    """Yield frames, one after the other.

    Parameters
    ----------
    cine
        The instance.
    numbers
        Of the frames, counted from 0.
    coding
        How they are given. Decoded frames are as native ones would lie in a file with this header, but for
        4:2:2: that is RGB.

    Raises
    ------
    CodecError
        A frame does not decode.
    """
    for number in numbers:
        yield cine.source.frame(number) if coding.as_coded or cine.source.native else _decoded(cine, number)


def _decoded(cine: Cine, number: int) -> bytes:
    label = cine.source.pixels.photometric_interpretation
    is_converted = cine.photometric_interpretation == "YBR_FULL" != label
    (frame,) = cine.decode([number], "RGB" if is_converted else None)
    allocated = cine.source.pixels.bits_allocated
    if allocated == 1:
        return np.packbits(frame, axis=None, bitorder="little").tobytes()
    kind = "i" if cine.pixels.signed else "u"
    if cine.source.pixels.samples == 3 and cine.source.pixels.planar_configuration == 1:
        frame = np.moveaxis(frame, -1, 0)
    return frame.astype(f"<{kind}{allocated // 8}").tobytes()


def checked(cine: Cine, numbers: Sequence[int]) -> Sequence[int]:
    """Return numbers of frames counted from 0, of such as are counted from 1.

    Raises
    ------
    NotInFile
        There is no such frame.
    """
    for number in numbers:
        if not 1 <= number <= len(cine):
            raise NotInFile(f"there is no frame {number}; there are {len(cine)}, counted from 1")
    return [number - 1 for number in numbers]


def pieces_of(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file.

    Raises
    ------
    Unreadable
        The system does not let it be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                yield piece
    except OSError as error:
        raise Unreadable(f"can't be read: {error.strerror}", path=path) from None


def target_for(found: Found, wanted: Iterable[str | None]) -> TransferSyntax | None:
    """Return into which transfer syntax a file must be transcoded to be as is wanted; None where it is already.

    Parameters
    ----------
    found
        The instance.
    wanted
        UIDs, the best first; ``*`` for any, None for Explicit VR Little Endian, as the standard has it: videos, which have
        no other way, are taken as they are then.

    Raises
    ------
    UnknownTarget
        There is no way to any of these.
    CinemillError
        The file can't be read.
    """
    with header_of(found) as header:
        stored, is_file = header.transfer_syntax, bool(header.meta)
    several = [*wanted]
    for each in several:
        is_taken = (
            each == ANY or (each or EXPLICIT) == stored.uid or (each is None and stored.coding == "video")
        )
        if is_taken and is_file:
            return None
        if each == ANY:
            return target(EXPLICIT)
        with suppress(UnknownTarget):
            return target(each or EXPLICIT)
    return target(several[0] or EXPLICIT)
