"""Data sets as DICOM JSON (PS3.18 Annex F); numbers that are none are given as null, so that the others can be read."""

from __future__ import annotations

import base64
import math
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from pydicom.datadict import keyword_dict
from pydicom.multival import MultiValue

from cinemill.errors import DamagedFile

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

Attributes: TypeAlias = "dict[str, dict[str, Any]]"
"""By tags of eight digits."""

_BINARY = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
_INTEGERS = frozenset(("IS", "SL", "SS", "SV", "UL", "US", "UV"))
_REALS = frozenset(("DS", "FL", "FD"))
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_CHARACTER_SET, _UTF_8 = "00080005", "ISO_IR 192"
_LARGE = 1 << 10
"""Bytes from which a value is fetched by itself."""


def attributes_of(dataset: Dataset, bulk: Callable[[int], str] | None = None) -> Attributes:
    """Return the elements of a data set.

    Parameters
    ----------
    dataset
        Its elements may be such as can't be read: these are left out.
    bulk
        Gives the address from which a large binary value is fetched, by its tag; where it is missing, and in
        sequences, values stand in the result.

    Raises
    ------
    DamagedFile
        Sequences are nested too deeply.
    """
    with warnings.catch_warnings(action="ignore"):
        try:
            found = _attributes(dataset, bulk)
        except RecursionError:
            raise DamagedFile("sequences are nested too deeply") from None
    if _CHARACTER_SET in found:
        found[_CHARACTER_SET] = attribute("CS", _UTF_8)
    return found


def attribute(vr: str, *values: object) -> dict[str, Any]:
    """Return an attribute of its values, or without any."""
    return {"vr": vr, "Value": [*values]} if values else {"vr": vr}


def tag_of(keyword: str) -> str:
    """Return the name of an attribute in JSON."""
    return f"{keyword_dict[keyword]:08X}"


def _attributes(dataset: Dataset, bulk: Callable[[int], str] | None) -> Attributes:
    found = {}
    for tag in sorted(dataset.keys()):
        try:
            element = dataset[tag]
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001, S112  # pydicom has no family of errors
            continue
        if tag.element:  # group lengths say nothing here
            found[f"{tag:08X}"] = _element(element, bulk)
    return found


def _element(element: DataElement, bulk: Callable[[int], str] | None) -> dict[str, Any]:
    vr, value = str(element.VR).partition(" or ")[0], element.value
    if vr == "SQ":
        return {"vr": vr, "Value": [_attributes(item, None) for item in value]} if value else {"vr": vr}
    if value is None or value == "" or (isinstance(value, Iterable) and not value):
        return {"vr": vr}
    if isinstance(value, bytes):
        if bulk is not None and len(value) >= _LARGE:
            return {"vr": vr, "BulkDataURI": bulk(element.tag)}
        kept = vr if vr in _BINARY else "UN"
        return {"vr": kept, "InlineBinary": base64.b64encode(value).decode()}
    several = value if isinstance(value, MultiValue | list) else [value]
    return {"vr": vr, "Value": [_value(each, vr) for each in several]}


def _value(value: Any, vr: str) -> Any:
    if value is None or value == "":
        return None
    if vr == "PN":
        groups = zip(_GROUPS, str(value).split("="), strict=False)
        return {name: group for name, group in groups if group}
    if vr == "AT":
        return f"{int(value):08X}"
    if vr in _INTEGERS or vr in _REALS:
        return _number(value, vr)
    return str(value)


def _number(value: Any, vr: str) -> int | float | str | None:
    """Return a number; None for what is none; infinity, which JSON lacks, as text (PS3.18 F.2.2)."""
    try:
        number = int(value) if vr in _INTEGERS else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else str(number)
