"""Nodes as real processes on this machine: Orthanc, and DCMTK's and pynetdicom's archives and receivers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from cinemill.network.nodes import Dimse, Limits, Node, Web
from tests.support.files import bundled
from tests.support.ports import await_port, free_port

PLUGINS = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
OURS = "CINEMILL"


def orthanc_binary() -> str | None:
    return shutil.which("Orthanc", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


def need_orthanc() -> None:
    """Skip a test where Orthanc is not installed; CI has it, so there the test fails instead."""
    if not (orthanc_binary() and PLUGINS.exists()) and not os.environ.get("CI"):
        pytest.skip("Orthanc is not installed (Debian: orthanc, orthanc-dicomweb)")


def dcmtk(name: str) -> str:
    """The tool of DCMTK, or skip the test but in CI; pynetdicom puts programs of the same names beside the interpreter."""
    elsewhere = [
        each for each in os.environ["PATH"].split(os.pathsep) if Path(each) != Path(sys.executable).parent
    ]
    found = shutil.which(name, path=os.pathsep.join(elsewhere))
    if found is None and not os.environ.get("CI"):
        pytest.skip(f"{name} is not installed (Debian: dcmtk)")
    assert found is not None
    return found


@dataclass
class Orthanc:
    """A running Orthanc."""

    process: subprocess.Popen[bytes]
    dicom: int
    http: int
    listen: int
    log: Path

    def restart(self) -> None:
        """Kill it, and start it with what is on its disk."""
        self.process.kill()
        self.process.wait(120)
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(self.process.args, stdout=file, stderr=file, cwd=self.log.parent)
        for port in (self.dicom, self.http):
            await_port(port, self.process)

    def node(self, pull: str = "get", **limits: Any) -> Node:
        return Node(
            "orthanc",
            pull,  # type: ignore[arg-type]
            Dimse("127.0.0.1", self.dicom, "ORTHANC", OURS, self.listen),
            Web(f"http://127.0.0.1:{self.http}/dicom-web"),
            Limits(**limits),
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def rest(self, path: str, method: str = "GET") -> bytes:
        """Answer of its own interface."""
        asked = urllib.request.Request(self.url + path, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=60) as answer:
            found: bytes = answer.read()
            return found

    def instances(self) -> dict[str, str]:
        """Orthanc's own names, by SOP Instance UIDs."""
        told = json.loads(self.rest("/instances?expand"))
        return {each["MainDicomTags"]["SOPInstanceUID"]: each["ID"] for each in told}

    def file(self, sop_instance: str) -> bytes:
        """What it has of an instance."""
        return self.rest(f"/instances/{self.instances()[sop_instance]}/file")


@contextmanager
def orthanc(folder: Path, **options: Any) -> Iterator[Orthanc]:
    """Start an Orthanc with an empty archive, or skip the test: see `need_orthanc`."""
    need_orthanc()
    binary = orthanc_binary()
    assert binary is not None
    dicom, http, listen = free_port(), free_port(), free_port()
    config = {
        "Name": "orthanc",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "Plugins": [str(PLUGINS)],
        "HttpPort": http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomPort": dicom,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomAlwaysAllowFind": True,
        "DicomModalities": {"us": [OURS, "127.0.0.1", listen]},
        "OverwriteInstances": True,
        "StorageCompression": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        **options,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orthanc.json").write_text(json.dumps(config))
    log = folder / "orthanc.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [binary, str(folder / "orthanc.json")], stdout=file, stderr=file, cwd=folder
        )
    running = Orthanc(process, dicom, http, listen, log)
    try:
        for port in (dicom, http):
            await_port(port, process)
        yield running
    finally:
        running.process.terminate()
        running.process.wait(120)


@contextmanager
def storescp(folder: Path, *options: str, port: int | None = None) -> Iterator[Node]:
    """Start DCMTK's receiver, which takes every transfer syntax that it knows."""
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    chosen = options or ("+xa", "+B", "-aet", "STORESCP")
    with _running([dcmtk("storescp"), *chosen, "-od", str(folder), str(port)], port):
        yield Node("storescp", "get", Dimse("127.0.0.1", port, "STORESCP", OURS))


@contextmanager
def dcmqrscp(folder: Path) -> Iterator[Node]:
    """Start DCMTK's archive."""
    port, listen = free_port(), free_port()
    area = folder / "area"
    area.mkdir(parents=True, exist_ok=True)
    config = folder / "dcmqrscp.cfg"
    config.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 131072\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nus = ({OURS}, 127.0.0.1, {listen})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nDCMQR {area} RW (200, 1024mb) ANY\nAETable END\n"
    )
    with _running([dcmtk("dcmqrscp"), "-c", str(config)], port):
        yield Node("dcmqrscp", "get", Dimse("127.0.0.1", port, "DCMQR", OURS, listen))


@contextmanager
def qrscp(folder: Path) -> Iterator[Node]:
    """Start pynetdicom's archive."""
    port, listen = free_port(), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "qrscp.ini"
    config.write_text(
        f"[DEFAULT]\nae_title: QRSCP\nport: {port}\nmax_pdu: 131072\nacse_timeout: 30\ndimse_timeout: 30\n"
        f"network_timeout: 30\nbind_address: 127.0.0.1\ninstance_location: {folder / 'instances'}\n"
        f"database_location: {folder / 'instances.sqlite'}\n[{OURS}]\naddress: 127.0.0.1\nport: {listen}\n"
    )
    command = [sys.executable, "-W", "ignore", "-m", "pynetdicom", "qrscp", "-c", str(config)]
    with _running(command, port, cwd=folder):
        yield Node("qrscp", "get", Dimse("127.0.0.1", port, "QRSCP", OURS, listen))


@contextmanager
def _running(command: Sequence[str], port: int, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **options
    )
    try:
        await_port(port, process)
        yield process
    finally:
        process.terminate()
        process.wait(120)


def write_study(
    folder: Path,
    seed: int,
    count: int = 3,
    *,
    frames: int = 1,
    side: int = 24,
    study_date: str = "20200102",
    most: int = 4000,
) -> list[Path]:
    """Write the instances of a study: grey, random below `most`, and in Explicit VR Little Endian."""
    study, series = (generate_uid(entropy_srcs=[f"{seed}{what}"]) for what in ("study", "series"))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        dataset = pydicom.dcmread(bundled("CT_small.dcm"))
        pixels = np.random.default_rng((seed, number)).integers(0, most, (frames, side, side), dtype="<i2")
        dataset.Rows = dataset.Columns = side
        if frames > 1:
            dataset.NumberOfFrames = frames
        dataset.PixelData = pixels.tobytes()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.StudyDate, dataset.PatientID = study_date, f"P{seed}"
        uid = generate_uid(entropy_srcs=[f"{seed}/{number}"])
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        paths.append(folder / f"{seed}-{number}.dcm")
        dataset.save_as(paths[-1])
    return paths


def data_set_of(file: Path | bytes) -> bytes:
    """The bytes of a file behind its File Meta Information, found by the group length alone."""
    data = file if isinstance(file, bytes) else file.read_bytes()
    assert data[128:132] == b"DICM"
    assert data[132:140] == b"\2\0\0\0UL\4\0"
    return data[144 + int.from_bytes(data[140:144], "little") :]
