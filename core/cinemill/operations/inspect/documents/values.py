"""Reads values of data sets that hold anything: what can't be read is absent."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from cinemill.operations.inspect.model import Code

_CODE_VALUES = 0x00080100, 0x00080119, 0x00080120
"""Code Value, Long Code Value, URN Code Value: each code has one of them (PS3.3 Table 8.8-1)."""
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from saying what is wrong with values: it is found where they are read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def value_of(dataset: Dataset, tag: int) -> Any:
    """Return an element's value as pydicom reads it, None where it is absent, empty, or can't be read."""
    try:
        value = dataset[tag].value if tag in dataset else None
    except Exception:  # noqa: BLE001  # pydicom has no family of errors
        return None
    return None if value is None or (isinstance(value, str | bytes) and not value) else value


def text_of(dataset: Dataset, tag: int) -> str:
    """Return an element's first value as text, padding stripped; empty where there is none."""
    value = value_of(dataset, tag)
    return "" if isinstance(value, Sequence) else str(next(iter(_each(value)), "")).strip(" \0")


def values_of(dataset: Dataset, tag: int) -> list[Any]:
    """Return all values of an element; none where there is none, or it can't be read."""
    return _each(value_of(dataset, tag))


def items_of(dataset: Dataset, tag: int) -> list[Dataset]:
    """Return the items of a sequence; none where it is absent or is no sequence."""
    value = value_of(dataset, tag)
    return list(value) if isinstance(value, Sequence) else []


def integers_of(dataset: Dataset, tag: int) -> tuple[int, ...]:
    """Return an element's values that are whole numbers."""
    found = []
    for each in values_of(dataset, tag):
        try:
            found.append(int(each))
        except (TypeError, ValueError, OverflowError):
            continue
    return tuple(found)


def floats_of(dataset: Dataset, tag: int) -> tuple[float, ...]:
    """Return an element's values that are finite numbers."""
    found = []
    for each in values_of(dataset, tag):
        try:
            found.append(float(each))
        except (TypeError, ValueError, OverflowError):
            continue
    return tuple(number for number in found if math.isfinite(number))


def _each(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, MultiValue | list) else [value]


def stored_text(dataset: Dataset, tag: int) -> str:
    """Return a value of the default repertoire as it stands in the file, outer padding stripped."""
    if tag not in dataset:
        return ""
    element: Any = dataset.get_item(tag)  # as it was read, or as it was made
    if isinstance(element, RawDataElement):
        return (element.value or b"").decode("latin-1").strip(" \0")
    return "\\".join(str(getattr(each, "original_string", each)) for each in _each(element.value)).strip(
        " \0"
    )


def decimal(text: str) -> float | None:
    """Return the number that a Decimal String holds, None where it holds none, or several (PS3.5 §6.2)."""
    if not _DECIMAL.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def code_of(dataset: Dataset, tag: int) -> Code | None:
    """Return the code in a code sequence's first item, None where there is none."""
    for item in items_of(dataset, tag)[:1]:
        value = next((text for text in (text_of(item, each) for each in _CODE_VALUES) if text), "")
        code = Code(value, text_of(item, 0x00080102), text_of(item, 0x00080104))
        if code.value or code.meaning:
            return code
    return None
