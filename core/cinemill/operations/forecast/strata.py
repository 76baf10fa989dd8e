"""Strata: instances that have the same in common, counted, with some of each set aside at random, in bounded memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import xxhash

MOST = 2048
"""Strata that are kept apart while headers are read."""

KEPT = 192
"""Instances of each that are set aside: more are never tried."""

VARIOUS = "various"


class Key(NamedTuple):
    """What the instances of a stratum have in common.

    Attributes
    ----------
    rule, reason
        Of the policy: which rule takes them, and why they are copied, empty where they are coded anew.
    syntax
        UID of the transfer syntax.
    lossy
        Whether the pixels are coded lossily.
    size
        Order of magnitude of the file: each is four times the one before; -1 for any.
    geometry
        Rows, columns, samples and bits; empty where there is no image.
    sop_class, manufacturer, model
        As the header has them.
    """

    rule: str
    reason: str
    syntax: str
    lossy: bool
    size: int
    geometry: str
    sop_class: str
    manufacturer: str
    model: str

    def coarser(self) -> Key | None:
        """Return the key of a wider stratum, None for the widest."""
        for name in ("model", "manufacturer", "sop_class", "geometry"):
            if getattr(self, name) != VARIOUS:
                return self._replace(**{name: VARIOUS})  # type: ignore[arg-type]
        return None if self.size < 0 else self._replace(size=-1)

    @property
    def shown(self) -> Key:
        """The same without the size, which no table shows."""
        return self._replace(size=-1)


class Header(NamedTuple):
    """What is known of an instance by its header.

    Attributes
    ----------
    bytes
        Of the file.
    pixel_bytes
        Of its frames, decoded.
    """

    key: Key
    path: str
    bytes: int
    frames: int
    pixel_bytes: int


class Member(NamedTuple):
    """One instance that was set aside: the less its lot, the earlier it is tried."""

    lot: float
    path: str
    bytes: int
    frames: int
    pixel_bytes: int


@dataclass(slots=True)
class Stratum:
    """Instances that have the same in common.

    Attributes
    ----------
    bytes_squared
        Sum of the squares of their bytes.
    aside
        Those of the least lots: a simple random sample of any size not above `KEPT`.
    """

    key: Key
    instances: int = 0
    bytes: int = 0
    bytes_squared: int = 0
    frames: int = 0
    pixel_bytes: int = 0
    aside: list[Member] = field(default_factory=list)

    def add(self, header: Header) -> None:
        """Count an instance."""
        self.instances += 1
        self.bytes += header.bytes
        self.bytes_squared += header.bytes**2
        self.frames += header.frames
        self.pixel_bytes += header.pixel_bytes
        self._set_aside(Member(lot_of(header.path), *header[1:]))

    def join(self, other: Stratum) -> None:
        """Take in all instances of another stratum."""
        self.instances += other.instances
        self.bytes += other.bytes
        self.bytes_squared += other.bytes_squared
        self.frames += other.frames
        self.pixel_bytes += other.pixel_bytes
        for member in other.members():
            self._set_aside(member)

    def _set_aside(self, member: Member) -> None:
        entry = member._replace(lot=-member.lot)  # a heap gives back the least; the largest lot has to leave
        if len(self.aside) < KEPT:
            heapq.heappush(self.aside, entry)
        else:
            heapq.heappushpop(self.aside, entry)

    def members(self) -> list[Member]:
        """Return those set aside, in the order in which they are to be tried."""
        return sorted(member._replace(lot=-member.lot) for member in self.aside)


def lot_of(path: str) -> float:
    """Return a number from 0 to 1 that is random among paths, and the same for the same path."""
    return float(xxhash.xxh3_64_intdigest(path.encode(errors="surrogateescape"), seed=20) / 2**64)


class Strata:
    """All strata, at most `MOST` while they are counted: what comes late belongs to wider ones."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Stratum] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Stratum]:
        return iter(sorted(self._by_key.values(), key=lambda each: (-each.bytes, each.key)))

    def add(self, header: Header) -> None:
        """Count an instance."""
        self._at(header.key).add(header)

    def _at(self, key: Key) -> Stratum:
        while key not in self._by_key and len(self._by_key) >= MOST:
            wider = key.coarser()
            if wider is None:
                break
            key = wider
        return self._by_key.setdefault(key, Stratum(key))

    def merge(self, most: int) -> None:
        """Join the smallest strata with their likes until there are so many, or all that is left differs in kind."""
        waiting = [(each.bytes, key) for key, each in self._by_key.items()]
        heapq.heapify(waiting)
        while len(self._by_key) > most and waiting:
            size, key = heapq.heappop(waiting)
            wider = key.coarser()
            if wider is None or key not in self._by_key or self._by_key[key].bytes != size:
                continue
            stratum = self._by_key.pop(key)
            into = self._by_key.setdefault(wider, Stratum(wider))
            into.join(stratum)
            heapq.heappush(waiting, (into.bytes, wider))
