"""What a worker does with a parcel: the job's operation on each item; it tells the ledger what became of it."""

from __future__ import annotations

import time
from functools import cache, partial
from itertools import takewhile
from pathlib import Path

from cinemill import party
from cinemill.errors import Cancelled, CinemillError, InternalError, NodeError, NoRoom, Refused, UsageError
from cinemill.operations.operation import Control, Operation
from cinemill.operations.receipt import Receipt
from cinemill.processors import processors
from cinemill.storage.tree import distinct
from cinemill_workers import logs
from cinemill_workers.engine.campaign import await_roots
from cinemill_workers.engine.kinds import from_json
from cinemill_workers.engine.lease import Lease, shutdown
from cinemill_workers.engine.outcomes import Fate, WorkerLost, fate_of, storage_away, waits_for
from cinemill_workers.engine.roots import confine, emptied, trouble, withdraw
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import Job, ListedItem, Parcel
from cinemill_workers.settings import settings

STATES = {
    "transcoded": "done",
    "deidentified": "done",
    "extracted": "done",
    **dict.fromkeys(("fetched", "sent", "migrated"), "done"),
    "copied": "copied",
    "kept": "skipped",
    "skipped": "skipped",
    "ignored": "skipped",
}
"""Item state for each receipt status that is no error."""

ERRORS_IN_A_ROW = 5
"""So many items that the storage fails, with none done between, are no bad files but an outage."""

MOST_RESTS = 20
"""So often a job rests without an item done between; then its files are taken for bad after all."""


def work_through(ledger: Ledger, parcel: Parcel, worker: str) -> None:
    """Work on a parcel's items one after the other until it is empty or taken away, or work must stop."""
    try:
        job = ledger.job(parcel.job)
        operation = from_json(job.spec.work)
        operation.check_here()
    except UsageError as error:
        ledger.release(parcel, hold=settings().hold_seconds, note=f"{worker}: {error}")
        return
    with Lease(ledger, parcel, worker, stall_seconds=settings().stall_seconds) as lease:
        while parcel.position < len(parcel.items):
            if lease.interrupted() or (shutdown.announced and parcel.position > 0):
                ledger.release(parcel)
                return
            if not _settle(ledger, parcel, job, operation, lease):
                return


def _rests(ledger: Ledger, parcel: Parcel, job: Job, error: Exception | None = None) -> bool:
    """Hand a parcel back, and let its job rest, if its directories or their storage are away: no item can succeed now."""
    lost = trouble(job.roots)
    if error is not None and job.roots:
        lost = lost or emptied(job.spec)
    if lost:
        await_roots(ledger, job.id, lost)
        ledger.release(parcel)
        return True
    answer = storage_away(error) if error is not None else ""
    who, what = ("node", "study") if isinstance(error, NodeError) else ("storage", "file")
    note = f"the {who} answers {answer!r} to one {what} after the other; the job tries again by itself"
    return bool(answer) and ledger.stumble(
        parcel, most=ERRORS_IN_A_ROW, rests=MOST_RESTS, hold=settings().hold_seconds, note=note
    )


def _settle(ledger: Ledger, parcel: Parcel, job: Job, operation: Operation, lease: Lease) -> bool:
    """Work on the next item, or on the next small ones at once, and report them; False if the parcel is not ours any more."""
    if _rests(ledger, parcel, job):
        return False
    items = in_company(parcel, operation)
    began = time.monotonic()
    control = Control(codec_threads(parcel.outstanding), lease.interrupted)
    results = _host().together(partial(_attempted, operation, control), items)
    seconds = (time.monotonic() - began) / len(items)
    if any(isinstance(result, Receipt) for result in results) and trouble(job.roots):
        for item, result in zip(items, results, strict=True):
            if isinstance(result, Receipt) and STATES[result.status] != "skipped":
                withdraw([*map(Path, result.outputs or (item.output,))], Path(job.spec.destination))
        return not _rests(ledger, parcel, job)
    finished_first = sorted(zip(items, results, strict=True), key=lambda each: _ends(each[1]))
    if [item for item, _ in finished_first] != items:
        others = parcel.items[parcel.position + len(items) :]
        if not ledger.arrange(parcel, [*(item for item, _ in finished_first), *others]):
            return False
    return all(_report(ledger, parcel, job, result, seconds) for _, result in finished_first)


def _ends(result: Receipt | Exception) -> bool:
    """Whether the rest of a parcel is handed back over this: what was finished beside it is reported before."""
    return isinstance(result, Exception) and (isinstance(result, Cancelled) or fate_of(result) is Fate.HOLD)


@cache
def _host() -> party.Host:
    """Return the threads of this child for items that are worked on at the same time."""
    return party.Host()


def in_company(parcel: Parcel, operation: Operation) -> list[ListedItem]:
    """Return the next item of a parcel, or the next small ones if they are worked on at the same time."""
    first, *others = parcel.items[parcel.position : parcel.position + party.MOST]
    if parcel.alone or not operation.meets or not party.is_small(first.size):
        return [first]
    some = [first, *takewhile(lambda item: party.is_small(item.size), others)]
    return some[: distinct(item.output for item in some)]


def _attempted(operation: Operation, control: Control, item: ListedItem) -> Receipt | Exception:
    """Do the job's operation to an item; return the receipt as it may be stored, or what went wrong."""
    try:
        for path in (item.source, item.output):
            confine(Path(path), settings().roots)
        return operation.published(operation.apply(Path(item.source), Path(item.output), control))
    except Exception as error:  # noqa: BLE001
        return error


