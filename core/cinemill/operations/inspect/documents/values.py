"""Reads values of data sets that hold anything: what can't be read is absent."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from cinemill.operations.inspect.model import Code

_CODE_VALUES = "CodeValue", "LongCodeValue", "URNCodeValue"
"""Code Value, Long Code Value, URN Code Value: each code has one of them (PS3.3 Table 8.8-1)."""
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from saying what is wrong with values: it is found where they are read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@cache
def _tag(keyword: str) -> BaseTag:
    return BaseTag(tag_for_keyword(keyword) or 0)


def _element(dataset: Dataset, keyword: str) -> Any:
    """Return an element as it was read or made, None where it is absent."""
    return dataset.get_item(_tag(keyword), keep_deferred=True)


def value_of(dataset: Dataset, keyword: str) -> Any:
    """Return an element's value as pydicom reads it, None where it is absent, empty, or can't be read."""
    if _element(dataset, keyword) is None:
        return None
    try:
        value = dataset[_tag(keyword)].value
    except Exception:  # noqa: BLE001  # pydicom has no family of errors
        return None
    return None if value is None or (isinstance(value, str | bytes) and not value) else value


def text_of(dataset: Dataset, keyword: str) -> str:
    """Return the first value of an element that holds text, padding stripped; empty where there is none."""
    element = _element(dataset, keyword)
    if isinstance(element, RawDataElement) and element.value and _is_plain(element.value):
        return element.value.decode("ascii").strip(" \0")
    value = value_of(dataset, keyword)
    return "" if isinstance(value, Sequence) else str(next(iter(_each(value)), "")).strip(" \0")


def _is_plain(value: bytes) -> bool:
    """Tell whether a text is one value that reads alike in every character set."""
    return value.isascii() and b"\\" not in value and b"\x1b" not in value and b"~" not in value


def values_of(dataset: Dataset, keyword: str) -> list[Any]:
    """Return all values of an element; none where there is none, or it can't be read."""
    return _each(value_of(dataset, keyword))


def items_of(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none where it is absent or is no sequence."""
    value = value_of(dataset, keyword)
    return list(value) if isinstance(value, Sequence) else []


def integers_of(dataset: Dataset, keyword: str) -> tuple[int, ...]:
    """Return an element's values that are whole numbers."""
    found = []
    for each in values_of(dataset, keyword):
        try:
            found.append(int(each))
        except (TypeError, ValueError, OverflowError):
            continue
    return tuple(found)


def floats_of(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Return an element's values that are finite numbers."""
    found = []
    for each in values_of(dataset, keyword):
        try:
            found.append(float(each))
        except (TypeError, ValueError, OverflowError):
            continue
    return tuple(number for number in found if math.isfinite(number))


def _each(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, MultiValue | list) else [value]


def stored_text(dataset: Dataset, keyword: str) -> str:
    """Return a value of the default repertoire as it stands in the file, outer padding stripped."""
    element = _element(dataset, keyword)
    if isinstance(element, RawDataElement):
        return (element.value or b"").decode("latin-1").strip(" \0")
    values = [] if element is None else _each(element.value)
    return "\\".join(str(getattr(each, "original_string", each)) for each in values).strip(" \0")


def decimal(text: str) -> float | None:
    """Return the number that a Decimal String holds, None where it holds none, or several (PS3.5 §6.2)."""
    if not _DECIMAL.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def code_of(dataset: Dataset, keyword: str) -> Code | None:
    """Return the code in a code sequence's first item, None where there is none."""
    for item in items_of(dataset, keyword)[:1]:
        value = next((text for text in (text_of(item, each) for each in _CODE_VALUES) if text), "")
        code = Code(value, text_of(item, "CodingSchemeDesignator"), text_of(item, "CodeMeaning"))
        if code.value or code.meaning:
            return code
    return None
