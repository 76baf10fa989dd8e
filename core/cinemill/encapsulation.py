"""Finds the frames of encapsulated pixel data: which fragments belong to which frame (PS3.5 §A.4).

The order of trust is: Extended Offset Table, Basic Offset Table, one fragment a frame, a marker at the start of
each frame's first fragment, all fragments to a single frame. A table is believed only where every entry points to
an item and the count is that of the frames; what is not believed is recorded as a warning. Who wants few frames of a
long cine need not look at all items for that: a table is taken at its word, and each frame checked as it is read.
"""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cinemill.elements import (
    ITEM,
    PIXEL_DATA,
    SEQUENCE_END,
    UNDEFINED,
    Bytes,
    fetch,
    forget,
    read_ahead,
    tag_name,
)
from cinemill.errors import DamagedFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cinemill.model import Buffer

    Offsets = NDArray[np.int64]

DELIMITER = struct.pack("<HHL", SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)
_ITEM_HEADER = struct.Struct("<HHL")

_FRAGMENTS_RESIDENT = 256
"""Fragments looked at before the pages around them are given back: the system maps up to 64 KiB for each."""

FRAME_STARTS = (
    b"\xff\xd8\xff",
    b"\xff\x4f\xff\x51",
    b"\x00\x00\x00\x0cjP  ",
    *(struct.pack("<LL", segments, 64) for segments in range(1, 16)),
)
"""How a JPEG, JPEG 2000, JP2 or RLE codestream begins."""


