"""Cuts a long cine into several instances of a new series, without decoding a frame.

Ultrasound has no concatenations (PS3.3 A.7): each part is an instance of its own, derived from the source and
pointing back to it (PS3.3 C.7.6.1, C.8.5.6, General Reference C.12.4).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from cinemill import syntaxes
from cinemill.dicom import rewrite as headers
from cinemill.dicom.elements import EXPLICIT_LE
from cinemill.dicom.pixel_writers import frame_writer
from cinemill.dicom.recode import Recoder, encode_element, encode_item
from cinemill.dicom.source import Source
from cinemill.errors import DamagedFile, OutputExists, UsageError, VerificationError
from cinemill.operations.clock import record
from cinemill.operations.receipt import Receipt
from cinemill.storage.file import Sink

_IMAGE_TYPE, _SOP_CLASS, _SOP_INSTANCE, _SERIES = 0x00080008, 0x00080016, 0x00080018, 0x0020000E
_INSTANCE_NUMBER, _NUMBER_OF_FRAMES = 0x00200013, 0x00280008
_SOURCE_IMAGES, _DERIVATION = 0x00082112, 0x00082111
_START_TRIM, _STOP_TRIM, _DURATION = 0x00082142, 0x00082143, 0x00180072
_FRAME_TIME_VECTOR, _REPRESENTATIVE_FRAME = 0x00181065, 0x00286010
_PER_FRAME_GROUPS = 0x52009230


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
        if not source.text(_SOP_INSTANCE):
            raise DamagedFile("SOP Instance UID is absent; the parts could not point back to it", path=src)
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
        _check_same(output, _uid(source, f"{frames.start}-{frames.stop}"))
        return record(source, output, "kept", target, frames=len(frames))
    header = headers.compose(source, target, changes)
    expected = sum(len(source.frame(index)) + 9 for index in frames)
    with Sink(output) as sink:
        sink.write(header.meta)
        if target.deflated:
            sink.deflate()
        sink.write(header.before)
        if target.encapsulated:
            sink.reserve(expected)
        writer = frame_writer(sink, source.layout, target, len(frames), expected)
        for index in frames:
            writer.add(bytes(source.frame(index)))
        writer.end()
        sink.write(header.after)
        sink.finish()
        with Source(sink.temporary) as written:
            _compare(source, written, frames)
        sink.commit()
    return record(
        source, output, "transcoded", target, frames=len(frames), verification="every frame's bytes"
    )


def _check_same(output: Path, uid: str) -> None:
    with Source(output) as there:
        if there.text(_SOP_INSTANCE) != uid:
            raise OutputExists("exists already and is not this part; choose another directory", path=output)


def _compare(source: Source, written: Source, frames: range) -> None:
    written.check()
    if len(written) != len(frames):
        raise VerificationError(f"{len(frames)} frames were written, {len(written)} are in the part")
    for there, index in enumerate(frames):
        frame = bytes(source.frame(index))
        if written.frame(there) != frame + bytes(
            len(frame) % 2 if source.transfer_syntax.encapsulated else 0
        ):
            raise VerificationError("a frame's bytes differ in the part; nothing was kept", frame=index)


def _changes(source: Source, frames: range, number: int) -> headers.Changes:
    """Return what is different in the header of one part."""
    first, last = frames.start + 1, frames.stop
    image_type = source.text(_IMAGE_TYPE).split("\\")
    changes: headers.Changes = dict.fromkeys(headers.OFFSET_TABLES)
    changes |= {
        _IMAGE_TYPE: encode_element(_IMAGE_TYPE, b"CS", "\\".join(["DERIVED", *image_type[1:]]).encode()),
        _SOP_INSTANCE: encode_element(
            _SOP_INSTANCE, b"UI", _uid(source, f"{frames.start}-{frames.stop}").encode()
        ),
        _SERIES: encode_element(_SERIES, b"UI", _uid(source, "series").encode()),
        _INSTANCE_NUMBER: _number(_INSTANCE_NUMBER, number),
        _NUMBER_OF_FRAMES: _number(_NUMBER_OF_FRAMES, len(frames)),
        _DERIVATION: encode_element(
            _DERIVATION, b"ST", f"Frames {first} to {last} of {len(source)}".encode()
        ),
        _SOURCE_IMAGES: _source_images(source, frames),
        _DURATION: None,
        **_trims(source, frames),
        **_frame_times(source, frames),
        **_per_frame_groups(source, frames),
    }
    if representative := source.short(_REPRESENTATIVE_FRAME, 0):
        changes[_REPRESENTATIVE_FRAME] = None
        if first <= representative <= last:
            value = (representative - first + 1).to_bytes(2, "little")
            changes[_REPRESENTATIVE_FRAME] = encode_element(_REPRESENTATIVE_FRAME, b"US", value)
    return changes


def _source_images(source: Source, frames: range) -> bytes:
    """Point back to the source's frames, behind what the source itself was made from (PS3.3 table 10-3)."""
    existing = source.element(_SOURCE_IMAGES)
    before = b"" if existing is None else _explicit(source).encode_items(existing)
    item = encode_element(0x00081150, b"UI", source.text(_SOP_CLASS).encode())
    item += encode_element(0x00081155, b"UI", source.text(_SOP_INSTANCE).encode())
    numbers = "\\".join(str(index + 1) for index in frames).encode()
    if len(numbers) < 0xFFFE:
        item += encode_element(0x00081160, b"IS", numbers)
    return encode_element(_SOURCE_IMAGES, b"SQ", before + encode_item(item))


