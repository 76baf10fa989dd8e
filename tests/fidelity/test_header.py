"""Every element that does not describe the pixels comes through as it was, whatever it holds."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

import cinemill
from cinemill.dicom.rewrite import IMPLEMENTATION_CLASS_UID
from cinemill.errors import CinemillError, NotDicom, UnsupportedTransferSyntax
from tests.support.generate import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG_LS,
    ULTRASOUND_CINE,
    encapsulated_element,
    encode,
    header,
    jpeg_ls_stream,
    native_bytes,
    native_element,
    noise,
    part10,
)

FRAMES = noise((2, 40, 50))
TARGETS = ("jpeg-ls", "htj2k", "rle", "explicit", "implicit", "deflated")


def native(dataset=None, syntax=EXPLICIT, **options):
    dataset = dataset if dataset is not None else header(FRAMES)
    data = native_bytes(FRAMES, big_endian=syntax == BIG_ENDIAN, words=True)
    return part10(dataset, native_element(data, syntax), syntax, **options)


def explicit(tag, vr, value, length=None):
    """One raw element in Explicit VR Little Endian."""
    group, number = tag >> 16, tag & 0xFFFF
    length = len(value) if length is None else length
    if vr in {b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR", b"OF", b"OD", b"OL", b"OV", b"SV", b"UV"}:
        return struct.pack("<HH2sHL", group, number, vr, 0, length) + value
    return struct.pack("<HH2sH", group, number, vr, length) + value


def with_elements(extra, syntax=EXPLICIT):
    """Insert raw elements in front of the group that describes the pixels."""
    dataset = header(FRAMES)
    whole = native(dataset, syntax)
    encoded = encode(dataset, syntax)
    at = whole.index(encoded) + encoded.index(b"\x28\0\x02\0")
    return whole[:at] + extra + whole[at:]


STRANGE = {
    "unknown VR": struct.pack("<HH2sHL", 0x0009, 0x1001, b"ZZ", 0, 4) + b"abcd",
    "private creator": explicit(0x00090010, b"LO", b"MAKER ") + explicit(0x00091001, b"UN", b"\1\2\3\4"),
    "private creator with a wrong VR": explicit(0x00090010, b"SH", b"MAKER ")
    + explicit(0x00091001, b"FD", bytes(8)),
    "text that does not decode": explicit(0x00104000, b"LT", b"\xff\xfe\xfa\xe9"),
    "odd length": explicit(0x00081030, b"LO", b"odd"),
    "wrong value": explicit(0x00101010, b"AS", b"very old") + explicit(0x00101030, b"DS", b"heavy "),
    "wrong multiplicity": explicit(0x00080060, b"CS", b"US\\US\\MR"),
    "wrong VR for the tag": explicit(0x00100020, b"US", b"\1\0"),
    "empty": explicit(0x00100030, b"DA", b""),
    "UN of undefined length": explicit(
        0x00091002,
        b"UN",
        struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
        + struct.pack("<HHL", 0x0008, 0x0060, 2)
        + b"US"
        + struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
        + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0),
        length=0xFFFFFFFF,
    ),
    "nested sequences": explicit(
        0x00081140,
        b"SQ",
        struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
        + explicit(
            0x00081199, b"SQ", struct.pack("<HHL", 0xFFFE, 0xE000, 12) + explicit(0x00080060, b"CS", b"US  ")
        )
        + struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
        + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0),
        length=0xFFFFFFFF,
    ),
    "empty sequence": explicit(0x00081140, b"SQ", b""),
    "empty item": explicit(0x00081140, b"SQ", struct.pack("<HHL", 0xFFFE, 0xE000, 0)),
    "large": explicit(0x00091003, b"OB", noise((100_000,)).tobytes()),
}


@pytest.mark.parametrize("extra", STRANGE.values(), ids=STRANGE.keys())
@pytest.mark.parametrize("target", ["jpeg-ls", "htj2k", "rle", "deflated"])
def test_strange_element_is_copied_byte_for_byte(transcode, extra, target):
    result = transcode(with_elements(extra), target)
    written = result.path.read_bytes()
    if target == "deflated":
        start = 132 + 12 + struct.unpack_from("<L", written, 140)[0]
        written = zlib.decompress(written[start:], -zlib.MAX_WBITS)
    assert extra in written
    with cinemill.open(result.path) as cine:
        assert np.array_equal(list(cine), FRAMES)


def plain(element):
    """The encoded value, or the values of a sequence."""
    return element.value.strip(b" \0") if isinstance(element.value, bytes) else element.value or b""


@pytest.mark.parametrize(
    "extra",
    [value for name, value in STRANGE.items() if name != "unknown VR"],
    ids=lambda value: value[4:6].decode(),
)
def test_strange_element_survives_implicit_vr_and_back(transcode, extra):
    """Values come back as they were; what implicit VR can't say (private and unknown VRs) becomes UN."""
    there = transcode(with_elements(extra), "implicit")
    back = transcode(there.path.read_bytes(), "explicit")
    original = pydicom.dcmread(there.path.parent / "source.dcm")
    assert np.array_equal(back.reading.frames, FRAMES)
    assert there.dataset.keys() == back.dataset.keys() == original.keys()
    for tag in original.keys() - {0x7FE00010}:
        assert plain(back.dataset.get_item(tag)) == plain(original.get_item(tag))


