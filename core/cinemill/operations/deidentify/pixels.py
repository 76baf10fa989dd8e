"""Whether pixels may show names: no header tells what is burned in, so nothing is written until that is decided."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from cinemill.codecs.codestream import texts
from cinemill.codecs.jpeg_xl.boxes import reconstructable
from cinemill.dicom.sop_classes import STORAGE, ULTRASOUND
from cinemill.errors import CodecError, Refused
from cinemill.frames.overlays import EmbeddedOverlays
from cinemill.operations.deidentify.profile import FEATURES, Profile
from cinemill.operations.deidentify.words import words_of

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.syntaxes import TransferSyntax

_BURNED_IN, _VISUAL_FEATURES = 0x00280301, 0x00280302
_IMAGE_TYPE, _SOP_CLASS = 0x00080008, 0x00080016
_WITHOUT_TEXT = frozenset(
    STORAGE + suffix
    for suffix in ("2", "2.1", "2.2", "4", "4.1", "4.4", "20", "128", "128.1", "130", "481.2")
)
"""CT, MR, NM, PET and dose: pixels are measurements, to which no device adds text in an original image."""

_PRINTABLE = tuple(
    map(
        re.compile,
        (
            rb"[\x20-\x7e\x80-\xff]{4,}",
            rb"(?:[\x20-\x7e\xa0-\xff]\0){4,}",
            rb"(?:\0[\x20-\x7e\xa0-\xff]){4,}",
        ),
    )
)
"""In one byte a character or UTF-8, and in UTF-16 of either order."""


def check_pixels(source: Source, profile: Profile, mask: str) -> None:
    """Check that what may be burned into the pixels of an instance is dealt with.

    Parameters
    ----------
    source
        The open file.
    profile
        The options.
    mask
        How pixels are masked: ``none`` if they are left as they are, empty where nobody has decided that.

    Raises
    ------
    Refused
        It is not; the message says what to do.
    """
    if source.pixel_data is None:
        return
    told = source.text(_BURNED_IN)
    if not mask and told != "NO" and not _is_measured(source):
        shown = f"is {told!r}" if told else "is absent"
        raise Refused(
            f"Burned In Annotation (0028,0301) {shown}: there may be names in the pixels, which no change of the header "
            "removes; choose how they are masked with --mask, or say --mask none where somebody has looked"
        )
    if FEATURES in profile and source.text(_VISUAL_FEATURES) != "NO" and not _of_ultrasound(source):
        raise Refused(
            "Recognizable Visual Features (0028,0302) is not NO, and this program blackens no faces; leave out "
            f"{FEATURES}, or deface the images before"
        )


def check_unused_bits(source: Source, target: TransferSyntax) -> None:
    """Check that no overlay stays behind in unused bits of the pixels.

    Parameters
    ----------
    source
        The open file.
    target
        What the output is coded in.

    Raises
    ------
    Refused
        One would.
    """
    if (
        source.pixel_data is None
        or target.coding not in {"native", "rle"}
        or source.pixels.bits_allocated == 1
    ):
        return
    if EmbeddedOverlays.find(source) is not None:
        raise Refused(
            f"there are overlays in unused bits of the pixels, which {target} keeps; a target such as --to jpeg-ls "
            "leaves them out"
        )


def check_comments(source: Source, words: Collection[str]) -> None:
    """Check that no codestream that stays as it is repeats the patient's name or number in a comment.

    Parameters
    ----------
    source
        The open file.
    words
        Of names and numbers, in small letters.

    Raises
    ------
    Refused
        One does.
    """
    if source.pixel_data is None or source.native or source.transfer_syntax.coding == "video" or not words:
        return
    for index in range(len(source)):
        if not words_of(printable(source, index)).isdisjoint(words):
            raise Refused(
                "a comment in the codestream repeats the patient's name or number; a target such as --to jpeg-ls "
                "codes the pixels without it",
                frame=index,
            )


def printable(source: Source, index: int) -> Iterator[str]:
    """Yield what can be read as text in a frame outside its samples, and in the JPEG that can be rebuilt from it.

    Raises
    ------
    CodecError
        That JPEG can't be rebuilt, or a compressed box not be searched.
    """
    streams = [source.frame(index)]
    if reconstructable(streams[0]) is not None:
        from cinemill.codecs.jpeg_xl.libjxl import to_jpeg

        streams.append(to_jpeg(streams[0], index))
    try:
        parts = list(chain.from_iterable(map(texts, streams)))
    except CodecError as error:
        error.locate(frame=index)
        raise
    for part in parts:
        for text in chain.from_iterable(pattern.findall(part) for pattern in _PRINTABLE):
            characters = text.replace(b"\0", b"")
            yield characters.decode("latin-1")
            if not characters.isascii():
                yield characters.decode(errors="replace")


def _is_measured(source: Source) -> bool:
    original = source.text(_IMAGE_TYPE).split("\\")[0] == "ORIGINAL"
    return original and source.text(_SOP_CLASS) in _WITHOUT_TEXT


def _of_ultrasound(source: Source) -> bool:
    """Whether pictures are of the inside, by which nobody is recognised."""
    return source.text(_SOP_CLASS) in ULTRASOUND
