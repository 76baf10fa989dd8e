"""Makes any number of small instances, cheaply: one is written, and its UIDs and pixels are changed in the bytes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian, UltrasoundImageStorage

FOLDER_ITEMS = 1_000
_UID = "2.25.1111111111111111111111{:012}"


def make_instances(folder: Path, count: int) -> None:
    """Write small instances; each has its own SOP Instance UID and its own pixels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UltrasoundImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID(_UID.format(0))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UID(_UID.format(1)), UID(_UID.format(2))
    dataset.PatientID, dataset.Modality = "bench", "US"
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    noise = np.random.default_rng(0).integers(0, 256, 256, dtype=np.uint8)
    dataset.PixelData = noise.tobytes()
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    template = buffer.getvalue()
    head, middle, tail = template.split(_UID.format(0).encode())
    for number in range(count):
        if number % FOLDER_ITEMS == 0:
            here = folder / f"{number // FOLDER_ITEMS:06}"
            here.mkdir(parents=True)
        uid = _UID.format(number + FOLDER_ITEMS).encode()
        pixels = number.to_bytes(8, "little")
        (here / f"{number:09}.dcm").write_bytes(head + uid + middle + uid + tail[:-8] + pixels)
