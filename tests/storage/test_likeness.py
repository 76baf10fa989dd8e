"""Outputs have the mode and time of what they are made from, and never wider permissions."""

import os
import shutil

import pytest

import cinemill
from cinemill.storage.file import Sink
from cinemill.storage.likeness import Likeness, _umask
from tests.support.files import bundled

PAST = 1_500_000_000_123_456_789
FILES = {"transcoded": bundled("CT_small.dcm"), "copied": bundled("reportsi.dcm")}


@pytest.fixture
def umask(request):
    before = os.umask(request.param)
    _umask.cache_clear()
    yield request.param
    os.umask(before)
    _umask.cache_clear()


def made(tmp_path, status, mode, **options):
    source = tmp_path / "in.dcm"
    shutil.copy(FILES[status], source)
    os.utime(source, ns=(PAST, PAST))
    source.chmod(mode)
    assert cinemill.transcode(source, tmp_path / "out.dcm", to="jpeg-ls", **options).status == status
    return (tmp_path / "out.dcm").stat()


@pytest.mark.parametrize("umask", [0o022, 0o027, 0], indirect=True)
@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o644, 0o666, 0o755, 0o4755, 0o440])
@pytest.mark.parametrize("status", FILES)
def test_mode_and_time_are_those_of_the_source(tmp_path, umask, status, mode):
    there = made(tmp_path, status, mode)
    assert there.st_mode & 0o7777 == mode & 0o777 & ~umask
    assert there.st_mtime_ns == PAST


@pytest.mark.parametrize("umask", [0o022], indirect=True)
@pytest.mark.parametrize("status", FILES)
@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0o600), (0o755, 0o644)])
def test_without_them_permissions_are_still_no_wider(tmp_path, umask, status, mode, expected):
    there = made(tmp_path, status, mode, preserve=False)
    assert there.st_mode & 0o7777 == expected
    assert there.st_mtime_ns > PAST


def test_nobody_else_reads_what_is_still_being_written(tmp_path):
    secret = tmp_path / "secret"
    secret.touch(0o600)
    with Sink(tmp_path / "out", likeness=Likeness.of(secret, preserve=True)) as sink:
        assert sink.temporary.stat().st_mode & 0o777 == 0o600
