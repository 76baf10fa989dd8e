"""Job and item states in Redis with atomic transitions and counters: the truth about a job.

Items travel in parcels: one long cine, or some small instances. Waiting and claimed parcels are stored whole; what
became of an item waits here only until it stands in a file of the job's folder. The transitions are in ``transitions/``, a file each.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cinemill_workers.ledger.jobs import Jobs, escaped, key_of
from cinemill_workers.ledger.model import PRIORITIES, ListedItem, Parcel

_UNWRITTEN = "cinemill:unwritten"
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
        return int(
            self._apply(
                "feed",
                job,
                listed=listed,
                parcels=[*map(_packed, parcels)],
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
        job, number, text, position, outstanding = found
        parcel = _parcel(job.decode(), number.decode(), text, int(position), f"{holder}/{claim}")
        return replace(parcel, outstanding=int(outstanding))

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
        took: float = 0.0,
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
        took
            Seconds of work on it: bytes that nobody knew of when it was listed count towards the rate from its beginning on.
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
        record = {
            "number": item.number,
            "attempts": parcel.attempt + 1,
            "source": item.source,
            "output": item.output,
            "size": item.size,
            "receipt": receipt,
        }
        answer = self._apply(
            "finish",
            parcel.job,
            json.dumps(record, separators=(",", ":")).encode(),
            parcel=parcel.number,
            holder=parcel.holder,
            position=parcel.position,
            count=len(parcel.items),
            item=item.number,
            state=state,
            status=receipt.get("status"),
            did=did,
            delay=round(delay * 1000),
            expired=expired,
            release=release,
            bytes_in=int(receipt.get("bytes_before") or 0),
            bytes_out=int(receipt.get("bytes_after") or 0),
            unlisted=0 if item.size else int(receipt.get("bytes_before") or 0),
            took=round(took * 1000),
            pixel_bytes=0 if receipt.get("status") == "kept" else int(receipt.get("pixel_bytes") or 0),
        )
        parcel.position += 1
        return bool(answer != b"lost")

    def arrange(self, parcel: Parcel, left: Sequence[ListedItem]) -> bool:
        """Put the items that are left of a parcel into another order; False if the claim was taken away."""
        done = parcel.items[: parcel.position]
        answer = self._apply(
            "arrange",
            parcel.job,
            parcel=parcel.number,
            holder=parcel.holder,
            position=parcel.position,
            parcels=[_packed(left)],
        )
        parcel.items = [*done, *left]
        return bool(answer)

    def release(
        self, parcel: Parcel, *, hold: float = 0.0, note: str = "", alone: bool = False, expired: bool = False
    ) -> None:
        """Hand back the rest of a parcel, uncounted.

        Parameters
        ----------
        hold
            The whole job rests for so many seconds.
        note
            Why, for those who look at the job.
        alone
            Whether its items are to be worked on one by one from now on.
        expired
            Only if the claim has run out.
        """
        self._apply(
            "release",
            parcel.job,
            parcel=parcel.number,
            holder=parcel.holder,
            position=parcel.position,
            delay=round(hold * 1000),
            note=escaped(note),
            alone=alone,
            expired=expired,
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

    def unwritten(self) -> list[str]:
        """Return the jobs of which something is to be written down."""
        return sorted(job.decode() for job in self.client.smembers(_UNWRITTEN))

    def records(self, job: str, count: int | None = None) -> list[bytes]:
        """Return the oldest records that are not written yet, or all: a JSON object each, which ends its line.

        Its ``id`` begins it, and grows from one to the next as text does.
        """
        found = self.client.xrange(f"{key_of(job)}:settled", count=count)
        return [
            b'{"id":"%s","state":"%s",%s\n' % (_padded(name), record[b"state"], record[b"record"][1:])
            for name, record in found
        ]

    def written(
        self, job: str, *, segment: str | None = None, last: bytes | None = None, described: float
    ) -> bool:
        """Note what stands in the files of a job, and let go of it here.

        Parameters
        ----------
        segment
            The file.
        last
            The last record in it; without one, the segment is only begun.
        described
            The time at which the job was over, if its end is described there; else 0.

        Returns
        -------
        bool
            False if another segment was begun later, or the job is gone: then nothing was let go.
        """
        return bool(
            self._apply(
                "written",
                job,
                segment=segment,
                before=None if last is None else _behind(last),
                described=f"{described * 1000:.0f}" if described else "",
            )
        )

    def failed(self, job: str, number: int) -> bool:
        """Whether an item is failed or quarantined now."""
        return bool(self.client.hexists(f"{key_of(job)}:failures", number))

    def again(self, job: str, item: ListedItem) -> bool:
        """Let a failed or quarantined item wait again; False if it is none, or somebody else did it before."""
        return bool(self._apply("again", job, item=item.number, text=item.to_json(), bytes=item.size))


def _packed(items: Sequence[ListedItem]) -> dict[str, list[Any]]:
    """Return the form in which a parcel is stored."""
    return {"items": [item.to_json() for item in items], "bytes": [item.size for item in items]}


def _padded(name: bytes) -> bytes:
    """Return the id of a record so that it is sorted as text."""
    milliseconds, number = name.split(b"-")
    return b"%013d-%06d" % (int(milliseconds), int(number))


def _behind(record: bytes) -> str:
    """Return the first id behind that of a record."""
    milliseconds, number = json.loads(record)["id"].split("-")
    return f"{int(milliseconds)}-{int(number) + 1}"


def _parcel(job: str, number: str, text: bytes, position: int, holder: str) -> Parcel:
    parcel = json.loads(text)
    items = [ListedItem(*json.loads(item)) for item in parcel["items"]]
    return Parcel(job, number, items, parcel["attempt"], position, holder, alone=parcel.get("alone", False))
