"""The client of HTTP: what connections, bodies and servers may do to it."""

from __future__ import annotations

import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from cinemill.errors import Cancelled, NodeError, UsageError
from cinemill.network import web
from cinemill.network.arrivals import Arrivals
from cinemill.network.instances import read_instance
from cinemill.network.multipart import body_of, length_of
from cinemill.network.nodes import Node, Web
from cinemill.network.pace import Pace
from cinemill.network.web_client import Client
from tests.support.pacs import write_study

HEAD = b"HTTP/1.1 200 OK\r\n"
WHOLE = HEAD + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=1\r\nlo\r\n0\r\n\r\n"


@contextmanager
def server(*conducts, context=None, patience=60.0):
    """Yield the way to a server, and the heads of the requests that it got by connection; each connection gets the next conduct."""
    listening = socket.create_server(("127.0.0.1", 0))
    heads: list[list[bytes]] = []

    def serve():
        for conduct in conducts:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            heads.append([])
            with suppress(OSError), connection:
                connection.settimeout(60)
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                with connection:
                    conduct(connection, heads[-1])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        scheme = "http" if context is None else "https"
        yield Web(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}/dicom-web", timeout=patience), heads
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)


def answering(*answers):
    """Take a request without a body before each answer, then hang up."""

    def conduct(connection, heads):
        for answer in answers:
            heads.append(head_from(connection))
            connection.sendall(answer)

    return conduct


def head_from(connection):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return b""
        head += byte
    return head


def body_from(client, way, path="/studies"):
    with client.ask("GET", way.url + path, {"Accept": "x/y"}) as answer:
        return answer.whole(100)


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED, HEAD + b"Connection: close\r\n\r\nhello"])
def test_bodies_are_the_same_however_their_end_is_told(answer):
    with server(answering(answer)) as (way, _), Client(way) as client:
        assert body_from(client, way) == b"hello"


def test_a_connection_is_used_again_and_another_made_where_it_was_closed():
    with server(answering(WHOLE, CHUNKED), answering(WHOLE)) as (way, heads), Client(way) as client:
        assert body_from(client, way, "/a b?x=1%2C2") == b"hello"
        assert body_from(client, way) == b"hello"
        assert len(heads) == 1
        assert select.select([client._http.sock], [], [], 10)[0]  # the end of the connection has come
        assert body_from(client, way) == b"hello"
        assert [len(each) for each in heads] == [2, 1]
    line, *fields = heads[0][0].decode().split("\r\n")
    assert line == "GET /dicom-web/a%20b?x=1%2C2 HTTP/1.1"
    assert {"Accept: x/y", "Accept-Encoding: identity"} <= set(fields)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (WHOLE[:-1], "truncated"),
        (CHUNKED[:-10], "truncated"),
        (CHUNKED.replace(b"3\r\n", b"x\r\n"), "truncated"),
        (b"", "lost"),
        (b"SSH-2.0-OpenSSH\r\n", "nonsense"),
        (HEAD + b"A: b\r\n" * 200 + b"\r\n", "nonsense"),
        (HEAD + b"Content-Length: 200\r\n\r\n" + bytes(200), "nonsense"),
        (WHOLE.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"), "nonsense"),
    ],
)
def test_what_is_no_whole_answer_is_named(answer, outcome):
    with server(answering(answer)) as (way, _), Client(way) as client, pytest.raises(NodeError) as raised:
        body_from(client, way)
    assert raised.value.outcome == outcome


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", WHOLE[:-1], b"HTTP/1.1 500 No\r\n\r\n"])
def test_what_a_query_is_about_is_not_said(answer):
    with server(answering(answer), answering(answer)) as (way, _), pytest.raises(NodeError) as raised:
        list(web.studies(Node("peer", "web", None, way), {"PatientName": "DOE^JANE"}))
    assert way.url in raised.value.message
    assert "DOE" not in raised.value.message


def outcome_of_asking(begun, go_on):
    """Return how a question ends to a server that begins an answer, and goes on until the asker has given up."""
    ended = threading.Event()

    def conduct(connection, _):
        head_from(connection)
        connection.sendall(begun)
        go_on(connection, ended)

    with server(conduct, patience=1.0) as (way, _), Client(way) as client:
        with pytest.raises(NodeError) as raised:
            body_from(client, way)
        ended.set()
    return raised.value.outcome


