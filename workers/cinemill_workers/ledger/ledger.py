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
from cinemill_workers.ledger.model import PRIORITIES, ListedItem, Parcel
from cinemill_workers.ledger.packing import LONGEST_DICTIONARY, dumps, pack, unpack

BURST_MILLISECONDS = 2000
"""How far a throttled job may fall behind its rate and still catch up."""

LOW_PARCELS = 128
"""A job of which fewer parcels wait is due to be listed further."""

_CLAIMED = "cinemill:claimed"


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

    def claim(self, holder: str, worker: str, priorities: Sequence[str] = PRIORITIES) -> Parcel | None:
        """Take a parcel that may start now of a running job.

        Of 16 claims, 12 look first for work of the first priority, three of the second, one of the third; whichever has
        nothing leaves its turn to the others, in their order. Jobs of one priority are served by turns. The claim has a
        name of its own: made once more because its answer went astray, it gets the same parcel.

        Parameters
        ----------
        holder
            The process that claims; no other one, earlier or later, has this name.
        worker
            Celery's name of its worker.
        priorities
            Those to be looked for, the one that goes first at first.
        """
        claim = secrets.token_hex(8)
        found = self._apply(
            "claim",
            None,
            priorities=priorities,
            holder=holder,
            claim=claim,
            worker=worker,
            burst=BURST_MILLISECONDS,
            low=LOW_PARCELS,
        )
        if not found:
            return None
        job, number, text, position, dictionary, outstanding = found
        parcel = _parcel(job.decode(), number.decode(), text, int(position), f"{holder}/{claim}")
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

    def look(self, *, most: int) -> tuple[int, list[Parcel]]:
        """Return how many parcels may start now, counted up to `most`, and those whose claims have run out."""
        count, expired = self._apply("look", None, priorities=PRIORITIES, most=most)
        return int(count), self._claimed(expired)

    def expired(self) -> list[Parcel]:
        """Return the claimed parcels whose claims have run out."""
        return self.look(most=0)[1]

    def held_by(self, holder: str) -> list[Parcel]:
        """Return the parcels that one child process has claimed, or all children of one worker."""
        claimed = self._claimed(self.client.zrange(_CLAIMED, 0, -1))
        return [parcel for parcel in claimed if parcel.holder.startswith(f"{holder}/")]

    def _claimed(self, members: Sequence[bytes]) -> list[Parcel]:
        """Read claimed parcels at one go; claims of which the server has lost the rest are dropped."""
        names = [member.decode().rpartition(":")[::2] for member in members]
        with self.client.pipeline(transaction=False) as pipe:
            for job, number in names:
                pipe.hget(f"{key_of(job)}:work", number)
                pipe.hget(f"{key_of(job)}:holders", number)
            answers = pipe.execute()
        found, lost = [], []
        for member, (job, number), text, held in zip(
            members, names, answers[::2], answers[1::2], strict=True
        ):
            if text is None or held is None:
                lost.append(member)
                continue
            holder, _, position = held.decode().rpartition(" ")
            found.append(_parcel(job, number, text, int(position), holder))
        if lost:
            self.client.zrem(_CLAIMED, *lost)
        return found

    def stirs(self) -> bool:
        """Whether any parcel waits for its moment, or is claimed."""
        ready = [f"cinemill:ready:{priority}" for priority in PRIORITIES]
        return bool(self.client.exists(*ready, "cinemill:later", _CLAIMED))

    def waiting(self, job: str) -> int:
        """Return how many parcels could be claimed now, were the job running."""
        return int(self.client.zcount(f"{key_of(job)}:pending", "-inf", self._milliseconds()))

    def idle(self, jobs: Sequence[str]) -> list[str]:
        """Return those of these jobs of which no parcel waits or is claimed."""
        with self.client.pipeline(transaction=False) as pipe:
            for job in jobs:
                pipe.exists(f"{key_of(job)}:pending", f"{key_of(job)}:holders")
            return [job for job, there in zip(jobs, pipe.execute(), strict=True) if not there]

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


def _parcel(job: str, number: str, text: bytes, position: int, holder: str) -> Parcel:
    parcel = json.loads(text)
    items = [ListedItem(*json.loads(item)) for item in parcel["items"]]
    return Parcel(job, number, items, parcel["attempt"], position, holder)
