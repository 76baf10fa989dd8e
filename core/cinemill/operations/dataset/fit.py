"""Fits a fan to its silhouette: several first guesses, each improved step by step, the one that agrees best is taken."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cinemill.operations.dataset.fan import Fan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cinemill.operations.dataset.evidence import Evidence
    from cinemill.operations.dataset.fan import Kind, Shape

_SIMPLER = 0.01
"""By how much a sector or a disc has to agree better than a rectangle."""

_STEPS = (1.0, 0.5, 0.25, 0.12, 0.06, 0.03)
_FINER = (0.06, 0.03, 0.015, 0.008)
"""Shares of the first step: on a grid of half the rows and columns, and on the whole one."""

_LENGTH, _ANGLE = 0.05, 4.0
"""First step: of lengths, as a share of the image, and of angles, in degrees."""

_ROUNDS = 12
"""Rounds over all parameters at one size of steps, at most."""

_LEAST_ROWS = 8
"""Rows of a silhouette below which its edges say nothing."""

_AT_EDGE, _SUPPORTED = 2, 0.7
"""Cells within which an edge of the silhouette is that of a box, and the share of it that has to be."""

_X, _Y, _FIRST, _LAST, _INNER, _OUTER, _LEFT, _TOP, _RIGHT, _BOTTOM = range(10)
"""Places of a fan's parameters in a vector."""


def fit_fan(evidence: Evidence, aspect: float) -> Fan | None:
    """Return the fan that agrees best with what was seen, in pixels of the pictures; None where nothing was seen.

    Parameters
    ----------
    evidence
        The silhouette.
    aspect
        Height over width of a pixel.
    """
    shape = evidence.shape
    if not shape.any():
        return None
    width, height = evidence.cell
    grid = _Grid(shape, (width, height * aspect))
    coarse = _Grid(shape[::2, ::2], (2 * width, 2 * height * aspect))
    guesses = [(kind, up, vector) for up in (False, True) for kind, vector in _guesses(grid, up=up)]
    tried = [
        (kind, up, coarse.climb(kind, vector, _STEPS, up=up))
        for kind, up, vector in [("rectangle", False, grid.bounds()), *guesses]
    ]
    best = max(tried, key=lambda each: each[2][1] + (_SIMPLER if each[0] == "rectangle" else 0))
    kind, up, (vector, _) = best
    released = grid.unsupported(kind, vector, up=up)
    for side in released:
        vector[side] = grid.limits[side]
    if released:
        vector, _ = coarse.climb(kind, vector, _STEPS[2:], up=up, fixed=released)
    vector, agreement = grid.climb(kind, vector, _FINER, up=up, fixed=released)
    fan = _fan(kind, vector, up=up)
    return replace(fan, aspect=aspect, confidence=round(agreement, 4))


