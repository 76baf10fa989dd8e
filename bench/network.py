"""A 200 MB cine out to nodes and in from them, by DIMSE and by DICOMweb: MB/s, processor time and peak memory, beside DCMTK and curl.

    python bench/network.py [--megabytes 200] [--rounds 3] [--only TEXT]

The nodes are storescp, Orthanc and a plain HTTP server, as real processes on this machine, asked in turns. DCMTK's tools and
curl show what a node itself can do, and neither syncs what it writes. Each number is the best of the rounds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

sys.path.insert(0, str(Path(__file__).parents[1]))

from cinemill.network.nodes import Node, Web
from tests.support.files import bundled
from tests.support.pacs import Orthanc, dcmtk, orthanc, storescp

BOUNDARY = "0123456789abcdef" * 2

PYNETDICOM = """
import sys
from pynetdicom import AE, _config
_config.STORE_SEND_CHUNKED_DATASET = True
host, port, called, path = sys.argv[1:]
ae = AE(ae_title="CINEMILL")
ae.add_requested_context("1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.1.2.1")
association = ae.associate(host, int(port), ae_title=called)
assert association.send_c_store(path).Status == 0
association.release()
"""

MEASURE = """
import os, sys
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(pid, 0)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(bool(status))
"""
"""What is started from a process keeps that one's memory as its peak: this one has little."""

SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
path, boundary, study, series, instance, sop_class = sys.argv[1:]
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def answer(self, kind, length):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()
    def tell(self, told):
        body = json.dumps(told).encode()
        self.answer("application/dicom+json", len(body))
        self.wfile.write(body)
    def do_POST(self):
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        self.tell({"00081198": {"vr": "SQ"}, "00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [instance]}}]}})
    def do_GET(self):
        if "json" in self.headers["Accept"]:
            uids = {"0020000D": study, "0020000E": series, "00080018": instance, "00080016": sop_class}
            return self.tell([{tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()}])
        head, tail = f"--{boundary}\\r\\nContent-Type: application/dicom\\r\\n\\r\\n".encode(), f"\\r\\n--{boundary}--\\r\\n".encode()
        with open(path, "rb") as file:
            self.answer(f"multipart/related; boundary={boundary}", len(head) + file.seek(0, 2) + len(tail))
            file.seek(0)
            self.wfile.write(head)
            while piece := file.read(1 << 20):
                self.wfile.write(piece)
            self.wfile.write(tail)
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
"""A DICOMweb server that has one instance and forgets what it gets: not slower than the client."""


@contextmanager
def plain_server(cine: Path) -> Iterator[Node]:
    """Start the server."""
    header = pydicom.dcmread(cine, stop_before_pixels=True)
    uids = header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID, header.SOPClassUID
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(cine), BOUNDARY, *uids], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        yield Node("plain", "web", None, Web(f"http://127.0.0.1:{port}/dicom-web"))
    finally:
        process.terminate()
        process.wait()


def write_cine(path: Path, megabytes: int) -> int:
    """Write a cine of random colour, and return its bytes."""
    dataset = pydicom.dcmread(bundled("examples_ybr_color.dcm"))
    dataset.Rows, dataset.Columns, dataset.PhotometricInterpretation = 768, 1024, "RGB"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.SamplesPerPixel, dataset.PlanarConfiguration = 7, 3, 0
    frame = 768 * 1024 * 3
    dataset.NumberOfFrames = max(1, megabytes * 1_000_000 // frame)
    dataset.PixelData = np.random.default_rng(1).bytes(frame * int(dataset.NumberOfFrames))
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = False
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.StudyDate = "20200101"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path)
    return path.stat().st_size


class Used(NamedTuple):
    """Seconds on the clock and of the processor, and peak memory in MB."""

    seconds: float
    processor: float
    memory: float


def run(command: Sequence[str], folder: Path, **variables: str) -> Used:
    """Run a command in a folder, below a small process; return what it used."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-S", "-c", MEASURE, *command],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{command}: {done.stdout[-500:]}{done.stderr[-500:]}")
    processor, memory = done.stdout.splitlines()[-1].split()
    return Used(seconds, float(processor), int(memory) / 1000)


def entry(node: Node, pull: str = "get") -> str:
    """Return the node as the nodes file has it."""
    text = f'[node.{node.name}]\npull = "{pull}"\n'
    if node.dimse is not None:
        text += (
            f'[node.{node.name}.dimse]\nhost = "{node.dimse.host}"\nport = {node.dimse.port}\n'
            f'called-aet = "{node.dimse.called}"\ntimeout = 120\n'
        )
        if node.dimse.listen:
            text += f"listen = {node.dimse.listen}\n"
    if node.web is not None:
        text += f'[node.{node.name}.web]\nurl = "{node.web.url}"\ntimeout = 120\n'
    return text


def curl_out(body: Path, url: str) -> list[str]:
    """Return the command by which curl sends a body of STOW-RS that stands in a file."""
    kind = 'multipart/related; type="application/dicom"; boundary=' + BOUNDARY
    options = ["-X", "POST", "-H", "Expect:", "-H", f"Content-Type: {kind}", "-o", os.devnull]
    return ["curl", "-sf", *options, "-T", str(body), f"{url}/studies"]


def curl_in(folder: Path, url: str, study: str) -> list[str]:
    """Return the command by which curl fetches a study."""
    kind = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    return ["curl", "-sf", "-H", f"Accept: {kind}", "-o", f"{folder}/curl", f"{url}/studies/{study}"]


def write_body(cine: Path) -> None:
    """Write a body of STOW-RS beside a file."""
    with cine.with_suffix(".body").open("wb") as body, cine.open("rb") as file:
        body.write(f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode())
        shutil.copyfileobj(file, body, 1 << 20)
        body.write(f"\r\n--{BOUNDARY}--\r\n".encode())


def ours(*arguments: object) -> list[str]:
    """Return our command."""
    return [sys.executable, "-W", "ignore", "-m", "cinemill_workers.cli", *map(str, arguments)]


def rows(
    folder: Path, cine: Path, server: Orthanc, receiver: Node, plain: Node
) -> Iterator[tuple[str, str, list[str], str]]:
    """Yield direction, what, the command, and the nodes file."""
    out, node = receiver.by_dimse, server.node()
    peer = [out.host, str(out.port)]
    yield (
        "out to storescp",
        "storescu",
        [dcmtk("storescu"), "-aec", out.called, "--max-send-pdu", "131072", *peer, str(cine)],
        "",
    )
    yield "out to storescp", "cinemill", ours("push", cine, receiver.name, "-q"), entry(receiver)
    yield (
        "out to storescp",
        "pynetdicom, chunked",
        [sys.executable, "-c", PYNETDICOM, *peer, out.called, str(cine)],
        "",
    )
    archive = ["127.0.0.1", str(server.dicom)]
    yield "out to Orthanc", "storescu", [dcmtk("storescu"), "-aec", "ORTHANC", *archive, str(cine)], ""
    yield "out to Orthanc", "cinemill, DIMSE", ours("push", cine, node.name, "-q"), entry(node)
    body = cine.with_suffix(".body")
    assert node.web is not None
    yield "out to Orthanc", "curl, STOW-RS", curl_out(body, node.web.url), ""
    yield (
        "out to Orthanc",
        "cinemill, STOW-RS",
        ours("push", cine, node.name, "--via", "web", "-q"),
        entry(node),
    )
    study = str(pydicom.dcmread(cine, stop_before_pixels=True).StudyInstanceUID)
    keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
    taken = folder / "dcmtk"
    taken.mkdir(exist_ok=True)
    common = ["-aec", "ORTHANC", "-aet", "CINEMILL", *keys, "-od", str(taken)]
    yield "in from Orthanc", "getscu", [dcmtk("getscu"), "+B", *common, *archive], ""
    yield (
        "in from Orthanc",
        "movescu",
        [dcmtk("movescu"), "-aem", "CINEMILL", "--port", str(server.listen), "+B", "+xa", *common, *archive],
        "",
    )
    assert plain.web is not None
    yield "out to plain HTTP", "curl, STOW-RS", curl_out(body, plain.web.url), ""
    yield "out to plain HTTP", "cinemill, STOW-RS", ours("push", cine, plain.name, "-q"), entry(plain, "web")
    yield "in from plain HTTP", "curl", curl_in(folder, plain.web.url, study), ""
    destination = folder / f"in-plain-{time.monotonic_ns()}"
    command = ours("pull", plain.name, destination, "--study", study, "-q")
    yield "in from plain HTTP", "cinemill", command, entry(plain, "web")
    yield "in from Orthanc", "curl, WADO-RS", curl_in(folder, node.web.url, study), ""
    for way in ("get", "move", "web"):
        destination = folder / f"in-{way}-{time.monotonic_ns()}"
        command = ours("pull", node.name, destination, "--study", study, "-q")
        yield "in from Orthanc", f"cinemill, {way}", command, entry(node, way)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", default=[], help="rows that have one of these texts")
    asked = parser.parse_args()
    with TemporaryDirectory(prefix="cinemill-bench-") as name:
        folder = Path(name)
        size = write_cine(folder / "cine.dcm", asked.megabytes)
        write_body(folder / "cine.dcm")
        best: dict[tuple[str, str], Used] = {}
        start = min(run(ours("nodes", "--help"), folder) for _ in range(2))
        with (
            orthanc(folder / "orthanc") as server,
            storescp(folder / "storescp") as receiver,
            plain_server(folder / "cine.dcm") as plain,
        ):
            for _ in range(asked.rounds):
                for direction, what, command, nodes in rows(
                    folder, folder / "cine.dcm", server, receiver, plain
                ):
                    if not any(text in f"{direction} {what}" for text in asked.only or [""]):
                        continue
                    (folder / "nodes.toml").write_text(nodes)
                    used = run(command, folder, CINEMILL_NODES=str(folder / "nodes.toml"))
                    before = best.get((direction, what), used)
                    best[direction, what] = Used(
                        min(used.seconds, before.seconds),
                        min(used.processor, before.processor),
                        max(used.memory, before.memory),
                    )
                    for made in folder.glob("in-*"):
                        shutil.rmtree(made)
        told = f"{start.seconds:.2f} s, {start.processor:.2f} s of processor, {start.memory:.0f} MB"
        print(f"{size / 1e6:.0f} MB; start of the command alone {told}; load {os.getloadavg()[0]:.1f}")
        for (direction, what), used in best.items():
            rate = size / 1e6 / used.seconds
            print(f"{direction:19} {what:20} {rate:6.0f} MB/s {used.processor:6.2f} s {used.memory:5.0f} MB")


if __name__ == "__main__":
    main()
