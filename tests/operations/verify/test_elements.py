"""What `cinemill.verify` says of elements: any encoding of the same values, and each that differs by its path."""

import struct
from copy import deepcopy

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID

import cinemill
from cinemill.errors import VerificationError
from cinemill.syntaxes import TARGETS
from tests.support.files import bundled
from tests.support.generate import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG_BASELINE,
    JPEG_LS,
    ULTRASOUND_CINE,
    encapsulated_element,
    header,
    item,
    jpeg,
    jpeg_ls_stream,
    native_bytes,
    native_element,
    noise,
    part10,
    rle_stream,
    smooth,
)

FRAMES = noise((2, 8, 6))


def instance(**elements):
    """A header with sequences in sequences, private elements, and numbers of many kinds."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "T-1", "SRT", "Heart"
    region = Dataset()
    region.PhysicalDeltaX, region.RegionDataType = 0.25, 1
    region.AnatomicRegionSequence = Sequence([code, deepcopy(code)])
    dataset = header(FRAMES, sop_class=ULTRASOUND_CINE)
    dataset.Manufacturer = "A maker"
    dataset.SequenceOfUltrasoundRegions = Sequence([region])
    block = dataset.private_block(0x0011, "MAKER", create=True)
    block.add_new(1, "LO", "private text")
    block.add_new(2, "OB", b"\1\0\2\0")
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def file_of(dataset, syntax=EXPLICIT):
    pixels = native_bytes(FRAMES, big_endian=syntax == BIG_ENDIAN)
    return part10(dataset, native_element(pixels, syntax, b"OB"), syntax)


@pytest.fixture
def pair(tmp_path):
    """Write two files and verify the second against the first."""

    def prove(before, after):
        paths = tmp_path / "before.dcm", tmp_path / "after.dcm"
        for path, data in zip(paths, (before, after), strict=True):
            path.write_bytes(data)
        return cinemill.verify(*paths)

    return prove


def said(pair, before, after):
    with pytest.raises(VerificationError) as error:
        pair(before, after)
    return error.value.message


@pytest.mark.parametrize("syntax", [IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_any_encoding_of_the_same_values_is_the_same(pair, syntax):
    receipt = pair(file_of(instance()), file_of(instance(), syntax))
    assert receipt.verification == "every frame's bytes, every other element"


def test_undefined_lengths_group_lengths_and_padding_are_the_same(pair, tmp_path):
    before = file_of(instance())
    path = tmp_path / "long.dcm"
    path.write_bytes(before)
    read = pydicom.dcmread(path)
    read.SequenceOfUltrasoundRegions.is_undefined_length = True
    read[0x0018, 0x6011].is_undefined_length = True
    for region in read.SequenceOfUltrasoundRegions:
        region.is_undefined_length_sequence_item = True
        region["AnatomicRegionSequence"].is_undefined_length = True
    read.add_new((0x0008, 0x0000), "UL", 77)
    read.add_new((0xFFFC, 0xFFFC), "OB", bytes(64))
    read.save_as(path)
    assert path.read_bytes() != before
    assert pair(before, path.read_bytes()).status == "verified"
    assert pair(before, before.replace(b"A maker ", b"A maker\0")).status == "verified"


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_one_changed_element_is_named_with_its_values(pair, syntax):
    message = said(pair, file_of(instance()), file_of(instance(Manufacturer="A faker"), syntax))
    assert message == "1 element differs: (0008,0070) Manufacturer: expected 'A maker', found 'A faker'"


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_one_changed_element_in_a_sequence_of_a_sequence_is_named_by_its_path(pair, syntax):
    changed = instance()
    changed.SequenceOfUltrasoundRegions[0].AnatomicRegionSequence[1].CodeMeaning = "Liver"
    assert said(pair, file_of(instance()), file_of(changed, syntax)) == (
        "1 element differs: (0018,6011)[1].(0008,2218)[2].(0008,0104) CodeMeaning: expected 'Heart', found 'Liver'"
    )


def test_lost_and_new_elements_items_and_private_values_are_told(pair):
    changed = instance(StationName="new")
    del changed.Manufacturer
    del changed.SequenceOfUltrasoundRegions[0].AnatomicRegionSequence[1]
    changed.SequenceOfUltrasoundRegions[0].PhysicalDeltaX = 0.5
    changed[0x0011, 0x1002].value = b"\1\0\2\1"
    message = said(pair, file_of(instance()), file_of(changed))
    for part in (
        "5 elements differ: ",
        "(0008,0070) Manufacturer: expected 'A maker', found no such element",
        "(0008,1010) StationName: expected no such element, found 'new'",
        "(0011,1002): expected 4 bytes 01 00 02 00, found 4 bytes 01 00 02 01",
        "(0018,6011)[1].(0008,2218) AnatomicRegionSequence: expected 2 items, found 1 items",
        "(0018,6011)[1].(0018,602C) PhysicalDeltaX: expected 0.25, found 0.5",
    ):
        assert part in message


def test_what_names_a_person_is_hardly_shown_and_long_lists_are_cut(pair):
    changed = instance(PatientName="Roe^Richard", PatientID="987654321", AdditionalPatientHistory="x" * 90)
    for number in range(8):
        changed.add_new((0x0099, 0x1000 + number), "LO", "some")
    message = said(pair, file_of(instance()), file_of(changed))
    assert "PatientName: expected 'Do…' of 8 characters, found 'Ro…' of 11 characters" in message
    assert "987654321" not in message
    assert message.startswith("11 elements differ")
    assert message.endswith(" and 3 more")


def test_a_damaged_vr_is_told_and_one_that_became_that_of_the_dictionary_is_not(pair):
    before = file_of(instance())
    assert said(pair, before, before.replace(b"\x70\0LO", b"\x70\0Lt", 1)) == (
        "1 element differs: VR of (0008,0070) Manufacturer: expected 'LO', found 'Lt'"
    )
    assert said(pair, before, before.replace(b"\0\x04\x01LO", b"\0\x04\x01lO", 1)) == (
        "1 element differs: VR of (0018,6011)[1].(0008,2218)[1].(0008,0104) CodeMeaning: "
        "expected 'LO', found 'lO'"
    )
    assert pair(before.replace(b"\x70\0LO", b"\x70\0ST", 1), before).status == "verified"


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_a_damaged_item_tag_is_told(pair, syntax):
    after = file_of(instance(), syntax)
    second = after.rindex(b"\xfe\xff\x00\xe0")
    damaged = after[:second] + b"\xfe\xff\x01\xe0" + after[second + 4 :]
    assert said(pair, file_of(instance()), damaged) == (
        "1 element differs: item (0018,6011)[1].(0008,2218)[2]: expected (FFFE,E000), found (FFFE,E001)"
    )


def test_another_sop_instance_uid_is_said_in_full(pair):
    message = said(pair, file_of(instance()), file_of(instance(SOPInstanceUID="1.2.3.4.5")))
    assert message == "1 element differs: (0008,0018) SOPInstanceUID: expected '1.2.3.4', found '1.2.3.4.5'"


def test_file_meta_that_names_another_instance_is_told(pair):
    after = file_of(instance(Manufacturer="A maker"), IMPLICIT)
    first = after.index(b"1.2.3.4\0")
    wrong = after[:first] + b"1.2.3.9\0" + after[first + 8 :]
    message = said(pair, file_of(instance()), wrong)
    assert (
        message
        == "1 element differs: (0002,0003) of the File Meta Information: expected '1.2.3.4', found '1.2.3.9'"
    )


def test_private_information_of_the_file_meta_is_no_difference(tmp_path):
    source, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    source.write_bytes(file_of(instance()))
    cinemill.transcode(source, output, to="rle")
    read = pydicom.dcmread(output)
    read.file_meta.PrivateInformationCreatorUID = UID("1.2.3.4.5.6")
    read.file_meta.PrivateInformation = b"made from something"
    read.file_meta.SourceApplicationEntityTitle = "SOMEONE"
    read.save_as(output)
    assert cinemill.verify(source, output).status == "verified"


@pytest.mark.parametrize("target", [row.name for row in TARGETS if row.lossless])
def test_icons_that_became_native_are_the_same_and_changed_ones_are_found(tmp_path, target):
    source, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    icon = header(smooth((8, 8))[None])
    for name in ("SOPClassUID", "SOPInstanceUID", "PatientName"):
        delattr(icon, name)
    icon.PixelData = encapsulate([jpeg_ls_stream(smooth((8, 8)))])
    icon["PixelData"].VR = "OB"
    icon["PixelData"].is_undefined_length = True
    dataset = instance(IconImageSequence=Sequence([icon]))
    pixels = encapsulated_element([[jpeg_ls_stream(frame, roomy=True)] for frame in FRAMES])
    source.write_bytes(part10(dataset, pixels, JPEG_LS))
    cinemill.transcode(source, output, to=target)
    assert cinemill.verify(source, output).status == "verified"
    if target not in {
        "jpeg-ls",
        "jpeg-xl",
        "deflated-frame",
    }:  # pydicom writes no syntax that it does not know
        read = pydicom.dcmread(output)
        read.IconImageSequence[0].PixelData = bytes(64)
        read.save_as(output)
        with pytest.raises(VerificationError, match=r"\(0088,0200\)\[1\].\(7FE0,0010\) PixelData"):
            cinemill.verify(source, output)


def overlaid():
    plane = noise((2, 9, 11), 1, seed=5)
    frames = noise((2, 9, 11), 12) | plane.astype(np.uint16) << 12
    dataset = header(frames, bits_stored=12)
    for element, vr, value in (
        *((0x0010, "US", 9), (0x0011, "US", 11), (0x0040, "CS", "G")),
        *((0x0050, "SS", [1, 1]), (0x0100, "US", 16), (0x0102, "US", 12)),
    ):
        dataset.add_new((0x6000, element), vr, value)
    return part10(dataset, native_element(native_bytes(frames), EXPLICIT), EXPLICIT), plane


@pytest.mark.parametrize("target", [row.name for row in TARGETS if row.lossless])
def test_overlays_that_moved_out_of_the_samples_are_the_same(tmp_path, target):
    source, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    source.write_bytes(overlaid()[0])
    cinemill.transcode(source, output, to=target)
    assert cinemill.verify(source, output).status == "verified"


@pytest.mark.parametrize("target", ["jpeg-ls", "explicit", "rle"])
def test_a_changed_bit_of_an_overlay_is_found(tmp_path, target):
    source, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    source.write_bytes(overlaid()[0])
    cinemill.transcode(source, output, to=target)
    read = pydicom.dcmread(output)
    if target in {"explicit", "rle"}:
        frames = np.frombuffer(pydicom.dcmread(source).PixelData, "<u2").reshape(2, 9, 11).copy()
        frames[1, 3, 3] ^= 1 << 12
        read.PixelData = frames.tobytes()
        if target == "rle":
            read.PixelData = encapsulate([rle_stream(frame) for frame in frames])
    else:
        bits = bytearray(read[0x6000, 0x3000].value)
        bits[(99 + 36) // 8] ^= 1 << (99 + 36) % 8
        read[0x6000, 0x3000].value = bytes(bits)
    read.save_as(output)
    with pytest.raises(VerificationError, match="the overlay of group 6000 differs, first in frame 1"):
        cinemill.verify(source, output)


def test_a_lost_overlay_is_found(pair):
    before, _ = overlaid()
    frames = noise((2, 9, 11), 12)
    after = part10(header(frames, bits_stored=12), native_element(native_bytes(frames), IMPLICIT), IMPLICIT)
    message = said(pair, before, after)
    assert "the overlay of group 6000 differs, first in frame 0" in message
    assert "(6000,0102) OverlayBitPosition: expected 12, found no such element" in message


def test_lossy_history_may_grow_but_not_change(tmp_path):
    source, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    frame = smooth((16, 16))
    dataset = header(frame[None], LossyImageCompressionMethod="ISO_15444_1", LossyImageCompressionRatio="7")
    source.write_bytes(part10(dataset, encapsulated_element([[jpeg(frame)]]), JPEG_BASELINE))
    cinemill.transcode(source, output, to="jpeg-ls")
    read = pydicom.dcmread(output)
    assert list(read.LossyImageCompressionMethod) == ["ISO_15444_1", "ISO_10918_1"]
    assert cinemill.verify(source, output).status == "verified"
    read.LossyImageCompressionMethod = ["ISO_14495_1", "ISO_10918_1"]
    read.save_as(output)
    with pytest.raises(VerificationError, match="LossyImageCompressionMethod"):
        cinemill.verify(source, output)


def test_a_number_of_frames_that_was_repaired_is_verified_on_request(tmp_path):
    source, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    dataset = instance(NumberOfFrames=5)
    source.write_bytes(part10(dataset, native_element(native_bytes(FRAMES), EXPLICIT, b"OB"), EXPLICIT))
    cinemill.transcode(source, output, to="rle", repair=True)
    with pytest.raises(cinemill.CinemillError, match="5 frames"):
        cinemill.verify(source, output)
    assert cinemill.verify(source, output, repair=True).status == "verified"


def test_what_an_item_outside_any_sequence_holds_is_verified(tmp_path):
    source, copy, output = tmp_path / "in.dcm", tmp_path / "copy.dcm", tmp_path / "out.dcm"
    stray = item(b"of none.")
    source.write_bytes(
        part10(instance(), stray + native_element(native_bytes(FRAMES), EXPLICIT, b"OB"), EXPLICIT)
    )
    cinemill.transcode(source, copy, to="explicit")
    assert cinemill.verify(source, copy).status == "verified"
    cinemill.transcode(source, output, to="rle", repair=True)
    with pytest.raises(VerificationError, match="item outside any sequence"):
        cinemill.verify(source, output)
    assert cinemill.verify(source, output, repair=True).status == "verified"


def test_a_report_is_compared_without_pixels_and_a_lost_image_is_told(pair, tmp_path):
    report = bundled("reportsi.dcm").read_bytes()
    read = pydicom.dcmread(bundled("reportsi.dcm"))
    read.file_meta.TransferSyntaxUID = UID(IMPLICIT)
    read.save_as(tmp_path / "implicit.dcm", implicit_vr=True, little_endian=True, overwrite=True)
    implicit = (tmp_path / "implicit.dcm").read_bytes()
    assert pair(report, implicit).verification == "every other element"
    dataset = instance()
    assert "pixel data is lost" in said(pair, file_of(dataset), part10(dataset, b"", EXPLICIT))
    assert "pixel data is new" in said(pair, part10(dataset, b"", EXPLICIT), file_of(dataset))


def test_sequences_nested_too_deeply_are_an_error_of_ours(pair):
    deep = struct.pack("<HHL", 0x0008, 0x1140, 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    data = part10(Dataset(), deep * 5000, IMPLICIT)
    with pytest.raises(cinemill.CinemillError, match="nested too deeply|truncated|damaged|is there"):
        pair(data, data[:-8] + bytes(8))
