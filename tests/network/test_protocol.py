"""What goes over the wire is what pynetdicom reads and writes; connections by TLS are as safe as they look."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, time
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.dimse_messages import C_FIND_RQ, C_STORE_RQ
from pynetdicom.dimse_primitives import C_FIND, C_STORE
from pynetdicom.dsutils import decode as decode_data_set
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ

from cinemill.errors import Cancelled, NodeError, UsageError
from cinemill.network import commands, pdu
from cinemill.network.commands import Field
from cinemill.network.instances import read_instance
from cinemill.network.listener import Listener
from cinemill.network.pace import Pace, Window
from cinemill.network.query import encoded_identifier
from cinemill.network.store import accepted, store
from cinemill.network.tls import Tls
from tests.support.pacs import data_set_of, write_study
from tests.support.peers import dimse_node, keeping, pynetdicom_peer

CT = "1.2.840.10008.5.1.4.1.1.2"
JLS = "1.2.840.10008.1.2.4.80"
NATIVE = "1.2.840.10008.1.2.1"


def test_a_request_is_the_one_that_pynetdicom_reads_and_writes():
    contexts = {1: pdu.Proposed(CT, (JLS, NATIVE)), 3: pdu.Proposed("1.2.840.10008.1.1", (NATIVE,))}
    request = pdu.Request("CALLED", "CALLING", contexts, 131072, frozenset((CT,)))
    theirs = A_ASSOCIATE_RQ()
    theirs.decode(request.encode())
    assert (theirs.called_ae_title.strip(), theirs.calling_ae_title.strip()) == ("CALLED", "CALLING")
    assert theirs.user_information is not None
    assert theirs.user_information.maximum_length == 131072
    read = {
        each.context_id: (each.abstract_syntax, tuple(each.transfer_syntax))
        for each in theirs.presentation_context
    }
    assert read == {1: (CT, (JLS, NATIVE)), 3: ("1.2.840.10008.1.1", (NATIVE,))}
    (role,) = theirs.user_information.role_selection.values()
    assert (role.uid, role.scu_role, role.scp_role) == (CT, 1, 1)
    assert pdu.Request.decode(theirs.encode()[6:]) == request


def test_an_acceptance_is_the_one_that_pynetdicom_reads_and_writes():
    answer = pdu.Acceptance("CALLED", "CALLING", {1: (0, JLS), 3: (3, NATIVE)}, 16384, frozenset((CT,)))
    theirs = A_ASSOCIATE_AC()
    theirs.decode(answer.encode())
    read = {each.context_id: (each.result, each.transfer_syntax) for each in theirs.presentation_context}
    assert read[1] == (0, JLS)
    assert read[3][0] == 3
    assert pdu.Acceptance.decode(theirs.encode()[6:]).results[1] == (0, JLS)


def test_commands_are_those_that_pynetdicom_makes():
    for primitive, message in ((C_STORE(), C_STORE_RQ()), (C_FIND(), C_FIND_RQ())):
        primitive.MessageID, primitive.Priority = 7, 0
        primitive.AffectedSOPClassUID = CT
        if isinstance(primitive, C_STORE):
            primitive.AffectedSOPInstanceUID = "1.2.3"
            primitive.DataSet = BytesIO(b"x")
        else:
            primitive.Identifier = BytesIO(b"x")
        message.primitive_to_message(primitive)
        ours = {
            "AffectedSOPClassUID": CT,
            "CommandField": Field.STORE_RQ if isinstance(primitive, C_STORE) else Field.FIND_RQ,
            "MessageID": 7,
            "Priority": 0,
            "CommandDataSetType": 1,
        } | ({"AffectedSOPInstanceUID": "1.2.3"} if isinstance(primitive, C_STORE) else {})
        decoded = decode_data_set(BytesIO(commands.encode(ours)), is_implicit_vr=True, is_little_endian=True)
        theirs = {each.tag: each.value for each in message.command_set if each.value not in (None, "")}
        read = {each.tag: each.value for each in decoded}
        assert {tag: value for tag, value in read.items() if tag not in {0x00000000, 0x00000800}} == {
            tag: value for tag, value in theirs.items() if tag not in {0x00000000, 0x00000800}
        }
        assert decoded[0x00000000].value == len(commands.encode(ours)) - 12
        assert commands.decode(commands.encode(ours)) == ours


@given(st.binary(max_size=40) | st.binary(max_size=24).map(lambda tail: bytes(68) + b"\x20\0\0\x02ab" + tail))
def test_what_is_no_command_and_no_association_is_named(data):
    for read in (commands.decode, pdu.Request.decode, pdu.Acceptance.decode):
        assert named(read, data) in {"", "nonsense"}


def named(read, data):
    """The name of the outcome that reading has, empty where it can be read."""
    try:
        read(data)
    except NodeError as error:
        return error.outcome
    return ""


@pytest.mark.parametrize("most", [16, 64, 1000, 16382, 16384, 131072, 0])
def test_a_data_set_arrives_whole_whatever_the_peer_takes_at_once(tmp_path, most):
    files = write_study(tmp_path, 1, 1, frames=7, side=100)
    received: list[bytes] = []
    with pynetdicom_peer([CT], keeping(received), most=most) as node:
        (outcome,) = store(node, [read_instance(files[0])])
    assert outcome.name == "stored"
    assert received == [data_set_of(files[0])]


def tls_of(folder, name=None, authority="authority", **more):
    own = {} if name is None else {"certificate": folder / f"{name}.pem", "key": folder / f"{name}.key"}
    return Tls(folder / f"{authority}.pem", **own, **more)


@pytest.fixture
def tls_server(certificates):
    """Start pynetdicom's server, which asks for certificates."""
    with ExitStack() as started:

        def start(name):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificates / "authority.pem")
            context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
            return started.enter_context(pynetdicom_peer([CT], keeping([]), ssl_context=context))

        yield start


