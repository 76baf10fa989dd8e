"""A real server, a real worker in its own process, and archives of small real instances."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cinemill_workers.ledger.connection import connect
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.local.embedded import Server
from tests.support.harness import Service


@pytest.fixture(scope="session")
def kernels() -> None:
    """Compile all kernels before anything is timed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-m", "cinemill_workers.cli", "warmup"], env=environment, check=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="cm-"))
    with Server(folder / "state", folder / "server.sock") as running:
        yield running
    shutil.rmtree(folder)


@pytest.fixture
def ledger(server: Server) -> Iterator[Ledger]:
    client = connect(f"unix://{server.socket}", patience=2)
    client.flushall()
    yield Ledger(client, lease_seconds=60)
    client.close()


@pytest.fixture
def service(kernels: None, ledger: Ledger, server: Server, tmp_path: Path) -> Iterator[Service]:
    running = Service(ledger, tmp_path, Service.hasty_environment(server))
    yield running
    for worker in running.workers:
        if worker.process.poll() is None:
            worker.end()
