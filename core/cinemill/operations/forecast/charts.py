"""Charts of a forecast: bars in SVG that are as wide as there is room, and take their colours from the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_ROW, _BAR, _TEXT = 46, 14, 15
_PAIR = 62


class Bar(NamedTuple):
    """One bar.

    Attributes
    ----------
    label, told
        What stands above it, at the left and at the right.
    value, low, high
        Its length, and the interval that is drawn over its end.
    strong
        Whether it stands out.
    """

    label: str
    told: str
    value: float
    low: float
    high: float
    strong: bool = False


class Pair(NamedTuple):
    """Two bars, of before and after."""

    label: str
    told: str
    before: float
    after: float


def bars(title: str, rows: Sequence[Bar], line: float) -> str:
    """Return a chart of bars with intervals, and a line that crosses all of them.

    Parameters
    ----------
    title
        Says in words what it shows.
    rows
        From top to bottom.
    line
        Where the line stands.
    """
    most = max([line, *(row.high for row in rows), 1e-9])
    parts = []
    for number, row in enumerate(rows):
        top = number * _ROW
        bar = top + _TEXT + 6
        middle = bar + _BAR / 2
        kind = "after strong" if row.strong else "after"
        parts.append(_labels(row.label, row.told, top, strong=row.strong))
        parts.append(_rect(kind, row.value / most, bar))
        if row.high > row.low:
            low, high = _percent(row.low / most), _percent(row.high / most)
            parts.append(f'<line class="interval" x1="{low}" x2="{high}" y1="{middle}" y2="{middle}"/>')
            parts += [
                f'<line class="interval" x1="{at}" x2="{at}" y1="{middle - 4}" y2="{middle + 4}"/>'
                for at in (low, high)
            ]
        at = _percent(line / most)
        parts.append(f'<line class="now" x1="{at}" x2="{at}" y1="{bar - 3}" y2="{bar + _BAR + 3}"/>')
    return _svg(title, len(rows) * _ROW, parts)


def pairs(title: str, rows: Sequence[Pair]) -> str:
    """Return a chart of bars before and after.

    Parameters
    ----------
    title
        Says in words what it shows.
    rows
        From top to bottom.
    """
    most = max([*(max(row.before, row.after) for row in rows), 1e-9])
    parts = []
    for number, row in enumerate(rows):
        top = number * _PAIR
        bar = top + _TEXT + 6
        parts.append(_labels(row.label, row.told, top))
        parts.append(_rect("before", row.before / most, bar))
        parts.append(_rect("after", row.after / most, bar + _BAR + 2))
    return _svg(title, len(rows) * _PAIR, parts)


def _labels(label: str, told: str, top: int, *, strong: bool = False) -> str:
    """Return the text above a bar: what is too long is cut where the other begins."""
    weight = ' class="strong"' if strong else ""
    return (
        f'<foreignObject x="0" y="{top}" width="100%" height="{_TEXT + 5}"><div class="labels">'
        f"<span{weight}>{escape(label)}</span><span{weight}>{escape(told)}</span></div></foreignObject>"
    )


def _rect(kind: str, share: float, top: float) -> str:
    return f'<rect class="{kind}" x="0" y="{top}" width="{_percent(share)}" height="{_BAR}" rx="2"/>'


def _percent(share: float) -> str:
    return f"{100 * min(1.0, max(0.0, share)):.2f}%"


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg role="img" aria-label="{escape(title)}" width="100%" height="{height}">{"".join(parts)}</svg>'
    )
