"""What a check is, and what it looks at: an open file, of which each thing is looked up once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from cinemill.dicom.dictionary import find_keyword
from cinemill.dicom.elements import PIXEL_DATA
from cinemill.dicom.fragments import group_fragments, pieces_between
from cinemill.dicom.values import explained
from cinemill.errors import CinemillError, DamagedFile
from cinemill.frames.markers import MARKED, read_markers
from cinemill.frames.regions import Region, read_regions, region_items
from cinemill.operations.inspect.checks.classes import CLASSES, SopClass
from cinemill.operations.inspect.facts import short
from cinemill.operations.inspect.model import Facts, Severity
from cinemill.storage.mapped import forget

if TYPE_CHECKING:
    from pydicom import Dataset

    from cinemill.codecs.codestream import Codestream
    from cinemill.dicom.fragments import Fragments, FrameIndex, Offsets
    from cinemill.dicom.source import Source
    from cinemill.operations.inspect.documents.content import Content
    from cinemill.pixel_format import Buffer, PixelFormat

_EXTENDED_OFFSET_TABLE, _DIRECTORY_RECORDS, _VALUE_TYPE = 0x7FE00001, 0x00041220, 0x0040A040
_HEAD = 1 << 16
_RESIDENT = 64
"""Frames looked at before the pages around them are given back."""


class Problem(NamedTuple):
    """What a check found.

    Attributes
    ----------
    found
        See `cinemill.operations.inspect.model.Finding`.
    frame
        The frame that it is about, counted from 0.
    remedy
        How to mend it, where that is not what the check says.
    """

    found: str
    frame: int | None = None
    remedy: str | None = None


Problems: TypeAlias = Iterable["str | Problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes
    ----------
    id
        Group and name: ``frames.count``.
    severity, section, remedy
        Of its findings.
    about
        What should be, in a few words.
    run
        Yields what is not so; nothing where what is found is told by something else.
    counted
        Whether all items or codestreams are looked at, and not the header alone.
    pixels
        Whether it concerns pixels, and nothing else in a receipt says so.
    """

    id: str
    severity: Severity
    section: str
    about: str
    remedy: str
    run: Callable[[Subject], Problems] = lambda _: ()
    counted: bool = False
    pixels: bool = False


def check(
    name: str,
    severity: Severity,
    section: str,
    *,
    about: str,
    remedy: str,
    counted: bool = False,
    pixels: bool = False,
) -> Callable[[Callable[[Subject], Problems]], Check]:
    """Return what makes a check of a function.

    Parameters
    ----------
    name
        Its id.
    severity, section, about, remedy, counted, pixels
        See `Check`.
    """

    def made(run: Callable[[Subject], Problems]) -> Check:
        return Check(name, severity, section, about, remedy, run, counted, pixels)

    return made


