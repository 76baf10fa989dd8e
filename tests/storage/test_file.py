"""An output appears whole or not at all, whatever happens on the way."""

import contextlib
import errno
import fcntl
import os
import struct
from pathlib import Path

import pydicom.encaps
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinemill.dicom.elements import EXPLICIT_LE
from cinemill.dicom.pixel_writers import EncapsulatedWriter, NativeWriter
from cinemill.errors import OutputError, OutputExists, UnsupportedTransferSyntax
from cinemill.storage.atomic import sweep
from cinemill.storage.file import Sink


def test_a_committed_output_is_the_only_file_left(tmp_path):
    with Sink(tmp_path / "a" / "b.dcm") as sink:
        sink.write(b"pixels")
        sink.finish()
        sink.commit()
    assert (tmp_path / "a" / "b.dcm").read_bytes() == b"pixels"
    assert os.listdir(tmp_path / "a") == ["b.dcm"]


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), Sink(tmp_path / "b.dcm") as sink:
        sink.write(b"pixels")
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_what_is_there_is_not_replaced_unless_asked(tmp_path):
    path = tmp_path / "b.dcm"
    path.write_bytes(b"old")
    with Sink(path) as sink:
        sink.finish()
        with pytest.raises(OutputExists, match="--overwrite"):
            sink.commit()
    assert path.read_bytes() == b"old"
    with Sink(path, overwrite=True) as sink:
        sink.write(b"new")
        sink.finish()
        sink.commit()
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["b.dcm"]


def test_a_file_system_without_hard_links_still_commits_exclusively(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "b.dcm"
    for expected in ("written", "exists"):
        with Sink(path) as sink:
            sink.write(b"new")
            sink.finish()
            if expected == "written":
                sink.commit()
            else:
                with pytest.raises(OutputExists):
                    sink.commit()
    assert os.listdir(tmp_path) == ["b.dcm"]


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"), Sink(tmp_path / "b.dcm") as sink:
        sink.finish()
    assert os.listdir(tmp_path) == []


def test_space_is_claimed_and_what_was_not_used_is_given_back(tmp_path):
    with Sink(tmp_path / "b.dcm") as sink:
        sink.write(b"head")
        sink.reserve(1 << 22)
        claimed = sink.temporary.stat()
        assert claimed.st_size == 4
        sink.write(b"pixels")
        sink.finish()
        sink.commit()
    kept = (tmp_path / "b.dcm").stat()
    assert (tmp_path / "b.dcm").read_bytes() == b"headpixels"
    assert kept.st_blocks <= claimed.st_blocks
    assert kept.st_blocks * 512 < 1 << 20


def test_a_disk_that_is_too_small_is_told_beforehand(tmp_path):
    with Sink(tmp_path / "b.dcm") as sink:
        with pytest.raises(OutputError, match=r"disk is full: \d+ bytes are needed, \d+ are free") as failure:
            sink.reserve(1 << 60)
        reason = failure.value.__context__
        assert isinstance(reason, OSError)
        assert reason.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []


def test_stale_temporaries_are_swept_and_live_ones_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr("cinemill.storage.atomic._PATIENCE", 0.1)
    path = tmp_path / "b[1].dcm"
    stale, live, other = (
        tmp_path / name for name in (".b[1].dcm.0.part", ".b[1].dcm.5.part", ".c.dcm.2.part")
    )
    for file in (stale, live, other):
        file.write_bytes(b"")
    with live.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        sweep(path)
    assert not stale.exists()
    assert live.exists()
    assert other.exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_who_ends_leaves_the_temporary_of_who_began_meanwhile(tmp_path, overwrite):
    path = tmp_path / "b.dcm"
    with Sink(path, overwrite=overwrite) as first:
        first.finish()
        first.commit()
        first.temporary.unlink(missing_ok=True)
        second = Sink(path, overwrite=True)
        assert second.temporary == first.temporary
    with second:
        second.write(b"new")
        second.finish()
        second.commit()
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["b.dcm"]


def test_who_sweeps_leaves_the_temporary_of_who_began_meanwhile(tmp_path, monkeypatch):
    path = tmp_path / "b.dcm"
    first = Sink(path)
    later: list[Sink] = []

    def lock(*_):
        if not later:
            with first:
                pass
            later.append(Sink(path))

    monkeypatch.setattr("cinemill.storage.atomic._lock", lock)
    sweep(path)
    with later[0] as second:
        assert second.temporary == first.temporary
        second.finish()
        second.commit()
    assert os.listdir(tmp_path) == ["b.dcm"]


def test_a_temporary_is_removed_while_it_is_locked(tmp_path, monkeypatch):
    path, free = tmp_path / "b.dcm", []
    sink = Sink(path)
    unlink = Path.unlink
    with sink.temporary.open("rb") as other:

        def tried(self, *arguments, **options):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free.append(self)
            unlink(self, *arguments, **options)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", tried)
            with sink:
                pass
    assert not free
    assert os.listdir(tmp_path) == []


frames_of_bytes = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=12)


@pytest.mark.parametrize("expected_bytes", [0, 1 << 33], ids=["basic", "extended"])
@given(frames=frames_of_bytes)
def test_frames_come_back_through_either_offset_table(tmp_path_factory, expected_bytes, frames):
    path = tmp_path_factory.mktemp("sink") / "a"
    with Sink(path) as sink:
        writer = EncapsulatedWriter(sink, len(frames), expected_bytes)
        for frame in frames:
            writer.add(frame)
        writer.end()
        assert [writer.read(i) for i in range(len(frames))] == frames
        sink.finish()
        sink.commit()
    data = path.read_bytes()
    extended = None
    if expected_bytes:
        size = 8 * len(frames)
        extended = data[12 : 12 + size], data[24 + size : 24 + 2 * size]
        data = data[24 + 2 * size :]
    assert data[:12] == struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    decoded = pydicom.encaps.generate_frames(
        data[12:], number_of_frames=len(frames), extended_offsets=extended
    )
    padded = [frame + bytes(len(frame) % 2) for frame in frames]
    assert list(decoded) == padded


@given(bits=st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=9))
def test_single_bits_follow_each_other_without_padding(tmp_path_factory, bits):
    path = tmp_path_factory.mktemp("sink") / "a"
    with Sink(path) as sink:
        writer = NativeWriter(sink, len(bits), 5, b"OB", EXPLICIT_LE)
        for frame in bits:
            writer.add(bytes([sum(bit << position for position, bit in enumerate(frame))]))
        writer.end()
        sink.finish()
        sink.commit()
    value = path.read_bytes()[12:]
    flat = [bit for frame in bits for bit in frame]
    assert len(value) % 2 == 0
    assert [bool(value[i // 8] >> i % 8 & 1) for i in range(len(flat))] == flat


def test_native_pixels_past_4_gib_are_refused(tmp_path):
    with Sink(tmp_path / "a") as sink, pytest.raises(UnsupportedTransferSyntax, match="encapsulated"):
        NativeWriter(sink, 5000, 1 << 23, b"OB", EXPLICIT_LE)


@pytest.mark.parametrize(
    "name", ["é" * 127, "患" * 84 + ".d", b"\xe9cho.dcm".decode("utf-8", "surrogateescape")]
)
def test_every_name_that_a_file_can_have(tmp_path, name):
    for _ in range(2):
        with Sink(tmp_path / name, overwrite=True) as sink:
            sink.finish()
            sink.commit()
    assert os.listdir(tmp_path) == [name]
