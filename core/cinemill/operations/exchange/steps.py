"""The steps of one study on its way: fetch, transcode, send, have it committed, read it back, and count what is there."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from cinemill.errors import CinemillError, NodeError
from cinemill.network import archive
from cinemill.network.arrivals import Arrivals, checked_uid
from cinemill.network.commitment import commit
from cinemill.network.instances import read_instance
from cinemill.network.outcomes import OUTCOMES
from cinemill.network.pace import Pace
from cinemill.network.query import Listed, Study
from cinemill.operations.exchange.ledger import STATES, Entry, Ledger, State
from cinemill.operations.exchange.pull import ATTEMPTS, PulledStudy, pull_study
from cinemill.operations.exchange.push import Sender
from cinemill.operations.exchange.seen import Other, compared
from cinemill.operations.operation import Control
from cinemill.operations.receipt import Receipt
from cinemill.storage.atomic import output_error
from cinemill.storage.tree import Item

if TYPE_CHECKING:
    from cinemill.network.listener import Listener
    from cinemill.network.nodes import Node

Work: TypeAlias = Callable[[Sequence[Item]], Iterator[Receipt]]
"""Transcodes files, each to its output, and yields a receipt for each, in the order they end."""

_PATIENCE = 2.0
_ROUNDS = 3
"""How often a study that grows while it is worked on is looked at."""
_DOUBTFUL = frozenset(("not-given-back", "not-committed", "missing", "not-as-sent"))
"""Failures of what was sent: another run sends it again."""

_UNSURE = frozenset(("not-as-sent", "nonsense", "different"))
"""Failures after which a node may have something else instead of what it had: the spool keeps what it has."""


@dataclass
class Steps:
    """Leads studies from one node to another, or back to the same, a study a thread.

    Parameters
    ----------
    source, target
        The nodes; which may be the same.
    ledger
        Knows how far each instance is.
    sender
        Sends to the target.
    work
        Transcodes; one study at a time.
    pace
        Of the source.
    fetching, answering
        Listen for what the source sends, and for what the target does, where they come to us.
    told
        Called with each instance that has reached another state, from several threads.
    control
        Of comparisons.
    """

    source: Node
    target: Node
    ledger: Ledger
    sender: Sender
    work: Work
    pace: Pace
    fetching: Listener | None
    answering: Listener | None
    told: Callable[[Entry], None]
    control: Control
    _working: threading.Lock = field(default_factory=threading.Lock)

    @property
    def same(self) -> bool:
        """Whether instances are replaced where they are."""
        return self.source.name == self.target.name

    def folder(self, study: str, part: str = "") -> Path:
        """Return where the files of a study stand on their way: ``fetched``, ``made`` and ``seen``."""
        return self.ledger.path.parent / "studies" / checked_uid(study) / part

    def carry_out(self, study: Study) -> str:
        """Lead one study through all steps, as far as it goes; return what is wrong with the study as such, empty for nothing.

        Parameters
        ----------
        study
            As the source lists it.

        Raises
        ------
        Cancelled
            On request; what was done is noted.
        """
        self.ledger.study(study)
        try:
            checked_uid(study.uid)
            detail = self._round(study)
        except NodeError as error:
            detail = f"{error.outcome}: {error.message}"
        except OSError as error:
            raise output_error(self.ledger.path.parent, error) from None
        else:
            left = [each for each in self.ledger.entries(study.uid).values() if not each.finished]
            self._clean(study.uid, left)
            if left and not detail:
                detail = f"{len(left)} instances are left"
        if self.ledger.entries(study.uid):
            self.ledger.settle(study.uid, detail)
        else:
            self.ledger.forget(study.uid)
        return detail

    def _round(self, study: Study) -> str:
        """Take all steps, again where the study has grown meanwhile."""
        detail = ""
        for number in range(_ROUNDS):
            self._resume(study.uid, again=not number)
            detail = self._fetch(study)
            self._transcode(study.uid)
            self._send(study.uid)
            if self.target.commitment:
                self._commit(study.uid)
            self._see(study.uid)
            counted, new = self._count(study.uid)
            detail = detail or counted
            if not new:
                break
        return detail

    def _resume(self, study: str, *, again: bool) -> None:
        """Have every instance go on from what its files allow; with `again`, those that failed too."""
        for entry in self.ledger.entries(study).values():
            if entry.finished or (entry.failure and not again):
                continue
            state = entry.state
            if state not in {"listed", "fetched"}:
                resent = entry.failure in _DOUBTFUL
                made = self._file(entry, "made").exists()
                state = ("transcoded" if resent else state) if made and STATES[state] else "fetched"
            if state == "fetched" and not self._file(entry, "fetched").exists():
                state = "listed"
            if state != entry.state or entry.failure:
                self.ledger.back(entry, state)

    def _file(self, entry: Entry, part: str) -> Path:
        return self.folder(entry.study, part) / f"{checked_uid(entry.sop_instance)}.dcm"

    def _fetch(self, study: Study) -> str:
        """Fetch what is not there yet; return what is wrong with the study as such."""

        def settled(listed: Sequence[Listed]) -> Collection[str]:
            self.ledger.add(study.uid, listed)
            entries = self.ledger.entries(study.uid).values()
            return {each.sop_instance for each in entries if each.state != "listed"}

        folder = self.folder(study.uid, "fetched")
        pulled = pull_study(self.source, study, folder, self.pace, self.fetching, settled=settled)
        found = [path.stem for path in folder.glob("*.dcm")]
        self.ledger.add(study.uid, [Listed(uid) for uid in found])
        for entry in self.ledger.entries(study.uid, "listed").values():
            if self._file(entry, "fetched").exists():
                self._fetched(entry)
        return self._missed(study, pulled)

    def _fetched(self, entry: Entry) -> None:
        path = self._file(entry, "fetched")
        try:
            instance = read_instance(path)
        except CinemillError as error:
            path.unlink()
            self._fail(entry, "damaged", error.message)
            return
        self.ledger.advance(
            entry,
            "fetched",
            before=instance.transfer_syntax,
            bytes_before=path.stat().st_size,
            series=instance.series,
            sop_class=instance.sop_class,
        )

    def _missed(self, study: Study, pulled: PulledStudy) -> str:
        wrong = {each.sop_instance: each for each in pulled.missing}
        for entry in self.ledger.entries(study.uid, "listed").values():
            told = wrong.get(entry.sop_instance) or wrong.get("")
            if told is None:
                self._fail(entry, "missing", "the node does not list it any more")
            else:
                self._fail(entry, told.name, told.detail or told.kind.meaning)
        whole = wrong.get("")
        return "" if whole is None else f"{whole.name}: {whole.detail or whole.kind.meaning}"

    def _transcode(self, study: str) -> None:
        """Transcode what was fetched; what is kept as it is need not go back to where it came from."""
        entries = self.ledger.entries(study, "fetched")
        items = [Item(self._file(each, "fetched"), self._file(each, "made")) for each in entries.values()]
        if not items:
            return
        self.pace.rest(0.0)
        self.folder(study, "made").mkdir(exist_ok=True)
        with self._working:
            for receipt in self.work(items):
                self._transcoded(entries[Path(receipt.source).stem], receipt)
        self.pace.rest(0.0)

    def _transcoded(self, entry: Entry, receipt: Receipt) -> None:
        if receipt.status not in {"transcoded", "copied", "kept"}:
            error = receipt.error or {"message": receipt.status, "kind": ""}
            name = "no-room" if error["kind"] == "NoRoom" else "not-transcoded"
            self._fail(entry, name, str(error["message"]))
            return
        more = {"after": receipt.transfer_syntax_after, "bytes_after": receipt.bytes_after}
        as_it_is = receipt.status != "transcoded" and bool(receipt.reason)
        if as_it_is and self.same:
            self._advance(entry, "unchanged", detail=receipt.reason or "", **more)
            self._remove(entry)
        else:
            self.ledger.advance(entry, "transcoded", **more)

    def _send(self, study: str) -> None:
        entries = self.ledger.entries(study, "transcoded")
        for outcome in self.sender.send([self._file(each, "made") for each in entries.values()]):
            assert outcome.source is not None
            entry = entries[outcome.source.stem]
            if outcome.name in {"stored", "coerced"}:
                self.ledger.advance(entry, "sent", after=outcome.transfer_syntax)
            else:
                self._fail(entry, outcome.name, outcome.detail or outcome.kind.meaning)

    def _commit(self, study: str) -> None:
        """Have the target answer for what it was sent."""
        entries = self.ledger.entries(study, "sent")
        if not entries:
            return
        assert self.answering is not None
        instances = [read_instance(self._file(each, "made")) for each in entries.values()]
        answered: Mapping[str, str] = {}
        error: NodeError | None = None
        for attempt in range(ATTEMPTS):
            self.pace.rest(_PATIENCE * attempt)
            try:
                answered, error = commit(self.target, instances, self.answering), None
            except NodeError as found:
                error = found
            if error is None or not OUTCOMES[error.outcome].again:
                break
        for uid, entry in entries.items():
            if answered.get(uid) == "committed":
                self.ledger.advance(entry, "committed")
            else:
                why = f"its answer is {answered.get(uid, 'none')}" if error is None else error.message
                self._fail(entry, "not-committed", why)

    def _see(self, study: str) -> None:
        """Ask the target for what it was sent, and compare."""
        states = ("committed",) if self.target.commitment else ("sent", "committed")
        entries = self.ledger.entries(study, *states)
        if not entries:
            return
        folder = self.folder(study, "seen")
        shutil.rmtree(folder, ignore_errors=True)
        arrivals = Arrivals(folder, study, frozenset(entries))
        error = self._ask_again(arrivals, list(entries.values()))
        for uid, entry in entries.items():
            if uid not in arrivals.fetched:
                wrong = arrivals.wrong.get(uid)
                what, why = (
                    (wrong.name, wrong.detail)
                    if wrong
                    else (error.outcome, error.message)
                    if error
                    else ("missing", "it was asked for, and did not come")
                )
                name = what if OUTCOMES[what].again else "not-given-back"
                self._fail(entry, name, why)
                continue
            self._compare(entry, arrivals.path_of(uid))

    def _ask_again(self, arrivals: Arrivals, entries: Sequence[Entry]) -> NodeError | None:
        listed = [Listed(each.sop_instance, each.sop_class, each.series, each.after) for each in entries]
        error: NodeError | None = None
        for attempt in range(ATTEMPTS):
            error = None
            try:
                archive.fetch(
                    self.target,
                    arrivals.study,
                    arrivals,
                    listed=listed,
                    whole=False,
                    listener=self.answering,
                    passed=self.sender.pace.passed,
                )
            except NodeError as found:
                error = found
            if len(arrivals.fetched) == len(entries) or (error and not OUTCOMES[error.outcome].again):
                break
            self.pace.rest(max(_PATIENCE * (attempt + 1), (error.after if error else None) or 0.0))
        return error

    def _compare(self, entry: Entry, given: Path) -> None:
        try:
            proof = compared(entry, self._file(entry, "made"), given, self.control)
        except Other as other:
            stays = f"; what was fetched stays in {self._file(entry, 'fetched')}, and the same command sends it again"
            self._fail(entry, other.outcome, other.message + (stays if other.outcome in _UNSURE else ""))
        else:
            self._advance(entry, "seen", proof=proof)
            self._remove(entry)
        given.unlink(missing_ok=True)

    def _count(self, study: str) -> tuple[str, bool]:
        """Compare the ledger with what the target lists; return what is wrong, and whether there is more than was known."""
        try:
            listed = archive.instances(self.target, study)
        except NodeError as error:
            return f"{error.outcome}: its instances could not be counted again: {error.message}", False
        entries = self.ledger.entries(study)
        there = {each.sop_instance for each in listed}
        if listed:
            for uid, entry in entries.items():
                if uid not in there and entry.finished:
                    self._fail(
                        entry, "missing", f"it was {entry.state}, and {self.target.name} does not list it now"
                    )
        new = [each for each in listed if each.sop_instance not in entries]
        return "", bool(new) and self.same

    def _advance(self, entry: Entry, state: State, **more: object) -> None:
        self.told(self.ledger.advance(entry, state, **more))

    def _fail(self, entry: Entry, failure: str, detail: str) -> None:
        self.told(self.ledger.fail(entry, failure, detail))

    def _remove(self, entry: Entry) -> None:
        for part in ("fetched", "made"):
            self._file(entry, part).unlink(missing_ok=True)

    def _clean(self, study: str, left: Sequence[Entry]) -> None:
        """Remove files that no other run needs: those of instances that failed for good begin anew, from what the node has."""
        for entry in left:
            if not _is_needed(entry):
                self._remove(entry)
        if not any(map(_is_needed, left)):
            shutil.rmtree(self.folder(study), ignore_errors=True)
        else:
            with suppress(OSError):
                shutil.rmtree(self.folder(study, "seen"))


def _is_needed(entry: Entry) -> bool:
    """Whether another run goes on from an instance's files, which may be all that is whole of it."""
    return not entry.failure or OUTCOMES[entry.failure].again or entry.failure in _UNSURE
