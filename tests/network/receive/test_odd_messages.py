"""Messages that are not put together as the standard says: refused by name or taken as they are, and the receiver goes on."""

import struct
import threading
import time
from contextlib import suppress

import pytest

from cinemill.network.incoming import Rules
from cinemill.network.receive.limits import Limits
from tests.support.senders import (
    ABORT,
    ACCEPT,
    CT,
    DATA,
    EXPLICIT,
    RELEASED,
    VERIFICATION,
    Client,
    command_set,
    data_set,
    instance,
    item,
    receiving,
    value,
)

HASTY = Limits(network_seconds=2)


@pytest.fixture(scope="module")
def receiver(tmp_path_factory):
    with receiving(tmp_path_factory.mktemp("in")) as here:
        yield here


@pytest.fixture
def client(receiver):
    with Client(receiver.port) as here:
        here.associate((CT, EXPLICIT), (VERIFICATION, EXPLICIT))
        yield here


def store(uid, **more):
    return command_set(
        **{
            "affected_class": CT,
            "field": 1,
            "id": 1,
            "priority": 0,
            "data": 1,
            "affected_instance": uid,
            **more,
        }
    )


def takes_instances(receiver, seed):
    uid, sent = instance(seed=seed)
    with Client(receiver.port) as client:
        client.associate((CT, EXPLICIT))
        return client.store(CT, uid, sent) == 0


def test_a_data_set_of_another_context_than_its_command_ends_the_association(receiver, client):
    uid, sent = instance(seed=1)
    client.pdu(DATA, value(1, store(uid), 3))
    client.pdu(DATA, value(3, sent, 2))
    assert client.read()[0] == ABORT
    assert not receiver.left


def test_a_command_that_announces_no_data_set_stores_nothing_and_one_that_comes_is_not_taken(
    receiver, client
):
    uid, sent = instance(seed=2)
    client.pdu(DATA, value(1, store(uid, data=0x0101), 3))
    assert client.status() == 0xC000
    client.pdu(DATA, value(1, store(uid, data=0x0101), 3))
    assert client.status() == 0xC000
    client.pdu(DATA, value(1, sent, 2))
    assert client.read()[0] == ABORT
    assert not any(uid in file.name for file in receiver.files)


def test_an_answer_that_nobody_asked_for_is_left_alone(client):
    client.command(field=0x8001, id=1, data=0x0101, affected_class=CT)
    client.command(3, affected_class=VERIFICATION, field=0x30, id=7, data=0x0101)
    assert client.status() == 0


def test_the_length_of_the_command_group_is_not_believed(client):
    uid, sent = instance(seed=3)
    asked = bytearray(store(uid))
    asked[8:12] = struct.pack("<L", 0xFFFFFFFF)
    client.pdu(DATA, value(1, bytes(asked), 3))
    client.pdu(DATA, value(1, sent, 2))
    assert client.status() == 0


def test_a_release_in_the_middle_of_a_data_set_is_answered_and_nothing_is_kept(receiver, client):
    uid, sent = instance(seed=4)
    client.pdu(DATA, value(1, store(uid), 3))
    client.pdu(DATA, value(1, sent[:1000], 0))
    client.pdu(5, bytes(4))
    assert client.read()[0] == RELEASED
    assert not receiver.left
    assert not any(uid in file.name for file in receiver.files)


@pytest.mark.parametrize("padding", [b"\0", b"\0\0\0", b" ", b"  "])
def test_uids_may_be_padded(receiver, client, padding):
    uid, sent = instance(seed=5)
    asked = store(uid + padding.decode())
    client.pdu(DATA, value(1, asked, 3))
    client.pdu(DATA, value(1, sent, 2))
    assert client.status() == 0
    assert any(file.name == f"{uid}.dcm" for file in receiver.files)


@pytest.mark.parametrize("behind", [bytes(10), b"\xff" * 12, b"behind the data set"])
def test_what_follows_the_last_element_is_kept_if_it_is_padding_and_refused_if_not(receiver, client, behind):
    uid, sent = instance(seed=len(behind) + behind[0])
    assert client.store(CT, uid, sent + behind) == (0xC000 if any(behind) else 0)
    found = [data_set(file.read_bytes()) for file in receiver.files if uid in file.name]
    assert found == ([] if any(behind) else [sent + behind])


def test_fragments_of_one_byte_and_of_none_are_put_together(receiver, client):
    uid, sent = instance(seed=6)
    for number, byte in enumerate(store(uid)):
        client.pdu(
            DATA,
            value(1, bytes((byte,)), 1) if number % 9 else value(1, bytes((byte,)), 1) + value(1, b"", 1),
        )
    client.pdu(DATA, value(1, b"", 3))
    client.pdu(DATA, b"".join(value(1, sent[at : at + 1], 0) for at in range(300)))
    client.pdu(DATA, value(1, b"", 0))
    client.pdu(DATA, value(1, sent[300:], 0) + value(1, b"", 2))
    assert client.status() == 0
    (file,) = [file for file in receiver.files if uid in file.name]
    assert data_set(file.read_bytes()) == sent


def test_a_pdu_without_a_value_is_no_way_to_stay(client):
    client.socket.sendall(struct.pack(">BxL", DATA, 0))
    assert client.read()[0] == ABORT


