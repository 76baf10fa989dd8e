"""What the standard says of SOP classes: their modalities, whether they have frames, and how they are oriented (PS3.3 Annex A)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cinemill.dicom.sop_classes import STORAGE


@dataclass(frozen=True, slots=True)
class SopClass:
    """One SOP class.

    Attributes
    ----------
    modalities
        That its instances may have; empty for any.
    frames
        Whether its IOD has the Multi-frame Module: ``never``, ``may`` or ``always``.
    grouped
        Whether it has functional groups.
    orientation
        What must tell it: ``patient`` (Patient Orientation), ``plane`` (Image Plane), ``groups`` (Plane Orientation), or
        nothing.
    grey
        Whether its photometric interpretation is MONOCHROME1 or MONOCHROME2.
    retired
        Whether the class is.
    pixels
        Whether its instances have Pixel Data.
    """

    modalities: frozenset[str]
    frames: str = "never"
    grouped: bool = False
    orientation: str = ""
    grey: bool = False
    retired: bool = False
    pixels: bool = True


def _class(modalities: str, frames: str = "never", **more: str | bool) -> SopClass:
    return SopClass(frozenset(modalities.split()), frames, **more)  # type: ignore[arg-type]


_ROWS = {
    "1": _class("CR", grey=True),
    "1.1": _class("DX PX", orientation="patient", grey=True),
    "1.1.1": _class("DX PX", orientation="patient", grey=True),
    "1.2": _class("MG", orientation="patient", grey=True),
    "1.2.1": _class("MG", orientation="patient", grey=True),
    "1.3": _class("IO PX", orientation="patient", grey=True),
    "1.3.1": _class("IO PX", orientation="patient", grey=True),
    "2": _class("CT", orientation="plane", grey=True),
    "2.1": _class("CT", "always", grouped=True, orientation="groups", grey=True),
    "2.2": _class("CT", "always", grouped=True, grey=True),
    "3": _class("US IVUS", "always", retired=True),
    "3.1": _class("US IVUS", "always"),
    "4": _class("MR", orientation="plane", grey=True),
    "4.1": _class("MR", "always", grouped=True, orientation="groups"),
    "4.3": _class("MR", "always", grouped=True, orientation="groups"),
    "4.4": _class("MR", "always", grouped=True, grey=True),
    "6": _class("US IVUS", retired=True),
    "6.1": _class("US IVUS"),
    "6.2": _class("US IVUS", "always", grouped=True),
    "7": _class(""),
    "7.1": _class("", "always"),
    "7.2": _class("", "always"),
    "7.3": _class("", "always"),
    "7.4": _class("", "always"),
    "11.1": _class("PR", pixels=False),
    "11.2": _class("PR", pixels=False),
    "12.1": _class("XA", "may", grey=True),
    "12.1.1": _class("XA", "always", grouped=True, grey=True),
    "12.2": _class("RF", "may", grey=True),
    "12.2.1": _class("RF", "always", grouped=True, grey=True),
    "20": _class("NM", "always"),
    "66.4": _class("SEG", "always", grouped=True),
    "77.1.1": _class("ES"),
    "77.1.1.1": _class("ES", "always"),
    "77.1.2": _class("GM"),
    "77.1.2.1": _class("GM", "always"),
    "77.1.3": _class("SM"),
    "77.1.4": _class("XC"),
    "77.1.4.1": _class("XC", "always"),
    "77.1.5.1": _class("OP", "may"),
    "77.1.5.2": _class("OP", "may"),
    "77.1.5.4": _class("OPT", "always", grouped=True),
    "77.1.6": _class("SM", "always", grouped=True),
    "88.11": _class("SR", pixels=False),
    "88.22": _class("SR", pixels=False),
    "88.33": _class("SR", pixels=False),
    "88.34": _class("SR", pixels=False),
    "88.59": _class("KO", pixels=False),
    "128": _class("PT", orientation="plane", grey=True),
    "130": _class("PT", "always", grouped=True, orientation="groups", grey=True),
    "481.1": _class("RTIMAGE", "may", grey=True),
    "481.2": _class("RTDOSE", "may", grey=True, pixels=False),
    "481.3": _class("RTSTRUCT", pixels=False),
    "481.5": _class("RTPLAN", pixels=False),
    "481.8": _class("RTPLAN", pixels=False),
}

CLASSES: Mapping[str, SopClass] = MappingProxyType({STORAGE + uid: row for uid, row in _ROWS.items()})
"""SOP classes by UID: those of images that are met among ultrasound, and of what refers to them."""
