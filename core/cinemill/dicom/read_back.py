"""Opens an output that was made from an open file: what stands in it as the same bytes is not walked again."""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING

from cinemill.dicom.elements import Element
from cinemill.dicom.source import Source
from cinemill.storage.digests import same_bytes

if TYPE_CHECKING:
    from pathlib import Path


class ReadBack(Source):
    """An output. Elements are told by their own bytes: the same bytes in the same encoding are the same elements.

    Parameters
    ----------
    path
        The output.
    made_from
        The open file that it was made from.

    Attributes
    ----------
    repeated : int
        How many elements, from the first on, stand in both files as the same bytes: all in front of the pixel data, or none.
    """

    def __init__(self, path: Path, made_from: Source) -> None:
        self._made_from = made_from
        self.repeated = 0
        super().__init__(path)

    def _read_before(self, start: int, size: int) -> list[Element]:
        repeated = self._repeat(start)
        self.repeated = len(repeated)
        return [*repeated, *super()._read_before(repeated[-1].end if repeated else start, size)]

    def _repeat(self, start: int) -> list[Element]:
        """Return the source's elements in front of its pixel data, if they stand at an offset of the output as the same bytes."""
        there, pixels = self._made_from, self._made_from.pixel_data
        if pixels is None or there.encoding != self.encoding:
            return []
        found = there.elements[: bisect_left(there.elements, pixels.start, key=attrgetter("start"))]
        if not found:
            return []
        first, by = found[0].start, start - found[0].start
        if not same_bytes(self.data, there.data, start, first, pixels.start - first):
            return []
        new = tuple.__new__
        return [
            new(Element, (tag, vr, at + by, value + by, end + by, length))
            for tag, vr, at, value, end, length in found
        ]
