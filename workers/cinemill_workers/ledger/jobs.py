"""The jobs in Redis: what was submitted, how far it is, and the states that people give it."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from cinemill.errors import UsageError
from cinemill_workers.ledger.model import (
    ITEM_STATES,
    LAYOUT,
    Deposed,
    ForeignLedger,
    Job,
    JobGone,
    JobSpec,
    Sums,
)
from cinemill_workers.ledger.workers import Workers

_ACTIVE = "cinemill:active"
_DUE = "cinemill:due"
_JOBS = "cinemill:jobs"
_LAYOUT = "cinemill:layout"
_STATUS = "status:"
_DID = "did:"
_UNNUMBERED = b"1"
"""The layout of ledgers in which none is noted."""

_NAMED = 5


class Jobs(Workers):
    """The jobs behind one Redis client."""

    def __init__(self, client: Redis, *, lease_seconds: float = 30.0) -> None:
        super().__init__(client)
        self.lease = round(lease_seconds * 1000)
        self._transitions: dict[str, Any] = {}

    def _apply(self, operation: str, job: str | None, record: bytes = b"", **arguments: Any) -> Any:
        leader = self._name if self.leads else None
        arguments = {"id": job, "lease": self.lease, "layout": LAYOUT, "leader": leader, **arguments}
        present = {name: value for name, value in arguments.items() if value is not None}
        try:
            return self.transition(operation)(args=[json.dumps(present), record])
        except ResponseError as error:
            code, _, rest = str(error).partition(" ")
            if code == "LAYOUT":
                raise ForeignLedger(rest) from None
            if code == "DEPOSED":
                raise Deposed(rest) from None
            raise

    def transition(self, operation: str) -> Any:
        """Return the script of an operation, to be called with the arguments in JSON, and a record."""
        if operation not in self._transitions:
            folder = files(__package__) / "transitions"
            parts = [(folder / f"{name}.lua").read_text() for name in ("ground", operation, "apply")]
            self._transitions[operation] = self.client.register_script("\n".join(parts))
        return self._transitions[operation]

    def agree(self) -> None:
        """Note by which layout the ledger is used, if none is noted, or an older one, and no jobs stand in the way.

        Raises
        ------
        ForeignLedger
            Another version of cinemill uses it.
        """
        found = int(self._apply("layout", None))
        if found != LAYOUT:
            raise ForeignLedger(str(found))

    def create(self, spec: JobSpec) -> str:
        """Store a new job and return its id."""
        job = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        fields = {
            "spec": spec.to_json(),
            "state": "running",
            "priority": spec.priority,
            "rate": round(spec.max_rate),
            "at_once": spec.at_once,
            "folder": os.fsencode(spec.folder(job)),
            "listed": 0,
            "created": round(self.now() * 1000),
            **dict.fromkeys(ITEM_STATES, 0),
        }
        with self.client.pipeline(transaction=True) as pipe:
            pipe.hset(key_of(job), mapping=fields)
            pipe.zadd(_JOBS, {job: self.now()})
            pipe.sadd(_ACTIVE, job)
            pipe.set(_LAYOUT, LAYOUT, nx=True)
            pipe.zadd(_DUE, {job: fields["created"]})
            pipe.execute()
        return job

    def job(self, job: str) -> Job:
        """Return one job.

        Raises
        ------
        JobGone
            There is no such job.
        """
        for found in self.present([job]):
            return found
        raise JobGone(f"no job {job}: `cinemill jobs list` shows those there are")

    def present(self, ids: Iterable[str]) -> list[Job]:
        """Return those of these jobs that have not been deleted, read at one go."""
        wanted = list(ids)
        with self.client.pipeline(transaction=False) as pipe:
            for job in wanted:
                pipe.hgetall(key_of(job))
            return [
                _job(job, found, self.now())
                for job, found in zip(wanted, pipe.execute(), strict=True)
                if found
            ]

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
            trouble = f"no job begins with {name!r}" if name else "there is no job"
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
        return self.present(self.active_ids())

    def active_ids(self) -> list[str]:
        """Return the ids of the jobs that are not over, oldest first."""
        return sorted(member.decode() for member in self.client.smembers(_ACTIVE))

    def told(self, *, wait: float, most: int) -> list[str]:
        """Take the ids of jobs that need to be looked at since something happened to them, the first one first.

        Parameters
        ----------
        wait
            Seconds for which one is waited for if there is none.
        most
            So many at most.
        """
        first = self.client.bzpopmin(_DUE, timeout=wait) if wait else None
        if wait and first is None:
            return []
        more = self.client.zpopmin(_DUE, most - 1 if first else most)
        return [member.decode() for member in ([first[1]] if first else []) + [each for each, _ in more]]

    def confirm(self) -> None:
        """Find out whether the ledger still has this layout.

        Raises
        ------
        ForeignLedger
            Another version of cinemill has taken it over.
        """
        found = self.client.get(_LAYOUT)
        if found is None and self.client.exists(_JOBS):
            found = _UNNUMBERED
        if found is not None and int(found) != LAYOUT:
            raise ForeignLedger(found.decode())

    def totals(self) -> dict[str, int]:
        """Return what all jobs ever counted, forgotten ones included; no figure ever falls."""
        names = ("bytes_in", "bytes_out", "pixel_bytes", "retries")
        return dict(zip(names, map(int, self._apply("totals", None)), strict=True))

    def move(
        self, job: str, *, from_: Sequence[str], to: str, note: str | None = None, awaits: str | None = None
    ) -> str:
        """Change a job's state if it is one of `from_`; return the state it then has, ``"gone"`` if it is deleted.

        Parameters
        ----------
        from_
            The states that may change.
        to
            The new state.
        note
            Why, for those who look at the job; none removes the last one.
        awaits
            What ends a pause by itself; given again when it does.
        """
        note = None if note is None else escaped(note)
        answer = self._apply("move", job, origins=list(from_), state=to, note=note, awaits=awaits)
        return str(answer, "utf-8")

    def recount(self, job: str) -> None:
        """Count anew what waits and runs."""
        self._apply("recount", job)

    def delete(self, job: str, *, force: bool = False) -> bool | None:
        """Forget a job; its folder stays.

        Parameters
        ----------
        force
            Even if receipts of it are not written yet: they are lost.

        Returns
        -------
        bool | None
            False if it is not over, None if receipts of it are not written yet: then it stays.
        """
        answer = int(self._apply("delete", job, force=force))
        return None if answer < 0 else bool(answer)


def _outcomes(found: Mapping[str, str]) -> dict[str, Sums]:
    """Return what was done, with its sums."""
    sums: dict[str, dict[str, int]] = {}
    for field, amount in sorted(found.items()):
        if field.startswith(_DID):
            name, _, did = field.removeprefix(_DID).partition(":")
            sums.setdefault(did, {})[name] = int(amount)
    return {
        did: Sums(each.get("instances", 0), each.get("before", 0), each.get("after", 0))
        for did, each in sums.items()
    }


def escaped(text: str) -> str:
    """Return a text that is valid Unicode, whatever the names in it hold."""
    return text.encode(errors="backslashreplace").decode()


def key_of(job: str) -> str:
    """Return the key of a job's fields; those of what it holds begin with it."""
    return f"cinemill:job:{job}"


def _job(job: str, fields: dict[bytes, bytes], seen: float) -> Job:
    found = {key.decode(): os.fsdecode(value) for key, value in fields.items()}
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
        seen=seen,
        note=found.get("note", ""),
        awaits=found.get("awaits", ""),
        roots=json.loads(found.get("roots", "{}")),
        statuses={
            name.removeprefix(_STATUS): int(count)
            for name, count in sorted(found.items())
            if name.startswith(_STATUS) and count != "0"
        },
        outcomes=_outcomes(found),
        cursor=tuple(json.loads(found.get("cursor", "[]"))),
        folder=found.get("folder", ""),
    )