@pytest.mark.parametrize("begun", [b"", HEAD, WHOLE[:-1]])
def test_a_server_that_says_no_more_is_not_waited_for_longer_than_is_allowed(begun):
    assert outcome_of_asking(begun, lambda _, ended: ended.wait(60)) == "stalled"


@pytest.mark.parametrize(
    ("begun", "again"),
    [(HEAD, b"X"), (HEAD + b"Content-Length: 100000\r\n\r\n", b"a"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n")],
)
def test_an_answer_that_comes_a_byte_at_a_time_is_not_awaited(begun, again):
    def drip(connection, ended):
        while not ended.wait(0.05):
            connection.sendall(again)

    assert outcome_of_asking(begun, drip) == "stalled"


@pytest.mark.parametrize(
    "begun", [b"", HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"], ids=["head", "trailer"]
)
def test_a_head_or_trailer_without_an_end_is_not_read_for_ever(begun):
    def conduct(connection, _):
        head_from(connection)
        connection.sendall(begun)
        while True:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 if not begun else b"A: b\r\n" * 1000)

    with server(conduct) as (way, _), Client(way) as client, pytest.raises(NodeError) as raised:
        body_from(client, way)
    assert raised.value.outcome == "nonsense"


def test_an_answer_that_pauses_and_goes_on_is_whole():
    def conduct(connection, heads):
        for _ in range(2):
            heads.append(head_from(connection))
            for piece in (HEAD, b"Content-Length: 60000\r\n\r\n", bytes(30000), bytes(30000)):
                connection.sendall(piece)
                time.sleep(0.3)

    with server(conduct) as (way, heads), Client(way) as client:
        for _ in range(2):
            with client.ask("GET", f"{way.url}/studies", {}) as answer:
                assert len(answer.whole(60000)) == 60000
    assert [len(each) for each in heads] == [2]


def test_an_answer_that_is_nothing_and_may_have_been_cut_is_not_taken_for_an_empty_list():
    cut = answering(HEAD + b"\r\n")
    with server(cut, cut) as (way, _), pytest.raises(NodeError) as raised:
        list(web.studies(Node("peer", "web", None, way), {}))
    assert raised.value.outcome == "truncated"
    with server(answering(HEAD + b"Content-Length: 0\r\n\r\n")) as (way, _):
        assert not list(web.studies(Node("peer", "web", None, way), {}))


def test_a_server_that_goes_away_in_the_handshake_of_tls_is_tried_again():
    def conduct(connection, _):
        connection.recv(1 << 16)

    with server(conduct) as (way, _):
        secure = Web(way.url.replace("http:", "https:"), timeout=1.0)
        with Client(secure) as client, pytest.raises(NodeError) as raised:
            body_from(client, secure)
    assert raised.value.outcome == "lost"


def test_a_server_that_takes_nothing_is_not_waited_for_longer_than_is_allowed():
    ended = threading.Event()
    with server(lambda *_: ended.wait(60), patience=1.0) as (way, _), Client(way) as client:
        endless = (bytes(1 << 18) for _ in range(1000))
        with (
            pytest.raises(NodeError) as raised,
            client.ask("POST", f"{way.url}/studies", {}, endless, 1000 << 18),
        ):
            pass
        ended.set()
    assert raised.value.outcome == "stalled"


def test_an_answer_that_comes_before_the_end_of_what_is_sent_is_heard():
    def conduct(connection, _):
        head_from(connection)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.shutdown(socket.SHUT_RDWR)

    with server(conduct) as (way, _), Client(way) as client:
        body = (bytes(1 << 18) for _ in range(100))
        with client.ask("POST", f"{way.url}/studies", {}, body, 100 << 18) as answer:
            assert (answer.code, answer.reason) == (413, "Too Large")


def test_no_proxy_is_asked(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    with server(answering(WHOLE)) as (way, heads), Client(way) as client:
        assert body_from(client, way) == b"hello"
    assert heads[0][0].startswith(b"GET /dicom-web/studies ")


def test_nobody_at_the_address_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        way = Web(f"http://127.0.0.1:{taken.getsockname()[1]}/x")
    with Client(way) as client, pytest.raises(NodeError, match="can't be reached") as raised:
        body_from(client, way)
    assert raised.value.outcome == "down"


@pytest.mark.parametrize("url", ["http://a..b/x", f"http://{'a' * 70}.example/x"])
def test_what_is_no_address_is_named(url):
    with Client(Web(url)) as client, pytest.raises(NodeError) as raised:
        body_from(client, Web(url))
    assert raised.value.outcome in {"nonsense", "down"}


@pytest.mark.parametrize(
    ("name", "authority", "well"),
    [("here", "authority", True), ("elsewhere", "authority", False), ("here", "stranger", False)],
)
def test_the_certificate_of_the_server_is_looked_at(certificates, name, authority, well):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    authorities = certificates / f"{authority}.pem"
    with (
        server(answering(WHOLE), context=context) as (way, _),
        Client(Web(way.url, authority=authorities)) as client,
    ):
        if well:
            assert body_from(client, way) == b"hello"
        else:
            with pytest.raises(NodeError, match="certificate verify failed") as raised:
                body_from(client, way)
            assert raised.value.outcome == "tls"


def test_an_authority_that_is_none_is_named(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(UsageError, match="no trusted certificates"):
        Client(Web("https://127.0.0.1/x", authority=tmp_path / "ca.pem"))


@pytest.mark.parametrize("secret", ["two\nlines", "\u017elu\u0165ou\u010dk\u00fd"])
def test_a_secret_that_no_field_can_hold_is_not_shown(monkeypatch, secret):
    monkeypatch.setenv("PACS_TOKEN", secret)
    with pytest.raises(UsageError, match="PACS_TOKEN") as raised:
        Client(Web("http://127.0.0.1/x", secret_variable="PACS_TOKEN"))
    assert secret not in str(raised.value)


def test_instances_come_chunk_by_chunk_and_connections_are_kept_between_them(tmp_path):
    files = write_study(tmp_path / "in", 9, 3, side=400)
    instances = [read_instance(file) for file in files]

    def chunked(instance):
        yield HEAD + b"Content-Type: multipart/related; boundary=xyz\r\nTransfer-Encoding: chunked\r\n\r\n"
        body = b"".join(map(bytes, body_of([instance], "xyz")))
        for start in range(0, len(body), 7000):
            piece = body[start : start + 7000]
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
        yield b"0\r\n\r\n"

    def at_once(instance):
        length = length_of([instance], "xyz")
        yield HEAD + b"Content-Type: multipart/related; boundary=xyz\r\nContent-Length: %d\r\n\r\n" % length
        yield from body_of([instance], "xyz")

    for form, connections in ((chunked, 3), (at_once, 1)):
        answers = [b"".join(map(bytes, form(each))) for each in instances]
        conducts = [answering(*answers)] if connections == 1 else [answering(each) for each in answers]
        arrivals = Arrivals(tmp_path / form.__name__, instances[0].study)
        with server(*conducts) as (way, heads), Client(way) as client:
            for each in instances:
                web._retrieve(client, f"{way.url}/{each.sop_instance}", arrivals, lambda _: None)
            assert len(heads) == connections
        for file, each in zip(files, instances, strict=True):
            assert arrivals.path_of(each.sop_instance).read_bytes() == file.read_bytes()


def test_nothing_is_loaded_that_takes_longer_than_the_first_answer():
    """The start of a command is a part of the time that one instance takes."""
    modules = ("web", "arrivals", "archive", "instances")
    told = "import sys; print({'numpy', 'pydicom'} & set(sys.modules))"
    script = "; ".join([*(f"import cinemill.network.{each}" for each in modules), told])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_server_that_takes_a_body_slowly_and_steadily_has_the_time_that_it_takes():
    body = bytes(1 << 20)

    def conduct(connection, _):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        head_from(connection)
        left = len(body)
        while left:
            time.sleep(0.02)
            left -= len(connection.recv(min(left, 1 << 13)))
        connection.sendall(WHOLE)

    began = time.monotonic()
    with server(conduct, patience=1.0) as (way, _), Client(way) as client:
        client._connect()
        client._http.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        with client.ask("POST", way.url, {}, [body], len(body)) as answer:
            assert answer.whole(100) == b"hello"
    assert time.monotonic() - began > 2


@pytest.mark.parametrize("length", [0, 1 << 24], ids=["its answer", "its taking"])
def test_a_run_that_is_stopped_waits_neither_for_an_answer_nor_for_a_body_to_be_taken(length):
    ended = threading.Event()

    def conduct(connection, _):
        head_from(connection)
        ended.wait(60)

    began = time.monotonic()
    pace = Pace(stopping=lambda: True)
    with server(conduct) as (way, _), Client(way, partial(pace.passed, 0)) as client:
        with pytest.raises(Cancelled), client.ask("POST", way.url, {}, [bytes(length)], length):
            pass
        ended.set()
    assert time.monotonic() - began < 30
