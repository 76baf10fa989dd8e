"""Checks of orientation and functional groups, where the IOD asks for them."""

from __future__ import annotations

import math

from cinemill.dicom.dictionary import find_name
from cinemill.dicom.elements import tag_name
from cinemill.operations.inspect.checks.check import Problems, Subject, check
from cinemill.operations.inspect.facts import numbers
from cinemill.operations.inspect.model import Severity

_PATIENT_ORIENTATION = 0x00200020
_POSITION, _ORIENTATION, _SPACING = 0x00200032, 0x00200037, 0x00280030
_PER_FRAME_GROUPS, _ORGANIZATION = 0x52009230, 0x00209311
_UNIT = 1e-3


@check(
    "orientation.patient",
    Severity.WARNING,
    "PS3.3 C.7.6.1.1.1",
    about="Patient Orientation is there in projections",
    remedy="have it filled in where the instance is made; without it left and right can't be told",
)
def patient(subject: Subject) -> Problems:
    """Yield whether it is missing."""
    known = subject.sop_class
    wanted = subject.image and known is not None and known.orientation == "patient"
    if wanted and not subject.present(_PATIENT_ORIENTATION):
        yield f"{find_name(_PATIENT_ORIENTATION)} {tag_name(_PATIENT_ORIENTATION)} is absent or empty"


@check(
    "orientation.plane",
    Severity.WARNING,
    "PS3.3 C.7.6.2",
    about="slices have Image Position, Image Orientation (two unit vectors at a right angle) and Pixel Spacing",
    remedy="have them filled in where the instance is made; without them slices can't be put in order",
)
def plane(subject: Subject) -> Problems:
    """Yield what is missing, or can't be."""
    known = subject.sop_class
    if not subject.image or known is None or known.orientation != "plane":
        return
    for tag, count in ((_POSITION, 3), (_ORIENTATION, 6), (_SPACING, 2)):
        found = numbers(subject.source, tag)
        if len(found) != count:
            yield f"{find_name(tag)} {tag_name(tag)} has {len(found)} numbers, expected {count}"
    cosines = numbers(subject.source, _ORIENTATION)
    if len(cosines) == 6:
        row, column = cosines[:3], cosines[3:]
        lengths = math.hypot(*row), math.hypot(*column)
        product = sum(a * b for a, b in zip(row, column, strict=True))
        if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(product)) > _UNIT:
            yield (
                f"the vectors of Image Orientation are {lengths[0]:.4g} and {lengths[1]:.4g} long, "
                f"and their product is {product:.3g}; expected 1, 1 and 0"
            )


@check(
    "groups.frames",
    Severity.WARNING,
    "PS3.3 C.7.6.16",
    about="functional groups have an item for each frame",
    remedy="have the instance made anew; which frame is which can't be told",
    pixels=True,
)
def groups(subject: Subject) -> Problems:
    """Yield another number of items."""
    known, frames = subject.sop_class, subject.facts.frames
    if not subject.image or known is None or not known.grouped or frames is None:
        return
    if subject.source.element(_PER_FRAME_GROUPS) is None:
        if subject.source.text(_ORGANIZATION) == "TILED_FULL":
            return
        yield "there is no Per-Frame Functional Groups Sequence (5200,9230)"
        return
    items = len(subject.items(_PER_FRAME_GROUPS))
    if items != frames:
        yield f"Per-Frame Functional Groups Sequence has {items} items for {frames} frames"


@check(
    "groups.orientation",
    Severity.WARNING,
    "PS3.3 C.7.6.16.2.4",
    about="functional groups of cross-sections have Plane Orientation",
    remedy="have the instance made anew; without it slices can't be put in order",
)
def orientation(subject: Subject) -> Problems:
    """Yield whether it is missing."""
    known = subject.sop_class
    wanted = subject.image and known is not None and known.orientation == "groups"
    if wanted and "PlaneOrientationSequence" not in subject.facts.functional_groups:
        yield "no functional group is a Plane Orientation Sequence (0020,9116)"
