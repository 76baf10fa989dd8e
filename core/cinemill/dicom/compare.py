"""Compares a written file with its source without decoding a frame: all other elements, and frames that were carried over."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from cinemill.dicom.elements import IMPLICIT_LE, tag_name
from cinemill.dicom.fragments import DELIMITER
from cinemill.dicom.recode import Recoder
from cinemill.errors import VerificationError
from cinemill.storage.digests import pieces

if TYPE_CHECKING:
    from cinemill.dicom.source import Source


def compare_elements(source: Source, output: Source, may_change: Collection[int]) -> None:
    """Compare all elements but the pixel data, whatever the encodings of the two files.

    Parameters
    ----------
    may_change
        Tags that the plan changes, adds or removes. Group lengths and File Meta Information are never compared.

    Raises
    ------
    VerificationError
        An element is lost, new or different; the message names up to five.
    """
    if source.encoding == output.encoding and _same_as_found(source, output, may_change):
        return
    before, after = _normal(source, may_change), _normal(output, may_change)
    different = [tag for tag in before.keys() | after.keys() if before.get(tag) != after.get(tag)]
    if different:
        named = ", ".join(tag_name(tag) for tag in sorted(different)[:5])
        raise VerificationError(
            f"{len(different)} elements differ from the source's: {named}; nothing was kept", path=output.path
        )


def compare_bytes(source: Source, output: Source, frames: Sequence[int] | None = None) -> None:
    """Compare frames that were carried over as they are coded; a padding byte may follow one in the output.

    Parameters
    ----------
    source, output
        What was read, and what was written.
    frames
        Frames of the source that are in the output, counted from 0; all of them by default.

    Raises
    ------
    VerificationError
        A frame differs, or there is another number of frames.
    """
    frames = range(len(source)) if frames is None else frames
    if len(frames) != len(output):
        raise VerificationError(f"{len(frames)} frames went in, {len(output)} were written", path=output.path)
    padded = output.transfer_syntax.encapsulated
    for there, index in enumerate(frames):
        expected, found = bytes(source.frame(index)), output.frame(there)
        if found != expected + bytes(len(expected) % 2 if padded else 0):
            raise VerificationError("the bytes differ", path=output.path, frame=index)


def _same_as_found(source: Source, output: Source, may_change: Collection[int]) -> bool:
    """Whether the elements stand in both files in the same order, as the same bytes."""
    before, after = (
        [e for e in file.elements if e.tag & 0xFFFF and e.tag not in may_change] for file in (source, output)
    )
    if len(before) != len(after):
        return False
    here, there = source.data, output.data
    start = end = 0  # of a run of elements behind each other
    further = 0  # by so much it stands behind its place in the output
    for one, other in zip(before, after, strict=True):
        if other.end - one.end != other.start - one.start:
            return False
        if one.start != end or other.start - one.start != further:
            if here[start:end] != there[start + further : end + further]:
                return False
            start, further = one.start, other.start - one.start
        end = one.end
    return bool(here[start:end] == there[start + further : end + further])


def compare_encapsulated(source: Source, output: Source) -> None:
    """Compare encapsulated pixel data that was carried over as it stands.

    Raises
    ------
    VerificationError
        A byte differs.
    """
    before, after = source.pixel_data, output.pixel_data
    assert before is not None
    assert after is not None
    end = after.end - (0 if ends_with_delimiter(source) else len(DELIMITER))
    there = pieces(output.data, after.value, end)
    here = pieces(source.data, before.value, before.end)
    if end - after.value != before.end - before.value or any(
        one != other for one, other in zip(here, there, strict=True)
    ):
        raise VerificationError("the bytes of the pixel data differ", path=output.path)


def ends_with_delimiter(source: Source) -> bool:
    """Whether encapsulated pixel data ends as it should (PS3.5 §A.4)."""
    element = source.pixel_data
    return element is not None and source.data[element.end - 8 : element.end] == DELIMITER


def _normal(source: Source, may_change: Collection[int]) -> dict[int, bytes]:
    recoder = Recoder(source.data, source.encoding, IMPLICIT_LE, signed=False, canonical=True)
    compared = (element for element in source.elements if element.tag not in may_change)
    return {element.tag: encoded for element, encoded in recoder.encode(compared)}
