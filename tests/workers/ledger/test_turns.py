"""Whose turn it is: shares of the priorities, jobs by turns, and what many jobs cost."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cinemill_workers.ledger.ledger import LOW_PARCELS, Ledger
from cinemill_workers.ledger.model import Deposed, ForeignLedger, ListedItem, Parcel
from tests.support.harness import job_spec

pytestmark = pytest.mark.service

HOLDERS = itertools.count()
SPEC = job_spec(Path("/archive"), Path("/migrated"))
MANY = 2000


def fill(ledger: Ledger, count: int, *, exhausted: bool = True, size: int = 1, **more: Any) -> str:
    """Make a job of so many parcels of one item."""
    job = ledger.create(replace(SPEC, **more))
    parcels = [
        [ListedItem(number, f"/archive/{number}", f"/migrated/{number}", size)] for number in range(count)
    ]
    ledger.feed(job, 0, parcels, exhausted=exhausted)
    return job


def claim(ledger: Ledger, *priorities: str) -> Parcel:
    chosen = {"priorities": priorities} if priorities else {}
    parcel = ledger.claim(f"worker/{next(HOLDERS)}", "worker", **chosen)
    assert parcel is not None
    return parcel


def commands(ledger: Ledger) -> int:
    found = ledger.client.info("commandstats")
    return sum(
        each["calls"]
        for name, each in found.items()
        if name not in {"cmdstat_info", "cmdstat_config|resetstat"}
    )


def test_of_a_job_with_a_limit_no_more_parcels_are_claimed_at_once(ledger: Ledger) -> None:
    job = fill(ledger, 5, at_once=2)
    assert ledger.look(most=9)[0] == 2
    held = [claim(ledger), claim(ledger)]
    assert ledger.claim("worker/next", "worker") is None
    assert ledger.look(most=9)[0] == 0
    assert ledger.finish(held[0], "done", {})
    third = claim(ledger)
    assert ledger.claim("worker/next", "worker") is None
    ledger.release(held[1])
    assert ledger.look(most=9)[0] == 1
    assert ledger.finish(third, "done", {})
    for _ in range(3):
        assert ledger.finish(claim(ledger), "done", {})
    assert ledger.job(job).over


def test_bytes_that_nobody_knew_of_count_towards_the_rate_from_the_beginning_of_their_item(
    ledger: Ledger,
) -> None:
    job = fill(ledger, 3, size=0, max_rate=1000.0)
    assert ledger.finish(claim(ledger), "done", {"bytes_before": 9000}, took=9.0)
    parcel = claim(ledger)
    assert ledger.finish(parcel, "done", {"bytes_before": 90_000}, took=1.0)
    assert ledger.claim("worker/next", "worker") is None
    assert ledger.job(job).state == "running"


def test_every_priority_has_its_share_of_sixteen_claims(ledger: Ledger) -> None:
    names = {fill(ledger, 200, priority=priority): priority for priority in ("high", "normal", "low")}
    served = [names[claim(ledger).job] for _ in range(160)]
    for start in range(145):
        assert Counter(served[start : start + 16]) == {"high": 12, "normal": 3, "low": 1}


@pytest.mark.parametrize(
    ("first", "second", "share"), [("high", "low", 1), ("high", "normal", 3), ("normal", "low", 1)]
)
def test_low_work_never_starves_and_takes_no_more_than_its_share(
    ledger: Ledger, first: str, second: str, share: int
) -> None:
    names = {fill(ledger, 100, priority=priority): priority for priority in (first, second)}
    served = Counter(names[claim(ledger).job] for _ in range(64))
    assert (served[first], served[second]) == (64 - 4 * share, 4 * share)


def test_a_priority_alone_gets_everything_and_others_only_what_they_serve(ledger: Ledger) -> None:
    low = fill(ledger, 40, priority="low")
    assert {claim(ledger).job for _ in range(32)} == {low}
    assert ledger.claim("worker/x", "worker", ["high", "normal"]) is None
    high = fill(ledger, 8, priority="high")
    assert {claim(ledger, "high", "normal").job for _ in range(8)} == {high}


def test_two_jobs_of_one_priority_share_it_and_leave_the_other_its_own(ledger: Ledger) -> None:
    one, two, low = fill(ledger, 200), fill(ledger, 200), fill(ledger, 200, priority="low")
    served: Counter[str] = Counter()
    for _ in range(320):
        served[claim(ledger).job] += 1
        assert abs(served[one] - served[two]) <= 1
    assert served[low] == 20


def test_many_jobs_are_served_by_turns_and_cost_a_claim_no_more_than_one(ledger: Ledger) -> None:
    fill(ledger, 40)
    ledger.client.config_resetstat()
    for _ in range(20):
        claim(ledger)
    alone = commands(ledger)
    ledger.client.flushall()
    for _ in range(MANY):
        fill(ledger, 2)
    served = Counter(claim(ledger).job for _ in range(MANY))
    assert set(served.values()) == {1}
    ledger.client.config_resetstat()
    for _ in range(20):
        claim(ledger)
    assert commands(ledger) <= alone


def test_what_a_child_holds_is_found_without_reading_the_jobs(ledger: Ledger) -> None:
    for _ in range(100):
        fill(ledger, 1)
    parcel = claim(ledger)
    claim(ledger)
    ledger.client.config_resetstat()
    (found,) = ledger.held_by(parcel.holder.rpartition("/")[0])
    assert (found.job, found.number, found.items) == (parcel.job, parcel.number, parcel.items)
    assert commands(ledger) <= 5


def test_claims_that_have_run_out_come_from_all_jobs_at_one_go(ledger: Ledger) -> None:
    hasty = Ledger(ledger.client, lease_seconds=0.01)
    jobs = {fill(ledger, 1) for _ in range(20)}
    for _ in range(20):
        claim(hasty)
    time.sleep(0.02)
    assert {parcel.job for parcel in ledger.expired()} == jobs


def test_a_claim_of_which_the_server_lost_the_rest_is_dropped(ledger: Ledger) -> None:
    ledger.client.zadd("cinemill:claimed", {"gone:000000001": 1})
    assert ledger.expired() == ledger.expired() == []
    assert not ledger.stirs()


def test_the_leader_is_told_of_what_needs_it_and_of_nothing_else(ledger: Ledger) -> None:
    listed, listing = fill(ledger, 3), fill(ledger, LOW_PARCELS + 2, exhausted=False)
    assert ledger.told(wait=0, most=9) == [listed, listing]
    claim(ledger)
    claim(ledger)
    assert ledger.told(wait=0, most=9) == []
    while ledger.waiting(listing) >= LOW_PARCELS:
        claim(ledger)
    assert ledger.told(wait=0, most=9) == [listing]
    ledger.move(listed, from_=["running"], to="paused")
    assert ledger.told(wait=0.1, most=9) == [listed]
    assert ledger.told(wait=0.1, most=9) == []


def test_what_may_start_is_counted_up_to_a_limit(ledger: Ledger) -> None:
    fill(ledger, 7)
    fill(ledger, 7, priority="low")
    assert (ledger.look(most=100)[0], ledger.look(most=10)[0]) == (14, 10)


def test_one_that_led_and_was_stopped_for_too_long_changes_nothing(ledger: Ledger) -> None:
    job = ledger.create(SPEC)
    stopped, next_one = Ledger(ledger.client), Ledger(ledger.client)
    assert stopped.lead(0.05)
    time.sleep(0.1)
    assert next_one.lead(10)
    parcels = [[ListedItem(0, "/archive/0", "/migrated/0", 1)]]
    with pytest.raises(Deposed):
        stopped.feed(job, 0, parcels, exhausted=True)
    with pytest.raises(Deposed):
        stopped.move(job, from_=["running"], to="paused")
    assert not stopped.lead(10)
    assert next_one.feed(job, 0, parcels, exhausted=True) == 1


def test_a_ledger_of_another_layout_is_left_alone_while_it_holds_jobs(ledger: Ledger) -> None:
    ledger.agree()
    job = fill(ledger, 1)
    for layout in (1, 99):
        ledger.client.set("cinemill:layout", layout)
        for attempt in (ledger.agree, ledger.confirm, lambda: claim(ledger)):
            with pytest.raises(ForeignLedger, match=f"layout {layout}"):
                attempt()
    ledger.client.delete("cinemill:layout")
    with pytest.raises(ForeignLedger, match="layout 1"):
        ledger.confirm()
    assert ledger.job(job).counts["pending"] == 1


def test_an_empty_ledger_of_an_older_layout_is_taken_over_by_workers_alone(ledger: Ledger) -> None:
    ledger.client.set("cinemill:layout", 1)
    with pytest.raises(ForeignLedger):
        ledger.confirm()
    ledger.agree()
    ledger.confirm()
