"""`cinemill receive` as a user types it: usage, and transcoding behind the acknowledgement."""

import re
import signal

import pydicom
import pytest

from cinemill.cli.receive import receive
from cinemill.errors import UsageError
from tests.cli.test_cli import cinemill
from tests.support.harness import wait_until, write_instance
from tests.support.senders import Client, command, data_set


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--tls-ca", "x.pem"), "TLS needs --tls-cert and --tls-key"),
        (("--tls-cert", "x.pem", "--tls-key", "x.key"), "expected PEM files"),
        (("--allow-address", "nowhere"), "'nowhere' is no address"),
        (("--report-to", "PACS"), "expected AET=HOST:PORT"),
        (("--accept", "CTImage"), "is no UID"),
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
    assert f"can't listen at port {port}" in done.stderr


def await_files(folder, count):
    received = folder / ".cinemill" / "received"
    wait_until(lambda: len(list(folder.rglob("*.dcm"))) == count and not any(received.rglob("*.dcm")))


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


def test_what_waits_from_before_is_transcoded_at_the_next_start(tmp_path):
    path = tmp_path / "in" / ".cinemill" / "received" / "1.2" / "1.3" / "left.dcm"
    write_instance(path, 5, side=64)
    before = pydicom.dcmread(path).pixel_array
    with command(tmp_path / "in", "--to", "jpeg-ls", "--if-larger", "write", "--quiet"):
        await_files(tmp_path / "in", 1)
    assert not path.parent.exists()
    assert (pydicom.dcmread(tmp_path / "in" / "1.2" / "1.3" / "left.dcm").pixel_array == before).all()
