"""What is done to an attribute: the action codes of PS3.15 Table E.1-1a, of which one is chosen where the table gives several."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from cinemill.dicom.sop_classes import STORAGE
from cinemill.operations.deidentify.attributes import CLASSES, columns

if TYPE_CHECKING:
    from cinemill.operations.deidentify.profile import Profile

_ACQUISITION_CONTEXT = 0x00400555
CONTENT_TEXT = frozenset((0x0040A160, 0x00700006))
"""Text Value and Unformatted Text Value: cleaned where the sequence around them is."""

_TEXT = frozenset(("LO", "SH", "ST", "LT", "UT", "UC"))
_DATES = frozenset(("DA", "TM", "DT"))

_CLASSIC = frozenset(
    STORAGE + suffix
    for suffix in (
        *("1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1", "2", "3", "3.1", "4", "6", "6.1"),
        *("7", "7.1", "7.2", "7.3", "7.4", "12.1", "12.2", "20", "77.1.1", "77.1.2", "77.1.4"),
    )
)
"""SOP classes of images whose dates, names and devices in question are of type 3, or of type 2 (PS3.3 C.7)."""


class Action(Enum):
    """What is done to an attribute."""

    KEEP = "K"
    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    SHIFT = "shift"
    CLEAN = "C"


_BY_CODE = {each.value: each for each in Action}


def action_for(tag: int, vr: str, profile: Profile, *, classic: bool, cleaning: bool) -> Action:
    """Return what is done to a standard attribute.

    What the table does not name is kept, but for names, dates and UIDs: nobody can tell whose they are.

    Parameters
    ----------
    tag, vr
        Of the attribute.
    profile
        The options.
    classic
        Whether it stands at the top of an image whose types are known: see `is_classic`.
    cleaning
        Whether it stands in a sequence that is cleaned.
    """
    basic, retained = columns(tag, vr, profile)
    if cleaning and tag in CONTENT_TEXT:
        return Action.CLEAN
    if retained == "K":
        return Action.KEEP
    if retained == "C":
        if vr in _DATES:
            return Action.SHIFT
        if vr in _TEXT or vr == "SQ":
            return Action.CLEAN
    return without_options(tag, vr, basic, classic=classic)


def without_options(tag: int, vr: str, basic: str, *, classic: bool) -> Action:
    """Return what the Basic Profile does to an attribute: what keeps the instance conformant, where there is a choice.

    Parameters
    ----------
    tag, vr
        Of the attribute.
    basic
        The table's codes; empty where it has none.
    classic
        See `action_for`.
    """
    if not basic:
        if vr == "PN":
            return Action.EMPTY
        if vr == "UI":
            return Action.KEEP if tag in CLASSES else Action.UID
        return Action.KEEP
    if basic == "X/Z/U*":
        return Action.UID
    choices = basic.split("/")
    if tag == _ACQUISITION_CONTEXT:
        return Action.EMPTY
    return _BY_CODE[choices[0] if classic else choices[-1]]


def is_classic(sop_class: str, modality: str) -> bool:
    """Whether the types of an image's attributes let the first of several actions be taken.

    Intravascular ultrasound, a modality of its own in ultrasound's SOP classes, needs Acquisition DateTime (PS3.3 C.8.5.6).
    """
    return sop_class in _CLASSIC and modality != "IVUS"
