"""Strata count everything, keep little, and set instances aside at random."""

from __future__ import annotations

from typing import Any

from cinemill.operations.forecast import strata as module
from cinemill.operations.forecast.strata import KEPT, VARIOUS, Header, Key, Strata

_KEY = Key(
    "lossless",
    "",
    "1.2",
    lossy=False,
    size=5,
    geometry="8 × 8, 8 bits",
    sop_class="1.2.3",
    manufacturer="Maker",
    model="Model",
)


def _header(number: int, **changes: Any) -> Header:
    return Header(_KEY._replace(**changes), f"/a/{number}.dcm", 100 + number, 2, 128)


def test_all_is_counted_and_no_more_than_a_few_are_set_aside():
    strata = Strata()
    for number in range(1000):
        strata.add(_header(number))
    (stratum,) = strata
    assert (stratum.instances, stratum.frames, stratum.pixel_bytes) == (1000, 2000, 128_000)
    assert stratum.bytes == sum(range(100, 1100))
    assert len(stratum.members()) == KEPT


def test_what_is_set_aside_does_not_depend_on_the_order_of_files():
    forwards, backwards = Strata(), Strata()
    for number in range(500):
        forwards.add(_header(number))
        backwards.add(_header(499 - number))
    (one,), (other,) = forwards, backwards
    assert one.members() == other.members()


def test_what_is_set_aside_is_spread_over_all_files():
    strata = Strata()
    for number in range(4000):
        strata.add(_header(number))
    (stratum,) = strata
    numbers = [member.bytes - 100 for member in stratum.members()]
    assert 1700 < sum(numbers) / len(numbers) < 2300


def test_small_strata_are_merged_with_their_likes_and_nothing_is_lost():
    strata = Strata()
    for number in range(300):
        strata.add(_header(number, model=f"Model {number % 30}", manufacturer=f"Maker {number % 3}"))
    strata.merge(5)
    assert len(strata) <= 5
    assert sum(each.instances for each in strata) == 300
    assert VARIOUS in {each.key.model for each in strata}


def test_what_becomes_of_instances_is_never_merged():
    strata = Strata()
    for number in range(40):
        strata.add(_header(number, reason="lossy-source" if number % 2 else "", lossy=bool(number % 2)))
    strata.merge(1)
    assert {each.key.reason for each in strata} == {"", "lossy-source"}


def test_more_kinds_than_are_kept_apart_are_counted_as_wider_ones(monkeypatch):
    monkeypatch.setattr(module, "MOST", 10)
    strata = Strata()
    for number in range(100):
        strata.add(_header(number, model=f"Model {number}"))
    assert len(strata) <= 11
    assert sum(each.instances for each in strata) == 100
