"""Opens a DICOM Part 10 file: its elements as byte spans, its pixel format, and any frame's bytes by index."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from cinemill.dicom import kept_index
from cinemill.dicom.elements import ITEM, PIXEL_DATA, UNDEFINED, Element, bounded, read_header, tag_name, walk
from cinemill.dicom.encapsulated import EncapsulatedFrames, claimed_by_table
from cinemill.dicom.file_meta import meta_faults
from cinemill.dicom.fragments import DELIMITER, Fragments, FrameIndex, count_frames, group_fragments
from cinemill.dicom.misdeclared import check_declared, is_enclosed, settled
from cinemill.dicom.native import NativeFrames
from cinemill.dicom.part10 import read_part10
from cinemill.dicom.pixel_description import describe
from cinemill.dicom.values import Values
from cinemill.errors import CinemillError, DamagedFile, UsageError
from cinemill.pixel_format import Buffer, PixelFormat
from cinemill.storage.location import located, state
from cinemill.storage.mapped import Bytes, forget, read_ahead

if TYPE_CHECKING:
    from cinemill.dicom.fragments import Offsets

FLOAT_PIXEL_DATA = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00009
PIXEL_TAGS = frozenset((PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA))
_FILE_META, _DELIMITERS = 0x0002, ITEM >> 16
_NUMBER_OF_FRAMES, _ROWS, _COLUMNS = 0x00280008, 0x00280010, 0x00280011
_EXTENDED_OFFSET_TABLE, _HIGH_BIT = 0x7FE00001, 0x00280102
_RESIDENT = 4 << 20
"""Bytes of frames after which the pages that hold them are given back."""


class Source(Values):
    """One open file. Frames are read on demand; nothing but the header is kept in memory.

    Parameters
    ----------
    path
        A regular file.
    repair
        Correct Number of Frames from what is there, and leave out what is no element behind the pixel data, or stands
        in an item outside any sequence, instead of failing.
    data
        The file's bytes, where they don't stand in a file of their own.
    scan
        Look at all items of encapsulated pixel data, so that an offset table is believed as a whole or not at all.
        Else a table that fits the first and the last frame is believed, and each frame checked when it is read: any
        frame of a long cine is reached at once.
    keep_index
        Keep the frame index beside the file where a scan was needed, and believe the one that is kept there.

    Attributes
    ----------
    state : State or None
        Of the file, as it was opened.
    transfer_syntax : TransferSyntax
    pixel_data : Element or None
        Also None where it is empty, and the image has neither rows nor columns.
    in_memory : bool
        Whether the bytes were given, and don't stand in a file at `path`.
    warnings : list of str
        What is wrong with the file but did no harm.
    unheld : str
        What stands in an item outside any sequence, which no output can hold; empty if nothing does.

    Raises
    ------
    NotDicom
        Neither a Part 10 file nor a data set without a preamble.
    DamagedFile
        Truncated or inconsistent, with both numbers.
    UnsupportedTransferSyntax
        The transfer syntax is unknown.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        repair: bool = False,
        data: Bytes | None = None,
        scan: bool = True,
        keep_index: bool = False,
    ) -> None:
        self.path = located(path)
        self.state = None if data is not None else state(self.path)
        self.repair = repair
        self.in_memory = data is not None
        self._scan = scan or repair
        self._keep_index = keep_index and not repair and not self.in_memory
        self.warnings: list[str] = []
        self._touched = 0
        self._left_out = False
        self.unheld = ""
        try:
            self._open(data)
        except CinemillError as error:
            raise error.locate(path=self.path) from None
        except RecursionError:
            raise DamagedFile("sequences are nested too deeply", path=self.path) from None

    def _open(self, given: Bytes | None) -> None:
        opened = read_part10(self.path, given, self.warnings)
        self.file, self.meta = opened.file, opened.meta
        self.transfer_syntax, self.encoding = opened.transfer_syntax, opened.encoding
        self.data, start, size = opened.data, opened.start, len(opened.data)
        if self._scan:
            self.read_in_order()
        before = self._read_before(start, size)
        after = before[-1].end if before else start
        self.pixel_data: Element | None = None
        self._encapsulated: EncapsulatedFrames | None = None
        self._spans = {element.tag: element for element in before}
        if any(self.data[after : after + 4]):
            self.pixel_data = self._read_pixel_element(after, size)
            after = self.pixel_data.end
        behind = self._read_behind(after, size) if self.pixel_data else []
        if not before and self.pixel_data is None:
            raise DamagedFile("there are no data elements; the file is truncated")
        pixels = self.pixel_data
        if pixels and not (pixels.length or self.short(_ROWS, 0) or self.short(_COLUMNS, 0)):
            behind, self.pixel_data = [pixels, *behind], None
        self.elements = [*before, *behind]
        self._spans |= {element.tag: element for element in behind}
        self.transfer_syntax = settled(self)
        if not {_FILE_META, _DELIMITERS}.isdisjoint([tag >> 16 for tag in self._spans]):
            self._leave_out()
        self.meta_faults = meta_faults(self)
        self.warnings += self.meta_faults

    def _leave_out(self) -> None:
        """Leave out items and delimiters that stand outside any sequence."""
        for element in self.elements:
            if element.tag >> 16 == _FILE_META:
                where = f"of the File Meta Information stands in the data set, at byte {element.start}"
                raise DamagedFile(f"{tag_name(element.tag)} {where}")
            if element.tag >> 16 == _DELIMITERS and (size := element.end - element.value):
                self.unheld = f"{size} bytes at byte {element.value} stand in an item outside any sequence"
        self.elements = [element for element in self.elements if element.tag >> 16 != _DELIMITERS]
        self._left_out |= bool(self.unheld and self.repair)
        found = self.unheld or "delimiters stand outside any sequence"
        self.warnings.append(found if self.unheld and not self.repair else f"{found}; they were left out")

    def _read_before(self, start: int, size: int) -> list[Element]:
        return list(bounded(walk(self.data, start, size, self.encoding, until=PIXEL_TAGS)))

    def _read_behind(self, start: int, size: int) -> list[Element]:
        """Return the elements behind the pixel data."""
        found: list[Element] = []
        end = start
        try:
            for element in bounded(walk(self.data, start, size, self.encoding)):
                found.append(element)
                end = element.end
        except DamagedFile as error:
            what = f"{size - end} bytes at byte {end}, behind the pixel data, are no data elements"
            if not self.repair:
                raise DamagedFile(f"{what} ({error.message}); transcode --repair leaves them out") from None
            self._left_out = True
            self.warnings.append(f"{what}; they were left out")
        else:
            if end < size:
                self.warnings.append(f"{size - end} zero bytes follow the last element")
        if any(element.tag in PIXEL_TAGS for element in found):
            raise DamagedFile("there is pixel data twice; which one is meant can't be told")
        return found

    def _read_pixel_element(self, offset: int, size: int) -> Element:
        element = read_header(self.data, offset, size, self.encoding)
        enclosed = self.transfer_syntax.encapsulated and is_enclosed(self.data, element)
        if element.length != UNDEFINED and not enclosed:
            end = element.value + element.length
            if end > size:
                if not self.repair:
                    there = f"{size - element.value} are there; the file is truncated"
                    raise DamagedFile(f"the pixel data promises {element.length} bytes, {there}")
                self._left_out = True
                end = size
            return Element(element.tag, element.vr, offset, element.value, end, element.length)
        claimed = self._claimed_index(element.value)
        if enclosed:
            self.warnings.append("the pixel data is encapsulated, but has a length; its items fill it")
        frames = EncapsulatedFrames(self.data, element.value, claimed, self._group, self.warnings)
        self._encapsulated, end = frames, frames.end
        if self.data[end - 8 : end] != DELIMITER:
            self.warnings.append("the pixel data has no sequence delimiter; all its fragments are complete")
        return Element(element.tag, element.vr, offset, element.value, end, UNDEFINED)

    @cached_property
    def pixels(self) -> PixelFormat:
        """What the header says of the pixels: its label need not be true.

        Raises
        ------
        DamagedFile
            A description is missing or contradicts itself.
        """
        if self.pixel_data is None:
            raise DamagedFile("there is no pixel data", path=self.path)
        return describe(self)

    @property
    def high_bit(self) -> int:
        """High Bit (0028,0102): that of right-aligned samples where it is absent, or where all bits are stored and it can be no other."""
        aligned, pixels = self.pixels.bits_stored - 1, self.pixels
        return aligned if pixels.bits_stored == pixels.bits_allocated else self.short(_HIGH_BIT, aligned)

    @cached_property
    def promised_frames(self) -> int | None:
        """Number of Frames, None where it is absent or empty.

        Raises
        ------
        DamagedFile
            It is no positive integer.
        """
        text = self.text(_NUMBER_OF_FRAMES)
        if not text:
            return None
        if number := self.integer(_NUMBER_OF_FRAMES):
            return number
        if self.repair:
            return None
        raise DamagedFile(
            f"Number of Frames is {text[:64]!r}, expected a positive integer; transcode --repair counts the frames",
            path=self.path,
        )

    def __len__(self) -> int:
        """Return the number of frames."""
        if self.transfer_syntax.coding == "video":
            return self.promised_frames or 1
        return len(self._native if self._encapsulated is None else self._encapsulated)

    @property
    def renumbered(self) -> bool:
        """Whether `repair` found another number of frames than Number of Frames says."""
        told = self.text(_NUMBER_OF_FRAMES) or len(self) > 1
        return bool(self.repair and told) and self.promised_frames != len(self)

    @property
    def repaired(self) -> bool:
        """Whether `repair` had anything to do."""
        return self._left_out or self.renumbered

    def _claimed_index(self, value: int) -> FrameIndex | None:
        """Return a frame index for pixel data whose items stand from this offset, without looking at them all."""
        if (
            self._scan or _NUMBER_OF_FRAMES not in self._spans
        ):  # it may stand behind; a single frame is as soon scanned
            return None
        try:
            promised = self.promised_frames or 1
        except DamagedFile:
            return None
        claimed = claimed_by_table(self.data, value, len(self.data), promised, self._extended_table)
        if claimed is None and self._keep_index:
            return kept_index.load(self.path, self.data, value, promised, self.warnings)
        return claimed

    def _group(self, fragments: Fragments) -> FrameIndex:
        promised = self.promised_frames or 1
        if self.repair:
            there = count_frames(self.data, fragments)
            if there not in {0, promised}:
                self.warnings.append(f"Number of Frames {promised} was corrected to {there}")
                promised = there
        try:
            index = group_fragments(self.data, fragments, promised, self._extended_table, self.warnings)
        except DamagedFile as error:
            raise error.locate(path=self.path) from None
        if self._keep_index and self.pixel_data is not None and _NUMBER_OF_FRAMES in self._spans:
            kept_index.keep(self.path, self.pixel_data.value, index, self.warnings)
        return index

    @property
    def _extended_table(self) -> Offsets | None:
        table = self.value(_EXTENDED_OFFSET_TABLE)
        return None if table is None else np.frombuffer(table[: len(table) // 8 * 8], "<i8")

    @cached_property
    def _native(self) -> NativeFrames:
        assert self.pixel_data is not None
        check_declared(self)
        try:
            return NativeFrames.find(
                self.data,
                self.pixel_data,
                self.pixels,
                self.promised_frames,
                self.encoding,
                repair=self.repair,
                warnings=self.warnings,
            )
        except DamagedFile as error:
            raise error.locate(path=self.path) from None

    @property
    def native(self) -> bool:
        """Whether the pixel data as found is not encapsulated."""
        return self._encapsulated is None

    def check(self) -> None:
        """Check that the pixel data is there as promised, without decoding it.

        Raises
        ------
        DamagedFile
            It is not: the message has both numbers.
        """
        check_declared(self)
        _ = self.pixels
        len(self)
        frames = self._encapsulated
        if frames is None or frames.claimed or self.transfer_syntax.coding == "video":
            return
        if empty := frames.empty():
            raise DamagedFile(
                f"{len(empty)} of {len(self)} frames have no bytes", path=self.path, frame=empty[0]
            )

    def frame(self, index: int) -> Buffer:
        """Return the encoded bytes of one frame, without touching those before it.

        Fragments are joined; native samples are little endian, bit-packed frames start at a byte.

        Raises
        ------
        IndexError
            There is no such frame.
        UsageError
            The file was closed.
        """
        if not self.file:
            raise UsageError("the file is closed; open it again", path=self.path)
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        frame = (self._native if self._encapsulated is None else self._encapsulated).read(index)
        self._touched += len(frame)
        if self._touched > _RESIDENT:
            self._touched = 0
            forget(self.data)
        return frame

    def read_in_order(self) -> None:
        """Say that many frames will be read in their order, so that the system may read ahead."""
        read_ahead(self.data, wanted=True)

    def bitstream(self) -> Buffer:
        """Return all fragments joined: the one stream of a video (PS3.5 §A.4.5 to §A.4.8)."""
        assert self._encapsulated is not None
        return self._encapsulated.joined()

    def native_bytes(self) -> Iterator[Buffer]:
        """Yield all native pixel data in pieces, little endian."""
        return self._native.pieces()

    @property
    def fragments(self) -> Fragments | None:
        """All fragments of encapsulated pixel data, for which all items are looked at; None where it is native."""
        return None if self._encapsulated is None else self._encapsulated.fragments

    @property
    def encoded_bytes(self) -> int:
        """Bytes that the frames take in the file."""
        if self._encapsulated is not None:
            return int(self._encapsulated.fragments.lengths.sum())
        return 0 if self.pixel_data is None else self.pixel_data.end - self.pixel_data.value

    @property
    def layout(self) -> PixelFormat:
        """The pixel format as the frames lie in the file: a 4:2:2 label of native ones may be wrong."""
        return self._native.pixels if self.native else self.pixels

    def close(self) -> None:
        """Unmap the file as soon as no view of it is left."""
        self.data = self.file = b""
        self.__dict__.pop("_native", None)
        if self._encapsulated is not None:
            self._encapsulated.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> Any:
        raise TypeError("an open Source can't be pickled; pass its path")
