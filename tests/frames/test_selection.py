"""Which frames are chosen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinemill.errors import NotInFile, UsageError
from cinemill.frames import selection


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", [0]),
        ("0,5,10-12", [0, 5, 10, 11, 12]),
        ("5,0,5", [0, 5]),
        ("::10", [0, 10, 20]),
        ("-2:", [28, 29]),
        (":3, 7", [0, 1, 2, 7]),
        ("2::-1", [0, 1, 2]),
        ("29-29", [29]),
    ],
)
def test_by_number(text, expected):
    assert selection.by_number(text, 30) == expected


@pytest.mark.parametrize("text", ["30", "0,99", "20-30"])
def test_out_of_range_names_the_valid_range(text):
    with pytest.raises(NotInFile, match="frames 0 to 29"):
        selection.by_number(text, 30)


@pytest.mark.parametrize("text", ["5:5", "12-10", "40:50"])
def test_an_empty_choice_is_an_error(text):
    with pytest.raises(NotInFile, match="selects no frame"):
        selection.by_number(text, 30)


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1,,2", "::0", "1.5", "1:2:3:4", "٣", "9" * 5000])
def test_what_is_no_list(text):
    with pytest.raises(UsageError, match="can't read the frames"):
        selection.by_number(text, 30)


@given(st.integers(1, 200), st.data())
def test_slices_are_those_of_python(frames, data):
    part = st.none() | st.integers(-250, 250)
    start, stop, step = data.draw(st.tuples(part, part, part.filter(lambda value: value != 0)))
    text = ":".join("" if value is None else str(value) for value in (start, stop, step))
    expected = sorted(range(frames)[slice(start, stop, step)])
    if expected:
        assert selection.by_number(text, frames) == expected
    else:
        with pytest.raises(NotInFile):
            selection.by_number(text, frames)


def test_by_time_takes_the_frame_on_show():
    times = np.array([5.0, 45, 65, 85, 125])
    assert selection.by_time(40, times) == [0, 1, 3, 4]
    assert selection.by_time(1000, times) == [0]
    assert selection.by_time(1, times) == [0, 1, 2, 3, 4]


def test_by_time_is_exact_where_steps_meet_frames():
    times = np.arange(120, dtype=np.float64) * 33.333
    assert selection.by_time(33.333, times) == list(range(120))
    assert selection.by_time(99.999, times) == list(range(0, 120, 3))


@given(st.lists(st.integers(1, 50), min_size=0, max_size=40), st.integers(1, 120))
def test_by_time_takes_each_moment(increments, step):
    times = np.cumsum([0, *increments])
    on_show = {
        max(i for i, time in enumerate(times) if time <= moment) for moment in range(0, times[-1] + 1, step)
    }
    assert selection.by_time(step, times.astype(np.float64)) == sorted(on_show)


def test_a_tiny_step_takes_all_frames_of_a_long_cine():
    assert len(selection.by_time(0.001, np.arange(200_000, dtype=np.float64) * 33.0)) == 200_000


def test_by_time_needs_times():
    with pytest.raises(NotInFile, match="no frame times"):
        selection.by_time(10, np.array([np.nan, np.nan]))


@given(st.integers(1, 500), st.data())
def test_evenly(frames, data):
    count = data.draw(st.integers(1, frames))
    chosen = selection.evenly(count, frames)
    assert len(set(chosen)) == count
    assert chosen == sorted(chosen)
    assert chosen[0] == 0
    assert count == 1 or chosen[-1] == frames - 1
    gaps = np.diff(chosen)
    assert count < 3 or gaps.max() - gaps.min() <= 1


def test_more_than_there_are():
    with pytest.raises(NotInFile, match="1 to 7 frames"):
        selection.evenly(8, 7)


@pytest.mark.parametrize(("text", "expected"), [("100ms", 100), ("0.5s", 500), ("40", 40), (" 2.5 ms", 2.5)])
def test_milliseconds(text, expected):
    assert selection.milliseconds(text) == expected


@pytest.mark.parametrize("text", ["", "fast", "-5ms", "0", "1h", "."])
def test_what_is_no_duration(text):
    with pytest.raises(UsageError, match="can't read the duration"):
        selection.milliseconds(text)
