"""What became of the instances of jobs, read from the jobs' folders and from what still waits in the ledger.

A record may have been written twice, an instance may have several: of each instance the newest word counts, but that it
was kept never replaces what the run told that made its output.

Memory: 64 MB, a bit for each record, and 50 bytes for each record of an instance with several, of which four million are
sorted at a time; more of them cost another pass over the files. Without any, the files are read twice.
"""

from __future__ import annotations

import json
import time
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import xxhash

from cinemill.errors import UsageError
from cinemill.storage.tree import OURS
from cinemill_workers.engine.segments import DESCRIPTION, description, folder_of, frames, segments
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import Job, ListedItem

_Numbers: TypeAlias = np.ndarray[Any, Any]

SLOTS = 1 << 28
AT_ONCE = 1 << 22
SHOWING_SECONDS = 3.0

_ID = slice(7, 27)
_WORD, _KEPT, _FAILURE, _CANCELLED = range(4)


@dataclass(frozen=True)
class Records:
    """The records of one job as they were at one moment.

    Attributes
    ----------
    name
        The job's id.
    files
        Its segments, and so many bytes of each.
    waiting
        Those that were not written yet.
    standing
        Whether instances are told apart by source and output, for they may have got another number.
    """

    name: str
    files: tuple[tuple[Path, int], ...]
    waiting: tuple[bytes, ...] = ()
    standing: bool = False

    @classmethod
    def of_folder(cls, folder: Path) -> Records:
        """Look at the folder of a job."""
        files = tuple((path, path.stat().st_size) for path in segments(folder))
        standing = bool(description(folder).get("spec", {}).get("standing"))
        return cls(folder.resolve().name, files, standing=standing)

    @classmethod
    def of_job(cls, ledger: Ledger, job: Job) -> Records:
        """Look at a job of the ledger: first at what waits, since that is in a file before it waits no more.

        Raises
        ------
        UsageError
            An earlier version of cinemill began the job.
        """
        folder = folder_of(job)
        waiting = tuple(ledger.records(job.id))
        return replace(cls.of_folder(folder), waiting=waiting, standing=job.spec.standing)

    def __iter__(self) -> Iterator[bytes]:
        last = self.waiting[-1][_ID] if self.waiting else None
        for path, size in self.files:
            for frame, _ in frames(path, size):
                for line in frame.splitlines(keepends=True):
                    if last is None or line[_ID] <= last:
                        yield line
        yield from self.waiting


def of_tree(folder: Path) -> list[Records]:
    """Look at the folder of a job, or at those of all jobs in a destination, oldest first.

    Raises
    ------
    UsageError
        There are none.
    """
    found = [folder] if (folder / DESCRIPTION).is_file() or segments(folder) else []
    if not found and (folder / OURS).is_dir():
        found = sorted(path for path in (folder / OURS).iterdir() if segments(path))
    if not found:
        raise UsageError(
            f"holds no receipts: expected the destination of a job, or a folder in its {OURS}", path=folder
        )
    return [Records.of_folder(each) for each in found]


