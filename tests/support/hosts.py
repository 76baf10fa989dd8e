"""Several hosts on one machine: each has a network, process ids and a host name of its own; so has the server.

Hosts share the file system, as they would share a mount. The test itself reaches the server by a unix socket, which
knows no networks.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from cinemill_workers.internals import server_binary
from cinemill_workers.ledger.connection import connect
from cinemill_workers.ledger.ledger import Ledger
from tests.support.harness import wait_until

WORKER = "import tests.support.faulty_worker; from cinemill_workers.cli.main import main; main()"
TRANSCODE = ("--to", "jpeg-ls", "--if-larger", "write")
HASTY = {
    "CINEMILL_LEASE_SECONDS": "3",
    "CINEMILL_RETRY_SECONDS": "0.2",
    "CINEMILL_GRACE_SECONDS": "1",
    "CINEMILL_HOLD_SECONDS": "1",
    "CINEMILL_METRICS_PORT": "",
}


@cache
def why_no_hosts() -> str:
    """Say why hosts can't be made here; nothing if they can."""
    if os.getuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "needs `ip` (Debian: iproute2) and `unshare`"
    name = f"cm-{secrets.token_hex(3)}"
    try:
        _ip("netns", "add", name)
        try:
            _ip("netns", "exec", name, "unshare", "--uts", "--pid", "--mount-proc", "--fork", "true")
            _ip("-n", name, "link", "add", "bridge", "type", "bridge")
        finally:
            _ip("netns", "delete", name)
    except subprocess.CalledProcessError as error:
        return f"namespaces can't be made: {error.stderr.decode().strip()}"
    return ""


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def redis_server() -> str:
    """Return the path of Redis itself where it is installed, else of the server that cinemill brings."""
    return shutil.which("redis-server") or str(server_binary())


@dataclass
class Host:
    """One host: what runs on it is started with `start`."""

    network: Network
    namespace: str
    number: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def _plug(self) -> str:
        return f"plug{self.number}"

    def join(self) -> None:
        """Make the host's network, and a cable to the server's."""
        home = self.network.namespace
        _ip("netns", "add", self.namespace)
        _ip("-n", home, "link", "add", self._plug, "type", "veth", "peer", "eth0", "netns", self.namespace)
        _ip("-n", home, "link", "set", self._plug, "master", "bridge", "up")
        _ip("-n", self.namespace, "address", "add", f"10.77.0.{10 + self.number}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", self.namespace, "link", "set", device, "up")

    def cut(self) -> None:
        """Take the host's network away."""
        _ip("-n", self.network.namespace, "link", "set", self._plug, "down")

    def silence(self) -> None:
        """Lose whatever the host sends and should get; its own network looks as it did."""
        _ip("-n", self.network.namespace, "link", "set", self._plug, "nomaster")

    def heal(self) -> None:
        """Give the network back."""
        _ip("-n", self.network.namespace, "link", "set", self._plug, "master", "bridge", "up")

    def start(
        self,
        *arguments: str,
        hostname: str = "",
        core: int | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Start a worker.

        Parameters
        ----------
        arguments
            Those of ``cinemill worker``.
        hostname
            What the host is called.
        core
            The only core it has.
        variables
            Environment variables.
        """
        environment = {**os.environ, **HASTY, "CINEMILL_BROKER_URL": self.network.url, **(variables or {})}
        environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, "-P", "-c", WORKER, "worker", *arguments]
        name = hostname or self.namespace
        inside = [
            "sh",
            "-c",
            'hostname "$0"; "$@"; exit $?',
            name,
            *command,
        ]
        pinned = ["taskset", "--cpu-list", str(core)] if core is not None else []
        new = ["unshare", "--uts", "--pid", "--mount-proc", "--fork", "--kill-child"]
        with (self.folder / f"{self.namespace}.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *pinned, *new, *inside],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    @property
    def log(self) -> str:
        return (self.folder / f"{self.namespace}.log").read_text(errors="replace")

    def crash(self) -> None:
        """End everything on the host at once, unheard by anybody."""
        self.silence()
        self.kill()

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@dataclass
class Network:
    """A server in a network of its own, and hosts that reach it."""

    folder: Path
    namespace: str = field(default_factory=lambda: f"cm-{secrets.token_hex(3)}")
    hosts: list[Host] = field(default_factory=list)
    url: str = "redis://10.77.0.1:6379/0"

    @property
    def local_url(self) -> str:
        """The server as the test reaches it."""
        return f"unix://{self.folder / 's'}"

    def add_host(self) -> Host:
        number = len(self.hosts) + 1
        host = Host(self, f"{self.namespace}-{number}", number, self.folder)
        self.hosts.append(host)
        host.join()
        return host

    def cinemill(self, *arguments: str, **variables: str) -> Any:
        """Run a command with ``--json`` beside the server; return what it printed."""
        environment = {**os.environ, **HASTY, "CINEMILL_BROKER_URL": self.local_url, **variables}
        environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "cinemill_workers.cli", *arguments, "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def submit(self, source: Path, destination: Path, *options: str, **variables: str) -> str:
        told = self.cinemill("submit", str(source), str(destination), *TRANSCODE, *options, **variables)
        return str(told["id"])

    def show(self, job: str, **variables: str) -> dict[str, Any]:
        found: dict[str, Any] = self.cinemill("jobs", "show", job, **variables)
        return found

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(connect(self.local_url))

    def finish(self, job: str) -> dict[str, Any]:
        wait_until(lambda: self.ledger.job(job).over)
        return self.show(job)

    def report(self, job: str) -> list[dict[str, Any]]:
        path = self.folder / f"{secrets.token_hex(4)}.jsonl"
        self.cinemill("jobs", "report", job, "--output", str(path))
        return [json.loads(line) for line in path.read_text().splitlines()]


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    """Make a network with a server; what was started in it ends with it."""
    made = Network(folder)
    _ip("netns", "add", made.namespace)
    server: subprocess.Popen[bytes] | None = None
    try:
        _ip("-n", made.namespace, "link", "add", "bridge", "type", "bridge")
        _ip("-n", made.namespace, "address", "add", "10.77.0.1/24", "dev", "bridge")
        for device in ("lo", "bridge"):
            _ip("-n", made.namespace, "link", "set", device, "up")
        options = ["--bind", "10.77.0.1", "--unixsocket", str(folder / "s"), "--dir", str(folder)]
        options += ["--appendonly", "yes", "--protected-mode", "no", "--save", ""]
        with (folder / "server.log").open("wb") as log:
            server = subprocess.Popen(
                ["ip", "netns", "exec", made.namespace, redis_server(), *options],
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: _answers(made.local_url))
        yield made
    finally:
        for host in made.hosts:
            host.kill()
        if server is not None:
            server.kill()
            server.wait()
        time.sleep(0.1)
        for name in (*(host.namespace for host in made.hosts), made.namespace):
            _ip("netns", "delete", name)


def _answers(url: str) -> bool:
    try:
        return bool(Redis.from_url(url).ping())
    except RedisError:
        return False
