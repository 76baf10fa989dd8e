"""File Meta Information: read however it is encoded, written as PS3.10 §7.1 wants it, and never against the data set."""

import struct
import subprocess
import warnings
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

import cinemill
from cinemill.dicom.rewrite import IMPLEMENTATION_CLASS_UID
from tests.conftest import TOOLS
from tests.support import oracle
from tests.support.files import bundled
from tests.support.generate import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    JPEG_LS,
    encapsulated_element,
    encode,
    header,
    jpeg_ls_stream,
    native_bytes,
    native_element,
    noise,
    part10,
)

TARGETS = ("explicit", "implicit", "deflated", "rle", "jpeg-ls", "jpeg-2000", "htj2k", "htj2k-rpcl")
FRAMES = noise((2, 24, 40))
SOP_CLASS, SOP_INSTANCE = header(FRAMES).SOPClassUID, header(FRAMES).SOPInstanceUID


def element(tag, vr, value, *, implicit=False, order="<"):
    value += bytes(len(value) % 2)
    head = struct.pack(order + "HH", 2, tag)
    if implicit:
        return head + struct.pack(order + "L", len(value)) + value
    if vr == b"OB":
        return head + vr + struct.pack(order + "HL", 0, len(value)) + value
    return head + vr + struct.pack(order + "H", len(value)) + value


def meta(syntax, *, length=True, preamble=True, uids=(SOP_CLASS, SOP_INSTANCE), extra=(), **how):
    """File Meta Information with a group length that is right (True), wrong (a number) or left out (False)."""
    elements = [(1, b"OB", b"\0\1"), (2, b"UI", uids[0].encode()), (3, b"UI", uids[1].encode())]
    elements += [(0x10, b"UI", syntax.encode())] if syntax else []
    elements += [(0x12, b"UI", b"1.2.3"), *extra]
    group = b"".join(element(*one, **how) for one in elements if one[2])
    if length is not False:
        told = len(group) if length is True else length
        group = element(0, b"UL", struct.pack(how.get("order", "<") + "L", told), **how) + group
    return bytes(128) * preamble + b"DICM" * preamble + group


def body(syntax):
    data = native_bytes(FRAMES, big_endian=syntax == BIG_ENDIAN, words=True)
    return encode(header(FRAMES), syntax) + native_element(data, syntax)


KINDS: dict[str, dict[str, Any]] = {
    "implicit VR": {"implicit": True, "length": False},
    "implicit VR with group length": {"implicit": True},
    "implicit VR with wrong group length": {"implicit": True, "length": 3},
    "big endian": {"order": ">"},
    "big endian and implicit": {"order": ">", "implicit": True},
    "wrong group length": {"length": 7},
    "group length beyond the file": {"length": 1 << 31},
    "no group length": {"length": False},
    "no preamble": {"preamble": False},
    "no preamble, implicit VR": {"preamble": False, "implicit": True},
    "no preamble, big endian": {"preamble": False, "order": ">"},
    "other instance": {"uids": (SOP_CLASS, "1.2.3.99")},
    "other class": {"uids": ("1.2.840.10008.5.1.4.1.1.2", SOP_INSTANCE)},
    "no class and instance": {"uids": ("", "")},
    "an unprintable instance": {"uids": (SOP_CLASS, "1.2\r\n.3")},
}
SOURCES = {name: meta(EXPLICIT, **how) + body(EXPLICIT) for name, how in KINDS.items()}
SOURCES["implicit VR, as the data set"] = meta(IMPLICIT, implicit=True) + body(IMPLICIT)
SOURCES["big endian, as the data set"] = meta(BIG_ENDIAN, order=">") + body(BIG_ENDIAN)
SOURCES["group length only"] = bytes(128) + b"DICM" + element(0, b"UL", bytes(4)) + body(EXPLICIT)
SOURCES["prefix only"] = bytes(128) + b"DICM" + body(EXPLICIT)
SOURCES["no transfer syntax"] = meta("") + body(IMPLICIT)
SOURCES["no meta, explicit"] = body(EXPLICIT)
SOURCES["no meta, implicit"] = body(IMPLICIT)
SOURCES["no meta, big endian"] = body(BIG_ENDIAN)
SOURCES["declared explicit, found implicit"] = meta(EXPLICIT) + body(IMPLICIT)
SOURCES["declared implicit, found explicit"] = meta(IMPLICIT) + body(EXPLICIT)


