"""Instances that are given as bytes, open files and data sets, not by their paths."""

import io
import multiprocessing
from typing import Any

import numpy as np
import pydicom
import pytest

import cinemill
from cinemill.errors import NotDicom, UsageError
from tests.support.files import bundled
from tests.support.generate import (
    BIG_ENDIAN,
    DEFLATED,
    IMPLICIT,
    header,
    native_bytes,
    native_element,
    noise,
    part10,
)

CINE = bundled("examples_ybr_color.dcm")
UID = pydicom.dcmread(CINE, stop_before_pixels=True).SOPInstanceUID

KINDS = {
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "file": lambda path: path.open("rb"),
    "data set": pydicom.dcmread,
}


NAMES = {"file": "examples_ybr_color", "data set": UID}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def given(kind):
    found = KINDS[kind](CINE)
    yield found
    if kind == "file":
        found.close()


def test_its_frames_are_those_of_the_file(given):
    with cinemill.open(given) as cine, cinemill.open(CINE) as expected:
        assert len(cine) == 30
        assert np.array_equal(cine[17], expected[17])
        assert np.array_equal(cine.frame_times, expected.frame_times)
        assert cine.header.PatientID == expected.header.PatientID


def behind_meta(path):
    """Bytes of the data set; what stands before them tells when the source was last modified."""
    meta = pydicom.filereader.read_file_meta_info(path)
    return path.read_bytes()[144 + meta.FileMetaInformationGroupLength :]


def test_it_is_transcoded(given, kind, tmp_path):
    receipt = cinemill.transcode(given, tmp_path / "out.dcm", to="jpeg-ls", verify="independent")
    assert (receipt.status, receipt.frames) == ("transcoded", 30)
    assert receipt.source == NAMES.get(kind, "instance")
    cinemill.transcode(CINE, tmp_path / "expected.dcm", to="jpeg-ls")
    found, expected = (pydicom.dcmread(tmp_path / name) for name in ("out.dcm", "expected.dcm"))
    assert found.PixelData == expected.PixelData
    assert found == expected
    if kind != "data set":
        assert behind_meta(tmp_path / "out.dcm") == behind_meta(tmp_path / "expected.dcm")
    assert not list(tmp_path.glob("*/"))


def test_its_frames_are_extracted_and_named(given, kind, tmp_path):
    cinemill.extract(given, tmp_path, format="npy", frames=[3])
    stem = NAMES.get(kind, "instance")
    with cinemill.open(CINE) as cine:
        assert np.array_equal(np.load(tmp_path / f"{stem}_0003.npy"), cine[3])


def test_it_is_split(given, tmp_path):
    assert len(cinemill.split(given, tmp_path, frames_per_instance=10)) == 3


def test_bytes_are_not_copied():
    data = CINE.read_bytes()
    with cinemill.open(data) as cine:
        assert cine.source.file is data


def test_an_open_file_is_read_from_where_it_stands(tmp_path):
    (tmp_path / "two").write_bytes(b"something else" + CINE.read_bytes())
    with (tmp_path / "two").open("rb") as file:
        file.seek(14)
        with cinemill.open(file) as cine:
            assert len(cine) == 30


@pytest.mark.parametrize("syntax", [IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_a_data_set_in_any_encoding(tmp_path, syntax):
    frames = noise((3, 20, 30), 16)
    native = native_bytes(frames, big_endian=syntax == BIG_ENDIAN)
    dataset = pydicom.dcmread(io.BytesIO(part10(header(frames), native_element(native, syntax), syntax)))
    with cinemill.open(dataset) as cine:
        assert np.array_equal(list(cine), frames)


def test_a_cine_of_bytes_travels_to_other_processes():
    with cinemill.open(CINE.read_bytes()) as cine, multiprocessing.get_context("spawn").Pool(1) as processes:
        assert processes.apply(first_sum, (cine,)) == int(cine[0].sum())


def first_sum(cine):
    return int(cine[0].sum())


def bare():
    dataset = pydicom.Dataset()
    dataset.PatientName = "Doe"
    return dataset


def wrong():
    dataset = pydicom.dcmread(CINE)
    del dataset.SOPInstanceUID, dataset.file_meta.MediaStorageSOPInstanceUID
    return dataset


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (b"", NotDicom, "not a DICOM file"),
        (b"nothing here " * 40, NotDicom, "instance: not a DICOM file"),
        (io.StringIO("text"), UsageError, "open it in binary mode"),
        (
            7,
            UsageError,
            "expected a path, bytes, a file open in binary mode or a pydicom data set, found int",
        ),
        (None, UsageError, "found NoneType"),
        (np.zeros(3), UsageError, "found ndarray"),
        (bare(), UsageError, "set file_meta.TransferSyntaxUID"),
        (wrong(), UsageError, "pydicom can't write the data set: .*; mend it, or give a file"),
    ],
    ids=["empty", "no DICOM", "text", "number", "none", "array", "bare", "no UID"],
)
@pytest.mark.parametrize("call", ["open", "transcode", "extract", "split"])
def test_what_is_no_instance_is_refused_in_a_sentence(tmp_path, call, given, error, words):
    if isinstance(given, bytes) and call != "open" and not given:
        words = "the file is empty"
    arguments: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "open": ((), {}),
        "transcode": ((tmp_path / "out.dcm",), {"to": "rle"}),
        "extract": ((tmp_path / "out",), {}),
        "split": ((tmp_path / "out",), {"frames_per_instance": 1}),
    }
    more, options = arguments[call]
    with pytest.raises(error, match=words):
        getattr(cinemill, call)(given, *more, **options)
    assert not list(tmp_path.iterdir())
