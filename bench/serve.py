"""A tree served to viewers: requests a second and MB/s, beside Orthanc with its DICOMweb plug-in, and the memory that both take.

    python bench/serve.py [--frames 240] [--instances 500] [--rounds 3]

Both serve the same files to the same clients, in turns; each number is the best of the rounds.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pydicom

sys.path.insert(0, str(Path(__file__).parents[1]))

from cines import Shape, write_cine
from instances import make_instances
from tests.support.pacs import orthanc
from tests.support.web_origin import url_of, web_origin

STORED = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
DECODED = 'multipart/related; type="application/octet-stream"'
FILE = 'multipart/related; type="application/dicom"; transfer-syntax=*'
JSON = "application/dicom+json"
CLIENTS = 4


class Question(NamedTuple):
    """What is asked, of which there may be several."""

    name: str
    paths: Sequence[str]
    accept: str
    clients: int = 1


def ask(service: str, question: Question) -> tuple[float, int]:
    """Ask all of it over connections that are kept open; return seconds and bytes."""

    def some(paths: Sequence[str]) -> int:
        address, got = urlsplit(service), 0
        connection = http.client.HTTPConnection(address.hostname or "", address.port)
        for path in paths:
            connection.request("GET", address.path + path, headers={"Accept": question.accept})
            answer = connection.getresponse()
            while piece := answer.read(1 << 18):
                got += len(piece)
            if answer.status != 200:
                raise RuntimeError(f"{service}{path} answers {answer.status}")
        connection.close()
        return got

    shares = [question.paths[first :: question.clients] for first in range(question.clients)]
    begun = time.perf_counter()
    with ThreadPoolExecutor(question.clients) as clients:
        got = sum(clients.map(some, shares))
    return time.perf_counter() - begun, got


def memory(process: int) -> float:
    """Return MB that a process and those below it take, what they share divided among them."""
    rows = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    own = next(int(row.split()[1]) for row in rows if row.startswith("Pss:")) / 1000
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return own + sum(memory(int(each)) for each in children)


@contextmanager
def ours(tree: Path, _: Path) -> Iterator[tuple[str, int]]:
    """Serve a tree."""
    with web_origin(tree) as origin:
        yield origin.service, origin.process.pid


@contextmanager
def theirs(tree: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """Start Orthanc, and have it take in a tree."""
    with orthanc(folder) as node:
        for path in sorted(tree.rglob("*.dcm")):
            asked = urllib.request.Request(node.url + "/instances", path.read_bytes(), method="POST")
            urllib.request.urlopen(asked).read()
        yield f"{node.url}/dicom-web", node.process.pid


SERVERS: dict[str, Callable[[Path, Path], Any]] = {"cinemill": ours, "Orthanc": theirs}


def questions(cine: str, frames: int, instances: int) -> list[Question]:
    """Return what is asked."""
    numbers = range(1, frames + 1)
    return [
        Question("studies searched", ["/studies?limit=100&includefield=00081030"] * 20, JSON),
        Question(
            "instances searched", [f"/instances?limit=50&offset={at}" for at in range(0, instances, 50)], JSON
        ),
        Question("metadata of the cine", [f"{cine}/metadata"] * 50, JSON),
        Question("frames as coded, one client", [f"{cine}/frames/{each}" for each in numbers], STORED),
        Question(
            f"frames as coded, {CLIENTS} clients",
            [f"{cine}/frames/{each}" for each in numbers],
            STORED,
            CLIENTS,
        ),
        Question("frames decoded, one client", [f"{cine}/frames/{each}" for each in numbers], DECODED),
        Question(
            "pictures (JPEG), one client",
            [f"{cine}/frames/{each}/rendered" for each in numbers],
            "image/jpeg",
        ),
        Question("the cine as a file", [cine] * 10, FILE),
    ]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("frames", 240), ("instances", 500), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        tree = folder / "tree"
        make_instances(tree, chosen.instances)
        cine = write_cine(tree / "cine.dcm", Shape(480, 640, 3), chosen.frames, "jpeg")
        asked = questions(
            url_of(pydicom.dcmread(cine, stop_before_pixels=True)), chosen.frames, chosen.instances
        )
        best: dict[tuple[str, str], tuple[float, int]] = {}
        taken: dict[str, float] = {}
        for server, start in SERVERS.items():
            with start(tree, folder / server) as (service, process):
                for _ in range(chosen.rounds):
                    for question in asked:
                        found = ask(service, question)
                        best[server, question.name] = min(found, best.get((server, question.name), found))
                taken[server] = memory(process)
        print(f"{'':36}" + "".join(f"{server:>26}" for server in SERVERS))
        for question in asked:
            cells = []
            for server in SERVERS:
                seconds, got = best[server, question.name]
                cells.append(f"{len(question.paths) / seconds:,.0f}/s {got / seconds / 1e6:8,.1f} MB/s")
            print(f"{question.name:36}" + "".join(f"{cell:>26}" for cell in cells))
        print(f"{'memory, MB':36}" + "".join(f"{taken[server]:>26,.0f}" for server in SERVERS))


if __name__ == "__main__":
    main()