class Subject:
    """An instance that is checked.

    Parameters
    ----------
    source
        The open file.
    facts
        What is known of it.
    whole
        Whether the pixel data is there as it is in the file; else only what stands before it could be read.
    expected_model
        Manufacturer's Model Name that is expected.
    """

    def __init__(
        self, source: Source, facts: Facts, *, whole: bool = True, expected_model: str | None = None
    ) -> None:
        self.source, self.facts, self.whole = source, facts, whole
        self.expected_model = expected_model

    @property
    def sop_class(self) -> SopClass | None:
        """What the standard says of its SOP class, where that stands in the table."""
        return CLASSES.get(self.facts.sop_class_uid or "")

    @property
    def directory(self) -> bool:
        """Whether it is a DICOMDIR, and no instance."""
        return self.source.element(_DIRECTORY_RECORDS) is not None

    @property
    def image(self) -> bool:
        """Whether there is Pixel Data of integers."""
        return self.source.pixel_data is not None and self.source.pixel_data.tag == PIXEL_DATA

    @property
    def video(self) -> bool:
        """Whether all frames are one stream."""
        return self.source.transfer_syntax.coding == "video"

    @property
    def ultrasound(self) -> bool:
        """Whether it is an ultrasound image of the single or multi-frame IOD."""
        return self.sop_class is not None and "US" in self.sop_class.modalities and not self.sop_class.grouped

    @property
    def header(self) -> Dataset:
        """The elements that documents are read from, as pydicom reads them."""
        return self.source.brief

    @cached_property
    def described(self) -> PixelFormat | None:
        """What the header says of the pixels; None where that is no description."""
        try:
            return self.source.pixels if self.image else None
        except CinemillError:
            return None

    @cached_property
    def content(self) -> Content:
        """The content tree of a document; empty of anything else."""
        from cinemill.operations.inspect.documents.content import Content

        return Content(self.header if self.source.element(_VALUE_TYPE) is not None else None)

    @cached_property
    def region_items(self) -> list[dict[str, Any]]:
        """Items of Sequence of Ultrasound Regions, as numbers by keyword."""
        return region_items(self.source) if self.image else []

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """Ultrasound regions of an image; none where they can't be read."""
        shape = self.facts.rows or 0, self.facts.columns or 0
        try:
            return tuple(read_regions({"SequenceOfUltrasoundRegions": self.region_items}, *shape))
        except CinemillError:
            return ()

    def items(self, tag: int) -> list[Dataset]:
        """Return the items of a sequence, none where it is absent."""
        keyword = find_keyword(tag)
        with explained(f"{keyword} can't be read", "the file is damaged", DamagedFile):
            return list(self.source.part(tag).get(keyword) or ())

    def short(self, tag: int) -> int | None:
        """Return the first value of an element of VR US, None where it is absent or empty."""
        return short(self.source, tag)

    def present(self, tag: int) -> bool:
        """Whether a top-level element is there and has a value."""
        element = self.source.element(tag)
        return element is not None and element.end > element.value

    @cached_property
    def fragments(self) -> Fragments | None:
        """All fragments of encapsulated pixel data; None where it is native, or a video's."""
        return self.source.fragments if self.image and not self.video else None

    @cached_property
    def extended_table(self) -> Offsets | None:
        """Entries of the Extended Offset Table, None where there is none."""
        value = self.source.value(_EXTENDED_OFFSET_TABLE)
        return None if value is None else np.frombuffer(value[: len(value) // 8 * 8], "<i8")

    @cached_property
    def index(self) -> FrameIndex | None:
        """Where the promised frames of encapsulated pixel data stand; None where they are not there."""
        fragments, frames = self.fragments, self.facts.frames
        if fragments is None or frames is None:
            return None
        try:
            return group_fragments(self.source.data, fragments, frames, self.extended_table, [])
        except DamagedFile:
            return None

    def pieces(self) -> Iterator[tuple[int, list[memoryview]]]:
        """Yield the fragments of each encapsulated frame with its number, where all promised ones are there."""
        if self.index is None:
            return
        starts = self.index.starts.tolist()
        for number, (start, end) in enumerate(pairwise(starts)):
            if number % _RESIDENT == 0:
                forget(self.source.data)
            yield number, pieces_between(self.source.data, start, end)

    @cached_property
    def streams(self) -> list[Codestream | CinemillError]:
        """What each frame's codestream says of itself, or why it can't be read; none where codestreams have no markers."""
        if self.source.transfer_syntax.coding not in MARKED:
            return []
        return [self._stream(number, pieces) for number, pieces in self.pieces()]

    def _stream(self, number: int, pieces: list[memoryview]) -> Codestream | CinemillError:
        """Read the markers of a frame: of several fragments, the first ones should be enough."""
        head = first_bytes(pieces, _HEAD)
        try:
            return read_markers(self.source, number, head)
        except CinemillError as error:
            if len(pieces) == 1:
                return error.with_traceback(None)  # which knows the fragments
        try:
            return read_markers(self.source, number, b"".join(pieces))
        except CinemillError as error:
            return error.with_traceback(None)


def first_bytes(pieces: list[memoryview], count: int) -> Buffer:
    """Return the first fragments of a frame, as many as hold this number of bytes."""
    if len(pieces) == 1 or len(pieces[0]) >= count:
        return pieces[0]
    last = int(np.searchsorted(np.cumsum([len(piece) for piece in pieces]), count))
    return b"".join(pieces[: last + 1])


def last_bytes(pieces: list[memoryview], count: int) -> bytes:
    """Return the last bytes of a frame, over as many fragments as they take."""
    tail = b""
    for piece in reversed(pieces):
        tail = bytes(piece[-count:]) + tail
        if len(tail) >= count:
            break
    return tail[-count:]


def gathered(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield the first of problems of frames, with how many others have one."""
    each = iter(problems)
    first = next(each, None)
    if first is None:
        return
    others = sum(1 for _ in each)
    more = "" if not others else f"; so {others} other{'' if others == 1 else 's'}"
    yield first._replace(found=first.found + more)