@dataclass(frozen=True, slots=True)
class Fragments:
    """Where the fragments of an encapsulated Pixel Data stand.

    Attributes
    ----------
    offsets, lengths
        File offset and length of each fragment's bytes, shape (fragments,), int64.
    table
        Entries of the Basic Offset Table, shape (entries,), int64.
    end
        Offset of the byte after the sequence delimiter.
    """

    offsets: Offsets
    lengths: Offsets
    table: Offsets
    end: int


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Where the frames of an encapsulated Pixel Data stand.

    Attributes
    ----------
    starts
        File offset of each frame's first item, and of the byte after the last frame: shape (frames + 1,), int64.
    end
        Offset of the byte after the sequence delimiter.
    """

    starts: Offsets
    end: int


class EncapsulatedFrames:
    """The frames of one encapsulated Pixel Data element. Thread-safe.

    Parameters
    ----------
    value
        Where the first item stands.
    claimed
        An index that was not made from the items: it is believed until a frame contradicts it.
    group
        Makes an index from the fragments; called when it is needed.
    warnings
        Takes a line where the claimed index is wrong.
    """

    def __init__(
        self,
        data: Bytes,
        value: int,
        claimed: FrameIndex | None,
        group: Callable[[Fragments], FrameIndex],
        warnings: list[str],
    ) -> None:
        self._data, self._value = data, value
        self._group, self._warnings = group, warnings
        self._index = claimed
        self._read: set[int] | None = None if claimed is None else set()
        self._lock = threading.Lock()

    @cached_property
    def fragments(self) -> Fragments:
        """All fragments, for which all items are looked at."""
        read_ahead(self._data, wanted=True)
        return read_fragments(self._data, self._value, len(self._data))

    @property
    def claimed(self) -> bool:
        """Whether the index was not made from the items."""
        return self._read is not None

    @property
    def index(self) -> FrameIndex:
        """Where the frames stand.

        Raises
        ------
        DamagedFile
            The items don't give the promised number of frames.
        """
        if self._index is None:
            self._index = self._group(self.fragments)
        return self._index

    @property
    def end(self) -> int:
        """Offset of the byte after the Pixel Data."""
        return self.fragments.end if self._index is None else self._index.end

    def __len__(self) -> int:
        return len(self.index.starts) - 1

    def read(self, index: int) -> Buffer:
        """Return the bytes of one frame: a view of one fragment, a copy of several.

        Raises
        ------
        DamagedFile
            A claimed index turned out to be wrong, and frames were read by it already.
        """
        believed, read = self.index, self._read
        start, end = believed.starts[index : index + 2].tolist()
        fetch(self._data, start, end)
        try:
            frame = join(self._data, start, end)
        except DamagedFile:
            if read is None:
                raise
            self._distrust(believed)
            return self.read(index)
        if read is not None:
            read.add(index)
        return frame

    def joined(self) -> Buffer:
        """Return the bytes of all fragments."""
        offsets, lengths = self.fragments.offsets, self.fragments.lengths
        return join(self._data, int(offsets[0]) - 8, int(offsets[-1] + lengths[-1])) if len(offsets) else b""

    def _distrust(self, believed: FrameIndex) -> None:
        """Replace a claimed index, unless another thread did so; frames that were read by it must not move."""
        with self._lock:
            if self._index is not believed or self._read is None:
                return
            scanned = self._group(self.fragments)
            moved = believed.starts != scanned.starts
            if any(moved[index] or moved[index + 1] for index in self._read):
                raise DamagedFile(
                    "the offset table or kept index is wrong, and frames were read by it before this was seen; "
                    "transcode the file, which ignores it"
                )
            self._warnings.append("the offset table or kept index does not fit the items; not used")
            self._index, self._read = scanned, None


def read_fragments(data: Bytes, value: int, end: int) -> Fragments:
    """Walk the items of a Pixel Data element of undefined length, touching only their headers.

    Raises
    ------
    DamagedFile
        An item is missing or reaches past the end of the file.
    """
    offsets, lengths, after = _walk_items(data, value, end)
    if not len(offsets):
        raise DamagedFile("the pixel data has no Basic Offset Table item")
    table = np.frombuffer(data, "<u4", lengths[0] // 4, offsets[0]).astype(np.int64)
    return Fragments(offsets[1:], lengths[1:], table, after)


def _walk_items(data: Bytes, start: int, end: int) -> tuple[Offsets, Offsets, int]:
    """Return offset and length of each item's value up to the sequence delimiter, and where that ends."""
    offsets: list[int] = []
    lengths: list[int] = []
    offset = start
    while offset + 8 <= end:
        group, number, length = _ITEM_HEADER.unpack_from(data, offset)
        tag = group << 16 | number
        if tag == SEQUENCE_END:
            offset += 8
            break
        if tag > PIXEL_DATA and group != ITEM >> 16 and len(offsets) > 1:
            break
        if tag != ITEM:
            raise DamagedFile(
                f"expected fragment {len(offsets)} of the pixel data at byte {offset}, found {tag_name(tag)}; "
                "the item lengths are wrong or bytes are missing"
            )
        if length == UNDEFINED or offset + 8 + length > end:
            raise DamagedFile(
                f"fragment {len(offsets)} at byte {offset} promises {length} bytes, "
                f"{end - offset - 8} are there; the file is truncated"
            )
        offsets.append(offset + 8)
        lengths.append(length)
        offset += 8 + length
        if len(offsets) % _FRAGMENTS_RESIDENT == 0:
            forget(data)
    if offsets and DELIMITER.startswith(data[offset:end]):
        offset = end
    return np.array(offsets, np.int64), np.array(lengths, np.int64), offset


