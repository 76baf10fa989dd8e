"""Peers on their bad days: each becomes a named outcome, nothing is left half-written, and the others go on."""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import UID

from cinemill.errors import Cancelled, NodeError
from cinemill.network import archive, commands, pdu, retrieve
from cinemill.network.arrivals import Arrivals
from cinemill.network.commands import Field
from cinemill.network.instances import read_instance
from cinemill.network.nodes import Dimse, Node
from cinemill.network.pace import Pace
from cinemill.network.query import (
    STUDY_ROOT_FIND,
    Listed,
    Study,
    encoded_identifier,
    instances,
    studies,
)
from cinemill.network.store import store
from cinemill.operations.exchange import pull as pulling
from cinemill.operations.exchange import push as pushing
from cinemill.operations.exchange.pull import pull, pull_study
from cinemill.operations.exchange.push import Sender
from tests.support.pacs import data_set_of, write_study
from tests.support.peers import answering, dimse_node, keeping, peer, pynetdicom_peer
from tests.support.ports import free_port

CT = "1.2.840.10008.5.1.4.1.1.2"
NATIVE = "1.2.840.10008.1.2.1"


@pytest.fixture(autouse=True)
def in_haste(monkeypatch):
    for module in (archive, pulling, pushing):
        monkeypatch.setattr(module, "_PATIENCE", 0.01)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("files"), 1, 3)


def outcomes(node, files):
    return list(store(node, map(read_instance, files)))


def names(node, files):
    return [outcome.name for outcome in outcomes(node, files)]


def test_a_node_that_is_down_is_named_after_it_was_tried_again(files):
    node = dimse_node(free_port())
    (first, *others) = Sender(node, "dimse").send(files)
    assert (first.name, len(others)) == ("down", 2)
    assert str(node.by_dimse.port) in first.detail


def test_a_refused_association_says_which_title_is_wrong(files):
    with pynetdicom_peer([CT], title="OTHER") as node:
        (outcome,) = outcomes(node, files[:1])
    assert outcome.name == "refused"
    assert "'PEER'" in outcome.detail
    assert "called-aet" in outcome.detail


def test_a_refusal_for_a_moment_is_busy():
    body = bytes((0, 2, 3, 2))
    refusal = pdu.rejection(body, "PEER", "CINEMILL")
    assert refusal.outcome == "busy"
    assert "as many associations as it may" in refusal.message


def test_a_class_that_is_not_taken_is_named_and_the_others_go_on(tmp_path, files):
    other = pydicom.dcmread(files[0])
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.4")
    other.save_as(tmp_path / "mr.dcm")
    received: list[bytes] = []
    with pynetdicom_peer([CT], keeping(received)) as node:
        sent = Sender(node, "dimse").send([files[0], tmp_path / "mr.dcm", files[1]])
        found = [outcome.name for outcome in sent]
    assert sorted(found) == ["class-refused", "stored", "stored"]
    assert received == [data_set_of(file) for file in files[:2]]


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (0x0000, "stored"),
        (0xB000, "coerced"),
        (0xB007, "coerced"),
        (0xA700, "no-room"),
        (0xA900, "does-not-match"),
        (0xC123, "not-understood"),
        (0x0111, "duplicate"),
        (0x0124, "not-authorized"),
        (0x0122, "class-refused"),
        (0x0110, "failed"),
        (0x1234, "failed"),
    ],
)
def test_each_status_has_a_name(files, status, name):
    with peer(answering(status, ErrorComment="see the log")) as node:
        (outcome,) = outcomes(node, files[:1])
    assert outcome.name == name
    assert (f"{status:04X}, see the log" in outcome.detail) == bool(status)


def test_what_is_out_of_resources_is_tried_again(files):
    asked = []

    def conduct(association):
        while True:
            context, request = association.receive()
            association.skip_data()
            asked.append(request["AffectedSOPInstanceUID"])
            association.send(context, commands.response(request, 0xA700 if len(asked) == 1 else 0))

    with peer(conduct) as node:
        found = list(Sender(node, "dimse").send(files))
    assert sorted(outcome.name for outcome in found) == ["stored"] * 3
    assert len(asked) == 4
    assert asked[-1] == asked[0]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    (file,) = write_study(tmp_path_factory.mktemp("large"), 2, 1, frames=80, side=256)
    return file


