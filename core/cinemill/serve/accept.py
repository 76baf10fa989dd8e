"""Which media types a request accepts (RFC 9110 12.5.1), in parts or alone, and in which transfer syntax (PS3.18 8.7)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from cinemill.syntaxes import TransferSyntax

ANY = "*"
OCTETS, DICOM, JSON = "application/octet-stream", "application/dicom", "application/dicom+json"
EXPLICIT = "1.2.840.10008.1.2.1"
_MULTIPART = "multipart/related"
_MEDIA: Mapping[str, str] = MappingProxyType(
    {
        "jpeg": "image/jpeg",
        "jpeg-lossless": "image/jpeg",
        "jpeg-ls": "image/jls",
        "jpeg-2000": "image/jp2",
        "htj2k": "image/jphc",
        "jpeg-xl": "image/jxl",
        "rle": "image/dicom-rle",
    }
)
"""Of one frame, by how it is coded (PS3.18 Table 8.7.3-5)."""

_PARAMETER = re.compile(r';\s*([\w-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]*)')
_PLUS = re.compile(r"(?<=\w) (?=\w)")
_RANGE = re.compile(r'\s*([^\s;,"]+)((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;,"]*))*)\s*(?:,|$)')


class Accepted(NamedTuple):
    """One range of media types.

    Attributes
    ----------
    media
        Of what is wanted itself; ``*/*`` or ``image/*`` for any.
    in_parts
        Whether it is wanted as multipart/related; None where that is the same.
    transfer_syntax
        A UID, ``*`` for any; None where it is not said.
    """

    media: str
    in_parts: bool | None
    transfer_syntax: str | None

    def takes(self, media: str) -> bool:
        """Whether a media type lies in this range."""
        return self.media in {"*/*", media, f"{media.partition('/')[0]}/*"}


def accepted(header: str) -> list[Accepted]:
    """Return what an Accept header names, the best first; anything, where it names nothing.

    A space in a name was a plus sign in a URL: ``accept=application/dicom+json``.
    """
    found = sorted(_ranges(_PLUS.sub("+", header) or "*/*"), key=lambda each: -each[0])
    return [each for quality, each in found if quality > 0]


def _ranges(header: str) -> Iterator[tuple[float, Accepted]]:
    for media, rest in _RANGE.findall(header):
        given = {name.lower(): value.strip('"') for name, value in _PARAMETER.findall(rest)}
        try:
            quality = float(given.get("q", "1"))
        except ValueError:
            quality = 0.0
        syntax = given.get("transfer-syntax")
        if media.lower() == _MULTIPART:
            yield quality, Accepted(given.get("type", "*/*").lower(), in_parts=True, transfer_syntax=syntax)
        else:
            in_parts = None if media == "*/*" else False
            yield quality, Accepted(media.lower(), in_parts=in_parts, transfer_syntax=syntax)


def media_of(syntax: TransferSyntax) -> str:
    """Return the media type of a frame as a transfer syntax codes it."""
    return _MEDIA.get(syntax.coding, OCTETS)


def choose(header: str, offered: Iterable[str]) -> str | None:
    """Return which of some media types is accepted best, None where none of them is; the first is what is given for any."""
    several = list(offered)
    for each in accepted(header):
        for media in several:
            if each.takes(media):
                return media
    return None
