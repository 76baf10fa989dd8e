"""`cinemill receive --forward`: what is acknowledged comes to another node too, whatever happens in between."""

import errno
import signal
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest

from cinemill.cli import forwarding, receiving
from cinemill.cli.receive import receive
from cinemill.errors import UsageError
from cinemill.network.nodes import Dimse, Node
from cinemill.network.outcomes import Outcome
from cinemill.network.receive.outbox import Outbox
from cinemill.operations.exchange.push import Sender
from tests.cli.test_receive_command import send
from tests.support.harness import wait_until, write_instance
from tests.support.pacs import storescp
from tests.support.ports import free_port
from tests.support.senders import command, data_set


@pytest.fixture
def node(tmp_path, monkeypatch):
    """An entry of the nodes file, whose port is returned."""
    port = free_port()
    (tmp_path / "nodes.toml").write_text(
        f'[node.pacs.dimse]\nhost = "127.0.0.1"\nport = {port}\ncalled-aet = "PACS"\n'
    )
    monkeypatch.setenv("CINEMILL_NODES", str(tmp_path / "nodes.toml"))
    return port


@contextmanager
def pacs(folder, port, syntaxes="+xa"):
    with storescp(folder, syntaxes, "+B", port=port):
        yield


@pytest.fixture
def sources(tmp_path):
    files = [tmp_path / f"{number}.dcm" for number in range(3)]
    for number, path in enumerate(files):
        write_instance(path, number, side=64)
    return files


def there(folder, count):
    """What another node has, once it is so much."""

    def found():
        return sorted(each for each in folder.iterdir() if each.stat().st_size) if folder.exists() else []

    wait_until(lambda: len(found()) >= count)
    return found()


def end(process):
    process.send_signal(signal.SIGTERM)
    code, said = process.wait(60), process.stderr.read()
    assert code == 0, said
    return said


def notes(folder):
    return list((folder / ".cinemill" / "forwarding").iterdir())


def await_nothing_noted(folder):
    wait_until(lambda: not notes(folder))


def test_what_could_not_be_forwarded_is_named_and_goes_at_the_next_start(tmp_path, node, sources):
    folder = tmp_path / "in"
    with command(folder, "--forward", "pacs", "--quiet") as (process, port):
        assert [send(port, path) for path in sources] == [0, 0, 0]
        process.kill()
    with command(folder, "--forward", "pacs", "--quiet") as (process, _):
        told = end(process)
    assert "3 instances were not forwarded to pacs" in told
    for path in sources:
        assert f"{pydicom.dcmread(path).SOPInstanceUID}.dcm" in told
    with (
        pacs(tmp_path / "out", node),
        command(folder, "--forward", "pacs", "--quiet") as (process, _),
    ):
        await_nothing_noted(folder)
        found = there(tmp_path / "out", 3)
        assert "not forwarded" not in end(process)
    assert sorted(data_set(path.read_bytes()) for path in found) == sorted(
        data_set(path.read_bytes()) for path in sources
    )


def assert_transcoded(found, sources, syntax):
    received = {pydicom.dcmread(path).SOPInstanceUID: pydicom.dcmread(path) for path in found}
    for path in sources:
        source = pydicom.dcmread(path)
        output = received[source.SOPInstanceUID]
        assert output.file_meta.TransferSyntaxUID == syntax
        assert (output.pixel_array == source.pixel_array).all()


def test_what_is_transcoded_is_forwarded_as_it_is_then(tmp_path, node, sources):
    folder = tmp_path / "in"
    options = ("--to", "jpeg-ls", "--if-larger", "write", "--forward", "pacs", "--quiet")
    with pacs(tmp_path / "out", node), command(folder, *options) as (process, port):
        assert [send(port, path) for path in sources] == [0, 0, 0]
        found = there(tmp_path / "out", 3)
        await_nothing_noted(folder)
        end(process)
    assert_transcoded(found, sources, "1.2.840.10008.1.2.4.80")


def test_what_the_node_refuses_is_transcoded_on_the_way_to_what_it_takes(tmp_path, node, sources):
    folder = tmp_path / "in"
    options = ("--to", "jpeg-ls", "--if-larger", "write", "--forward", "pacs")
    with pacs(tmp_path / "out", node, "+x="):
        with pytest.raises(UsageError, match="pacs does not take jpeg-ls, but .*explicit.*name a --fallback"):
            receive.main([str(folder), *options], standalone_mode=False)
        assert not folder.exists()
        with command(folder, *options, "--fallback", "jpeg-2000,explicit", "--quiet") as (process, port):
            assert [send(port, path) for path in sources] == [0, 0, 0]
            found = there(tmp_path / "out", 3)
            await_nothing_noted(folder)
            end(process)
    assert_transcoded(found, sources, "1.2.840.10008.1.2.1")
    syntaxes = {pydicom.dcmread(path).file_meta.TransferSyntaxUID for path in folder.rglob("*.dcm")}
    assert syntaxes == {"1.2.840.10008.1.2.4.80"}


