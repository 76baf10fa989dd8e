"""Checks of frames: whether those that are promised are there, and whole."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from cinemill.dicom.fragments import count_frames
from cinemill.dicom.native import frame_bits
from cinemill.dicom.pixel_description import describe
from cinemill.errors import CinemillError, DamagedFile
from cinemill.operations.inspect.checks.check import (
    Problem,
    Problems,
    Subject,
    check,
    first_bytes,
    gathered,
    last_bytes,
)
from cinemill.operations.inspect.facts import short
from cinemill.operations.inspect.model import Severity
from cinemill.syntaxes import find

if TYPE_CHECKING:
    from cinemill.pixel_format import PixelFormat

_NUMBER_OF_FRAMES, _REPRESENTATIVE = 0x00280008, 0x00286010
_TRANSFER_SYNTAX = 0x00020010
_STARTS = frozenset((b"\xff\xd8", b"\xff\x4f"))
_REPAIR = "transcode --repair keeps the frames that are there, or fetch the file again from where it came"


@check(
    "frames.described",
    Severity.ERROR,
    "PS3.3 C.7.6.3",
    about="Rows, Columns, samples and bits describe an image",
    remedy="have the instance made anew; nobody can tell what its bytes are",
    pixels=True,
)
def described(subject: Subject) -> Problems:
    """Yield what is missing, or impossible."""
    if subject.image and subject.described is None:
        try:
            describe(subject.source)
        except CinemillError as error:
            yield error.message


@check(
    "frames.number",
    Severity.ERROR,
    "PS3.3 C.7.6.6.1.1",
    about="Number of Frames is a positive integer",
    remedy=_REPAIR,
    pixels=True,
)
def number(subject: Subject) -> Problems:
    """Yield a value that is none."""
    told = subject.source.text(_NUMBER_OF_FRAMES)
    if told and not subject.source.integer(_NUMBER_OF_FRAMES):
        yield f"Number of Frames is {told[:64]!r}, expected a positive integer"


@check(
    "frames.count",
    Severity.ERROR,
    "PS3.3 C.7.6.6.1.1",
    about="Number of Frames is that of the frames that are there",
    remedy=_REPAIR,
    counted=True,
)
def count(subject: Subject) -> Problems:
    """Yield both numbers where they differ."""
    promised = subject.facts.frames
    pixels, source = subject.described, subject.source
    if (
        pixels is None
        or promised is None
        or subject.video
        or source.native == source.transfer_syntax.encapsulated
    ):
        return
    told = promised if subject.present(_NUMBER_OF_FRAMES) else "absent"
    fragments = subject.fragments
    if fragments is None:
        yield from _native(subject, pixels, f"Number of Frames is {told}")
    elif subject.index is None:
        there = count_frames(subject.source.data, fragments)
        what = "1 frame is" if there == 1 else f"{there} frames are"
        many = len(fragments.offsets)
        yield f"Number of Frames is {told}, {what} there in {many} fragment{'' if many == 1 else 's'}"


def _native(subject: Subject, pixels: PixelFormat, told: str) -> Problems:
    try:
        len(subject.source)
    except DamagedFile:
        frames, there, bits = subject.facts.frames or 1, subject.facts.pixel_bytes or 0, frame_bits(pixels)
        yield (
            f"{told}: {frames} frame{'s take' if frames > 1 else ' takes'} {(frames * bits + 7) // 8} bytes, "
            f"{there} are there, enough for {there * 8 // bits}"
        )


@check(
    "frames.length",
    Severity.WARNING,
    "PS3.5 8.1.1",
    about="native Pixel Data is as long as its frames, and of even length",
    remedy="transcode the file: outputs hold the frames and nothing else",
    counted=True,
)
def length(subject: Subject) -> Problems:
    """Yield how many bytes follow the last frame, or that chroma is there for every column."""
    source, promised, pixels = subject.source, subject.facts.frames, subject.described
    if pixels is None or promised is None or source.transfer_syntax.encapsulated or not source.native:
        return
    there, bits = subject.facts.pixel_bytes or 0, frame_bits(pixels)
    wanted = (promised * bits + 7) // 8
    extra = there - wanted - (wanted % 2)
    full = frame_bits(pixels.with_(photometric_interpretation="YBR_FULL"))
    if full != bits and there in {promised * full // 8, (promised * full // 8 + 1) // 2 * 2}:
        yield (
            f"YBR_FULL_422 takes {wanted} bytes, {there} are there: chrominance for every column, as of YBR_FULL"
        )
    elif extra > 0 and extra * 8 < bits:
        yield f"frames take {wanted} bytes, {there} are there; {there - wanted} follow the last frame"


@check(
    "frames.encapsulation",
    Severity.ERROR,
    "PS3.5 A.4",
    about="Pixel Data is encapsulated where the transfer syntax has it so, and only there",
    remedy="transcode the file; where that is refused, correct the Transfer Syntax UID: nobody can tell which codec is meant",
)
def encapsulation(subject: Subject) -> Problems:
    """Yield a contradiction."""
    source = subject.source
    told = source.meta_text(_TRANSFER_SYNTAX)
    declared = find(told) if told else source.transfer_syntax
    if subject.image and subject.whole and source.native == declared.encapsulated:
        found = "is not" if source.native else "is"
        yield f"Pixel Data {found} encapsulated, which contradicts {declared.keyword}"


@check(
    "frames.empty",
    Severity.ERROR,
    "PS3.5 A.4",
    about="every frame has bytes",
    remedy="fetch the file again from where it came; these frames are lost here",
    counted=True,
)
def empty(subject: Subject) -> Problems:
    """Yield frames that have no bytes."""
    fragments, index = subject.fragments, subject.index
    if fragments is None or index is None:
        return
    before = np.append(0, np.cumsum(fragments.lengths))
    first = np.searchsorted(fragments.offsets - 8, index.starts)
    hollow = np.flatnonzero(np.diff(before[first]) == 0)
    yield from gathered(Problem(f"frame {each} has no bytes", each) for each in hollow.tolist())


@check(
    "frames.end",
    Severity.WARNING,
    "PS3.5 A.4",
    about="every codestream ends with its end marker (EOI, EOC)",
    remedy="look whether these frames are whole (cinemill verify); a truncated one shows grey or nothing at its bottom",
    counted=True,
)
def end(subject: Subject) -> Problems:
    """Yield frames whose codestreams end without one."""
    if subject.source.transfer_syntax.coding in {"jpeg", "jpeg-lossless", "jpeg-ls", "jpeg-2000", "htj2k"}:
        yield from gathered(
            Problem(f"the codestream of frame {at} has no end marker in its last bytes", at)
            for at, pieces in subject.pieces()
            if bytes(first_bytes(pieces, 2)[:2]) in _STARTS and b"\xff\xd9" not in last_bytes(pieces, 64)
        )


@check(
    "frames.rle",
    Severity.ERROR,
    "PS3.5 G.5",
    about="an RLE frame has a segment for each byte of a pixel, in ascending order and within its bytes",
    remedy="fetch the file again from where it came",
    counted=True,
)
def rle(subject: Subject) -> Problems:
    """Yield frames whose headers contradict that."""
    pixels = subject.described
    if subject.source.transfer_syntax.coding != "rle" or pixels is None:
        return
    wanted = pixels.samples * max(pixels.bits_allocated, 8) // 8
    yield from gathered(
        Problem(fault, at)
        for at, pieces in subject.pieces()
        if (fault := _rle_fault(bytes(first_bytes(pieces, 64)[:64]), sum(map(len, pieces)), wanted, at))
    )


def _rle_fault(head: bytes, size: int, wanted: int, frame: int) -> str | None:
    if len(head) < 64:
        return f"frame {frame} has {size} bytes, an RLE header takes 64"
    words = np.frombuffer(head, "<u4").astype(np.int64)
    if words[0] != wanted:
        return f"the RLE header of frame {frame} has {words[0]} segments, expected {wanted}"
    starts = [*words[1 : 1 + wanted].tolist(), size]
    if starts[0] != 64 or any(after <= before for before, after in pairwise(starts)):
        return f"the RLE segments of frame {frame} begin at {starts[:-1]} of {size} bytes"
    return None


@check(
    "frames.representative",
    Severity.WARNING,
    "PS3.3 C.7.6.5",
    about="Representative Frame Number is one of the frames",
    remedy="leave Representative Frame Number (0028,6010) out, or correct it",
    pixels=True,
)
def representative(subject: Subject) -> Problems:
    """Yield a number beyond the frames."""
    told, frames = short(subject.source, _REPRESENTATIVE), subject.facts.frames
    if told is not None and frames is not None and not 1 <= told <= frames:
        yield f"Representative Frame Number is {told}, expected 1 to {frames}"
