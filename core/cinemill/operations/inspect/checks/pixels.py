"""Checks of what a header says of pixels: whether transfer syntax and IOD can have them so, whether it contradicts itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cinemill import syntaxes
from cinemill.dicom.sop_classes import RGB_IODS
from cinemill.operations.inspect.checks.check import Problems, Subject, check
from cinemill.operations.inspect.model import Severity

_GREY = frozenset(("MONOCHROME1", "MONOCHROME2"))
_ONE_SAMPLE = frozenset((*_GREY, "PALETTE COLOR"))
_THREE_SAMPLES = frozenset(
    (
        "RGB",
        "YBR_FULL",
        "YBR_FULL_422",
        "YBR_PARTIAL_420",
        "YBR_PARTIAL_422",
        "YBR_RCT",
        "YBR_ICT",
        "XYB",
        "HSV",
    )
)
_PLANAR, _HIGH_BIT, _SIGN = 0x00280006, 0x00280102, 0x00280103
_WORDS = frozenset((1, 8, 16, 32, 64))


def _of(names: str, first: int, last: int) -> dict[str, range]:
    return dict.fromkeys(names.split(","), range(first, last + 1))


_JPEG_8 = _of("MONOCHROME1,MONOCHROME2,RGB,YBR_FULL_422", 8, 8)
_JPEG_12 = _of("MONOCHROME1,MONOCHROME2,RGB,YBR_FULL_422", 8, 12)
_JPEG_LOSSLESS = _of("MONOCHROME1,MONOCHROME2,PALETTE COLOR,RGB,YBR_FULL", 1, 16)
_JPEG_LS = {**_of("MONOCHROME1,MONOCHROME2,RGB", 2, 16), **_of("YBR_FULL", 2, 8)}
_JPEG_2000 = _of("MONOCHROME1,MONOCHROME2,RGB,YBR_FULL,YBR_RCT,YBR_ICT", 1, 38)
_JPEG_XL = _of("MONOCHROME1,MONOCHROME2,RGB,XYB,YBR_FULL_422", 1, 16)

_READ_ONLY: Mapping[str, syntaxes.Legal] = MappingProxyType(
    {
        "JPEGBaseline8Bit": _JPEG_8,
        "JPEGExtended12Bit": _JPEG_12,
        "JPEGSpectralSelectionNonHierarchical68": _JPEG_12,
        "JPEGFullProgressionNonHierarchical1012": _JPEG_12,
        "JPEGLossless": _JPEG_LOSSLESS,
        "JPEGLosslessSV1": _JPEG_LOSSLESS,
        "JPEGLSNearLossless": _JPEG_LS,
        "JPEG2000": _JPEG_2000,
        "HTJ2K": _JPEG_2000,
        "JPEGXL": _JPEG_XL,
    }
)
"""What transfer syntaxes may hold that are never written (PS3.5 8.2)."""

_COLOUR: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "native": frozenset(("RGB",)),
        "encapsulated-uncompressed": frozenset(("RGB",)),
        "deflated-frame": frozenset(("RGB",)),
        "jpeg-lossless": frozenset(("RGB",)),
        "jpeg-ls": frozenset(("RGB",)),
        "rle": frozenset(("RGB", "YBR_FULL")),
        "jpeg": frozenset(("YBR_FULL_422", "RGB")),
        "jpeg-2000": frozenset(("YBR_RCT", "YBR_ICT", "RGB")),
        "htj2k": frozenset(("YBR_RCT", "YBR_ICT", "RGB")),
    }
)
"""Photometric interpretations of colour in the IODs of `RGB_IODS`, by coding (PS3.3 C.8.5.6.1.2)."""

_ANEW = "transcode the file: outputs say what their codestreams hold"


def legal(syntax: syntaxes.TransferSyntax) -> syntaxes.Legal:
    """Return what a transfer syntax may hold, empty where that is not known."""
    return syntax.legal or _READ_ONLY.get(syntax.keyword, {})


@check(
    "pixels.photometric",
    Severity.WARNING,
    "PS3.5 8.2",
    about="Photometric Interpretation is one that the transfer syntax may hold",
    remedy=_ANEW,
    pixels=True,
)
def photometric(subject: Subject) -> Problems:
    """Yield a label that the syntax does not have."""
    found, allowed = subject.facts.photometric_interpretation, legal(subject.source.transfer_syntax)
    if subject.image and found and allowed and found not in allowed:
        yield (
            f"Photometric Interpretation is {found}, "
            f"{subject.source.transfer_syntax.keyword} holds {', '.join(allowed)}"
        )


@check(
    "pixels.iod",
    Severity.WARNING,
    "PS3.3 C.8.5.6.1.2",
    about="Photometric Interpretation is one that the IOD has in this transfer syntax",
    remedy=f"{_ANEW}; --colour rgb makes RGB of YBR_FULL",
    pixels=True,
)
def iod(subject: Subject) -> Problems:
    """Yield a label that such an image does not have."""
    found, known = subject.facts.photometric_interpretation, subject.sop_class
    if not subject.image or not found or known is None:
        return
    coding = subject.source.transfer_syntax.coding
    if subject.facts.sop_class_uid in RGB_IODS and coding in _COLOUR:
        allowed = {"MONOCHROME2", "PALETTE COLOR", *_COLOUR[coding]}
    elif known.grey:
        allowed = set(_GREY)
    else:
        return
    if found not in allowed:
        yield (
            f"Photometric Interpretation is {found}, {subject.facts.sop_class} "
            f"has {', '.join(sorted(allowed))} in {subject.source.transfer_syntax.keyword}"
        )


@check(
    "pixels.samples",
    Severity.ERROR,
    "PS3.3 C.7.6.3.1.1",
    about="Samples per Pixel is that of the photometric interpretation",
    remedy="correct Samples per Pixel or Photometric Interpretation, whichever is wrong",
    pixels=True,
)
def samples(subject: Subject) -> Problems:
    """Yield a number that contradicts it."""
    found, label = subject.facts.samples_per_pixel, subject.facts.photometric_interpretation
    if not subject.image or found is None:
        return
    wanted = 1 if label in _ONE_SAMPLE else 3 if label in _THREE_SAMPLES else None
    if wanted is not None and found != wanted:
        yield f"Samples per Pixel is {found}, {label} has {wanted}"


@check(
    "pixels.planar",
    Severity.WARNING,
    "PS3.3 C.7.6.3.1.3",
    about="Planar Configuration is there for several samples, 0 or 1, and for these only",
    remedy=_ANEW,
    pixels=True,
)
def planar(subject: Subject) -> Problems:
    """Yield a configuration that can't be, or that nothing has."""
    found, several = subject.short(_PLANAR), (subject.facts.samples_per_pixel or 1) > 1
    if not subject.image or found is None:
        return
    if found > 1:
        yield f"Planar Configuration is {found}, expected 0 or 1"
    elif not several:
        yield f"Planar Configuration is {found}, but Samples per Pixel is 1"