def test_a_receiver_that_stalls_in_the_middle_costs_that_instance(large, files):
    stalled, over = [], threading.Event()

    def conduct(association):
        context, request = association.receive()
        if request["AffectedSOPInstanceUID"] == read_instance(large).sop_instance:
            stalled.append(request)
            next(association.data())
            over.wait(60)
            return
        association.skip_data()
        association.send(context, commands.response(request, 0))

    with peer(conduct, timeout=2.0) as node:
        assert names(node, [large, files[0]]) == ["stalled", "stored"]
    over.set()
    assert stalled


@pytest.mark.parametrize("how", ["lost", "aborted"])
def test_a_receiver_that_goes_away_costs_the_instance_under_way(large, files, how):
    def conduct(association):
        context, request = association.receive()
        if request["AffectedSOPInstanceUID"] == read_instance(large).sop_instance:
            next(association.data())
            if how == "aborted":
                association.skip_data()
                association.abort()
            return
        association.skip_data()
        association.send(context, commands.response(request, 0))
        association.receive()

    with peer(conduct) as node:
        assert names(node, [large, files[0]]) == [how, "stored"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "check that this port is one of DICOM"),
        (struct.pack(">BBL", 2, 0, 1 << 31), "at most"),
        (struct.pack(">BBL", 2, 0, 4) + bytes(4), "an association of 4 bytes"),
        (struct.pack(">BBL", 3, 0, 2) + bytes(2), "a rejection of 2 bytes"),
        (struct.pack(">BBL", 4, 0, 4) + bytes(4), "a PDU of type 4"),
    ],
)
def test_what_is_no_answer_to_an_association_is_named(files, answer, told):
    def conduct(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)

    with peer(bare=conduct) as node:
        (outcome,) = outcomes(node, files[:1])
    assert outcome.name == "nonsense"
    assert told in outcome.detail


def test_an_answer_of_another_kind_is_named(files):
    def conduct(association):
        context, request = association.receive()
        association.skip_data()
        association.send(context, {**commands.response(request, 0), "CommandField": Field.FIND_RSP})

    with peer(conduct) as node:
        assert names(node, files[:1]) == ["nonsense"]


def found(association, context, request, values, *, status=0xFF00):
    data = encoded_identifier(values, context.syntax)
    association.send(context, commands.response(request, status), data)


def test_answers_without_an_end_end_at_a_bound():
    sent = []

    def conduct(association):
        context, request = association.receive()
        association.skip_data()
        while True:
            sent.append(1)
            found(association, context, request, {"StudyInstanceUID": f"1.2.{len(sent)}"})

    with peer(conduct) as node, pytest.raises(NodeError, match="single day") as raised:
        list(studies(node, {"StudyDate": "20200101"}, most=300))
    assert raised.value.outcome == "truncated"
    assert len(sent) < 20_000


def test_attributes_that_a_node_leaves_out_are_done_without(tmp_path, files):
    first = read_instance(files[0])

    def conduct(association):
        while True:
            context, request = association.receive()
            level = data_level(association)
            if request["CommandField"] == Field.GET_RQ:
                send_instances(association, context, request, [files[0]])
                continue
            values = {
                "STUDY": {"StudyInstanceUID": first.study},
                "SERIES": {"SeriesInstanceUID": first.series},
                "IMAGE": {"SOPInstanceUID": first.sop_instance},
            }[level]
            found(association, context, request, values)
            association.send(context, commands.response(request, 0))

    def data_level(association):
        data = association.data_set()
        return next(word for word in ("STUDY", "SERIES", "IMAGE") if word.encode() in data)

    with peer(conduct) as node:
        assert list(studies(node, {"StudyDate": ""})) == [Study(first.study)]
        assert instances(node, first.study) == [Listed(first.sop_instance, "", first.series)]


