"""Where the frames of encapsulated pixel data stand: by an offset table or a kept index, taken at its word, or by all its items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.dicom import kept_index
from cinemill.dicom.encapsulated import claimed_by_table
from cinemill.dicom.fragments import count_frames, group_fragments
from cinemill.errors import DamagedFile

if TYPE_CHECKING:
    from cinemill.dicom.fragments import Fragments, FrameIndex, Offsets
    from cinemill.dicom.source import Source

_EXTENDED_OFFSET_TABLE, _NUMBER_OF_FRAMES = 0x7FE00001, 0x00280008


def claimed(source: Source, value: int, *, keeps: bool) -> FrameIndex | None:
    """Return what can be told without looking at all items, None where that is not believed at first sight.

    Number of Frames may stand behind the pixel data: where it does not before, all items are looked at.

    Parameters
    ----------
    source
        Whose elements before the pixel data were read.
    value
        Where the first item stands.
    keeps
        Whether an index may have been kept beside the file.
    """
    if source.element(_NUMBER_OF_FRAMES) is None:
        return None
    try:
        promised = source.promised_frames or 1
    except DamagedFile:
        return None
    data = source.data
    found = claimed_by_table(data, value, len(data), promised, _extended_table(source))
    if found is None and keeps:
        return kept_index.load(source.path, data, value, promised, source.warnings)
    return found


def grouped(source: Source, fragments: Fragments, *, keeps: bool) -> FrameIndex:
    """Return what all items tell, and correct the number of frames where the source is to be repaired.

    Parameters
    ----------
    source
        The open file.
    fragments
        Its fragments.
    keeps
        Whether the index is to be kept beside the file.

    Raises
    ------
    DamagedFile
        They don't give the promised number of frames.
    """
    promised = source.promised_frames or 1
    if source.repair:
        there = count_frames(source.data, fragments)
        if there not in {0, promised}:
            source.warnings.append(f"Number of Frames {promised} was corrected to {there}")
            promised = there
    try:
        index = group_fragments(source.data, fragments, promised, _extended_table(source), source.warnings)
    except DamagedFile as error:
        raise error.locate(path=source.path) from None
    if keeps and source.pixel_data is not None and source.element(_NUMBER_OF_FRAMES) is not None:
        kept_index.keep(source.path, source.pixel_data.value, index, source.warnings)
    return index


def _extended_table(source: Source) -> Offsets | None:
    table = source.value(_EXTENDED_OFFSET_TABLE)
    return None if table is None else np.frombuffer(table[: len(table) // 8 * 8], "<i8")
