"""Where the fan of a cine shows itself: pixels that change over time, without lines and text, as one filled shape."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Grey: TypeAlias = "NDArray[np.uint8]"
    Shape: TypeAlias = "NDArray[np.bool_]"

LARGEST = 256
"""Rows or columns, whichever are more, of the grid on which shapes are looked for."""

_CHANGE, _NOISE = 2, 5
"""Grey levels by which a pixel changes at least; and where hardly any pixel is quite still, as in video."""

_STILL = 0.02
"""Share of pixels that never change, below which there is noise everywhere, or the fan fills the picture."""

_BRIGHT, _MOST = 12, 0.5
"""Grey levels from which on what never changes counts too, above the lowest of what does, as long as so much is darker."""

_WIDE, _MIDDLE = 0.15, 0.1
"""Of the largest part's columns: how many another part covers at least, and how far its middle may be off."""

_LARGE, _TINY = 0.02, 0.002
"""Of its area: what another part that moves has at least, and what is not looked at."""

_COVERED = 0.3
"""Share of a grid cell that is evidence."""

_LEAST = 0.05
"""Share of the grid below which too little moves to tell anything by itself."""

_GAP, _THIN = 3, 7
"""Cells between which gaps are closed, and up to which things are too thin to be a fan."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The silhouette of a fan on a coarse grid.

    Attributes
    ----------
    shape
        Whether a cell shows the fan, (rows, columns): one connected shape without holes; all False where there is none.
    cell
        Width and height of a cell in pixels.
    moving
        Whether enough of it moves; else it was told by brightness.
    """

    shape: Shape
    cell: tuple[float, float]
    moving: bool


def find_evidence(pictures: Iterable[Grey]) -> Evidence:
    """Return where the fan shows itself in pictures of one cine.

    Parameters
    ----------
    pictures
        Grey, (rows, columns) each; at least one.
    """
    low = high = None
    for picture in pictures:
        if low is None or high is None:
            low, high = picture.copy(), picture.copy()
        else:
            np.minimum(low, picture, out=low)
            np.maximum(high, picture, out=high)
    assert low is not None
    assert high is not None
    rows, columns = high.shape
    scale = max(1.0, max(rows, columns) / LARGEST)
    grid = max(1, round(rows / scale)), max(1, round(columns / scale))
    cell = columns / grid[1], rows / grid[0]
    change = high - low
    moving = change >= (_CHANGE if (change == 0).mean() >= _STILL else _NOISE)
    bright = high >= _BRIGHT
    dark_behind = not moving.all() and (bright & ~moving).sum() < _MOST * (~moving).sum()
    told = _cleaned(moving, grid)
    enough = bool(told.mean() >= _LEAST)
    if enough and not dark_behind:
        return Evidence(_joined(told, told), cell, moving=True)
    if enough:
        lowest = np.flatnonzero(_largest(told).any(axis=1))[-1]
        bright[math.ceil((lowest + 1) * cell[1]) :] = False
    return Evidence(_joined(_cleaned(moving | bright, grid), told), cell, moving=enough)


def _joined(shape: Shape, moving: Shape) -> Shape:
    """Return the largest part of a shape, filled, with the others that belong to it.

    Those that move, beside a shadow, and those that don't, above or below its middle, as near the probe.
    """
    rest = shape.copy()
    found = part = _largest(shape)
    columns = np.flatnonzero(found.any(axis=0))
    if len(columns):
        area = found.sum()
        middle, span = (columns[0] + columns[-1]) / 2, columns[-1] - columns[0] + 1
        while (rest := rest & ~part).any():
            part = _largest(rest)
            if part.sum() < _TINY * area:
                break
            theirs = np.flatnonzero(part.any(axis=0))
            moves = part.sum() >= _LARGE * area and (part & moving).sum() >= 0.5 * part.sum()
            wide = theirs[-1] - theirs[0] + 1 >= _WIDE * span
            if moves or (wide and abs((theirs[0] + theirs[-1]) / 2 - middle) <= _MIDDLE * span):
                found = found | part
    return _filled(found)


def _cleaned(found: Shape, grid: tuple[int, int]) -> Shape:
    """Return evidence on the grid: what is no line and no text."""
    from PIL import Image

    image = Image.fromarray(found.view(np.uint8) * np.uint8(255))
    coarse = np.asarray(image.resize((grid[1], grid[0]), Image.Resampling.BOX)) >= 255 * _COVERED
    closed = _eroded(_dilated(np.pad(coarse, _GAP), _GAP), _GAP)
    return _dilated(_eroded(closed, _THIN), _THIN)[_GAP:-_GAP, _GAP:-_GAP]


def _dilated(shape: Shape, size: int) -> Shape:
    from PIL import Image, ImageFilter

    image = Image.fromarray(shape.view(np.uint8)).filter(ImageFilter.MaxFilter(size))
    return np.asarray(image).view(np.bool_)


def _eroded(shape: Shape, size: int) -> Shape:
    return ~_dilated(~shape, size)


def _filled(shape: Shape) -> Shape:
    """Fill what has evidence above and below: sections of a fan along its columns have no gaps."""
    above = np.logical_or.accumulate(shape, axis=0)
    below = np.logical_or.accumulate(shape[::-1], axis=0)[::-1]
    return above & below


def _largest(shape: Shape) -> Shape:
    """Return the largest connected part of a shape, by runs of its rows."""
    runs = _runs(shape)
    parents = list(range(len(runs)))

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    before: list[int] = []
    here: list[int] = []
    row = -1
    for number, (at, start, stop) in enumerate(runs):
        if at != row:
            before, here = (here if at == row + 1 else []), []
            row = at
        here.append(number)
        for other in before:
            if runs[other][1] < stop and runs[other][2] > start:
                parents[root(number)] = root(other)
    sizes: dict[int, int] = {}
    for number, (_, start, stop) in enumerate(runs):
        sizes[root(number)] = sizes.get(root(number), 0) + stop - start
    largest = np.zeros_like(shape)
    if sizes:
        most = max(sizes, key=lambda part: (sizes[part], -part))
        for number, (at, start, stop) in enumerate(runs):
            if root(number) == most:
                largest[at, start:stop] = True
    return largest


def _runs(shape: Shape) -> list[tuple[int, int, int]]:
    """Return row, first column and the column behind each run of True, in order."""
    edges = np.diff(np.pad(shape, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    stops = np.nonzero(edges == -1)[1]
    return list(zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True))
