"""Chooses the instances that are tried: two of each stratum, then those that gain most precision for their time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.operations.forecast.probe import Prediction, Probed
from cinemill.operations.forecast.statistics import Pooled, Sample, Total, Unit, added
from cinemill.operations.forecast.survey import READ, Scale
from cinemill.storage.tree import Item

if TYPE_CHECKING:
    from cinemill.operations.forecast.strata import Member, Stratum
    from cinemill.operations.receipt import Receipt

PILOT = 2
PRECISE = 0.02
"""Half the width of the interval of all bytes, in parts of them, at which no more instances are tried."""

PRECISE_SECONDS = 0.07
_FAILURES = 4
"""Instances of a stratum that may fail before the pilot ends without."""


@dataclass(slots=True)
class Tried:
    """The sample of one stratum.

    Attributes
    ----------
    under_way
        Instances that are being tried.
    scale
        How many times more there is than headers were read.
    """

    stratum: Stratum
    members: list[Member]
    scale: Scale = READ
    predictions: list[tuple[Member, Prediction]] = field(default_factory=list)
    under_way: int = 0

    @property
    def instances(self) -> float:
        """How many there are, read or not."""
        return self.stratum.instances * self.scale.instances

    @property
    def next(self) -> Member | None:
        """The instance that is tried next."""
        at = len(self.predictions) + self.under_way
        return self.members[at] if at < len(self.members) else None

    @property
    def exhausted(self) -> bool:
        """Whether more would tell nothing: all were tried, or what is copied was seen to be."""
        return len(self.predictions) >= self.stratum.instances or _settled(self)

    @property
    def failed(self) -> int:
        """How many had an error."""
        return sum(1 for _, prediction in self.predictions if prediction.error)

    @property
    def carried(self) -> bool:
        """Whether the header says that all is copied, and nothing tried said otherwise."""
        return bool(self.stratum.key.reason) and not self.failed

    def bytes_after(self) -> Sample:
        """Return what is known of the bytes after."""
        units = [Unit(member.bytes, found.bytes_after, found.variance) for member, found in self.predictions]
        if not units and self.stratum.key.reason:
            units = [Unit(1.0, 0.0 if self.stratum.key.reason == "skipped" else 1.0)]
        return Sample(self.instances, self.stratum.bytes * self.scale.bytes, units, self.carried)

    def seconds(self) -> Sample:
        """Return what is known of processor time, but for what grows with the frames."""
        units = [Unit(1, found.seconds) for _, found in self.predictions]
        return Sample(self.instances, self.instances, units)

    def seconds_of_frames(self) -> Sample:
        """Return what is known of processor time that grows with the frames, or with what is copied."""
        copied = bool(self.stratum.key.reason)
        known = self.stratum.bytes if copied else self.stratum.pixel_bytes
        units = [
            Unit(member.bytes if copied else member.pixel_bytes, found.seconds_of_frames)
            for member, found in self.predictions
        ]
        return Sample(self.instances, known * self.scale.bytes, units)

    def seconds_by_bytes(self) -> Sample:
        """Return what is known of all processor time, over the bytes."""
        units = [Unit(member.bytes, found.total) for member, found in self.predictions]
        return Sample(self.instances, self.stratum.bytes * self.scale.bytes, units)


def bytes_after(tried: Sequence[Tried]) -> list[Total]:
    """Estimate the bytes after of each stratum."""
    samples = [each.bytes_after() for each in tried]
    pooled = Pooled(samples, otherwise=1.0)
    return [pooled.total(sample) for sample in samples]


def seconds(tried: Sequence[Tried]) -> list[Total]:
    """Estimate the processor time of each stratum; that of those not tried by their bytes, for most of these are small."""
    pools = {}
    for copied in (False, True):
        alike = [each for each in tried if bool(each.stratum.key.reason) is copied]
        pools[copied] = (
            Pooled([each.seconds() for each in alike]),
            Pooled([each.seconds_of_frames() for each in alike]),
            Pooled([each.seconds_by_bytes() for each in alike]),
        )
    found = []
    for each in tried:
        once, frames, by_bytes = pools[bool(each.stratum.key.reason)]
        if each.predictions:
            parts = once.total(each.seconds()), frames.total(each.seconds_of_frames())
            found.append(added(parts))
        else:
            found.append(by_bytes.total(each.seconds_by_bytes()))
    return found


def compared(
    others: Sequence[Tried],
    tried: Sequence[Tried],
    totals: Sequence[Total],
    value: Callable[[Prediction], float],
    alone: Callable[[Sequence[Tried]], list[Total]],
) -> list[Total]:
    """Estimate for another run what is estimated for the one that is asked for, from instances that both were tried on.

    Parameters
    ----------
    others, tried
        The samples of the other run, and of the one asked for, by stratum.
    totals
        What is estimated for that.
    value
        What of a prediction it is.
    alone
        Estimates it without comparison, for strata of which nothing is left by the run that is asked for.
    """
    samples = []
    for other, one, total in zip(others, tried, totals, strict=True):
        known = {member.path: value(found) for member, found in one.predictions}
        units = [Unit(known[member.path], value(found)) for member, found in other.predictions]
        samples.append(Sample(one.instances, total.value, units, other is one and bool(units)))
    pooled = Pooled(samples)
    found = []
    for other, one, sample, total in zip(others, tried, samples, totals, strict=True):
        if other is one or not (sample.known or other.predictions):
            found.append(total)
            continue
        if not any(unit.known for unit in sample.units) and sample.units:
            found += alone([other])
            continue
        estimated = pooled.total(sample)
        factor = estimated.value / total.value if total.value else 0.0
        found.append(added((estimated, Total(0.0, total.variance * factor**2, total.freedom))))
    return found


class Sampler:
    """Says which instance is tried next, from what those before told.

    Parameters
    ----------
    strata
        All there are.
    most
        Instances that are tried at most.
    scratch
        A directory for what is written and removed at once.
    late
        Asked before each instance; True ends it.
    scale
        How many times more there is than headers were read.

    Attributes
    ----------
    enough
        Whether it ended because the intervals are narrow.
    """

    def __init__(
        self,
        strata: Sequence[Stratum],
        most: int,
        scratch: Path,
        late: Callable[[], bool] = lambda: False,
        scale: Scale = READ,
    ) -> None:
        there = [Tried(stratum, stratum.members(), scale) for stratum in strata]
        self.tried = sorted(there, key=lambda tried: bool(tried.stratum.key.reason))
        self._most, self._scratch, self._late = most, scratch, late
        self._places: dict[str, Tried] = {}
        self._begun = 0
        self.enough = False
        self.start = Start()

    def items(self) -> Iterator[Item]:
        """Yield instances as they are asked for."""
        while self._begun < self._most and not self._late():
            chosen = self._pilot() or self._best()
            member = None if chosen is None else chosen.next
            if chosen is None or member is None:
                return
            chosen.under_way += 1
            self._begun += 1
            self._places[member.path] = chosen
            yield Item(Path(member.path), self._scratch / str(self._begun))

    def add(self, probed: Receipt) -> None:
        """Take what became of an instance."""
        tried = self._places.pop(probed.source)
        tried.under_way -= 1
        member = next(each for each in tried.members if each.path == probed.source)
        tried.predictions.append((member, prediction_of(probed, 0)))
        self.start.take(probed)

    @property
    def wanted(self) -> int:
        """How many instances there may be to try."""
        return min(self._most, sum(len(tried.members) for tried in self.tried))

    def largest(self, share: float) -> list[int]:
        """Return the strata that have this share of all bytes, the largest first."""
        order = sorted(range(len(self.tried)), key=lambda at: -self.tried[at].stratum.bytes)
        left = share * sum(tried.stratum.bytes for tried in self.tried)
        found = []
        for at in order:
            if left <= 0:
                break
            found.append(at)
            left -= self.tried[at].stratum.bytes
        return found

    def few(self, each: int) -> list[Tried]:
        """Return samples of the same strata, of which no instance was tried yet: so many of those that were tried here."""
        return [
            Tried(tried.stratum, [member for member, _ in tried.predictions][:each], tried.scale)
            for tried in self.tried
        ]

    def _pilot(self) -> Tried | None:
        for wanted in range(1, PILOT + 1):
            for tried in self.tried:
                begun = len(tried.predictions) + tried.under_way
                if begun - min(tried.failed, _FAILURES) < wanted and tried.next and not _settled(tried):
                    return tried
        return None

    def _best(self) -> Tried | None:
        """Return the stratum of which one more instance tells most for its time."""
        sizes, times = bytes_after(self.tried), seconds(self.tried)
        size, time = added(sizes), added(times)
        self.enough = (
            size.half_width <= PRECISE * size.value and time.half_width <= PRECISE_SECONDS * time.value
        )
        if self.enough:
            return None
        best, most = None, 0.0
        for tried, one, other in zip(self.tried, sizes, times, strict=True):
            begun = len(tried.predictions) + tried.under_way
            if tried.next is None:
                continue
            error = one.variance / (PRECISE * max(size.value, 1)) ** 2
            error += other.variance / (PRECISE_SECONDS * max(time.value, 1e-9)) ** 2
            taken = other.value / tried.instances
            gain = error / (begun + 1) / max(taken, 1e-4) ** 0.5
            if gain > most:
                best, most = tried, gain
        return best


def prediction_of(receipt: Receipt, plan: int) -> Prediction:
    """Return what one of the runs would make of an instance that was tried.

    Parameters
    ----------
    receipt
        Of the trial, which may have ended its process.
    plan
        The number of the run.
    """
    if isinstance(receipt, Probed):
        return receipt.predictions[plan]
    error = receipt.error or {}
    return Prediction(receipt.done, error=str(error.get("message", "")), bytes_before=receipt.bytes_before)


@dataclass(slots=True)
class Start:
    """Processor time that a run takes before its first instance.

    Attributes
    ----------
    once
        By what starts the processes.
    each
        By each process.
    """

    once: float = 0.0
    each: float = 0.0

    def take(self, receipt: Receipt) -> None:
        """Look at an instance that may have been the first of its process."""
        if isinstance(receipt, Probed):
            self.once = self.once or receipt.starting_all
            self.each = max(self.each, receipt.starting)


def _settled(tried: Tried) -> bool:
    """Whether the first instance of a stratum of copies told all that a second would."""
    return tried.carried and bool(tried.predictions)


def by_kind(tried: Sequence[Tried]) -> list[tuple[float, float]]:
    """Return the processor time that a process takes once for a kind of instance, and how many of the kind there are."""
    found: defaultdict[tuple[object, ...], list[float]] = defaultdict(list)
    there: Counter[tuple[object, ...]] = Counter()
    for each in tried:
        for _, prediction in each.predictions:
            there[prediction.kind] += each.instances / len(each.predictions)  # type: ignore[assignment]
            if prediction.loading:
                found[prediction.kind].append(prediction.loading)
    return [(sum(values) / len(values), there[kind]) for kind, values in found.items()]
