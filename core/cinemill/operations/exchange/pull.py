"""Fetches studies from a node: only what is not here yet, with retries; names what is still missing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from cinemill.errors import NodeError
from cinemill.network import archive
from cinemill.network.arrivals import Arrivals, checked_uid
from cinemill.network.outcomes import OUTCOMES, Outcome
from cinemill.network.pace import Pace
from cinemill.network.query import MOST_ANSWERS, Listed, Study
from cinemill.storage.atomic import make_folder

if TYPE_CHECKING:
    from cinemill.network.listener import Listener
    from cinemill.network.nodes import Node

By: TypeAlias = Literal["study", "day"]
ATTEMPTS = 3
_PATIENCE = 2.0
_UNKNOWN = frozenset(("failed", "not-understood", "does-not-match", "no-such"))
"""What nodes say of studies that they don't have."""


@dataclass(frozen=True, slots=True)
class PulledStudy:
    """What became of one study.

    Attributes
    ----------
    expected
        Instances that the node says the study has; None where it does not say.
    there
        Instances that are there now, fetched or kept.
    kept
        Those of them that an earlier run had fetched.
    missing
        An outcome for each instance that is not there; without UIDs where the node did not list them.
    """

    uid: str
    folder: Path
    expected: int | None
    there: int
    kept: int
    missing: tuple[Outcome, ...] = ()


class Asked:
    """Studies, as long as a node lists them: where it fails, those that were begun are ended first.

    Parameters
    ----------
    studies
        See `cinemill.network.archive.studies`.

    Attributes
    ----------
    error
        What ended them, None where they were all there.
    """

    def __init__(self, studies: Iterable[Study]) -> None:
        self._studies = studies
        self.error: NodeError | None = None

    def __iter__(self) -> Iterator[Study]:
        try:
            yield from self._studies
        except NodeError as error:
            self.error = error


def study_of(source: Node, uid: str, rest: Callable[[float], None]) -> Study:
    """Return a study as a node lists it, or by its UID alone where it does not.

    Parameters
    ----------
    source, rest
        See `cinemill.network.archive.studies`.
    uid
        Of the study.
    """
    return next(archive.studies(source, {"StudyInstanceUID": uid}, rest), None) or Study(uid)


def folder_of(destination: Path, study: Study, by: By) -> Path:
    """Return where the instances of a study go: a folder of its UID, by day in one of its date.

    Parameters
    ----------
    destination
        Of the run.
    study
        As the node lists it.
    by
        ``study`` or ``day``.
    """
    uid = checked_uid(study.uid)
    if by == "study":
        return destination / uid
    day = study.date if len(study.date) == 8 and study.date.isdigit() else "undated"
    return destination / day / uid


def pull(
    node: Node,
    destination: Path,
    studies: Iterable[Study],
    *,
    by: By = "study",
    pace: Pace | None = None,
    told: Callable[[Outcome], None] = lambda _: None,
) -> Iterator[PulledStudy]:
    """Fetch studies, as many at once as the node's limits allow; yield what became of each.

    Parameters
    ----------
    node
        Whose entry says how.
    destination
        Gets a folder for each study.
    studies
        See `cinemill.network.archive.studies`; taken lazily.
    by
        How folders are arranged: see `folder_of`.
    pace
        When and how fast; may stop everything by `Cancelled`.
    told
        Called with what became of each instance, from several threads.

    Raises
    ------
    Cancelled
        On request; what is there stays, and nothing else.
    NodeError
        The node lists no more studies; those that it has listed are done before.
    OutputError
        The destination can't be made.
    """
    pace = pace or Pace(node.limits.rate, node.limits.window)
    at_once = node.limits.associations
    waiting: deque[Future[PulledStudy]] = deque()
    with archive.listening(node, pace.passed) as listener, ThreadPoolExecutor(at_once) as executor:
        asked = Asked(studies)
        try:
            for study in asked:
                pace.wait()
                try:
                    folder = folder_of(destination, study, by)
                except NodeError as error:  # no study can be of that UID, and no folder gets it for a name
                    nothing = Arrivals(destination, study.uid)
                    yield _reconciled(study, destination, nothing, [], (), error)
                    continue
                make_folder(destination)
                waiting.append(executor.submit(pull_study, node, study, folder, pace, listener, told))
                while len(waiting) > at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
            if asked.error is not None:
                raise asked.error
        finally:
            for future in waiting:
                future.cancel()


