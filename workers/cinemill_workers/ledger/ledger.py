"""Job and item states in Redis with atomic transitions, counters and receipts: the truth about a job.

Items travel in parcels: one long cine, or some small instances. Waiting and claimed parcels are stored whole;
of a finished item only its compressed receipt is left, of a failed one its failure. The transitions are in
``ledger.lua``.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from typing import Any

from redis import Redis

from cinemill.errors import UsageError
from cinemill_workers.ledger.model import ITEM_STATES, Job, JobGone, JobSpec, ListedItem, Parcel
from cinemill_workers.ledger.packing import LONGEST_DICTIONARY, dumps, pack, unpack
from cinemill_workers.ledger.workers import Workers

_ACTIVE = "cinemill:active"
_JOBS = "cinemill:jobs"
_STATUS = "status:"
_NAMED = 5

BURST_MILLISECONDS = 2000
"""How far a throttled job may fall behind its rate and still catch up."""


class Ledger(Workers):
    """The ledger behind one Redis client."""

    def __init__(self, client: Redis, *, lease_seconds: float = 30.0) -> None:
        super().__init__(client)
        self.lease = round(lease_seconds * 1000)
        self._transition = client.register_script(files(__package__).joinpath("ledger.lua").read_text())

    def _apply(self, operation: str, job: str | None, record: bytes = b"", **arguments: Any) -> Any:
        arguments = {"id": job, "lease": self.lease, **arguments}
        present = {name: value for name, value in arguments.items() if value is not None}
        return self._transition(args=[operation, json.dumps(present), record])

    # Jobs

    def create(self, spec: JobSpec) -> str:
        """Store a new job and return its id."""
        job = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        fields = {
            "spec": spec.to_json(),
            "state": "running",
            "priority": spec.priority,
            "rate": round(spec.max_rate),
            "listed": 0,
            "created": round(time.time() * 1000),
            **dict.fromkeys(ITEM_STATES, 0),
        }
        with self.client.pipeline(transaction=True) as pipe:
            pipe.hset(_key(job), mapping=fields)
            pipe.zadd(_JOBS, {job: time.time()})
            pipe.sadd(_ACTIVE, job)
            pipe.execute()
        return job

    def job(self, job: str) -> Job:
        """Return one job.

        Raises
        ------
        JobGone
            There is no such job.
        """
        found = {
            key.decode(): value.decode()
            for key, value in self.client.hgetall(_key(job)).items()
            if key != b"dictionary"
        }
        if not found:
            raise JobGone(f"no job {job}: `cinemill jobs list` shows those there are")
        return Job(
            id=job,
            spec=JobSpec.from_json(found["spec"]),
            state=found["state"],
            counts={state: int(found[state]) for state in ITEM_STATES},
            listed=int(found["listed"]),
            exhausted=found.get("exhausted") == "1",
            bytes_in=int(found.get("bytes_in", 0)),
            bytes_out=int(found.get("bytes_out", 0)),
            pixel_bytes=int(found.get("pixel_bytes", 0)),
            retries=int(found.get("retries", 0)),
            created=int(found["created"]) / 1000,
            started=int(found.get("started", 0)) / 1000,
            finished=int(found.get("finished", 0)) / 1000,
            note=found.get("note", ""),
            statuses={
                name.removeprefix(_STATUS): int(count)
                for name, count in sorted(found.items())
                if name.startswith(_STATUS) and count != "0"
            },
            cursor=tuple(json.loads(found.get("cursor", "[]"))),
        )

    def find(self, name: str) -> Job:
        """Return the one job of this id or name, or whose id or name begins like this; the last one for nothing.

        Raises
        ------
        JobGone
            There is none.
        UsageError
            There are several.
        """
        jobs = self.jobs()
        if not name:
            found = jobs[-1:]
        else:
            found = [job for job in jobs if name in {job.id, job.spec.name}] or [
                job for job in jobs if job.id.startswith(name) or job.spec.name.startswith(name)
            ]
        if not found:
            trouble = f"no job begins with {name!r}" if name else "no job has been submitted"
            raise JobGone(f"{trouble}: `cinemill jobs list` shows all")
        if len(found) > 1:
            raise UsageError(
                f"{len(found)} jobs are called {name!r} or begin so: choose one of "
                + ", ".join(job.id for job in found[-_NAMED:])
            )
        return found[0]

    def jobs(self) -> list[Job]:
        """Return all jobs, oldest first."""
        return self.present(job.decode() for job in self.client.zrange(_JOBS, 0, -1))

    def active(self) -> list[Job]:
        """Return the jobs that are not over, oldest first."""
        return self.present(sorted(member.decode() for member in self.client.smembers(_ACTIVE)))

    def present(self, ids: Iterable[str]) -> list[Job]:
        """Return those of these jobs that have not been deleted."""
        found = []
        for job in ids:
            with suppress(JobGone):
                found.append(self.job(job))
        return found

    def totals(self) -> dict[str, int]:
        """Return what all jobs ever counted, forgotten ones included; no figure ever falls."""
        names = ("bytes_in", "bytes_out", "pixel_bytes", "retries")
        return dict(zip(names, map(int, self._apply("totals", None)), strict=True))

    def move(self, job: str, *, from_: Sequence[str], to: str, note: str | None = None) -> str:
        """Change a job's state if it is one of `from_`; return the state it then has, ``"gone"`` if it is deleted.

        Parameters
        ----------
        from_
            The states that may change.
        to
            The new state.
        note
            Why, for those who look at the job; none removes the last one.
        """
        note = None if note is None else _escaped(note)
        return str(self._apply("move", job, origins=list(from_), to=to, note=note), "utf-8")

    def delete(self, job: str) -> bool:
        """Forget a job with its receipts; False if it is not over."""
        return bool(self._apply("delete", job))

    # Parcels

    def feed(self, job: str, listed: int, parcels: Sequence[Sequence[ListedItem]], *, exhausted: bool) -> int:
        """Add parcels to a job of which `listed` items are known.

        Returns
        -------
        int
            How many parcels wait now; -1 if somebody else has listed more meanwhile, and nothing was added.
        """
        cursor = [parcels[-1][-1].source, parcels[-1][-1].output] if parcels else []
        packed = [{"items": [i.to_json() for i in p], "bytes": [i.size for i in p]} for p in parcels]
        return int(
            self._apply(
                "feed", job, listed=listed, parcels=packed, exhausted=exhausted, cursor=json.dumps(cursor)
            )
        )

    def claim(self, priority: str, holder: str, worker: str) -> Parcel | None:
        """Take a parcel that may start now of a running job of this priority; jobs are served by turns."""
        found = self._apply(
            "claim", None, priority=priority, holder=holder, worker=worker, burst=BURST_MILLISECONDS
        )
        if not found:
            return None
        job, number, text, position, dictionary, outstanding = found
        parcel = _parcel(job.decode(), number, text, int(position))
        return replace(parcel, dictionary=dictionary, outstanding=int(outstanding))

    def renew(self, parcel: Parcel, worker: str) -> str:
        """Prolong a claim; return the job's state, or ``"lost"``."""
        return str(self._apply("renew", parcel.job, parcel=parcel.number, worker=worker), "utf-8")

    def finish(
        self,
        parcel: Parcel,
        state: str,
        receipt: dict[str, Any],
        *,
        delay: float = 0.0,
        expired: bool = False,
        release: bool = False,
    ) -> bool:
        """Record what became of the parcel's next item: a final state, or ``"retry"`` after `delay` seconds.

        Parameters
        ----------
        receipt
            JSON form of the item's receipt.
        expired
            Only if the claim has run out.
        release
            Also hand back the rest of the parcel.

        Returns
        -------
        bool
            False if the claim was taken away: then nothing was counted.
        """
        item = parcel.items[parcel.position]
        record = b""
        if state in {"failed", "quarantined"}:
            record = dumps(
                {"state": state, "attempts": parcel.attempt + 1, "item": item.to_json(), "receipt": receipt}
            )
        elif state in {"done", "copied", "skipped"}:
            parcel.dictionary = parcel.dictionary or self._teach(parcel.job, receipt)
            record = pack(receipt, parcel.dictionary)
        answer = self._apply(
            "finish",
            parcel.job,
            record,
            parcel=parcel.number,
            position=parcel.position,
            item=item.number,
            state=state,
            status=receipt.get("status"),
            delay=round(delay * 1000),
            expired=expired,
            release=release,
            bytes_in=int(receipt.get("bytes_before") or 0),
            bytes_out=int(receipt.get("bytes_after") or 0),
            pixel_bytes=0 if receipt.get("status") == "kept" else int(receipt.get("pixel_bytes") or 0),
        )
        parcel.position += 1
        return bool(answer != b"lost")

    def _teach(self, job: str, receipt: dict[str, Any]) -> bytes:
        """Make this the receipt that all others of the job are compressed against, if it is the first."""
        return bytes(self._apply("teach", job, dumps(receipt)[:LONGEST_DICTIONARY]))

    def release(self, parcel: Parcel, *, hold: float = 0.0, note: str = "") -> None:
        """Hand back the rest of a parcel.

        With `hold`, the whole job rests for so many seconds, and `note` says why.
        """
        self._apply(
            "release",
            parcel.job,
            parcel=parcel.number,
            position=parcel.position,
            delay=round(hold * 1000),
            note=_escaped(note),
        )

    def expired(self, job: str) -> list[Parcel]:
        """Return the claimed parcels whose claims have run out."""
        now = self._milliseconds()
        return self._claimed(job, self.client.zrangebyscore(f"{_key(job)}:leases", "-inf", now))

    def held_by(self, holder: str) -> list[Parcel]:
        """Return the parcels that one child process has claimed."""
        found = []
        for job in self.active():
            holders = self.client.hgetall(f"{_key(job.id)}:holders")
            found += self._claimed(
                job.id, [number for number, name in holders.items() if name.decode() == holder]
            )
        return found

    def _claimed(self, job: str, numbers: Sequence[bytes]) -> list[Parcel]:
        found = []
        for number in numbers:
            text = self.client.hget(f"{_key(job)}:work", number)
            position = self.client.hget(f"{_key(job)}:progress", number)
            if text is not None and position is not None:
                found.append(_parcel(job, number, text, int(position)))
        return found

    def waiting(self, job: str) -> int:
        """Return how many parcels could be claimed now, were the job running."""
        return int(self.client.zcount(f"{_key(job)}:pending", "-inf", self._milliseconds()))

    def may_start(self, job: str) -> bool:
        """Whether throttle and holds let a parcel start now."""
        next_start = self.client.hget(_key(job), "next_start")
        return float(next_start or 0) <= self._milliseconds()

    # Records

    def receipts(self, job: str, *, chunk: int = 1000) -> Iterator[dict[str, Any]]:
        """Iterate over the receipts of finished items, then over the failures.

        Raises
        ------
        JobGone
            The job was deleted before the last one.
        """
        dictionary = bytes(self.client.hget(_key(job), "dictionary") or b"")
        key = f"{_key(job)}:receipts"
        for start in range(0, int(self.client.llen(key)), chunk):
            for packed in self.client.lrange(key, start, start + chunk - 1):
                yield unpack(packed, dictionary)
        for failure in self.failures(job):
            yield failure["receipt"]
        self.job(job)

    def failures(self, job: str) -> Iterator[dict[str, Any]]:
        """Iterate over failed and quarantined items: ``state``, ``attempts``, ``item``, ``receipt``."""
        for _, record in self.client.hscan_iter(f"{_key(job)}:failures", count=200):
            yield json.loads(record)

    def retry(self, job: str) -> int:
        """Let all failed and quarantined items wait again; return how many."""
        moved = 0
        for failure in self.failures(job):
            item = ListedItem(*json.loads(failure["item"]))
            moved += int(
                self._apply(
                    "again",
                    job,
                    item=item.number,
                    text=failure["item"],
                    bytes=item.size,
                    state=failure["state"],
                    status=failure["receipt"].get("status"),
                    bytes_in=int(failure["receipt"].get("bytes_before") or 0),
                )
            )
        return moved


def _parcel(job: str, number: bytes, text: bytes, position: int) -> Parcel:
    parcel = json.loads(text)
    items = [ListedItem(*json.loads(item)) for item in parcel["items"]]
    return Parcel(job, number.decode(), items, parcel["attempt"], position)


def _escaped(text: str) -> str:
    """Return a text that is valid Unicode, whatever the names in it hold."""
    return text.encode(errors="backslashreplace").decode()


def _key(job: str) -> str:
    return f"cinemill:job:{job}"