@check(
    "pixels.bits",
    Severity.WARNING,
    "PS3.5 8.1.1",
    about="Bits Stored fits Bits Allocated, High Bit is the one above, and the transfer syntax can hold as many",
    remedy=_ANEW,
    pixels=True,
)
def bits(subject: Subject) -> Problems:
    """Yield what does not fit."""
    facts, high = subject.facts, subject.short(_HIGH_BIT)
    allocated, stored = facts.bits_allocated, facts.bits_stored
    if not subject.image or allocated is None or stored is None:
        return
    if allocated not in _WORDS:
        yield f"Bits Allocated is {allocated}, expected 1, 8, 16 or 32"
    if not 0 < stored <= allocated:
        yield f"Bits Stored is {stored}, Bits Allocated {allocated}"
    elif high is not None and high != stored - 1:
        yield f"High Bit is {high}, expected {stored - 1} for Bits Stored {stored}"
    allowed = legal(subject.source.transfer_syntax).get(facts.photometric_interpretation or "")
    if allowed is not None and stored not in allowed:
        many = f"{allowed[0]}" if len(allowed) == 1 else f"{allowed[0]} to {allowed[-1]}"
        yield (
            f"Bits Stored is {stored}, {facts.photometric_interpretation} "
            f"in {subject.source.transfer_syntax.keyword} has {many}"
        )
    palette = facts.photometric_interpretation == "PALETTE COLOR"
    if (
        subject.ultrasound
        and (allocated, stored) != (8, 8)
        and not (palette and (allocated, stored) == (16, 16))
    ):
        yield f"Bits Allocated is {allocated} and Bits Stored {stored}, an ultrasound image has 8 of 8"


@check(
    "pixels.sign",
    Severity.WARNING,
    "PS3.3 C.7.6.3.1",
    about="Pixel Representation is 0 or 1, and 0 in ultrasound and in colour",
    remedy="correct Pixel Representation; signed samples read as unsigned show white for black",
    pixels=True,
)
def sign(subject: Subject) -> Problems:
    """Yield a representation that can't be."""
    found = subject.short(_SIGN)
    if not subject.image or found is None:
        return
    if found > 1:
        yield f"Pixel Representation is {found}, expected 0 or 1"
    elif found == 1 and (subject.ultrasound or (subject.facts.samples_per_pixel or 1) > 1):
        yield "Pixel Representation is 1 (signed), expected 0"
