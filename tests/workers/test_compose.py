"""The compose file: valid by the Compose specification, safe by default, and its services run by hand."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cinemill_workers.internals import server_binary
from cinemill_workers.ledger.connection import connect
from cinemill_workers.ledger.ledger import Ledger
from tests.support.files import REPOSITORY
from tests.support.harness import assert_exact, job_spec, wait_until, write_archive

COMPOSE = REPOSITORY / "docker-compose.yml"
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


@pytest.mark.service
@pytest.mark.usefixtures("kernels")
def test_the_services_work_together(services: dict[str, Any], tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "redis-server").symlink_to(server_binary())
    environment = {
        **os.environ,
        **VARIABLES,
        **{name: interpolate(value) for name, value in services["worker"]["environment"].items()},
        "CINEMILL_BROKER_URL": interpolate(services["worker"]["environment"]["CINEMILL_BROKER_URL"]).replace(
            "@redis:6379", f"@127.0.0.1:{port}"
        ),
        "CINEMILL_ROOTS": f"{tmp_path / 'archive'}:{tmp_path / 'migrated'}",
        "CINEMILL_METRICS_PORT": "",
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONWARNINGS": "ignore",
    }
    shell, flag, script = services["redis"]["command"]
    script = interpolate(script).replace("--dir /data", f"--dir {tmp_path} --port {port}")
    cinemill = [sys.executable, "-m", "cinemill_workers.cli"]
    assert services["worker"]["command"][0] == services["worker"]["healthcheck"]["test"][1] == "cinemill"

    (source,) = write_archive(tmp_path / "archive", 1)
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([shell, flag, script], env=environment, stdout=log, stderr=log)
        worker = subprocess.Popen(
            [*cinemill, *services["worker"]["command"][1:]], env=environment, stdout=log, stderr=log
        )
    try:
        ledger = Ledger(connect(environment["CINEMILL_BROKER_URL"]))
        job = ledger.create(job_spec(tmp_path / "archive", tmp_path / "migrated"))
        wait_until(lambda: ledger.job(job).over)
        assert_exact(source, tmp_path / "migrated" / source.relative_to(tmp_path / "archive"))
        health = [*cinemill, *services["worker"]["healthcheck"]["test"][2:]]
        subprocess.run(health, env=environment, check=True, stdout=subprocess.DEVNULL)
        worker.terminate()
        assert worker.wait(30) == 0
        assert subprocess.run(health, env=environment, check=False, stdout=subprocess.DEVNULL).returncode == 1
    finally:
        worker.kill()
        server.terminate()
        assert server.wait(10) == 0
