"""What C-GET and C-MOVE bring is taken as a receiver takes it; one association carries what both of them need."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pydicom
import pytest

from cinemill.errors import OutputExists
from cinemill.network import commands, incoming, pdu
from cinemill.network.arrivals import Arrivals
from cinemill.network.association import Association
from cinemill.network.commands import Field
from cinemill.network.incoming import Claim, Rules, settle
from cinemill.network.instances import read_instance
from cinemill.network.pdu import Context
from cinemill.network.receive import inbox as receiving
from cinemill.network.receive.inbox import Inbox
from cinemill.network.stream import Late, Stream
from tests.support.pacs import data_set_of, write_study

CONTEXT = Context(1, "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
STORE = {"AffectedSOPClassUID": CONTEXT.sop_class, "CommandField": Field.STORE_RQ, "MessageID": 1}


@pytest.fixture
def file(tmp_path):
    (written,) = write_study(tmp_path / "from", 1, 1)
    return written


def taken(arrivals, file):
    instance = read_instance(file)
    claim = Claim(instance.sop_class, instance.sop_instance, instance.transfer_syntax)
    return arrivals.take(claim, [data_set_of(file)])


def test_the_same_instance_is_kept_and_another_one_of_its_uid_is_refused(tmp_path, file):
    arrivals = Arrivals(tmp_path / "to", read_instance(file).study)
    assert [taken(arrivals, file).what for _ in range(2)] == ["stored", "duplicate"]
    path = arrivals.path_of(read_instance(file).sop_instance)
    before = path.read_bytes()
    other = pydicom.dcmread(file)
    other.PatientName = "OTHER"
    other.save_as(file)
    again = taken(arrivals, file)
    assert (again.status, path.read_bytes()) == (commands.DUPLICATE_INSTANCE, before)
    assert [each.name for each in arrivals.wrong.values()] == ["duplicate"]
    assert list((tmp_path / "to").iterdir()) == [path]


def test_the_same_instance_that_comes_several_times_at_once_is_a_success_each_time(tmp_path, file):
    instance = read_instance(file)
    claim = Claim(instance.sop_class, instance.sop_instance, instance.transfer_syntax)
    together = threading.Barrier(6)

    def what(inbox):
        incoming = inbox.begin(claim)
        incoming.write(data_set_of(file))
        together.wait()
        return incoming.finish()

    with Inbox(tmp_path / "to", Rules(reserve=0)) as inbox, ThreadPoolExecutor(6) as executor:
        for _ in range(10):
            found = list(executor.map(what, [inbox] * 6))
            assert sorted(each.what for each in found) == ["duplicate"] * 5 + ["stored"]
            found[0].path.unlink()


def test_an_instance_that_something_is_made_of_while_it_is_compared_is_there(tmp_path, monkeypatch):
    path, made, again = (tmp_path / name for name in ("waits", "made", "again"))
    path.write_bytes(b"instance")
    again.write_bytes(b"instance")

    def is_made_meanwhile(_, there):
        there.replace(made)
        return False

    monkeypatch.setattr(incoming, "same_data_set", is_made_meanwhile)
    assert settle(again, path, "keep", [(made, lambda *_: True)]) == "duplicate"
    assert sorted(tmp_path.iterdir()) == [again, made]


def test_a_name_that_leads_nowhere_is_not_written_over(tmp_path):
    again, path = tmp_path / "again", tmp_path / "name"
    again.write_bytes(b"instance")
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExists):
        settle(again, path, "keep")
    assert path.is_symlink()


def test_a_directory_that_is_removed_in_the_moment_in_which_a_name_is_given_is_made_again(
    tmp_path, file, monkeypatch
):
    instance, fates = read_instance(file), ["removed", "and made by another", "well", "taken away"]

    def settled(temporary, path, *more):
        fate = fates.pop(0)
        if fate.startswith(("removed", "and")):
            path.parent.rmdir()
        try:
            return settle(temporary, path, *more)
        finally:
            if fate.startswith("and"):
                path.parent.mkdir()
            if fate == "taken away":
                path.unlink()
                path.parent.rmdir()

    monkeypatch.setattr(receiving, "settle", settled)
    claim = Claim(instance.sop_class, instance.sop_instance, instance.transfer_syntax)
    with Inbox(tmp_path / "to", Rules(reserve=0)) as inbox:
        for _ in range(2):
            one = inbox.begin(claim)
            one.write(data_set_of(file))
            taken = one.finish()
            assert (taken.what, taken.status) == ("stored", commands.SUCCESS)
            inbox.folder.joinpath(instance.study, instance.series, f"{instance.sop_instance}.dcm").unlink(
                missing_ok=True
            )


def test_the_reserve_of_the_disk_is_left_alone(tmp_path, file):
    arrivals = Arrivals(tmp_path / "to", read_instance(file).study, rules=Rules(reserve=1 << 60))
    assert taken(arrivals, file).status == commands.OUT_OF_RESOURCES
    assert [each.name for each in arrivals.wrong.values()] == ["no-room"]
    assert not list((tmp_path / "to").iterdir())


@pytest.fixture
def ends(request):
    """Both ends of an association that was negotiated; the second has as much patience as a test says."""
    first, second = socket.socketpair()
    contexts = {CONTEXT.number: CONTEXT}
    with closing(first), closing(second):
        yield (
            Association(Stream(first, 60), contexts, 1000),
            Association(Stream(second, getattr(request, "param", 60)), contexts, 0),
        )


def test_what_is_left_of_a_data_set_can_be_skipped_anywhere_in_it(ends):
    sender, receiver = ends

    def send():
        for size in (30_000, 1, 0, 30_000):
            sender.send(CONTEXT, STORE, bytes(size))

    sending = threading.Thread(target=send)
    sending.start()
    for parts in (0, 3, 1, 0):
        assert receiver.receive()[1]["CommandField"] == Field.STORE_RQ
        data = receiver.data()
        for _ in range(parts):
            next(data, None)
        receiver.skip_data()
    sending.join()
    assert not receiver.has_news


@pytest.mark.parametrize("ends", [1.0], indirect=True)
def test_the_time_that_is_taken_to_use_a_data_set_is_not_the_peers(ends):
    sender, receiver = ends
    command = commands.encode({**STORE, "CommandDataSetType": commands.SOME_DATA_SET})
    sender._stream.allow()
    sender._stream.send(b"".join(pdu.data(1, pdu.COMMAND, command, 1000)))
    sender._stream.send(pdu.data_head(1, 0, 5) + b"first")
    receiver.receive()
    parts = receiver.data()
    assert bytes(next(parts)) == b"first"
    time.sleep(1.5)
    sender._stream.send(pdu.data_head(1, pdu.LAST, 4) + b"last")
    assert bytes(next(parts)) == b"last"
    assert next(parts, None) is None


@pytest.mark.parametrize("ends", [1.0], indirect=True)
def test_a_message_that_comes_a_byte_at_a_time_is_not_awaited(ends):
    sender, receiver = ends
    over = threading.Event()

    def send():
        for _ in range(400):
            if over.wait(0.05):
                return
            sender._stream.allow()
            sender._stream.send(bytes((4, 0, 0, 0, 0, 7, 0, 0, 0, 3, 1, 1, 0)))
        sender._stream.part()

    sending = threading.Thread(target=send)
    sending.start()
    with pytest.raises(Late):
        receiver.receive()
    over.set()
    sending.join()
