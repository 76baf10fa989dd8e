"""`cinemill receive` beside DCMTK's storescp +B and pynetdicom, each sent the same by storescu: rates, and peaks of memory.

    python bench/receive.py [--megabytes 200] [--small 2000] [--associations 8] [--rounds 3]

sends a cine of so many MB over one association, and then small instances over several at once, and prints for each receiver MB/s
and instances/s by the clock, the best of so many rounds, the receiver's processor time and its peak memory; for small ones also
how much memory it took after a quarter of them and at the end. Last, a peer that claims a PDU of 4 GiB and sends a tenth of it,
and 300 connections that say nothing. The receivers differ in what they promise: ours, and pynetdicom as it is used here, have it on
the disk before it says so, storescp has not, so a second ratio counts the time that it takes to sync what storescp wrote.
Exit code 1: less than 60 % of storescp's MB/s as it is, 120 MB of memory or more, or growth.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

SENDER, PEER = "/usr/bin/storescu", "/usr/bin/storescp"
FLOOR = 0.6
MOST = 120.0
GROWTH = 4.0
"""MB that the receiver may grow by while most of the small instances come."""

RECEIVERS = "cinemill", "storescp", "pynetdicom"
CLAIMED, SENT, IDLE = (1 << 32) - 1, 400 << 20, 300

PYNETDICOM = """
import os, signal, sys, tempfile
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.sop_class import Verification
folder, port = sys.argv[1], int(sys.argv[2])
tempfile.tempdir = folder
_config.STORE_RECV_CHUNKED_DATASET = True
def store(event):
    path = event.dataset_path
    with open(path, "rb") as file:
        os.fsync(file.fileno())
    os.replace(path, os.path.join(folder, f"{event.request.AffectedSOPInstanceUID}.dcm"))
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
    return 0
ae = AE("BENCH")
ae.maximum_pdu_size = 1 << 17
ae.maximum_associations = 1000
for context in AllStoragePresentationContexts:
    ae.add_supported_context(context.abstract_syntax, context.transfer_syntax)
