"""Nodes that answer without an end, or to other questions than were asked: left in bounded time and memory, and named."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from cinemill.errors import NodeError
from cinemill.network import arrivals as arriving
from cinemill.network import commands, query, retrieve, web
from cinemill.network.abilities import services
from cinemill.network.arrivals import Arrivals
from cinemill.network.commands import Field
from cinemill.network.commitment import commit
from cinemill.network.instances import read_instance
from cinemill.network.listener import Listener
from cinemill.network.nodes import Node, Web
from cinemill.network.pace import Pace
from cinemill.network.query import Listed, Study, encoded_identifier, instances, studies
from cinemill.network.store import accepted, store
from cinemill.network.tls import Tls
from cinemill.operations.exchange import pull as pulling
from cinemill.operations.exchange.pull import pull_study
from tests.support.pacs import data_set_of, write_study
from tests.support.peers import dimse_node, peer
from tests.support.ports import free_port

CT, NATIVE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
MANY = 200


@pytest.fixture(autouse=True)
def soon_enough(monkeypatch):
    monkeypatch.setattr(query, "_ENDLESS", MANY)
    monkeypatch.setattr(query, "MOST_ANSWERS", MANY)
    monkeypatch.setattr(retrieve, "_FRUITLESS", MANY)
    monkeypatch.setattr(arriving, "_MOST_WRONG", MANY // 2)
    monkeypatch.setattr(arriving, "_MOST_IN_VAIN", MANY)
    monkeypatch.setattr(pulling, "_PATIENCE", 0.01)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    (written,) = write_study(tmp_path_factory.mktemp("files"), 1, 1)
    return written


def answering_for_ever(values, level=""):
    """Answer questions of a level with the same for ever, and those of others once."""

    def conduct(association):
        while True:
            context, request = association.receive()
            asked = association.data_set()
            endless = level.encode() in asked
            while True:
                answer = encoded_identifier(values, context.syntax)
                association.send(context, commands.response(request, 0xFF00), answer)
                if not endless:
                    break
            association.send(context, commands.response(request, 0))

    return conduct


def test_answers_that_name_no_study_end_at_a_bound_too():
    with (
        peer(answering_for_ever({"StudyDate": "20200101"})) as node,
        pytest.raises(NodeError, match="one question") as raised,
    ):
        list(studies(node, {}, most=50))
    assert raised.value.outcome == "nonsense"


@pytest.mark.parametrize(
    ("level", "values"), [("SERIES", {"SeriesInstanceUID": "1.2"}), ("IMAGE", {"SOPInstanceUID": "1.2.3"})]
)
def test_lists_of_series_and_instances_end_at_a_bound_too(level, values):
    with peer(answering_for_ever(values, level)) as node, pytest.raises(NodeError) as raised:
        instances(node, "1.2")
    assert raised.value.outcome == "nonsense"


def test_a_node_that_lists_studies_for_ever_is_tested_to_the_end():
    with peer(answering_for_ever({"StudyInstanceUID": "1.2"}, "STUDY")) as node:
        (found,) = [each for each in services(node) if each.what == "C-FIND"]
    assert not found.well


def test_a_study_whose_uid_is_none_is_named_and_stops_no_other(tmp_path):
    with peer(answering_for_ever({"StudyInstanceUID": "1.2"})) as node:
        first, second = pulling.pull(node, tmp_path / "out", [Study("../a7f", instances=2), Study("1.3")])
    assert [(each.name, each.study) for each in first.missing] == [("nonsense", "../a7f")] * 2
    assert "'../a7f' is no UID; have it corrected at the node" in first.missing[0].detail
    assert second.folder == tmp_path / "out" / "1.3"


def test_an_answer_larger_than_any_list_needs_is_not_taken():
    def conduct(association):
        context, request = association.receive()
        association.skip_data()
        association.send(context, commands.response(request, 0xFF00), bytes(3 << 20))

    with peer(conduct) as node, pytest.raises(NodeError, match="a data set of") as raised:
        list(studies(node, {}))
    assert raised.value.outcome == "nonsense"


def test_a_value_longer_than_any_is_cut():
    def conduct(association):
        context, request = association.receive()
        association.skip_data()
        answer = struct.pack("<HH2sH", 0x0020, 0x000D, b"UI", 60_000) + b"1." * 30_000
        association.send(context, commands.response(request, 0xFF00), answer)
        association.send(context, commands.response(request, 0))
        association.receive()

    with peer(conduct) as node:
        (study,) = studies(node, {})
    assert len(study.uid) < 2000


@pytest.mark.parametrize(
    ("text", "count"), [("7", 7), ("999999999999999999999", None), ("²", None), ("-1", None)]
)
def test_a_count_of_instances_is_one_or_nothing(text, count):
    assert query.count_of(text) == count


def test_a_study_that_is_said_to_have_billions_of_instances_is_no_list_of_billions(tmp_path):
    def conduct(association):
        while True:
            context, request = association.receive()
            association.skip_data()
            association.send(context, commands.response(request, 0))

    with peer(conduct) as node:
        study = pull_study(node, Study("1.2", instances=999_999_999_999), tmp_path, Pace())
    assert (study.expected, study.there) == (999_999_999_999, 0)
    assert 0 < len(study.missing) < 100_000


def about_another(association):
    """Answer each request as if it had been another one."""
    while True:
        context, request = association.receive()
        association.skip_data()
        response = commands.response(request, 0)
        association.send(context, {**response, "MessageIDBeingRespondedTo": request["MessageID"] + 1})


def test_an_answer_to_another_message_is_no_answer(tmp_path, file):
    instance = read_instance(file)
    with peer(about_another) as node:
        (outcome,) = store(node, [instance])
        assert (outcome.name, "expected one to message 1" in outcome.detail) == ("nonsense", True)
        asked = (
            lambda: list(studies(node, {})),
            lambda: retrieve.get(node, "1.2", Arrivals(tmp_path, "1.2"), listed=[Listed("1.2.3", CT)]),
            lambda: retrieve.move(node, "1.2", Arrivals(tmp_path, "1.2")),
        )
        for ask in asked:
            with pytest.raises(NodeError, match="an answer to message") as raised:
                ask()
            assert raised.value.outcome == "nonsense"
        (echo,) = [each for each in services(node) if each.what == "C-ECHO"]
        assert not echo.well


def pending_for_ever(association):
    context, request = association.receive()
    association.skip_data()
    while True:
        told = {"NumberOfRemainingSuboperations": 0xFFFF, **commands.response(request, 0xFF00)}
        association.send(context, told)


@pytest.mark.parametrize("way", ["get", "move"])
def test_a_retrieval_that_is_pending_for_ever_and_brings_nothing_is_left(tmp_path, way):
    arrivals = Arrivals(tmp_path, "1.2")
    with peer(pending_for_ever) as node, pytest.raises(NodeError, match="without another instance") as raised:
        if way == "get":
            retrieve.get(node, "1.2", arrivals, listed=[Listed("1.2.3", CT)])
        else:
            retrieve.move(node, "1.2", arrivals)
    assert raised.value.outcome == "nonsense"


def test_instances_that_nobody_asked_for_are_not_taken_for_ever_nor_all_remembered(tmp_path, file):
    came: list[int] = []

    def conduct(association):
        association.receive()
        association.skip_data()
        under = association.context_for(CT, NATIVE)
        while True:
            came.append(1)
            request = {
                "AffectedSOPClassUID": CT,
                "CommandField": Field.STORE_RQ,
                "MessageID": 7,
                "Priority": 0,
                "AffectedSOPInstanceUID": f"1.2.{len(came)}." + "1" * 30_000,
            }
            association.send(under, request, data_set_of(file))
            association.receive()

    arrivals = Arrivals(tmp_path / "out", read_instance(file).study, frozenset({"1.2.3"}))
    with peer(conduct) as node, pytest.raises(NodeError, match="one after the other"):
        retrieve.get(node, arrivals.study, arrivals, listed=[Listed("1.2.3", CT)])
    assert len(came) <= MANY + 2
    assert len(arrivals.wrong) == MANY // 2
    assert max(map(len, arrivals.wrong)) < 1000
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def reporting(told, times):
    """Answer a request for commitment by reports, so many times before the answer."""

    def conduct(association):
        context, request = association.receive()
        asked = query.decoded_identifier(association.data_set(), context.syntax)
        report = {
            "AffectedSOPClassUID": "1.2.840.10008.1.20.1",
            "CommandField": Field.EVENT_RQ,
            "MessageID": 1,
            "AffectedSOPInstanceUID": "1.2.840.10008.1.20.1.1",
            "EventTypeID": 1,
        }
        number = 0
        while number < times:
            number += 1
            association.send(context, report, told(asked, context.syntax))
            association.receive()
        association.send(context, commands.response(request, 0))
        association.receive()

    return conduct


def committed(told, file, times=1):
    way = dimse_node(1, listen=free_port()).by_dimse
    with Listener(way, host="127.0.0.1") as listener, peer(reporting(told, times)) as node:
        return commit(node, [read_instance(file)], listener, timeout=0.5)


def test_a_node_that_reports_other_commitments_for_ever_is_left(file):
    def told(asked, syntax):
        return encoded_identifier({"TransactionUID": "1.2.3"}, syntax)

    with pytest.raises(NodeError, match="does not answer") as raised:
        committed(told, file, times=10**9)
    assert raised.value.outcome == "nonsense"


def test_reports_that_are_none_are_no_promise(file):
    uid = read_instance(file).sop_instance

    def no_sequence(asked, syntax):
        transaction = asked.TransactionUID
        encoded = encoded_identifier({"TransactionUID": transaction}, syntax)
        return encoded + struct.pack("<HH2sH", 0x0008, 0x1199, b"LO", 4) + b"none"

    with pytest.raises(NodeError, match="ReferencedSOPSequence"):
        committed(no_sequence, file)

    def two_reasons(asked, syntax):
        item = Dataset()
        item.ReferencedSOPInstanceUID = uid
        item.add_new(0x00081197, "US", [0x0112, 0x0110])
        failed = {"TransactionUID": asked.TransactionUID, "FailedSOPSequence": Sequence([item])}
        return encoded_identifier(failed, syntax)

    assert committed(two_reasons, file) == {uid: "failed"}


def over_tls(node, authority, timeout):
    way = replace(node.by_dimse, tls=Tls(authority, check_host=False), timeout=timeout)
    return replace(node, dimse=way)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of this host that it signed itself, and its key, in one file."""
    import subprocess

    path = tmp_path_factory.mktemp("tls") / "here.pem"
    files = ("-keyout", path, "-out", path.with_suffix(".crt"))
    subject = ("-subj", "/CN=here")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *subject],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