def check_part10(path, *, tools=False):
    """Read a file as strictly as others can, and compare its File Meta Information with its data set."""
    raw = path.read_bytes()
    assert raw[128:140] == b"DICM\2\0\0\0UL\4\0"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = pydicom.dcmread(path, force=False)
    group = dataset.file_meta
    after = 144 + group.FileMetaInformationGroupLength
    assert raw[after - 2 : after + 2] != b"\2\0"
    assert raw[after : after + 2] == b"\x08\0" or group.TransferSyntaxUID.is_deflated
    assert group.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert group.MediaStorageSOPClassUID == dataset.SOPClassUID
    assert group.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert group.FileMetaInformationVersion == b"\0\1"
    if tools:
        done = subprocess.run(["dcmdump", "-q", str(path)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        done = subprocess.run(["gdcminfo", str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return dataset


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SOURCES)
def test_a_part_10_file_comes_out_whatever_went_in(transcode, name, target):
    result = transcode(SOURCES[name], target)
    dataset = check_part10(result.path)
    assert dataset.file_meta.TransferSyntaxUID == result.receipt.transfer_syntax_after
    assert (dataset.SOPClassUID, dataset.SOPInstanceUID) == (SOP_CLASS, SOP_INSTANCE)
    assert np.array_equal(result.reading.frames, FRAMES)
    assert result.receipt.status == "transcoded"
    assert result.receipt.warnings
    assert all(warning.isprintable() and len(warning) < 250 for warning in result.receipt.warnings)


@pytest.mark.tools
@pytest.mark.parametrize("name", SOURCES)
def test_dcmtk_and_gdcm_read_what_came_out(transcode, name):
    assert "dcmconv" in TOOLS
    check_part10(transcode(SOURCES[name], "explicit").path, tools=True)


@pytest.mark.parametrize("target", ["explicit", "jpeg-ls"])
def test_a_proper_file_is_copied_byte_for_byte(transcode, source, target):
    proper = {
        "explicit": meta(EXPLICIT) + body(EXPLICIT),
        "jpeg-ls": part10(
            header(FRAMES), encapsulated_element([[jpeg_ls_stream(frame)] for frame in FRAMES]), JPEG_LS
        ),
    }[target]
    result = transcode(proper, target)
    assert result.receipt.status == "copied"
    assert not result.receipt.warnings
    assert result.path.read_bytes() == proper


def test_codestreams_of_a_contradictory_file_stay_as_they_are(transcode):
    streams = [jpeg_ls_stream(frame) for frame in FRAMES]
    body = encode(header(FRAMES), JPEG_LS) + encapsulated_element([[stream] for stream in streams])
    result = transcode(meta(JPEG_LS, uids=(SOP_CLASS, "1.2.3.99")) + body, "jpeg-ls")
    check_part10(result.path)
    with cinemill.open(result.path) as cine:
        assert [bytes(cine.source.frame(index)).rstrip(b"\0") for index in range(2)] == [
            stream.rstrip(b"\0") for stream in streams
        ]
    assert any("1.2.3.99" in warning and SOP_INSTANCE in warning for warning in result.receipt.warnings)


@pytest.mark.parametrize("name", [*KINDS, "no meta", "prefix only"])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_an_instance_without_pixel_data_becomes_a_part_10_file_too(transcode, name, syntax):
    dataset = pydicom.dcmread(bundled("reportsi.dcm"))
    how = KINDS.get(name, {})
    if "uids" not in how:
        how = {**how, "uids": (dataset.SOPClassUID, dataset.SOPInstanceUID)}
    head = {"no meta": b"", "prefix only": bytes(128) + b"DICM"}.get(name)
    result = transcode((meta(syntax, **how) if head is None else head) + encode(dataset, syntax), "jpeg-ls")
    written = check_part10(result.path)
    assert written == dataset
    kept = "1.2.840.10008.1.2.1" if syntax == BIG_ENDIAN else syntax
    assert written.file_meta.TransferSyntaxUID == result.receipt.transfer_syntax_after == kept


def test_a_second_run_keeps_what_was_mended(transcode, source, tmp_path):
    report = encode(pydicom.dcmread(bundled("reportsi.dcm")), BIG_ENDIAN)
    for data in (SOURCES["no meta, implicit"], report):
        output = transcode(data, "implicit").path
        again = cinemill.transcode(source(data), output, to="implicit")
        assert again.status == "kept"


def test_what_others_put_into_a_group_of_another_encoding_stays(transcode):
    extra = ((0x16, b"AE", b"SOURCEAE"), (0x100, b"UI", b"1.2.3"), (0x102, b"OB", b"\1\2\3\4"))
    for how in ({"implicit": True}, {"order": ">"}, {"order": ">", "implicit": True}):
        result = transcode(meta(EXPLICIT, extra=extra, **how) + body(EXPLICIT), "rle")
        group = check_part10(result.path).file_meta
        assert group.SourceApplicationEntityTitle == "SOURCEAE"
        assert group.PrivateInformationCreatorUID == "1.2.3"
        assert group.PrivateInformation == b"\1\2\3\4"


def test_a_directory_is_left_out_whatever_its_meta_says(source, tmp_path):
    """Its records point to bytes of the file, and name files that are others now."""
    dicomdir = bundled("DICOMDIR").read_bytes()
    length = dicomdir.index(b"\2\0\0\0UL\4\0") + 8
    stale = dicomdir[:length] + struct.pack("<L", 7) + dicomdir[length + 4 :]
    receipt = cinemill.transcode(source(stale), tmp_path / "out", to="jpeg-ls")
    assert receipt.status == "skipped"
    assert not (tmp_path / "out").exists()


def test_derived_instances_name_themselves(tmp_path, source):
    path = source(meta(EXPLICIT, uids=(SOP_CLASS, generate_uid())) + body(EXPLICIT))
    cinemill.split(path, tmp_path / "parts", frames_per_instance=1)
    cinemill.extract(path, tmp_path / "frames", format="dicom")
    for folder in ("parts", "frames"):
        made = sorted((tmp_path / folder).glob("*.dcm"))
        assert len(made) == 2
        for one in made:
            check_part10(one)


@pytest.mark.corpus
def test_real_files_that_contradict_themselves(corpus, tmp_path):
    for name, target in (
        ("Efferent-Health_fo-dicom.Codecs__PM5644-960x540_RLE-Lossless.dcm", "rle"),
        ("Efferent-Health_fo-dicom.Codecs__PM5644-960x540_JPEG-LS_Lossless.dcm", "jpeg-ls"),
        ("malaterre_GDCM-hist__SIEMENS-MR-RGB-16Bits.dcm", "explicit"),
        ("Enet4_dicom-test-files__OT-PAL-8-face.dcm", "implicit"),
        ("Enet4_dicom-test-files__ExplVR_LitEndNoMeta.dcm", "explicit"),
        ("cornerstonejs_dicomParser__wave_dfl", "rle"),
    ):
        receipt = cinemill.transcode(corpus / name, tmp_path / name, to=target)
        assert receipt.warnings
        written = pydicom.dcmread(tmp_path / name)
        assert written.file_meta.MediaStorageSOPInstanceUID == written.SOPInstanceUID
        assert written.file_meta.MediaStorageSOPClassUID == written.SOPClassUID
        if "PixelData" in written:
            assert np.array_equal(oracle.read(tmp_path / name).frames, oracle.read(corpus / name).frames)


def test_a_bare_data_set_is_read_although_dicm_stands_where_a_preamble_would_end(tmp_path, source):
    described = header(FRAMES)
    described.remove_private_tags()
    charset = struct.pack("<HH2sH", 8, 5, b"CS", 10) + b"ISO_IR 100"
    filler = b"X" * (128 - 2 * 8 - 8 - len(charset[8:]))
    filled = struct.pack("<HH2sH", 8, 0x12, b"LO", len(filler)) + filler
    name = struct.pack("<HH2sH", 8, 0x13, b"LO", 6) + b"DICMA1"
    rest = encode(described, EXPLICIT) + native_element(native_bytes(FRAMES), EXPLICIT)
    data = charset + filled + name + rest
    assert data[128:132] == b"DICM"
    receipt = cinemill.transcode(source(data), tmp_path / "out.dcm", to="rle")
    assert receipt.status == "transcoded"
    assert (pydicom.dcmread(tmp_path / "out.dcm").pixel_array == FRAMES).all()
