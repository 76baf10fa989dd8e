"""A cine as a sequence: frames, slices, times."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydicom
import pytest

import cinemill
from cinemill.dicom.source import Source
from cinemill.errors import CodecError, DamagedFile, UsageError
from tests.support.files import bundled
from tests.support.generate import JPEG_2000_LOSSY, encapsulated_element, header, jpeg_2000, noise, part10


def test_frames_are_those_of_pydicom():
    path = bundled("examples_palette.dcm")
    with cinemill.open(path) as cine:
        assert len(cine) == 1
        assert cine.pixels.photometric_interpretation == "PALETTE COLOR"
        assert np.array_equal(cine[0], pydicom.dcmread(path).pixel_array)


def test_a_lossless_frame_under_a_lossy_syntax_is_reached_without_the_others(tmp_path, monkeypatch):
    frames = noise((9, 20, 30))
    element = encapsulated_element([[jpeg_2000(frame)] for frame in frames])
    path = tmp_path / "source.dcm"
    path.write_bytes(part10(header(frames), element, JPEG_2000_LOSSY))
    read, plain = set(), Source.frame

    def frame(source, index):
        read.add(index)
        return plain(source, index)

    monkeypatch.setattr(Source, "frame", frame)
    with cinemill.open(path) as cine:
        assert np.array_equal(cine[7], frames[7])
    assert read == {0, 7}


def test_a_sequence_of_frames():
    with cinemill.open(bundled("examples_ybr_color.dcm")) as cine:
        frames = list(cine)
        assert len(frames) == len(cine) == 30
        assert frames[0].shape == cine.pixels.shape == (240, 320, 3)
        assert np.array_equal(cine[-1], frames[29])
        assert all(np.array_equal(a, b) for a, b in zip(cine[5:20:5], frames[5:20:5], strict=True))
        for wrong in (30, -31):
            with pytest.raises(IndexError, match=f"frame {wrong} of 30"):
                cine[wrong]
        assert cine.header.PatientID == pydicom.dcmread(cine.source.path).PatientID


def test_frames_before_a_damaged_one_are_given(tmp_path):
    path = tmp_path / "damaged.dcm"
    cinemill.transcode(bundled("examples_ybr_color.dcm"), path, to="jpeg-ls")
    with cinemill.open(path) as cine:
        frames = list(cine)
        place = path.read_bytes().index(bytes(cine.source.frame(20))) + 1000
    data = bytearray(path.read_bytes())
    data[place : place + 100] = bytes(100)
    path.write_bytes(data)
    given: list[np.ndarray] = []
    with cinemill.open(path) as cine, pytest.raises(CodecError) as error:
        given.extend(frame for frame in cine)
    assert error.value.frame == len(given) == 20
    assert np.array_equal(given, frames[:20])


def test_a_closed_cine_says_so():
    with cinemill.open(bundled("examples_ybr_color.dcm")) as cine:
        assert "30 frames" in repr(cine)
    with pytest.raises(UsageError, match="closed"):
        cine[0]


def test_frames_for_threads_and_processes():
    with cinemill.open(bundled("examples_ybr_color.dcm")) as cine:
        expected = [int(frame.sum()) for frame in cine]
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(lambda index: int(cine[index].sum()), range(30))) == expected
        with multiprocessing.get_context("spawn").Pool(2) as processes:
            assert processes.map(FrameSum(cine), range(30)) == expected


class FrameSum:
    """What a data loader does: the cine travels to other processes."""

    def __init__(self, cine):
        self.cine = cine

    def __call__(self, index):
        return int(self.cine[index].sum())


def timed(tmp_path, **elements):
    header = pydicom.dcmread(bundled("examples_ybr_color.dcm"))
    for keyword in (
        "FrameTime",
        "FrameTimeVector",
        "FrameIncrementPointer",
        "RecommendedDisplayFrameRate",
        "CineRate",
    ):
        if keyword in header:
            del header[keyword]
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    header.save_as(tmp_path / "timed.dcm")
    with cinemill.open(tmp_path / "timed.dcm") as cine:
        return cine.frame_times


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"FrameTime": "40"}, np.arange(30) * 40.0),
        ({"FrameTimeVector": ["0", *["10", "20"] * 14, "10"]}, np.cumsum([0, *[10, 20] * 14, 10])),
        (
            {"FrameTime": "40", "FrameTimeVector": ["0"] * 30, "FrameIncrementPointer": 0x00181063},
            np.arange(30) * 40.0,
        ),
        ({"RecommendedDisplayFrameRate": "50"}, np.arange(30) * 20.0),
        ({"CineRate": "25"}, np.arange(30) * 40.0),
        ({"FrameTime": "0", "CineRate": "25"}, np.arange(30) * 40.0),
        ({}, np.full(30, np.nan) * np.arange(30)),
    ],
)
def test_frame_times(tmp_path, elements, expected):
    assert np.array_equal(timed(tmp_path, **elements), expected, equal_nan=True)


def test_a_file_without_pixels_is_no_cine():
    with pytest.raises(DamagedFile, match="no pixel data"):
        cinemill.open(bundled("reportsi.dcm"))
