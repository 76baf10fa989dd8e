"""Compares a written file with its source without decoding a frame: all other elements, and frames that were carried over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING

import xxhash

from cinemill.dicom.elements import IMPLICIT_LE, tag_name
from cinemill.dicom.fragments import DELIMITER
from cinemill.dicom.recode import Recoder
from cinemill.errors import VerificationError
from cinemill.storage.digests import same_bytes
from cinemill.storage.mapped import pieces

if TYPE_CHECKING:
    from cinemill.dicom.recode import ItemChange
    from cinemill.dicom.source import Source


def compare_elements(
    source: Source,
    output: Source,
    may_change: Collection[int],
    *,
    change_item: ItemChange | None = None,
    repeated: int = 0,
) -> None:
    """Compare all elements but the pixel data, whatever the encodings of the two files.

    Parameters
    ----------
    may_change
        Tags that the plan changes, adds or removes. Group lengths and File Meta Information are never compared.
    change_item
        What was put in place of images in sequences: see `cinemill.dicom.rewrite.compose`.
    repeated
        How many elements, from the first on, are known to be the same in both.

    Raises
    ------
    VerificationError
        An element is lost, new or different; the message names up to five.
    """
    if source.encoding == output.encoding and _same_as_found(source, output, may_change, repeated):
        return
    before, after = _normal(source, may_change, change_item), _normal(output, may_change)
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
            raise VerificationError(
                f"expected the {len(expected)} bytes of the source's frame, found {len(found)} that differ; nothing was kept",
                path=output.path,
                frame=index,
            )


def _same_as_found(source: Source, output: Source, may_change: Collection[int], repeated: int) -> bool:
    """Whether the elements are the same bytes in both files, and equal tags stand in the same order.

    In one encoding, where an element ends is told by its own bytes: what is the same bytes from the first element on is the
    same elements.
    """
    here, there = _kept(source, may_change, repeated), _kept(output, may_change, repeated)
    while here and there:
        one, other = here.pop(), there.pop()
        size = min(len(one), len(other))
        if not same_bytes(source.data, output.data, one.start, other.start, size):
            return False
        here += filter(None, [one[size:]])
        there += filter(None, [other[size:]])
    return not here and not there


def _kept(file: Source, may_change: Collection[int], first: int) -> list[range]:
    """Return where the elements that are compared stand, from one on; those one behind the other together, the last tags first."""
    runs = []
    begin = end = 0
    for tag, _, start, _, after, _ in sorted(islice(file.elements, first, None), key=itemgetter(0)):
        if tag & 0xFFFF and tag not in may_change:
            if start != end:
                runs.append(range(begin, end))
                begin = start
            end = after
    runs.append(range(begin, end))
    return [run for run in reversed(runs) if run]


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
    size = before.end - before.value
    if end - after.value != size or not same_bytes(source.data, output.data, before.value, after.value, size):
        raise VerificationError(
            f"the bytes of the pixel data differ: {size} expected, {end - after.value} found; nothing was kept",
            path=output.path,
        )


def ends_with_delimiter(source: Source) -> bool:
    """Whether encapsulated pixel data ends as it should (PS3.5 §A.4)."""
    element = source.pixel_data
    return element is not None and source.data[element.end - 8 : element.end] == DELIMITER


def _normal(
    source: Source, may_change: Collection[int], change_item: ItemChange | None = None
) -> dict[int, bytes]:
    """Return the digests of elements, all in one encoding."""
    recoder = Recoder(
        source.data, source.encoding, IMPLICIT_LE, signed=False, change_item=change_item, canonical=True
    )
    digests = defaultdict[int, xxhash.xxh3_128](xxhash.xxh3_128)
    for element, part in recoder.encode_runs(source.elements, may_change):
        for piece in [part] if isinstance(part, bytes) else pieces(source.data, part.start, part.stop):
            digests[element.tag].update(piece)
    return {tag: digest.digest() for tag, digest in digests.items()}
