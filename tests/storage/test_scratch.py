"""Temporary directories, and what killed processes leave of them."""

import os
import subprocess
import sys
import time
from tempfile import TemporaryDirectory

import pytest

import cinemill
from cinemill.errors import OutputError
from cinemill.locks import claim
from cinemill.storage.scratch import scratch
from tests.support.files import bundled


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def age(folder, seconds=61.0):
    os.utime(folder, (time.time() - seconds,) * 2)


def test_it_goes_with_what_is_in_it(place):
    with scratch() as folder:
        (folder / "a").write_text("x")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert list(place.iterdir()) == [folder]
    assert not list(place.iterdir())


def test_what_a_killed_process_left_goes_when_another_is_made(place):
    code = """
import sys, time
from pathlib import Path
from cinemill.storage.scratch import scratch
with scratch(Path(sys.argv[1])) as folder:
    (folder / "a").touch()
    print(folder, flush=True)
    time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(place)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = place / process.stdout.readline().strip()
        age(left)
        with scratch():
            assert (left / "a").exists()
        process.kill()
    with scratch():
        assert not left.exists()


def test_what_is_new_or_no_directory_or_another_s_stays(place):
    new = TemporaryDirectory(prefix="cinemill-scratch-", dir=place)
    elsewhere, others = place / "elsewhere", place / "cinemill-other"
    for folder in (elsewhere, others):
        folder.mkdir()
        age(folder)
    (place / "cinemill-scratch-file").touch()
    (place / "cinemill-scratch-link").symlink_to(elsewhere)
    age(place / "cinemill-scratch-file")
    before = {*place.iterdir()}
    with scratch():
        assert before < {*place.iterdir()}
    assert {*place.iterdir()} == before
    new.cleanup()


def test_where_none_can_be_made_it_is_said(place):
    (place / "file").touch()
    with pytest.raises(OutputError, match="a part of the path is not a directory"), scratch(place / "file"):
        pass


def test_outputs_in_one_wait_for_no_lock():
    with scratch() as folder:
        lock = os.open(folder, os.O_RDONLY)
        assert claim(lock)
        os.close(lock)
        assert cinemill.extract(bundled("CT_small.dcm"), folder / "a.png").status == "extracted"
