"""Rules that say what is black in which kinds of instances, read from TOML, and written."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinemill.errors import UsageError
from cinemill.operations.mask.masks import Mask, clipped, outside, placed, sized

if TYPE_CHECKING:
    from cinemill.operations.mask.kinds import Kind
    from cinemill.pixel_format import Box

_KEYS = frozenset(("name", "manufacturer", "model", "rows", "columns", "regions", "blacken", "keep"))


@dataclass(frozen=True, slots=True)
class Rule:
    """What is black in the instances of some kinds.

    Attributes
    ----------
    name
        For receipts.
    manufacturer, model
        Patterns with ``*`` and ``?``, small and capital letters alike; None fits all.
    rows, columns
        None fits all.
    regions
        See `cinemill.operations.mask.kinds.Kind`; None fits all.
    boxes
        What is black, or with `keeps`, what is not.
    keeps
        Whether everything but the rectangles is black.
    """

    name: str
    manufacturer: str | None
    model: str | None
    rows: int | None
    columns: int | None
    regions: tuple[str, ...] | None
    boxes: tuple[Box, ...]
    keeps: bool

    def fits(self, kind: Kind) -> bool:
        """Whether the rule says something of such instances."""
        numbers = ((self.rows, kind.rows), (self.columns, kind.columns), (self.regions, kind.regions))
        texts = ((self.manufacturer, kind.manufacturer), (self.model, kind.model))
        return all(asked in {None, found} for asked, found in numbers) and all(
            asked is None or fnmatchcase(found.casefold(), asked.casefold()) for asked, found in texts
        )

    def mask(self, kind: Kind) -> Mask:
        """Return what is black in such an instance."""
        boxes = clipped(self.boxes, kind.rows, kind.columns)
        return Mask(outside(boxes, kind.rows, kind.columns) if self.keeps else boxes, f"rules: {self.name}")


def find_rule(rules: Sequence[Rule], kind: Kind) -> Rule | None:
    """Return the first rule that fits, None where there is none."""
    return next((rule for rule in rules if rule.fits(kind)), None)


@lru_cache(maxsize=8)
def read_rules(text: str, name: str) -> tuple[Rule, ...]:
    """Read rules from TOML.

    Parameters
    ----------
    text
        What the file holds.
    name
        Of the file, for messages.

    Raises
    ------
    UsageError
        It holds something else; the message says which rule.
    """
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{name}: no TOML: {error}") from None
    rules = content.pop("rule", [])
    if content or not isinstance(rules, list):
        raise UsageError(f"{name}: expected tables [[rule]] only, found {', '.join(content) or 'rule'}")
    return tuple(_rule(table, f"{name}: rule {number}") for number, table in enumerate(rules, 1))


def text_of(path: Path) -> str:
    """Return the text of a file, once it is known to hold rules.

    Raises
    ------
    UsageError
        It can't be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"rules of masks can't be read: {error}", path=path) from None
    read_rules(text, path.name)
    return text if "\n" in text else f"{text}\n"


def rules_in(path: Path) -> tuple[Rule, ...]:
    """Read rules from a file.

    Raises
    ------
    UsageError
        It can't be read, or holds something else.
    """
    return read_rules(text_of(path), path.name)


def shipped_rules() -> tuple[Rule, ...]:
    """Return the rules that come with cinemill."""
    text = files("cinemill.operations.mask").joinpath("shipped.toml").read_text(encoding="utf-8")
    return read_rules(text, "shipped.toml")


def toml_of(name: str, kind: Kind, mask: Mask) -> str:
    """Return a rule for just this kind.

    Parameters
    ----------
    name
        Of the rule.
    kind
        What it fits.
    mask
        What is black.
    """
    told = {"name": name, "manufacturer": _escaped(kind.manufacturer), "model": _escaped(kind.model)}
    lines = [f"{key} = {_quoted(value)}" for key, value in told.items()]
    lines += [f"rows = {kind.rows}", f"columns = {kind.columns}"]
    lines.append(f"regions = [{', '.join(_quoted(region) for region in kind.regions)}]")
    lines.append(f"blacken = {[list(sized(box)) for box in mask.boxes]}")
    return "\n".join(("[[rule]]", *lines, ""))


def _escaped(pattern: str) -> str:
    """Return a pattern that fits just this text."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in pattern)


def _quoted(text: str) -> str:
    """Return a basic string of TOML, which is one of JSON but for DEL."""
    return json.dumps(text, ensure_ascii=True).replace("\x7f", "\\u007f")


def _rule(table: Any, where: str) -> Rule:
    if not isinstance(table, Mapping) or not table.keys() <= _KEYS:
        unknown = ", ".join(sorted(set(table) - _KEYS)) if isinstance(table, Mapping) else table
        raise UsageError(f"{where}: unknown {unknown}; expected {', '.join(sorted(_KEYS))}")
    if ("blacken" in table) == ("keep" in table):
        raise UsageError(f"{where}: expected either blacken or keep, rectangles [X, Y, WIDTH, HEIGHT]")
    for key, kind in (("name", str), ("manufacturer", str), ("model", str), ("rows", int), ("columns", int)):
        if key in table and not isinstance(table[key], kind):
            raise UsageError(f"{where}: {key} is {table[key]!r}, expected a {kind.__name__}")
    regions = table.get("regions")
    if regions is not None and not (
        isinstance(regions, list) and all(isinstance(one, str) for one in regions)
    ):
        raise UsageError(f"{where}: regions are {regions!r}, expected a list of texts")
    return Rule(
        name=table.get("name", where.rpartition(": ")[2]),
        manufacturer=table.get("manufacturer"),
        model=table.get("model"),
        rows=table.get("rows"),
        columns=table.get("columns"),
        regions=None if regions is None else tuple(sorted(regions)),
        boxes=_boxes(table.get("blacken", table.get("keep")), where),
        keeps="keep" in table,
    )


def _boxes(given: Any, where: str) -> tuple[Box, ...]:
    whole = isinstance(given, list) and all(
        isinstance(box, list) and len(box) == 4 and all(type(number) is int for number in box)
        for box in given
    )
    if not whole or any(min(box[:2]) < 0 or min(box[2:]) < 1 for box in given):
        raise UsageError(
            f"{where}: found {given!r}, expected rectangles [X, Y, WIDTH, HEIGHT] of whole numbers"
        )
    return tuple(placed(*box) for box in given)
