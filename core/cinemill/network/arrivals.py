"""Receives the instances of one study that was asked for, refuses others, and accounts for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from cinemill.errors import NodeError
from cinemill.network import commands
from cinemill.network.identity import Identity, is_uid
from cinemill.network.incoming import Claim, Incoming, Rules, Taken, What, settle
from cinemill.network.outcomes import Outcome
from cinemill.pixel_format import Buffer
from cinemill.storage.atomic import make_folder, open_temporary, sweep, sync

_WELL = {"stored": "fetched", "duplicate": "kept"}
_REFUSED = {
    commands.OUT_OF_RESOURCES: "no-room",
    commands.MISMATCH: "different",
    commands.NOT_UNDERSTOOD: "damaged",
    commands.INVALID_INSTANCE: "nonsense",
    commands.CLASS_NOT_SUPPORTED: "nonsense",
    commands.DUPLICATE_INSTANCE: "duplicate",
}
_MOST_WRONG = 50_000
"""Instances that are remembered for what is wrong with them."""

_MOST_IN_VAIN = 100_000
"""Instances in a row that bring nothing, after which a node is not listened to any more."""

_UNNAMED = "arriving"
"""What a file is called while it is not known which instance comes."""


def checked_uid(uid: str) -> str:
    """Return a UID, which may become a name.

    Raises
    ------
    NodeError
        It is none (PS3.5 §9.1).
    """
    if not is_uid(uid):
        raise NodeError(f"{uid[:64]!r} is no UID; have it corrected at the node", outcome="nonsense")
    return uid


@dataclass
class Arrivals:
    """Where the instances of one study go, and what came of them. Thread-safe.

    Parameters
    ----------
    folder
        Of the study.
    study
        Its UID; an instance of another one is refused.
    awaited
        UIDs of instances that are taken; None for all of the study.
    told
        Called with what became of each.
    rules
        By what instances are taken.

    Attributes
    ----------
    moved
        When a part of an instance came last, by the monotonic clock.
    """

    folder: Path
    study: str
    awaited: frozenset[str] | None = None
    told: Callable[[Outcome], None] = lambda _: None
    rules: Rules = field(default_factory=Rules)
    fetched: set[str] = field(default_factory=set)
    wrong: dict[str, Outcome] = field(default_factory=dict)
    moved: float = float("-inf")
    _in_vain: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def path_of(self, sop_instance: str) -> Path:
        """Return the place of an instance."""
        return self.folder / f"{checked_uid(sop_instance)}.dcm"

    def has(self, sop_instance: str) -> bool:
        """Whether an instance is there; only whole ones get their name."""
        return self.path_of(sop_instance).exists()

    def awaits(self, sop_instance: str) -> bool:
        """Whether an instance of that name is among those that were asked for."""
        return self.awaited is None or sop_instance in self.awaited

    def begin(self, claim: Claim) -> Incoming:
        """Return the file for an instance that is going to come."""
        incoming = _Arriving(self, claim)
        if claim.transfer_syntax and not self.awaits(claim.sop_instance):
            incoming.refuse(commands.MISMATCH, "the instance was not asked for")
        return incoming

    def open(self, claim: Claim) -> tuple[Path, FileIO]:
        """Return a new file for an instance, hidden beside its place."""
        path = make_folder(self.folder) / f"{claim.sop_instance or _UNNAMED}.dcm"
        sweep(path)
        return open_temporary(path)

    def place(self, temporary: Path, claim: Claim, identity: Identity) -> tuple[What, Path]:
        """Give a synced file its name for good: see `cinemill.network.incoming.Home`.

        Parameters
        ----------
        temporary
            The file, synced.
        claim, identity
            What its sender said that it is, and what its data set says.
        """
        if identity.study != self.study:
            raise NodeError("the data set is of another study than was asked for", outcome="different")
        if not self.awaits(identity.sop_instance):
            raise NodeError("the instance was not asked for", outcome="different")
        path = self.path_of(claim.sop_instance)
        what = settle(temporary, path, self.rules.duplicates)
        sync(self.folder)
        return what, path

    def take(self, claim: Claim, parts: Iterable[Buffer]) -> Taken:
        """Write one instance, and say what became of it; the parts are read to their end in any case.

        Parameters
        ----------
        claim
            What is said of it; empty where whole files come, which say it themselves.
        parts
            Of its data set, or of the file.

        Raises
        ------
        NodeError
            The parts end too early: nothing is left of them; or there is no end of what can't be taken.
        """
        incoming = self.begin(claim)
        try:
            for part in parts:
                incoming.write(part)
                if incoming.endless:
                    raise NodeError(
                        f"an instance has twice the {self.rules.most} bytes that it may have",
                        outcome="nonsense",
                    )
            taken = incoming.finish()
        finally:
            incoming.discard()
        self.note(taken)
        if self._in_vain > _MOST_IN_VAIN:
            raise NodeError(
                f"{_MOST_IN_VAIN} instances came one after the other that are there already, or are not taken",
                outcome="nonsense",
            )
        return taken

    def note(self, taken: Taken) -> None:
        """Account for an instance that was taken or refused."""
        claim = taken.claim
        outcome = Outcome(
            _WELL.get(taken.what) or _REFUSED.get(taken.status, "failed"),
            taken.path,
            claim.sop_class,
            claim.sop_instance,
            claim.transfer_syntax,
            taken.message,
            bytes=taken.size if taken.what == "stored" else 0,
            study=self.study,
        )
        with self._lock:
            new = outcome.kind.well and outcome.sop_instance not in self.fetched
            self._in_vain = 0 if new else self._in_vain + 1
            if outcome.kind.well:
                self.fetched.add(outcome.sop_instance)
                self.wrong.pop(outcome.sop_instance, None)
            elif len(self.wrong) < _MOST_WRONG:
                self.wrong[outcome.sop_instance] = outcome
            self.told(outcome)

    def lack(self, sop_instance: str, sop_class: str, error: NodeError) -> None:
        """Account for an instance that the node did not give, unless it has come.

        Parameters
        ----------
        sop_instance, sop_class
            Its UIDs.
        error
            What happened instead.
        """
        with self._lock:
            if sop_instance not in self.fetched and len(self.wrong) < _MOST_WRONG:
                self.wrong[sop_instance] = Outcome(
                    error.outcome, None, sop_class, sop_instance, "", error.message, study=self.study
                )


class _Arriving(Incoming):
    """An instance whose parts are noticed."""

    def __init__(self, arrivals: Arrivals, claim: Claim) -> None:
        super().__init__(arrivals, claim)
        self._arrivals = arrivals

    def write(self, piece: Buffer) -> None:
        """Append bytes of the data set: see `Incoming`."""
        self._arrivals.moved = time.monotonic()
        super().write(piece)