@pytest.mark.parametrize("source_syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED])
@pytest.mark.parametrize("target", TARGETS)
def test_values_survive_every_change_of_encoding(transcode, source_syntax, target):
    dataset = header(FRAMES, sop_class=ULTRASOUND_CINE)
    dataset.StudyDate, dataset.AccessionNumber = "20260101", "A1"
    dataset.SimpleFrameList = [1, 2, 3]
    dataset.FrameTimeVector = [0, 33.3]
    dataset.ReferencePixelX0 = -7
    dataset.PhysicalDeltaX = 0.01234
    dataset.add_new(0x00080008, "CS", ["ORIGINAL", "PRIMARY"])
    dataset.add_new(0x00280009, "AT", 0x00181065)
    region = Dataset()
    region.RegionLocationMinX0, region.RegionFlags, region.PhysicalDeltaY = 5, 2, 0.5
    region.add_new(0x00186044, "US", 3)
    region.add_new(0x00186050, "UL", 70000)
    region.add_new(0x00186058, "UL", [1, 2])
    dataset.SequenceOfUltrasoundRegions = [region, region]
    block = dataset.private_block(0x0019, "MAKER", create=True)
    block.add_new(1, "UN", b"\1\2\3\4")
    result = transcode(native(dataset, source_syntax), target)
    for element in dataset:
        if element.tag in {0x00280004, 0x00280006} or element.tag.is_private:
            continue
        assert result.dataset[element.tag].value == element.value, element
    assert result.dataset[0x0019, 0x1001].value == b"\1\2\3\4"
    assert result.dataset[0x0019, 0x0010].value == "MAKER"
    assert len(list(result.dataset)) == len(list(dataset)) + 1
    assert np.array_equal(result.reading.frames, FRAMES)


def test_big_endian_words_of_every_size_are_swapped(transcode):
    dataset = header(FRAMES)
    values = {
        0x00091001: ("US", [1, 2]),
        0x00091002: ("SS", -2),
        0x00091003: ("UL", 70000),
        0x00091004: ("SL", -70000),
        0x00091005: ("FL", 0.5),
        0x00091006: ("FD", -0.25),
        0x00091007: ("AT", 0x00181063),
        0x00091008: ("SV", -(1 << 40)),
        0x00091009: ("UV", 1 << 40),
    }
    dataset.add_new(0x00090010, "LO", "MAKER")
    for tag, (vr, value) in values.items():
        dataset.add_new(tag, vr, value)
    words = {
        0x00091011: ("OW", "u2"),
        0x00091012: ("OF", "f4"),
        0x00091013: ("OD", "f8"),
        0x00091014: ("OL", "u4"),
        0x00091015: ("OV", "u8"),
    }
    for tag, (vr, kind) in words.items():
        dataset.add_new(tag, vr, np.arange(5).astype(f">{kind}").tobytes()[: 4 * int(kind[1])])
    result = transcode(native(dataset, BIG_ENDIAN), "jpeg-ls")
    for tag, (_, value) in values.items():
        assert result.dataset[tag].value == value
    for tag, (_, kind) in words.items():
        assert np.array_equal(np.frombuffer(result.dataset[tag].value, f"<{kind}"), np.arange(4))


def test_only_what_describes_the_pixels_changes(transcode):
    dataset = header(FRAMES)
    dataset.PatientComments = "keep"
    result = transcode(native(dataset), "jpeg-ls")
    original = {e.tag: e.value for e in dataset}
    written = {e.tag: e.value for e in result.dataset if e.tag != 0x7FE00010}
    assert written == original
    assert result.dataset.SOPInstanceUID == dataset.SOPInstanceUID


@pytest.mark.parametrize("target", TARGETS)
def test_file_meta_is_written_anew(transcode, target):
    result = transcode(native(syntax=BIG_ENDIAN), target)
    meta = result.dataset.file_meta
    raw = result.path.read_bytes()
    assert raw[128:132] == b"DICM"
    group = sum(len(encode_meta(e)) for e in meta if e.tag != 0x00020000)
    assert meta.FileMetaInformationGroupLength == group
    assert meta.MediaStorageSOPInstanceUID == result.dataset.SOPInstanceUID
    assert meta.MediaStorageSOPClassUID == result.dataset.SOPClassUID
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.TransferSyntaxUID == result.receipt.transfer_syntax_after


def encode_meta(element):
    single = Dataset()
    single.add(element)
    return encode(single, EXPLICIT)


def test_stale_group_lengths_are_dropped_and_the_meta_length_is_not_trusted(transcode):
    whole = native()
    length = whole.index(b"\x02\0\0\0UL\x04\0") + 8
    stale = whole[:length] + struct.pack("<L", 7) + whole[length + 4 :]
    result = transcode(stale, "jpeg-ls")
    assert np.array_equal(result.reading.frames, FRAMES)
    extra = explicit(0x00090000, b"UL", b"\x63\0\0\0") + explicit(0x00090010, b"LO", b"MAKER ")
    result = transcode(with_elements(extra), "jpeg-ls")
    assert (0x0009, 0x0000) not in result.dataset
    assert result.dataset[0x0009, 0x0010].value == "MAKER"


def test_values_that_others_put_into_the_meta_information_stay(transcode):
    whole = native()
    at = whole.index(b"\x08\0\x16\0UI")
    extra = explicit(0x00020016, b"AE", b"SOURCEAE") + explicit(0x00020100, b"UI", b"1.2.3\0")
    result = transcode(whole[:at] + extra + whole[at:], "jpeg-ls")
    assert result.dataset.file_meta.SourceApplicationEntityTitle == "SOURCEAE"
    assert result.dataset.file_meta.PrivateInformationCreatorUID == "1.2.3"


def test_data_set_that_is_not_encoded_as_declared_is_read_as_found(transcode):
    lied = part10(header(FRAMES), b"", EXPLICIT)
    start = lied.index(encode(header(FRAMES), EXPLICIT))
    body = encode(header(FRAMES), IMPLICIT) + native_element(native_bytes(FRAMES), IMPLICIT)
    result = transcode(lied[:start] + body, "jpeg-ls")
    assert np.array_equal(result.reading.frames, FRAMES)
    assert any("implicit" in warning for warning in result.receipt.warnings)


def test_file_without_preamble_or_meta_information(transcode):
    for syntax in (EXPLICIT, IMPLICIT):
        body = encode(header(FRAMES), syntax) + native_element(native_bytes(FRAMES), syntax)
        result = transcode(body, "jpeg-ls")
        assert np.array_equal(result.reading.frames, FRAMES)
        assert result.receipt.warnings


def test_meta_information_without_a_preamble(transcode):
    result = transcode(native()[132:], "jpeg-ls")
    assert np.array_equal(result.reading.frames, FRAMES)


@pytest.mark.parametrize("zeros", [1, 7, 8, 512])
def test_zeros_behind_the_last_element_do_no_harm(transcode, zeros):
    for source in (
        native(),
        part10(header(FRAMES), encapsulated_element([[jpeg_ls_stream(f)] for f in FRAMES]), JPEG_LS),
    ):
        result = transcode(source + bytes(zeros), "htj2k")
        assert np.array_equal(result.reading.frames, FRAMES)
        assert any(str(zeros) in warning for warning in result.receipt.warnings)


def test_no_pixel_data_is_copied_byte_for_byte(transcode):
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    dataset.SOPInstanceUID = "1.2.3.4"
    for syntax in (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED):
        source = part10(dataset, b"", syntax)
        for target in TARGETS:
            result = transcode(source, target)
            assert result.receipt.status == "copied"
            assert result.path.read_bytes() == source


@pytest.mark.parametrize(
    "data", [b"", b"x", b"not a DICOM file", bytes(132), bytes(128) + b"DICM", b"\x08\0"]
)
def test_what_is_no_dicom_is_called_so(transcode, data):
    with pytest.raises(CinemillError):
        transcode(data, "jpeg-ls")


def test_text_file_is_not_dicom(transcode):
    with pytest.raises(NotDicom):
        transcode(b"PatientName: Doe^Jane\n" * 100, "jpeg-ls")


@pytest.mark.parametrize(
    "uid", ["1.2.840.10008.1.2.7.1", "1.2.840.10008.1.2.4.95", "1.2.3.4.5", "1.2.840.10008.1.2.4.94"]
)
def test_syntax_that_is_not_read_is_refused_by_name(transcode, uid):
    source = part10(header(FRAMES), encapsulated_element([[b"\0\0\0\x18ftypmp42"]], table="empty"), uid)
    with pytest.raises(UnsupportedTransferSyntax):
        transcode(source, "jpeg-ls")


def test_refusal_is_one_short_line_whatever_the_header_holds(transcode):
    source = part10(header(FRAMES), native_element(bytes(8), EXPLICIT), "1.2.3")
    long = source.replace(
        explicit(0x00020010, b"UI", b"1.2.3\0"), explicit(0x00020010, b"UI", b"1.2\r\n3\0" * 100)
    )
    with pytest.raises(UnsupportedTransferSyntax) as caught:
        transcode(long, "jpeg-ls")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("cut", [140, 200, 300, 350, 420])
def test_header_cut_anywhere_fails_by_name(transcode, cut):
    with pytest.raises(CinemillError):
        transcode(native()[:cut], "jpeg-ls")


def test_sequences_nested_a_thousand_deep_do_not_break_the_reader(transcode):
    content = b""
    for _ in range(3000):
        content = explicit(
            0x00081140,
            b"SQ",
            struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
            + content
            + struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
            + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0),
            length=0xFFFFFFFF,
        )
    with pytest.raises(CinemillError, match="deep"):
        transcode(with_elements(content), "jpeg-ls")


def test_element_that_grew_too_long_for_its_vr_becomes_unknown(transcode):
    """A value of 64 KiB fits implicit VR, but no explicit VR with a 16-bit length (PS3.5 §6.2.2)."""
    text = b"x" * 70_000
    extra = struct.pack("<HHL", 0x0010, 0x4000, len(text)) + text
    result = transcode(with_elements(extra, IMPLICIT), "jpeg-ls")
    assert result.dataset.get_item(0x00104000).value == text


def test_source_and_output_may_not_be_the_same(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(native())
    with pytest.raises(CinemillError):
        cinemill.transcode(path, path, to="jpeg-ls", overwrite=True)
    assert path.read_bytes() == native()
