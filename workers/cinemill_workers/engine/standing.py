"""What is new below the sources of a standing job, which are walked again and again.

Nothing of it is kept in the ledger. A file counts as finished while its output has its time. All others are remembered
here, some 200 bytes each, until they have gone: another leader lists them once more, and workers keep what is finished.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import xxhash

from cinemill.storage.tree import Item
from cinemill_workers.engine.kinds import discover
from cinemill_workers.ledger.model import JobSpec

OLD_SECONDS = 600.0
"""A file that was not changed for so long is not growing, even where the clocks of hosts differ."""

_AT_ONCE = 1000
_SIGHTED = 1
"""Tells a file that may be growing from one that was listed."""


class Watch:
    """The walks over the sources of one job.

    Parameters
    ----------
    spec
        What was submitted.
    seconds
        From the end of a walk to the next one; a file that did not change meanwhile is quiet.
    """

    def __init__(self, spec: JobSpec, seconds: float) -> None:
        self._spec = spec
        self._seconds = seconds
        self._known: dict[int, int] = {}
        self._next = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time for another walk."""
        return time.monotonic() >= self._next

    def walk(self) -> Iterator[Item | None]:
        """Yield the files that are new, or changed, and quiet; and nothing, now and then, so that others have their turn."""
        found: dict[int, int] = {}
        old = (time.time() - OLD_SECONDS) * 1e9
        for number, item in enumerate(discover(self._spec), 1):
            if number % _AT_ONCE == 0:
                yield None
            try:
                there = item.source.stat()
            except OSError:
                continue
            if _finished(item, there):
                continue
            key = _digest(os.fsencode(item.source))
            now = _digest(b"%d %d %d" % (there.st_size, there.st_mtime_ns, there.st_ctime_ns)) & ~_SIGHTED
            known = self._known.get(key)
            listed = known == now
            quiet = known == now | _SIGHTED or max(there.st_mtime_ns, there.st_ctime_ns) < old
            found[key] = now if listed or quiet else now | _SIGHTED
            if quiet and not listed:
                yield item
        self._known = found
        self._next = time.monotonic() + self._seconds


def _finished(item: Item, there: os.stat_result) -> bool:
    try:
        return item.output.is_file() and item.output.stat().st_mtime_ns == there.st_mtime_ns
    except OSError:
        return False


def _digest(text: bytes) -> int:
    return xxhash.xxh3_64_intdigest(text)