class _Grid:
    """A silhouette with the places of its cells, and how well fans agree with it."""

    def __init__(self, shape: Shape, cell: tuple[float, float]) -> None:
        self.shape, self.cell = np.ascontiguousarray(shape), cell
        rows, columns = shape.shape
        self.x = ((np.arange(columns) + 0.5) * cell[0]).astype(np.float32)[None, :]
        self.y = ((np.arange(rows) + 0.5) * cell[1]).astype(np.float32)[:, None]
        self.size = max(columns * cell[0], rows * cell[1])
        self._area = int(self.shape.sum())
        self.limits = {_LEFT: 0.0, _TOP: 0.0, _RIGHT: columns * cell[0], _BOTTOM: rows * cell[1]}

    def bounds(self) -> NDArray[np.float64]:
        """Return the parameters of the box around the silhouette."""
        rows, columns = (np.flatnonzero(self.shape.any(axis)) for axis in (1, 0))
        vector = np.zeros(10)
        vector[_LEFT], vector[_RIGHT] = columns[0] * self.cell[0], (columns[-1] + 1) * self.cell[0]
        vector[_TOP], vector[_BOTTOM] = rows[0] * self.cell[1], (rows[-1] + 1) * self.cell[1]
        return vector

    def agreement(self, kind: Kind, vector: Sequence[float] | NDArray[np.float64], *, up: bool) -> float:
        """Return the area that a fan shares with the silhouette, over the area of both together."""
        inside = _fan(kind, vector, up=up).holds(self.x, self.y)
        shared = int(np.count_nonzero(inside & self.shape))
        return shared / max(1, int(np.count_nonzero(inside)) + self._area - shared)

    def unsupported(self, kind: Kind, vector: NDArray[np.float64], *, up: bool) -> frozenset[int]:
        """Return the sides of a box that cut nothing of the fan, or cut it where the silhouette has no straight edge.

        A dark corner ends raggedly, what the display cuts ends in a line.

        Parameters
        ----------
        kind
            Of the fan.
        vector
            Its parameters.
        up
            Whether it looks up.
        """
        if kind == "rectangle":
            return frozenset()
        free = vector.copy()
        for side, limit in self.limits.items():
            free[side] = limit
        found = set()
        for side in self.limits:
            across = side in {_LEFT, _RIGHT}
            only = free.copy()
            only[side] = vector[side]
            cut = _fan(kind, free, up=up).holds(self.x, self.y) & ~_fan(kind, only, up=up).holds(
                self.x, self.y
            )
            cut, shape = (cut, self.shape) if across else (cut.T, self.shape.T)
            lines = (cut.sum(axis=1) > _AT_EDGE) & shape.any(axis=1)
            edge = (
                shape.argmax(axis=1)
                if side in {_LEFT, _TOP}
                else shape.shape[1] - shape[:, ::-1].argmax(axis=1)
            )
            off = np.abs(edge - vector[side] / self.cell[not across])[lines]
            if len(off) < _LEAST_ROWS or (off <= _AT_EDGE).mean() < _SUPPORTED:
                found.add(side)
        return frozenset(found)

    def climb(
        self,
        kind: Kind,
        vector: NDArray[np.float64],
        steps: Sequence[float],
        *,
        up: bool,
        fixed: frozenset[int] = frozenset(),
    ) -> tuple[NDArray[np.float64], float]:
        """Change parameters as long as that improves the agreement, in steps that become smaller.

        Parameters
        ----------
        kind
            Of the fan.
        vector
            Its parameters.
        steps
            Shares of the first step.
        up
            Whether it looks up.
        fixed
            Parameters that stay.

        Returns
        -------
        tuple
            The parameters, and their agreement.
        """
        best = self.agreement(kind, vector, up=up)
        for step in steps:
            for _ in range(_ROUNDS):
                before = best
                for move in _moves(kind, self.size * _LENGTH * step, _ANGLE * step):
                    if move[list(fixed)].any():
                        continue
                    for sign in (1, -1):
                        there = vector + sign * move
                        found = self.agreement(kind, there, up=up)
                        if found > best:
                            vector, best = there, found
                            break
                if best - before < 1e-4:
                    break
        return vector, best


def _fan(kind: Kind, vector: Sequence[float] | NDArray[np.float64], *, up: bool) -> Fan:
    each = [float(value) for value in vector]
    return Fan(
        kind=kind,
        box=(each[_LEFT], each[_TOP], each[_RIGHT], each[_BOTTOM]),
        apex=(each[_X], each[_Y]) if kind != "rectangle" else (0.0, 0.0),
        angles=(each[_FIRST], each[_LAST]) if kind == "sector" else (-90.0, 90.0),
        radii=(max(0.0, each[_INNER]), max(0.0, each[_OUTER])) if kind != "rectangle" else (0.0, math.inf),
        up=up,
    )


def _moves(kind: Kind, length: float, angle: float) -> Iterator[NDArray[np.float64]]:
    """Yield what is changed together: single parameters, and those that keep an edge where it is."""
    together: list[dict[int, float]] = [{each: length} for each in (_LEFT, _TOP, _RIGHT, _BOTTOM)]
    if kind != "rectangle":
        together += [{each: length} for each in (_X, _Y, _OUTER, _INNER)]
        together += [{_Y: length, _OUTER: -length, _INNER: -length}]
    if kind == "sector":
        together += [
            {_FIRST: angle},
            {_LAST: angle},
            {_FIRST: angle, _LAST: -angle},
            {_FIRST: angle, _LAST: angle},
        ]
        together += [{_Y: length, _FIRST: -angle, _LAST: angle, _OUTER: -length, _INNER: -length}]
    for changes in together:
        vector = np.zeros(10)
        for place, change in changes.items():
            vector[place] = change
        yield vector


