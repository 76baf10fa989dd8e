"""The ledger's transitions: exactly one account of every item, whatever happens in whatever order."""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis.exceptions import ResponseError

from cinemill.errors import UsageError
from cinemill_workers.engine import journal
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import JobSpec, ListedItem, Parcel
from tests.support.harness import failures, job_spec, receipts, retry, wait_until

pytestmark = pytest.mark.service

HOLDERS = itertools.count()
SPEC = job_spec(Path("/archive"), Path("/migrated"))

CLOCK_SECONDS = 0.002
"""So exactly is the server's clock known."""


def item(number: int, size: int = 100) -> ListedItem:
    return ListedItem(number, f"/archive/{number}.dcm", f"/migrated/{number}.dcm", size)


def receipt(size: int = 100) -> dict[str, object]:
    return {"status": "transcoded", "bytes_before": size, "bytes_after": size // 2, "pixel_bytes": 4 * size}


def fill(ledger: Ledger, *sizes: int, spec: JobSpec = SPEC) -> str:
    """Make a job with parcels of so many items."""
    job, numbers = ledger.create(spec), iter(range(1000))
    ledger.feed(job, 0, [[item(next(numbers)) for _ in range(size)] for size in sizes], exhausted=True)
    return job


def claim(ledger: Ledger, priority: str = "normal") -> Parcel:
    parcel = ledger.claim(f"holder{next(HOLDERS)}", "worker@host", [priority])
    assert parcel is not None
    return parcel


def claim_after(ledger: Ledger, start: float, seconds: float) -> Parcel:
    """Claim what may start so long after a moment of the server's clock, and not before."""
    found: list[Parcel] = []

    def claimed() -> bool:
        parcel = ledger.claim(f"holder{next(HOLDERS)}", "worker@host")
        found.extend([parcel] if parcel else [])
        return bool(found)

    wait_until(claimed, pause=0.01)
    assert ledger.now() - start > seconds - CLOCK_SECONDS
    return found[0]


def test_an_item_is_counted_when_it_is_finished_and_only_then(ledger: Ledger) -> None:
    job = fill(ledger, 2)
    parcel = claim(ledger)
    assert ledger.job(job).counts["running"] == 2
    assert ledger.finish(parcel, "done", receipt())
    assert ledger.finish(parcel, "copied", receipt(60))
    found = ledger.job(job)
    assert (found.state, found.over) == ("done", True)
    assert {state: n for state, n in found.counts.items() if n} == {"done": 1, "copied": 1}
    assert (found.bytes_in, found.bytes_out, found.pixel_bytes) == (160, 80, 640)


def test_a_second_holder_of_the_same_parcel_changes_nothing(ledger: Ledger) -> None:
    job = fill(ledger, 1)
    first = claim(ledger)
    second = Parcel(job, first.number, first.items, first.attempt)
    assert ledger.finish(first, "done", receipt())
    assert not ledger.finish(second, "failed", receipt())
    assert ledger.job(job).counts["failed"] == 0
    assert ledger.job(job).bytes_in == 100


def test_an_item_reported_twice_is_counted_once(ledger: Ledger) -> None:
    job = fill(ledger, 2)
    parcel = claim(ledger)
    again = replace(parcel)
    assert ledger.finish(parcel, "done", receipt())
    assert ledger.finish(again, "done", receipt())
    assert ledger.job(job).counts["done"] == 1


def test_a_claim_whose_answer_went_astray_is_answered_again(ledger: Ledger) -> None:
    fill(ledger, 2, 1)
    with patch.object(secrets, "token_hex", lambda _: "the same claim"):
        first = ledger.claim("same", "worker@host")
        assert first is not None
        ledger.finish(first, "done", receipt())
        again = ledger.claim("same", "worker@host")
    assert again is not None
    assert (again.number, again.position) == (first.number, 1)


def test_a_holder_of_the_same_name_does_not_get_what_its_predecessor_had(ledger: Ledger) -> None:
    job = fill(ledger, 1, 1)
    first, second = (ledger.claim("host/1", "worker@host") for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.number != second.number
    stolen = replace(first, holder=second.holder)
    assert ledger.renew(stolen, "worker@host") == "lost"
    assert not ledger.finish(stolen, "done", receipt())
    ledger.release(stolen)
    assert not ledger.stumble(stolen, most=0, rests=9, hold=1.0, note="")
    assert ledger.job(job).counts["running"] == 2
    assert ledger.finish(first, "done", receipt())


def test_an_item_that_kills_a_worker_of_the_same_name_again_and_again_is_charged_each_time(
    ledger: Ledger,
) -> None:
    hasty = Ledger(ledger.client, lease_seconds=0.001)
    fill(ledger, 1)
    attempts = []
    for _ in range(3):
        parcel = hasty.claim("container/7", "worker@container")
        assert parcel is not None
        attempts.append(parcel.attempt)
        time.sleep(0.01)
        (expired,) = ledger.expired()
        ledger.finish(expired, "retry", {}, expired=True, release=True)
    assert attempts == [0, 1, 2]


def test_a_number_drawn_again_after_a_loss_settles_nobody_elses_item(ledger: Ledger) -> None:
    job = fill(ledger, 1)
    before = ledger.client.dump(f"cinemill:job:{job}")
    old = claim(ledger)
    for name in ("work", "pending", "leases", "holders"):
        ledger.client.delete(f"cinemill:job:{job}:{name}")
    ledger.client.restore(f"cinemill:job:{job}", 0, before, replace=True)
    ledger.client.hdel(f"cinemill:job:{job}", "parcels", "exhausted")
    ledger.feed(job, 1, [[item(7)]], exhausted=True)
    new = claim(ledger)
    assert new.number == old.number
    assert not ledger.finish(old, "done", receipt())
    assert ledger.finish(new, "done", receipt())


def test_counters_that_a_loss_left_wrong_are_counted_anew(ledger: Ledger) -> None:
    job = fill(ledger, 1)
    ledger.finish(claim(ledger), "done", receipt())
    kept = fill(ledger, 3, 2)
    first = claim(ledger)
    ledger.finish(first, "done", receipt())
    for wrong in (job, kept):
        ledger.client.hset(f"cinemill:job:{wrong}", mapping={"pending": -3, "running": 2})
        assert ledger.idle([wrong]) == [wrong] * (wrong == job)
        ledger.recount(wrong)
    assert ledger.job(job).over
    counts = ledger.job(kept).counts
    assert (counts["pending"], counts["running"]) == (2, 2)


def test_a_job_is_over_when_its_state_says_so(ledger: Ledger) -> None:
    job = fill(ledger, 1)
    ledger.finish(claim(ledger), "done", receipt())
    ledger.client.hset(f"cinemill:job:{job}", mapping={"pending": -3, "running": 2})
    assert ledger.job(job).over


ODD: tuple[Any, ...] = (None, "", -1, -0.0, 0.5, 2**53, True, [0], {"a": 1}, [{"items": [], "bytes": []}])


@pytest.mark.parametrize(
    "operation",
    [
        "feed",
        "claim",
        "look",
        "layout",
        "renew",
        "finish",
        "arrange",
        "release",
        "stumble",
        "move",
        "again",
        "written",
        "recount",
        "delete",
    ],
)
def test_an_operation_with_odd_arguments_does_all_or_nothing(ledger: Ledger, operation: str) -> None:
    patient = Ledger(ledger.client, lease_seconds=3600)
    job = fill(ledger, 2, 1)
    failed = claim(patient)
    while failed.position < len(failed.items):
        ledger.finish(failed, "failed", {"status": "failed"})
    parcel = claim(patient)
    proper: dict[str, Any] = {
        "id": job,
        "lease": 60000,
        "listed": 3,
        "parcels": [],
        "exhausted": True,
        "cursor": "[]",
        "priorities": ["normal"],
        "low": 1,
        "layout": 2,
        "leader": None,
        "raises": False,
        "holder": parcel.holder,
        "claim": "c",
        "worker": "w",
        "burst": 1,
        "parcel": parcel.number,
        "position": 0,
        "count": 1,
        "item": 0,
        "delay": 0,
        "expired": False,
        "release": False,
        "alone": False,
        "bytes_in": 0,
        "bytes_out": 0,
        "pixel_bytes": 0,
        "note": "n",
        "origins": ["running"],
        "state": "done",
        "text": item(0).to_json(),
        "bytes": 0,
        "most": 1,
        "rests": 1,
        "status": "failed",
        "awaits": "a",
        "roots": "{}",
        "segment": "1",
        "before": "1-1",
        "described": "",
        "force": False,
    }
    if operation == "move":
        proper["state"] = "paused"
    client, refused = ledger.client, 0
    saved = {key: client.dump(key) for key in client.scan_iter()}
    for name, value in itertools.product(proper, ODD):
        arguments = proper | {name: value}
        text = json.dumps({key: each for key, each in arguments.items() if each is not None})
        try:
            ledger.transition(operation)(args=[text, b"record"])
        except ResponseError:
            refused += 1
            assert {key: client.dump(key) for key in client.scan_iter()} == saved, (name, value)
        else:
            client.flushdb()
            for key, dumped in saved.items():
                client.restore(key, 0, dumped)
            saved = {key: client.dump(key) for key in client.scan_iter()}
    assert refused


def test_a_failure_without_a_size_waits_again(ledger: Ledger) -> None:
    job = fill(ledger, 1)
    ledger.finish(claim(ledger), "failed", {"status": "failed", "bytes_before": 0})
    assert retry(ledger, job) == 1
    assert claim(ledger).items == [item(0)]


def test_a_job_rests_when_the_storage_fails_one_item_after_the_other(ledger: Ledger) -> None:
    job = fill(ledger, 1, 1, 1)
    first, second = claim(ledger), claim(ledger)
    assert not ledger.stumble(first, most=2, rests=2, hold=0.1, note="away")
    start = ledger.now()
    assert ledger.stumble(second, most=2, rests=2, hold=0.1, note="away")
    assert ledger.job(job).note == "away"
    again = claim_after(ledger, start, 0.1)
    assert again.attempt == 0
    start = ledger.now()
    assert ledger.stumble(again, most=2, rests=2, hold=0.1, note="away")
    assert not ledger.stumble(claim_after(ledger, start, 0.1), most=2, rests=2, hold=0.1, note="away")
    ledger.finish(first, "done", receipt())
    assert not ledger.stumble(claim(ledger), most=2, rests=2, hold=0.1, note="away")


def test_a_pause_that_awaits_something_keeps_the_roots_only_when_that_has_come(ledger: Ledger) -> None:
    job = ledger.create(SPEC)
    ledger.feed(job, 0, [[item(0)]], exhausted=False, roots={"/archive": 7})
    ledger.feed(job, 1, [[item(1)]], exhausted=False, roots={"/archive": 8})
    ledger.move(job, from_=["running"], to="paused", awaits="roots")
    assert ledger.job(job).awaits == "roots"
    ledger.move(job, from_=["paused"], to="running", awaits="roots")
    assert (ledger.job(job).awaits, ledger.job(job).roots) == ("", {"/archive": 7})
    ledger.move(job, from_=["running"], to="paused", awaits="roots")
    ledger.move(job, from_=["paused"], to="running")
    assert (ledger.job(job).awaits, ledger.job(job).roots) == ("", {})


def test_what_is_left_of_a_parcel_takes_another_order(ledger: Ledger) -> None:
    fill(ledger, 4)
    parcel = claim(ledger)
    ledger.finish(parcel, "done", {})
    first, *left = [each.number for each in parcel.items]
    assert ledger.arrange(parcel, parcel.items[:0:-1])
    assert [each.number for each in parcel.items] == [first, *reversed(left)]
    ledger.finish(parcel, "done", {})
    ledger.release(parcel)
    assert [each.number for each in claim(ledger).items] == list(reversed(left))[1:]
    assert not ledger.arrange(parcel, parcel.items[2:])


def test_a_holder_whose_claim_was_taken_away_changes_nothing(ledger: Ledger) -> None:
    fill(ledger, 1)
    hasty = Ledger(ledger.client, lease_seconds=0.001)
    slow = claim(hasty)
    time.sleep(0.01)
    (expired,) = ledger.expired()
    assert ledger.finish(expired, "retry", {}, expired=True, release=True)
    assert ledger.renew(slow, "worker@host") == "lost"
    assert not ledger.finish(slow, "done", receipt())
    assert claim(ledger).attempt == 1


def test_a_claim_that_was_renewed_is_not_taken_away(ledger: Ledger) -> None:
    fill(ledger, 1)
    parcel = claim(ledger)
    assert not ledger.finish(parcel, "retry", {}, expired=True, release=True)
    assert ledger.renew(parcel, "worker@host") == "running"


def test_the_item_a_child_died_on_goes_alone_and_the_others_unharmed(ledger: Ledger) -> None:
    fill(ledger, 3)
    parcel = claim(ledger)
    ledger.finish(parcel, "done", receipt())
    (held,) = ledger.held_by(f"holder{next(HOLDERS) - 1}")
    ledger.finish(held, "retry", {}, release=True)
    alone, rest = sorted((claim(ledger), claim(ledger)), key=lambda each: each.items[0].number)
    assert ([each.number for each in alone.items], alone.attempt) == ([1], 1)
    assert ([each.number for each in rest.items], rest.attempt) == ([2], 0)


def test_a_retry_waits_for_its_delay(ledger: Ledger) -> None:
    job = fill(ledger, 1, 1)
    ledger.finish(claim(ledger), "retry", {}, delay=600)
    assert ledger.waiting(job) == 1
    start = ledger.now()
    ledger.finish(claim(ledger), "retry", {}, delay=0.2)
    assert claim_after(ledger, start, 0.2).attempt == 1
    assert ledger.claim("holder", "worker") is None
    assert ledger.waiting(job) == 0


def test_pausing_stops_claims_and_tells_holders(ledger: Ledger) -> None:
    job = fill(ledger, 1, 1)
    parcel = claim(ledger)
    assert ledger.move(job, from_=["running"], to="paused") == "paused"
    assert ledger.claim("holder", "worker") is None
    assert ledger.renew(parcel, "worker") == "paused"
    ledger.release(parcel)
    assert ledger.job(job).counts["pending"] == 2
    ledger.move(job, from_=["paused"], to="running")
    assert claim(ledger).attempt == 0


def test_cancelling_counts_what_waits_and_then_what_is_handed_back(ledger: Ledger) -> None:
    job = fill(ledger, 3, 2)
    parcel = claim(ledger)
    ledger.finish(parcel, "done", receipt())
    ledger.move(job, from_=["running"], to="cancelled")
    assert not ledger.job(job).over
    ledger.release(parcel)
    found = ledger.job(job)
    assert found.over
    assert found.finished
    assert {state: n for state, n in found.counts.items() if n} == {"done": 1, "cancelled": 4}
    assert ledger.active() == []


def test_a_state_changes_only_from_the_expected_ones(ledger: Ledger) -> None:
    job = fill(ledger, 1)
    assert ledger.move(job, from_=["paused"], to="running") == "running"
    ledger.move(job, from_=["running"], to="cancelled")
    assert ledger.move(job, from_=["paused"], to="running") == "cancelled"


def test_jobs_of_one_priority_are_served_by_turns(ledger: Ledger) -> None:
    jobs = [fill(ledger, 1, 1, 1) for _ in range(2)]
    urgent = fill(ledger, 1, spec=replace(SPEC, priority="high"))
    assert [claim(ledger).job for _ in range(4)] in (jobs * 2, jobs[::-1] * 2)
    assert claim(ledger, "high").job == urgent


def test_jobs_that_may_not_start_are_passed_by_and_found_again(ledger: Ledger) -> None:
    first, second, third = (fill(ledger, 1) for _ in range(3))
    ledger.move(first, from_=["running"], to="paused")
    resting = claim(ledger)
    ledger.release(resting, hold=600, note="no room")
    other = claim(ledger)
    assert {resting.job, other.job} == {second, third}
    assert ledger.claim("holder", "worker") is None
    ledger.move(first, from_=["paused"], to="running")
    assert claim(ledger).job == first
    assert ledger.claim("holder", "worker") is None
    start = ledger.now()
    ledger.release(other, hold=0.2, note="no room")
    assert claim_after(ledger, start, 0.2).job == other.job
    assert ledger.claim("holder", "worker") is None


def test_idle_jobs_cost_a_claim_nothing(ledger: Ledger) -> None:
    job = fill(ledger, 1)
    for _ in range(50):
        ledger.move(fill(ledger, 1), from_=["running"], to="paused")
    ledger.client.config_resetstat()
    assert claim(ledger).job == job
    calls = sum(each["calls"] for each in ledger.client.info("commandstats").values())
    assert calls < 60


def test_a_note_that_says_why_a_job_is_paused_outlasts_what_still_ran(ledger: Ledger) -> None:
    job = fill(ledger, 1, 1)
    parcel = claim(ledger)
    ledger.move(job, from_=["running"], to="paused", note="its share is away")
    ledger.finish(parcel, "done", receipt())
    assert ledger.job(job).note == "its share is away"


def test_a_rate_delays_the_next_start(ledger: Ledger) -> None:
    job = ledger.create(replace(SPEC, max_rate=1000.0))
    ledger.feed(job, 0, [[item(n, size=size)] for n, size in enumerate((1500, 600_000, 1))], exhausted=True)
    claim(ledger)
    claim(ledger)
    assert ledger.claim("holder", "worker") is None
    assert ledger.look(most=9)[0] == 0


def test_a_hold_rests_the_whole_job_without_counting_an_attempt(ledger: Ledger) -> None:
    job = fill(ledger, 1, 1)
    start = ledger.now()
    ledger.release(claim(ledger), hold=0.2, note="no room")
    assert ledger.job(job).note == "no room"
    parcel = claim_after(ledger, start, 0.2)
    assert parcel.attempt == 0
    ledger.finish(parcel, "done", receipt())
    assert ledger.job(job).note == ""


def test_two_listings_of_one_job_add_every_item_once(ledger: Ledger) -> None:
    job = ledger.create(SPEC)
    assert ledger.feed(job, 0, [[item(0)]], exhausted=False) == 1
    assert ledger.feed(job, 0, [[item(0)]], exhausted=False) == -1
    assert ledger.feed(job, 1, [[item(1)]], exhausted=True) == 2
    assert ledger.job(job).listed == 2


def test_an_empty_job_is_done_at_once(ledger: Ledger) -> None:
    job = ledger.create(SPEC)
    ledger.feed(job, 0, [], exhausted=True)
    assert ledger.job(job).over


def test_a_job_that_is_over_can_be_forgotten(ledger: Ledger) -> None:
    job, other = fill(ledger, 2), fill(ledger, 1)
    parcel = claim(ledger)
    assert parcel.job == job
    ledger.finish(parcel, "done", receipt())
    assert ledger.delete(job) is False
    ledger.finish(parcel, "failed", receipt())
    assert ledger.delete(job, force=True)
    assert [found.id for found in ledger.jobs()] == [other]
    assert not list(ledger.client.scan_iter(f"*{job}*"))


def test_a_note_may_quote_any_name(ledger: Ledger) -> None:
    job = fill(ledger, 1)
    ledger.move(job, from_=["running"], to="paused", note="/archive/\udcff is gone")
    assert ledger.job(job).note == "/archive/\\udcff is gone"


def test_failed_items_wait_again_once(ledger: Ledger) -> None:
    job = fill(ledger, 2)
    parcel = claim(ledger)
    ledger.finish(parcel, "failed", {"status": "failed", "error": {"kind": "DamagedFile"}, "bytes_before": 7})
    ledger.finish(parcel, "quarantined", {"status": "failed"})
    assert ledger.job(job).over
    records = ledger.records(job)
    assert [each["attempts"] for each in failures(ledger, job)] == [1, 1]
    assert retry(ledger, job) == 2
    with patch.object(ledger, "records", lambda _: records):
        assert retry(ledger, job) == 0
    found = ledger.job(job)
    assert (found.state, found.counts["pending"], found.counts["failed"]) == ("running", 2, 0)
    assert found.bytes_in == 0
    assert not any(ledger.failed(job, number) for number in (0, 1))


def test_receipts_come_back_whole_and_leave_nothing_behind(ledger: Ledger) -> None:
    job = ledger.create(SPEC)
    count = 500
    told = [
        {
            "source": f"/archive/2019/07/1.2.840.113619.2.391.{n * 7919}/1.2.840.113619.2.391.{n * 104729}.dcm",
            "output": f"/migrated/2019/07/1.2.840.113619.2.391.{n * 7919}/1.2.840.113619.2.391.{n * 104729}.dcm",
            "status": "transcoded",
            "digest": hashlib.blake2b(bytes([n % 256, n // 256]), digest_size=16).hexdigest(),
            "bytes_before": 1000 + n,
            "bytes_after": 500 + n,
            "seconds": {"decode": n / 977, "encode": n / 331, "verify": n / 517},
            "transfer_syntax": "1.2.840.10008.1.2.4.80",
        }
        for n in range(count)
    ]
    ledger.feed(job, 0, [[item(n) for n in range(count)]], exhausted=True)
    parcel = claim(ledger)
    for each in told:
        ledger.finish(parcel, "done", each)
    assert receipts(ledger, job) == told
    assert ledger.unwritten() == [job]
    found = ledger.job(job)
    last = ledger.records(job)[-1]
    assert ledger.written(job, segment="1", last=last, described=0.0)
    assert ledger.unwritten() == [job]
    assert ledger.written(job, described=found.finished)
    assert (ledger.unwritten(), ledger.records(job)) == ([], [])
    keys = list(ledger.client.scan_iter(f"cinemill:job:{job}*"))
    assert sum(ledger.client.memory_usage(key, samples=0) for key in keys) < 5000


def test_only_the_segment_begun_last_lets_records_go(ledger: Ledger) -> None:
    job = fill(ledger, 2)
    parcel = claim(ledger)
    ledger.finish(parcel, "done", receipt())
    (record,) = ledger.records(job)
    assert ledger.written(job, segment="000001", described=-1.0)
    assert ledger.written(job, segment="000002", described=-1.0)
    assert not ledger.written(job, segment="000001", last=record, described=0.0)
    assert ledger.records(job) == [record]
    ledger.finish(parcel, "done", receipt())
    assert ledger.written(job, segment="000002", last=record, described=0.0)
    (left,) = ledger.records(job)
    assert json.loads(left)["number"] == 1


def test_a_job_is_kept_while_receipts_of_it_are_not_written(ledger: Ledger) -> None:
    job = fill(ledger, 1)
    ledger.finish(claim(ledger), "done", receipt())
    assert ledger.delete(job) is None
    assert ledger.job(job).over
    assert ledger.delete(job, force=True)
    assert not list(ledger.client.scan_iter(f"*{job}*"))
    assert ledger.unwritten() == []


def test_names_that_are_no_text_survive(ledger: Ledger) -> None:
    job = ledger.create(SPEC)
    odd = ListedItem(0, "/archive/\udcff\u00e9 %s.dcm", "/migrated/\udcff.dcm", 1)
    ledger.feed(job, 0, [[odd]], exhausted=True)
    assert claim(ledger).items == [odd]
    assert ledger.job(job).cursor == (odd.source, odd.output)


def test_a_job_is_found_by_the_beginning_of_its_id(ledger: Ledger) -> None:
    job = fill(ledger, 1)
    assert ledger.find(job[:-2]).id == job
    with pytest.raises(UsageError, match="no job begins"):
        ledger.find("nothing")


def test_a_job_is_found_by_its_name_or_the_beginning_of_that(ledger: Ledger) -> None:
    first = ledger.create(replace(SPEC, name="echo-2019"))
    second = ledger.create(replace(SPEC, name="echo-2019-again"))
    assert ledger.find("echo-2019").id == first
    assert ledger.find("echo-2019-").id == second
    with pytest.raises(UsageError, match=f"choose one of .*{second}"):
        ledger.find("echo")
    with pytest.raises(UsageError, match="choose one of"):
        ledger.find("2")


def test_without_any_job_there_is_no_last_one(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="there is no job"):
        ledger.find("")


def test_settled_items_are_counted_by_the_status_of_their_receipts(ledger: Ledger) -> None:
    job = fill(ledger, 4)
    parcel = claim(ledger)
    ledger.finish(parcel, "done", receipt())
    ledger.finish(parcel, "skipped", receipt() | {"status": "ignored"})
    ledger.finish(parcel, "failed", receipt() | {"status": "refused"})
    ledger.finish(parcel, "retry", receipt() | {"status": "failed"})
    assert ledger.job(job).statuses == {"transcoded": 1, "ignored": 1, "refused": 1}
    ledger.finish(claim(ledger), "done", receipt())
    retry(ledger, job)
    assert ledger.job(job).to_dict()["statuses"] == {"transcoded": 2, "ignored": 1}


def test_what_is_cancelled_has_no_status(ledger: Ledger) -> None:
    job = fill(ledger, 1)
    parcel = claim(ledger)
    ledger.move(job, from_=["running"], to="cancelled")
    ledger.finish(parcel, "retry", {"status": "failed"})
    assert ledger.job(job).statuses == {}


def test_totals_never_fall(ledger: Ledger) -> None:
    kept, job = fill(ledger, 1), fill(ledger, 1, 1)
    for state in ("done", "failed", "done"):
        parcel = claim(ledger)
        for _ in parcel.items:
            ledger.finish(parcel, state, receipt())
    before = ledger.totals()
    assert before["bytes_in"] == 300
    for each in (kept, job):
        retry(ledger, each)
        assert ledger.totals() == before
    while (left := ledger.claim(f"holder{next(HOLDERS)}", "worker")) is not None:
        for _ in list(left.items):
            ledger.finish(left, "done", receipt())
    after = ledger.totals()
    assert all(after[name] >= before[name] for name in before)
    assert ledger.delete(kept, force=True)
    assert ledger.delete(job, force=True)
    assert ledger.jobs() == []
    assert ledger.totals() == after


def test_readers_do_without_a_job_that_is_gone(ledger: Ledger) -> None:
    job = fill(ledger, 1)
    parcel = claim(ledger)
    (slow,) = ledger.held_by(f"holder{next(HOLDERS) - 1}")
    ledger.finish(parcel, "done", receipt())
    found = ledger.job(job)
    assert ledger.delete(job, force=True)
    ledger.client.sadd("cinemill:active", job)
    ledger.client.zadd("cinemill:jobs", {job: 0})
    assert ledger.jobs() == ledger.active() == ledger.present([job]) == []
    assert ledger.move(job, from_=["running"], to="paused") == "gone"
    assert ledger.renew(slow, "worker") == "lost"
    assert not ledger.finish(slow, "done", receipt())
    ledger.release(slow, hold=1.0, note="no room")
    assert ledger.feed(job, 1, [[item(1)]], exhausted=True) == -1
    assert ledger.claim("holder", "worker") is None
    assert (ledger.expired(), ledger.waiting(job), journal.retry(ledger, found)) == ([], 0, 0)
    assert ledger.look(most=9) == (0, [])
    assert not list(ledger.client.scan_iter(f"cinemill:job:{job}*"))


def test_complaints_are_settled_by_a_worker_of_the_same_machine(ledger: Ledger) -> None:
    ledger.complain("cinemill-1@a", "ended")
    ledger.complain("cinemill-2@b", "ended")
    ledger.settle_complaints("a")
    assert ledger.complaints() == {"cinemill-2@b": "ended"}


def test_one_leads_and_another_follows_when_it_resigns(ledger: Ledger) -> None:
    other = Ledger(ledger.client)
    assert ledger.lead(10)
    assert ledger.lead(10)
    assert not other.lead(10)
    other.resign("b")
    assert not other.lead(10)
    ledger.resign("a")
    assert other.lead(10)


class AnyOrder(RuleBasedStateMachine):
    """Feeds, claims, reports, losses and commands in any order: the counters always add up to the items listed."""

    ledger: Ledger

    def __init__(self) -> None:
        super().__init__()
        self.ledger.client.flushall()
        self.job = self.ledger.create(SPEC)
        self.held: list[Parcel] = []
        self.exhausted = False
        self.settled: dict[int, str] = {}

    @rule(sizes=st.lists(st.integers(1, 3), max_size=3), last=st.booleans())
    def feed(self, sizes: list[int], *, last: bool) -> None:
        found = self.ledger.job(self.job)
        numbers = iter(range(found.listed, found.listed + 9))
        parcels = [[item(next(numbers)) for _ in range(size)] for size in sizes]
        self.ledger.feed(self.job, found.listed, parcels, exhausted=last)

    @rule(hasty=st.booleans())
    def claim(self, *, hasty: bool) -> None:
        ledger = Ledger(self.ledger.client, lease_seconds=0.0 if hasty else 60)
        parcel = ledger.claim(f"holder{next(HOLDERS)}", "worker")
        self.held += [parcel] if parcel else []

    @rule(data=st.data(), state=st.sampled_from(["done", "skipped", "failed", "quarantined", "retry"]))
    def finish(self, data: st.DataObject, state: str) -> None:
        if self.held:
            parcel = data.draw(st.sampled_from(self.held))
            if parcel.position == len(parcel.items):
                return
            number = parcel.items[parcel.position].number
            if self.ledger.finish(parcel, state, {"bytes_before": 1}) and state != "retry":
                assert number not in self.settled
                self.settled[number] = state

    @rule(data=st.data())
    def arrange(self, data: st.DataObject) -> None:
        if left := [parcel for parcel in self.held if parcel.position < len(parcel.items)]:
            parcel = data.draw(st.sampled_from(left))
            self.ledger.arrange(parcel, data.draw(st.permutations(parcel.items[parcel.position :])))

    @rule(data=st.data(), alone=st.booleans())
    def release(self, data: st.DataObject, *, alone: bool) -> None:
        if self.held:
            self.ledger.release(data.draw(st.sampled_from(self.held)), alone=alone)

    @rule(alone=st.booleans())
    def sweep(self, *, alone: bool) -> None:
        for parcel in self.ledger.expired():
            if alone:
                self.ledger.release(parcel, alone=True, expired=True)
            else:
                self.ledger.finish(parcel, "retry", {}, expired=True, release=True)

    @rule(change=st.sampled_from([("running", "paused"), ("paused", "running"), ("running", "waiting")]))
    def move(self, change: tuple[str, str]) -> None:
        self.ledger.move(self.job, from_=[change[0]], to=change[1])

    @rule()
    def retry(self) -> None:
        failed = [number for number, state in self.settled.items() if state in {"failed", "quarantined"}]
        assert retry(self.ledger, self.job) == len(failed)
        for number in failed:
            del self.settled[number]

    @invariant()
    def every_item_has_one_account(self) -> None:
        found = self.ledger.job(self.job)
        assert sum(found.counts.values()) == found.listed
        assert found.settled == len(self.settled)
        stored = [
            json.loads(text)["items"] for text in self.ledger.client.hvals(f"cinemill:job:{self.job}:work")
        ]
        holders = self.ledger.client.hvals(f"cinemill:job:{self.job}:holders")
        progress = sum(int(held.rpartition(b" ")[2]) for held in holders)
        assert sum(map(len, stored)) - progress == found.counts["pending"] + found.counts["running"]

    def teardown(self) -> None:
        found = self.ledger.job(self.job)
        if found.state != "done":
            self.ledger.move(self.job, from_=["running", "waiting", "paused"], to="cancelled")
        for parcel in self.held:
            self.ledger.release(parcel)
        assert self.ledger.job(self.job).over


def test_counters_add_up_in_any_order(ledger: Ledger) -> None:
    AnyOrder.ledger = ledger
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
