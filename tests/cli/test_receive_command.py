"""`cinemill receive` as a user types it: usage, and transcoding behind the acknowledgement."""

import errno
import io
import os
import re
import signal
import sys

import pydicom
import pytest

from cinemill.cli import receiving
from cinemill.cli.exchange import report_file
from cinemill.cli.receive import receive
from cinemill.errors import UsageError
from cinemill.network.incoming import Claim, Rules, Taken
from cinemill.network.receive.inbox import Inbox
from cinemill.network.receive.peers import Peer
from cinemill.operations.receipt import Receipt
from cinemill.operations.transcode.request import Transcode
from tests.cli.test_cli import cinemill
from tests.support.harness import wait_until, write_instance
from tests.support.senders import Client, command, data_set, instances_below


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--tls-ca", "x.pem"), "TLS needs --tls-cert and --tls-key"),
        (("--tls-cert", "x.pem", "--tls-key", "x.key"), "expected PEM files"),
        (("--allow-address", "nowhere"), "'nowhere' is no address"),
        (("--report-to", "PACS"), "expected AET=HOST:PORT"),
        (("--accept", "CTImage"), "is no UID"),
        (
            ("--aet", "A" * 17),
            f"expected an AE title: 1 to 16 characters of ASCII, no backslash, not spaces alone, found '{'A' * 17}'",
        ),
        (("--allow-aet", "A\\B"), "expected an AE title"),
        (("--aet", "  "), "not spaces alone, found '  '"),
        (("--verify", "sample"), "--verify goes with --to or --policy"),
        (("--report", "in/report.jsonl"), "would lie among the instances"),
    ],
)
def test_wrong_usage_is_said_before_anything_is_listened_for(tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=re.escape(said)):
        receive.main(["in", *options], standalone_mode=False)


def test_a_port_in_use_is_said(tmp_path):
    with command(tmp_path / "a", "--quiet") as (_, port):
        done = cinemill("receive", tmp_path / "b", "--port", port)
    assert done.returncode == 2
    assert done.stderr.startswith(f"cinemill: can't listen at port {port}")


def test_the_line_that_changes_is_never_wrapped(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(receiving, "_TICK", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with receiving.Log(None, tmp_path) as log:
        board = receiving.Board(log, hidden=False)
    for status in ("transcoded", "copied", "kept", "refused"):
        board.transcoded(Receipt("in", "out", status))
    board.wait(3)
    line = capsys.readouterr().err.removeprefix("\r\x1b[2K")
    assert len(line) == 39
    assert line.startswith("1 transcoded, 1 copied, 1 kept, 1 refus")


def await_files(folder, count):
    received = folder / ".cinemill" / "received"
    wait_until(lambda: len(instances_below(folder)) == count and not instances_below(received))


def send(port, path):
    told = pydicom.dcmread(path, stop_before_pixels=True)
    with Client(port) as client:
        client.associate((told.SOPClassUID, told.file_meta.TransferSyntaxUID))
        return client.store(told.SOPClassUID, told.SOPInstanceUID, data_set(path.read_bytes()))


def test_instances_are_transcoded_behind_the_acknowledgement(tmp_path):
    folder, sources = tmp_path / "in", [tmp_path / f"{number}.dcm" for number in range(3)]
    for number, path in enumerate(sources):
        write_instance(path, number, side=64)
    with command(folder, "--to", "jpeg-ls", "--if-larger", "write", "--quiet") as (process, port):
        assert [send(port, path) for path in sources] == [0, 0, 0]
        await_files(folder, 3)
        assert send(port, sources[0]) == 0
        write_instance(sources[0], 77, side=64)
        changed = pydicom.dcmread(sources[0])
        changed.SOPInstanceUID = pydicom.dcmread(sources[1]).SOPInstanceUID
        changed.file_meta.MediaStorageSOPInstanceUID = changed.SOPInstanceUID
        changed.save_as(sources[0])
        assert send(port, sources[0]) == 0x0111
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    write_instance(sources[0], 0, side=64)
    outputs = {file.stem: pydicom.dcmread(file) for file in folder.rglob("*.dcm")}
    for path in sources:
        source = pydicom.dcmread(path)
        output = outputs.pop(source.SOPInstanceUID)
        assert output.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.80"
        assert (output.pixel_array == source.pixel_array).all()
    assert not outputs


def test_a_line_of_the_report_that_a_kill_has_cut_spoils_no_other(tmp_path):
    report = tmp_path / "report.jsonl"
    for cut in (0, 9, 0):
        with receiving.Log(report, tmp_path / "in") as log:
            log.add(outcome="stored")
        with report_file(report) as file:
            assert file is not None
            file.write('{"outcome": "sent"}\n')
            assert report.read_text().endswith('"sent"}\n')
        report.write_bytes(report.read_bytes()[: report.stat().st_size - cut])
    lines = report.read_text().splitlines()
    assert len(lines) == 6
    assert [line.endswith("}") for line in lines] == [True, True, True, False, True, True]


class Full(io.StringIO):
    """A file on a disk that is full."""

    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_log_on_the_disk_that_is_full_does_not_end_the_receiver(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stderr", Full())
    with receiving.Log(None, tmp_path) as log, receiving.Board(log, hidden=False) as board:
        board.begin("CINEMILL", "", 11112, tmp_path, secure=False)
        refused = Taken("refused", 0xA700, Claim("1.2", "1.2.3", "1.2"), 0, message="no room on the disk")
        board.stored(Peer("127.0.0.1"), refused, 0.1)
        board.wait(1)


def test_transcoding_goes_on_after_the_file_system_failed_for_a_moment(tmp_path, monkeypatch, capsys):
    asked = []

    def waiting(*_):
        asked.append(1)
        if len(asked) == 1:
            raise OSError(errno.EIO, "Input/output error")
        return True

    monkeypatch.setattr(receiving, "_transcode_waiting", waiting)
    monkeypatch.setattr(receiving, "_ROOM_SECONDS", 0.0)
    monkeypatch.setattr(receiving, "_TICK", 0.01)
    with (
        receiving.Log(None, tmp_path) as log,
        receiving.Board(log, hidden=True) as board,
        Inbox(tmp_path / "in", Rules()) as inbox,
    ):
        receiving.transcode_arrivals(Transcode(to="jpeg-ls"), inbox, 1, board, lambda: len(asked) > 1)
    assert "tried again: Input/output error" in capsys.readouterr().err


def test_what_waits_from_before_is_transcoded_at_the_next_start(tmp_path):
    path = tmp_path / "in" / ".cinemill" / "received" / "1.2" / "1.3" / "left.dcm"
    write_instance(path, 5, side=64)
    before = pydicom.dcmread(path).pixel_array
    with command(tmp_path / "in", "--to", "jpeg-ls", "--if-larger", "write", "--quiet"):
        await_files(tmp_path / "in", 1)
    assert not path.parent.exists()
    assert (pydicom.dcmread(tmp_path / "in" / "1.2" / "1.3" / "left.dcm").pixel_array == before).all()
