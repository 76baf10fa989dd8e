"""Windows of the day."""

from __future__ import annotations

import datetime as dt

import pytest

from cinemill import errors
from cinemill.network.pace import Window


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        ("20:00-06:00", ["20:00", "23:59", "00:00", "05:59"], ["06:00", "12:00", "19:59"]),
        ("08:30-09:00", ["08:30", "08:59"], ["09:00", "08:29", "23:00"]),
    ],
)
def test_a_window_contains_its_part_of_the_day(window: str, inside: list[str], outside: list[str]) -> None:
    parsed = Window.parse(window)
    assert all(dt.time.fromisoformat(moment) in parsed for moment in inside)
    assert not any(dt.time.fromisoformat(moment) in parsed for moment in outside)


@pytest.mark.parametrize("text", ["", "20-06", "20:00", "25:00-06:00", "20:00-20:00", "20:00-06:00 "])
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(errors.UsageError, match="expected a window"):
        Window.parse(text)
