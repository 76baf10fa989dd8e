"""Workers on two hosts: throughput, equal names, networks that fail, hosts that die, clocks that differ."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import assert_exact, files_below, wait_until, write_archive
from tests.support.hosts import Network, network, why_no_hosts
from tests.support.shims import CLOCK, COMPILER, compiled

pytestmark = [
    pytest.mark.service,
    pytest.mark.usefixtures("kernels"),
    pytest.mark.skipif(bool(why_no_hosts()), reason=why_no_hosts()),
]

SLOW = {"FAULTY_SECONDS": "0.25"}


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path) as made:
        yield made


def assert_complete(net: Network, job: str, sources: list[Path], output: Path) -> dict[str, Any]:
    """Check that each source was settled once, stands in the report once, and has an equal output, alone."""
    found = net.show(job)
    counts = {state: count for state, count in found["counts"].items() if count}
    assert sum(counts.values()) == found["listed"] == len(sources)
    assert set(counts) <= {"done", "skipped"}, counts
    assert Counter(row["source"] for row in net.report(job)) == Counter(map(str, sources))
    assert files_below(output) == {source.relative_to(output.parent / "in") for source in sources}
    for source in sources:
        assert_exact(source, output / source.relative_to(output.parent / "in"))
    return found


def seen(net: Network) -> int:
    """Return how many workers gave a sign of life."""
    return len(net.ledger.workers())


def done(net: Network, job: str) -> int:
    return net.ledger.job(job).counts["done"]


def test_two_hosts_share_a_job(net: Network, tmp_path: Path, record_property: Any) -> None:
    sources = write_archive(tmp_path / "in", 120, side=512)
    first, second = net.add_host(), net.add_host()
    cores = os.sched_getaffinity(0)
    first.start("-j", "1", core=min(cores))
    seconds = [net.finish(net.submit(tmp_path / "in", tmp_path / "alone"))["seconds"]]
    second.start("-j", "1", core=max(cores))
    wait_until(lambda: seen(net) == 2)
    job = net.submit(tmp_path / "in", tmp_path / "out")
    seconds.append(net.finish(job)["seconds"])
    assert_complete(net, job, sources, tmp_path / "out")
    for host in (first, second):
        assert host.log.count('"state": "done"') > len(sources) // 10
    print(f"one host {seconds[0]:.1f} s, two {seconds[1]:.1f} s: {seconds[0] / seconds[1]:.2f} times as fast")
    record_property("two hosts against one", seconds[0] / seconds[1])


def test_equal_host_names_and_process_ids_do_no_harm(net: Network, tmp_path: Path) -> None:
    sources = write_archive(tmp_path / "in", 60)
    hosts = [net.add_host(), net.add_host()]
    for host in hosts:
        host.start("-j", "2", hostname="worker", variables=SLOW)
    wait_until(lambda: all("ready" in host.log for host in hosts))
    job = net.submit(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: done(net, job) > 5 and '"state": "done"' in hosts[1].log)
    hosts[1].kill()
    wait_until(lambda: done(net, job) > 20)
    hosts[1].start("-j", "2", hostname="worker", variables=SLOW)
    net.finish(job)
    assert_complete(net, job, sources, tmp_path / "out")
    assert all('"state": "done"' in host.log for host in hosts)


@pytest.mark.parametrize("how", ["cut", "silence"])
def test_a_network_that_fails_for_longer_than_a_lease(net: Network, tmp_path: Path, how: str) -> None:
    sources = write_archive(tmp_path / "in", 60)
    leader, other = net.add_host(), net.add_host()
    leader.start("-j", "2", variables=SLOW)
    wait_until(lambda: seen(net) == 1)
    other.start("-j", "2", variables=SLOW)
    wait_until(lambda: seen(net) == 2)
    job = net.submit(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: '"state": "done"' in other.log)
    getattr(other, how)()
    time.sleep(7)
    other.heal()
    found = net.finish(job)
    assert_complete(net, job, sources, tmp_path / "out")
    assert found["retries"] <= 2
    assert other.process is not None
    assert other.process.poll() is None
    again = net.submit(tmp_path / "in", tmp_path / "again")
    net.finish(again)
    assert_complete(net, again, sources, tmp_path / "again")


@pytest.mark.parametrize("victim", [1, 0], ids=["another", "the one whose steward leads"])
def test_a_host_that_dies_whole(net: Network, tmp_path: Path, victim: int) -> None:
    sources = write_archive(tmp_path / "in", 60)
    hosts = [net.add_host(), net.add_host()]
    for count, host in enumerate(hosts, 1):
        host.start("-j", "2", variables=SLOW)
        wait_until(lambda count=count: seen(net) == count)  # type: ignore[misc]
    job = net.submit(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: '"state": "done"' in hosts[victim].log)
    hosts[victim].crash()
    net.finish(job)
    assert_complete(net, job, sources, tmp_path / "out")


@pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")
def test_clocks_that_differ_by_minutes(net: Network, tmp_path: Path) -> None:
    sources = write_archive(tmp_path / "in", 30)
    library = compiled(CLOCK, tmp_path / "clock.so")
    early, late = ({"LD_PRELOAD": library, "SHIFT_SECONDS": str(60 * minutes)} for minutes in (-7, 11))
    for clock in (early, late):
        net.add_host().start("-j", "2", variables=clock | {"FAULTY_SECONDS": "1"})
    wait_until(lambda: seen(net) == 2)
    before = time.time()
    job = net.submit(tmp_path / "in", tmp_path / "out", **late)
    wait_until(lambda: done(net, job) > 3)
    for clock in (early, late):
        assert 0 < net.show(job, **clock)["seconds"] < 300
    found = net.finish(job)
    assert found["retries"] == 0
    assert before - 1 <= found["created"] <= found["started"] <= found["finished"] <= time.time() + 1
    for clock in (early, late):
        assert net.show(job, **clock)["seconds"] == found["seconds"]
    assert_complete(net, job, sources, tmp_path / "out")
    times = [re.search(r'"time": "([^"]+)"', host.log) for host in net.hosts]
    apart = [datetime.fromisoformat(found[1]).timestamp() - time.time() for found in times if found]
    assert 17 * 60 < apart[1] - apart[0] < 19 * 60
