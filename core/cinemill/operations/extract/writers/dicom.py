"""Single-frame DICOM instances: the frame's own codestream with the header that fits it."""

from __future__ import annotations

import io
import uuid
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from cinemill.dicom.values import explained
from cinemill.errors import DamagedFile, UnsupportedTransferSyntax
from cinemill.operations.extract.writers import Clip, FrameFiles
from cinemill.storage.file import IMPLEMENTATION_CLASS_UID

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydicom import Dataset

    from cinemill.pixel_format import Buffer
    from cinemill.storage.folder import Staging

_SOP_CLASS_UID, _SOP_INSTANCE_UID = 0x00080016, 0x00080018
_SINGLE_FRAME_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.3.1": "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.3": "1.2.840.10008.5.1.4.1.1.6.1",
}
"""Ultrasound Multi-frame Image Storage → Ultrasound Image Storage."""

_NOT_WRITTEN = "elements can't be written by pydicom", "use raw", DamagedFile
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
    "PerFrameFunctionalGroupsSequence",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)


class SingleFrame(FrameFiles):
    """One instance a frame, in one new series, in the transfer syntax of the source.

    SOP Class is that of single frames for ultrasound; other classes keep theirs. New UIDs follow from the source's
    SOP Instance UID and the frame, so that the same extraction gives the same instances. Source Image Sequence says
    where a frame comes from (PS3.3 C.7.6.1, C.12.1.1.9 for the derivation).
    """

    def __init__(self, clip: Clip, staging: Staging) -> None:
        from pydicom.uid import UID

        syntax = clip.cine.source.transfer_syntax
        if not UID(syntax.uid).is_transfer_syntax:
            raise UnsupportedTransferSyntax(
                f"pydicom can't write {syntax.keyword}; use raw, or transcode it first"
            )
        if not clip.cine.source.text(_SOP_INSTANCE_UID):
            raise DamagedFile("SOP Instance UID is absent; single frames could not point back to it")
        super().__init__(clip, staging)
        with explained(*_NOT_WRITTEN):
            self._groups = clip.cine.header.get("PerFrameFunctionalGroupsSequence") or ()
            self._common = header_of_frames(clip.cine.header)
        if self._groups and len(self._groups) != len(clip.cine):
            raise DamagedFile(
                f"there are {len(self._groups)} per-frame functional groups for {len(clip.cine)} frames"
            )

    def files(self, indices: Sequence[int]) -> Iterable[Buffer]:
        """Return Part 10 files."""
        with explained(*_NOT_WRITTEN):
            return [self._file(index) for index in indices]

    def _file(self, index: int) -> bytes:
        from pydicom import dcmwrite
        from pydicom.encaps import encapsulate

        source = self.clip.cine.source
        instance = self._instance(index)
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

    def _instance(self, index: int) -> Dataset:
        """Return the header of one frame's instance."""
        from pydicom import Dataset

        instance = deepcopy(self._common)
        source = self.clip.cine.source
        source_uid = source.text(_SOP_INSTANCE_UID)
        instance.SOPInstanceUID = derived_uid(source_uid, f"frame {index}")
        instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
        instance.InstanceNumber = index + 1
        if self._groups:
            instance.PerFrameFunctionalGroupsSequence = [self._groups[index]]
        reference = Dataset()
        reference.ReferencedSOPClassUID = source.text(_SOP_CLASS_UID)
        reference.ReferencedSOPInstanceUID = source_uid
        reference.ReferencedFrameNumber = index + 1
        instance.SourceImageSequence = [reference]
        instance.DerivationDescription = f"Frame {index + 1} of a multi-frame image, pixel data unchanged"
        return instance


def header_of_frames(header: Dataset) -> Dataset:
    """Return what the headers of single frames have in common, with ``file_meta``.

    Parameters
    ----------
    header
        Of the whole cine.
    """
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

    common = deepcopy(header)
    for name in _OF_MANY_FRAMES:
        common.pop(name, None)
    source_class = str(header.get("SOPClassUID", ""))
    common.SOPClassUID = _SINGLE_FRAME_CLASSES.get(source_class, source_class)
    common.SeriesInstanceUID = derived_uid(str(header.SOPInstanceUID), "frames")
    common.ImageType = ["DERIVED", *(header.get("ImageType") or ["", "PRIMARY"])[1:]]
    if source_class in _SINGLE_FRAME_CLASSES:
        common.pop("NumberOfFrames", None)
    elif "NumberOfFrames" in common:
        common.NumberOfFrames = 1
    meta = FileMetaDataset()
    syntax = header.file_meta.get("TransferSyntaxUID", ExplicitVRLittleEndian)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == ExplicitVRBigEndian else syntax
    meta.MediaStorageSOPClassUID = common.SOPClassUID
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    common.file_meta = meta
    return common


def derived_uid(source: str, purpose: Any) -> str:
    """Return a UID that the same source and purpose always give (PS3.5 §B.2, name-based)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{source} {purpose}').int}"
