"""Peers that keep to nothing: sent away in bounded memory, while the receiver goes on taking instances."""

import itertools
import random
import select
import socket
import struct
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from cinemill.network.receive.limits import Limits, networks
from tests.support.harness import wait_until
from tests.support.senders import (
    ABORT,
    ACCEPT,
    CT,
    EXPLICIT,
    IMPLICIT,
    REJECT,
    RELEASED,
    Client,
    command_set,
    instance,
    receiving,
    value,
)

ASKED_IN_TIME = Limits(request_seconds=0.3)
SENT_IN_TIME = Limits(network_seconds=0.3)
NEVER_IDLE = Limits(idle_seconds=0.3)
PATIENT = Limits()


def is_sent_away(client):
    """Whether the receiver aborts or closes, and does not answer."""
    return client.read()[0] in {ABORT, 0}


def takes_instances(receiver, seed=99):
    uid, sent = instance(seed=seed)
    with Client(receiver.port) as client:
        client.associate((CT, EXPLICIT))
        return client.store(CT, uid, sent) == 0


def memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


STORE = command_set(affected_class=CT, field=1, id=1, priority=0, data=1, affected_instance="1.2.3")
IN_ASSOCIATIONS = {
    "a PDU of 4 GB": struct.pack(">BxL", 4, 0xFFFFFFFF),
    "a PDU larger than was agreed": struct.pack(">BxL", 4, Limits().pdu + 1) + bytes(100),
    "a PDU of no known type": struct.pack(">BxL", 9, 4) + bytes(4),
    "a second request": struct.pack(">BxL", 1, 4) + bytes(4),
    "a value longer than its PDU": struct.pack(">BxLLBB", 4, 8, 0xFFFF, 1, 3) + bytes(2),
    "a value of 4 GB": struct.pack(">BxLLBB", 4, 8, 0xFFFFFFFF, 1, 3) + bytes(2),
    "a value shorter than its header": struct.pack(">BxLLBB", 4, 8, 1, 1, 3) + bytes(2),
    "half a header of a value": struct.pack(">BxL", 4, 3) + bytes(3),
    "a context that is none": struct.pack(">BxL", 4, 8) + value(77, b"xx", 3),
    "a data set without a command": struct.pack(">BxL", 4, 8) + value(1, b"xx", 2),
    "a command that is none": struct.pack(">BxL", 4, 30) + value(1, b"\xff" * 24, 3),
    "a command without a field": struct.pack(">BxL", 4, 6 + 12) + value(1, command_set()[:12], 3),
    "a command of another group": struct.pack(">BxL", 4, 6 + 8) + value(1, struct.pack("<HHL", 8, 0, 0), 3),
    "a command in a data set": struct.pack(">BxL", 4, 2 * (6 + len(STORE))) + 2 * value(1, STORE, 3),
    "a release of 4 GB": struct.pack(">BxL", 5, 0xFFFFFFFF),
}


@pytest.fixture(scope="module")
def receiver(tmp_path_factory):
    with receiving(tmp_path_factory.mktemp("in"), limits=PATIENT) as here:
        yield here


@pytest.mark.parametrize("sent", IN_ASSOCIATIONS.values(), ids=IN_ASSOCIATIONS)
def test_who_breaks_the_protocol_is_aborted(receiver, sent):
    with Client(receiver.port) as client:
        assert client.associate((CT, EXPLICIT))[0] == ACCEPT
        client.socket.sendall(sent)
        assert client.read()[0] == ABORT
    assert not receiver.left


