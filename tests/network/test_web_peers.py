"""Servers of DICOMweb on their bad days, and multipart bodies however they are cut into pieces."""

from __future__ import annotations

import json
import os
import socket
import struct
from email.message import Message
from email.parser import BytesParser
from io import BytesIO
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinemill.errors import NodeError
from cinemill.network import web
from cinemill.network.arrivals import Arrivals
from cinemill.network.instances import read_instance
from cinemill.network.multipart import Parts, body_of, boundary_of, length_of
from cinemill.network.pace import Pace
from cinemill.network.query import Study
from cinemill.network.web_answers import retry_after
from cinemill.network.web_client import Client
from cinemill.operations.exchange import pull as pulling
from cinemill.operations.exchange import push as pushing
from cinemill.operations.exchange.push import Sender
from tests.support.pacs import write_study
from tests.support.peers import web_peer

JSON = {"Content-Type": "application/dicom+json"}
PARTS = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=xyz'}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("files"), 5, 2)


def uid(text):
    return {"vr": "UI", "Value": [text]}


def stored_answer(sop_instance, **more):
    body = {
        "00081198": {"vr": "SQ"},
        "00081199": {"vr": "SQ", "Value": [{"00081155": uid(sop_instance)}]},
        **more,
    }
    return 200, JSON, json.dumps(body).encode()


def failed_answer(sop_instance, reason):
    failed = {"00081155": uid(sop_instance), "00081197": {"vr": "US", "Value": [reason]}}
    return 409, JSON, json.dumps({"00081198": {"vr": "SQ", "Value": [failed]}}).encode()


def outcome_of(answer, file):
    with web_peer(answer) as (node, _):
        (outcome,) = web.store(node, [read_instance(file)])
    return outcome


def test_an_empty_sequence_of_failures_is_success(files):
    assert outcome_of(stored_answer(read_instance(files[0]).sop_instance), files[0]).name == "stored"


def test_what_was_sent_is_the_file_as_any_parser_of_mime_reads_it(files):
    with web_peer(stored_answer(read_instance(files[0]).sop_instance)) as (node, told):
        list(web.store(node, [read_instance(files[0])]))
    (body,) = told.bodies
    boundary = body.split(b"\r\n", 1)[0][2:].decode()
    head = f"Content-Type: multipart/related; boundary={boundary}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + body)
    parts = message.get_payload()
    assert isinstance(parts, list)
    (part,) = parts
    assert isinstance(part, Message)
    assert part.get_content_type() == "application/dicom"
    assert body.count(files[0].read_bytes()) == 1


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        (0x0110, "failed"),
        (0x0111, "duplicate"),
        (0x0122, "class-refused"),
        (0xA700, "no-room"),
        (0xA900, "does-not-match"),
        (0xC000, "not-understood"),
    ],
)
def test_each_reason_of_a_failure_has_its_name(files, reason, name):
    outcome = outcome_of(failed_answer(read_instance(files[0]).sop_instance, reason), files[0])
    assert (outcome.name, outcome.detail) == (name, f"failure reason {reason:04X}")


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (301, "redirected"),
        (400, "not-understood"),
        (401, "not-authorized"),
        (403, "not-authorized"),
        (404, "no-such"),
        (409, "duplicate"),
        (413, "too-large"),
        (415, "syntax-refused"),
        (429, "busy"),
        (500, "server-error"),
        (503, "busy"),
        (507, "no-room"),
    ],
)
def test_each_status_has_its_name(files, status, name):
    outcome = outcome_of((status, {"Location": "http://elsewhere.example/"}, b""), files[0])
    assert outcome.name == name
    assert str(status) in outcome.detail
    assert ("elsewhere" in outcome.detail) == (status == 301)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ((200, {}, b""), "stored"),
        ((200, {"Content-Type": "application/dicom+xml"}, b"<NativeDicomModel/>"), "stored"),
        ((202, {}, b""), "failed"),
        ((200, {"Content-Type": "text/html"}, b"<html>Please log in</html>"), "nonsense"),
        ((200, JSON, b'{"00081199": {"vr": "SQ", '), "nonsense"),
    ],
)
def test_a_success_is_one_that_says_nothing_else(files, answer, name):
    assert outcome_of(answer, files[0]).name == name


