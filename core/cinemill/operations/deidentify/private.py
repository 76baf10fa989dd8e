"""Private attributes that are safe to retain (PS3.15 Table E.3.10-1), as far as ultrasound and what lies beside it have them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


def _elements(text: str) -> frozenset[int]:
    found: set[int] = set()
    for each in text.split():
        first, _, last = each.partition("-")
        found.update(range(int(first, 16), int(last or first, 16) + 1))
    return frozenset(found)


SAFE: Mapping[tuple[str, int], frozenset[int]] = MappingProxyType(
    {
        ("ELSCINT1", 0x00E1): _elements("21 50"),
        ("ELSCINT1", 0x01E1): _elements("26"),
        ("ELSCINT1", 0x01F1): _elements("01 07 26-27"),
        ("GEMS_ACQU_01", 0x0019): _elements("23-24 27 9E"),
        ("GEMS_HELIOS_01", 0x0045): _elements("01-02"),
        ("GEMS_PARM_01", 0x0043): _elements("27 6F"),
        ("GEMS_SERS_01", 0x0025): _elements("07"),
        ("Philips MR Imaging DD 001", 0x2005): _elements("0D-0E"),
        ("Philips PET Private Group", 0x7053): _elements("00 09"),
        ("Philips US Imaging DD 023", 0x200D): _elements("45"),
        ("Philips US Imaging DD 033", 0x200D): _elements("00-08 0D 0F-11 14 21"),
        ("Philips US Imaging DD 034", 0x200D): _elements("01-05 08-14 17-18 1B-28"),
        ("Philips US Imaging DD 035", 0x200D): _elements("01 03-04 07-0A 0C-0D"),
        ("Philips US Imaging DD 036", 0x200D): _elements("15-19 20"),
        ("Philips US Imaging DD 038", 0x200D): _elements("01-04"),
        ("Philips US Imaging DD 039", 0x200D): _elements("01-0D 15"),
        ("Philips US Imaging DD 040", 0x200D): _elements("01-07 20"),
        ("Philips US Imaging DD 042", 0x200D): _elements("15-16 20 30-31 40 50-60 70-78 8C"),
        ("Philips US Imaging DD 045", 0x200D): _elements("F1 F3-F6 F8 FA-FB"),
        ("Philips US Imaging DD 046", 0x200D): _elements("17"),
        ("Philips US Imaging DD 048", 0x200D): _elements("01"),
        ("Philips US Imaging DD 065", 0x200D): _elements("07"),
        ("Philips US Imaging DD 066", 0x200D): _elements("00-01 03-04"),
        ("SIEMENS Ultrasound SC2000", 0x0119): _elements("00-09 10-13 21"),
        ("SIEMENS Ultrasound SC2000", 0x0129): _elements("00 02-09 10-12 20-22 29 30"),
        ("SIEMENS Ultrasound SC2000", 0x0139): _elements("01"),
        ("SIEMENS Ultrasound SC2000", 0x0149): _elements("01-03"),
        ("SIEMENS Ultrasound SC2000", 0x7FD1): _elements("01 09 10-11"),
    }
)
"""By private creator and group: the lower byte of the element."""

_CREATORS = range(0x10, 0x100)


def is_creator(tag: int) -> bool:
    """Whether a tag is that of a private creator (PS3.5 §7.8.1)."""
    return bool(tag >> 16 & 1) and (tag & 0xFFFF) in _CREATORS


def block_of(tag: int) -> int:
    """Return the group and block of a private element or of a creator, by which the one belongs to the other."""
    return (tag >> 16) << 8 | (tag & 0xFF) if is_creator(tag) else tag >> 8


def is_safe(tag: int, creator: str) -> bool:
    """Whether a private element is on the standard's list.

    Parameters
    ----------
    tag
        Of the element.
    creator
        Who reserved its block.
    """
    return (tag & 0xFF) in SAFE.get((creator, tag >> 16), ())