def newest(jobs: Sequence[Records]) -> Iterator[bytes]:
    """Yield the record of each instance that counts, oldest first.

    Parameters
    ----------
    jobs
        Oldest first. An instance is told by its number in its job, or by source and output in several.
    """
    key_of = _place if len(jobs) > 1 or any(job.standing for job in jobs) else _number
    count, repeated = _repeated(jobs, key_of)
    outdated = np.zeros(count // 8 + 1, np.uint8)
    if repeated is not None:
        for positions in _outdated(jobs, key_of, repeated):
            bits = np.left_shift(1, positions & 7).astype(np.uint8)
            np.bitwise_or.at(outdated, positions >> 3, bits)
    for position, line in enumerate(_lines(jobs)):
        if not outdated[position >> 3] >> (position & 7) & 1:
            yield line


def receipts(jobs: Sequence[Records]) -> Iterator[dict[str, Any]]:
    """Yield the receipt of each instance."""
    for line in newest(jobs):
        yield json.loads(line)["receipt"]


def some_failures(ledger: Ledger, job: Job, most: int) -> list[dict[str, Any]]:
    """Return some failures of a job, for which no more than a few seconds are spent."""
    found: dict[int, dict[str, Any]] = {}
    end = time.monotonic() + SHOWING_SECONDS
    if job.folder and job.counts["failed"] + job.counts["quarantined"]:
        for line in Records.of_job(ledger, job):
            if _flag(line) == _FAILURE and ledger.failed(job.id, number := _number(line)):
                found[number] = json.loads(line)
            if len(found) >= most or time.monotonic() > end:
                break
    return list(found.values())


def retry(ledger: Ledger, job: Job) -> int:
    """Let all failed and quarantined items of a job wait again; return how many."""
    moved = 0
    for line in Records.of_job(ledger, job):
        if _flag(line) == _FAILURE:
            record = json.loads(line)
            item = ListedItem(*(record[name] for name in ("number", "source", "output", "size")))
            moved += ledger.again(job.id, item)
    return moved


def find(jobs: Sequence[Records], names: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield the records, oldest first, of the instances with one of these SOP Instance UIDs, sources or outputs."""
    quoted = [json.dumps(name).encode() for name in names]
    seen = set()
    for line in _lines(jobs):
        if any(each in line for each in quoted) and line[_ID] not in seen:
            record = json.loads(line)
            receipt = record["receipt"]
            told = (receipt.get("sop_instance_uid"), receipt.get("source"), receipt.get("output"))
            if not {record["source"], record["output"], *told, *receipt.get("outputs", ())}.isdisjoint(names):
                seen.add(line[_ID])
                yield record


def _lines(jobs: Sequence[Records]) -> Iterator[bytes]:
    for job in jobs:
        yield from job


def _number(line: bytes) -> int:
    begin = line.index(b'"number":') + 9
    return int(line[begin : line.index(b",", begin)])


def _moment(line: bytes) -> int:
    milliseconds, number = line[_ID].split(b"-")
    return int(milliseconds) * 1_000_000 + int(number)


def _place(line: bytes) -> int:
    """Return a digest of source and output; no string of JSON holds a bare quotation mark."""
    return xxhash.xxh3_64_intdigest(line[line.index(b'"source":') : line.index(b',"size":')])


def _flag(line: bytes) -> int:
    if line.startswith((b'"state":"failed"', b'"state":"quarantined"'), 29):
        return _FAILURE
    if line.startswith(b'"state":"cancelled"', 29):
        return _CANCELLED
    return _KEPT if b'"status":"kept"' in line else _WORD


def _repeated(jobs: Sequence[Records], key_of: Callable[[bytes], int]) -> tuple[int, bytearray | None]:
    """Count the records; also return a bit for each slot of keys that two or more may have, None if there is none."""
    seen, again = bytearray(SLOTS // 8), bytearray(SLOTS // 8)
    count, any_again = 0, False
    for line in _lines(jobs):
        count += 1
        slot = key_of(line) % SLOTS
        place, bit = slot >> 3, 1 << (slot & 7)
        if seen[place] & bit:
            again[place] |= bit
            any_again = True
        else:
            seen[place] |= bit
    return count, again if any_again else None


def _outdated(
    jobs: Sequence[Records], key_of: Callable[[bytes], int], repeated: bytearray
) -> Iterator[_Numbers]:
    """Yield the positions of records that don't count, a part of the keys at a time."""
    parts, part, limit = 1, 0, AT_ONCE
    while part < parts:
        found = tuple(array("Q") for _ in range(4))
        for position, line in enumerate(_lines(jobs)):
            key = key_of(line)
            slot = key % SLOTS
            if repeated[slot >> 3] >> (slot & 7) & 1 and key % parts == part:
                for column, value in zip(found, (key, _moment(line), position, _flag(line)), strict=True):
                    column.append(value)
                if part == 0 and len(found[0]) > limit:
                    parts *= 2
                    found = _part(found, parts)
                    limit = max(AT_ONCE, 2 * len(found[0]))
        yield _beaten(*(np.array(column, np.uint64) for column in found))
        part += 1


def _part(found: tuple[array[int], ...], parts: int) -> tuple[array[int], ...]:
    """Keep the first of so many parts of the keys."""
    kept = np.array(found[0], np.uint64) % parts == 0
    return tuple(array("Q", np.array(column, np.uint64)[kept].tobytes()) for column in found)


def _beaten(keys: _Numbers, moments: _Numbers, positions: _Numbers, flags: _Numbers) -> _Numbers:
    """Return the positions of records of which another one of the same key counts."""
    order = np.lexsort((moments, keys))
    keys, positions, flags = keys[order], positions[order], flags[order]
    last = np.flatnonzero(np.append(keys[1:] != keys[:-1], True)[: len(keys)])
    first = np.append(0, last + 1)[: len(last)]
    word = np.maximum.accumulate(np.where(flags != _KEPT, np.arange(len(keys)), -1))[last]
    replaced = (flags[last] == _KEPT) & (word >= first) & (flags[word] == _WORD)
    return np.delete(positions, np.where(replaced, word, last))
