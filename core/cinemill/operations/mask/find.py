"""Finds the mask of an instance, by its regions, by rules, or by looking for text; where none is known, that is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from cinemill.errors import CinemillError, NoMask
from cinemill.frames.regions import SEQUENCE, read_regions
from cinemill.operations.mask import wanted as words
from cinemill.operations.mask.kinds import kind_of
from cinemill.operations.mask.masks import Mask, clipped, outside
from cinemill.operations.mask.rules import Rule, find_rule

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.operations.mask.wanted import Wanted

_REVIEW = "look at it by cinemill review, which ends in rules to run with"


def find_mask(source: Source, wanted: Wanted, rules: Sequence[Rule]) -> Mask:
    """Return what is to be black in an instance.

    Parameters
    ----------
    source
        The open file, with pixel data.
    wanted
        Where the mask comes from.
    rules
        For ``rules``.

    Raises
    ------
    NoMask
        One of what was asked for knows no mask; the message says why.
    """
    pixels = source.pixels
    found = Mask((), "")
    if wanted.boxes:
        boxes = clipped(wanted.boxes, pixels.rows, pixels.columns)
        if not boxes:
            raise NoMask(
                f"no given rectangle lies within {pixels.columns} x {pixels.rows} pixels, none would be black; {_REVIEW}"
            )
        found = Mask(boxes, "rect")
    for word in wanted.words:
        mask = _FINDERS[word](source, rules)
        found = found | mask if found.origin else mask
    return found


def outside_regions(source: Source, _: Sequence[Rule] = ()) -> Mask:
    """Return a mask of everything outside the ultrasound regions.

    Raises
    ------
    NoMask
        There are none, or they cover the whole frame, so that nothing would be black.
    """
    rows, columns = source.pixels.rows, source.pixels.columns
    try:
        regions = read_regions(source.part(SEQUENCE), rows, columns)
    except CinemillError as error:
        raise NoMask(f"the ultrasound regions can't be read ({error.message}); {_REVIEW}") from None
    bounds = [region.bounds for region in regions if not region.empty]
    if not bounds:
        raise NoMask(f"there are no ultrasound regions within the frame; {_REVIEW}")
    boxes = outside(bounds, rows, columns)
    if not boxes:
        raise NoMask(
            f"the ultrasound regions cover the whole frame, so that nothing would be black; {_REVIEW}"
        )
    return Mask(boxes, words.OUTSIDE)


def by_rules(source: Source, rules: Sequence[Rule]) -> Mask:
    """Return the mask of the first rule that fits.

    Raises
    ------
    NoMask
        There is none.
    """
    kind = kind_of(source)
    rule = find_rule(rules, kind)
    if rule is None:
        raise NoMask(
            f"no rule fits {kind.manufacturer or 'no manufacturer'}, {kind.model or 'no model'}, {kind.columns} x "
            f"{kind.rows} pixels, {len(kind.regions)} regions; {_REVIEW}"
        )
    return rule.mask(kind)


def _detected(source: Source, _: Sequence[Rule]) -> Mask:
    from cinemill.operations.mask.detect import detected

    return detected(source)


def _for_review(source: Source, _: Sequence[Rule]) -> Mask:
    raise NoMask(f"it waits for review; {_REVIEW}", path=source.path)


def _nothing(_: Source, __: Sequence[Rule]) -> Mask:
    return Mask((), words.NONE)


_FINDERS: Mapping[str, Callable[[Source, Sequence[Rule]], Mask]] = {
    words.OUTSIDE: outside_regions,
    words.RULES: by_rules,
    words.DETECTED: _detected,
    words.REVIEW: _for_review,
    words.NONE: _nothing,
}
