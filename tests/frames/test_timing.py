"""Frame times beyond those of a plain cine, and for how long frames are shown."""

import time

import numpy as np
import pytest
from pydicom import Dataset

import cinemill
from cinemill.frames.timing import durations
from tests.support import clips


def times(tmp_path, count=4, **elements):
    with cinemill.open(clips.write(tmp_path / "cine.dcm", clips.numbered(count), **elements)) as cine:
        return cine.frame_times


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"FrameTime": "40", "FrameDelay": "15"}, [15, 55, 95, 135]),
        ({"FrameTimeVector": ["0", "10", "20", "10"], "FrameDelay": "5"}, [5, 15, 35, 45]),
        ({"FrameTimeVector": ["10", "20", "10"]}, [0, 10, 30, 40]),
        ({"FrameTimeVector": ["7", "10", "20", "10"]}, [0, 10, 30, 40]),
        ({"FrameTimeVector": ["0", "10"], "FrameTime": "40"}, [0, 40, 80, 120]),
        ({"FrameTimeVector": ["0", "-10", "20", "10"], "FrameTime": "40"}, [0, 40, 80, 120]),
        (
            {"FrameTimeVector": ["0", "1", "2", "3"], "FrameTime": "40", "FrameIncrementPointer": 0x00181065},
            [0, 1, 3, 6],
        ),
        ({"FrameTimeVector": ["0", "1", "2", "3"], "FrameIncrementPointer": 0x00181063}, [0, 1, 3, 6]),
        ({"RecommendedDisplayFrameRate": "50", "CineRate": "25"}, [0, 20, 40, 60]),
        ({"FrameTime": "1e400", "CineRate": "25"}, [0, 40, 80, 120]),
        ({"FrameTime": "1e300", "CineRate": "25"}, [0, 40, 80, 120]),
        ({"FrameTime": "1e-300", "CineRate": "25"}, [0, 40, 80, 120]),
        ({"RecommendedDisplayFrameRate": "2147483647", "CineRate": "25"}, [0, 40, 80, 120]),
        ({"FrameTime": "40", "FrameDelay": "1e300"}, [0, 40, 80, 120]),
    ],
)
def test_frame_times(tmp_path, elements, expected):
    assert times(tmp_path, **elements).tolist() == expected


def test_a_single_frame_has_a_time(tmp_path):
    assert times(tmp_path, 1).tolist() == [0]


def test_functional_groups_tell_the_time(tmp_path):
    groups = []
    for second in ("10.000", "10.040", "10.100", "11.000"):
        content, group = Dataset(), Dataset()
        content.FrameAcquisitionDateTime = f"202401021530{second}"
        group.FrameContentSequence = [content]
        groups.append(group)
    found = times(tmp_path, PerFrameFunctionalGroupsSequence=groups, CineRate="25")
    assert found == pytest.approx([0, 40, 100, 1000], abs=1e-3)


@pytest.mark.parametrize(
    ("vector", "warning"),
    [
        (["0", "10"], "2 values for 4 frames"),
        (["0", "10", "0", "10"], "does not go forward"),
        (["0", "10", "1e-300", "10"], "steps of 1e-300 to 10 ms"),
        (["0", "1e300", "10", "10"], "steps of 10 to 1e+300 ms"),
    ],
)
def test_a_vector_that_does_not_fit_is_named(tmp_path, vector, warning):
    path = clips.write(tmp_path / "cine.dcm", clips.numbered(4), FrameTimeVector=vector, CineRate="25")
    with cinemill.open(path) as cine:
        assert cine.frame_times.tolist() == [0, 40, 80, 120]
        assert any(warning in each for each in cine.warnings)


@pytest.mark.parametrize("pointer", [0x00181065, 0x00091001, 0x00181063])
def test_pointers_to_what_is_not_there(tmp_path, pointer):
    assert times(tmp_path, FrameTime="40", FrameIncrementPointer=pointer).tolist() == [0, 40, 80, 120]
    assert times(tmp_path, CineRate="50", FrameIncrementPointer=pointer).tolist() == [0, 20, 40, 60]


def test_clocks_are_not_turned_back_within_a_cine(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    groups = []
    for clock in ("015959.980", "020000.020", "020000.060", "020000.100"):
        content, group = Dataset(), Dataset()
        content.FrameReferenceDateTime = f"20240331{clock}"
        group.FrameContentSequence = [content]
        groups.append(group)
    try:
        assert times(tmp_path, PerFrameFunctionalGroupsSequence=groups) == pytest.approx(
            [0, 40, 80, 120], abs=1e-3
        )
    finally:
        monkeypatch.undo()
        time.tzset()


def test_durations():
    assert durations(np.array([0.0, 10, 30, 60])).tolist() == [10, 20, 30, 30]
    assert durations(np.array([0.0])).tolist() == [40]


def test_functional_groups_that_are_none(tmp_path):
    path = clips.write(tmp_path / "cine.dcm", clips.numbered(4), CineRate="25")
    groups = b"\x00\x52\x30\x92LO\x04\x00none"
    whole = path.read_bytes()
    pixels = whole.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(whole[:pixels] + groups + whole[pixels:])
    with cinemill.open(path) as cine:
        assert cine.frame_times.tolist() == [0, 40, 80, 120]
        assert any("functional groups can't be read" in each for each in cine.warnings)
