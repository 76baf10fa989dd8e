"""A key, an instance with an identity in many places, and what it is de-identified to."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

import cinemill
from tests.support.generate import (
    BIG_ENDIAN,
    EXPLICIT,
    ULTRASOUND_CINE,
    header,
    native_element,
    noise,
    part10,
)

FRAMES = noise((3, 12, 16), seed=5)

Made = Callable[..., tuple[Path, Dataset]]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A key, the same in every run: what is made by a new one holds a few digits of an original now and then."""
    path = tmp_path / "study.key"
    path.write_text(f"cinemill-key-1:{base64.b64encode(bytes(range(32, 64))).decode()}\n")
    path.chmod(0o600)
    return path


def identified(**more: Any) -> Dataset:
    """Return the header of a small cine of Jane Doe's."""
    inner = Dataset()
    inner.ReferencedSOPClassUID = ULTRASOUND_CINE
    inner.ReferencedSOPInstanceUID = "1.2.3.77"
    inner.PersonName = "Quincey^Morris"
    dataset = header(
        FRAMES,
        sop_class=ULTRASOUND_CINE,
        SOPInstanceUID="1.2.3.4.5",
        StudyInstanceUID="1.2.3.6",
        SeriesInstanceUID="1.2.3.7",
        FrameOfReferenceUID="1.2.3.8",
        PatientName="Zebediah^Jane",
        PatientID="MRN-778899",
        PatientBirthDate="19610203",
        PatientSex="F",
        PatientAge="058Y",
        AccessionNumber="ACC4711",
        StudyDate="20190302",
        ContentDate="20190303",
        AcquisitionDateTime="20190304101112.5+0100",
        StudyTime="101112",
        StudyDescription="Stress echo of Zebediah, apical 4CH",
        ReferringPhysicianName="Helsing^Abraham",
        Manufacturer="ACME",
        InstitutionName="Whitby Hospital",
        DeviceSerialNumber="SN-42-XYZ",
        Modality="US",
        ImageType=["ORIGINAL", "PRIMARY"],
        BurnedInAnnotation="NO",
        FrameTime="33.3",
        FrameIncrementPointer=0x00181063,
        SourceImageSequence=Sequence([inner]),
        **more,
    )
    block = dataset.private_block(0x0011, "ACME PRIVATE", create=True)
    block.add_new(1, "LO", "Zebediah private")
    return dataset


@pytest.fixture
def made(tmp_path: Path, key: Path) -> Made:
    """De-identify an instance; return the output and what pydicom reads in it."""
    count = 0

    def make(source: Path | Dataset | None = None, **options: Any) -> tuple[Path, Dataset]:
        nonlocal count
        count += 1
        path = source if isinstance(source, Path) else tmp_path / f"in{count}.dcm"
        if not isinstance(source, Path):
            syntax = options.pop("syntax", EXPLICIT)
            dataset = identified() if source is None else source
            samples = FRAMES.view("u2").byteswap() if syntax == BIG_ENDIAN else FRAMES
            path.write_bytes(part10(dataset, native_element(samples.tobytes(), syntax), syntax))
        output = tmp_path / f"out{count}.dcm"
        cinemill.deidentify(path, output, key=str(key), **options)
        return output, pydicom.dcmread(output)

    return make


def tree(folder: Path) -> list[Path]:
    """Write two patients with a cine, a still of it, and a presentation state and a report that refer to both."""
    written = []
    for number in range(2):
        for index in range(3):
            dataset = identified()
            dataset.PatientID = f"MRN-{number}"
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.3.{number}", f"1.2.3.{number}.1"
            dataset.SOPInstanceUID = f"1.2.3.{number}.1.{index}"
            dataset.SourceImageSequence[0].ReferencedSOPInstanceUID = f"1.2.3.{number}.1.{(index + 1) % 3}"
            path = folder / f"Doe_{number}" / f"Jane_{index}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(part10(dataset, native_element(FRAMES.tobytes(), EXPLICIT), EXPLICIT))
            written.append(path)
        for kind, report in (("report", _report(number)), ("state", _state(number))):
            path = folder / f"Doe_{number}" / f"{kind}.dcm"
            path.write_bytes(part10(report, b"", EXPLICIT))
            written.append(path)
    return written


def _of_patient(number: int, sop_class: str, index: int, **elements: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, f"1.2.3.{number}.2.{index}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.3.{number}", f"1.2.3.{number}.2"
    dataset.PatientName, dataset.PatientID = "Zebediah^Jane", f"MRN-{number}"
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def _references(number: int) -> Sequence:
    found = []
    for index in range(3):
        item = Dataset()
        item.ReferencedSOPClassUID = ULTRASOUND_CINE
        item.ReferencedSOPInstanceUID = f"1.2.3.{number}.1.{index}"
        found.append(item)
    return Sequence(found)


def _report(number: int) -> Dataset:
    image, text, person = Dataset(), Dataset(), Dataset()
    image.RelationshipType, image.ValueType = "CONTAINS", "IMAGE"
    image.ReferencedSOPSequence = _references(number)
    text.RelationshipType, text.ValueType, text.TextValue = "CONTAINS", "TEXT", "Zebediah has a mitral valve"
    person.RelationshipType, person.ValueType, person.PersonName = (
        "HAS OBS CONTEXT",
        "PNAME",
        "Helsing^Abraham",
    )
    return _of_patient(
        number,
        "1.2.840.10008.5.1.4.1.1.88.33",
        1,
        Modality="SR",
        ContentDate="20190302",
        ContentTime="101112",
        ValueType="CONTAINER",
        ContentSequence=Sequence([image, text, person]),
    )


def _state(number: int) -> Dataset:
    series, text, graphics = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID, series.ReferencedImageSequence = f"1.2.3.{number}.1", _references(number)
    text.UnformattedTextValue = "Zebediah apical"
    graphics.TextObjectSequence, graphics.GraphicLayer = Sequence([text]), "LAYER"
    return _of_patient(
        number,
        "1.2.840.10008.5.1.4.1.1.11.1",
        2,
        Modality="PR",
        PresentationCreationDate="20190302",
        PresentationCreationTime="101112",
        ContentLabel="STATE",
        ReferencedSeriesSequence=Sequence([series]),
        GraphicAnnotationSequence=Sequence([graphics]),
    )
