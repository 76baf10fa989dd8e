"""What a search asks of attributes, and whether a value meets it (PS3.4 C.2.2.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from pydicom.datadict import dictionary_VR, keyword_dict
from pydicom.multival import MultiValue

from cinemill.errors import UsageError

if TYPE_CHECKING:
    from pydicom import Dataset

_HEXADECIMAL = re.compile("[0-9A-Fa-f]{8}")
_RANGE = re.compile(r"([\d.:]*)-([\d.:]*)")
_MOMENT = r"[\d.:]*(?:[+-](?:0\d|1[0-4])[0-5]\d)?"
_MOMENTS = re.compile(f"(?!{_MOMENT}$)({_MOMENT})-({_MOMENT})")
"""A hyphen with an offset from UTC behind it is that offset's, where it can be."""

_WITH_OFFSET = re.compile(r"(\d{12})([\d.]*)([+-]\d{4})")
_LATEST = "9" * 26
_TO_MINUTES = "%Y%m%d%H%M"


class Key(NamedTuple):
    """What is asked of one attribute.

    Attributes
    ----------
    path
        Its tag, behind those of the sequences that it stands in.
    wanted
        As it was typed.
    """

    path: tuple[int, ...]
    wanted: str

    @property
    def vr(self) -> str:
        """Of the attribute, as the dictionary has it."""
        return vr_of(self.path[-1])

    def is_met(self, header: Dataset) -> bool:
        """Whether a data set meets it."""
        return any(meets(value, self.wanted, self.vr) for value in _values(header, self.path))


def vr_of(tag: int) -> str:
    """Return the VR of an attribute, LO for private ones and others that the dictionary lacks."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "LO"


def read_path(typed: str) -> tuple[int, ...]:
    """Read the name of an attribute: keywords or tags of eight digits, with dots between sequences and what is in them.

    Raises
    ------
    UsageError
        There is no such attribute.
    """
    return tuple(_tag(each, typed) for each in typed.split("."))


def _tag(name: str, typed: str) -> int:
    if _HEXADECIMAL.fullmatch(name):
        return int(name, 16)
    if name not in keyword_dict or not name:
        raise UsageError(
            f"{typed[:64]!r} is no attribute; expected a keyword such as PatientID, or a tag such as 00100020"
        )
    return keyword_dict[name]


def _values(header: Dataset, path: Sequence[int]) -> list[str]:
    """Return the values of an attribute, in all items of its sequences; an empty one where there is none."""
    value = header[path[0]].value if path[0] in header else None
    if len(path) > 1:
        items = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
        return [each for item in items for each in _values(item, path[1:])]
    several = value if isinstance(value, MultiValue | list) else [value]
    return ["" if each is None else str(each) for each in several]


def meets(value: object, wanted: str, vr: str) -> bool:
    """Whether one value is what is wanted; everything is, where that is empty.

    Parameters
    ----------
    value
        None where there is none.
    wanted
        A value, a list of UIDs, a range of dates or times, or a pattern with ``*`` and ``?``.
    vr
        Of the attribute. Names of persons are compared without their case.
    """
    if wanted in {"", "*"}:
        return True
    text = "" if value is None else str(value).strip(" \0")
    return bool(text) and _COMPARED.get(vr, _is_like)(text, wanted)


def _is_listed(text: str, wanted: str) -> bool:
    return text in re.split(r"[,\\]", wanted)


def _is_moment(text: str, wanted: str) -> bool:
    return _is_when(text, wanted.replace(" ", "+"), _MOMENTS)  # a plus sign in a URL may come as a space


def _is_when(text: str, wanted: str, ranges: re.Pattern[str] = _RANGE) -> bool:
    moment = _digits(text).ljust(len(_LATEST), "0")
    if ends := ranges.fullmatch(wanted):
        return _digits(ends[1]) <= moment <= (_digits(ends[2]) or _LATEST) + _LATEST
    return moment == _digits(wanted).ljust(len(_LATEST), "0")


def _digits(text: str) -> str:
    """Return the digits of a date, a time or both, in UTC where an offset is given."""
    if given := _WITH_OFFSET.fullmatch(text):
        minutes, rest, offset = given.groups()
        with suppress(ValueError, OverflowError):
            text = f"{datetime.strptime(minutes + offset, _TO_MINUTES + '%z').astimezone(UTC):{_TO_MINUTES}}{rest}"
    return text.replace(".", "").replace(":", "")


def _is_same_number(text: str, wanted: str) -> bool:
    try:
        return float(text) == float(wanted)
    except ValueError:
        return False


def _is_like(text: str, wanted: str) -> bool:
    return _pattern(wanted).fullmatch(text) is not None


def _is_like_name(text: str, wanted: str) -> bool:
    pattern = _pattern(wanted.rstrip("^ ").lower())
    return any(pattern.fullmatch(group.rstrip("^ ").lower()) for group in text.split("="))


@lru_cache
def _pattern(wanted: str) -> re.Pattern[str]:
    """Return what a pattern matches; none goes back over what it has passed, so that many stars take no time."""
    first, *others = (
        "".join("." if each == "?" else re.escape(each) for each in part) for part in wanted.split("*")
    )
    if others:
        *middle, last = others
        first += "".join(f"(?>.*?{part})" for part in middle) + f".*{last}"
    return re.compile(first, re.DOTALL)


_COMPARED: Mapping[str, Callable[[str, str], bool]] = MappingProxyType(
    {"UI": _is_listed, "PN": _is_like_name, "DA": _is_when, "TM": _is_when, "DT": _is_moment}
    | dict.fromkeys(("IS", "DS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"), _is_same_number)
)
