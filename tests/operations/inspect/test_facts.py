"""Facts of files as pydicom and DCMTK tell them."""

import warnings

import pydicom
import pytest
from pydicom.encaps import generate_fragments, parse_basic_offsets

from cinemill.dicom.source import Source
from cinemill.frames.regions import read_regions, region_items
from cinemill.operations.inspect.facts import facts_of
from cinemill.operations.inspect.inspect import inspect
from tests.support import clips, generate, soundness
from tests.support.files import REPOSITORY, bundled


def facts(path, *, counted=True):
    with Source(path, scan=False) as source:
        return facts_of(source, counted=counted)


@pytest.mark.parametrize(
    "name",
    ["examples_ybr_color.dcm", "examples_rgb_color.dcm", "examples_palette.dcm", "examples_jpeg2k.dcm"],
)
def test_facts_are_those_that_pydicom_reads(name):
    path, found = bundled(name), facts(bundled(name))
    header = pydicom.dcmread(path)
    assert (found.rows, found.columns, found.samples_per_pixel) == (
        header.Rows,
        header.Columns,
        header.SamplesPerPixel,
    )
    assert (found.bits_stored, found.bits_allocated) == (header.BitsStored, header.BitsAllocated)
    assert found.photometric_interpretation == header.PhotometricInterpretation
    assert found.sop_class == header.SOPClassUID.name
    assert found.transfer_syntax == header.file_meta.TransferSyntaxUID.name
    assert (found.modality, found.manufacturer or "") == (header.Modality, header.get("Manufacturer") or "")
    assert (found.sop_instance_uid, found.study_instance_uid) == (
        header.SOPInstanceUID,
        header.StudyInstanceUID,
    )
    assert found.frames == int(header.get("NumberOfFrames", 1))
    assert found.regions == len(header.get("SequenceOfUltrasoundRegions") or ())
    assert found.lossy == (header.get("LossyImageCompression") == "01")
    assert found.file_bytes == path.stat().st_size
    if header.file_meta.TransferSyntaxUID.is_encapsulated:
        assert found.fragments == sum(1 for _ in generate_fragments(header.PixelData)) - 1
        assert (found.offset_table == "basic") == bool(parse_basic_offsets(header.PixelData))
        assert found.pixel_bytes in {len(header.PixelData), len(header.PixelData) + 8}
    else:
        assert (found.offset_table, found.fragments, found.ratio) == ("none", None, 1)


def test_the_rate_and_its_source_are_those_of_the_times(tmp_path):
    path = clips.write(tmp_path / "a.dcm", clips.numbered(3), FrameTimeVector=["0", "20", "30"])
    found = facts(path)
    assert (found.frame_rate, found.frame_rate_source) == (pytest.approx(40), "FrameTimeVector")
    assert found.duration == pytest.approx(0.08)
    path = clips.write(tmp_path / "b.dcm", clips.numbered(3), CineRate="50")
    assert (facts(path).frame_rate, facts(path).frame_rate_source) == (50, "CineRate")
    path = clips.write(tmp_path / "c.dcm", clips.numbered(3))
    assert (facts(path).frame_rate, facts(path).duration) == (None, None)


def test_headers_alone_tell_all_but_the_fragments(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(soundness.SOUND["jpeg-ls"]())
    header = facts(path, counted=False)
    assert header.fragments is None
    assert facts(path).fragments == 4
    assert header == inspect(path).facts.__class__(
        **{name: getattr(facts(path), name) for name in header.__slots__ if name != "fragments"}
    )


def test_texts_are_read_in_their_character_set(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(soundness.native(SpecificCharacterSet="ISO_IR 192", Manufacturer="Gerät GmbH"))
    assert facts(path).manufacturer == "Gerät GmbH"
    wrong = path.read_bytes().replace("ä".encode(), b"\xe4 ")
    path.write_bytes(wrong)
    assert facts(path).manufacturer


def test_a_hostile_number_of_frames_takes_no_memory(tmp_path):
    path = clips.write(tmp_path / "a.dcm", clips.numbered(2), NumberOfFrames="999999999999", FrameTime="40")
    assert (facts(path).frames, facts(path).duration) == (999999999999, None)


def test_nothing_names_the_patient_unless_it_is_asked_for(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(soundness.native(PatientID="ID-4711", StudyDescription="Herzecho"))
    assert "Doe" not in repr(inspect(path))
    assert "ID-4711" not in repr(inspect(path))
    assert "Herzecho" not in repr(inspect(path))
    asked = inspect(path, phi=True).patient
    assert asked == {"PatientName": "Doe^Jane", "PatientID": "ID-4711", "StudyDescription": "Herzecho"}


@pytest.mark.parametrize("syntax", [generate.EXPLICIT, generate.IMPLICIT, generate.BIG_ENDIAN])
def test_regions_read_alone_are_those_of_the_header(tmp_path, syntax):
    regions = [clips.region((1, 2, 7, 5), units=(4, 7), deltas=(0.5, -0.25)), clips.region((0, 0, 3, 3))]
    frames = clips.numbered(1)
    header = generate.header(frames, SequenceOfUltrasoundRegions=regions)
    pixels = generate.native_element(frames.tobytes(), syntax, b"OB")
    (tmp_path / "a.dcm").write_bytes(generate.part10(header, pixels, syntax))
    with Source(tmp_path / "a.dcm") as source:
        alone = read_regions({"SequenceOfUltrasoundRegions": region_items(source)}, 6, 8)
        assert alone == read_regions(pydicom.dcmread(tmp_path / "a.dcm"), 6, 8)
        assert alone[0].deltas == (0.5, -0.25)


@pytest.mark.corpus
def test_regions_read_alone_are_those_of_the_header_in_real_files(corpus):
    compared = 0
    for path in sorted(corpus.iterdir()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
            source = Source(path, scan=False)
        except Exception:  # noqa: BLE001
            continue
        with source:
            if source.element(0x00186011) is None:
                continue
            alone = read_regions({"SequenceOfUltrasoundRegions": region_items(source)}, 999, 999)
            assert alone == read_regions(header, 999, 999), path.name
            compared += 1
    assert compared > 10


@pytest.mark.parametrize("value", [b"1.2\x1b[31m", b"1.\xff\xfe2"])
def test_texts_that_can_be_none_are_read_without_a_warning_of_pydicom(tmp_path, value):
    header = generate.header(generate.noise((1, 6, 8)), StudyInstanceUID="1.2.345")
    data = generate.part10(header, generate.native_element(bytes(48), generate.EXPLICIT), generate.EXPLICIT)
    (tmp_path / "a.dcm").write_bytes(data.replace(b"1.2.345\0", value.ljust(8)))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert facts(tmp_path / "a.dcm").study_instance_uid == value.decode("latin-1")
    assert told == []


def test_the_documentation_names_every_fact():
    text = (REPOSITORY / "docs/INSPECT.md").read_text()
    found = inspect(bundled("examples_ybr_color.dcm")).facts
    assert [name for name in found.__slots__ if f"`{name}`" not in text] == []