def test_a_fallback_without_a_node_is_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match="--fallback goes with --forward"):
        receive.main([str(tmp_path / "in"), "--fallback", "explicit"], standalone_mode=False)


def test_a_node_that_is_not_in_the_nodes_file_is_said_before_anything_is_listened_for(tmp_path, node):
    with pytest.raises(UsageError, match="other"):
        receive.main([str(tmp_path / "in"), "--forward", "other"], standalone_mode=False)
    assert not (tmp_path / "in").exists()


def test_what_was_noted_and_never_acknowledged_is_forgotten_and_what_was_noted_anew_is_not(tmp_path):
    outbox = Outbox(tmp_path, tmp_path)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "2.dcm").touch()
    for name in ("2.dcm", "3.dcm"):
        outbox.note((tmp_path / "1" / name).relative_to(tmp_path))
    assert outbox.left() == [tmp_path / "1" / "2.dcm"]
    again = Outbox(tmp_path, tmp_path)
    assert len(notes(tmp_path)) == 1
    ((path, noted),) = again.ready()
    again.note(path.relative_to(tmp_path))
    again.cross_out(path, noted)
    ((path, noted),) = again.ready()
    again.cross_out(path, noted)
    assert not notes(tmp_path)


def test_what_waits_is_neither_listed_nor_looked_for_again_and_again(tmp_path, monkeypatch):
    """Of a hundred thousand, that took four seconds, twice a second."""
    outbox = Outbox(tmp_path, tmp_path)
    for name in ("2.dcm", "3.dcm"):
        (tmp_path / name).touch()
        outbox.note(Path(name))
    asked = []

    def exists(path):
        asked.append(path.name)
        return True

    monkeypatch.setattr(Path, "iterdir", lambda path: pytest.fail(f"{path} was listed"))
    monkeypatch.setattr(Path, "exists", exists)
    (found,) = outbox.ready(lambda path, _: path.name == "3.dcm")
    assert (found[0], asked) == (tmp_path / "3.dcm", ["3.dcm"])


class Faltering(Sender):
    """A sender that fails as a whole at first."""

    def __init__(self, error):
        super().__init__(Node("pacs", "get", Dimse("127.0.0.1", 104, "PACS")), "dimse")
        self.error = error
        self.sent = []

    def send(self, files):
        error, self.error = self.error, None
        if error is not None:
            raise error
        for file in files:
            self.sent.append(file)
            yield Outcome("stored", file)


@pytest.mark.parametrize(
    "error",
    [
        UsageError("no trusted certificates can be read from it", path="ca.pem"),
        OSError(errno.EIO, "I/O error"),
    ],
)
def test_forwarding_goes_on_after_a_file_that_it_needs_was_gone_for_a_moment(
    tmp_path, monkeypatch, capsys, error
):
    monkeypatch.setattr(forwarding, "_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(forwarding, "_TICK", 0.0)
    (tmp_path / "1.dcm").touch()
    outbox, sender = Outbox(tmp_path, tmp_path), Faltering(error)
    outbox.note((tmp_path / "1.dcm").relative_to(tmp_path))
    with receiving.Log(None, tmp_path / "in") as log, receiving.Board(log, hidden=True) as board:
        forwarding.forward_arrivals(sender, outbox, board, lambda: bool(sender.sent))
    assert not notes(tmp_path)
    assert sender.sent == [tmp_path / "1.dcm"]
    told = capsys.readouterr().err
    assert "forwarding is interrupted, and tried again: " in told
    assert ("ca.pem" in told) == isinstance(error, UsageError)


def test_what_was_forwarded_and_can_not_be_crossed_out_is_not_sent_again(tmp_path, monkeypatch):
    monkeypatch.setattr(forwarding, "_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(forwarding, "_TICK", 0.0)
    (tmp_path / "1.dcm").touch()
    outbox, sender, asked = Outbox(tmp_path, tmp_path), Faltering(None), []
    outbox.note((tmp_path / "1.dcm").relative_to(tmp_path))

    def refuse(*_):
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(outbox, "cross_out", refuse)

    def stopping():
        asked.append(1)
        return len(asked) > 9

    with receiving.Log(None, tmp_path / "in") as log, receiving.Board(log, hidden=True) as board:
        forwarding.forward_arrivals(sender, outbox, board, stopping)
    assert sender.sent == [tmp_path / "1.dcm"]
    assert outbox.left() == [tmp_path / "1.dcm"]
