"""Estimates totals from stratified samples: ratios with finite populations, and intervals by Student's t."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Of Student's t at 97.5 %, for 1 to 10 degrees of freedom."""

_NORMAL = 1.959964
UNKNOWN = 0.3
"""Standard deviation in parts of the mean that is assumed where nothing tells of any."""

_PRIOR = 2.0
"""Degrees of freedom that the spread of all strata counts for in that of each."""


class Unit(NamedTuple):
    """One instance of a sample.

    Attributes
    ----------
    known
        What is known of all instances, and grows with what is asked for.
    found
        What is asked for.
    variance
        Of that, where it was estimated from a part of the instance.
    """

    known: float
    found: float
    variance: float = 0.0


class Sample(NamedTuple):
    """What is known of one stratum.

    Attributes
    ----------
    instances, known
        Of the whole stratum.
    exact
        Whether `found` is a plain multiple of `known`, by what it is.
    """

    instances: float
    known: float
    units: Sequence[Unit]
    exact: bool = False


class Total(NamedTuple):
    """An estimate.

    Attributes
    ----------
    variance, freedom
        Its variance, and the degrees of freedom with which that is known.
    """

    value: float
    variance: float = 0.0
    freedom: float = math.inf

    @property
    def half_width(self) -> float:
        """Of the interval that holds the truth in 95 of 100 cases."""
        return quantile(self.freedom) * math.sqrt(self.variance)

    def interval(self) -> tuple[float, float]:
        """Return the interval that holds the truth in 95 of 100 cases; it ends at 0."""
        return max(0.0, self.value - self.half_width), self.value + self.half_width


NOTHING = Total(0.0)


def quantile(freedom: float) -> float:
    """Return Student's t at 97.5 %."""
    if freedom <= 1:
        return _QUANTILES[0]
    if freedom <= len(_QUANTILES):
        below = int(freedom)
        above = min(below + 1, len(_QUANTILES))
        low, high = 1 / _QUANTILES[below - 1], 1 / _QUANTILES[above - 1]
        return 1 / (low + (high - low) * (freedom - below))
    if math.isinf(freedom):
        return _NORMAL
    z = _NORMAL
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def added(totals: Iterable[Total]) -> Total:
    """Return the sum of independent estimates; degrees of freedom after Satterthwaite."""
    value = variance = squares = 0.0
    for each in totals:
        value += each.value
        variance += each.variance
        squares += each.variance**2 / each.freedom
    return Total(value, variance, variance**2 / squares if squares else math.inf)


def ratio(units: Sequence[Unit]) -> float:
    """Return what is found for each that is known."""
    known = sum(unit.known for unit in units)
    return sum(unit.found for unit in units) / known if known else 0.0


def spread(units: Sequence[Unit]) -> float:
    """Return the variance of an instance around the common ratio, in parts of the squared mean known.

    Each residual is from the ratio of the others, as by the jackknife: else few instances seem more alike than they are.
    """
    if len(units) < 2:
        return 0.0
    known = sum(unit.known for unit in units)
    if not known:
        return 0.0
    common = ratio(units)
    squares = sum(
        ((unit.found - common * unit.known) / max(0.25, 1 - unit.known / known)) ** 2 for unit in units
    )
    fewer = (len(units) - 1) / len(units)
    return squares * fewer / (len(units) - 1) / (known / len(units)) ** 2


class Pooled:
    """What all strata tell together: what holds where one of them tells too little.

    Parameters
    ----------
    samples
        Of all strata.
    otherwise
        What is found for each that is known, where nothing tells.
    """

    def __init__(self, samples: Sequence[Sample], otherwise: float = 0.0) -> None:
        some = [sample for sample in samples if sample.units and not sample.exact]
        every = [unit for sample in some for unit in sample.units]
        self.ratio = ratio(every) if every else otherwise
        free = sum(len(sample.units) - 1 for sample in some)
        weighted = sum((len(sample.units) - 1) * _relative(sample.units) for sample in some)
        self._relative = (weighted + _PRIOR * UNKNOWN**2) / (free + _PRIOR)
        self._between = _between(some, self.ratio)

    def total(self, sample: Sample) -> Total:
        """Estimate the total of one stratum."""
        units, size = sample.units, sample.instances
        if not units:
            value = self.ratio * sample.known
            return Total(value, (max(UNKNOWN, self._between) * value) ** 2, 2.0)
        value = ratio(units) * sample.known
        count = len(units)
        known = sum(unit.known for unit in units) / count
        if sample.exact or not known:
            return Total(value)
        within = size / count * sum(unit.variance for unit in units)
        if count >= size:
            return Total(value, within, max(1.0, count) if within else math.inf)
        variance = self.spread(units) * (sample.known / size) ** 2
        freedom = count - 1 + 2 * _PRIOR
        return Total(value, size**2 * (1 - count / size) * variance / count + within, freedom)

    def spread(self, units: Sequence[Unit]) -> float:
        """Return the variance of an instance in parts of the squared mean known: of few, more by what all strata tell."""
        own, prior = spread(units), self._relative * (ratio(units) or self.ratio) ** 2
        free = len(units) - 1
        return (free * own + _PRIOR * prior) / (free + _PRIOR)


def _relative(units: Sequence[Unit]) -> float:
    common = ratio(units)
    return spread(units) / common**2 if common else 0.0


def _between(samples: Sequence[Sample], common: float) -> float:
    """Return the standard deviation of strata from the common ratio, in parts of it."""
    ratios = [ratio(sample.units) for sample in samples]
    if len(ratios) < 2 or not common:
        return UNKNOWN
    return math.sqrt(sum((each / common - 1) ** 2 for each in ratios) / (len(ratios) - 1))
