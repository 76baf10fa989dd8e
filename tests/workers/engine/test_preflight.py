"""Settings that can't work are refused before a worker starts."""

from __future__ import annotations

import socket
import sys

import pytest

from cinemill.errors import UsageError
from cinemill_workers.engine.preflight import check
from cinemill_workers.settings import Settings


def test_metrics_without_their_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    check(Settings())
    with pytest.raises(UsageError, match=r"pip install 'cinemill\[metrics\]'"):
        check(Settings(metrics_port=9464))


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(UsageError, match="CINEMILL_METRICS_ADDRESS"):
        check(Settings(metrics_port=9464, metrics_address="192.0.2.1"))
    with pytest.raises(UsageError, match="CINEMILL_METRICS_ADDRESS"):
        check(Settings(metrics_port=9464, metrics_address="no such host"))


def test_a_port_that_another_worker_serves_is_no_fault() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        check(Settings(metrics_port=taken.getsockname()[1]))


def test_a_priority_that_there_is_none_of_is_refused() -> None:
    check(Settings(priorities=("high", "low")))
    with pytest.raises(UsageError, match="expected some of high, normal, low, found urgent"):
        check(Settings(priorities=("high", "urgent")))


def test_a_worker_that_can_share_no_locks_with_its_children_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A container may have a /dev/shm that its user can't write to."""

    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("multiprocessing.context.BaseContext.Lock", refuse)
    with pytest.raises(UsageError, match="/dev/shm"):
        check(Settings())
