"""What a header does to grey samples before they are shown: modality and VOI transformations (PS3.3 C.11.1, C.11.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cinemill.errors import NotInFile

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

    from cinemill.dicom.source import Source

    Values: TypeAlias = NDArray[Any]

Transformations: TypeAlias = Mapping[str, Any]
"""The attributes of a header that change samples for display, by keyword."""

_NUMBERS = {
    0x00281053: "RescaleSlope",
    0x00281052: "RescaleIntercept",
    0x00281050: "WindowCenter",
    0x00281051: "WindowWidth",
}
_FUNCTION = 0x00281056
_NESTED = (0x00283000, 0x00283010, 0x52009229, 0x52009230)
"""Lookup tables and functional groups."""

_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(E[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def plain_transformations(source: Source) -> dict[str, Any] | None:
    """Return the transformations of a header, read without pydicom; None where they are more than a few numbers."""
    if any(source.element(tag) is not None for tag in _NESTED):
        return None
    found: dict[str, Any] = {}
    for tag, name in _NUMBERS.items():
        element, text = source.element(tag), source.text(tag)
        if element is None or not text:
            continue
        parts = [part.strip() for part in text.split("\\")]
        if element.vr not in {None, b"DS"} or not all(map(_DECIMAL.fullmatch, parts)):
            return None
        found[name] = float(parts[0]) if len(parts) == 1 else list(map(float, parts))
    function = source.element(_FUNCTION)
    if function is not None:
        found["VOILUTFunction"] = text = source.text(_FUNCTION)
        if function.vr not in {None, b"CS"} or "\\" in text:
            return None
    return found


def told_modality(found: Transformations) -> str:
    """Return ``lut``, ``rescale`` with slope and intercept, or ``none``."""
    if found.get("ModalityLUTSequence"):
        return "lut"
    if "RescaleSlope" in found and "RescaleIntercept" in found:
        return f"rescale {float(found['RescaleSlope']):g} {float(found['RescaleIntercept']):g}"
    return "none"


def told_voi(found: Transformations, chosen: int | None) -> tuple[str, list[list[float]] | None]:
    """Return ``lut``, ``window`` or ``none``, and the centres and widths of windows.

    Where PS3.3 C.11.2.1 forbids the chosen window, there is none.
    """
    if found.get("VOILUTSequence"):
        return "lut", None
    if "WindowCenter" in found and "WindowWidth" in found:
        values = found["WindowCenter"], found["WindowWidth"]
        columns = (list(each) if isinstance(each, Sequence) else [each] for each in values)
        windows = [[float(centre), float(width)] for centre, width in zip(*columns, strict=False)]
        smallest = 1 if _voi_function(found) == "LINEAR" else 1e-9
        usable = all(width >= smallest for _, width in windows[chosen or 0 :][:1])
        if usable and np.isfinite(windows).all():
            return "window", windows
    return "none", None


def _voi_function(found: Transformations) -> str:
    return str(found.get("VOILUTFunction") or "LINEAR").upper()


def applied(values: Values, found: Transformations, voi: int | None, low: float, high: float) -> Values:
    """Apply modality LUT or rescale, then VOI LUT or window (PS3.3 C.11.1, C.11.2).

    Parameters
    ----------
    values
        As they are stored.
    found
        What is applied.
    voi
        Which of several VOI LUTs or windows, None for the first.
    low, high
        The values that a window gives.

    Raises
    ------
    NotInFile
        There is no such alternative.
    """
    function, windows = told_voi(found, voi)
    if voi is not None:
        there = len(found["VOILUTSequence"]) if function == "lut" else len(windows or ())
        if voi not in range(there):
            held = f"0 to {there - 1}" if there else "none"
            raise NotInFile(f"--voi {voi} is out of range; this image has {held}")
    values = rescaled(values, found)
    if function == "lut":
        return _look_up(np.rint(values), *lookup_table(found["VOILUTSequence"][voi or 0], "LUT"))
    if windows:
        centre, width = windows[voi or 0]
        return _windowed(values.astype(np.float64), _voi_function(found), centre, width, low, high)
    return values


def _windowed(values: Values, kind: str, centre: float, width: float, low: float, high: float) -> Values:
    """Apply a window (PS3.3 C.11.2.1.2, C.11.2.1.3)."""
    if kind == "SIGMOID":
        sigmoid: Values = (high - low) / (1 + np.exp(-4 * (values - centre) / width)) + low
        return sigmoid
    if kind not in {"LINEAR", "LINEAR_EXACT"}:
        raise ValueError(f"VOI LUT Function (0028,1056) is {kind!r}")
    if kind == "LINEAR":
        centre, width = centre - 0.5, width - 1
    below, above = values <= centre - width / 2, values > centre + width / 2
    between = ~(below | above)
    values[below], values[above] = low, high
    values[between] = ((values[between] - centre) / width + 0.5) * (high - low) + low
    return values


def rescaled(values: Values, found: Transformations) -> Values:
    """Apply modality LUT or rescale (PS3.3 C.11.1)."""
    if found.get("ModalityLUTSequence"):
        return _look_up(values, *lookup_table(found["ModalityLUTSequence"][0], "LUT"))
    if "RescaleSlope" in found and "RescaleIntercept" in found:
        return values * float(found["RescaleSlope"]) + float(found["RescaleIntercept"])
    return values


def lookup_table(item: Dataset, name: str) -> tuple[int, Values]:
    """Return the first value that a lookup table maps, and its entries: 8-bit ones may share a word."""
    entries, first, bits = item[f"{name}Descriptor"].value
    data = item[f"{name}Data"].value
    if not isinstance(data, bytes):
        data = np.atleast_1d(np.array(data, "<u2")).tobytes()
    entries = entries & 0xFFFF or 1 << 16
    packed = bits <= 8 and len(data) < 2 * entries
    whole = data if packed else data[: len(data) // 2 * 2]
    table = np.frombuffer(whole, np.uint8 if packed else "<u2")[:entries]
    if len(table) < entries:
        raise ValueError(f"{name} promises {entries} entries, {len(table)} are there")
    return first, table.astype(np.uint16)


def _look_up(values: Values, first: int, table: Values) -> Values:
    """Map values by a table; those before it take its first entry, those behind it the last.

    Where values may be negative, a first one past 32767 is a negative one that was written as unsigned.
    """
    if first > 0x7FFF and values.min() < 0:
        first -= 1 << 16
    mapped: Values = table[np.clip(values.astype(np.int64) - first, 0, len(table) - 1)]
    return mapped
