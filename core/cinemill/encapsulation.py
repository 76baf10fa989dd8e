"""Finds the frames of encapsulated pixel data: which fragments belong to which frame (PS3.5 §A.4).

The order of trust is: Extended Offset Table, Basic Offset Table, one fragment a frame, a marker at the start of
each frame's first fragment, all fragments to a single frame. A table is believed only where every entry points to
an item and the count is that of the frames; what is not believed is recorded as a warning.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cinemill.elements import ITEM, PIXEL_DATA, SEQUENCE_END, UNDEFINED, Bytes, forget, tag_name
from cinemill.errors import DamagedFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cinemill.model import Buffer

    Offsets = NDArray[np.int64]

_DELIMITER = struct.pack("<HHL", SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)

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
    delimited
        Whether the sequence delimiter was there.
    """

    offsets: Offsets
    lengths: Offsets
    table: Offsets
    end: int
    delimited: bool


def read_fragments(data: Bytes, value: int, end: int) -> Fragments:
    """Walk the items of a Pixel Data element of undefined length, touching only their headers.

    Raises
    ------
    DamagedFile
        An item is missing or reaches past the end of the file.
    """
    header = struct.Struct("<HHL")
    starts: list[int] = []
    lengths: list[int] = []
    offset, delimited = value, False
    while offset + 8 <= end:
        group, number, length = header.unpack_from(data, offset)
        tag = group << 16 | number
        if tag == SEQUENCE_END:
            offset, delimited = offset + 8, True
            break
        if tag > PIXEL_DATA and group != ITEM >> 16 and len(starts) > 1:
            break
        if tag != ITEM:
            raise DamagedFile(
                f"expected fragment {len(starts)} of the pixel data at byte {offset}, found {tag_name(tag)}; "
                "the item lengths are wrong or bytes are missing"
            )
        if length == UNDEFINED or offset + 8 + length > end:
            raise DamagedFile(
                f"fragment {len(starts)} at byte {offset} promises {length} bytes, "
                f"{end - offset - 8} are there; the file is truncated"
            )
        starts.append(offset + 8)
        lengths.append(length)
        offset += 8 + length
        if len(starts) % _FRAGMENTS_RESIDENT == 0:
            forget(data)
    if not starts:
        raise DamagedFile("the pixel data has no Basic Offset Table item")
    if not delimited and _DELIMITER.startswith(data[offset:end]):
        offset = end
    table = np.frombuffer(data, "<u4", lengths[0] // 4, starts[0]).astype(np.int64)
    return Fragments(
        np.array(starts[1:], np.int64), np.array(lengths[1:], np.int64), table, offset, delimited
    )


def group_fragments(
    data: Bytes, fragments: Fragments, frames: int, extended: Offsets | None, warnings: list[str]
) -> Offsets:
    """Return the index of each frame's first fragment, and the number of fragments: shape (frames + 1,).

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
    for name, table in (("Extended Offset Table", extended), ("Basic Offset Table", fragments.table)):
        if table is None or not len(table):
            continue
        first = _by_table(table, fragments, frames)
        if first is not None:
            return first
        warnings.append(
            f"the {name} ({len(table)} entries) does not point to the starts of {frames} frames; not used"
        )
    count = _without_trailing_empty(fragments)
    if count == frames:
        return np.arange(frames + 1, dtype=np.int64)
    first = _by_marker(data, fragments, count)
    if len(first) == frames:
        return np.append(first, count)
    if frames == 1 and count and not len(first):
        return np.array([0, count], np.int64)
    raise DamagedFile(
        f"{frames} frame{'s are' if frames > 1 else ' is'} promised, {len(first) or count} found in "
        f"{count} fragment{'' if count == 1 else 's'}; the file is truncated, or Number of Frames is wrong (see --repair)"
    )


def count_frames(data: Bytes, fragments: Fragments) -> int:
    """Count the frames that are there, whatever the header says: codestream starts, else fragments."""
    count = _without_trailing_empty(fragments)
    return len(_by_marker(data, fragments, count)) or count


def join(data: Bytes, fragments: Fragments, first: int, last: int) -> Buffer:
    """Return the bytes of fragments ``first`` up to ``last``: a view of one fragment, a copy of several."""
    pieces = [
        memoryview(data)[start : start + length]
        for start, length in zip(
            fragments.offsets[first:last].tolist(), fragments.lengths[first:last].tolist(), strict=True
        )
    ]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _by_table(table: Offsets, fragments: Fragments, frames: int) -> Offsets | None:
    if len(table) != frames or table[0] != 0 or not len(fragments.offsets):
        return None
    relative = fragments.offsets - fragments.offsets[0]
    first = np.searchsorted(relative, table)
    inside = first < len(relative)
    if not inside.all() or (relative[first] != table).any() or (np.diff(first) <= 0).any():
        return None
    return np.append(first, _without_trailing_empty(fragments))


def _by_marker(data: Bytes, fragments: Fragments, count: int) -> Offsets:
    starts = []
    for index, offset in enumerate(fragments.offsets[:count].tolist(), 1):
        if bytes(data[offset : offset + 8]).startswith(FRAME_STARTS):
            starts.append(index - 1)
        if index % _FRAGMENTS_RESIDENT == 0:
            forget(data)
    leading = fragments.lengths[: starts[0]] if starts else fragments.lengths
    return np.array([] if leading.any() else starts, np.int64)


def _without_trailing_empty(fragments: Fragments) -> int:
    filled = np.flatnonzero(fragments.lengths)
    return int(filled[-1]) + 1 if len(filled) else 0