def _guesses(grid: _Grid, *, up: bool) -> Iterator[tuple[Kind, NDArray[np.float64]]]:
    """Yield first guesses of sectors and discs."""
    bounds = grid.bounds()
    whole = bounds.copy()
    whole[_LEFT], whole[_TOP], whole[_RIGHT], whole[_BOTTOM] = -1, -1, grid.size + 1, grid.size + 1
    rays = _rays(grid, up=up)
    if rays is not None:
        for box in (bounds, whole):
            vector = box.copy()
            vector[[_X, _Y, _FIRST, _LAST]] = rays
            vector[_INNER], vector[_OUTER] = _arcs(grid, rays, up=up)
            yield "sector", vector
    if not up:
        vector = whole.copy()
        vector[_X] = (bounds[_LEFT] + bounds[_RIGHT]) / 2
        vector[_Y] = (bounds[_TOP] + bounds[_BOTTOM]) / 2
        vector[_OUTER] = (bounds[_RIGHT] - bounds[_LEFT] + bounds[_BOTTOM] - bounds[_TOP]) / 4
        yield "disc", vector


def _rays(grid: _Grid, *, up: bool) -> tuple[float, float, float, float] | None:
    """Return the apex and both angles from the edges of the silhouette, between its narrow end and its widest row."""
    shape = grid.shape[::-1] if up else grid.shape
    rows = np.flatnonzero(shape.any(axis=1))
    first = shape[rows].argmax(axis=1)
    last = shape.shape[1] - 1 - shape[rows, ::-1].argmax(axis=1)
    widths = last - first + 1
    widest = int(np.argmax(widths >= 0.97 * widths.max())) + 1
    if widest < _LEAST_ROWS:
        return None
    height = shape.shape[0] * grid.cell[1]
    y = (rows[:widest].astype(np.float64) + 0.5) * grid.cell[1]
    left, right = _line(y, first[:widest] * grid.cell[0]), _line(y, (last[:widest] + 1) * grid.cell[0])
    if right[0] - left[0] < 0.05:
        return None
    along = (left[1] - right[1]) / (right[0] - left[0])
    across = left[0] * along + left[1]
    angles = math.degrees(math.atan(left[0])), math.degrees(math.atan(right[0]))
    return across, height - along if up else along, *angles


def _line(y: NDArray[np.float64], x: NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and offset of the line x over y through most of the points: medians, which outliers don't move."""
    chosen = np.unique(np.linspace(0, len(y) - 1, 60).astype(int))
    y, x = y[chosen], x[chosen]
    one, other = np.triu_indices(len(y), max(1, len(y) // 4))
    slope = float(np.median((x[other] - x[one]) / (y[other] - y[one])))
    return slope, float(np.median(x - slope * y))


def _arcs(grid: _Grid, rays: tuple[float, float, float, float], *, up: bool) -> tuple[float, float]:
    """Return the radii at which most of the directions from an apex enter and leave the silhouette."""
    rows, columns = np.nonzero(grid.shape)
    across = grid.x[0, columns] - rays[0]
    along = (rays[1] - grid.y[rows, 0]) if up else (grid.y[rows, 0] - rays[1])
    radius = np.hypot(across, along)
    places = np.degrees(np.arctan2(across, along))
    bins = np.clip(((places - rays[2]) / (rays[3] - rays[2]) * 40).astype(int), 0, 39)
    near, far = np.full(40, np.inf), np.zeros(40)
    np.minimum.at(near, bins, radius)
    np.maximum.at(far, bins, radius)
    seen = far > 0
    return float(np.median(near[seen])), float(np.quantile(far[seen], 0.7))
