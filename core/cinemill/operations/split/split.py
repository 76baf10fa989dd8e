"""Cuts a long cine into several instances of a new series, without decoding a frame.

Ultrasound has no concatenations (PS3.3 A.7): each part is an instance of its own, derived from the source and
pointing back to it (PS3.3 C.7.6.1, C.8.5.6, General Reference C.12.4).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cinemill import syntaxes
from cinemill.dicom.compare import compare_bytes
from cinemill.dicom.derive import derivation, derived_uid, described, integer
from cinemill.dicom.frame_vectors import cut_overlays, cut_references, cut_vectors
from cinemill.dicom.given import Given, called, on_disk
from cinemill.dicom.recode import encode_element
from cinemill.dicom.rewrite import Changes
from cinemill.dicom.source import Source
from cinemill.dicom.writer import InstanceWriter
from cinemill.errors import CinemillError, DamagedFile, OutputExists, Refused
from cinemill.frames.carried import carried_over
from cinemill.frames.icons import native_icons
from cinemill.operations.clock import record
from cinemill.operations.operation import Control
from cinemill.operations.origin import Origin, finished
from cinemill.operations.receipt import Receipt
from cinemill.operations.split.request import Split
from cinemill.storage.atomic import sweep
from cinemill.storage.file import Sink
from cinemill.storage.likeness import Likeness
from cinemill.storage.location import located, size
from cinemill.storage.names import safe_stem

_NUMBER_OF_FRAMES = 0x00280008
_START_TRIM, _STOP_TRIM, _DURATION = 0x00082142, 0x00082143, 0x00180072
_NOTHING = "there is no pixel data to split"
_VERIFICATION = "every frame's bytes"
_REPRESENTATIVE_FRAME = 0x00286010


def split(
    src: Given,
    folder: str | os.PathLike[str],
    *,
    frames_per_instance: int | None = None,
    max_bytes: int | None = None,
) -> list[Receipt]:
    """Cut one instance into parts ``<name>_0001.dcm`` … in a directory.

    Frames are copied as they are encoded, and the transfer syntax stays (big endian becomes little endian). UIDs are derived
    from those of the source and the range of frames: the same call makes the same parts, and keeps those that exist.

    Parameters
    ----------
    src
        The cine, which is never modified: a path, the bytes of a file, an open binary file or a pydicom data set.
    folder
        The directory of the parts.
    frames_per_instance
        Maximum number of frames in a part.
    max_bytes
        Maximum size of the encoded frames of a part, in bytes; a single frame that is larger becomes a part of its own.

    Returns
    -------
    list of Receipt
        One for each part, in order.

    Raises
    ------
    UsageError
        Both limits were given, or none, or one below 1.
    CinemillError
        The source is damaged, or a part can't be written.
    """
    request = Split(frames_per_instance=frames_per_instance, max_bytes=max_bytes)
    with on_disk(src) as path, Source(path) as source:
        if source.pixel_data is None:
            raise DamagedFile(_NOTHING, path=path)
        parts = _split(source, located(folder), request, Control())
        return [replace(part, source=called(src, path)) for part in parts]


def run(request: Split, src: Path, dst: Path, control: Control) -> Receipt:
    """Cut one instance into parts; the receipt adds them up, and says ``kept`` where all are there already.

    Parameters
    ----------
    request
        The options.
    src, dst
        Source file, and the place of its output.
    control
        Threads, cancellation and progress.
    """
    started = time.perf_counter()
    with Source(src) as source:
        if source.pixel_data is None:
            warnings = (*source.warnings, _NOTHING)
            return record(source, dst, "skipped", source.transfer_syntax, warnings=warnings)
        try:
            parts = list(_split(source, dst, request, control))
        except CinemillError as error:
            raise error.locate(path=src, transfer_syntax=source.transfer_syntax.uid) from None
        new = [part for part in parts if part.status != "kept"]
        return record(
            source,
            dst,
            "transcoded" if new else "kept",
            _target(source),
            frames=len(source),
            bytes_after=sum(part.bytes_after for part in parts),
            outputs=tuple(part.output for part in parts),
            seconds={"total": time.perf_counter() - started},
            verification=_VERIFICATION if new else "",
        )


def _split(source: Source, folder: Path, request: Split, control: Control) -> Iterator[Receipt]:
    """Write the parts, and yield the receipt of each."""
    if source.transfer_syntax.coding == "video":
        raise Refused(
            "a video is one stream, which can't be cut where its fragments end; extract takes its frames"
        )
    source.check()
    source.warnings.extend(carried_over(source))
    done = 0
    stem = safe_stem(source.path.name)
    origin = Origin(source, {})
    parts = list(_cut(source, request.frames_per_instance, request.max_bytes))
    for number, frames in enumerate(parts, 1):
        control.check("the parts that are finished stay")
        yield _write(origin, folder / f"{stem}_{number:04}.dcm", frames, number)
        done += len(frames)
        control.advance(done, len(source))


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


def _write(origin: Origin, output: Path, frames: range, number: int) -> Receipt:
    source = origin.source
    target = _target(source)
    changes = _changes(source, frames, number)
    again = output.exists()
    if again and (kept := _judge(origin, output, target, frames)) is not None:
        return kept
    receipt = record(source, output, "transcoded", target, frames=len(frames), verification=_VERIFICATION)
    expected = sum(len(source.frame(index)) + 9 for index in frames)
    likeness = Likeness.of(source.path, preserve=True)
    with Sink(output, overwrite=again, likeness=likeness) as sink:
        icons = native_icons(source)
        instance = InstanceWriter(sink, source, target, changes, icons, origin.room)
        if target.encapsulated:
            sink.reserve(expected)
        writer = instance.begin_frames(source.layout, len(frames), expected)
        for index in frames:
            writer.add(bytes(source.frame(index)))
        writer.end()
        instance.end(private=origin.remembered(receipt))
        with instance.read_back() as written:
            compare_bytes(source, written, frames)
        sink.commit()
    return replace(receipt, bytes_after=size(output))


def _target(source: Source) -> syntaxes.TransferSyntax:
    return source.transfer_syntax if source.transfer_syntax.little_endian else syntaxes.target("explicit")


def _purpose(frames: range) -> str:
    return f"{frames.start}-{frames.stop}"


def _judge(origin: Origin, output: Path, target: syntaxes.TransferSyntax, frames: range) -> Receipt | None:
    """Return the receipt of a finished part, None where it is to be made anew.

    Raises
    ------
    OutputExists
        Something else stands there.
    """
    sweep(output)
    uid = derived_uid(origin.source, _purpose(frames))
    found = finished(origin, output, [target], sop_instance_uid=uid, recheck=False)
    if found is None:
        raise OutputExists("exists already and is not this part; choose another directory", path=output)
    return None if isinstance(found, str) else found


def _changes(source: Source, frames: range, number: int) -> Changes:
    """Return what is different in the header of one part."""
    first, last = frames.start + 1, frames.stop
    changes = {
        **derivation(source, frames, instance=_purpose(frames), series="series", number=number),
        **described(f"Frames {first} to {last} of {len(source)}"),
        _NUMBER_OF_FRAMES: integer(_NUMBER_OF_FRAMES, len(frames)),
        _DURATION: None,
        **_trims(source, frames),
        **cut_vectors(source, frames),
        **cut_references(source, frames),
        **cut_overlays(source, frames),
    }
    if representative := source.short(_REPRESENTATIVE_FRAME, 0):
        changes[_REPRESENTATIVE_FRAME] = None
        if first <= representative <= last:
            value = (representative - first + 1).to_bytes(2, "little")
            changes[_REPRESENTATIVE_FRAME] = encode_element(_REPRESENTATIVE_FRAME, b"US", value)
    return changes


def _trims(source: Source, frames: range) -> Changes:
    """Keep the part of the trim that lies in these frames, none where it lies elsewhere (PS3.3 C.7.6.5)."""
    start, stop = source.integer(_START_TRIM), source.integer(_STOP_TRIM)
    if start is None and stop is None:
        return {}
    begin = max((start or 1) - frames.start, 1)
    end = min((stop or len(source)) - frames.start, len(frames))
    if begin > end:
        return {_START_TRIM: None, _STOP_TRIM: None}
    return {_START_TRIM: integer(_START_TRIM, begin), _STOP_TRIM: integer(_STOP_TRIM, end)}
