"""Inspections of any file: damage is a finding, and sound files have none."""

import json
import random
import struct
from typing import Any

import pytest
from click.testing import CliRunner

import cinemill
from cinemill.cli import app
from cinemill.dicom.recode import encode_element
from cinemill.errors import DamagedFile
from cinemill.operations.inspect.checks.among import Seen
from cinemill.operations.inspect.checks.table import VALUES
from cinemill.operations.inspect.inspect import inspect, to_record
from cinemill.operations.inspect.trees import inspect_all
from cinemill.operations.operation import Control
from cinemill.operations.transcode.request import Transcode
from tests.fuzz.inspections import mutated, told_without_harm
from tests.support import clips, generate, soundness
from tests.support.files import bundled, pydicom_files
from tests.support.tools import conformance_errors


def ids(inspection):
    return {finding.check for finding in inspection.findings}


@pytest.mark.parametrize("to", ["jpeg-ls", "jpeg-2000", "htj2k", "rle", "explicit", "deflated", "implicit"])
def test_outputs_of_transcode_have_no_findings_that_their_sources_had_not(tmp_path, to):
    for name in ("examples_ybr_color.dcm", "examples_rgb_color.dcm"):
        before = ids(inspect(bundled(name)))
        cinemill.transcode(bundled(name), tmp_path / name, to=to)
        assert ids(inspect(tmp_path / name)) <= before
        assert not any(finding.severity == "error" for finding in inspect(tmp_path / name).findings)


@pytest.mark.tools
@pytest.mark.parametrize("name", ["native", "jpeg", "jpeg-ls", "rle"])
def test_dciodvfy_finds_nothing_of_ours_in_sound_files(tmp_path, name):
    path = tmp_path / "a.dcm"
    path.write_bytes(soundness.SOUND[name]())
    of_others = (
        "Type 2",
        "not permitted",
        "Module=<Patient",
        "Module=<General",
        "Module=<CTImage",
        "Module=<FrameOf",
    )
    errors = {error for error in conformance_errors(path) if not any(each in error for each in of_others)}
    assert not {
        error for error in errors if any(each in error for each in ("Photometric", "Bits", "UID", "Offset"))
    }


@pytest.mark.parametrize("name", ["native", "jpeg-ls", "rle", "jpeg-2000", "jpeg", "extended", "groups"])
def test_a_mutated_file_is_inspected_without_harm(tmp_path, name):
    for data in mutated(soundness.SOUND[name](), random.Random(name), 25):
        told_without_harm(tmp_path / "a.dcm", data)


@pytest.mark.corpus
def test_a_mutated_real_file_is_inspected_without_harm(tmp_path, corpus):
    chance = random.Random(7)
    small = [path for path in sorted(corpus.iterdir()) if path.stat().st_size < 400_000]
    for path in chance.sample(small, 40):
        for data in mutated(path.read_bytes(), chance, 3):
            told_without_harm(tmp_path / "a.dcm", data)


@pytest.mark.corpus
def test_every_real_file_is_inspected_without_harm(corpus):
    for path in sorted(corpus.iterdir()):
        inspection = inspect(path)
        json.dumps(to_record(inspection), allow_nan=False)
        assert VALUES.id not in ids(inspection), path.name


@pytest.mark.parametrize("digits", [13, 3000, 5000])
def test_a_number_of_frames_of_more_digits_than_the_standard_allows_is_a_finding(tmp_path, digits):
    """Python turns one of 3000 into a number that no arithmetic of floats takes, and one of 5000 into none."""
    right, wrong = (encode_element(0x00280008, b"IS", text) for text in (b"3", b"9" * digits))
    frames = generate.noise((3, 4, 8))
    pixels = generate.native_element(frames.tobytes(), generate.EXPLICIT)
    data = generate.part10(generate.header(frames), pixels, generate.EXPLICIT)
    path = tmp_path / "in.dcm"
    path.write_bytes(data.replace(right, wrong))
    found = {finding.check: finding.found for finding in cinemill.inspect(path).findings}
    assert "expected a positive integer" in found["frames.number"]
    assert len(found["frames.number"]) < 200
    assert not cinemill.index(path, tmp_path / "index.csv").errors
    with pytest.raises(DamagedFile, match="expected a positive integer"):
        cinemill.transcode(path, tmp_path / "out.dcm", to="rle")


def test_every_file_of_pydicom_is_inspected_without_harm():
    for path in pydicom_files():
        json.dumps(to_record(inspect(path)), allow_nan=False)


def test_of_a_file_that_ends_in_its_fragments_the_header_is_told(tmp_path):
    data = soundness.SOUND["jpeg-ls"]()
    (tmp_path / "a.dcm").write_bytes(data[:-200])
    found = inspect(tmp_path / "a.dcm")
    assert ids(found) == {"file.damaged"}
    assert "the file is truncated" in found.findings[0].found
    assert (found.facts.rows, found.facts.frames, found.facts.file_bytes) == (24, 4, len(data) - 200)
    assert len(found.regions) == 1


def test_of_a_header_that_breaks_off_what_stands_before_is_told(tmp_path):
    data = soundness.native()
    (tmp_path / "a.dcm").write_bytes(data[: data.index(b"\x28\0\x02\0US") + 6])
    found = inspect(tmp_path / "a.dcm")
    assert "file.damaged" in ids(found)
    assert (found.facts.modality, found.facts.manufacturer) == ("US", "Example")


