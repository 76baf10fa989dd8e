"""Single-frame DICOM instances: the frame's own codestream with the header that fits it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill import syntaxes
from cinemill.dicom.compare import compare_bytes
from cinemill.dicom.derive import derivation, described, integer
from cinemill.dicom.frame_vectors import (
    FRAME_DIMENSION_POINTER,
    FRAME_INCREMENT_POINTER,
    FRAME_TIME_VECTOR,
    GRID_FRAME_OFFSET_VECTOR,
    cut_overlays,
    cut_references,
    cut_vectors,
    named_by_pointers,
)
from cinemill.dicom.recode import encode_element
from cinemill.dicom.rewrite import Changes
from cinemill.dicom.writer import InstanceWriter
from cinemill.errors import DamagedFile
from cinemill.frames.icons import native_icons
from cinemill.operations.extract.writers import Clip, FrameFiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cinemill.dicom.source import Source
    from cinemill.storage.folder import Staging

_SOP_CLASS = 0x00080016
_NUMBER_OF_FRAMES = 0x00280008
_NUCLEAR_GROUP = 0x0054
"""Of vectors that an NM image of one frame has, too."""
_SINGLE_FRAME_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.3.1": "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.3": "1.2.840.10008.5.1.4.1.1.6.1",
}
"""Ultrasound Multi-frame Image Storage → Ultrasound Image Storage."""

_OF_MANY_FRAMES = {
    "Frame Increment Pointer": FRAME_INCREMENT_POINTER,
    "Frame Dimension Pointer": FRAME_DIMENSION_POINTER,
    "Frame Time": 0x00181063,
    "Frame Time Vector": FRAME_TIME_VECTOR,
    "Grid Frame Offset Vector": GRID_FRAME_OFFSET_VECTOR,
    "Frame Delay": 0x00181066,
    "Cine Rate": 0x00180040,
    "Recommended Display Frame Rate": 0x00082144,
    "Start Trim": 0x00082142,
    "Stop Trim": 0x00082143,
    "Effective Duration": 0x00180072,
    "Preferred Playback Sequencing": 0x00181244,
    "Actual Frame Duration": 0x00181242,
}


class SingleFrame(FrameFiles):
    """One instance a frame, in one new series, in the transfer syntax of the source (big endian becomes little endian).

    SOP Class is that of single frames for ultrasound; other classes keep theirs. New UIDs follow from the source's
    SOP Instance UID and the frame, so that the same extraction gives the same instances. Source Image Sequence says
    where a frame comes from (PS3.3 C.7.6.1, C.12.1.1.9 for the derivation).
    """

    def __init__(self, clip: Clip, staging: Staging) -> None:
        _check_derivable(clip.cine.source)
        super().__init__(clip, staging)

    def encode(self, indices: Sequence[int]) -> None:
        """Write the instances of some frames."""
        for index in indices:
            _write(self.clip.cine.source, index, self.paths[index], self.staging)


def _check_derivable(source: Source) -> None:
    """Check what the instances need of the source, before any of them is written."""
    if not source.text(_SOP_CLASS):
        raise DamagedFile("SOP Class UID is absent; an instance can't do without; use raw")
    _changes(source, 0)


def _write(source: Source, index: int, path: Path, staging: Staging) -> None:
    target = source.transfer_syntax if source.transfer_syntax.little_endian else syntaxes.target("explicit")
    frame = bytes(source.frame(index))
    with staging.create(path) as file:
        instance = InstanceWriter(file, source, target, _changes(source, index), native_icons(source))
        writer = instance.begin_frames(source.layout, 1, len(frame))
        writer.add(frame)
        writer.end()
        instance.end()
        with instance.read_back() as written:
            compare_bytes(source, written, [index])


def _changes(source: Source, index: int) -> Changes:
    """Return what is different in the header of one frame's instance."""
    frames = range(index, index + 1)
    left_out = set(_OF_MANY_FRAMES.values())
    if all(tag >> 16 == _NUCLEAR_GROUP for tag in named_by_pointers(source)):
        left_out.discard(FRAME_INCREMENT_POINTER)
    changes: Changes = {
        **derivation(source, frames, instance=f"frame {index}", series="frames", number=index + 1),
        **described(f"Frame {index + 1} of a multi-frame image, pixel data unchanged"),
        **cut_vectors(source, frames, without=left_out - {GRID_FRAME_OFFSET_VECTOR}),
        **cut_references(source, frames),
        **cut_overlays(source, frames),
        **dict.fromkeys(left_out),
    }
    single = _SINGLE_FRAME_CLASSES.get(source.text(_SOP_CLASS))
    if single is not None:
        changes[_SOP_CLASS] = encode_element(_SOP_CLASS, b"UI", single.encode())
        changes[_NUMBER_OF_FRAMES] = None
    elif source.element(_NUMBER_OF_FRAMES) is not None:
        changes[_NUMBER_OF_FRAMES] = integer(_NUMBER_OF_FRAMES, 1)
    return changes
