"""The compose file: valid by the Compose specification, safe by default, and its services run by hand."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.files import REPOSITORY
from tests.support.harness import assert_exact, wait_until, write_archive
from tests.support.hosts import redis_server
from tests.support.ports import free_port

COMPOSE = REPOSITORY / "docker-compose.yml"
PING = """
import os, socket, sys
server = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
server.sendall(f"AUTH {os.environ[\'REDISCLI_AUTH\']}\\r\\nPING\\r\\n".encode())
lines = server.makefile()
next(lines)
print(next(lines))
"""
"""What the health check asks of redis-cli, where that is not installed."""
VARIABLES = {"REDIS_PASSWORD": "letters4and2digits"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def interpolate(value: str) -> str:
    """Do what Compose does with ``${NAME:?message}``, ``${NAME:-default}`` and ``$$``."""
    value = re.sub(r"(?<!\$)\$\{(\w+):\?[^}]*\}", lambda found: VARIABLES[found[1]], value)
    value = re.sub(r"(?<!\$)\$\{\w+:-([^}]*)\}", r"\1", value)
    return value.replace("$$", "$")


def test_the_file_meets_the_compose_specification() -> None:
    check = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        str(COMPOSE),
    ]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_image_floats(services: dict[str, Any]) -> None:
    for service in services.values():
        assert re.search(r":v?\d+\.\d+\.\d+", service["image"])
    for line in (REPOSITORY / "workers" / "Dockerfile").read_text().splitlines():
        if line.startswith("FROM"):
            assert re.search(r":\d+\.\d+\.\d+", line)


def test_nothing_is_published_beyond_this_machine(services: dict[str, Any]) -> None:
    assert "ports" not in services["redis"]
    assert "ports" not in services["worker"]
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_no_secret_has_a_default(services: dict[str, Any]) -> None:
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name or "URL" in name:
                assert re.search(r"\$\{REDIS_PASSWORD:\?", value)


def test_workers_have_no_more_rights_than_they_need(services: dict[str, Any]) -> None:
    worker = services["worker"]
    assert worker["read_only"]
    assert worker["cap_drop"] == ["ALL"]
    assert not worker["user"].startswith("0")
    assert any(volume.endswith("/archive:ro") for volume in worker["volumes"])


def test_the_image_has_every_extra_that_work_can_ask_for() -> None:
    optional = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (line,) = re.findall(
        r'pip install [^"]*"\.\[([^]]*)\]"', (REPOSITORY / "workers" / "Dockerfile").read_text()
    )
    assert set(line.split(",")) == set(optional) - {"test", "bench", "all"}


def test_every_page_that_shows_jobs_is_local_or_asks_for_a_password(services: dict[str, Any]) -> None:
    assert set(services) == {"redis", "worker", "prometheus"}


def test_the_file_says_who_must_own_the_output(services: dict[str, Any]) -> None:
    uid = re.search(r"CINEMILL_UID:-(\d+)", services["worker"]["user"])
    assert uid is not None
    assert f"CINEMILL_OUTPUT must belong to the user that workers run as: {uid[1]}:" in COMPOSE.read_text()


@dataclass
class Container:
    """One service run by hand: its command, environment and health check as they stand, with other names and places."""

    told: dict[str, Any]
    places: Mapping[str, str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def _put(self, text: str) -> str:
        text = interpolate(text)
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text

    @property
    def environment(self) -> dict[str, str]:
        own = {name: self._put(value) for name, value in self.told.get("environment", {}).items()}
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return {"HOME": os.environ.get("HOME", "/"), "PATH": path, "PYTHONWARNINGS": "ignore", **own}

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._put(word) for word in self.told["command"]],
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def healthy(self) -> bool:
        kind, *command = self.told["healthcheck"]["test"]
        if kind == "CMD-SHELL":
            command = ["sh", "-c", *command]
        try:
            done = subprocess.run(
                [self._put(word) for word in command],
                env=self.environment,
                check=False,
                capture_output=True,
                timeout=seconds(self.told["healthcheck"]["timeout"]),
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def wait_until_healthy(self) -> None:
        check = self.told["healthcheck"]
        patience = seconds(check.get("start_period", "0s")) + check["retries"] * seconds(check["interval"])
        wait_until(self.healthy, patience)

    def run(self, *command: str) -> str:
        """Do what ``docker compose run --rm`` does with this service."""
        done = subprocess.run(
            [self._put(word) for word in command],
            env=self.environment,
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def stop(self) -> int:
        """Return the exit code; being killed after the grace period is none."""
        assert self.process is not None
        self.process.send_signal(signal.Signals[self.told.get("stop_signal", "SIGTERM")])
        return self.process.wait(seconds(self.told.get("stop_grace_period", "10s")))

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def seconds(duration: str) -> float:
    assert duration.endswith("s")
    return float(duration[:-1])


def make_programs(folder: Path) -> None:
    """Put what the images hold where containers find it."""
    folder.mkdir()
    python = f"PYTHONPATH='{os.pathsep.join(sys.path)}' exec '{sys.executable}' -P"
    programs = {
        "cinemill": f'{python} -m cinemill_workers.cli "$@"',
        "redis-server": f"exec '{redis_server()}' \"$@\"",
    }
    if shutil.which("redis-cli") is None:
        (folder / "ping.py").write_text(PING)
        programs["redis-cli"] = f"exec '{sys.executable}' '{folder / 'ping.py'}' \"$@\""
    for name, line in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)


@pytest.fixture
def containers(services: dict[str, Any], tmp_path: Path) -> Iterator[dict[str, Container]]:
    """The services that run without a profile, in the order in which they depend on each other, not started."""
    make_programs(tmp_path / "bin")
    port = free_port()
    places = {
        "@redis:6379": f"@127.0.0.1:{port}",
        "redis-cli ": f"redis-cli -p {port} ",
        "--dir /data": f"--dir {tmp_path / 'data'} --port {port} --bind 127.0.0.1",
        "/archive": str(tmp_path / "archive"),
        "/migrated": str(tmp_path / "migrated"),
        "0.0.0.0": "127.0.0.1",
        "9464": str(free_port()),
    }
    (tmp_path / "data").mkdir()
    (tmp_path / "migrated").mkdir()
    told = {name: service for name, service in services.items() if "profiles" not in service}
    needed = {name: service.get("depends_on", {}) for name, service in told.items()}
    made = {
        name: Container(told[name], places, tmp_path) for name in TopologicalSorter(needed).static_order()
    }
    yield made
    for container in reversed(made.values()):
        container.kill()


@pytest.mark.service
@pytest.mark.usefixtures("kernels")
def test_the_services_work_together(containers: dict[str, Container], tmp_path: Path) -> None:
    (source,) = write_archive(tmp_path / "archive", 1)
    for container in containers.values():
        for other, how in container.told.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert containers[other].healthy()
        assert not container.healthy()
        container.start()
        container.wait_until_healthy()

    worker, server = containers["worker"], containers["redis"]
    job = re.search(r"submitted (\S+);", worker.run(*the_command("submit")))
    assert job is not None
    worker.run(*(word.replace("ID", job[1]) for word in the_command("jobs watch")))
    assert_exact(source, tmp_path / "migrated" / source.relative_to(tmp_path / "archive"))
    assert "cinemill" in scraped(worker)

    assert worker.stop() == 0
    assert not worker.healthy()
    assert server.stop() == 0
    server.start()
    server.wait_until_healthy()
    (kept,) = json.loads(worker.run("cinemill", "jobs", "list", "--json"))
    assert (kept["id"], kept["state"]) == (job[1], "done")


def the_command(name: str) -> list[str]:
    """Return a command that the file's first lines tell people to run in a worker's container."""
    found = re.search(rf"docker compose run --rm worker (cinemill {name} .*)", COMPOSE.read_text())
    assert found is not None
    return found[1].split()


def scraped(worker: Container) -> str:
    """Return the metrics of a worker, from where Prometheus is told to look."""
    told = yaml.safe_load((REPOSITORY / "workers" / "prometheus.yml").read_text())
    ports = re.findall(r"worker\b.*?(\d{4,5})", json.dumps(told["scrape_configs"]))
    assert set(ports) == {worker.told["environment"]["CINEMILL_METRICS_PORT"]}
    address = f"http://127.0.0.1:{worker.environment['CINEMILL_METRICS_PORT']}/metrics"
    with urllib.request.urlopen(address) as answer:
        return str(answer.read().decode())