ae.add_supported_context(Verification)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
ae.start_server(("", port), evt_handlers=[(evt.EVT_C_STORE, store)])
"""


@dataclass
class Measured:
    """What one receiver did with one load."""

    seconds: float
    processor: float
    synced: float
    memory: list[float] = field(default_factory=list)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--megabytes", type=int, default=200)
    arguments.add_argument("--small", type=int, default=2000)
    arguments.add_argument("--associations", type=int, default=8)
    arguments.add_argument("--rounds", type=int, default=3)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="receive-", dir=os.environ.get("CINEMILL_BENCH")) as name:
        folder = Path(name)
        cine = [folder / "cine"]
        instance(cine[0] / "cine.dcm", asked.megabytes * 1_000_000 // (640 * 480), 640)
        parts = [folder / f"small{number}" for number in range(asked.associations)]
        for number in range(asked.small):
            instance(parts[number % len(parts)] / f"{number}.dcm", 1, 96)
        bad = compare("MB/s", asked.megabytes, cine, folder, asked.rounds)
        bad |= compare("instances/s", asked.small, parts, folder, 1)
        bad |= endure(folder)
    return int(bad)


def compare(unit: str, amount: int, sources: list[Path], folder: Path, rounds: int) -> bool:
    """Print what each receiver does with these directories, one association each."""
    best: dict[str, Measured] = {}
    for _ in range(rounds):
        for name in RECEIVERS:
            now = measure(name, sources, folder / "received", amount)
            if name not in best or now.seconds < best[name].seconds:
                best[name] = now
    for name, one in best.items():
        print(
            f"{name:10} {amount / one.seconds:8.1f} {unit:12} {one.processor:6.2f} s of processor time, "
            f"peak {max(one.memory):6.1f} MB, at a quarter {one.memory[0]:.1f}, at the end {one.memory[-1]:.1f}"
        )
    promised = best["storescp"].synced / best["cinemill"].seconds
    ratio = best["storescp"].seconds / best["cinemill"].seconds
    ours = best["cinemill"].memory
    print(f"ratio      {ratio:8.2f} of storescp's {unit}, {promised:.2f} of those once they are on the disk")
    grown = ours[-1] - ours[0] if unit == "instances/s" else 0.0
    return ratio < FLOOR or max(ours) >= MOST or grown > GROWTH


def measure(name: str, sources: list[Path], received: Path, amount: int) -> Measured:
    """Send to one receiver, and look at its memory meanwhile."""
    shutil.rmtree(received, ignore_errors=True)
    received.mkdir()
    with receiver(name, received) as (process, port):
        before = processor(process.pid)
        started = time.perf_counter()
        senders = [subprocess.Popen(send(port, source)) for source in sources]
        quarter = peak = 0.0
        while any(sender.poll() is None for sender in senders):
            time.sleep(0.02)
            peak = max(peak, memory(process.pid))
            if not quarter and sum(1 for _ in received.rglob("*")) > amount // 4:
                quarter = memory(process.pid)
        seconds = time.perf_counter() - started
        if any(sender.returncode for sender in senders):
            raise SystemExit(f"{name}: storescu failed")
        end = memory(process.pid)
        used = processor(process.pid) - before
        if name == "storescp":
            sync(received)
        synced = time.perf_counter() - started
        return Measured(seconds, used, synced, [quarter or end, max(peak, end), end])


def endure(folder: Path) -> bool:
    """Print what memory receivers take by peers that mean no good."""
    bad = False
    for name in RECEIVERS:
        taken = []
        for annoy in (claim_much, say_nothing):
            received = folder / "received"
            shutil.rmtree(received, ignore_errors=True)
            received.mkdir()
            with receiver(name, received) as (process, port), ExitStack() as stack:
                before = memory(process.pid)
                annoy(port, stack)
                taken.append(memory(process.pid) - before)
        print(
            f"{name:10} {taken[0]:8.1f} MB more by a PDU of 4 GiB, {taken[1]:.1f} MB more by {IDLE} connections"
        )
        bad |= name == "cinemill" and max(taken) >= MOST
    return bad


def claim_much(port: int, stack: ExitStack) -> None:
    """Claim a PDU of 4 GiB, and send the beginning of it."""
    peer = stack.enter_context(socket.create_connection(("localhost", port), timeout=5))
    with suppress(OSError):
        peer.sendall(b"\1\0" + CLAIMED.to_bytes(4, "big"))
        for _ in range(SENT >> 20):
            peer.sendall(bytes(1 << 20))
    time.sleep(1)


def say_nothing(port: int, stack: ExitStack) -> None:
    """Connect many times, and wait."""
    for _ in range(IDLE):
        stack.enter_context(socket.create_connection(("localhost", port), timeout=5))
    time.sleep(2)


def sync(folder: Path) -> None:
    """Have the disk hold the files of a directory."""
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def send(port: int, source: Path) -> list[str]:
    """Return the command that sends a directory over one association."""
    return [SENDER, "--max-pdu", "131072", "+sd", "localhost", str(port), str(source)]


@contextmanager
def receiver(name: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a receiver until it is not needed any more."""
    port = free_port()
    if name == "storescp":
        command = [PEER, "+B", "--fork", "--max-pdu", "131072", "-od", str(folder), str(port)]
    elif name == "pynetdicom":
        command = [sys.executable, "-c", PYNETDICOM, str(folder), str(port)]
    else:
        code = "from cinemill_workers.cli.main import main; main()"
        command = [sys.executable, "-c", code, "receive", str(folder), "--port", str(port), "--quiet"]
    process = subprocess.Popen(command)
    try:
        await_port(port)
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def free_port() -> int:
    with socket.create_server(("localhost", 0)) as probe:
        return int(probe.getsockname()[1])


def await_port(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("localhost", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the receiver did not start")


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in family(int(child)))]


def memory(pid: int) -> float:
    """Return the MB that a process and its children have in memory."""
    total = 0
    for each in family(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Rss:"))
    return total / 1000


def processor(pid: int) -> float:
    """Return the seconds of processor time that a process and the children it waited for have had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def instance(path: Path, frames: int, side: int) -> None:
    """Write a native ultrasound instance."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = UltrasoundMultiFrameImageStorage
    data.SOPInstanceUID = generate_uid()
    data.StudyInstanceUID = data.SeriesInstanceUID = "1.2.3"
    data.PatientName, data.PatientID, data.Modality = "bench", "bench", "US"
    data.Rows, data.Columns = side * 3 // 4, side
    data.NumberOfFrames, data.SamplesPerPixel = frames, 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = np.random.default_rng(1).bytes(data.Rows * side * frames)
    data["PixelData"].VR = "OB"
    path.parent.mkdir(exist_ok=True)
    data.save_as(path, enforce_file_format=True)


if __name__ == "__main__":
    sys.exit(main())
