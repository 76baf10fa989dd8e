"""Estimates size and time from a survey and a sample: for each stratum, and for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cinemill.operations.forecast.sampling import Start, Tried, by_kind, bytes_after, compared, seconds
from cinemill.operations.forecast.statistics import NOTHING, Total, added

if TYPE_CHECKING:
    from cinemill.operations.forecast.probe import Prediction
    from cinemill.operations.forecast.strata import Key
    from cinemill.operations.forecast.survey import Scale, Survey

_RECEIPT = 0.001
"""Processor time that the command takes for the receipt of an instance, besides what is done to that."""


@dataclass(slots=True)
class Part:
    """Some instances, as far as one thing is done to them, or one thing is wrong with them."""

    instances: float = 0.0
    bytes: float = 0.0
    bytes_after: float = 0.0
    bytes_otherwise: float = 0.0

    def join(self, other: Part) -> None:
        """Take in others."""
        self.instances += other.instances
        self.bytes += other.bytes
        self.bytes_after += other.bytes_after
        self.bytes_otherwise += other.bytes_otherwise


@dataclass(slots=True)
class Row:
    """What becomes of the instances that a table shows as one.

    Attributes
    ----------
    key
        What they have in common; None for all.
    after
        Bytes after.
    seconds
        Processor time.
    tried, frames_tried
        How many went through the encoders.
    done, errors
        The parts to which the same is done, and those of the same error.
    """

    key: Key | None
    instances: float = 0.0
    frames: float = 0.0
    bytes: float = 0.0
    after: Total = NOTHING
    seconds: Total = NOTHING
    tried: int = 0
    frames_tried: int = 0
    done: defaultdict[str, Part] = field(default_factory=lambda: defaultdict(Part))
    errors: defaultdict[str, Part] = field(default_factory=lambda: defaultdict(Part))

    def add(self, tried: Tried, after: Total, taken: Total, scale: Scale) -> None:
        """Take in a stratum.

        Parameters
        ----------
        tried
            Its sample.
        after, taken
            Bytes after, and processor time.
        scale
            How many times more there is than headers were read.
        """
        stratum = tried.stratum
        self.instances += stratum.instances * scale.instances
        self.frames += stratum.frames * scale.instances
        self.bytes += stratum.bytes * scale.bytes
        self.after = added((self.after, after))
        self.seconds = added((self.seconds, taken))
        self.tried += len(tried.predictions)
        if not tried.predictions:
            return
        known = sum(member.bytes for member, _ in tried.predictions)
        weight = stratum.instances * scale.instances / len(tried.predictions)
        by_bytes = stratum.bytes * scale.bytes / known if known else 0.0
        for _, prediction in tried.predictions:
            self.frames_tried += prediction.frames_tried
            _take(self.done[prediction.done], prediction, weight, by_bytes)
            if prediction.error:
                _take(self.errors[prediction.error], prediction, weight, by_bytes)

    def join(self, other: Row) -> None:
        """Take in another row."""
        self.instances += other.instances
        self.frames += other.frames
        self.bytes += other.bytes
        self.after = added((self.after, other.after))
        self.seconds = added((self.seconds, other.seconds))
        self.tried += other.tried
        for parts, theirs in ((self.done, other.done), (self.errors, other.errors)):
            for name, part in theirs.items():
                parts[name].join(part)

    @property
    def failed(self) -> Part:
        """What is refused, or fails."""
        return Part(
            sum(part.instances for part in self.errors.values()),
            sum(part.bytes for part in self.errors.values()),
        )

    @property
    def interval(self) -> tuple[float, float]:
        """Of the bytes after."""
        return self.after.interval()

    @property
    def ratio(self) -> float:
        """How many times smaller it becomes, without what fails; 0 where nothing is left."""
        return (self.bytes - self.failed.bytes) / self.after.value if self.after.value else 0.0


def _take(part: Part, prediction: Prediction, weight: float, by_bytes: float) -> None:
    part.instances += weight
    part.bytes += by_bytes * prediction.bytes_before
    part.bytes_after += by_bytes * prediction.bytes_after
    part.bytes_otherwise += by_bytes * prediction.bytes_otherwise


@dataclass(slots=True)
class Estimate:
    """What one run would take and save.

    Attributes
    ----------
    rows
        Of strata, those of most bytes first.
    total
        Of all.
    starting
        Processor time that a run takes besides, by its processes.
    """

    rows: list[Row]
    total: Row
    starting: float

    @property
    def seconds(self) -> float:
        """Processor time in all."""
        return self.total.seconds.value + self.starting


class Estimator:
    """Estimates what runs would take and save.

    Parameters
    ----------
    tried
        The samples of all strata, of the run that is asked for.
    survey
        What the headers told.
    start
        What a run takes before its first instance.
    cores
        Processes of the run.
    own
        Processor time that the command itself takes before that.
    """

    def __init__(
        self, tried: Sequence[Tried], survey: Survey, start: Start, cores: int, own: float = 0.0
    ) -> None:
        self._tried, self._survey, self._start, self._own = tried, survey, start, own
        self._processes = min(cores, max(1, survey.files))
        self._afters, self._times = bytes_after(tried), seconds(tried)

    def asked(self) -> Estimate:
        """Return what the run that is asked for would."""
        return self._estimate(self._tried, self._afters, self._times)

    def other(self, tried: Sequence[Tried]) -> Estimate | None:
        """Return what another run would, None where it was not tried at all."""
        own = [each for each, asked in zip(tried, self._tried, strict=True) if each is not asked]
        if own and not any(each.predictions for each in own):
            return None
        afters = compared(
            tried, self._tried, self._afters, lambda prediction: prediction.bytes_after, bytes_after
        )
        times = compared(tried, self._tried, self._times, lambda prediction: prediction.total, seconds)
        return self._estimate(tried, afters, times)

    def _estimate(self, tried: Sequence[Tried], afters: Sequence[Total], times: Sequence[Total]) -> Estimate:
        rows: dict[Key, Row] = {}
        total = Row(None)
        survey, start = self._survey, self._start
        for other, asked, after, taken in zip(tried, self._tried, afters, times, strict=True):
            each = other if other.predictions else asked
            key = each.stratum.key.shown
            rows.setdefault(key, Row(key)).add(each, after, taken, survey.scale)
            total.add(each, after, taken, survey.scale)
        total.after = added((total.after, _of_headers(tried, afters, survey)))
        total.seconds = added((total.seconds, _of_headers(tried, times, survey)))
        ordered = sorted(rows.values(), key=lambda row: -row.bytes)
        loading = start.each * self._processes
        loading += sum(once * min(self._processes, there) for once, there in by_kind(tried))
        return Estimate(ordered, total, self._own + start.once + loading + _RECEIPT * survey.files)


def _of_headers(tried: Sequence[Tried], found: Sequence[Total], survey: Survey) -> Total:
    """Return 0 with the variance that comes from headers that were not read: residuals from what all have a byte."""
    read = survey.headers
    if read >= survey.files or read < 2:
        return Total(0.0)
    size = sum(each.stratum.bytes for each in tried)
    common = sum(each.value for each in found) / max(1, size)
    squares = sum(
        (one.value / max(1, each.stratum.bytes) - common) ** 2 * each.stratum.bytes_squared
        for each, one in zip(tried, found, strict=True)
    )
    return Total(0.0, survey.files**2 * (1 - read / survey.files) * squares / (read - 1) / read, read - 1)