def send_instances(association, context, request, files, *, data=data_set_of, uid=None):
    """Serve a C-GET: send files, whatever was asked for."""
    for file in files:
        instance = read_instance(file)
        under = association.context_for(instance.sop_class, instance.transfer_syntax)
        if under is None:
            continue
        store_request = {
            "AffectedSOPClassUID": instance.sop_class,
            "CommandField": Field.STORE_RQ,
            "MessageID": 7,
            "Priority": 0,
            "AffectedSOPInstanceUID": instance.sop_instance if uid is None else uid,
        }
        association.send(under, store_request, data(file))
        association.receive()
    association.send(context, commands.response(request, 0))


def getting(files, **how):
    def conduct(association):
        while True:
            context, request = association.receive()
            association.skip_data()
            if request["CommandField"] == Field.FIND_RQ:
                association.send(context, commands.response(request, 0xA900))
            else:
                send_instances(association, context, request, files, **how)

    return conduct


def pulled(node, tmp_path, files):
    wanted = [read_instance(file) for file in files]
    listed = [Listed(each.sop_instance, each.sop_class, each.series) for each in wanted]
    arrivals = Arrivals(tmp_path / "out", wanted[0].study, frozenset(each.sop_instance for each in listed))
    retrieve.get(node, wanted[0].study, arrivals, listed=listed)
    return arrivals


def test_an_instance_that_is_cut_off_is_not_kept(tmp_path, files):
    with peer(getting(files, data=lambda file: data_set_of(file)[:-200])) as node:
        arrivals = pulled(node, tmp_path, files)
    assert not arrivals.fetched
    assert {outcome.name for outcome in arrivals.wrong.values()} == {"damaged"}
    assert not list((tmp_path / "out").iterdir())


def test_an_instance_that_is_another_one_is_not_kept(tmp_path, files):
    announced = read_instance(files[0]).sop_instance
    with peer(getting([files[1]], uid=announced)) as node:
        arrivals = pulled(node, tmp_path, files[:1])
    assert arrivals.wrong[announced].name == "different"
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2.3/4", "", "1" * 65, "1..2", "a.b"])
def test_names_that_are_no_uids_are_never_written(tmp_path, files, uid):
    with peer(getting([files[0]], uid=uid)) as node:
        arrivals = Arrivals(tmp_path / "out", read_instance(files[0]).study)
        retrieve.get(node, arrivals.study, arrivals, listed=[Listed("1.2", CT)])
    assert not arrivals.fetched
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_study_of_another_patient_is_not_taken_for_the_one_that_was_asked_for(tmp_path, files):
    (other,) = write_study(tmp_path / "other", 99, 1)
    with peer(getting([other])) as node:
        study = pull_study(node, Study(read_instance(files[0]).study, instances=1), tmp_path / "out", Pace())
    assert study.there == 0
    assert {outcome.name for outcome in study.missing} == {"different"}


def test_a_sender_that_stalls_leaves_nothing_and_the_other_studies_go_on(tmp_path, files):
    instance = read_instance(files[0])
    (other,) = write_study(tmp_path / "other", 98, 1)

    def conduct(association):
        while True:
            context, request = association.receive()
            data = association.data_set()
            if request["CommandField"] == Field.FIND_RQ:
                association.send(context, commands.response(request, 0xA900))
            elif instance.study.encode() in data:
                under = association.context_for(CT, NATIVE)
                if under is None:
                    association.send(context, commands.response(request, 0))
                    continue
                announced = {**store_request, "AffectedSOPInstanceUID": instance.sop_instance}
                part = commands.encode({**announced, "CommandDataSetType": 1})
                association._stream.send(b"".join(pdu.data(under.number, pdu.COMMAND, part, 1000)))
                over.wait(60)
                return
            else:
                send_instances(association, context, request, [other])

    store_request = {"AffectedSOPClassUID": CT, "CommandField": Field.STORE_RQ, "MessageID": 7, "Priority": 0}
    over = threading.Event()
    with peer(conduct, timeout=2.0) as node:
        asked = [Study(instance.study, instances=1), Study(read_instance(other).study, instances=1)]
        first, second = pull(node, tmp_path / "out", asked)
    over.set()
    assert [outcome.name for outcome in first.missing] == ["stalled"]
    assert (second.there, second.missing) == (1, ())
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert written == [second.folder / f"{read_instance(other).sop_instance}.dcm"]


