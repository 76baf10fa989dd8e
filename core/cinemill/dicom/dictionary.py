"""The data dictionary of DICOM (PS3.6), as the installed pydicom has it: its tables alone, for the package takes long to import."""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from cinemill.dicom.elements import tag_name
from cinemill.syntaxes import TRANSFER_SYNTAXES

_Entry = tuple[str, str, str, str, str]

_NEWER_SYNTAXES = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}
"""Names of transfer syntaxes that pydicom may lack."""


def find_vr(tag: int) -> str | None:
    """Return the VR of a standard element, such as ``US`` or ``US or SS``; None where the dictionary lacks it."""
    entry = _entry(tag)
    return None if entry is None else entry[0]


def find_private_vr(tag: int, creator: str) -> str | None:
    """Return the VR of a private element, None where the dictionary lacks it."""
    elements = _table("_private_dict").private_dictionaries.get(creator, {})
    group, element = f"{tag >> 16:04X}", f"{tag & 0xFFFF:04X}"
    keys = group + element, f"{group}xx{element[2:]}", f"{group[:2]}xxxx{element[2:]}"
    return next((elements[key][0] for key in keys if key in elements), None)


def find_name(tag: int) -> str:
    """Return what a standard element is called, such as ``Patient's Name``; empty where the dictionary lacks it."""
    entry = _entry(tag)
    return "" if entry is None else entry[2]


def named(tag: int) -> str:
    """Write an element as people do, such as ``Rows (0028,0010)``: its tag alone where the dictionary lacks it."""
    return f"{find_name(tag)} {tag_name(tag)}".lstrip()


def find_keyword(tag: int) -> str:
    """Return the keyword of a standard element, such as ``PatientName``; empty where the dictionary lacks it."""
    entry = _entry(tag)
    return "" if entry is None else entry[4]


def keywords() -> frozenset[str]:
    """Return all keywords."""
    return frozenset(entry[4] for entry in _table("_dicom_dict").DicomDictionary.values() if entry[4])


def uid_names(uid: str) -> tuple[str, str]:
    """Return the name of a UID (PS3.6 Annex A), itself where it is unknown, and its keyword."""
    entry = _table("_uid_dict").UID_dictionary.get(uid)
    if entry is not None:
        return entry[0], entry[4]
    return (_NEWER_SYNTAXES[uid], TRANSFER_SYNTAXES[uid].keyword) if uid in _NEWER_SYNTAXES else (uid, "")


def _entry(tag: int) -> _Entry | None:
    table = _table("_dicom_dict")
    entry: _Entry | None = table.DicomDictionary.get(tag)
    if entry is None and not tag >> 16 & 1:
        for (bits, mask), repeated in _repeaters(table).items():
            if (tag ^ bits) & mask == 0:
                return repeated
    return entry


@cache
def _repeaters(table: Any) -> dict[tuple[int, int], _Entry]:
    """Return the elements of repeating groups, such as 60xx, by the bits of their tags, and which of these count."""
    return {
        (
            int(tag.replace("x", "0"), 16),
            int("".join("0" if digit == "x" else "F" for digit in tag), 16),
        ): entry
        for tag, entry in table.RepeatersDictionary.items()
    }


def _table(name: str) -> Any:
    """Return a module of pydicom that holds a table: its own where it is imported, for entries may have been added."""
    return sys.modules.get(f"pydicom.{name}") or _load(name)


@cache
def _load(name: str) -> Any:
    package = find_spec("pydicom")
    assert package is not None
    assert package.origin is not None
    spec = spec_from_file_location(f"{__name__}.{name}", Path(package.origin).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    table = module_from_spec(spec)
    spec.loader.exec_module(table)
    return table
