"""How many processors work may keep busy, in a container too."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_GROUPS = Path("/proc/self/cgroup")
_MOUNTED = Path("/sys/fs/cgroup")


def processors() -> int:
    """Return how many processors this process may run on, or as many as its container is given (``docker run --cpus``)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _share())))


@cache
def _share() -> float:
    """Return the least of what this process's control groups (cgroups, both versions) and those above them are given."""
    try:
        groups = _GROUPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        groups = []
    quotas = (_quota(folder) for group in groups for folder in _folders(group))
    return min((quota / period for quota, period in quotas if quota > 0 < period), default=math.inf)


def _folders(group: str) -> Iterator[Path]:
    """Yield where the limits of a line of /proc/self/cgroup stand: the group's own, and those of the groups above it."""
    _, controllers, path = group.split(":", 2)
    if controllers and "cpu" not in controllers.split(","):
        return
    top = _MOUNTED / controllers
    folder = top / path.lstrip("/")
    while folder != top:
        yield folder
        folder = folder.parent
    yield top


def _quota(folder: Path) -> tuple[int, int]:
    """Read how many microseconds of each period a control group gets; zeros where that is not limited."""
    whole, parts = folder / "cpu.max", (folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
    try:
        words = (
            whole.read_text("ascii").split()
            if whole.exists()
            else [each.read_text("ascii") for each in parts]
        )
        quota, period = map(int, words)
    except (OSError, ValueError):
        return 0, 0
    return quota, period
