"""The contact sheet of a review: one page that needs nothing else, with masks to accept, reject and edit, and a rules file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cinemill.operations.mask.masks import Mask, sized
from cinemill.operations.mask.page_parts import SCRIPT, STYLE
from cinemill.operations.mask.rules import toml_of
from cinemill.operations.pages import END, begin, counted, embedded, text

if TYPE_CHECKING:
    from cinemill.operations.mask.review import Group, Survey

_QUALITY = 88
_LISTED = 100


def page(found: Survey) -> str:
    """Return the page, in HTML. It shows what is burned in, names too, and belongs where the sources are."""
    cards = "\n".join(_card(number, group) for number, group in enumerate(found.groups))
    data = json.dumps([_data(number, group) for number, group in enumerate(found.groups)]).replace(
        "<", "\\u003c"
    )
    return (
        f"{begin('Review of masks', STYLE)}<main>\n"
        "<h1>What is to be black</h1>\n"
        f'<p class="lead">{standing(found)}. Each picture shows the brightest '
        "that every pixel ever is in some of them; what is covered would be black. Accept what hides every name and date and "
        "nothing that is needed, or correct it: drag over the picture for a new rectangle, drag a rectangle to move it, its "
        "corner to resize it. Kinds that are rejected, or left open, are not written.</p>\n"
        '<p class="warning">This page shows names that are burned in. Keep it where the sources are.</p>\n'
        f'<div class="cards">\n{cards}\n</div>\n{"".join(_left_over(found))}'
        '</main>\n<footer><span id="state"></span>'
        '<button id="download" class="strong">Download rules</button></footer>\n'
        f'<script id="groups" type="application/json">{data}</script>\n<script>{SCRIPT}</script>{END}'
    )


def standing(found: Survey) -> str:
    """Return how many kinds stand for how many instances."""
    kinds, instances = len(found.groups), sum(group.instances for group in found.groups)
    return f"{counted(kinds, 'kind')} of instances {'stands' if kinds == 1 else 'stand'} for {instances:,}"


def _card(number: int, group: Group) -> str:
    kind = group.kind
    maker = " ".join(filter(None, (kind.manufacturer, kind.model))) or "no manufacturer told"
    regions = "".join(f"<li>{text(region)}</li>" for region in kind.regions)
    origin = group.proposed.origin if group.proposed else "nothing speaks for a mask"
    if group.picture is None:
        return (
            f'<article data-group="{number}"><h2>{text(maker)}</h2>'
            f'<p class="problem">no picture: {text(group.problem)}</p></article>'
        )
    found = f"; text found in {counted(len(group.text), 'place')} (dashed)" if group.text else ""
    cover = '<button data-do="text">Cover text found</button>' if group.text else ""
    problem = f'<p class="problem">{text(group.problem)}</p>' if group.problem else ""
    return (
        f'<article data-group="{number}"><h2>{text(maker)}</h2>'
        f"<p>{counted(group.instances, 'instance')}, {counted(group.frames, 'frame')} of {kind.columns} × {kind.rows}</p>"
        f'<div class="stage"><img alt="" width="{kind.columns}" height="{kind.rows}" src="{embedded(group.picture, _QUALITY)}">'
        f'<svg viewBox="0 0 {kind.columns} {kind.rows}" role="img" aria-label="the mask of {text(maker)}"></svg></div>'
        f'<p class="note">proposed: {text(origin)}{found}'
        f"</p>{problem}"
        '<div class="buttons"><button data-do="accept">Accept</button><button data-do="reject">Reject</button>'
        f'<button data-do="delete">Delete rectangle</button>{cover}'
        '<button data-do="clear">Clear</button><button data-do="reset">As proposed</button></div>'
        f"<details><summary>{len(kind.regions)} ultrasound regions</summary><ul>{regions}</ul></details></article>"
    )


def _data(number: int, group: Group) -> dict[str, Any]:
    kind = group.kind
    name = f"{number + 1}: {' '.join(filter(None, (kind.manufacturer, kind.model)))} {kind.columns} x {kind.rows}"
    rule = toml_of(name, kind, Mask((), ""))
    boxes = group.proposed.boxes if group.proposed else ()
    return {
        "rule": rule[: rule.rindex("blacken")],
        "columns": kind.columns,
        "rows": kind.rows,
        "boxes": [list(sized(box)) for box in boxes],
        "text": [list(sized(box)) for box in group.text],
        "instances": group.instances,
        "shown": group.picture is not None,
    }


def _left_over(found: Survey) -> Iterator[str]:
    if found.without_pixels:
        yield f'<p class="note">{found.without_pixels:,} instances have no pixel data.</p>'
    if found.unread:
        lines = "".join(
            f"<li>{text(str(path))}: {text(reason)}</li>" for path, reason in found.unread[:_LISTED]
        )
        yield f"<details><summary>{counted(len(found.unread), 'file')} can't be read</summary><ul>{lines}</ul></details>"