def claimed_by_table(
    data: Bytes, value: int, end: int, frames: int, extended: Offsets | None
) -> FrameIndex | None:
    """Return what an offset table says of the frames, None where there is none or where it is wrong at first sight.

    Only the first and the last frame's items are looked at.

    Parameters
    ----------
    value, end
        Where the Pixel Data's first item stands, and the end of the file.
    extended
        Entries of the Extended Offset Table, where there is one.
    """
    try:
        _, _, length = _ITEM_HEADER.unpack_from(data, value)
        first = value + 8 + length
        fetch(data, value, min(first, end))
        basic = np.frombuffer(data, "<u4", length // 4, value + 8).astype(np.int64)
        for table in (extended, basic):
            if table is None or len(table) != frames or table[0] != 0 or (np.diff(table) <= 0).any():
                continue
            offsets, lengths, after = _walk_items(data, first + int(table[-1]), end)
            filled = np.flatnonzero(lengths)
            if not len(filled):
                return None
            starts = np.append(first + table, offsets[filled[-1]] + lengths[filled[-1]])
            join(data, *starts[:2].tolist())
            return FrameIndex(starts, after)
    except (DamagedFile, struct.error, ValueError):
        return None
    return None


def group_fragments(
    data: Bytes, fragments: Fragments, frames: int, extended: Offsets | None, warnings: list[str]
) -> FrameIndex:
    """Find each frame's fragments.

    Parameters
    ----------
    extended
        Entries of the Extended Offset Table, where there is one.
    warnings
        Takes a line for each table that is there but can't be believed.

    Raises
    ------
    DamagedFile
        No way of grouping gives the promised number of frames.
    """
    count = _without_trailing_empty(fragments)
    first = _first_fragments(data, fragments, frames, count, extended, warnings)
    behind = fragments.offsets[:count] + fragments.lengths[:count]
    return FrameIndex(np.append(fragments.offsets[first] - 8, behind[-1:]), fragments.end)


def _first_fragments(
    data: Bytes,
    fragments: Fragments,
    frames: int,
    count: int,
    extended: Offsets | None,
    warnings: list[str],
) -> Offsets:
    """Return the number of each frame's first fragment, shape (frames,)."""
    for name, table in (("Extended Offset Table", extended), ("Basic Offset Table", fragments.table)):
        if table is None or not len(table):
            continue
        first = _by_table(table, fragments, frames)
        if first is not None:
            return first
        warnings.append(
            f"the {name} ({len(table)} entries) does not point to the starts of {frames} frames; not used"
        )
    if count == frames:
        return np.arange(frames, dtype=np.int64)
    first = _by_marker(data, fragments, count)
    if len(first) == frames:
        return first
    if frames == 1 and count and not len(first):
        return np.zeros(1, np.int64)
    raise DamagedFile(
        f"{frames} frames are promised, {len(first) or count} are there "
        f"({count} fragments); the file is truncated, or Number of Frames is wrong (see --repair)"
    )


def count_frames(data: Bytes, fragments: Fragments) -> int:
    """Count the frames that are there, whatever the header says: codestream starts, else fragments."""
    count = _without_trailing_empty(fragments)
    return len(_by_marker(data, fragments, count)) or count


def join(data: Bytes, start: int, end: int) -> Buffer:
    """Return the bytes of all items between two offsets: a view of a single one, a copy of several.

    Raises
    ------
    DamagedFile
        Something else stands there.
    """
    pieces = []
    offset = start
    while offset + 8 <= end:
        group, number, length = _ITEM_HEADER.unpack_from(data, offset)
        if group << 16 | number != ITEM:
            break
        pieces.append(memoryview(data)[offset + 8 : offset + 8 + length])
        offset += 8 + length
    if offset != end or end > len(data):
        raise DamagedFile(f"no items stand from byte {start} to {end}, where the frame index has a frame")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _by_table(table: Offsets, fragments: Fragments, frames: int) -> Offsets | None:
    if len(table) != frames or table[0] != 0 or not fragments.lengths.any():
        return None
    relative = fragments.offsets - fragments.offsets[0]
    first = np.searchsorted(relative, table)
    inside = first < len(relative)
    if not inside.all() or (relative[first] != table).any() or (np.diff(first) <= 0).any():
        return None
    return first


def _by_marker(data: Bytes, fragments: Fragments, count: int) -> Offsets:
    starts = []
    for index, offset in enumerate(fragments.offsets[:count].tolist(), 1):
        if bytes(data[offset : offset + 8]).startswith(FRAME_STARTS):
            starts.append(index - 1)
        if index % _FRAGMENTS_RESIDENT == 0:
            forget(data)
    return np.array(starts if starts[:1] == [0] else [], np.int64)


def _without_trailing_empty(fragments: Fragments) -> int:
    filled = np.flatnonzero(fragments.lengths)
    return int(filled[-1]) + 1 if len(filled) else 0