def _trims(source: Source, frames: range) -> headers.Changes:
    """Keep the part of the trim that lies in these frames, none where it lies elsewhere (PS3.3 C.7.6.5)."""
    start, stop = _integer(source, _START_TRIM), _integer(source, _STOP_TRIM)
    if start is None and stop is None:
        return {}
    begin = max((start or 1) - frames.start, 1)
    end = min((stop or len(source)) - frames.start, len(frames))
    if begin > end:
        return {_START_TRIM: None, _STOP_TRIM: None}
    return {_START_TRIM: _number(_START_TRIM, begin), _STOP_TRIM: _number(_STOP_TRIM, end)}


def _frame_times(source: Source, frames: range) -> headers.Changes:
    """Slice Frame Time Vector; a first increment is always 0 (PS3.3 C.7.6.5)."""
    vector = source.text(_FRAME_TIME_VECTOR).split("\\")
    if len(vector) != len(source):
        return {}
    sliced = ["0", *vector[frames.start + 1 : frames.stop]]
    return {_FRAME_TIME_VECTOR: encode_element(_FRAME_TIME_VECTOR, b"DS", "\\".join(sliced).encode())}


def _per_frame_groups(source: Source, frames: range) -> headers.Changes:
    """Slice the Per-Frame Functional Groups (PS3.3 C.7.6.16)."""
    groups = source.element(_PER_FRAME_GROUPS)
    if groups is None:
        return {}
    chosen = _explicit(source).encode_items(groups, slice(frames.start, frames.stop))
    return {_PER_FRAME_GROUPS: encode_element(_PER_FRAME_GROUPS, b"SQ", chosen)}


def _explicit(source: Source) -> Recoder:
    return Recoder(source.data, source.encoding, EXPLICIT_LE, signed=source.pixels.signed)


def _number(tag: int, value: int) -> bytes:
    return encode_element(tag, b"IS", str(value).encode())


def _integer(source: Source, tag: int) -> int | None:
    text = source.text(tag)
    return int(text) if text.isdecimal() else None


def _uid(source: Source, part: str) -> str:
    """Derive a UID from the source's, the same each time (PS3.5 §B.2)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{source.text(_SOP_INSTANCE)} {part}').int}"
