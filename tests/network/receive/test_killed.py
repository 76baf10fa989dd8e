"""A receiver that is killed has lost nothing that it acknowledged, and one that is told to stop ends what is under way."""

import json
import random
import signal
import struct
import threading
import time

import pytest

from tests.support.harness import wait_until
from tests.support.senders import (
    ABORT,
    CT,
    EXPLICIT,
    Client,
    command,
    command_set,
    data_set,
    dcmtk,
    instance,
    receiving,
    value,
)


def send(port, instances, acknowledged):
    """Send until the receiver is gone; note what was acknowledged."""
    try:
        with Client(port) as client:
            client.associate((CT, EXPLICIT))
            for uid, sent in instances:
                if client.store(CT, uid, sent) == 0:
                    acknowledged.append(uid)
    except (OSError, AssertionError):
        pass


def test_what_was_acknowledged_before_a_kill_is_there_and_none_is_doubled(tmp_path):
    random.seed(11)
    folder = tmp_path / "in"
    instances = dict(instance(seed=seed, side=64) for seed in range(120))
    parts = [list(instances.items())[part::4] for part in range(4)]
    acknowledged: list[str] = []
    for _ in range(2):
        with command(folder, "--quiet") as (process, port):
            senders = [threading.Thread(target=send, args=(port, part, acknowledged)) for part in parts]
            for sender in senders:
                sender.start()
            time.sleep(random.uniform(0.01, 0.08))
            process.kill()
            for sender in senders:
                sender.join()
        there = {file.stem: data_set(file.read_bytes()) for file in folder.rglob("*.dcm")}
        assert set(acknowledged) <= there.keys()
        assert all(instances[uid] == found for uid, found in there.items())
    with command(folder, "--quiet") as (_, port):
        assert not list(folder.rglob("*.part"))
        for part in parts:
            send(port, part, acknowledged)
    files = list(folder.rglob("*.dcm"))
    assert {file.stem for file in files} == instances.keys()
    assert len(files) == len(instances)


@pytest.mark.tools
def test_nothing_is_lost_when_the_receiver_its_network_and_its_disk_fail(tmp_path):
    dcmtk("storescu")
    from receive_chaos import run

    told = run(tmp_path, seed=31, instances=24, kills=2)
    assert told.kills


def test_sigterm_ends_what_is_under_way_and_says_what_was_received(tmp_path):
    uid, sent = instance()
    report = tmp_path / "report.jsonl"
    with (
        command(tmp_path / "in", "--report", report) as (process, port),
        Client(port) as busy,
        Client(port) as idle,
    ):
        busy.associate((CT, EXPLICIT))
        idle.associate((CT, EXPLICIT))
        asked = command_set(affected_class=CT, field=1, id=1, priority=0, data=1, affected_instance=uid)
        busy.pdu(4, value(1, asked, 3))
        busy.pdu(4, value(1, sent[:500], 0))
        wait_until(lambda: any((tmp_path / "in").rglob("*.part")))
        process.send_signal(signal.SIGTERM)
        assert idle.read()[0] == ABORT
        busy.socket.sendall(struct.pack(">BxL", 4, len(sent) - 500 + 6) + value(1, sent[500:], 2))
        assert busy.status() == 0
        assert process.wait(60) == 0
        assert process.stderr is not None
        said = process.stderr.read()
    assert f"listens at port {port}" in said
    assert f"echoscu -aec CINEMILL localhost {port}" in said
    assert "1 stored" in said
    (row,) = [json.loads(line) for line in report.read_text().splitlines()]
    assert row["outcome"] == "stored"
    assert row["status"] == "0x0000"
    assert "CompressedSamples" not in report.read_text()
    assert len(list((tmp_path / "in").rglob("*.dcm"))) == 1


def test_who_comes_in_the_moment_in_which_a_receiver_stops_is_no_trouble(tmp_path, monkeypatch):
    begun = threading.Event()

    class Slow(threading.Thread):
        def start(self):
            begun.set()
            time.sleep(0.3)
            super().start()

    with receiving(tmp_path) as receiver:
        monkeypatch.setattr(threading, "Thread", Slow)
        with Client(receiver.port):
            assert begun.wait(60)
    assert not receiver.messages
