"""Instances that come from a node: written beside their place, looked through, synced, and named when they are whole."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cinemill.errors import Cancelled, CinemillError, DamagedFile, NodeError, NoRoom, OutputExists
from cinemill.network.instances import SOP_CLASS, SOP_INSTANCE, STUDY, check_whole, file_meta
from cinemill.network.outcomes import Outcome
from cinemill.pixel_format import Buffer
from cinemill.storage.file import Sink

_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_STATUS = {"fetched": 0x0000, "kept": 0x0000, "no-room": 0xA700, "different": 0xA900, "damaged": 0xC000}


def checked_uid(uid: str) -> str:
    """Return a UID, which may become a name.

    Raises
    ------
    NodeError
        It is none (PS3.5 §9.1).
    """
    if len(uid) > 64 or not _UID.fullmatch(uid):
        raise NodeError(f"{uid[:64]!r} is no UID", outcome="nonsense")
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
    """

    folder: Path
    study: str
    awaited: frozenset[str] | None = None
    told: Callable[[Outcome], None] = lambda _: None
    fetched: set[str] = field(default_factory=set)
    wrong: dict[str, Outcome] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def path_of(self, sop_instance: str) -> Path:
        """Return the place of an instance."""
        return self.folder / f"{checked_uid(sop_instance)}.dcm"

    def has(self, sop_instance: str) -> bool:
        """Whether an instance is there; only whole ones get their name."""
        return self.path_of(sop_instance).exists()

    def take(
        self,
        announced: tuple[str, str, str],
        parts: Iterable[Buffer],
        *,
        sender: str = "",
        whole_file: bool = False,
    ) -> int:
        """Write one instance, and return the status of the response to it; the parts are read to their end in any case.

        Parameters
        ----------
        announced
            SOP Class UID, SOP Instance UID and transfer syntax; empty where nobody says.
        parts
            Of its data set.
        sender
            AE title.
        whole_file
            Whether the parts are those of a Part 10 file.

        Raises
        ------
        NodeError
            The parts end too early: nothing is left of them.
        """
        waiting = iter(parts)
        outcome = self._taken(announced, waiting, sender, whole_file=whole_file)
        for _ in waiting:
            pass
        with self._lock:
            if outcome.kind.well:
                self.fetched.add(outcome.sop_instance)
                self.wrong.pop(outcome.sop_instance, None)
            else:
                self.wrong[outcome.sop_instance] = outcome
            self.told(outcome)
        return _STATUS.get(outcome.name, 0xC000)

    def _taken(
        self, announced: tuple[str, str, str], parts: Iterable[Buffer], sender: str, *, whole_file: bool
    ) -> Outcome:
        sop_class, sop_instance, syntax = announced
        try:
            if not whole_file:
                checked_uid(sop_class)
                checked_uid(sop_instance)
            if self.awaited is not None and sop_instance and sop_instance not in self.awaited:
                raise NodeError(f"{sop_instance} was not asked for", outcome="different")
            head = b"" if whole_file else file_meta(sop_class, sop_instance, syntax, sender)
            return self._written(announced, head, parts)
        except NodeError as error:
            if error.outcome not in {"different", "nonsense"}:
                raise
            return Outcome(
                error.outcome, None, sop_class, sop_instance, syntax, error.message, study=self.study
            )
        except Cancelled:
            raise
        except NoRoom as error:
            return Outcome("no-room", None, sop_class, sop_instance, syntax, str(error), study=self.study)
        except CinemillError as error:
            name = "damaged" if isinstance(error, DamagedFile) else "failed"
            return Outcome(name, None, sop_class, sop_instance, syntax, error.message, study=self.study)

    def _written(self, announced: tuple[str, str, str], head: bytes, parts: Iterable[Buffer]) -> Outcome:
        sop_class, sop_instance, syntax = announced
        place = self.path_of(sop_instance or "0.0")
        if sop_instance and place.exists():
            return Outcome("kept", place, sop_class, sop_instance, syntax, study=self.study)
        size = 0
        with Sink(place) as sink:
            if head:
                sink.write(head)
            for part in parts:
                sink.write(part)
                size += len(part)
            found, syntax = check_whole(sink.temporary)
            self._check(found, sop_class, sop_instance)
            sop_instance = sop_instance or found[SOP_INSTANCE]
            sink.path = self.path_of(sop_instance)
            sink.finish()
            try:
                sink.commit()
            except OutputExists:
                return Outcome("kept", sink.path, sop_class, sop_instance, syntax, study=self.study)
        return Outcome(
            "fetched",
            sink.path,
            sop_class or found.get(SOP_CLASS, ""),
            sop_instance,
            syntax,
            bytes=size,
            study=self.study,
        )

    def _check(self, found: Mapping[int, str], sop_class: str, sop_instance: str) -> None:
        told = {SOP_CLASS: sop_class, SOP_INSTANCE: sop_instance, STUDY: self.study}
        names = {SOP_CLASS: "SOP Class UID", SOP_INSTANCE: "SOP Instance UID", STUDY: "Study Instance UID"}
        for tag, expected in told.items():
            if expected and found.get(tag, "") != expected:
                raise NodeError(
                    f"the {names[tag]} of the data set is {found.get(tag) or 'missing'}, announced was {expected}",
                    outcome="different",
                )
        if not sop_instance and self.awaited is not None and found.get(SOP_INSTANCE) not in self.awaited:
            raise NodeError(f"{found.get(SOP_INSTANCE)} was not asked for", outcome="different")
        checked_uid(found.get(SOP_INSTANCE, ""))
