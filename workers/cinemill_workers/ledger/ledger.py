"""Job and item states in Redis with atomic transitions, counters and receipts: the truth about a job.

Items travel in parcels: one long cine, or some small instances. Waiting and claimed parcels are stored whole;
of a finished item only its compressed receipt is left, of a failed one its failure. The transitions are in
``ledger.lua``.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cinemill_workers.ledger.jobs import Jobs, escaped, key_of
from cinemill_workers.ledger.model import ListedItem, Parcel
from cinemill_workers.ledger.packing import LONGEST_DICTIONARY, dumps, pack, unpack

BURST_MILLISECONDS = 2000
"""How far a throttled job may fall behind its rate and still catch up."""


class Ledger(Jobs):
    """The ledger behind one Redis client."""

    def feed(
        self,
        job: str,
        listed: int,
        parcels: Sequence[Sequence[ListedItem]],
        *,
        exhausted: bool,
        roots: Mapping[str, int] | None = None,
    ) -> int:
        """Add parcels to a job of which `listed` items are known.

        Parameters
        ----------
        exhausted
            Whether these are the last ones.
        roots
            What the trees' roots were found to be; remembered unless some are.

        Returns
        -------
        int
            How many parcels wait now; -1 if somebody else has listed more meanwhile, and nothing was added.
        """
        cursor = [parcels[-1][-1].source, parcels[-1][-1].output] if parcels else []
        packed = [{"items": [i.to_json() for i in p], "bytes": [i.size for i in p]} for p in parcels]
        return int(
            self._apply(
                "feed",
                job,
                listed=listed,
                parcels=packed,
                exhausted=exhausted,
                cursor=json.dumps(cursor),
                roots=json.dumps(roots) if roots else None,
            )
        )

    def claim(self, priority: str, holder: str, worker: str) -> Parcel | None:
        """Take a parcel that may start now of a running job of this priority; jobs are served by turns.

        The claim has a name of its own: made once more because its answer went astray, it gets the same parcel.

        Parameters
        ----------
        holder
            The process that claims; no other one, earlier or later, has this name.
        worker
            Celery's name of its worker.
        """
        claim = secrets.token_hex(8)
        found = self._apply(
            "claim",
            None,
            priority=priority,
            holder=holder,
            claim=claim,
            worker=worker,
            burst=BURST_MILLISECONDS,
        )
        if not found:
            return None
        job, number, text, position, dictionary, outstanding = found
        parcel = _parcel(job.decode(), number, text, int(position), f"{holder}/{claim}")
        return replace(parcel, dictionary=dictionary, outstanding=int(outstanding))

    def renew(self, parcel: Parcel, worker: str) -> str:
        """Prolong a claim; return the job's state, or ``"lost"``."""
        answer = self._apply("renew", parcel.job, parcel=parcel.number, holder=parcel.holder, worker=worker)
        return str(answer, "utf-8")

    def finish(
        self,
        parcel: Parcel,
        state: str,
        receipt: dict[str, Any],
        *,
        did: str | None = None,
        delay: float = 0.0,
        expired: bool = False,
        release: bool = False,
    ) -> bool:
        """Record what became of the parcel's next item: a final state, or ``"retry"`` after `delay` seconds.

        Parameters
        ----------
        receipt
            JSON form of the item's receipt.
        did
            What was done, as tables have it: bytes are added up by it.
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
        record, taught = b"", None
        if state in {"failed", "quarantined"}:
            record = dumps(
                {"state": state, "attempts": parcel.attempt + 1, "item": item.to_json(), "receipt": receipt}
            )
        elif state in {"done", "copied", "skipped"}:
            parcel.dictionary = parcel.dictionary or self._teach(parcel.job, receipt)
            record = pack(receipt, parcel.dictionary)
            taught = hashlib.sha1(parcel.dictionary, usedforsecurity=False).hexdigest()
        answer = self._apply(
            "finish",
            parcel.job,
            record,
            parcel=parcel.number,
            holder=parcel.holder,
            position=parcel.position,
            count=len(parcel.items),
            item=item.number,
            state=state,
            status=receipt.get("status"),
            did=did,
            dictionary=taught,
            delay=round(delay * 1000),
            expired=expired,
            release=release,
            bytes_in=int(receipt.get("bytes_before") or 0),
            bytes_out=int(receipt.get("bytes_after") or 0),
            pixel_bytes=0 if receipt.get("status") == "kept" else int(receipt.get("pixel_bytes") or 0),
        )
        if answer == b"untaught":
            parcel.dictionary = b""
            return self.finish(parcel, state, receipt, delay=delay, expired=expired, release=release)
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
            holder=parcel.holder,
            position=parcel.position,
            delay=round(hold * 1000),
            note=escaped(note),
        )

    def stumble(self, parcel: Parcel, *, most: int, rests: int, hold: float, note: str) -> bool:
        """Tell of an error of the storage; True if the parcel was handed back, uncounted, and the whole job rests.

        Parameters
        ----------
        most
            So many items in a row that have such an error for the first time make the job rest.
        rests
            So often at most, until an item is done again.
        hold
            Seconds of a rest.
        note
            Why, for those who look at the job.
        """
        return bool(
            self._apply(
                "stumble",
                parcel.job,
                parcel=parcel.number,
                holder=parcel.holder,
                position=parcel.position,
                most=most,
                rests=rests,
                delay=round(hold * 1000),
                note=escaped(note),
            )
        )

    def expired(self, job: str) -> list[Parcel]:
        """Return the claimed parcels whose claims have run out."""
        now = self._milliseconds()
        return self._claimed(job, self.client.zrangebyscore(f"{key_of(job)}:leases", "-inf", now))

    def held_by(self, holder: str) -> list[Parcel]:
        """Return the parcels that one child process has claimed, or all children of one worker."""
        found = []
        for job in self.active():
            holders = self.client.hgetall(f"{key_of(job.id)}:holders")
            held = [number for number, name in holders.items() if name.decode().startswith(f"{holder}/")]
            found += self._claimed(job.id, held)
        return found

    def _claimed(self, job: str, numbers: Sequence[bytes]) -> list[Parcel]:
        found = []
        for number in numbers:
            text = self.client.hget(f"{key_of(job)}:work", number)
            held = self.client.hget(f"{key_of(job)}:holders", number)
            if text is not None and held is not None:
                holder, _, position = held.decode().rpartition(" ")
                found.append(_parcel(job, number, text, int(position), holder))
        return found

    def waiting(self, job: str) -> int:
        """Return how many parcels could be claimed now, were the job running."""
        return int(self.client.zcount(f"{key_of(job)}:pending", "-inf", self._milliseconds()))

    def idle(self, job: str) -> bool:
        """Whether no parcel of a job waits or is claimed."""
        return not self.client.exists(f"{key_of(job)}:pending", f"{key_of(job)}:leases")

    def may_start(self, job: str) -> bool:
        """Whether throttle and holds let a parcel start now."""
        next_start = self.client.hget(key_of(job), "next_start")
        return float(next_start or 0) <= self._milliseconds()

    # Records

    def receipts(self, job: str, *, chunk: int = 1000) -> Iterator[dict[str, Any]]:
        """Iterate over the receipts of finished items, then over the failures.

        Raises
        ------
        JobGone
            The job was deleted before the last one.
        """
        dictionary = bytes(self.client.get(f"{key_of(job)}:dictionary") or b"")
        key = f"{key_of(job)}:receipts"
        for start in range(0, int(self.client.llen(key)), chunk):
            for packed in self.client.lrange(key, start, start + chunk - 1):
                yield unpack(packed, dictionary)
        for failure in self.failures(job):
            yield failure["receipt"]
        self.job(job)

    def failures(self, job: str) -> Iterator[dict[str, Any]]:
        """Iterate over failed and quarantined items: ``state``, ``attempts``, ``item``, ``receipt``."""
        for _, record in self.client.hscan_iter(f"{key_of(job)}:failures", count=200):
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


def _parcel(job: str, number: bytes, text: bytes, position: int, holder: str) -> Parcel:
    parcel = json.loads(text)
    items = [ListedItem(*json.loads(item)) for item in parcel["items"]]
    return Parcel(job, number.decode(), items, parcel["attempt"], position, holder)