def test_an_answer_of_another_instance_is_not_believed(files):
    assert outcome_of(stored_answer("1.2.3"), files[0]).name == "different"


def test_a_busy_server_is_asked_again_after_the_time_that_it_names(files, monkeypatch):
    monkeypatch.setattr(pushing, "_PATIENCE", 0.01)
    rested = []
    monkeypatch.setattr(Pace, "rest", lambda _, seconds: rested.append(seconds))
    good = stored_answer(read_instance(files[0]).sop_instance)
    with web_peer((503, {"Retry-After": "7"}, b""), good) as (node, told):
        (outcome,) = Sender(node, "web").send([files[0]])
    assert outcome.name == "stored"
    assert len(told.requests) == 2
    assert 7.0 in rested


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [("5", 5, 5), ("-3", 0, 0), ("99999", 3600, 3600), ("Wed, 21 Oct 2099 07:28:00 GMT", 3600, 3600)],
)
def test_how_long_to_wait_is_read_as_a_number_or_a_date(text, least, most):
    assert least <= (retry_after(text) or 0) <= most
    for none in ("soon", "nan", f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"):
        assert retry_after(none) is None


def multipart(*bodies, end=b"\r\n--xyz--\r\n"):
    parts = (b"--xyz\r\nContent-Type: application/dicom\r\n\r\n" + body for body in bodies)
    return b"\r\n".join(parts) + end


def retrieved(tmp_path, files, answer):
    instance = read_instance(files[0])
    arrivals = Arrivals(tmp_path / "out", instance.study)
    with web_peer(answer) as (node, _):
        web.retrieve(node, instance.study, arrivals)
    return arrivals


def test_instances_of_one_answer_are_written_as_they_came(tmp_path, files):
    body = b"preamble\r\n" + multipart(*(file.read_bytes() for file in files)) + b"epilogue"
    arrivals = retrieved(tmp_path, files, (200, PARTS, body))
    assert len(arrivals.fetched) == 2
    for file in files:
        assert arrivals.path_of(read_instance(file).sop_instance).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("cut", [40, 2000, -30])
def test_an_answer_that_is_cut_off_leaves_nothing_of_its_last_part(tmp_path, files, cut):
    body = multipart(*(file.read_bytes() for file in files))
    for length in ({}, {"Content-Length": str(len(body))}):
        with pytest.raises(NodeError) as raised:
            retrieved(tmp_path, files, (200, PARTS | length, body[:cut]))
        assert raised.value.outcome == "truncated"
    expected = 1 if cut == -30 else 0
    written = list((tmp_path / "out").iterdir()) if (tmp_path / "out").exists() else []
    assert len(written) == expected


@pytest.mark.parametrize("kind", ["text/html", "multipart/related", "application/dicom"])
def test_an_answer_that_is_no_multipart_is_named(tmp_path, files, kind):
    with pytest.raises(NodeError, match="expected multipart/related") as raised:
        retrieved(tmp_path, files, (200, {"Content-Type": kind}, b"<html>"))
    assert raised.value.outcome == "nonsense"


def test_a_part_that_is_cut_off_or_of_another_study_is_not_kept(tmp_path, files):
    (other,) = write_study(tmp_path / "other", 77, 1)
    body = multipart(files[0].read_bytes()[:-300], other.read_bytes(), files[1].read_bytes())
    arrivals = retrieved(tmp_path, files, (200, PARTS, body))
    assert arrivals.fetched == {read_instance(files[1]).sop_instance}
    assert [path.name for path in (tmp_path / "out").iterdir()] == [
        f"{read_instance(files[1]).sop_instance}.dcm"
    ]


@pytest.mark.parametrize("body", [b"{", b'{"a": 1}', b"[1]", b"<html>"])
def test_answers_to_queries_that_are_none_are_named(body):
    with web_peer((200, JSON, body)) as (node, _), pytest.raises(NodeError) as raised:
        list(web.studies(node, {}))
    assert raised.value.outcome == "nonsense"


def test_pages_are_asked_for_until_one_is_not_full(monkeypatch):
    monkeypatch.setattr(web, "_PAGE", 2)

    def page(request):
        offset = int(request.path.partition("offset=")[2].partition("&")[0] or 0)
        found = [{"0020000D": uid(f"1.2.{number}")} for number in range(offset, min(offset + 2, 5))]
        return 200, JSON, json.dumps(found).encode()

    with web_peer(page) as (node, told):
        assert [study.uid for study in web.studies(node, {})] == [f"1.2.{number}" for number in range(5)]
    assert len(told.requests) == 3


def test_a_server_that_heeds_no_offset_is_not_asked_for_ever(monkeypatch):
    monkeypatch.setattr(web, "_PAGE", 2)
    body = json.dumps([{"0020000D": uid("1.2.1")}, {"0020000D": uid("1.2.2")}]).encode()
    with web_peer((200, JSON, body)) as (node, told):
        assert list(web.studies(node, {})) == [Study("1.2.1"), Study("1.2.2")]
    assert len(told.requests) == 2


def hang_up(request):
    request.connection.shutdown(socket.SHUT_RDWR)
    return 200, {}, b""


def test_a_question_is_asked_once_more_where_the_node_hung_up_before_or_in_the_answer():
    body = json.dumps([{"0020000D": uid("1.2.1")}]).encode()
    for cut_off in (hang_up, (200, {**JSON, "Content-Length": "9999"}, body)):
        with web_peer(cut_off, (200, JSON, body)) as (node, told):
            assert list(web.studies(node, {})) == [Study("1.2.1")]
            assert len(told.requests) == 2
    with web_peer(hang_up) as (node, told), pytest.raises(NodeError) as caught:
        list(web.studies(node, {}))
    assert caught.value.outcome == "lost"
    assert len(told.requests) == 2


def reset(request):
    """Break off in the middle of an answer, by RST."""
    request.wfile.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=xyz\r\nContent-Length: 9999\r\n\r\n--xyz"
    )
    request.wfile.flush()
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(request.connection.detach())
    return 200, {}, b""


