"""A cine in parts: no codestream changes, and each part is an instance of its own."""

import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

import cinemill
from cinemill.dicom.source import Source
from cinemill.errors import DamagedFile, OutputExists, Refused, UsageError
from tests.support.files import bundled
from tests.support.generate import (
    BIG_ENDIAN,
    DELIMITER,
    EXPLICIT,
    encapsulated_element,
    header,
    item,
    native_element,
    noise,
    part10,
)

ULTRASOUND = bundled("examples_ybr_color.dcm")


def frames_of(paths):
    for path in paths:
        with Source(path) as source:
            yield from (bytes(source.frame(index)) for index in range(len(source)))


@pytest.mark.parametrize("syntax", ["as it is", "explicit", "implicit", "deflated", "rle", "htj2k"])
def test_concatenated_frames_are_the_original_codestreams(tmp_path, syntax):
    cine = ULTRASOUND
    if syntax != "as it is":
        cine = tmp_path / "cine.dcm"
        cinemill.transcode(ULTRASOUND, cine, to=syntax)
    receipts = cinemill.split(cine, tmp_path / "parts", frames_per_instance=7)
    assert [receipt.frames for receipt in receipts] == [7, 7, 7, 7, 2]
    original = [frame + bytes(len(frame) % 2) for frame in frames_of([cine])]
    assert list(frames_of([receipt.output for receipt in receipts])) == original


def test_single_bits_are_split_between_bytes(tmp_path):
    header = pydicom.dcmread(bundled("liver_1frame.dcm"))
    header.Rows, header.Columns, header.NumberOfFrames = 5, 7, 4
    header.PixelData = bytes(range(1, 19))
    del header.PerFrameFunctionalGroupsSequence
    source = tmp_path / "bits.dcm"
    header.save_as(source)
    receipts = cinemill.split(source, tmp_path / "parts", frames_per_instance=1)
    assert list(frames_of([receipt.output for receipt in receipts])) == list(frames_of([source]))


def test_parts_by_bytes(tmp_path):
    receipts = cinemill.split(ULTRASOUND, tmp_path, max_bytes=50_000)
    for receipt in receipts:
        assert sum(map(len, frames_of([receipt.output]))) <= 50_000
    assert sum(receipt.frames or 0 for receipt in receipts) == 30
    assert len(cinemill.split(ULTRASOUND, tmp_path / "each", max_bytes=1)) == 30


def timed_cine(tmp_path):
    header = pydicom.dcmread(ULTRASOUND)
    del header.FrameTime
    header.FrameIncrementPointer = 0x00181065
    header.FrameTimeVector = ["0", *(str(20 + i) for i in range(29))]
    header.StartTrim, header.StopTrim = 5, 12
    header.RepresentativeFrameNumber = 12
    groups = []
    for number in range(30):
        item = Dataset()
        item.StackID = str(number)
        groups.append(item)
    header.PerFrameFunctionalGroupsSequence = groups
    header.save_as(tmp_path / "timed.dcm")
    return tmp_path / "timed.dcm", header


def test_the_header_of_a_part(tmp_path):
    path, before = timed_cine(tmp_path)
    parts = [
        pydicom.dcmread(r.output) for r in cinemill.split(path, tmp_path / "parts", frames_per_instance=10)
    ]
    assert len({part.SOPInstanceUID for part in parts} | {before.SOPInstanceUID}) == 4
    assert {part.SeriesInstanceUID for part in parts} == {parts[0].SeriesInstanceUID}
    assert parts[0].SeriesInstanceUID != before.SeriesInstanceUID
    assert {part.StudyInstanceUID for part in parts} == {before.StudyInstanceUID}
    assert [part.InstanceNumber for part in parts] == [1, 2, 3]
    for number, part in enumerate(parts):
        assert part.file_meta.MediaStorageSOPInstanceUID == part.SOPInstanceUID
        assert part.NumberOfFrames == 10
        assert part.ImageType[0] == "DERIVED"
        assert part.FrameTimeVector == [0, *before.FrameTimeVector[10 * number + 1 : 10 * number + 10]]
        assert [item.StackID for item in part.PerFrameFunctionalGroupsSequence] == [
            str(10 * number + i) for i in range(10)
        ]
        (origin,) = part.SourceImageSequence
        assert origin.ReferencedSOPInstanceUID == before.SOPInstanceUID
        assert origin.ReferencedFrameNumber == list(range(10 * number + 1, 10 * number + 11))
    trims = [(part.get("StartTrim"), part.get("StopTrim")) for part in parts]
    assert trims == [(5, 10), (1, 2), (None, None)]
    assert [part.get("RepresentativeFrameNumber") for part in parts] == [None, 2, None]


