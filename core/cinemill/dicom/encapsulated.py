"""Reads any frame of encapsulated pixel data at once, by an index that is scanned, or claimed and checked frame by frame.

To look at all items of a long cine takes a while, and many reads from the disk. Who wants few of its frames takes an
offset table, or an index that was kept, at its word: each frame's own items show whether it was right.
"""

from __future__ import annotations

import struct
import threading
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cinemill.dicom.elements import ITEM
from cinemill.dicom.fragments import (
    ITEM_HEADER,
    Fragments,
    FrameIndex,
    begins_frame,
    join,
    pieces_between,
    read_fragments,
    walk_items,
)
from cinemill.errors import DamagedFile, UsageError
from cinemill.storage.mapped import Bytes, fetch, read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable

    from cinemill.dicom.fragments import Offsets
    from cinemill.pixel_format import Buffer

_EMPTY_ITEM = (ITEM >> 16, ITEM & 0xFFFF, 0)


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
        self._data: Bytes = data
        self._value = value
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
            pieces = pieces_between(self._data, start, end)
            if read is not None:
                self._check_begins(pieces, believed)
        except DamagedFile:
            if read is None:
                raise
            self._distrust(believed)
            return self.read(index)
        if read is not None:
            read.add(index)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def empty(self) -> list[int]:
        """Return the frames that have no bytes."""
        if self.fragments.lengths.all():
            return []
        bytes_before = np.append(0, np.cumsum(self.fragments.lengths))
        first = np.searchsorted(self.fragments.offsets - 8, self.index.starts)
        found: list[int] = np.flatnonzero(np.diff(bytes_before[first]) == 0).tolist()
        return found

    def _check_begins(self, pieces: list[memoryview], believed: FrameIndex) -> None:
        """Check that a codestream begins where a frame is claimed to, if one begins at the first frame.

        In a frame of a kept index, none may begin elsewhere.
        """
        first = int(believed.starts[0]) + 8
        begins = [begins_frame(piece) for piece in pieces] or [False]
        several = believed.kept and any(begins[1:])
        if begins_frame(self._data[first : first + 8]) and (several or not begins[0]):
            raise DamagedFile("not one codestream begins where the frame index has a frame")

    def close(self) -> None:
        """Let go of the file, and of whoever groups its fragments."""
        self._data, self._group = b"", _closed

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
            moved = believed.starts != scanned.starts  # both have a start for each promised frame
            if any(moved[index] or moved[index + 1] for index in self._read):
                raise DamagedFile(
                    "the offset table or kept index is wrong, and frames were read by it before this was seen; "
                    "transcode the file, which ignores it"
                )
            if moved.any():
                self._warnings.append("the offset table or kept index does not fit the items; not used")
            self._index, self._read = scanned, None


def _closed(_: Fragments) -> FrameIndex:
    raise UsageError("the file is closed; open it again")


def claimed_by_table(
    data: Bytes, value: int, end: int, frames: int, extended: Offsets | None
) -> FrameIndex | None:
    """Return what an offset table says of the frames, None where there is none or where it is wrong at first sight.

    Only the first and the last frame's items are looked at: in the last one, no other frame may begin.

    Parameters
    ----------
    value, end
        Where the Pixel Data's first item stands, and the end of the file.
    extended
        Entries of the Extended Offset Table, where there is one.
    """
    try:
        _, _, length = ITEM_HEADER.unpack_from(data, value)
        first = value + 8 + length
        fetch(data, value, min(first, end))
        basic = np.frombuffer(data, "<u4", length // 4, value + 8).astype(np.int64)
        for table in (extended, basic):
            if table is None or len(table) != frames or table[0] != 0 or (np.diff(table) <= 0).any():
                continue
            offsets, lengths, after = walk_items(data, first + int(table[-1]), end)
            filled = np.flatnonzero(lengths)
            if not len(filled):
                return None
            starts = np.append(first + table, offsets[filled[-1]] + lengths[filled[-1]])
            join(data, *starts[:2].tolist())
            if any(begins_frame(data[offset : offset + 8]) for offset in offsets[1:].tolist()):
                continue
            return FrameIndex(starts, after)
    except (DamagedFile, struct.error, ValueError):
        return None
    return None


def index_fits(data: Bytes, value: int, index: FrameIndex) -> bool:
    """Tell whether an index can be that of a Pixel Data: by its bounds, and the items of its first and its last frame.

    Parameters
    ----------
    value
        Where the Pixel Data's first item stands.
    index
        What is claimed of it, for the promised number of frames.
    """
    starts = index.starts
    if (np.diff(starts) <= 0).any():
        return False
    try:
        _, _, length = ITEM_HEADER.unpack_from(data, value)
        first = value + 8 + length
        while first < starts[0] and ITEM_HEADER.unpack_from(data, first) == _EMPTY_ITEM:
            first += 8
        frames = [pieces_between(data, *starts[at:][:2].tolist()) for at in (0, -2)]
        _, lengths, after = walk_items(data, int(starts[-1]), len(data))
    except (DamagedFile, struct.error):
        return False
    whole = not any(begins_frame(piece) for pieces in frames for piece in pieces[1:])
    return first == starts[0] and whole and after == index.end and not lengths.any()