REQUESTS = {
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "data before the request": struct.pack(">BxL", 4, 8) + bytes(8),
    "a request of 4 GB": struct.pack(">BxL", 1, 0xFFFFFFFF),
    "an empty request": struct.pack(">BxL", 1, 0),
    "a request of another version": struct.pack(">BxL", 1, 68) + bytes(68),
    "a request that ends inside an item": struct.pack(">BxL", 1, 71) + b"\0\1" + bytes(66) + b"\x20\0\0",
    "an item that is longer than its request": struct.pack(">BxL", 1, 72)
    + b"\0\1"
    + bytes(66)
    + b"\x20\0\xff\xff",
    "a context without a syntax": struct.pack(">BxL", 1, 76) + b"\0\1" + bytes(66) + b"\x20\0\0\4\1\0\0\0",
}


@pytest.mark.parametrize("sent", REQUESTS.values(), ids=REQUESTS)
def test_what_is_no_request_is_aborted(receiver, sent):
    with Client(receiver.port) as client:
        client.socket.sendall(sent)
        assert is_sent_away(client)


def test_fuzzed_pdus_do_no_harm(receiver):
    random.seed(7)
    _, sent = instance(seed=3)
    whole = b""
    for piece, holds in ((STORE, 3), (sent[:400], 0), (sent[400:], 2)):
        item = value(1, piece, holds)
        whole += struct.pack(">BxL", 4, len(item)) + item
    before = memory()
    for _ in range(150):
        bad = bytearray(whole)
        for _ in range(random.choice((1, 3, 30))):
            bad[random.choice((random.randrange(200), random.randrange(len(bad))))] = random.randrange(256)
        with Client(receiver.port) as client:
            client.associate((CT, EXPLICIT))
            with suppress(OSError):
                client.socket.sendall(bad[: random.randrange(1, len(bad))])
                client.socket.shutdown(socket.SHUT_WR)
                client.read()
    wait_until(lambda: not receiver.left)
    assert memory() - before < 20
    assert not any("unexpected" in message for message in receiver.messages)
    assert takes_instances(receiver, 4)


def test_an_association_that_is_cut_leaves_nothing(receiver):
    uid, sent = instance(seed=5)
    for farewell in (struct.pack(">BxL", 7, 4) + bytes(4), b""):
        with Client(receiver.port) as client:
            client.associate((CT, EXPLICIT))
            client.pdu(4, value(1, STORE, 3))
            client.pdu(4, value(1, sent[:1000], 0))
            wait_until(lambda: bool(receiver.left))
            client.socket.sendall(farewell)
        wait_until(lambda: not receiver.left)
    assert not any(uid in file.name for file in receiver.files)


def await_instance_taken(receiver):
    """Wait until the receiver takes an instance; who sends it is sent away as well where this test is too slow."""

    def taken():
        with suppress(OSError, AssertionError):
            return takes_instances(receiver)
        return False

    wait_until(taken)


@pytest.mark.parametrize(
    ("limits", "asks"), [(ASKED_IN_TIME, False), (NEVER_IDLE, True)], ids=["does not ask", "idles"]
)
def test_who_does_not_ask_in_time_or_idles_is_sent_away(tmp_path, limits, asks):
    with receiving(tmp_path, limits=limits) as receiver:
        with Client(receiver.port) as client:
            if asks:
                assert client.associate((CT, EXPLICIT))[0] == ACCEPT
            assert is_sent_away(client)
        await_instance_taken(receiver)


DRIPS = {
    "a request": (ASKED_IN_TIME, struct.pack(">BxL", 1, 60_000) + bytes(60_000), 1),
    "a PDU": (SENT_IN_TIME, struct.pack(">BxL", 4, 60_000) + bytes(60_000), 1),
    "a message": (SENT_IN_TIME, (struct.pack(">BxL", 4, 7) + value(1, b"x", 1)) * 10_000, 13),
}


@pytest.mark.parametrize(("limits", "drip", "step"), DRIPS.values(), ids=DRIPS)
def test_who_sends_a_byte_at_a_time_is_sent_away(tmp_path, limits, drip, step):
    offsets = itertools.count(0, step)
    with receiving(tmp_path, limits=limits) as receiver, Client(receiver.port) as client:
        if limits is not ASKED_IN_TIME:
            assert client.associate((CT, EXPLICIT))[0] == ACCEPT

        def is_answered():
            offset = next(offsets)
            with suppress(OSError):
                client.socket.sendall(drip[offset : offset + step])
            return bool(select.select([client.socket], [], [], 0)[0])

        wait_until(is_answered)
        assert is_sent_away(client)