def _report(ledger: Ledger, parcel: Parcel, job: Job, result: Receipt | Exception, seconds: float) -> bool:
    """Tell the ledger what became of the next item; False if the parcel is not ours any more."""
    if isinstance(result, Cancelled):
        ledger.release(parcel)
        return False
    if isinstance(result, Exception):
        return _settle_error(ledger, parcel, job, result)
    item, state = parcel.items[parcel.position], STATES[result.status]
    counted = ledger.finish(parcel, state, result.to_dict(), did=result.done, took=seconds)
    _log(
        parcel.job,
        item,
        state if counted else "lost",
        parcel.attempt,
        seconds=round(seconds, 3),
        bytes=item.size or result.bytes_before,
    )
    return counted


def _settle_error(ledger: Ledger, parcel: Parcel, job: Job, error: Exception) -> bool:
    """Record an error of the next item, or let the job rest; False if the parcel is not ours any more."""
    fate, item = fate_of(error), parcel.items[parcel.position]
    if fate is Fate.HOLD:
        _log(parcel.job, item, "held", parcel.attempt, kind=type(error).__name__)
        return _hold(ledger, parcel, error)
    if _rests(ledger, parcel, job, error):
        _log(parcel.job, item, "rests", parcel.attempt, kind=type(error).__name__)
        return False
    try:
        return record_error(ledger, parcel, error, fate)
    except NoRoom as full:
        return _hold(ledger, parcel, full)


def _hold(ledger: Ledger, parcel: Parcel, error: Exception) -> bool:
    """Let the job rest until there is room, or the node answers; False, for the parcel is handed back."""
    ledger.release(parcel, hold=settings().hold_seconds, note=waits_for(error))
    return False


def record_error(
    ledger: Ledger, parcel: Parcel, error: Exception, fate: Fate, *, lost: bool = False, expired: bool = False
) -> bool:
    """Record an error of the parcel's next item, which is tried again if that may help and attempts are left.

    Parameters
    ----------
    lost
        The worker died over it: the rest of the parcel is handed back too.
    expired
        Only if the claim has run out.

    Returns
    -------
    bool
        Whether it was counted: False if the parcel had been taken away before.

    Raises
    ------
    NoRoom
        There is none for what the job does about such an item; nothing was recorded.
    """
    from cinemill.operations.receipt import failure

    item = parcel.items[parcel.position]
    attempt = parcel.attempt + 1
    state = fate.value
    if fate is Fate.RETRY and attempt >= settings().attempts:
        state = Fate.QUARANTINE.value
    if not isinstance(error, CinemillError):
        error = InternalError.of(error).locate(path=item.source)
    told = failure(Path(item.source), Path(item.output), error)
    if state != Fate.RETRY.value:
        try:
            told = _settled(ledger, parcel, told)
        except NoRoom:
            if not lost:
                raise
    receipt = _published(ledger, parcel, told).to_dict()
    delay = 0.0 if lost else settings().retry_seconds * 2 ** (attempt - 1)
    counted = ledger.finish(parcel, state, receipt, delay=delay, expired=expired, release=lost)
    if counted:
        _log(parcel.job, item, state, attempt, kind=error.kind)
        if lost and state == Fate.QUARANTINE.value:
            from cinemill.storage.folder import clear

            clear(Path(item.source), Path(item.output))
    return counted


def _settled(ledger: Ledger, parcel: Parcel, receipt: Receipt) -> Receipt:
    """Do what the job does about an item that failed for good, where it may write."""
    item = parcel.items[parcel.position]
    try:
        operation = from_json(ledger.job(parcel.job).spec.work)
        for path in (item.source, item.output):
            confine(Path(path), settings().roots)
    except (UsageError, Refused):
        return receipt
    return operation.settle(receipt)


def _published(ledger: Ledger, parcel: Parcel, receipt: Receipt) -> Receipt:
    """Return a receipt as it may be stored; where what the job asks for can't be told, without what went wrong."""
    try:
        return from_json(ledger.job(parcel.job).spec.work).published(receipt)
    except UsageError:
        return receipt


def hand_back(ledger: Ledger, worker: str) -> None:
    """Hand back, uncounted, what the children of a worker hold that is about to end them."""
    for parcel in ledger.held_by(worker):
        ledger.release(parcel)


def report_lost_child(ledger: Ledger, holder: str, reason: str) -> None:
    """Count an attempt for the item a dead child was working on, and hand back the rest of its parcel."""
    for parcel in ledger.held_by(holder):
        # A mapped file that goes away kills whoever reads it.
        if not _rests(ledger, parcel, ledger.job(parcel.job)):
            record_loss(ledger, parcel, reason)


def record_loss(ledger: Ledger, parcel: Parcel, reason: str, *, expired: bool = False) -> None:
    """Count an attempt for the item over which a process was lost; of several at once, none: each goes alone from now on.

    Parameters
    ----------
    reason
        Why it was lost.
    expired
        Only if the claim has run out.
    """
    if len(_worked_on(ledger, parcel)) > 1:
        ledger.release(parcel, alone=True, expired=expired)
        return
    error = WorkerLost(reason, path=parcel.items[parcel.position].source)
    record_error(ledger, parcel, error, Fate.RETRY, lost=True, expired=expired)


def _worked_on(ledger: Ledger, parcel: Parcel) -> list[ListedItem]:
    """Return the items of a claimed parcel that are under way."""
    try:
        return in_company(parcel, from_json(ledger.job(parcel.job).spec.work))
    except UsageError:
        return parcel.items[parcel.position :][:1]


def codec_threads(outstanding: int) -> int:
    """Return the threads for one instance: one while every core has a parcel, more for the last ones."""
    return max(1, processors() // max(1, outstanding))


def _log(job: str, item: ListedItem, state: str, attempt: int, **fields: object) -> None:
    logs.items.info(
        "item",
        extra={"fields": {"job": job, "item": item.number, "state": state, "attempt": attempt, **fields}},
    )
