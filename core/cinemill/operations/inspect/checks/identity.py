"""Checks of what an instance is: SOP class, modality, manufacturer, model, attributes that must be there, UIDs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from cinemill.dicom.dictionary import find_name, find_vr, uid_names
from cinemill.dicom.elements import PIXEL_DATA, tag_name
from cinemill.dicom.sop_classes import STORAGE
from cinemill.errors import printable
from cinemill.operations.inspect.checks.check import Problem, Problems, Subject, check
from cinemill.operations.inspect.facts import text
from cinemill.operations.inspect.model import Severity

_MANUFACTURER, _MODEL, _INSTITUTION = 0x00080070, 0x00081090, 0x00080080
_REQUIRED = (0x00080016, 0x00080018)
_REQUIRED_OF_PATIENTS = (0x0020000D, 0x0020000E, 0x00080060)
_REQUIRED_OF_PIXELS = (
    *(0x00280002, 0x00280004, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103),
)
_REQUIRED_OF_COLOUR, _REQUIRED_OF_FRAMES = 0x00280006, 0x00280008
_REQUIRED_OF_PALETTES = (
    *(0x00281101, 0x00281102, 0x00281103),
    *((0x00281201, 0x00281221), (0x00281202, 0x00281222), (0x00281203, 0x00281223)),
)
_CONVERSION_TYPE = 0x00080064
_PALETTE = "PALETTE COLOR"
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_LONGEST_UID = 64
_ROOTS = frozenset(("0.", "1.", "2."))
_VENDORS = re.compile(
    r"\b(philips|general electric|ge (healthcare|medical|vingmed)|siemens|acuson|samsung|medison|canon|toshiba|mindray|"
    r"fuji(film)?|sonosite|hitachi|aloka|esaote|supersonic|hologic|butterfly|clarius|alpinion|konica|shimadzu)\b",
    re.IGNORECASE,
)


@check(
    "class.modality",
    Severity.WARNING,
    "PS3.3 C.7.3.1.1.1",
    about="Modality is one that the SOP class allows",
    remedy="correct Modality where it was typed in; viewers choose tools and layouts by it",
)
def modality(subject: Subject) -> Problems:
    """Yield a modality that the class does not have."""
    found, known = subject.facts.modality, subject.sop_class
    if found and known is not None and known.modalities and found not in known.modalities:
        wanted = " or ".join(sorted(known.modalities))
        yield f"Modality is {found}, {subject.facts.sop_class} has {wanted}"


@check(
    "class.known",
    Severity.NOTICE,
    "PS3.6 A",
    about="the SOP class is registered, and not retired",
    remedy="ask the receiver whether it takes this SOP class",
)
def known_class(subject: Subject) -> Problems:
    """Yield a class that is private or retired."""
    uid = subject.facts.sop_class_uid
    if not uid or subject.directory:
        return
    name, keyword = uid_names(uid)
    if not keyword:
        yield f"SOP Class UID {uid[:_LONGEST_UID]} is none of PS3.6"
    elif subject.sop_class is not None and subject.sop_class.retired:
        yield f"{name} is retired"


@check(
    "class.frames",
    Severity.WARNING,
    "PS3.3 A.1.4",
    about="there are several frames only where the SOP class has them",
    remedy="split the cine into single frames, or ask its maker for the multi-frame class",
    pixels=True,
)
def frames_of_class(subject: Subject) -> Problems:
    """Yield frames of a class that has none."""
    known, frames = subject.sop_class, subject.facts.frames
    if known is not None and known.frames == "never" and subject.image and frames is not None and frames > 1:
        yield f"Number of Frames is {frames}, but {subject.facts.sop_class} is an image of one frame"


@check(
    "model.expected",
    Severity.ERROR,
    "PS3.3 C.7.5.1",
    about="Manufacturer's Model Name is the one that --expect-model names",
    remedy="look whether the file belongs here",
)
def model(subject: Subject) -> Problems:
    """Yield another model."""
    expected, found = subject.expected_model, subject.facts.model
    if expected is not None and (found or "").strip().casefold() != expected.strip().casefold():
        yield f"Manufacturer's Model Name (0008,1090) is {found or 'absent'}, expected {expected}"


@check(
    "model.manufacturer",
    Severity.WARNING,
    "PS3.3 C.7.5.1",
    about="Manufacturer is there, in (0008,0070) and nowhere else",
    remedy="have Manufacturer (0008,0070) filled in where the instance is made; rules and statistics ask for it",
)
def manufacturer(subject: Subject) -> Problems:
    """Yield where there is no manufacturer."""
    uid = subject.facts.sop_class_uid or ""
    if subject.facts.manufacturer or not uid.startswith(STORAGE):
        return
    absent = subject.source.element(_MANUFACTURER) is None
    elsewhere = [
        f"{find_name(tag)} {tag_name(tag)}"
        for tag in (_INSTITUTION, _MODEL)
        if _VENDORS.search(text(subject.source, tag) or "")
    ]
    where = f"; a maker's name stands in {elsewhere[0]}" if elsewhere else ""
    yield f"Manufacturer (0008,0070) is {'absent' if absent else 'empty'}{where}"


@check(
    "attributes.required",
    Severity.WARNING,
    "PS3.5 7.4.1",
    about="attributes of type 1 are there and have values",
    remedy="have them filled in where the instance is made; archives refuse or misfile what lacks them",
)
def required(subject: Subject) -> Problems:
    """Yield what is missing, by name."""
    if subject.directory:
        return
    for state in ("absent", "empty"):
        tags = [tag for tag in _wanted(subject) if _state(subject, tag) == state]
        names = [f"{find_name(tag)} {tag_name(tag)}" for tag in tags]
        if names:
            yield f"{state}: {', '.join(names)}"


def _state(subject: Subject, tag: int) -> str:
    if subject.present(tag):
        return "there"
    return "absent" if subject.source.element(tag) is None else "empty"


def _wanted(subject: Subject) -> Iterator[int]:
    known, facts = subject.sop_class, subject.facts
    yield from _REQUIRED
    if (facts.sop_class_uid or "").startswith(STORAGE):
        yield from _REQUIRED_OF_PATIENTS
    if not subject.image and (known is None or not known.pixels or not subject.whole):
        return
    yield from _REQUIRED_OF_PIXELS
    if (facts.samples_per_pixel or 1) > 1:
        yield _REQUIRED_OF_COLOUR
    if known is not None and known.frames == "always":
        yield _REQUIRED_OF_FRAMES
    if not subject.image and subject.source.pixel_data is None:
        yield PIXEL_DATA
    if known is not None and not known.modalities:
        yield _CONVERSION_TYPE
    if facts.photometric_interpretation == _PALETTE:
        for tag in _REQUIRED_OF_PALETTES:
            if isinstance(tag, int):
                yield tag
            elif not any(map(subject.present, tag)):
                yield tag[0]


@check(
    "uids.syntax",
    Severity.WARNING,
    "PS3.5 9.1",
    about="UIDs are numbers of up to 64 characters in all, without leading zeros, joined by dots",
    remedy="have new UIDs given throughout the study (cinemill deidentify does); some archives refuse these",
)
def uid_syntax(subject: Subject) -> Problems:
    """Yield UIDs that are none."""
    source = subject.source
    for element in source.elements:
        if element.vr != b"UI" and (element.vr is not None or find_vr(element.tag) != "UI"):
            continue
        value = bytes(source.data[element.value : element.end]).decode("latin-1").rstrip("\0")
        for uid in value.split("\\") if value else ():
            fault = _uid_fault(uid)
            if fault:
                yield Problem(f"{find_name(element.tag)} {tag_name(element.tag)} {fault}")


def _uid_fault(uid: str) -> str | None:
    if len(uid) > _LONGEST_UID:
        return f"has {len(uid)} characters, expected at most {_LONGEST_UID}"
    if _UID.fullmatch(uid):
        return None if uid[:2] in _ROOTS else f"is {uid}, which begins with none of 0, 1 and 2"
    if uid != uid.strip(" "):
        return "is padded with spaces, expected a zero byte"
    if re.fullmatch(r"[0-9.]+", uid) and re.search(r"(^|\.)0[0-9]", uid):
        return f"is {uid}, which has a leading zero"
    return f"is {printable(uid)!r}, which is no UID"


@check(
    "uids.distinct",
    Severity.WARNING,
    "PS3.5 9",
    about="study, series and instance have UIDs of their own",
    remedy="have new UIDs given throughout the study (cinemill deidentify does)",
)
def distinct(subject: Subject) -> Problems:
    """Yield a UID that stands for two of them."""
    facts = subject.facts
    named = {
        "Study": facts.study_instance_uid,
        "Series": facts.series_instance_uid,
        "SOP": facts.sop_instance_uid,
    }
    for (first, one), (second, other) in combinations(named.items(), 2):
        if one and one == other:
            yield f"{first} Instance UID and {second} Instance UID are both {one}"
