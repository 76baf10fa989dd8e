"""A peer that is slow and steady is waited for; one that is next to still, or of a run that is stopped, is not."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing, contextmanager
from functools import partial

import pytest

from cinemill.errors import Cancelled
from cinemill.network.instances import read_instance
from cinemill.network.pace import Pace
from cinemill.network.store import store
from cinemill.network.stream import Late, Stream
from tests.support.pacs import write_study
from tests.support.peers import peer

SECONDS = 1.0
DATA = bytes(range(256)) * 2048


@contextmanager
def facing(conduct, seconds=SECONDS, **options):
    """A stream to a peer that conducts itself so on a thread of its own, over buffers that hold little."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    over = threading.Event()
    thread = threading.Thread(target=conduct, args=(theirs, over))
    thread.start()
    try:
        with closing(ours), closing(theirs):
            stream = Stream(ours, seconds, **options)
            stream.allow()
            yield stream
            over.set()
            thread.join()
    finally:
        over.set()


def taking(size, pause, connection, over):
    while not over.wait(pause) and connection.recv(size):
        pass


def giving(size, pause, connection, over):
    for start in range(0, len(DATA), size):
        if over.wait(pause):
            return
        connection.sendall(DATA[start : start + size])


def test_a_slow_and_steady_peer_has_the_time_that_it_takes():
    began = time.monotonic()
    with facing(partial(taking, 1 << 15, 0.1)) as stream:
        stream.send(DATA)
    with facing(partial(giving, 1 << 15, 0.1)) as stream:
        assert b"".join(map(bytes, stream.pieces(len(DATA)))) == DATA
    assert time.monotonic() - began > 2 * SECONDS


def test_a_peer_that_is_next_to_still_is_late():
    with facing(partial(taking, 4, 0.05)) as stream, pytest.raises(Late, match="was not taken in 1 s"):
        stream.send(DATA)
    with facing(partial(giving, 4, 0.05)) as stream, pytest.raises(Late, match="did not come in 1 s"):
        list(stream.pieces(len(DATA)))
    with facing(lambda _, over: over.wait(60)) as stream, pytest.raises(Late):
        stream.exact(1)


@pytest.mark.parametrize("wait", [lambda stream: stream.exact(1), lambda stream: stream.send(DATA)])
def test_a_run_that_is_stopped_does_not_wait_for_its_peer(wait):
    pace = Pace(stopping=lambda: True)
    began = time.monotonic()
    with facing(lambda _, over: over.wait(60), 60.0, meanwhile=partial(pace.passed, 0)) as stream:
        with pytest.raises(Cancelled):
            wait(stream)
        stream.part(b"farewell")
    assert time.monotonic() - began < 10


def test_a_run_that_is_stopped_keeps_what_was_done_though_its_peer_is_slow_to_part():
    pace = Pace(stopping=lambda: True)
    with facing(lambda _, over: over.wait(60), meanwhile=partial(pace.passed, 0)) as stream:
        stream.ask(b"release", 1, 60.0)
        assert stream._socket.fileno() == -1


def test_a_push_that_is_stopped_does_not_wait_for_the_answer(tmp_path):
    instances = [read_instance(file) for file in write_study(tmp_path, 1, 1)]
    asked, over = threading.Event(), threading.Event()

    def conduct(association):
        association.receive()
        association.skip_data()
        time.sleep(0.5)  # until all was sent, and the answer is awaited
        asked.set()
        over.wait(60)

    began = time.monotonic()
    with peer(conduct, timeout=60) as node, pytest.raises(Cancelled):
        list(store(node, instances, passed=Pace(stopping=asked.is_set).passed))
    over.set()
    assert asked.is_set()
    assert time.monotonic() - began < 30