@pytest.mark.parametrize("conduct", [hang_up, reset])
def test_what_is_lost_on_the_way_is_tried_again_in_both_directions(files, tmp_path, monkeypatch, conduct):
    monkeypatch.setattr(pushing, "_PATIENCE", 0.01)
    monkeypatch.setattr(pulling, "_PATIENCE", 0.01)
    instance = read_instance(files[0])
    good = stored_answer(instance.sop_instance)
    with web_peer(conduct, conduct, good) as (node, told):
        (outcome,) = Sender(node, "web").send([files[0]])
        assert outcome.name == "stored"
        assert len(told.requests) == 3
    listed = {"00080018": uid(instance.sop_instance), "0020000E": uid(instance.series)}
    listing = 200, JSON, json.dumps([listed]).encode()
    body = 200, PARTS, multipart(files[0].read_bytes())
    with web_peer(listing, conduct, conduct, body) as (node, told):
        study = pulling.pull_study(node, Study(instance.study), tmp_path, Pace())
        assert (study.there, study.missing) == (1, ())
        assert len(told.requests) == 4


def test_a_secret_goes_into_the_header_and_nowhere_else(files, tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    seen = []

    def answer(request):
        seen.append(request.headers.get("Authorization"))
        return 401, {}, b""

    from dataclasses import replace

    with web_peer(answer) as (node, _):
        basic = replace(node, web=replace(node.by_web, user="me", secret_file=secret))
        (outcome,) = web.store(basic, [read_instance(files[0])])
        monkeypatch.setenv("PACS_TOKEN", "t0ken")
        list(
            web.store(
                replace(node, web=replace(node.by_web, secret_variable="PACS_TOKEN")),
                [read_instance(files[0])],
            )
        )
    assert seen == ["Basic bWU6czNjcmV0", "Bearer t0ken"]
    assert "s3cret" not in outcome.detail + repr(outcome)


@given(
    bodies=st.lists(st.binary(max_size=60).map(lambda data: data.replace(b"--xyz", b"--xy")), max_size=4),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    near=st.booleans(),
)
def test_parts_are_the_same_however_the_body_is_cut(bodies, sizes, near):
    if near:
        bodies = [body + b"\r\n--xy\r\n-" for body in bodies]
    whole = multipart(*bodies) if bodies else b"--xyz--\r\n"

    body, size_of_next = BytesIO(whole), cycle(sizes)

    def into(buffer):
        return body.readinto(buffer[: next(size_of_next)])

    found = [(fields, b"".join(map(bytes, part))) for fields, part in Parts(into, "xyz")]
    assert [body for _, body in found] == bodies
    assert all(fields == {"content-type": "application/dicom"} for fields, _ in found)


@pytest.mark.parametrize(
    "text", ['boundary="a b"', "boundary=a b", 'type="application/dicom"; boundary=a b; x=1']
)
def test_the_boundary_is_found(text):
    assert boundary_of(f"multipart/related; {text}") == "a b"


def test_the_length_of_a_body_is_known_before_it_is_sent(files):
    instances = [read_instance(file) for file in files]
    assert length_of(instances, "xyz") == sum(map(len, body_of(instances, "xyz")))


def study_server(instances, given):
    """Answer for a study: the list of its instances, and for all else what is given by the instance asked for, None for all."""
    listed = [
        {"00080018": uid(each.sop_instance), "0020000E": uid(each.series), "00080016": uid(each.sop_class)}
        for each in instances
    ]

    def answer(request):
        path = request.path.partition("?")[0]
        if path.endswith("/instances"):
            return 200, JSON, json.dumps(listed).encode()
        return given(next((each for each in instances if path.endswith(each.sop_instance)), None))

    return answer


CUT = 200, {**PARTS, "Content-Length": "99999"}, b"--xyz\r\n\r\n1234"


@pytest.mark.parametrize(
    ("bad", "name"), [((500, {}, b""), "server-error"), ((404, {}, b""), "no-such"), (CUT, "truncated")]
)
def test_an_instance_that_the_node_can_not_give_keeps_no_other_away(files, tmp_path, monkeypatch, bad, name):
    monkeypatch.setattr(pulling, "_PATIENCE", 0.0)
    instances = [read_instance(file) for file in files]

    def given(asked):
        if asked is None or asked is instances[0]:
            return bad
        return 200, PARTS, multipart(asked.path.read_bytes())

    with web_peer(study_server(instances, given)) as (node, told):
        study = pulling.pull_study(node, Study(instances[0].study), tmp_path, Pace())
    assert study.there == len(files) - 1
    ((lacking),) = study.missing
    assert (lacking.name, lacking.sop_instance) == (name, instances[0].sop_instance)
    assert sum(path.endswith(instances[1].sop_instance) for _, path in told.requests) == 1


def test_a_node_that_is_busy_is_not_asked_for_one_instance_after_the_other(files, tmp_path, monkeypatch):
    monkeypatch.setattr(pulling, "_PATIENCE", 0.0)
    instances = [read_instance(file) for file in files]
    with web_peer(study_server(instances, lambda _: (503, {}, b""))) as (node, told):
        study = pulling.pull_study(node, Study(instances[0].study), tmp_path, Pace())
    assert {each.name for each in study.missing} == {"busy"}
    assert len(told.requests) == 1 + pulling.ATTEMPTS


def test_a_server_that_is_busy_is_not_sent_one_instance_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(pushing, "_PATIENCE", 0.0)
    files = write_study(tmp_path / "in", 94, 6)
    with web_peer((503, {}, b"")) as (node, told):
        sent = list(Sender(node, "web").send(files))
    assert [each.name for each in sent] == ["busy"] * 6
    assert len(told.requests) == 3 * pushing.ATTEMPTS


@pytest.mark.parametrize(
    ("status", "name"), [(503, "busy"), (429, "busy"), (302, "redirected"), (403, "not-authorized")]
)
def test_a_status_that_tells_nothing_of_a_service_is_no_answer_about_it(status, name):
    with (
        web_peer((status, {}, b"")) as (node, _),
        Client(node.by_web) as http,
        pytest.raises(NodeError, match=str(status)) as raised,
    ):
        web.status_for(http, "GET", f"{node.by_web.url}/studies/1.2.3")
    assert raised.value.outcome == name