def by_tls(node, tls):
    return replace(node, dimse=replace(node.by_dimse, tls=tls))


def test_instances_go_over_tls_to_who_has_a_trusted_certificate(tmp_path, certificates, tls_server):
    files = write_study(tmp_path, 2, 2, frames=40, side=64)
    node = by_tls(tls_server("here"), tls_of(certificates, "here"))
    assert [outcome.name for outcome in store(node, map(read_instance, files))] == ["stored", "stored"]


@pytest.mark.parametrize(
    ("server", "ours", "authority", "told"),
    [
        ("here", "here", "stranger", "is not trusted"),
        ("elsewhere", "here", "authority", "is not trusted"),
        ("stranger", "here", "authority", "is not trusted"),
        ("here", None, "authority", None),
        ("here", "stranger", "authority", None),
    ],
)
def test_certificates_that_are_not_trusted_end_it(certificates, tls_server, server, ours, authority, told):
    node = by_tls(tls_server(server), tls_of(certificates, ours, authority))
    with pytest.raises(NodeError, match=told) as raised:
        accepted(node, [(CT, NATIVE)])
    assert raised.value.outcome in {"tls", "lost"}
    if told:
        assert raised.value.outcome == "tls"


def test_the_host_may_be_left_unchecked_and_the_certificate_may_not(certificates, tls_server):
    node = by_tls(tls_server("elsewhere"), tls_of(certificates, "here", check_host=False))
    assert accepted(node, [(CT, NATIVE)]) == {(CT, NATIVE)}


def test_a_peer_that_speaks_no_tls_is_named(certificates):
    with pynetdicom_peer([CT], timeout=1) as peer, pytest.raises(NodeError) as raised:
        accepted(by_tls(peer, tls_of(certificates, "here")), [(CT, NATIVE)])
    assert raised.value.outcome in {"tls", "stalled", "lost"}


def test_files_of_tls_that_are_none_are_named(tmp_path):
    (tmp_path / "none.pem").write_text("nothing")
    node = by_tls(dimse_node(1), Tls(tmp_path / "none.pem"))
    with pytest.raises(UsageError, match="no trusted certificates") as raised:
        accepted(node, [(CT, NATIVE)])
    assert raised.value.path == tmp_path / "none.pem"


def test_the_listener_lets_in_who_has_a_trusted_certificate_only(certificates):
    way = replace(
        dimse_node(1).by_dimse, tls=tls_of(certificates, "here"), called="CINEMILL", calling="CINEMILL"
    )
    with Listener(way, host="127.0.0.1") as listener:
        target = replace(dimse_node(listener.port), dimse=replace(way, port=listener.port))
        assert accepted(target, [(CT, NATIVE)]) == {(CT, NATIVE)}
        for tls in (tls_of(certificates), tls_of(certificates, "stranger")):
            with pytest.raises(NodeError):
                accepted(by_tls(target, tls), [(CT, NATIVE)])
        with pytest.raises(NodeError):
            accepted(replace(target, dimse=replace(target.by_dimse, tls=None, timeout=1)), [(CT, NATIVE)])


def test_the_listener_is_there_for_its_own_title_only():
    way = dimse_node(1).by_dimse
    with Listener(way, host="127.0.0.1") as listener:
        ours = dimse_node(listener.port)
        with pytest.raises(NodeError, match="does not know the called AE title"):
            accepted(ours, [(CT, NATIVE)])
        called = replace(ours, dimse=replace(ours.by_dimse, called=way.calling))
        assert accepted(called, [(CT, NATIVE), ("1.2.840.10008.3.1.2.1.1", NATIVE)]) == {(CT, NATIVE)}


def test_a_window_is_kept_also_over_midnight():
    night, day = Window.parse("20:00-06:00"), Window.parse("08:00-17:00")
    assert [time(hour) in night for hour in (5, 6, 12, 20, 23)] == [True, False, False, True, True]
    assert [time(hour) in day for hour in (7, 8, 16, 17)] == [False, True, True, False]


def test_the_rate_holds_over_all_that_passes(monkeypatch):
    pace = Pace(rate=10)
    rested: list[float] = []
    monkeypatch.setattr(pace, "rest", rested.append)
    for _ in range(30):
        pace.passed(1_000_000)
    assert pace.bytes == 30_000_000
    assert 1.5 < rested[-1] < 3.1


def test_a_pace_says_what_is_waited_for_where_that_takes_long():
    said: list[str] = []

    def stopping():
        said.append(pace.waits)
        return True

    pace = Pace(stopping=stopping)
    for seconds in (2, 540):
        with pytest.raises(Cancelled):
            pace.rest(seconds)
    assert said == ["", "waiting 540 s before another attempt"]
    hour = datetime.now().astimezone().time()
    closed = Window(hour.replace(hour=(hour.hour + 2) % 24), hour.replace(hour=(hour.hour + 3) % 24))
    assert Pace(window=closed).waits == "waiting for its window"


def test_results_of_storage_commitment_are_kept_as_long_as_somebody_awaits_them():
    listener = Listener(dimse_node(1).by_dimse)
    with listener.awaiting("1.2.1"):
        for number in range(100):
            report = encoded_identifier({"TransactionUID": f"1.2.{number}"}, NATIVE)
            listener._report(report, NATIVE)
        found = listener.result("1.2.1", 0.0)
        assert found is not None
        assert found.TransactionUID == "1.2.1"
        assert len(listener._results) == 1
    assert not listener._results
