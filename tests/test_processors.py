"""How many processors work may keep busy: what control groups of both versions limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from cinemill import processors

ALLOWED = 8
Count: TypeAlias = Callable[[list[str], dict[str, str]], int]
V1 = ("4:memory:/elsewhere", "1:{controllers}:{path}", "0::/")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Count]:
    """Count processors where a process is in these groups, of which these files tell."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(ALLOWED)))
    monkeypatch.setattr(processors, "_MOUNTED", tmp_path / "cgroup")
    monkeypatch.setattr(processors, "_GROUPS", tmp_path / "self")

    def count(groups: list[str], files: dict[str, str]) -> int:
        (tmp_path / "self").write_text("".join(f"{group}\n" for group in groups))
        for name, text in files.items():
            (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "cgroup" / name).write_text(f"{text}\n")
        processors._share.cache_clear()
        return processors.processors()

    yield count
    processors._share.cache_clear()


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("max 100000", ALLOWED),
        ("6400000 100000", ALLOWED),
        ("", ALLOWED),
        ("1 0", ALLOWED),
        ("a b", ALLOWED),
    ],
)
def test_a_container_has_as_many_as_its_quota(found: Count, quota: str, expected: int) -> None:
    assert found(["0::/"], {"cpu.max": quota}) == expected


def test_the_least_of_all_groups_above_counts(found: Count) -> None:
    files = {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000", "cpu.max": "500000 100000"}
    assert found(["0::/a/b"], files) == 3


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
@pytest.mark.parametrize("path", ["/", "/docker/1234"])
def test_groups_of_the_first_version_count(found: Count, controllers: str, path: str) -> None:
    """A container sees its own group as the topmost one, while it is told of the path that the host has."""
    groups = [line.format(controllers=controllers, path=path) for line in V1]
    files = {f"{controllers}/cpu.cfs_quota_us": "250000", f"{controllers}/cpu.cfs_period_us": "100000"}
    assert found(groups, files) == 3
    assert found(groups, {f"{controllers}/cpu.cfs_quota_us": "-1"}) == ALLOWED


def test_where_nothing_is_limited_all_count(found: Count) -> None:
    assert found(["1:cpuset:/", "0::/../other"], {"cpuset/cpu.max": "100000 100000"}) == ALLOWED


def test_where_there_are_no_groups_all_count(found: Count, tmp_path: Path) -> None:
    found([], {})
    (tmp_path / "self").unlink()
    processors._share.cache_clear()
    assert processors.processors() == ALLOWED
