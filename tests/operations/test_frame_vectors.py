"""A part of a cine says of its frames what the whole said of them: vectors, frame numbers, overlays, dose planes."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

import cinemill
from cinemill.dicom.recode import encode_element
from cinemill.errors import DamagedFile
from tests.support import generate
from tests.support.generate import BIG_ENDIAN, EXPLICIT, IMPLICIT, native_bytes, native_element, noise, part10

FRAMES = noise((6, 4, 8))
NUCLEAR = "1.2.840.10008.5.1.4.1.1.20"
RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
XRAY = "1.2.840.10008.5.1.4.1.1.12.1"
VECTORS: dict[str, list[Any]] = {
    "FrameLabelVector": [f"frame {i}" for i in range(6)],
    "FramePrimaryAngleVector": [str(3 * i) for i in range(6)],
    "FrameSecondaryAngleVector": [str(4 * i) for i in range(6)],
    "SliceLocationVector": [f"{i}.5" for i in range(6)],
    "DisplayWindowLabelVector": [f"window {i}" for i in range(6)],
    "PositionerPrimaryAngleIncrement": [f"{i}.25" for i in range(6)],
    "PositionerSecondaryAngleIncrement": [f"-{i}" for i in range(6)],
    "TableVerticalIncrement": [str(i) for i in range(6)],
    "TableLateralIncrement": [str(-i) for i in range(6)],
    "TableLongitudinalIncrement": [str(10 * i) for i in range(6)],
    **{
        name: [1 + i // 2 for i in range(6)]
        for name in (
            "EnergyWindowVector",
            "DetectorVector",
            "PhaseVector",
            "RotationVector",
            "RRIntervalVector",
            "TimeSlotVector",
            "SliceVector",
            "AngularViewVector",
            "TimeSliceVector",
        )
    },
}


def written(tmp_path, syntax=EXPLICIT, frames=FRAMES, **elements):
    path = tmp_path / "whole.dcm"
    data = native_element(native_bytes(frames, big_endian=syntax == BIG_ENDIAN, words=True), syntax)
    path.write_bytes(part10(generate.header(frames, **elements), data, syntax))
    return path


def parts_of(path, tmp_path, size=4):
    receipts = cinemill.split(path, tmp_path / "parts", frames_per_instance=size)
    return [pydicom.dcmread(receipt.output) for receipt in receipts], receipts


def singles_of(path, tmp_path):
    cinemill.extract(path, tmp_path / "singles", format="dicom")
    return [pydicom.dcmread(single) for single in sorted((tmp_path / "singles").iterdir())]


def values(dataset, name):
    """Values as text, in a list."""
    value = dataset.get(name)
    found = value if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
    return [str(one) for one in found]


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_every_vector_is_cut(tmp_path, syntax):
    path = written(tmp_path, syntax, **VECTORS)
    (first, second), _ = parts_of(path, tmp_path)
    singles = singles_of(path, tmp_path)
    for name, whole in VECTORS.items():
        expected = [str(value) for value in whole]
        assert values(first, name) == expected[:4], name
        assert values(second, name) == expected[4:], name
        assert [values(single, name) for single in singles] == [[value] for value in expected], name


def test_what_frame_increment_pointer_names_is_cut(tmp_path):
    dataset = {"FrameIncrementPointer": [0x00189074, 0x00181063], "FrameTime": "40"}
    path = written(tmp_path, **dataset)
    whole = pydicom.dcmread(path)
    whole.add_new(0x00189074, "DT", [f"2026010112000{i}" for i in range(6)])
    whole.save_as(path)
    (first, second), _ = parts_of(path, tmp_path)
    assert values(first, "FrameAcquisitionDateTime") == [f"2026010112000{i}" for i in range(4)]
    assert values(second, "FrameAcquisitionDateTime") == [f"2026010112000{i}" for i in (4, 5)]
    assert second.FrameTime == 40


@pytest.mark.parametrize("name", ["FrameTimeVector", *VECTORS])
def test_a_vector_of_another_length_is_refused_by_name(tmp_path, name):
    wrong = (VECTORS.get(name) or ["0", *("40",) * 5])[:5]
    path = written(tmp_path, **{name: wrong})
    with pytest.raises(DamagedFile, match=r"Vector|Increment") as caught:
        cinemill.split(path, tmp_path / "parts", frames_per_instance=4)
    assert "5 values for 6 frames" in str(caught.value)
    assert not list((tmp_path / "parts").glob("*")) if (tmp_path / "parts").exists() else True


def test_numbers_of_nuclear_medicine_stay_those_of_the_sequences(tmp_path):
    elements = {
        "sop_class": NUCLEAR,
        "FrameIncrementPointer": [0x00540010, 0x00540020],
        "EnergyWindowVector": [1, 1, 1, 2, 2, 2],
        "DetectorVector": [1, 2, 3, 1, 2, 3],
        "NumberOfEnergyWindows": 2,
        "NumberOfDetectors": 3,
        "EnergyWindowInformationSequence": [Dataset(), Dataset()],
    }
    path = written(tmp_path, **elements)
    (first, second), receipts = parts_of(path, tmp_path, 3)
    assert (first.EnergyWindowVector, second.EnergyWindowVector) == ([1, 1, 1], [2, 2, 2])
    assert (first.DetectorVector, second.DetectorVector) == ([1, 2, 3], [1, 2, 3])
    assert second.NumberOfEnergyWindows == len(second.EnergyWindowInformationSequence) == 2
    assert all(any("energy windows" in warning for warning in receipt.warnings) for receipt in receipts)
    single = singles_of(path, tmp_path)[4]
    assert (single.EnergyWindowVector, single.DetectorVector) == (2, 2)
    assert single.FrameIncrementPointer == [0x00540010, 0x00540020]


@pytest.mark.parametrize(
    ("orientation", "step"),
    [
        ([1, 0, 0, 0, 1, 0], (0, 0, 1)),
        ([0, 1, 0, 0, 0, -1], (-1, 0, 0)),
        ([0.6, 0.8, 0, 0, 0, -1], (-0.8, 0.6, 0)),
    ],
)
def test_offsets_of_dose_planes_begin_anew_where_the_part_begins(tmp_path, orientation, step):
    offsets = ["0", "2.5", "5.0", "7.5", "10", "13.25"]
    elements = {
        "sop_class": RT_DOSE,
        "FrameIncrementPointer": 0x3004000C,
        "ImagePositionPatient": ["-82.796793", "21.903205", "-205.000000"],
        "ImageOrientationPatient": orientation,
        "GridFrameOffsetVector": offsets,
    }
    path = written(tmp_path, **elements)
    whole = planes(pydicom.dcmread(path), step)
    parts, _ = parts_of(path, tmp_path)
    assert [part.GridFrameOffsetVector[0] for part in parts] == [0, 0]
    assert np.allclose(np.concatenate([planes(part, step) for part in parts]), whole, atol=1e-5)
    assert parts[0].ImagePositionPatient == pydicom.dcmread(path).ImagePositionPatient
    singles = singles_of(path, tmp_path)
    assert np.allclose([single.ImagePositionPatient for single in singles], whole, atol=1e-5)
    assert not any("GridFrameOffsetVector" in single for single in singles)


def planes(dose, step):
    """Positions of the planes: the first, and the offsets along their normal."""
    return np.array(dose.ImagePositionPatient, float) + np.outer(
        np.array(dose.GridFrameOffsetVector, float), step
    )


def test_coordinates_of_dose_planes_stay(tmp_path):
    elements = {
        "sop_class": RT_DOSE,
        "FrameIncrementPointer": 0x3004000C,
        "ImagePositionPatient": ["1", "2", "-30"],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "GridFrameOffsetVector": ["-30", "-28", "-26", "-24", "-22", "-20"],
    }
    (first, second), _ = parts_of(written(tmp_path, **elements), tmp_path)
    assert (first.GridFrameOffsetVector, first.ImagePositionPatient) == ([-30, -28, -26, -24], [1, 2, -30])
    assert (second.GridFrameOffsetVector, second.ImagePositionPatient) == ([-22, -20], [1, 2, -22])


def test_offsets_that_begin_anywhere_are_refused(tmp_path):
    elements = {
        "GridFrameOffsetVector": ["3", "4", "5", "6", "7", "8"],
        "ImagePositionPatient": ["1", "2", "-30"],
    }
    with pytest.raises(DamagedFile, match="Grid Frame Offset Vector.*begins with 3"):
        cinemill.split(written(tmp_path, **elements), tmp_path / "parts", frames_per_instance=4)


@pytest.mark.parametrize("wrong", ["1E999999999", "1E-99999999", "sNaN       ", "nine       "])
@pytest.mark.parametrize("name", ["ImagePositionPatient", "ImageOrientationPatient", "GridFrameOffsetVector"])
def test_what_is_no_place_of_a_dose_plane_is_refused(tmp_path, name, wrong):
    elements = {
        "GridFrameOffsetVector": ["0", "1", "2", "3", "4", "5"],
        "ImagePositionPatient": ["1", "2", "-30"],
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    }
    elements[name][1] = "7.777777777"
    path = written(tmp_path, **elements)
    path.write_bytes(path.read_bytes().replace(b"7.777777777", wrong.encode()))
    with pytest.raises(DamagedFile, match="Grid Frame Offset Vector.*no row of numbers"):
        cinemill.split(path, tmp_path / "parts", frames_per_instance=4)


def test_a_pointer_to_a_group_length_names_nothing(tmp_path):
    path = written(tmp_path, FrameIncrementPointer=[0x00280000])
    first = encode_element(0x00280002, b"US", b"\1\0")
    path.write_bytes(path.read_bytes().replace(first, encode_element(0x00280000, b"UL", bytes(4)) + first))
    parts, _ = parts_of(path, tmp_path)
    assert [part.NumberOfFrames for part in parts] == [4, 2]


def test_numbers_of_a_thousand_digits_are_no_numbers_of_frames(tmp_path):
    names = {"IVUSPullbackStartFrameNumber": 0x00183103, "StartTrim": 0x00082142}
    path = written(tmp_path, **dict.fromkeys(names, 5))
    for tag in names.values():
        short, long = (encode_element(tag, b"IS", text) for text in (b"5", b"5" * 5000))
        path.write_bytes(path.read_bytes().replace(short, long))
    parts, _ = parts_of(path, tmp_path)
    assert not any("IVUSPullbackStartFrameNumber" in part for part in parts)


def test_frame_numbers_are_those_of_the_part(tmp_path):
    elements = {
        "RWavePointer": [2, 5, 6],
        "FrameNumbersOfInterest": [1, 4, 5],
        "FrameOfInterestDescription": ["first", "fourth", "fifth"],
        "FrameOfInterestType": ["A", "B", "C"],
        "IVUSPullbackStartFrameNumber": 5,
        "IVUSPullbackStopFrameNumber": 6,
    }
    (first, second), _ = parts_of(written(tmp_path, **elements), tmp_path)
    assert (first.RWavePointer, second.RWavePointer) == (2, [1, 2])
    assert (first.FrameNumbersOfInterest, second.FrameNumbersOfInterest) == ([1, 4], 1)
    assert (first.FrameOfInterestDescription, second.FrameOfInterestDescription) == (
        ["first", "fourth"],
        "fifth",
    )
    assert (first.FrameOfInterestType, second.FrameOfInterestType) == (["A", "B"], "C")
    assert "IVUSPullbackStartFrameNumber" not in first
    assert (second.IVUSPullbackStartFrameNumber, second.IVUSPullbackStopFrameNumber) == (1, 2)


def test_masks_that_name_frames_of_the_whole_are_left_out_with_a_warning(tmp_path):
    mask = Dataset()
    mask.MaskOperation, mask.MaskFrameNumbers = "AVG_SUB", [1]
    path = written(tmp_path, sop_class=XRAY, MaskSubtractionSequence=[mask])
    parts, receipts = parts_of(path, tmp_path)
    assert not any("MaskSubtractionSequence" in part for part in parts)
    assert all(any("0028,6100" in warning for warning in receipt.warnings) for receipt in receipts)


@pytest.mark.parametrize("columns", [7, 8])
def test_planes_of_overlays_are_those_of_the_part(tmp_path, columns):
    """Frames 2 to 6 have an overlay (C.9.3): Image Frame Origin 2, five frames."""
    frames, bits = noise((6, 3, columns)), noise((5, 3, columns), 1, seed=2)
    path = written(tmp_path, frames=frames)
    whole = pydicom.dcmread(path)
    data = np.packbits(bits, axis=None, bitorder="little").tobytes()
    for number, vr, value in (
        (0x0010, "US", 3),
        (0x0011, "US", columns),
        (0x0015, "IS", "5"),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0051, "US", 2),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x3000, "OW", data + bytes(len(data) % 2)),
    ):
        whole.add_new((0x6000, number), vr, value)
    whole.save_as(path)
    for part, (origin, planes_) in zip(
        parts_of(path, tmp_path)[0], [(2, bits[:3]), (1, bits[3:])], strict=True
    ):
        assert (part[0x6000, 0x0051].value, part[0x6000, 0x0015].value) == (origin, len(planes_))
        assert np.array_equal(part.overlay_array(0x6000).reshape(planes_.shape), planes_)
    first, second, *_ = singles_of(path, tmp_path)
    assert not [element for element in first if element.tag.group == 0x6000]
    assert np.array_equal(second.overlay_array(0x6000).reshape(3, columns), bits[0])


def test_functional_groups_of_another_number_are_refused(tmp_path):
    path = written(tmp_path, PerFrameFunctionalGroupsSequence=[Dataset(), Dataset()])
    with pytest.raises(DamagedFile, match="2 per-frame functional groups for 6 frames"):
        cinemill.split(path, tmp_path / "parts", frames_per_instance=4)


def test_a_part_is_no_part_of_another_whole(tmp_path):
    elements = {"ConcatenationUID": "1.2.3", "InConcatenationNumber": 2, "ConcatenationFrameOffsetNumber": 6}
    parts, _ = parts_of(written(tmp_path, **elements), tmp_path)
    assert not any(name in part for part in parts for name in elements)


def test_the_vector_of_a_long_dose_is_cut_although_its_vr_is_unknown(tmp_path):
    """A value of more than 64 KiB is written as UN in explicit VR (PS3.5 §6.2.2)."""
    frames = np.zeros((12000, 1, 1), np.uint8)
    offsets = [f"{i * 2.5:.3f}" for i in range(12000)]
    path = written(tmp_path, IMPLICIT, frames=frames, GridFrameOffsetVector=offsets)
    explicit = tmp_path / "explicit.dcm"
    cinemill.transcode(path, explicit, to="explicit")
    (_, last), _ = parts_of(explicit, tmp_path, 11990)
    assert list(map(float, last.GridFrameOffsetVector)) == [i * 2.5 for i in range(10)]
    assert Path(explicit).stat().st_size > 64 << 10
