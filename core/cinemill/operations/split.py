"""Cuts a long cine into several instances of a new series, without decoding a frame.

Ultrasound has no concatenations (PS3.3 A.7): each part is an instance of its own, derived from the source and
pointing back to it (PS3.3 C.7.6.1, C.8.5.6, General Reference C.12.4).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cinemill import syntaxes
from cinemill.dicom.compare import compare_bytes
from cinemill.dicom.derive import derivation, derived_uid, described, integer
from cinemill.dicom.recode import encode_element
from cinemill.dicom.rewrite import Changes
from cinemill.dicom.source import Source
from cinemill.dicom.writer import InstanceWriter
from cinemill.errors import DamagedFile, OutputExists, UsageError
from cinemill.frames.icons import native_icons
from cinemill.operations.clock import record
from cinemill.operations.receipt import Receipt
from cinemill.storage.file import Sink

_SOP_INSTANCE = 0x00080018
_NUMBER_OF_FRAMES = 0x00280008
_START_TRIM, _STOP_TRIM, _DURATION = 0x00082142, 0x00082143, 0x00180072
_FRAME_TIME_VECTOR, _REPRESENTATIVE_FRAME = 0x00181065, 0x00286010


def split(
    src: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    frames_per_instance: int | None = None,
    max_bytes: int | None = None,
) -> list[Receipt]:
    """Cut one instance into parts ``<stem>_0001.dcm`` … in a directory.

    Transfer syntax and codestreams stay (big endian becomes little endian); UIDs follow from the source's and the
    range of frames, so that the same call gives the same parts, and keeps those that are there.

    Parameters
    ----------
    src, folder
        The cine, and the directory for its parts.
    frames_per_instance
        Most frames of a part.
    max_bytes
        Most bytes of a part's encoded frames; a single larger frame makes a part of its own.

    Returns
    -------
    list of Receipt
        One a part.

    Raises
    ------
    UsageError
        Not exactly one limit was given, or it is below 1.
    CinemillError
        The source is damaged, or a part can't be written.
    """
    if (frames_per_instance is None) == (max_bytes is None) or (frames_per_instance or max_bytes or 0) < 1:
        raise UsageError("give either the frames or the bytes per instance, at least 1")
    with Source(src) as source:
        if source.pixel_data is None:
            raise DamagedFile("there is no pixel data to split", path=src)
        source.check()
        parts = list(_cut(source, frames_per_instance, max_bytes))
        return [
            _write(source, Path(folder) / f"{source.path.stem}_{number:04}.dcm", frames, number)
            for number, frames in enumerate(parts, 1)
        ]


def _cut(source: Source, frames_per_instance: int | None, max_bytes: int | None) -> Iterator[range]:
    start = size = 0
    for index in range(len(source)):
        frame = len(source.frame(index)) if max_bytes else 0
        full = index - start == frames_per_instance or (max_bytes and size + frame > max_bytes)
        if full and index > start:
            yield range(start, index)
            start, size = index, 0
        size += frame
    yield range(start, len(source))


def _write(source: Source, output: Path, frames: range, number: int) -> Receipt:
    target = source.transfer_syntax if source.transfer_syntax.little_endian else syntaxes.target("explicit")
    changes = _changes(source, frames, number)
    if output.exists():
        _check_same(output, derived_uid(source, _purpose(frames)))
        return record(source, output, "kept", target, frames=len(frames))
    expected = sum(len(source.frame(index)) + 9 for index in frames)
    with Sink(output) as sink:
        instance = InstanceWriter(sink, source, target, changes, native_icons(source))
        if target.encapsulated:
            sink.reserve(expected)
        writer = instance.begin_frames(source.layout, len(frames), expected)
        for index in frames:
            writer.add(bytes(source.frame(index)))
        writer.end()
        instance.end()
        with instance.read_back() as written:
            compare_bytes(source, written, frames)
        sink.commit()
    return record(
        source, output, "transcoded", target, frames=len(frames), verification="every frame's bytes"
    )


def _purpose(frames: range) -> str:
    return f"{frames.start}-{frames.stop}"


def _check_same(output: Path, uid: str) -> None:
    with Source(output) as there:
        if there.text(_SOP_INSTANCE) != uid:
            raise OutputExists("exists already and is not this part; choose another directory", path=output)


def _changes(source: Source, frames: range, number: int) -> Changes:
    """Return what is different in the header of one part."""
    first, last = frames.start + 1, frames.stop
    changes = {
        **derivation(source, frames, instance=_purpose(frames), series="series", number=number),
        **described(f"Frames {first} to {last} of {len(source)}"),
        _NUMBER_OF_FRAMES: integer(_NUMBER_OF_FRAMES, len(frames)),
        _DURATION: None,
        **_trims(source, frames),
        **_frame_times(source, frames),
    }
    if representative := source.short(_REPRESENTATIVE_FRAME, 0):
        changes[_REPRESENTATIVE_FRAME] = None
        if first <= representative <= last:
            value = (representative - first + 1).to_bytes(2, "little")
            changes[_REPRESENTATIVE_FRAME] = encode_element(_REPRESENTATIVE_FRAME, b"US", value)
    return changes


def _trims(source: Source, frames: range) -> Changes:
    """Keep the part of the trim that lies in these frames, none where it lies elsewhere (PS3.3 C.7.6.5)."""
    start, stop = _integer(source, _START_TRIM), _integer(source, _STOP_TRIM)
    if start is None and stop is None:
        return {}
    begin = max((start or 1) - frames.start, 1)
    end = min((stop or len(source)) - frames.start, len(frames))
    if begin > end:
        return {_START_TRIM: None, _STOP_TRIM: None}
    return {_START_TRIM: integer(_START_TRIM, begin), _STOP_TRIM: integer(_STOP_TRIM, end)}


def _frame_times(source: Source, frames: range) -> Changes:
    """Slice Frame Time Vector; a first increment is always 0 (PS3.3 C.7.6.5)."""
    vector = source.text(_FRAME_TIME_VECTOR).split("\\")
    if len(vector) != len(source):
        return {}
    sliced = ["0", *vector[frames.start + 1 : frames.stop]]
    return {_FRAME_TIME_VECTOR: encode_element(_FRAME_TIME_VECTOR, b"DS", "\\".join(sliced).encode())}


def _integer(source: Source, tag: int) -> int | None:
    text = source.text(tag)
    return int(text) if text.isdecimal() else None
