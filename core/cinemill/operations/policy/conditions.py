"""Reads the conditions of rules from the values of TOML: words, numbers with units, dates, and elements by keyword."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from cinemill import syntaxes
from cinemill.dicom.dictionary import keywords
from cinemill.operations.policy.facts import KEYS, PRIVATE, TAG
from cinemill.operations.policy.match import Bounds, Condition, Either, Every, Flag, Leaf, Not, Pattern, Test

At: TypeAlias = Callable[..., None]
"""Told which key is read, so that an error can name its line."""

_UNITS: Mapping[str, Mapping[str, float]] = {
    "age": {"day": 1, "week": 7, "month": 30.4375, "year": 365.25},
    "size": {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12},
    "frames": {"": 1},
}
_COMPARISON = re.compile(r"(<=|>=|<|>|=)?\s*(-?\d+(?:\.\d+)?)\s*([A-Za-z]*)")


class Wrong(Exception):
    """What a policy says can't be; the message says what is expected."""


def read_condition(table: object, at: At) -> Condition:
    """Return the condition that a table is: all its entries have to hold.

    Parameters
    ----------
    table
        As TOML has it.
    at
        Told which key is read.

    Raises
    ------
    Wrong
        It is no condition.
    """
    if not isinstance(table, dict) or not table:
        raise Wrong(f'expected a table of conditions, such as {{ modality = "US" }}, found {_shown(table)}')
    parts = [_entry(key, value, at) for key, value in table.items()]
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def _entry(key: str, value: object, at: At) -> Condition:
    at(key)
    if key in {"and", "or"}:
        if not isinstance(value, list) or not value:
            raise Wrong(f"{key} takes a list of tables, found {_shown(value)}")
        parts = tuple(read_condition(each, at) for each in value)
        return Every(parts) if key == "and" else Either(parts)
    if key == "not":
        return Not(read_condition(value, at))
    _check_key(key)
    values = value if isinstance(value, list) else [value]
    if not values:
        raise Wrong(f"{key} has no value")
    return Leaf(key, tuple(_test(key, each) for each in values))


def _check_key(key: str) -> None:
    if key in KEYS or PRIVATE.fullmatch(key) or TAG.fullmatch(key):
        return
    known = keywords()
    if key in known:
        return
    import difflib

    near = difflib.get_close_matches(key, [*KEYS, "and", "or", "not", *known], 1)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise Wrong(
        f"unknown keyword {key!r}{meant} Known are {', '.join(KEYS)}, and, or, not, keywords of DICOM, "
        'and private elements such as "(0019,xx0A) CREATOR"'
    )


def _test(key: str, value: object) -> Test:
    if key == "lossy":
        if not isinstance(value, bool):
            raise Wrong(f"lossy is true or false, found {_shown(value)}")
        return Flag(value)
    if key in _UNITS:
        return _bounds(key, value)
    if isinstance(value, bool):
        if key in KEYS:
            raise Wrong(f"{key} takes a text, found {_shown(value)}")
        return Flag(value)
    if isinstance(value, int | float):
        return Bounds(value, value)
    if not isinstance(value, str):
        raise Wrong(f"{key} takes a text, found {_shown(value)}")
    if key == "syntax":
        _check_syntax(value)
    if key not in KEYS and value[:1] in {"<", ">", "="}:
        return _bounds(key, value)
    return Pattern(value.strip().lower())


def _check_syntax(value: str) -> None:
    pattern = Pattern(value.strip().lower())
    rows = syntaxes.TRANSFER_SYNTAXES.values()
    if not any(
        pattern.accepts(text) for row in rows for text in (row.uid, row.keyword, row.name, row.coding) if text
    ):
        raise Wrong(
            f"{value!r} is no transfer syntax: expected a UID, a keyword, a short name or a coding such as jpeg-2000"
        )


def _bounds(key: str, value: object) -> Bounds:
    """Read ``30``, ``">= 30"``, ``"> 10 MB, < 1 GB"``, ``"> 2 years"``."""
    units = _UNITS.get(key, {"": 1})
    found = Bounds()
    for text in str(value).split(",") if isinstance(value, str) else [str(value)]:
        match = _COMPARISON.fullmatch(text.strip()) if not isinstance(value, bool) else None
        unit = None if match is None else _unit(match[3], units)
        if match is None or unit is None:
            example = {"age": '"> 2 years"', "size": '"> 10 MB"'}.get(key, '">= 30"')
            raise Wrong(f"can't read {key} = {_shown(value)}; expected e.g. {example}")
        found = found.both(_bound(match[1] or "=", float(match[2]) * unit))
    if found.empty:
        raise Wrong(f"{key} = {_shown(value)} holds for nothing")
    return found


def _bound(sign: str, number: float) -> Bounds:
    if sign == "=":
        return Bounds(number, number)
    if sign[0] == "<":
        return Bounds(high=number, with_high=sign == "<=")
    return Bounds(low=number, with_low=sign == ">=")


def _unit(text: str, units: Mapping[str, float]) -> float | None:
    if not text:
        return 1 if "" in units or "B" in units else None
    return next((size for name, size in units.items() if name and text in {name, f"{name}s"}), None)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