@pytest.mark.parametrize("depth", [3000, 320, 300, 280, 100])
def test_of_sequences_nested_too_deeply_the_rest_is_told(tmp_path, depth):
    begin = struct.pack("<HH2sHLHHL", 0x0018, 0x6011, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    data = soundness.native(SequenceOfUltrasoundRegions=None)
    at = data.index(b"\x20\0\x0d\0UI")
    (tmp_path / "a.dcm").write_bytes(data[:at] + begin * depth + end * depth + data[at:])
    found = inspect(tmp_path / "a.dcm")
    assert (found.facts.modality, found.facts.manufacturer) == ("US", "Example")
    assert found.findings


@pytest.mark.parametrize("content", [b"", b"text", bytes(1000), b"\x08\0" * 200])
def test_what_is_no_dicom_file_is_a_finding(tmp_path, content):
    (tmp_path / "a.dcm").write_bytes(content)
    assert ids(inspect(tmp_path / "a.dcm")) & {"file.dicom", "file.damaged"}


def test_of_an_unknown_transfer_syntax_the_remedy_is_another_one(tmp_path):
    data = soundness.native()
    (tmp_path / "a.dcm").write_bytes(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.10", 1))
    found = inspect(tmp_path / "a.dcm")
    assert ids(found) == {"file.damaged"}
    assert "unknown transfer syntax 1.2.840.10008.1.2.10" in found.findings[0].found
    assert "transfer syntax of the standard" in found.findings[0].remedy


def test_a_missing_file_is_a_finding(tmp_path):
    assert ids(inspect(tmp_path / "nowhere.dcm")) == {"file.damaged"}


def test_a_finding_of_frames_tells_the_first_and_how_many_others(tmp_path):
    frames = soundness.jpeg_ls()
    for at in (1, 3):
        frames[at] = [b"\0\0" + frames[at][0][2:]]
    (tmp_path / "a.dcm").write_bytes(soundness.coded(generate.JPEG_LS, frames))
    (found,) = inspect(tmp_path / "a.dcm").findings
    assert (found.check, found.frame) == ("codestream.markers", 1)
    assert found.found.endswith("; so 1 other")


def test_findings_hold_no_control_characters(tmp_path):
    (tmp_path / "a.dcm").write_bytes(
        soundness.native(Modality="US").replace(b"CS\x02\0US", b"CS\x02\0\x1b[", 1)
    )
    assert all(each.found.isprintable() for each in inspect(tmp_path / "a.dcm").findings)


def test_instances_are_looked_at_together(tmp_path):
    copies: dict[str, dict[str, Any]] = {
        "a": {},
        "b": {"InstanceNumber": 2},
        "c": {"SOPInstanceUID": "1.2.3.40", "InstanceNumber": 1},
        "d": {"SOPInstanceUID": "1.2.3.41", "InstanceNumber": 4, "Modality": "IVUS"},
        "e": {"SOPInstanceUID": "1.2.3.42", "InstanceNumber": 5, "StudyInstanceUID": "1.2.3.50"},
    }
    for name, changes in copies.items():
        (tmp_path / f"{name}.dcm").write_bytes(soundness.native(**changes))
    inspections = [inspect(path) for path in sorted(tmp_path.iterdir())]
    seen = Seen()
    found = [
        (each.facts.path.stem, finding.check) for each in inspections for finding in seen.add(each.facts)
    ]
    assert found == [
        ("b", "among.instance-twice"),
        ("c", "among.number-twice"),
        ("d", "among.modalities"),
        ("e", "among.series-elsewhere"),
    ]
    of_tree = {each.facts.path.stem: ids(each) for each in inspect_all([tmp_path])}
    assert sum("among.instance-twice" in checks for checks in of_tree.values()) == 1
    seen = Seen()
    assert [*seen.add(inspections[0].facts), *seen.add(inspections[0].facts)] == []


def test_in_a_tree_what_is_no_dicom_file_is_left_out_unless_it_is_named(tmp_path):
    (tmp_path / "README").write_text("no image")
    clips.write(tmp_path / "a.dcm", clips.numbered(2))
    assert [each.facts.path.name for each in inspect_all([tmp_path])] == ["a.dcm"]
    assert [each.facts.path.name for each in inspect_all([tmp_path / "README"])] == ["README"]


def test_receipts_of_transcode_have_what_is_wrong_with_pixels_and_no_warning_says(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(soundness.native(HighBit=6, CineRate="50", Manufacturer=""))
    asked = Transcode(to="rle")
    receipt = asked.reported().apply(path, tmp_path / "b.dcm", Control(1))
    assert receipt.findings == (
        "pixels.bits: High Bit is 6, expected 7 for Bits Stored 8",
        "timing.rates: frames a second: 25 by Frame Time, 50 by Cine Rate",
    )
    assert asked.apply(path, tmp_path / "c.dcm", Control(1)).findings == ()
    path.write_bytes(soundness.SOUND["native"]())
    assert asked.reported().apply(path, tmp_path / "d.dcm", Control(1)).findings == ()


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_report_of_transcode_has_findings(tmp_path, suffix):
    path, report = tmp_path / "a.dcm", tmp_path / f"r.{suffix}"
    path.write_bytes(soundness.native(HighBit=6, CineRate="50"))
    arguments = ["transcode", str(path), str(tmp_path / "b.dcm"), "--to", "rle", "--report", str(report)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    text = report.read_text()
    assert "pixels.bits: High Bit is 6, expected 7 for Bits Stored 8" in text
    assert "timing.rates: frames a second" in text
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert "pixels.bits: High Bit is 6" in report.read_text()
