"""What is done to each attribute (PS3.15 Table E.1-1): the Basic Profile's column from a package, those of the options from here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from types import MappingProxyType
from typing import NamedTuple

from cinemill.errors import UsageError, not_installed
from cinemill.operations.deidentify import profile as options

_PACKAGE = "dicomanonymizer.dicom_anonymization_databases"
_EDITION = re.compile(r"dicomfields_(\d{4})([a-z]?)")

_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "D_TAGS": "D",
        "Z_TAGS": "Z",
        "X_TAGS": "X",
        "U_TAGS": "U",
        "Z_D_TAGS": "Z/D",
        "X_Z_TAGS": "X/Z",
        "X_D_TAGS": "X/D",
        "X_Z_D_TAGS": "X/Z/D",
        "X_Z_U_STAR_TAGS": "X/Z/U*",
    }
)

_BESIDES: Mapping[int, str] = MappingProxyType(
    {
        0xFFFCFFFC: "X",  # Data Set Trailing Padding: any bytes (PS3.10 §7.2)
        0x00080300: "X",  # Private Data Element Characteristics: of elements that are not there (PS3.15 E.3.10)
        0x00080404: "X",  # dates and times that the table does not name, by E.3.6
        0x00080416: "X",
        0x0008041F: "X",
        0x00140102: "X",
        0x00140103: "X",
        0x00141020: "X",
        0x00144076: "X",
        0x00144078: "X",
        0x0014407A: "X",
        0x00143076: "X",
        0x00143077: "X",
        0x40101025: "X",
        0x40101026: "X",
        0x4010102B: "X",
        0x40101041: "X",
        0x00700082: "X/D",  # Presentation Creation Date and Time: of type 1 in presentation states (PS3.3 C.11.10)
        0x00700083: "X/D",
        0x0040A160: "D",  # Text Value: what E.3.4 says of Content Sequence holds wherever content items stand
        0x00081110: "X",  # Referenced Study Sequence: of type 3, and then not empty (PS3.3 C.7.2.1)
        0x00140104: "X",  # names of persons that the table does not name
        0x00142006: "X",
        0x0040A067: "X",
        0x0040A068: "X",  # and codes of persons
        0x0040A076: "X",
        0x0074100A: "X",  # Contact URI and Display Name
        0x0074100C: "X",
        0x21000160: "X",  # Owner ID
        0x00720008: "D",  # Hanging Protocol Creator: of type 1; its users, of type 2; and their group (PS3.3 C.23.1)
        0x0072000E: "Z",
        0x00720010: "X",
        0x00100024: "X",  # Issuer of Patient ID Qualifiers Sequence: tells the hospital, as Issuer of Patient ID does
        0x00080051: "X",  # Issuer of Accession Number, of orders and of whatever else has a number, for the same reason
        0x00400026: "X",
        0x00400027: "X",
        0x00400036: "X",
        0x00400039: "X",
        0x0040003A: "X",
        0x00401006: "X",  # retired numbers of orders, whose successors the table names
        0x00401007: "X",
        0x00402006: "X",
        0x00402007: "X",
        0x00201020: "X",  # retired texts and numbers that say whose image it is, such as Reference
        0x00201070: "X",
        0x00205002: "X",
        0x0040E001: "D",  # HL7 Instance Identifier: of type 1, and as good as the UID of a document (PS3.3 C.17.2.6)
        0x00100033: "X",  # Patient's Birth and Death Date in Alternative Calendar, and which it is
        0x00100034: "X",
        0x00100035: "X",
        0x00080407: "X",  # addresses where instances are kept, which have their UIDs in them
        0x00080408: "X",
        0x00080409: "X",
        0x00081190: "X",
        0x00287FE0: "X",
        0x00404073: "X",
        0x0040A992: "X",
        0x0040E010: "X",
    }
)
"""What Table E.1-1 lacks, or says so that no instance could keep to it, by the sections cited."""


def _tags(text: str) -> frozenset[int]:
    return frozenset(int(tag, 16) for tag in text.split())


_DEVICE = _tags(
    """
    00081010 0014407C 0014407E 0016004E 0016004F 00160050 00160051 00181000 00181002 00181004 00181005
    00181007 00181008 00181009 0018100A 0018100B 00181200 00181201 00181202 00181203 00181204 00181205
    00185011 0018700A 0018700C 0018700E 00189367 00189371 00189373 00203401 00321020 00400010 00400011
    00400242 00404025 00404027 00404028 00404030 00500020 04000563 30080105 300A00B2 300A0216 300C0127
    3010002D 30100043
    """
)
_DEVICE_CLEANED = _tags(
    """
    00080054 00080055 00081000 00321021 00400001 00400241 0072005E 00741234 00741236 21000070 21000140
    """
)
_INSTITUTION = _tags(
    """
    00080080 00080081 00080082 00081040 00081041 00120030 00120031 00120060 00120081 04000564
    """
)
_PATIENT = _tags("00100040 00101010 00101020 00101030 00102160 001021A0 001021C0 00102203 0072005F")
_PATIENT_CLEANED = _tags("00102110 00380050 00380500 00400012")
_DESCRIPTORS = _tags(
    """
    00081030 0008103E 00081080 00081084 00081088 00082111 00084000 00102000 00102110 00102180 001021B0
    00104000 00120051 00120072 0016002B 0016004B 00180010 00181030 001811BB 00181400 00184000 00189185
    0018937B 0018937F 00189424 00189937 0018A003 00200027 00204000 00209158 00321030 00321060 00321066
    00321067 00321070 00324000 00380040 00380062 00380500 00384000 003A0329 003A032B 00400007 00400254
    00400275 00400280 00400310 0040051A 00400600 00400602 00401002 0040100A 00401400 00402001 00402400
    00500021 006A0005 006A0006 00720066 00720068 0072006C 0072006E 00720070 04000565 22000002 30020121
    30020123 30060002 30060004 30060006 30060026 30060028 30060038 30060085 30060088 300A0002 300A0003
    300A0004 300A000B 300A000E 300A0016 300A0072 300A00C3 300A00DD 300A0196 300A01A6 300A01B2 300A02EB
    300A0608 300A0619 300A0623 300A062A 300A0676 300A067C 300A067D 300A0734 300A0742 300A0783 300A078E
    300A0792 300A0794 300A079A 300C0113 3010000F 30100017 30100033 30100034 30100035 30100036 30100037
    30100038 30100054 30100056 3010005A 3010005C 30100061 30100077 3010007A 3010007B 3010007F 30100081
    4008010B 40080115 40080300 40084000
    """
)
_STRUCTURED = _tags("00400555 00400610 0040A730")
_UIDS_BESIDES = _tags("006A0003 00081110 00081111 00081120 00081140 00082112")
"""Attributes retained with UIDs whose action in the Basic Profile is not U; sequences are gone through."""

_UIDS_NOT = _tags("04000100 0040A124")
"""Attributes replaced in the Basic Profile that the option does not name."""

_NO_DATES = _tags("00100030 00100032 00160077")
"""Dates and times of the table that no option retains."""

_DATES_BESIDES = _tags("00080201 00340007 04000310")
"""Time zone and time stamps, which are retained with full dates; nothing can shift them."""

CLASSES = _tags(
    """
    00020002 00020010 00020012 00020032 00041510 00041512 0004151A 00080016 0008001A 0008001B 00080062 0008010C
    0008010D 00080117 00080118 0008040E 00081150 0008115A 00083002 00340003 04000010 04000510 30100052 30100053
    """
)
"""UIDs that name kinds, not things: SOP classes, transfer syntaxes, coding schemes, context groups."""

_CURVE, _OVERLAY = 0x50000000, 0x60000000
_REPEATS = 0xFF000000


class Columns(NamedTuple):
    """What the table says of one attribute: its action in the Basic Profile, and what the chosen options make of it.

    Attributes
    ----------
    basic
        One or more of D, Z, X, U, with slashes; empty where the table has no row.
    retained
        ``K``, ``C`` or ``U`` by an option that was chosen; empty where none concerns it.
    """

    basic: str
    retained: str


@cache
def edition() -> str:
    """Return the edition of the standard that the installed table is of, as ``2026c``.

    Raises
    ------
    UsageError
        The package that carries it is missing.
    """
    if find_spec("dicomanonymizer") is None:
        raise UsageError(
            not_installed("deidentify", "dicom-anonymizer, which carries the table of PS3.15", "deid")
        )
    found = [_EDITION.fullmatch(each.name) for each in iter_modules(import_module(_PACKAGE).__path__)]
    named = sorted(each.groups() for each in found if each)
    if not named:
        raise UsageError(
            "the package dicom-anonymizer that is installed has no table; install version 2.1 or later"
        )
    return "".join(named[-1])


@cache
def basic_profile() -> Mapping[int, str]:
    """Return the Basic Profile's column of Table E.1-1 by tag; curves and overlays are not in it.

    Raises
    ------
    UsageError
        The package that carries it is missing, or has another form.
    """
    table = import_module(f"{_PACKAGE}.dicomfields_{edition()}")
    rows: dict[int, str] = {}
    for name, action in _COLUMNS.items():
        for tag in getattr(table, name, ()):
            if len(tag) == 2:
                rows[tag[0] << 16 | tag[1]] = action
    rows |= _BESIDES
    if len(rows) < 600:
        raise UsageError(
            f"the table of dicom-anonymizer has {len(rows)} rows, expected 600 or more; install version 2.1"
        )
    return MappingProxyType(rows)


def columns(tag: int, vr: str, chosen: options.Profile) -> Columns:
    """Return what the table says of an attribute.

    Parameters
    ----------
    tag
        Of the attribute.
    vr
        Its value representation.
    chosen
        The options.
    """
    group = tag & _REPEATS
    if group in {_CURVE, _OVERLAY} and not tag & 0x00010000:
        return Columns("X", "")  # what can't be looked at is not cleaned: it goes as a whole
    basic = basic_profile().get(tag, "")
    return Columns(basic, _retained(tag, vr, basic, chosen))


def _retained(tag: int, vr: str, basic: str, chosen: options.Profile) -> str:
    """Return what the options make of an attribute: cleaning goes before retaining."""
    if tag in _cleaned(chosen):
        return "C"
    dated = vr in {"DA", "TM", "DT"} and basic and tag not in _NO_DATES
    if options.FULL_DATES in chosen and (dated or tag in _DATES_BESIDES):
        return "K"
    if dated and options.MODIFIED_DATES in chosen:
        return "C"
    if options.UIDS in chosen and (tag in _UIDS_BESIDES or (basic == "U" and tag not in _UIDS_NOT)):
        return "K"
    return "K" if tag in _kept(chosen) else ""


@cache
def _cleaned(chosen: options.Profile) -> frozenset[int]:
    return frozenset[int]().union(*(tags for name, tags in _CLEANING if name in chosen))


@cache
def _kept(chosen: options.Profile) -> frozenset[int]:
    return frozenset[int]().union(*(tags for name, tags in _KEEPING if name in chosen))


_CLEANING = (
    (options.DESCRIPTORS, _DESCRIPTORS),
    (options.STRUCTURED, _STRUCTURED),
    (options.GRAPHICS, _tags("00700001")),
    (options.DEVICE, _DEVICE_CLEANED),
    (options.PATIENT, _PATIENT_CLEANED),
)
_KEEPING = ((options.DEVICE, _DEVICE), (options.INSTITUTION, _INSTITUTION), (options.PATIENT, _PATIENT))
