"""Intervals hold the truth as often as they say, on populations that are made up."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from cinemill.operations.forecast.statistics import Pooled, Sample, Total, Unit, added, quantile

Population = list[tuple[np.ndarray, np.ndarray]]


def _populations(random: np.random.Generator, spread: float, sizes: list[int]) -> Population:
    """Return strata, each with what is known of every instance, and what would be found."""
    strata = []
    for size in sizes:
        known = np.exp(random.normal(10, 0.4, size))
        found = known * random.uniform(0.1, 0.9) * np.exp(random.normal(0, spread, size))
        strata.append((known, found))
    return strata


def _covered(
    strata: Population, taken: Callable[[int], int], random: np.random.Generator
) -> tuple[bool, float]:
    samples = []
    for known, found in strata:
        chosen = random.choice(len(known), taken(len(known)), replace=False)
        units = [Unit(known[at], found[at]) for at in chosen]
        samples.append(Sample(len(known), float(known.sum()), units))
    pooled = Pooled(samples)
    total = added(pooled.total(sample) for sample in samples)
    truth = float(sum(found.sum() for _, found in strata))
    low, high = total.interval()
    return low <= truth <= high, total.value / truth - 1


@pytest.mark.parametrize(
    ("spread", "sizes", "taken"),
    [
        (0.3, [400, 200, 60, 8], lambda size: min(size, 4)),
        (0.5, [3000, 50, 50], lambda size: min(size, 12)),
        (0.3, [30] * 12, lambda size: 2),
        (0.4, [500] * 6, lambda size: 1),
        (0.2, [1, 1, 5, 200], lambda size: min(size, 3)),
        (0.05, [1000, 1000], lambda size: 2),
    ],
    ids=["some strata", "skewed", "pairs", "one of each", "small strata", "alike"],
)
def test_an_interval_of_95_percent_holds_the_truth_in_at_least_90_of_100_samples(spread, sizes, taken):
    random = np.random.default_rng(15)
    results = [_covered(_populations(random, spread, sizes), taken, random) for _ in range(300)]
    assert sum(held for held, _ in results) / len(results) >= 0.9
    assert abs(np.mean([off for _, off in results])) < 0.05


def test_a_stratum_of_which_all_were_tried_is_known_exactly():
    units = [Unit(10, 4), Unit(30, 5), Unit(20, 9)]
    total = Pooled([Sample(3, 60, units)]).total(Sample(3, 60, units))
    assert total.value == pytest.approx(18)
    assert total.half_width == 0


def test_one_instance_of_many_gives_an_interval_that_is_neither_nothing_nor_everything():
    lonely = Sample(50, 5000, [Unit(100, 40)])
    total = Pooled([lonely]).total(lonely)
    low, high = total.interval()
    assert total.value == pytest.approx(2000)
    assert 0 < low < 1500
    assert 2500 < high < 10_000


def test_what_other_strata_tell_narrows_the_interval_of_one_instance():
    lonely = Sample(50, 5000, [Unit(100, 40)])
    others = [Sample(40, 4000, [Unit(100, 50 + at % 3) for at in range(8)]) for _ in range(3)]
    assert Pooled([lonely, *others]).total(lonely).half_width < Pooled([lonely]).total(lonely).half_width / 3


def test_a_stratum_of_failures_is_not_certain_to_fail_as_a_whole():
    failing = Sample(50, 5000, [Unit(100, 0)])
    others = Sample(40, 4000, [Unit(100, 50), Unit(100, 52)])
    assert Pooled([failing, others]).total(failing).half_width > 0


def test_frames_that_were_not_tried_widen_the_interval():
    units = [Unit(10, 4, 1.0), Unit(30, 5, 4.0)]
    total = Pooled([Sample(2, 40, units)]).total(Sample(2, 40, units))
    assert total.variance == pytest.approx(5)
    assert math.isfinite(total.half_width)


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 12.706), (2.5, 3.6), (10, 2.228), (30, 2.042), (math.inf, 1.96)]
)
def test_quantiles_are_those_of_student(freedom, expected):
    assert quantile(freedom) == pytest.approx(expected, rel=0.02)


def test_independent_estimates_add_up():
    total = added((Total(3, 4, 5), Total(5, 9, math.inf), Total(1)))
    assert total.value == 9
    assert total.variance == 13
    assert total.freedom == pytest.approx(13**2 / (16 / 5))