def test_a_node_that_says_nothing_before_it_has_sent_all_is_awaited_as_long_as_instances_come(tmp_path):
    files = write_study(tmp_path / "in", 97, 8)
    study, listen = read_instance(files[0]).study, free_port()
    us = Node("us", "get", Dimse("127.0.0.1", listen, "CINEMILL", "PEER"))

    def conduct(association):
        context, request = association.receive()
        association.skip_data()
        if request["CommandField"] == Field.FIND_RQ:
            association.send(context, commands.response(request, 0xA900))
            return
        for file in files:
            time.sleep(0.5)
            assert names(us, [file]) == ["stored"]
        association.send(context, commands.response(request, 0))

    with peer(conduct, timeout=2.0, listen=listen) as node:
        asked = [Study(study, instances=len(files))]
        (found,) = pull(replace(node, pull="move"), tmp_path / "out", asked)
    assert (found.there, found.missing) == (len(files), ())


def test_a_receiver_that_answers_to_none_is_not_awaited_for_each(tmp_path):
    files = write_study(tmp_path / "in", 96, 6)
    begun = []

    def conduct(association):
        association.receive()
        association.skip_data()
        begun.append(1)
        over.wait(60)

    over = threading.Event()
    with peer(conduct, timeout=0.5) as node:
        sent = list(Sender(node, "dimse").send(files))
        over.set()
    assert [each.name for each in sent] == ["stalled"] * 6
    assert {each.source for each in sent} == set(files)
    assert sum(each.detail.startswith("not sent, for 3 before it failed") for each in sent) == 3
    assert len(begun) == 3 * pushing.ATTEMPTS


def test_what_was_not_tried_comes_before_what_a_receiver_does_not_answer_to(tmp_path):
    files = write_study(tmp_path / "in", 95, 6)
    bad = {read_instance(file).sop_instance for file in files[:3]}

    def conduct(association):
        while True:
            context, request = association.receive()
            association.skip_data()
            if request["AffectedSOPInstanceUID"] in bad:
                over.wait(60)
                return
            association.send(context, commands.response(request, 0))

    over = threading.Event()
    with peer(conduct, timeout=1.0) as node:
        sent = {each.source: each.name for each in Sender(node, "dimse").send(files)}
        over.set()
    assert [sent[file] for file in files] == ["stalled"] * 3 + ["stored"] * 3


def test_files_that_are_none_or_no_instances_are_named(tmp_path, files):
    (tmp_path / "text.txt").write_text("nothing of DICOM")
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(files[0].read_bytes()[:400])
    with peer(answering(0)) as node:
        found_ = {
            Path(str(outcome.source)).name: outcome.name
            for outcome in Sender(node, "dimse").send([*tmp_path.iterdir(), files[0]])
        }
    assert found_ == {"text.txt": "not-dicom", "cut.dcm": "damaged", Path(files[0]).name: "stored"}


def test_a_bad_listed_instance_does_not_keep_the_others_away(tmp_path, files):
    """Some nodes stop a retrieval at the first instance that is refused."""
    bad, *good = (read_instance(file) for file in files)

    def conduct(association):
        while True:
            context, request = association.receive()
            data = association.data_set()
            if request["CommandField"] == Field.FIND_RQ:
                if b"SERIES" in data:
                    found(association, context, request, {"SeriesInstanceUID": bad.series})
                else:
                    for each in (bad, *good):
                        found(
                            association,
                            context,
                            request,
                            {"SOPInstanceUID": each.sop_instance, "SOPClassUID": CT},
                        )
                association.send(context, commands.response(request, 0))
            elif b"IMAGE" in data and bad.sop_instance.encode() not in data:
                send_instances(association, context, request, files[1:])
            else:
                send_instances(
                    association, context, request, files[:1], data=lambda file: data_set_of(file)[:-200]
                )

    with peer(conduct) as node:
        study = pull_study(node, Study(bad.study, instances=3), tmp_path / "out", Pace())
    assert (study.there, [outcome.name for outcome in study.missing]) == (2, ["damaged"])
    assert replace(study, missing=()).expected == 3


