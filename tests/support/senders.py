"""Peers of a receiver: one that runs in this process, a client of single PDUs that keeps to nothing, and DCMTK's tools."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pydicom
import pytest
from pydicom.uid import generate_uid

from cinemill.network.incoming import Rules, Taken
from cinemill.network.receive.inbox import Inbox
from cinemill.network.receive.limits import Limits
from cinemill.network.receive.peers import Peer
from cinemill.network.receive.reports import Reports
from cinemill.network.receive.server import Server
from tests.support.files import bundled
from tests.support.ports import await_port, free_port

VERIFICATION, CT = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
ABORT, ACCEPT, REJECT, DATA, RELEASED = 7, 2, 3, 4, 6
RUN = "from cinemill_workers.cli.main import main; main()"


class Observed:
    """Remembers all that a receiver tells."""

    def __init__(self) -> None:
        self.outcomes: list[Taken] = []
        self.messages: list[str] = []

    def stored(self, peer: Peer, outcome: Taken, seconds: float) -> None:
        self.outcomes.append(outcome)

    def told(self, peer: Peer, message: str) -> None:
        self.messages.append(message)


class Receiver(Observed):
    """A receiver in this process."""

    port: int
    folder: Path

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.rglob("*.dcm"))

    @property
    def left(self) -> list[Path]:
        return list((self.folder / ".cinemill" / "receiving").glob("*.part"))


@contextmanager
def receiving(
    folder: Path, rules: Rules | None = None, limits: Limits | None = None, **more
) -> Iterator[Receiver]:
    """Receive into a directory."""
    here = Receiver()
    here.folder = folder
    tls = more.pop("tls", None)
    with Inbox(folder, rules or Rules(reserve=0), **more.pop("inbox", {})) as inbox:
        reports = Reports(inbox, "CINEMILL", more.pop("places", {}), here)
        with Server("localhost", 0, inbox, limits or Limits(), here, reports, tls) as listener:
            here.port = listener.port
            yield here
            listener.stop()
            assert listener.join(60)


class Client:
    """A client of single PDUs, which sends whatever a test wants."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(("localhost", port))
        self.socket.settimeout(50)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")

    def pdu(self, kind: int, body: bytes) -> None:
        self.socket.sendall(struct.pack(">BxL", kind, len(body)) + body)

    def read(self) -> tuple[int, bytes]:
        """Return the next PDU, type 0 where the connection is closed."""
        head = self._exact(6)
        if len(head) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxL", head)
        return kind, self._exact(length)

    def _exact(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            try:
                more = self.socket.recv(count - len(found))
            except (ConnectionError, ssl.SSLError):
                more = b""
            if not more:
                break
            found += more
        return found

    def associate(
        self, *contexts: tuple[str, ...], calling: str = "TEST", most: int = 1 << 15, user: bytes = b""
    ) -> tuple[int, bytes]:
        """Propose contexts, each a class and its transfer syntaxes; `user` is what else is said of oneself."""
        items = item(0x10, b"1.2.840.10008.3.1.1.1")
        for number, (abstract, *syntaxes) in enumerate(contexts):
            inner = b"".join(
                item(kind, each.encode("latin-1"))
                for kind, each in ((0x30, abstract), *((0x40, each) for each in syntaxes))
            )
            items += item(0x20, bytes((2 * number + 1, 0, 0, 0)) + inner)
        items += item(0x50, item(0x51, most.to_bytes(4)) + item(0x52, b"1.2.3") + user)
        titles = b"ANY".ljust(16) + calling.encode().ljust(16)
        with suppress(ConnectionError, ssl.SSLError):  # who is not wanted may be gone already
            self.pdu(1, b"\0\1\0\0" + titles + bytes(32) + items)
        return self.read()

    def command(self, context: int = 1, **values: int | str) -> None:
        self.pdu(4, value(context, command_set(**values), 3))

    def store(self, sop_class: str, sop_instance: str, data: bytes, *, context: int = 1) -> int:
        """Send a data set, and return the status that is answered."""
        self.command(
            context,
            affected_class=sop_class,
            field=1,
            id=1,
            priority=0,
            data=1,
            affected_instance=sop_instance,
        )
        pieces = [data[start : start + 16000] for start in range(0, len(data), 16000)] or [b""]
        for number, piece in enumerate(pieces):
            self.pdu(4, value(context, piece, 2 if number == len(pieces) - 1 else 0))
        return self.status()

    def status(self) -> int:
        kind, body = self.read()
        assert kind == DATA, f"a PDU of type {kind} was answered"
        return answered(body[6:])[0x0900]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


_ELEMENTS = {
    "affected_class": 0x0002,
    "requested_class": 0x0003,
    "field": 0x0100,
    "id": 0x0110,
    "priority": 0x0700,
    "data": 0x0800,
    "affected_instance": 0x1000,
    "requested_instance": 0x1001,
    "action": 0x1008,
}


def command_set(**values: int | str) -> bytes:
    """Encode a command set as PS3.7 wants it."""
    body = b""
    for number, each in sorted((_ELEMENTS[name], each) for name, each in values.items()):
        encoded = each.to_bytes(2, "little") if isinstance(each, int) else each.encode()
        encoded += b"\0" * (len(encoded) % 2)
        body += struct.pack("<HHL", 0, number, len(encoded)) + encoded
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def answered(encoded: bytes) -> dict[int, int]:
    """Return the numbers of a command set."""
    found, offset = {}, 0
    while offset < len(encoded):
        _, number, length = struct.unpack_from("<HHL", encoded, offset)
        found[number] = int.from_bytes(encoded[offset + 8 : offset + 8 + length][:2], "little")
        offset += 8 + length
    return found


def value(context: int, data: bytes, holds: int) -> bytes:
    """Return a presentation data value."""
    return struct.pack(">LBB", len(data) + 2, context, holds) + data


def item(kind: int, data: bytes) -> bytes:
    """Return an item of an association request."""
    return struct.pack(">BxH", kind, len(data)) + data


def instance(
    path: Path | None = None, *, seed: int = 0, side: int = 16, **elements: Any
) -> tuple[str, bytes]:
    """Make a small CT instance; return its UID and its encoded data set, and write it where a path is given."""
    from io import BytesIO

    data = pydicom.dcmread(bundled("CT_small.dcm"))
    data.Rows = data.Columns = side
    data.PixelData = bytes((seed + number) % 251 for number in range(side * side * 2))
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(seed)])
    data.SeriesInstanceUID = "1.2.3.4"
    for keyword, each in elements.items():
        setattr(data, keyword, each)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path)
    encoded = BytesIO()
    pydicom.dcmwrite(encoded, data)
    return str(data.SOPInstanceUID), data_set(encoded.getvalue())


def data_set(file: bytes) -> bytes:
    """Return what stands behind the File Meta Information of a Part 10 file, as its group length says."""
    assert file[128:132] == b"DICM"
    (length,) = struct.unpack_from("<L", file, 140)
    return file[144 + length :]


def instances_below(folder: Path) -> list[Path]:
    """Return the instances in a directory, from which some may be taken away meanwhile."""
    return [Path(root, name) for root, _, names in os.walk(folder) for name in names if name.endswith(".dcm")]


def dcmtk(tool: str) -> str:
    """Return a tool of DCMTK, and not the one of the same name that pynetdicom installs; skip where there is none."""
    for folder in os.environ["PATH"].split(os.pathsep):
        found = shutil.which(tool, path=folder)
        if found is not None and Path(found).read_bytes()[:2] != b"#!":
            return found
    return pytest.skip(f"not installed: DCMTK's {tool}")


@contextmanager
def command(
    folder: Path, *options: object, port: int | None = None
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run ``cinemill receive`` in a process of its own."""
    port = port or free_port()
    arguments = [sys.executable, "-c", RUN, "receive", str(folder), "--port", str(port), *map(str, options)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        try:
            await_port(port, process)
            yield process, port
        finally:
            if process.poll() is None:
                process.kill()