def test_the_same_call_keeps_what_is_there(tmp_path):
    first = cinemill.split(ULTRASOUND, tmp_path, frames_per_instance=15)
    contents = [Path(receipt.output).read_bytes() for receipt in first]
    again = cinemill.split(ULTRASOUND, tmp_path, frames_per_instance=15)
    assert [receipt.status for receipt in again] == ["kept", "kept"]
    assert [Path(receipt.output).read_bytes() for receipt in again] == contents
    with pytest.raises(OutputExists):
        cinemill.split(ULTRASOUND, tmp_path, frames_per_instance=10)


def test_what_a_killed_run_left_of_a_finished_part_goes(tmp_path):
    """It was killed between the part's name and the end of its other one."""
    for _ in range(2):
        (_, part) = cinemill.split(ULTRASOUND, tmp_path, frames_per_instance=15)
        output = Path(part.output)
        output.with_name(f".{output.name}.0.part").hardlink_to(output)
    cinemill.split(ULTRASOUND, tmp_path, frames_per_instance=15)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "limits", [{}, {"frames_per_instance": 5, "max_bytes": 5}, {"frames_per_instance": 0}, {"max_bytes": -1}]
)
def test_limits_are_checked(tmp_path, limits):
    with pytest.raises(UsageError, match="at least 1"):
        cinemill.split(ULTRASOUND, tmp_path, **limits)


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG_ENDIAN])
def test_a_sequence_of_unknown_vr_is_carried_on(tmp_path, syntax):
    """Its items are implicit VR little endian, whatever stands around it (PS3.5 6.2.2)."""
    frames, order = noise((2, 4, 6)), ">" if syntax == BIG_ENDIAN else "<"
    reference = struct.pack("<HHL", 0x0008, 0x1155, 8) + b"1.2.3.9\0"
    sequence = (
        struct.pack(order + "HH2sHL", 0x0008, 0x2112, b"UN", 0, 0xFFFFFFFF) + item(reference) + DELIMITER
    )
    path = tmp_path / "in.dcm"
    path.write_bytes(
        part10(header(frames), sequence + native_element(frames.tobytes(), syntax, b"OB"), syntax)
    )
    for part in cinemill.split(path, tmp_path / "parts", frames_per_instance=1):
        there = pydicom.dcmread(part.output).SourceImageSequence
        assert [each.ReferencedSOPInstanceUID for each in there] == ["1.2.3.9", "1.2.3.4"]
    cinemill.extract(path, tmp_path / "stills", format="dicom")


def test_what_has_no_frames_is_not_split(tmp_path):
    with pytest.raises(DamagedFile, match="no pixel data"):
        cinemill.split(bundled("reportsi.dcm"), tmp_path, frames_per_instance=2)


def test_parts_of_a_source_that_changed_and_damaged_parts_are_made_anew(tmp_path):
    source = tmp_path / "in.dcm"
    source.write_bytes(ULTRASOUND.read_bytes())

    def statuses():
        return [part.status for part in cinemill.split(source, tmp_path / "parts", frames_per_instance=10)]

    statuses()
    (tmp_path / "parts" / "in_0002.dcm").write_bytes(b"DICM".rjust(132, b"\0"))
    with pytest.raises(OutputExists):
        statuses()
    (tmp_path / "parts" / "in_0002.dcm").unlink()
    with (tmp_path / "parts" / "in_0003.dcm").open("ab") as file:
        file.write(b"\0\0")
    assert statuses() == ["kept", "transcoded", "transcoded"]
    source.touch()
    assert statuses() == ["kept", "kept", "kept"]
    changed = pydicom.dcmread(ULTRASOUND)
    changed.PatientName = "Somebody^Else"
    changed.save_as(source)
    assert statuses() == ["transcoded"] * 3
    assert pydicom.dcmread(tmp_path / "parts" / "in_0003.dcm").PatientName == "Somebody^Else"


def test_a_video_is_not_cut_where_its_fragments_end(tmp_path):
    """Nothing says that a fragment of a stream is a frame, though there may be as many."""
    stream = encapsulated_element([[bytes([index] * 8)] for index in range(4)], table="empty")
    video = header(np.zeros((4, 8, 8, 3), np.uint8), "YBR_PARTIAL_420", samples=3)
    (tmp_path / "video.dcm").write_bytes(part10(video, stream, "1.2.840.10008.1.2.4.102"))
    with pytest.raises(Refused, match="a video is one stream"):
        cinemill.split(tmp_path / "video.dcm", tmp_path / "parts", frames_per_instance=2)
    assert not (tmp_path / "parts").exists()