@pytest.mark.parametrize(("most", "sizes"), [(0, 1), (1 << 31, 1), (128, 1), (16, 8), (8, 39)])
def test_answers_are_cut_as_small_as_the_peer_wants_them(receiver, most, sizes):
    with Client(receiver.port) as client:
        assert client.associate((VERIFICATION, EXPLICIT), most=most)[0] == ACCEPT
        client.command(affected_class=VERIFICATION, field=0x30, id=7, data=0x0101)
        answers: list[bytes] = []
        while not answers or not answers[-1][5] & 2:
            kind, body = client.read()
            assert kind == DATA
            assert len(body) <= most or not most
            answers.append(body)
    assert len(answers) == sizes
    whole = b"".join(body[6:] for body in answers)
    assert whole[:4] == bytes(4)
    assert struct.unpack_from("<L", whole, 8) == (len(whole) - 12,)


@pytest.mark.parametrize("most", [1, 7])
def test_a_peer_that_takes_less_than_a_fragment_is_sent_away(receiver, most):
    with Client(receiver.port) as client:
        assert client.associate((VERIFICATION, EXPLICIT), most=most)[0] == ABORT


def test_names_that_are_no_uids_are_answered_as_far_as_a_uid_goes(receiver):
    with Client(receiver.port) as client:
        kind, body = client.associate((CT, "\xff" * 60000), ("\xff" * 60000, EXPLICIT), (CT, EXPLICIT))
    assert kind == ACCEPT
    assert len(body) < 1000


EXCESSIVE = {
    "items": b"".join(item(0x99, b"") for _ in range(100_000)),
    "contexts": b"".join(item(0x20, bytes(4)) for _ in range(100_000)),
    "syntaxes": item(0x20, b"\1\0\0\0" + item(0x30, CT.encode()) + item(0x40, b"1.2") * 9_000),
    "roles": item(0x50, item(0x54, struct.pack(">H", 3) + b"1.2\1\1") * 5_000),
    "identities": item(0x50, item(0x58, b"\1\0\0\7patient\0\0")) * 1_000,
}


@pytest.mark.parametrize("items", EXCESSIVE.values(), ids=EXCESSIVE)
def test_requests_of_thousands_of_items_are_not_looked_through(receiver, items):
    with Client(receiver.port) as client:
        client.pdu(1, b"\0\1\0\0" + b"ANY".ljust(32) + bytes(32) + items)
        assert client.read()[0] == ABORT


def test_extended_negotiation_and_identities_are_left_alone(receiver):
    more = item(0x56, struct.pack(">H", len(CT)) + CT.encode() + bytes(6)) * 100
    more += item(0x58, b"\2\0" + struct.pack(">H", 30_000) + b"u" * 30_000 + struct.pack(">H", 4) + b"word")
    with Client(receiver.port) as client:
        assert client.associate((CT, EXPLICIT), user=more)[0] == ACCEPT
        uid, sent = instance(seed=7)
        assert client.store(CT, uid, sent) == 0


def test_the_same_instance_over_several_associations_at_once_is_stored_once(receiver):
    uid, sent = instance(seed=8, side=300)
    statuses = []
    together = threading.Barrier(4)

    def send():
        with Client(receiver.port) as client:
            client.associate((CT, EXPLICIT))
            together.wait()
            statuses.append(client.store(CT, uid, sent))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [0] * 4
    assert len([file for file in receiver.files if uid in file.name]) == 1


def test_a_data_set_of_a_million_elements_is_refused_before_they_are_all_in_memory(tmp_path):
    import tracemalloc

    uid, sent = instance(seed=9)
    at = sent.index(struct.pack("<HH", 0x0010, 0x0010))
    many = struct.pack("<HH2sH", 0x0009, 0x1000, b"LO", 0) * 200_000
    with receiving(tmp_path, Rules(reserve=0)) as receiver, Client(receiver.port) as client:
        client.associate((CT, EXPLICIT))
        tracemalloc.start()
        try:
            assert client.store(CT, uid, sent[:at] + many + sent[at:]) == 0xC000
            assert tracemalloc.get_traced_memory()[1] < 20 << 20
        finally:
            tracemalloc.stop()
        assert "more than" in receiver.outcomes[0].message
        assert client.store(CT, uid, sent) == 0


def test_who_does_not_read_our_answers_is_sent_away_and_holds_nothing_up(tmp_path):
    with receiving(tmp_path, limits=HASTY) as receiver, Client(receiver.port) as deaf:
        deaf.associate((VERIFICATION, EXPLICIT), most=8)
        echo = value(1, command_set(affected_class=VERIFICATION, field=0x30, id=7, data=0x0101), 3)
        asked = (struct.pack(">BxL", DATA, len(echo)) + echo) * 500
        with suppress(OSError):
            while True:
                deaf.socket.sendall(asked)
        assert takes_instances(receiver, 10)
        await_told(receiver, "what was sent was not taken")


def await_told(receiver, text):
    end = time.monotonic() + 30
    while not any(text in message for message in receiver.messages):
        assert time.monotonic() < end, receiver.messages
        time.sleep(0.02)
