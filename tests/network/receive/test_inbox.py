"""What is taken, what is refused and why, and what is on the disk afterwards."""

import os
import subprocess
import zlib
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from cinemill.errors import UsageError
from cinemill.network.incoming import Rules
from cinemill.network.receive.inbox import Inbox
from cinemill.network.receive.limits import Limits
from tests.support.files import bundled
from tests.support.senders import CT, EXPLICIT, IMPLICIT, VERIFICATION, Client, data_set, instance, receiving

DEFLATED = "1.2.840.10008.1.2.1.99"


@pytest.fixture
def receiver(tmp_path):
    with receiving(tmp_path / "in") as here:
        yield here


@pytest.fixture
def client(receiver):
    with Client(receiver.port) as here:
        here.associate((CT, EXPLICIT), (VERIFICATION, IMPLICIT))
        yield here


def test_the_data_set_is_written_byte_for_byte_under_its_uids(receiver, client):
    uid, sent = instance()
    assert client.store(CT, uid, sent) == 0
    (file,) = receiver.files
    found = pydicom.dcmread(file)
    assert file.relative_to(receiver.folder).parts == (found.StudyInstanceUID, "1.2.3.4", f"{uid}.dcm")
    assert data_set(file.read_bytes()) == sent
    assert found.file_meta.TransferSyntaxUID == EXPLICIT
    assert found.file_meta.MediaStorageSOPInstanceUID == uid
    assert found.file_meta.SourceApplicationEntityTitle == "TEST"
    assert not receiver.left


def test_an_echo_is_answered(client):
    client.command(3, affected_class=VERIFICATION, field=0x30, id=7, data=0x0101)
    assert client.status() == 0


@pytest.mark.parametrize(
    "uid", ["../../../etc/passwd", "1.2/3", "1.2..3", ".1", "1.2.", "", "1" * 65, "1.2.3\n", "1.2.x"]
)
def test_what_is_no_uid_names_no_file(receiver, client, uid):
    _, sent = instance(SOPInstanceUID="1.2.3.4.5")
    assert client.store(CT, uid, sent) == 0x0117
    assert not receiver.files
    assert not receiver.left


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_study_that_is_no_uid_names_no_directory(receiver, client, keyword):
    with pytest.warns(UserWarning, match="Invalid value for VR UI"):
        uid, sent = instance(**{keyword: "../../x"})  # type: ignore[arg-type]
    assert client.store(CT, uid, sent) == 0xC000
    assert not receiver.files
    assert not (receiver.folder.parent / "x").exists()


def test_an_instance_without_study_has_a_place(receiver, client):
    uid, sent = instance(StudyInstanceUID="", SeriesInstanceUID="")
    assert client.store(CT, uid, sent) == 0
    assert receiver.files == [receiver.folder / "no-study" / "no-series" / f"{uid}.dcm"]


