"""Helper files whose names we choose: whatever stands there in their place is neither waited for nor followed."""

import os
import socket
import subprocess
import sys

import pytest

import cinemill
from cinemill.dicom import kept_index
from cinemill.dicom.source import Source
from cinemill.errors import CinemillError, OutputError
from cinemill.operations.extract.sidecar import judge
from cinemill.storage import folder
from cinemill.storage.file import Sink
from cinemill.storage.regular import open_regular
from tests.support import generate
from tests.support.files import bundled, standing

CINE = bundled("examples_ybr_color.dcm")
FRAMES = generate.noise((6, 9, 11))


def without_table(path):
    """Write a cine whose items have to be looked at, so that an index is kept."""
    element = generate.encapsulated_element([[generate.rle_stream(frame)] for frame in FRAMES], table="empty")
    path.write_bytes(generate.part10(generate.header(FRAMES), element, generate.RLE))
    return path


def fifo(path):
    os.mkfifo(path)


def link(path):
    (path.parent / "precious").write_bytes(b"precious")
    path.symlink_to(path.parent / "precious")


def listening(path):
    server = socket.socket(socket.AF_UNIX)
    here = os.open(path.parent, os.O_RDONLY)
    server.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)
    server.close()


KINDS = pytest.mark.parametrize("kind", [fifo, link, listening])


def command(*arguments, **options):
    """Run the command; a hang is a failure."""
    start = [sys.executable, "-c", "from cinemill_workers.cli.main import main; main()"]
    return subprocess.run(
        [*start, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300, **options
    )


@KINDS
def test_an_output_is_made_whatever_has_the_name_of_its_temporary_file(tmp_path, kind):
    kind(tmp_path / ".o.dcm.0.part")
    before = standing(tmp_path / ".o.dcm.0.part")
    done = command("transcode", CINE, tmp_path / "o.dcm", "--to", "rle")
    assert done.returncode == 0, done.stderr
    assert standing(tmp_path / ".o.dcm.0.part") == before
    assert not [path for path in tmp_path.glob("precious") if path.read_bytes() != b"precious"]


def test_no_free_name_is_an_error(tmp_path):
    for number in range(8):
        os.mkfifo(tmp_path / f".o.dcm.{number}.part")
    with pytest.raises(OutputError, match="8 processes are writing it already"):
        Sink(tmp_path / "o.dcm")


@KINDS
def test_frames_are_written_whatever_has_the_name_of_their_hidden_directory(tmp_path, kind):
    kind(tmp_path / ".cinemill-0.part")
    done = command("extract", CINE, tmp_path, "--frames", "0")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.png"))) == 1


def test_a_link_among_the_hidden_directories_removes_no_output(tmp_path):
    (tmp_path / ".cinemill-0.part").symlink_to(tmp_path)
    (tmp_path / "done.png").write_bytes(b"done")
    (tmp_path / "more").mkdir()
    folder.sweep(tmp_path)
    assert (tmp_path / "done.png").read_bytes() == b"done"


@KINDS
def test_whatever_has_the_name_of_a_kept_index_is_no_index(tmp_path, kind):
    source = without_table(tmp_path / "x.dcm")
    kind(kept_index.kept_path(source))
    done = command("extract", source, tmp_path / "out", "--frames", "3", "--index")
    assert done.returncode == 0, done.stderr
    assert kept_index.kept_path(source).is_file()
    assert not kept_index.kept_path(source).is_symlink()


def test_an_index_behind_a_link_is_not_believed(tmp_path):
    source = without_table(tmp_path / "x.dcm")
    kept = kept_index.kept_path(source)
    with cinemill.open(source, keep_index=True) as cine:
        assert len(cine) == len(FRAMES)
    kept.rename(tmp_path / "precious")
    kept.symlink_to(tmp_path / "precious")
    with Source(source, scan=False) as opened:
        assert opened.pixel_data is not None
        first = opened.pixel_data.value
        assert kept_index.load(source, opened.data, first, len(FRAMES), []) is None


@pytest.mark.parametrize("kind", [fifo, listening])
def test_whatever_has_the_name_of_a_sidecar_is_none(tmp_path, kind):
    kind(tmp_path / "x.json")
    assert not judge(tmp_path / "x.json", {"frames": []}, None)


@pytest.mark.parametrize("kind", [fifo, listening])
@pytest.mark.parametrize("work", ["transcode", "extract", "split", "open"])
def test_a_source_that_is_no_regular_file_is_refused_at_once(tmp_path, kind, work):
    kind(tmp_path / "x.dcm")
    calls = {
        "transcode": lambda: cinemill.transcode(tmp_path / "x.dcm", tmp_path / "o.dcm", to="rle"),
        "extract": lambda: cinemill.extract(tmp_path / "x.dcm", tmp_path / "out"),
        "split": lambda: cinemill.split(tmp_path / "x.dcm", tmp_path / "out", frames_per_instance=1),
        "open": lambda: cinemill.open(tmp_path / "x.dcm"),
    }
    with pytest.raises(CinemillError, match="not a regular file"):
        calls[work]()


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_a_device_is_no_source(device, tmp_path):
    with pytest.raises(CinemillError, match="not a regular file"):
        cinemill.transcode(device, tmp_path / "o.dcm", to="rle")


def test_a_linked_source_is_followed(tmp_path):
    (tmp_path / "x.dcm").symlink_to(CINE)
    with cinemill.open(tmp_path / "x.dcm") as cine:
        assert len(cine) == 30


def test_a_pipe_that_takes_a_file_s_place_is_not_waited_for(tmp_path):
    fifo(tmp_path / "x")
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT):
        with pytest.raises(OSError, match="No such device|not a regular file"):
            open_regular(tmp_path / "x", flags)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
