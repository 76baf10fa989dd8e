"""What is asked of a de-identification: the Basic Profile and its options (PS3.15 Annex E), by the codes of CID 7050."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cinemill.errors import UsageError

BASIC = ("113100", "Basic Application Confidentiality Profile")

PIXELS, FEATURES, GRAPHICS = "clean-pixel-data", "clean-recognizable-visual-features", "clean-graphics"
STRUCTURED, DESCRIPTORS = "clean-structured-content", "clean-descriptors"
FULL_DATES, MODIFIED_DATES = "retain-longitudinal-full", "retain-longitudinal-modified"
PATIENT, DEVICE, UIDS = "retain-patient-characteristics", "retain-device-identity", "retain-uids"
SAFE_PRIVATE, INSTITUTION = "retain-safe-private", "retain-institution-identity"

CODES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        PIXELS: ("113101", "Clean Pixel Data Option"),
        FEATURES: ("113102", "Clean Recognizable Visual Features Option"),
        GRAPHICS: ("113103", "Clean Graphics Option"),
        STRUCTURED: ("113104", "Clean Structured Content Option"),
        DESCRIPTORS: ("113105", "Clean Descriptors Option"),
        FULL_DATES: ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
        MODIFIED_DATES: ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
        PATIENT: ("113108", "Retain Patient Characteristics Option"),
        DEVICE: ("113109", "Retain Device Identity Option"),
        UIDS: ("113110", "Retain UIDs Option"),
        SAFE_PRIVATE: ("113111", "Retain Safe Private Option"),
        INSTITUTION: ("113112", "Retain Institution Identity Option"),
    }
)
"""Code value and meaning of each option (PS3.16 CID 7050)."""

NAMES = tuple(CODES)


@dataclass(frozen=True, slots=True)
class Profile:
    """The Basic Profile with some options.

    Attributes
    ----------
    options
        Names out of `CODES`.
    """

    options: frozenset[str] = frozenset()

    def __contains__(self, option: str) -> bool:
        return option in self.options

    @property
    def text(self) -> str:
        """The profile and its options in a line."""
        return ", ".join(("basic", *(name for name in NAMES if name in self.options)))

    @property
    def dates(self) -> str:
        """What becomes of dates and times, as Longitudinal Temporal Information Modified says it (PS3.3 C.12.1)."""
        if FULL_DATES in self.options:
            return "UNMODIFIED"
        return "MODIFIED" if MODIFIED_DATES in self.options else "REMOVED"


def read_profile(profile: str, options: str) -> Profile:
    """Return the profile that was asked for.

    Parameters
    ----------
    profile
        ``basic``: the only one there is.
    options
        Names with commas between.

    Raises
    ------
    UsageError
        An option is unknown, or some exclude each other.
    """
    if profile != "basic":
        raise UsageError(f"unknown profile {profile!r}; expected basic (PS3.15 Annex E has no other)")
    names = [name.strip() for name in options.split(",") if name.strip()]
    for name in names:
        if name not in CODES:
            raise UsageError(f"unknown option {name!r}; choose among {', '.join(NAMES)}")
    if {FULL_DATES, MODIFIED_DATES} <= set(names):
        raise UsageError(f"{FULL_DATES} and {MODIFIED_DATES} exclude each other; choose one")
    return Profile(frozenset(names))
