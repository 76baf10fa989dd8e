"""What can't be transcoded: copied if that is asked for, told in any case; and DICOMDIRs, which are left out."""

import os
import shutil

import pytest

import cinemill
from cinemill import batch
from cinemill.errors import DamagedFile, NotDicom, UnsupportedPixelFormat
from cinemill.operations.operation import Control
from cinemill.operations.transcode.request import Transcode
from cinemill.storage import file as storage_file
from cinemill.storage.tree import Item
from tests.support.files import bundled, standing

PAST = 1_500_000_000_123_456_789
CINE = bundled("examples_ybr_color.dcm").read_bytes()
REST = {
    "foreign.txt": (b"no DICOM " * 99, "ignored"),
    "empty": (b"", "ignored"),
    "truncated.dcm": (CINE[:50_000], "failed"),
    "bits.dcm": (bundled("liver_1frame.dcm").read_bytes(), "refused"),
}
COPY = Transcode("jpeg-ls", copy_rest=True)


@pytest.fixture(params=REST)
def item(request, tmp_path):
    content, _ = REST[request.param]
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / request.param
    source.write_bytes(content)
    source.chmod(0o640)
    os.utime(source, ns=(PAST, PAST))
    return Item(source, tmp_path / "out" / request.param)


def attempt(item, work=COPY):
    return batch.attempt(item, work, Control(1))


def test_the_rest_is_copied_unchanged_and_its_error_is_told_all_the_same(item):
    plain = attempt(item, Transcode("jpeg-ls"))
    assert not item.output.exists()
    told = attempt(item)
    assert (told.status, told.error) == (REST[item.source.name][1], plain.error)
    assert told.warnings == ("copied unchanged to the output tree",)
    assert (plain.reason, told.reason) == ("", "rest")
    assert item.output.read_bytes() == item.source.read_bytes()
    assert item.output.stat().st_mtime_ns == PAST
    assert item.output.stat().st_mode & 0o777 == 0o640
    before = standing(item.output)
    again = attempt(item)
    assert again.error == plain.error
    assert again.warnings == ("an unchanged copy of the source stands in the output tree",)
    assert standing(item.output) == before
    assert os.listdir(item.output.parent) == [item.output.name]


def test_a_copy_follows_its_source_but_replaces_nothing_newer(item):
    attempt(item)
    item.source.write_bytes(item.source.read_bytes() + b"more")
    assert attempt(item).warnings == ("copied unchanged to the output tree",)
    assert item.output.read_bytes() == item.source.read_bytes()
    item.output.write_bytes(b"something that somebody put there")
    (told,) = attempt(item).warnings
    assert told.startswith("not copied: something else stands there")
    assert (
        attempt(item, Transcode("jpeg-ls", copy_rest=True, overwrite=True)).warnings[0].startswith("copied")
    )
    assert item.output.read_bytes() == item.source.read_bytes()


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_file_is_not_replaced_by_a_copy_unasked(item, overwrite):
    item.output.parent.mkdir()
    os.mkfifo(item.output)
    os.utime(item.output, ns=(1, 1))
    told = attempt(item, Transcode("jpeg-ls", copy_rest=True, overwrite=overwrite))
    assert item.output.is_file() == overwrite
    if not overwrite:
        assert (told.error or {})["kind"] == "OutputExists" or told.warnings[0].startswith("not copied")


def test_an_output_of_a_source_that_was_damaged_since_stays(tmp_path):
    item = Item(tmp_path / "in.dcm", tmp_path / "out.dcm")
    shutil.copy(bundled("CT_small.dcm"), item.source)
    os.utime(item.source, ns=(PAST, PAST))
    attempt(item)
    whole = item.output.read_bytes()
    item.source.write_bytes(item.source.read_bytes()[:9000])
    told = attempt(item)
    assert (told.status, told.warnings[0][:10]) == ("failed", "not copied")
    assert item.output.read_bytes() == whole


def test_what_was_refused_once_gives_way_to_its_output(tmp_path):
    item = Item(tmp_path / "in.dcm", tmp_path / "out.dcm")
    item.source.write_bytes(REST["bits.dcm"][0])
    attempt(item)
    assert attempt(item, Transcode("rle")).status == "transcoded"


def test_the_library_copies_and_raises(tmp_path):
    for (name, (content, _)), error in zip(
        REST.items(), (NotDicom, NotDicom, DamagedFile, UnsupportedPixelFormat), strict=True
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(error):
            cinemill.transcode(tmp_path / name, tmp_path / "out" / name, to="jpeg-ls", copy_rest=True)
        assert (tmp_path / "out" / name).read_bytes() == content


def test_links_that_lead_nowhere_and_unreadable_files_are_told(tmp_path):
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    told = attempt(Item(tmp_path / "dangling", tmp_path / "out"))
    assert told.status == "failed"
    assert told.warnings == ("not copied: no such file; check the path",)
    assert not (tmp_path / "out").exists()


def test_a_disk_that_is_full_for_a_copy_is_told_as_such(item, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage_file, "claim", full)
    told = attempt(item)
    assert batch.is_no_room(told)
    assert not item.output.exists()


@pytest.mark.parametrize("copy_rest", [False, True])
@pytest.mark.parametrize("sop_class", [b"1.2.840.10008.1.3.10", b"1.2.840.10008.1.3.19"])
def test_a_dicomdir_is_left_out_with_a_word(tmp_path, copy_rest, sop_class):
    source = tmp_path / "DICOMDIR"
    source.write_bytes(bundled("DICOMDIR").read_bytes().replace(b"1.2.840.10008.1.3.10", sop_class))
    work = Transcode("jpeg-ls", copy_rest=copy_rest)
    told = attempt(Item(source, tmp_path / "out" / "DICOMDIR"), work)
    assert told.status == "skipped"
    assert "dcmmkdir" in told.warnings[-1]
    assert cinemill.transcode(source, tmp_path / "out" / "DICOMDIR", to="explicit").status == "skipped"
    assert not (tmp_path / "out").exists()