def test_a_thousand_idle_connections_keep_nobody_out(tmp_path):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    before = memory()
    try:
        with receiving(tmp_path) as receiver, ExitStack() as open_:
            for _ in range(1000):
                connection = socket.create_connection(("localhost", receiver.port))
                open_.callback(connection.close)
            assert takes_instances(receiver)
            assert memory() - before < 40
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_associations_than_may_be_are_rejected_for_now(tmp_path):
    with receiving(tmp_path, limits=Limits(associations=3, per_address=2)) as receiver, ExitStack() as open_:
        idle = [open_.enter_context(Client(receiver.port)) for _ in range(50)]
        answers = [client.associate((CT, EXPLICIT)) for client in idle]
        assert [kind for kind, _ in answers] == [ACCEPT] * 2 + [REJECT] * 48
        assert {body for kind, body in answers if kind == REJECT} == {bytes((0, 2, 3, 2))}
        idle[0].pdu(5, bytes(4))
        assert idle[0].read()[0] == RELEASED
        idle[0].read()
        assert takes_instances(receiver)


def test_titles_and_addresses_that_are_not_allowed_stay_outside(tmp_path):
    limits = Limits(titles=frozenset({"FRIEND"}))
    with receiving(tmp_path / "a", limits=limits) as receiver:
        for title, kind in (("FRIEND", ACCEPT), ("STRANGER", REJECT), ("", REJECT)):
            with Client(receiver.port) as client:
                assert client.associate((CT, EXPLICIT), calling=title)[0] == kind
    for network, kind in (("127.0.0.0/8", ACCEPT), ("::1", 0), ("10.0.0.0/8", 0)):
        with receiving(tmp_path / "b", limits=Limits(networks=networks([network]))) as receiver:
            connection = Client(receiver.port)
            with connection as client:
                found = 0
                with suppress(OSError):
                    found = client.associate((CT, EXPLICIT))[0]
                assert found == kind


def test_syntaxes_are_chosen_in_the_order_of_who_proposes_them(receiver):
    proposals = [
        ((CT, "1.2.840.10008.1.2.4.201", EXPLICIT), 0, "1.2.840.10008.1.2.4.201"),
        ((CT, "1.2.3", IMPLICIT, EXPLICIT), 0, IMPLICIT),
        ((CT, "1.2.3"), 4, "1.2.3"),
        (("1.2.840.10008.5.1.4.1.2.2.1", IMPLICIT), 3, IMPLICIT),
    ]
    with Client(receiver.port) as client:
        kind, body = client.associate(*(proposal for proposal, _, _ in proposals))
    assert kind == ACCEPT
    offset, found = 68, []
    while offset < len(body):
        item, length = struct.unpack_from(">BxH", body, offset)
        if item == 0x21:
            found.append((body[offset + 6], body[offset + 12 : offset + 4 + length].decode()))
        offset += 4 + length
    assert found == [(result, syntax) for _, result, syntax in proposals]


def test_hundreds_that_are_turned_away_and_stay_are_not_all_waited_for(tmp_path):
    before = threading.active_count()
    with receiving(tmp_path, limits=Limits(associations=1)) as receiver, ExitStack() as open_:
        first = open_.enter_context(Client(receiver.port))
        assert first.associate((CT, EXPLICIT))[0] == ACCEPT
        most = 0
        for _ in range(300):
            client = open_.enter_context(Client(receiver.port))
            client.associate((CT, EXPLICIT))
            most = max(most, threading.active_count() - before)
        assert most < 150
        uid, sent = instance(seed=12)
        assert first.store(CT, uid, sent) == 0