def test_the_class_of_queries_that_is_not_offered_is_named():
    with pynetdicom_peer([CT]) as node, pytest.raises(NodeError, match="does not offer C-FIND"):
        list(studies(node, {}))


@pytest.mark.parametrize("direction", ["out", "in"])
def test_a_run_that_is_stopped_ends_in_the_middle_of_an_instance_and_leaves_nothing(
    tmp_path, large, direction
):
    asked: list[int] = []
    pace = Pace(stopping=lambda: bool(asked))
    passed = pace.passed

    def counted(count):
        asked.append(count)
        passed(count)

    pace.passed = counted  # type: ignore[method-assign]
    conduct = answering(0) if direction == "out" else getting([large])
    with peer(conduct) as node, pytest.raises(Cancelled):
        if direction == "out":
            list(Sender(node, "dimse", pace=pace).send([large]))
        else:
            list(pull(node, tmp_path / "out", [Study(read_instance(large).study, instances=1)], pace=pace))
    assert asked[0] < large.stat().st_size // 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def listing(uids, lost=0):
    """Answer queries: `lost` of them by hanging up, the others by studies without instances."""
    left = [None] * lost

    def conduct(association):
        while True:
            context, request = association.receive()
            association.skip_data()
            if left:
                left.pop()
                association._stream.part()
                return
            if request["AffectedSOPClassUID"] == STUDY_ROOT_FIND:
                for uid in uids:
                    answer = encoded_identifier({"StudyInstanceUID": uid}, context.syntax)
                    pending = commands.response(request, 0xFF00)
                    association.send(context, pending, answer)
            association.send(context, commands.response(request, 0))

    return conduct


def test_a_node_that_hangs_up_on_a_question_is_asked_again(monkeypatch):
    monkeypatch.setattr(archive, "_PATIENCE", 0.0)
    with peer(listing(["1.2.1", "1.2.2"], lost=2)) as node:
        assert list(archive.studies(node, {})) == [Study("1.2.1"), Study("1.2.2")]
    with (
        peer(listing([], lost=9)) as node,
        pytest.raises(NodeError, match="^peer can't be asked for studies: ") as raised,
    ):
        list(archive.studies(node, {}))
    assert raised.value.outcome == "lost"


def test_studies_that_were_listed_are_fetched_before_a_node_fails_that_lists_no_more(tmp_path, files):
    study = read_instance(files[0]).study

    def listed():
        yield Study(study)
        raise NodeError("it is gone", outcome="down")

    found = []
    with peer(getting([files[0]])) as node, pytest.raises(NodeError, match="it is gone"):
        for each in pull(node, tmp_path / "out", listed()):
            found.append(each)  # noqa: PERF402  # what came before the error counts
    assert [each.there for each in found] == [1]


def test_a_question_that_would_be_asked_again_is_not_where_the_run_is_stopped(tmp_path):
    pace = Pace(stopping=lambda: True)
    with peer(listing([], lost=9)) as node, pytest.raises(Cancelled):
        list(archive.studies(node, {}, pace.rest))


@pytest.mark.parametrize(("status", "asked"), [(0xA700, 1), (0xA900, 1), (0x0124, 1), (None, 3)])
def test_studies_are_asked_for_again_where_that_helps(status, asked):
    """Who is out of resources is asked for fewer days, down to one, and then not for all of them again."""
    questions = []

    def conduct(association):
        while True:
            context, request = association.receive()
            association.skip_data()
            questions.append(request)
            if status is None:
                return association.abort()
            association.send(context, commands.response(request, status))

    with peer(conduct) as node, pytest.raises(NodeError, match="can't be asked for studies"):
        list(archive.studies(node, {"StudyDate": "20200101"}, rest=lambda _: None))
    assert len(questions) == asked
