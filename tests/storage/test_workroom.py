"""A room in which an output is made over several runs."""

from __future__ import annotations

import pytest

from cinemill.errors import OutputError, OutputExists
from cinemill.storage.workroom import Workroom, put, written


def test_what_is_finished_is_there_for_the_next_run_of_the_same_purpose_only(tmp_path):
    with Workroom(tmp_path / "out", "one") as room:
        put(room.path / "a", b"1")
    with Workroom(tmp_path / "out", "one") as room:
        assert (room.path / "a").read_bytes() == b"1"
    with Workroom(tmp_path / "out", "two") as room:
        assert not (room.path / "a").exists()


def test_two_runs_do_not_work_in_one_room(tmp_path):
    with Workroom(tmp_path / "out", "one"), pytest.raises(OutputError, match="another run"):
        Workroom(tmp_path / "out", "one")


def test_an_output_appears_as_a_whole_and_the_room_is_gone(tmp_path):
    with Workroom(tmp_path / "out", "one") as room:
        put(room.fresh("published") / "a", b"1")
        room.publish(room.path / "published", overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with Workroom(tmp_path / "out", "one") as room:
        put(room.fresh("published") / "a", b"2")
        with pytest.raises(OutputExists):
            room.publish(room.path / "published", overwrite=False)
        assert (tmp_path / "out" / "a").read_bytes() == b"1"
        room.publish(room.path / "published", overwrite=True)
    assert (tmp_path / "out" / "a").read_bytes() == b"2"


def test_what_was_moved_aside_by_a_run_that_was_killed_then_comes_back(tmp_path):
    (tmp_path / "out").mkdir()
    put(tmp_path / "out" / "a", b"1")
    with Workroom(tmp_path / "out", "one") as room:
        (tmp_path / "out").rename(room.path / "replaced")
    with Workroom(tmp_path / "out", "two"):
        assert (tmp_path / "out" / "a").read_bytes() == b"1"


def test_a_file_that_was_not_finished_has_no_name(tmp_path):
    with pytest.raises(KeyError), written(tmp_path / "a") as file:
        file.write(b"1")
        raise KeyError
    assert not (tmp_path / "a").exists()