def pull_study(
    node: Node,
    study: Study,
    folder: Path,
    pace: Pace,
    listener: Listener | None = None,
    told: Callable[[Outcome], None] = lambda _: None,
    settled: Callable[[Sequence[Listed]], Collection[str]] = lambda _: (),
) -> PulledStudy:
    """Fetch one study: see `pull`.

    Parameters
    ----------
    node
        Whose entry says how.
    study
        As the node lists it.
    folder
        Takes its instances; those that are there are not fetched again.
    pace
        When and how fast.
    listener
        For C-MOVE: see `cinemill.network.archive.listening`.
    told
        Called with what became of each instance.
    settled
        Called with what the node lists; returns the instances of it that are not needed, which count as kept.
    """
    listed: list[Listed] = []
    kept: set[str] = set()
    error: NodeError | None = None
    arrivals = Arrivals(folder, study.uid, told=told)
    for attempt in range(ATTEMPTS):
        error = None
        try:
            if not listed:
                listed = archive.instances(node, study.uid)
                done = settled(listed)
                uids = {each.sop_instance for each in listed}
                kept = {uid for uid in uids if uid in done or arrivals.has(uid)}
                arrivals.fetched |= kept
                arrivals.awaited = frozenset(each.sop_instance for each in listed) or None
            if not listed or len(kept) < len(listed):
                hopeless = {uid for uid, outcome in arrivals.wrong.items() if not outcome.kind.again}
                wanted = [each for each in listed if each.sop_instance not in hopeless]
                archive.fetch(
                    node,
                    study.uid,
                    arrivals,
                    listed=wanted,
                    whole=len(wanted) == len(listed),
                    listener=listener,
                    passed=pace.passed,
                )
        except NodeError as found:
            error = found
        if not _worth_again(error, arrivals, listed, study):
            break
        pace.rest(_delay(error, attempt))
    return _reconciled(study, folder, arrivals, listed, kept, error)


def _worth_again(error: NodeError | None, arrivals: Arrivals, listed: Sequence[Listed], study: Study) -> bool:
    """Whether something is missing that another attempt may bring."""
    missing = _missing(arrivals, listed)
    if not missing and (listed or len(arrivals.fetched) >= (study.instances or 0)):
        return error is not None and not listed and OUTCOMES[error.outcome].again
    untried = [each for each in missing if each.sop_instance not in arrivals.wrong]
    if arrivals.wrong and untried and len(untried) < len(missing):
        return True  # some nodes stop at the first one that is refused: the others are asked for without it
    if error is not None:
        return OUTCOMES[error.outcome].again
    return any(each.kind.again for each in arrivals.wrong.values())


def _delay(error: NodeError | None, attempt: int) -> float:
    asked = error.after if error is not None and error.after is not None else 0.0
    return max(asked, _PATIENCE * float(2**attempt))


def _missing(arrivals: Arrivals, listed: Sequence[Listed]) -> list[Listed]:
    return [each for each in listed if each.sop_instance not in arrivals.fetched]


def _reconciled(
    study: Study,
    folder: Path,
    arrivals: Arrivals,
    listed: Sequence[Listed],
    kept: Collection[str],
    error: NodeError | None,
) -> PulledStudy:
    """Compare what is there with what the node said, instance by instance and by their count."""
    expected = max(study.instances or 0, len(listed)) if listed or study.instances is not None else None
    there = len(listed) - len(_missing(arrivals, listed)) if listed else len(arrivals.fetched)
    name, detail = ("missing", "") if error is None else (error.outcome, error.message)
    if error is not None and name in _UNKNOWN and not listed and not study.instances:
        name, detail = "no-such", f"the node lists no such study ({error.message})"
    missing = [
        arrivals.wrong.get(each.sop_instance)
        or arrivals.wrong.get("")
        or Outcome(name, None, each.sop_class, each.sop_instance, "", detail, study=study.uid)
        for each in _missing(arrivals, listed)
    ]
    unnamed = (expected or 0) - there - len(missing)
    if unnamed > 0 or (error is not None and not missing):
        told = detail or f"the node counts {expected} instances, and lists {len(listed)}; {there} are there"
        wrong = arrivals.wrong.values() if not listed else ()
        counted = min(max(unnamed, 1), MOST_ANSWERS)
        missing += list(wrong) or [Outcome(name, None, detail=told, study=study.uid)] * counted
    return PulledStudy(study.uid, folder, expected, there, len(kept), tuple(missing))