@pytest.mark.parametrize(("how", "name"), [("silent", "stalled"), ("cut", "lost")])
def test_a_node_that_stalls_or_goes_away_in_the_handshake_of_tls_is_tried_again(certificate, how, name):
    def conduct(connection):
        connection.recv(100)
        while how == "silent" and connection.recv(1 << 10):
            pass

    with peer(bare=conduct) as node, pytest.raises(NodeError) as raised:
        accepted(over_tls(node, certificate, 0.5), [(CT, NATIVE)])
    assert raised.value.outcome == name


def test_a_node_that_takes_a_record_of_tls_now_and_then_is_not_waited_for(tmp_path, certificate):
    (large,) = write_study(tmp_path, 2, 1, frames=100, side=256)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    taken: list[int] = []

    def conduct(connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        with context.wrap_socket(connection, server_side=True) as secure:
            from tests.support.peers import accepted as accepting

            accepting(secure)
            while got := len(secure.recv(1 << 14)):
                taken.append(got)
                time.sleep(0.2)

    with peer(bare=conduct) as node:
        (outcome,) = store(over_tls(node, certificate, 1.0), [read_instance(large)])
    assert outcome.name == "stalled"
    assert sum(taken) < large.stat().st_size / 8


def test_an_answer_to_an_association_that_comes_a_byte_at_a_time_is_not_awaited():
    def conduct(connection):
        connection.recv(1 << 16)
        connection.sendall(struct.pack(">BxL", 2, 100_000))
        while True:
            connection.sendall(b"\0")
            time.sleep(0.05)

    with peer(bare=conduct, timeout=0.5) as node, pytest.raises(NodeError) as raised:
        accepted(node, [(CT, NATIVE)])
    assert raised.value.outcome == "stalled"


OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
PARTS = OK + b"Content-Type: multipart/related; boundary=xyz\r\n\r\n"
ENDLESS = {
    "parts that are no instances": (PARTS, b"\r\n--xyz\r\n\r\nx" * 500, "one after the other"),
    "a preamble": (PARTS, b"a" * 10_000, "before the first part"),
    "the head of a part": (PARTS + b"--xyz\r\nA: ", b"a" * 10_000, "head has more than"),
}


def speaking(answer, again=b""):
    """Answer one request of HTTP by these bytes, and go on with others without an end."""

    def conduct(connection):
        connection.recv(1 << 16)
        connection.sendall(answer)
        while again:
            connection.sendall(again)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)

    return conduct


