"""Single-frame DICOM instances: the frame's own codestream with the header that fits it."""

from __future__ import annotations

import io
import uuid
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from cinemill.errors import UnsupportedTransferSyntax
from cinemill.formats import Clip, FrameFiles
from cinemill.sink import IMPLEMENTATION_CLASS_UID

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydicom import Dataset

    from cinemill.model import Buffer
    from cinemill.staging import Staging

_SINGLE_FRAME_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.3.1": "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.3": "1.2.840.10008.5.1.4.1.1.6.1",
}
"""Ultrasound Multi-frame Image Storage → Ultrasound Image Storage."""

_OF_MANY_FRAMES = (
    "FrameIncrementPointer",
    "FrameTime",
    "FrameTimeVector",
    "FrameDelay",
    "CineRate",
    "RecommendedDisplayFrameRate",
    "StartTrim",
    "StopTrim",
    "EffectiveDuration",
    "PreferredPlaybackSequencing",
    "ActualFrameDuration",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)


class SingleFrame(FrameFiles):
    """One instance a frame, in one new series, in the transfer syntax of the source.

    SOP Class is that of single frames for ultrasound; other classes keep theirs. New UIDs follow from the source's
    SOP Instance UID and the frame, so that the same extraction gives the same instances. Source Image Sequence says
    where a frame comes from (PS3.3 C.7.6.1, C.12.1.1.9 for the derivation).
    """

    suffix = ".dcm"

    def __init__(self, clip: Clip, staging: Staging) -> None:
        from pydicom.uid import UID

        syntax = clip.cine.source.transfer_syntax
        if not UID(syntax.uid).is_transfer_syntax:
            raise UnsupportedTransferSyntax(
                f"pydicom can't write {syntax.keyword}; use raw, or transcode it first"
            )
        super().__init__(clip, staging)

    def files(self, indices: Sequence[int]) -> Iterable[Buffer]:
        """Return Part 10 files."""
        return map(self._file, indices)

    def _file(self, index: int) -> bytes:
        from pydicom import dcmwrite
        from pydicom.encaps import encapsulate

        source = self.clip.cine.source
        instance = single_frame_header(source.header, index)
        frame = bytes(source.frame(index))
        if source.transfer_syntax.encapsulated:
            instance.PixelData = encapsulate([frame])
        else:
            instance.PixelData = frame + bytes(len(frame) % 2)
        allocated = source.pixels.bits_allocated
        instance["PixelData"].VR = "OW" if allocated > 8 and not source.transfer_syntax.encapsulated else "OB"
        file = io.BytesIO()
        dcmwrite(file, instance, enforce_file_format=True)
        return file.getvalue()


def single_frame_header(header: Dataset, index: int) -> Dataset:
    """Return the header of one frame's own instance, without pixel data.

    Parameters
    ----------
    header
        Of the whole cine, with ``file_meta``.
    index
        The frame, counted from 0.
    """
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

    instance = deepcopy(header)
    source_class, source_uid = str(header.get("SOPClassUID", "")), str(header.get("SOPInstanceUID", ""))
    for name in _OF_MANY_FRAMES:
        instance.pop(name, None)
    instance.SOPClassUID = _SINGLE_FRAME_CLASSES.get(source_class, source_class)
    instance.SOPInstanceUID = derived_uid(source_uid, f"frame {index}")
    instance.SeriesInstanceUID = derived_uid(source_uid, "frames")
    instance.InstanceNumber = index + 1
    instance.ImageType = ["DERIVED", *(header.get("ImageType") or ["", "PRIMARY"])[1:]]
    if source_class in _SINGLE_FRAME_CLASSES:
        instance.pop("NumberOfFrames", None)
    elif "NumberOfFrames" in instance:
        instance.NumberOfFrames = 1
    groups = instance.get("PerFrameFunctionalGroupsSequence")
    if groups:
        instance.PerFrameFunctionalGroupsSequence = [groups[index]]
    reference = Dataset()
    reference.ReferencedSOPClassUID = source_class
    reference.ReferencedSOPInstanceUID = source_uid
    reference.ReferencedFrameNumber = index + 1
    instance.SourceImageSequence = [reference]
    instance.DerivationDescription = f"Frame {index + 1} of a multi-frame image, pixel data unchanged"
    meta = FileMetaDataset()
    syntax = header.file_meta.get("TransferSyntaxUID", ExplicitVRLittleEndian)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == ExplicitVRBigEndian else syntax
    meta.MediaStorageSOPClassUID = instance.SOPClassUID
    meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    instance.file_meta = meta
    return instance


def derived_uid(source: str, purpose: Any) -> str:
    """Return a UID that the same source and purpose always give (PS3.5 §B.2, name-based)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{source} {purpose}').int}"
