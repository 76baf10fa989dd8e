"""Finds the frames of encapsulated pixel data: which fragments belong to which frame (PS3.5 §A.4).

The order of trust is: Extended Offset Table, Basic Offset Table, one fragment a frame, a marker at the start of
each frame's first fragment, all fragments to a single frame. A table is believed only where every entry points to
an item, the count is that of the frames, and codestreams begin at all of them or at none; what is not believed is
recorded as a warning.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cinemill.dicom.elements import ITEM, PIXEL_DATA, SEQUENCE_END, UNDEFINED, tag_name
from cinemill.errors import DamagedFile
from cinemill.storage.mapped import Bytes, forget

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cinemill.pixel_format import Buffer

    Offsets = NDArray[np.int64]

DELIMITER = struct.pack("<HHL", SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)
ITEM_HEADER = struct.Struct("<HHL")

_FRAGMENTS_RESIDENT = 64
"""Fragments looked at before the pages around them are given back: the system maps up to 64 KiB for each."""

FRAME_STARTS = (
    b"\xff\xd8\xff",
    b"\xff\x4f\xff\x51",
    b"\x00\x00\x00\x0cjP  ",
    b"\x00\x00\x00\x0cJXL ",
    b"\xff\x0a",
    *(struct.pack("<LL", segments, 64) for segments in range(1, 16)),
)
"""How a JPEG, JPEG 2000, JP2, JPEG XL or RLE codestream begins."""


class Fragments(NamedTuple):
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


class FrameIndex(NamedTuple):
    """Where the frames of an encapsulated Pixel Data stand.

    Attributes
    ----------
    starts
        File offset of each frame's first item, and of the byte after the last frame: shape (frames + 1,), int64.
    end
        Offset of the byte after the sequence delimiter.
    kept
        Whether it comes from a file beside this one, which somebody else may have written.
    """

    starts: Offsets
    end: int
    kept: bool = False


def read_fragments(data: Bytes, value: int, end: int) -> Fragments:
    """Walk the items of a Pixel Data element of undefined length, touching only their headers.

    Parameters
    ----------
    data
        The file.
    value
        Where the first item stands.
    end
        Where the file ends.

    Raises
    ------
    DamagedFile
        An item is missing or reaches past the end of the file.
    """
    offsets, lengths, after = walk_items(data, value, end)
    if not len(offsets):
        raise DamagedFile("the pixel data has no Basic Offset Table item")
    table = np.frombuffer(data, "<u4", lengths[0] // 4, offsets[0]).astype(np.int64)
    return Fragments(offsets[1:], lengths[1:], table, after)


def walk_items(data: Bytes, start: int, end: int) -> tuple[Offsets, Offsets, int]:
    """Return offset and length of each item's value up to the sequence delimiter, and where that ends.

    Parameters
    ----------
    data
        The file.
    start
        Where the first item stands.
    end
        Where the file ends.

    Raises
    ------
    DamagedFile
        Something else stands there, or an item reaches past the end.
    """
    offsets: list[int] = []
    lengths: list[int] = []
    offset, delimited = start, False
    while offset + 8 <= end:
        group, number, length = ITEM_HEADER.unpack_from(data, offset)
        tag = group << 16 | number
        if tag == SEQUENCE_END:
            offset, delimited = offset + 8, True
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
    if offsets and not delimited and DELIMITER.startswith(data[offset:end]):
        offset = end
    return np.array(offsets, np.int64), np.array(lengths, np.int64), offset


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
        if first is not None and (count == frames or _begin_alike(data, fragments.offsets[first])):
            return first
        warnings.append(
            f"the {name} ({len(table)} entries) does not point to the starts of {frames} frames; not used"
        )
    if count == frames:
        return np.arange(frames, dtype=np.int64)
    first = _by_marker(data, fragments, count)
    for starts in (first, _behind_ends(data, fragments, first)):
        if len(starts) == frames:
            return starts
    if frames == 1 and count and not len(first):
        return np.zeros(1, np.int64)
    raise DamagedFile(
        f"{frames} frame{'s are' if frames > 1 else ' is'} promised, {len(first) or count} found in "
        f"{count} fragment{'' if count == 1 else 's'}; the file is truncated, or Number of Frames is wrong; "
        "transcode --repair keeps the frames that are there"
    )


def count_frames(data: Bytes, fragments: Fragments) -> int:
    """Count the frames that are there, whatever the header says: codestream starts, else fragments."""
    count = _without_trailing_empty(fragments)
    return len(_by_marker(data, fragments, count)) or count


def begins_frame(piece: Buffer) -> bool:
    """Tell whether a codestream begins here."""
    return bytes(piece[:8]).startswith(FRAME_STARTS)


def join(data: Bytes, start: int, end: int) -> Buffer:
    """Return the bytes of all items between two offsets: a view of a single one, a copy of several.

    Parameters
    ----------
    data, start, end
        See `pieces_between`.
    """
    pieces = pieces_between(data, start, end)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def pieces_between(data: Bytes, start: int, end: int) -> list[memoryview]:
    """Return views of the bytes of all items between two offsets.

    Parameters
    ----------
    data
        The file.
    start, end
        From the first item's header to the end of the last one's value.

    Raises
    ------
    DamagedFile
        Something else stands there.
    """
    pieces = []
    offset = start
    while offset + 8 <= end:
        group, number, length = ITEM_HEADER.unpack_from(data, offset)
        if group << 16 | number != ITEM:
            break
        pieces.append(memoryview(data)[offset + 8 : offset + 8 + length])
        offset += 8 + length
    if offset != end or end > len(data):
        raise DamagedFile(f"no items stand from byte {start} to {end}, where the frame index has a frame")
    return pieces


def _by_table(table: Offsets, fragments: Fragments, frames: int) -> Offsets | None:
    if len(table) != frames or table[0] != 0 or not fragments.lengths.any():
        return None
    if frames == 1:
        return np.zeros(1, np.int64)
    relative = fragments.offsets - fragments.offsets[0]
    first = np.searchsorted(relative, table)
    inside = first < len(relative)
    if not inside.all() or (relative[first] != table).any() or (np.diff(first) <= 0).any():
        return None
    return first


def _begin_alike(data: Bytes, offsets: Offsets) -> bool:
    """Tell whether a codestream begins at all of these offsets, or at none of them."""
    return len({begins_frame(data[offset : offset + 8]) for offset in offsets.tolist()}) == 1


def _by_marker(data: Bytes, fragments: Fragments, count: int) -> Offsets:
    starts = []
    for index, offset in enumerate(fragments.offsets[:count].tolist(), 1):
        if begins_frame(data[offset : offset + 8]):
            starts.append(index - 1)
        if index % _FRAGMENTS_RESIDENT == 0:
            forget(data)
    leading = fragments.lengths[: starts[0]] if starts else fragments.lengths
    return np.array([] if leading.any() else starts, np.int64)


def _behind_ends(data: Bytes, fragments: Fragments, first: Offsets) -> Offsets:
    """Keep the starts that follow an EOI: a SPIFF header holds an SOI too, and may be cut in front of it."""
    ends = (fragments.offsets + fragments.lengths)[first - 1].tolist()
    kept = [
        start
        for start, end in zip(first.tolist(), ends, strict=True)
        if start == 0 or bytes(data[end - 4 : end]).rstrip(b"\0").endswith(b"\xff\xd9")
    ]
    return np.array(kept, np.int64)


def _without_trailing_empty(fragments: Fragments) -> int:
    filled = np.flatnonzero(fragments.lengths)
    return int(filled[-1]) + 1 if len(filled) else 0
