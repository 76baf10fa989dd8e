"""What people look at before pixels are blackened: one picture for each kind of instances, with the mask that is proposed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cinemill.dicom.source import Source
from cinemill.errors import CinemillError, NoMask, NotDicom, UsageError
from cinemill.operations.mask.detect import read_text
from cinemill.operations.mask.find import outside_regions
from cinemill.operations.mask.kinds import Kind, kind_of
from cinemill.operations.mask.masks import Mask, clipped
from cinemill.operations.mask.projection import projected
from cinemill.operations.mask.rules import Rule, find_rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cinemill.pixel_format import Box

_EXAMPLES = 4
"""Instances of a kind whose frames go into its picture: the first, and others spread over all."""

_FRAMES = 64
"""Frames of each that are looked at."""


@dataclass
class Group:
    """The instances of one kind.

    Attributes
    ----------
    kind
        What they have in common.
    instances, frames
        How many there are.
    examples
        Files that stand for all.
    picture
        The brightest that each pixel is in any of their frames.
    proposed
        The mask that is proposed, None where nothing speaks for one.
    text
        Where text was found in the picture.
    problem
        Why there is no picture.
    """

    kind: Kind
    instances: int = 0
    frames: int = 0
    examples: list[Path] = field(default_factory=list)
    picture: NDArray[np.uint8] | None = None
    proposed: Mask | None = None
    text: tuple[Box, ...] = ()
    problem: str = ""

    def add(self, source: Source) -> None:
        """Count an instance; the first few, and those at each power of two, are examples."""
        self.instances += 1
        self.frames += len(source)
        if len(self.examples) < _EXAMPLES:
            self.examples.append(source.path)
        elif self.instances & (self.instances - 1) == 0:
            self.examples[1:] = [*self.examples[2:], source.path]


@dataclass
class Survey:
    """All groups, and what is not in one.

    Attributes
    ----------
    groups
        Largest first.
    unread
        Files that can't be read, with the reason.
    without_pixels
        How many instances have no pixel data.
    """

    groups: list[Group] = field(default_factory=list)
    unread: list[tuple[Path, str]] = field(default_factory=list)
    without_pixels: int = 0


def survey(
    paths: Iterable[Path],
    rules: Sequence[Rule],
    progress: Callable[[str, int], None] = lambda _, __: None,
    *,
    reads: bool = True,
) -> Survey:
    """Group instances by kind, and make the picture and the proposal of each.

    Parameters
    ----------
    paths
        Files; what is no DICOM is passed over.
    rules
        Those that know kinds already.
    progress
        Called with what is done, and how much of it.
    reads
        Whether text is looked for in the pictures, which takes seconds for each.
    """
    found = Survey()
    groups: dict[Kind, Group] = {}
    for number, path in enumerate(paths, 1):
        try:
            with Source(path, scan=False) as source:
                if source.pixel_data is None:
                    found.without_pixels += 1
                    continue
                kind = kind_of(source)
                groups.setdefault(kind, Group(kind)).add(source)
        except NotDicom:
            continue
        except CinemillError as error:
            found.unread.append((path, error.message))
        progress("headers", number)
    found.groups = sorted(groups.values(), key=lambda group: (-group.instances, str(group.kind)))
    for number, group in enumerate(found.groups, 1):
        _illustrate(group, rules)
        if reads and group.picture is not None:
            _read(group, group.picture)
        progress("pictures", number)
    return found


def _illustrate(group: Group, rules: Sequence[Rule]) -> None:
    """Make the picture of a group, and propose a mask: by a rule, else what is outside the regions."""
    for path in group.examples:
        try:
            with Source(path) as source:
                picture = _grey_or_rgb(projected(source, _FRAMES), group.picture)
                group.picture = picture if group.picture is None else np.maximum(group.picture, picture)
                if group.proposed is None:
                    group.proposed = _proposed(source, group.kind, rules)
        except CinemillError as error:
            group.problem = f"{path.name}: {error.message}"


def _read(group: Group, picture: NDArray[np.uint8]) -> None:
    """Find the text in the picture of a group, and propose to blacken that where nothing else speaks for a mask."""
    try:
        boxes = clipped([text.box for text in read_text(picture)], group.kind.rows, group.kind.columns)
    except (UsageError, NoMask) as error:
        group.problem = group.problem or error.message
        return
    group.text = boxes
    if boxes and group.proposed is None:
        group.proposed = Mask(boxes, "detected")


def _grey_or_rgb(picture: NDArray[np.uint8], like: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Return a picture with as many samples as another one."""
    if like is not None and picture.ndim < like.ndim:
        return np.repeat(picture[..., np.newaxis], 3, axis=-1)
    if like is not None and picture.ndim > like.ndim:
        brightest: NDArray[np.uint8] = picture.max(axis=-1)
        return brightest
    return picture


def _proposed(source: Source, kind: Kind, rules: Sequence[Rule]) -> Mask | None:
    rule = find_rule(rules, kind)
    if rule is not None:
        return rule.mask(kind)
    try:
        return outside_regions(source)
    except NoMask:
        return None
