"""Checks of texts and of what stands beside images: character set, private elements, signatures, annotation, icons."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from cinemill.dicom.dictionary import find_vr
from cinemill.dicom.elements import UNDEFINED, tag_name
from cinemill.operations.inspect.checks.check import Problems, Subject, check
from cinemill.operations.inspect.model import Severity

_CHARACTER_SET, _ICON, _SIGNATURES = 0x00080005, 0x00880200, 0xFFFAFFFA
_IDENTITY_REMOVED = 0x00120062
_TEXT_VRS = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_ITEM = b"\xfe\xff\x00\xe0"
_ISO_2022 = "ISO 2022 "
_CODECS = {
    "": "ascii",
    "ISO_IR 6": "ascii",
    "ISO_IR 100": "iso8859_1",
    "ISO_IR 101": "iso8859_2",
    "ISO_IR 109": "iso8859_3",
    "ISO_IR 110": "iso8859_4",
    "ISO_IR 144": "iso8859_5",
    "ISO_IR 127": "iso8859_6",
    "ISO_IR 126": "iso8859_7",
    "ISO_IR 138": "iso8859_8",
    "ISO_IR 148": "iso8859_9",
    "ISO_IR 203": "iso8859_15",
    "ISO_IR 13": "shift_jis",
    "ISO_IR 166": "tis_620",
    "ISO_IR 192": "utf_8",
    "GB18030": "gb18030",
    "GBK": "gbk",
}
_EXTENDED = frozenset(
    f"IR {n}" for n in (6, 100, 101, 109, 110, 144, 127, 126, 138, 148, 203, 13, 166, 87, 159, 149, 58)
)


@check(
    "text.character-set",
    Severity.WARNING,
    "PS3.3 C.12.1.1.2",
    about="Specific Character Set is one of the standard's",
    remedy="correct Specific Character Set; outputs keep texts byte for byte",
)
def character_set(subject: Subject) -> Problems:
    """Yield terms that the standard does not have."""
    for term in _terms(subject):
        single = term in _CODECS and term != "ISO_IR 6"
        if not single and not (term.startswith(_ISO_2022) and term.removeprefix(_ISO_2022) in _EXTENDED):
            yield f"Specific Character Set is {term!r}, which PS3.3 does not have"


@check(
    "text.decodes",
    Severity.WARNING,
    "PS3.5 6.1",
    about="texts are in the character set that is declared",
    remedy="correct Specific Character Set; outputs keep texts byte for byte",
)
def decodes(subject: Subject) -> Problems:
    """Yield the elements whose texts are not."""
    terms = _terms(subject)
    if len(terms) > 1 or any(term not in _CODECS for term in terms):
        return
    declared = terms[0] if terms else ""
    wrong = list(_undecodable(subject, _CODECS[declared]))
    if wrong:
        others = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        yield f"{wrong[0]}{others} can't be read as {declared or 'ASCII, and no Specific Character Set is given'}"


def _terms(subject: Subject) -> list[str]:
    told = subject.source.text(_CHARACTER_SET)
    return [term.strip() for term in told.split("\\")] if told else []


def _undecodable(subject: Subject, codec: str) -> Iterator[str]:
    source = subject.source
    for element in source.elements:
        if element.length == UNDEFINED or element.tag >> 16 & 1:
            continue
        value = bytes(source.data[element.value : element.end])
        if value.isascii():
            continue
        vr = element.vr.decode("latin-1") if element.vr is not None else find_vr(element.tag)
        if vr not in _TEXT_VRS:
            continue
        try:
            codecs.decode(value, codec)
        except ValueError:
            yield tag_name(element.tag)


@check(
    "private.creator",
    Severity.WARNING,
    "PS3.5 7.8.1",
    about="private elements stand in a block that has a Private Creator",
    remedy="nobody can know what they mean; cinemill deidentify takes them out",
)
def private_creator(subject: Subject) -> Problems:
    """Yield private elements that nobody claims."""
    elements = subject.source.elements
    claimed = {
        element.tag >> 16 << 8 | element.tag & 0xFF
        for element in elements
        if element.tag >> 16 & 1 and 0x10 <= element.tag & 0xFFFF <= 0xFF and element.end > element.value
    }
    stray = [
        element.tag
        for element in elements
        if element.tag >> 16 & 1
        and element.tag & 0xFFFF > 0xFF
        and element.tag >> 16 << 8 | element.tag >> 8 & 0xFF not in claimed
    ]
    if stray:
        others = f" and {len(stray) - 1} more" if len(stray) > 1 else ""
        yield f"{tag_name(stray[0])}{others} stand in no block that has a Private Creator"


@check(
    "signature.present",
    Severity.NOTICE,
    "PS3.15 C",
    about="there are no digital signatures, which a transcoding makes void",
    remedy="keep the source, or have the output signed anew",
)
def signature(subject: Subject) -> Problems:
    """Yield whether there are signatures."""
    if subject.source.element(_SIGNATURES) is not None:
        yield "there is a Digital Signatures Sequence (FFFA,FFFA)"


@check(
    "annotation.burned-in",
    Severity.NOTICE,
    "PS3.3 C.7.6.1",
    about="Burned In Annotation of ultrasound images and secondary captures says whether names may stand in pixels",
    remedy="look at the pixels before an exchange; cinemill deidentify masks them",
    pixels=True,
)
def burned_in(subject: Subject) -> Problems:
    """Yield where it is missing, or says nothing."""
    known, found = subject.sop_class, subject.facts.burned_in_annotation
    if not subject.image or known is None or not (subject.ultrasound or not known.modalities):
        return
    if found not in {"YES", "NO"}:
        yield f"Burned In Annotation (0028,0301) is {found or 'absent'}, expected YES or NO"


@check(
    "annotation.contradiction",
    Severity.WARNING,
    "PS3.3 C.7.1.1",
    about="Patient Identity Removed is not YES where annotation is burned in",
    remedy="look at the pixels; cinemill deidentify masks them",
    pixels=True,
)
def identity_removed(subject: Subject) -> Problems:
    """Yield where both are YES."""
    if subject.source.text(_IDENTITY_REMOVED) == "YES" and subject.facts.burned_in_annotation == "YES":
        yield "Patient Identity Removed (0012,0062) is YES, and Burned In Annotation (0028,0301) is YES"


@check(
    "icon.sound",
    Severity.WARNING,
    "PS3.3 C.7.6.1.1.6",
    about="Icon Image Sequence holds one image, of one sample a pixel, as large as it says",
    remedy="leave the icon out; viewers make their own",
)
def icon(subject: Subject) -> Problems:
    """Yield what is wrong with the icon."""
    if not subject.source.value(_ICON):
        return
    items = subject.items(_ICON)
    if len(items) != 1:
        yield f"Icon Image Sequence has {len(items)} items, expected 1"
    for item in items[:1]:
        found = item.get("PhotometricInterpretation", "")
        if found not in {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"}:
            yield f"the icon is {found or 'of no photometric interpretation'}, expected MONOCHROME1, MONOCHROME2 or PALETTE COLOR"
        data = item.get("PixelData")
        wanted = int(item.get("Rows") or 0) * int(item.get("Columns") or 0)
        wanted = wanted * int(item.get("SamplesPerPixel") or 1) * int(item.get("BitsAllocated") or 8) // 8
        if data is None:
            yield "the icon has no Pixel Data"
        elif bytes(data[:4]) != _ITEM and len(data) < wanted:
            yield f"the icon takes {wanted} bytes, {len(data)} are there"