def test_a_data_set_of_another_instance_or_class_is_refused(receiver, client):
    uid, sent = instance()
    assert client.store(CT, "1.2.3", sent) == 0xA900
    _, other = instance(SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
    assert client.store(CT, uid, other) == 0xA900
    assert client.store("1.2.840.10008.5.1.4.1.1.4", uid, other) == 0x0122
    assert not receiver.files


@pytest.mark.parametrize("kept", [0, 3, 100, 1000, -1, -100])
def test_a_truncated_data_set_is_refused(receiver, client, kept):
    uid, sent = instance()
    assert client.store(CT, uid, sent[:kept]) == 0xC000
    assert not receiver.files
    assert client.store(CT, uid, sent) == 0


def test_a_truncated_encapsulated_one_too(tmp_path):
    file = bundled("examples_ybr_color.dcm").read_bytes()
    sent, told = data_set(file), pydicom.dcmread(BytesIO(file), stop_before_pixels=True)
    with receiving(tmp_path) as receiver, Client(receiver.port) as client:
        client.associate((told.SOPClassUID, told.file_meta.TransferSyntaxUID))
        assert client.store(told.SOPClassUID, told.SOPInstanceUID, sent[:-60]) == 0xC000
        assert client.store(told.SOPClassUID, told.SOPInstanceUID, sent) == 0
        assert data_set(receiver.files[0].read_bytes()) == sent


def test_deflated_data_sets_are_looked_into(tmp_path):
    uid, plain = instance()
    deflater = zlib.compressobj(wbits=-15)
    sent = deflater.compress(plain) + deflater.flush()
    with receiving(tmp_path) as receiver, Client(receiver.port) as client:
        client.associate((CT, DEFLATED))
        assert client.store(CT, uid, sent[:-30]) == 0xC000
        assert client.store(CT, "1.2.3", sent) == 0xA900
        assert client.store(CT, uid, sent + b"\0" * (len(sent) % 2)) == 0
        assert pydicom.dcmread(receiver.files[0]).SOPInstanceUID == uid


def test_a_deflated_bomb_is_not_inflated_without_end(tmp_path):
    deflater = zlib.compressobj(wbits=-15)
    sent = deflater.compress(bytes(50 << 20)) + deflater.flush()
    with receiving(tmp_path, Rules(reserve=0, most=1 << 20)) as receiver, Client(receiver.port) as client:
        client.associate((CT, DEFLATED))
        assert client.store(CT, "1.2.3", sent) == 0xC000
        assert "inflates to more" in receiver.outcomes[0].message


def test_the_same_instance_once_more_is_a_success_and_is_not_doubled(receiver, client):
    uid, sent = instance()
    assert [client.store(CT, uid, sent) for _ in range(3)] == [0, 0, 0]
    assert [outcome.what for outcome in receiver.outcomes] == ["stored", "duplicate", "duplicate"]
    assert len(receiver.files) == 1


@pytest.mark.parametrize(
    ("rule", "statuses", "names"),
    [
        ("keep", [0, 0x0111, 0], ["{}.dcm"]),
        ("replace", [0, 0, 0], ["{}.dcm"]),
        ("both", [0, 0, 0], ["{}.2.dcm", "{}.dcm"]),
    ],
)
def test_another_instance_of_the_same_uid_is_decided_by_rule(tmp_path, rule, statuses, names):
    uid, first = instance()
    second = first[:-1] + b"\xff"
    with receiving(tmp_path, Rules(rule, reserve=0)) as receiver, Client(receiver.port) as client:
        client.associate((CT, EXPLICIT))
        assert [client.store(CT, uid, each) for each in (first, second, first)] == statuses
        assert [file.name for file in receiver.files] == [name.format(uid) for name in names]
        assert data_set(receiver.files[-1].read_bytes()) == first
        if rule == "both":
            assert data_set(receiver.files[0].read_bytes()) == second


def test_an_instance_that_is_larger_than_it_may_be_is_refused(tmp_path):
    uid, sent = instance(side=100)
    with receiving(tmp_path, Rules(reserve=0, most=15_000)) as receiver, Client(receiver.port) as client:
        client.associate((CT, EXPLICIT))
        assert client.store(CT, uid, sent) == 0xA700
        small, few = instance(seed=1)
        assert client.store(CT, small, few) == 0
        assert len(receiver.files) == 1
        assert not receiver.left


def test_room_that_is_reserved_is_left(tmp_path):
    disk = os.statvfs(tmp_path)
    uid, sent = instance()
    with (
        receiving(tmp_path, Rules(reserve=disk.f_blocks * disk.f_frsize)) as receiver,
        Client(receiver.port) as client,
    ):
        client.associate((CT, EXPLICIT))
        assert client.store(CT, uid, sent) == 0xA700
        assert receiver.outcomes[0].message == "no room on the disk"
        assert not receiver.files
        assert not receiver.left


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_full_disk_refuses_and_goes_on_when_there_is_room(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], check=False).returncode:
        pytest.skip("may not mount a file system")
    try:
        with receiving(disk) as receiver, Client(receiver.port) as client:
            client.associate((CT, EXPLICIT))
            big, much = instance(side=1200)
            assert client.store(CT, big, much) == 0xA700
            assert not receiver.left
            small, few = instance(seed=1)
            assert client.store(CT, small, few) == 0
            assert data_set(receiver.files[0].read_bytes()) == few
    finally:
        subprocess.run(["umount", disk], check=True)


def test_two_receivers_do_not_share_a_directory(tmp_path):
    with Inbox(tmp_path, Rules()), pytest.raises(UsageError, match="another receiver writes here"):
        Inbox(tmp_path, Rules())


def test_what_a_killed_receiver_left_is_cleared(tmp_path):
    left = tmp_path / ".cinemill" / "receiving" / "7.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    with receiving(tmp_path):
        assert not left.exists()


def test_a_private_class_is_taken_where_it_is_named(tmp_path):
    private = "1.2.840.113619.4.2"
    uid, sent = instance(SOPClassUID=private)
    for named, result in ((frozenset[str](), 3), (frozenset({private}), 0)):
        with receiving(tmp_path, limits=Limits(private=named)) as receiver, Client(receiver.port) as client:
            _, accepted = client.associate((private, EXPLICIT))
            start = accepted.index(b"\x21\0")
            assert accepted[start + 6] == result
            if not result:
                assert client.store(private, uid, sent) == 0


@pytest.mark.parametrize(
    ("name", "private"),
    [("JPEG2000.dcm", "1.2.840.113619.5.2.1"), ("MR_small_implicit.dcm", "1.3.46.670589.33.1.4.1")],
)
def test_what_is_in_a_private_transfer_syntax_is_stored_as_it_is_where_that_is_named(tmp_path, name, private):
    header = pydicom.dcmread(bundled(name), stop_before_pixels=True)
    uid, sent = header.SOPInstanceUID, data_set(Path(bundled(name)).read_bytes())
    for named, result in ((frozenset[str](), 4), (frozenset({private}), 0)):
        with receiving(tmp_path, limits=Limits(private=named)) as receiver, Client(receiver.port) as client:
            _, accepted = client.associate((header.SOPClassUID, private))
            assert accepted[accepted.index(b"\x21\0") + 6] == result
            if not result:
                assert client.store(header.SOPClassUID, uid, sent[:-100]) == 0xC000
                assert client.store(header.SOPClassUID, uid, sent) == 0
                assert client.store(header.SOPClassUID, uid, sent) == 0
                assert [outcome.what for outcome in receiver.outcomes] == ["refused", "stored", "duplicate"]
                (file,) = receiver.files
                assert data_set(file.read_bytes()) == sent
                assert pydicom.filereader.read_file_meta_info(file).TransferSyntaxUID == private