@contextmanager
def web_node(answer, again=b""):
    with peer(bare=speaking(answer, again)) as node:
        url = f"http://127.0.0.1:{node.by_dimse.port}/dicom-web"
        yield Node("peer", "web", None, Web(url, timeout=2.0))


@pytest.mark.parametrize(("begin", "again", "told"), ENDLESS.values(), ids=ENDLESS)
def test_an_answer_of_dicomweb_without_an_end_is_left(tmp_path, begin, again, told):
    arrivals = Arrivals(tmp_path / "out", "1.2.3")
    with web_node(begin, again) as node, pytest.raises(NodeError, match=told) as raised:
        web.retrieve(node, "1.2.3", arrivals)
    assert raised.value.outcome == "nonsense"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_json_that_is_nested_without_an_end_is_named(file):
    answer = OK + b"Content-Type: application/dicom+json\r\n\r\n" + b"[" * 100_000
    with web_node(answer) as node, pytest.raises(NodeError, match="no JSON") as raised:
        list(web.studies(node, {}))
    assert raised.value.outcome == "nonsense"
    with web_node(answer) as node:
        list(web.store(node, [read_instance(file)]))


@pytest.mark.parametrize("count", ["Infinity", "1e400", "-1", "99999999999999999999", '"x"', "[]"])
def test_a_count_that_is_none_is_not_believed_by_dicomweb_either(count):
    told = f'[{{"0020000D": {{"Value": ["1.2"]}}, "00201208": {{"Value": [{count}]}}}}]'
    with web_node(OK + b"Content-Type: application/dicom+json\r\n\r\n" + told.encode()) as node:
        assert list(web.studies(node, {})) == [Study("1.2")]
