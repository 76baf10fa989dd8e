"""Migrates studies of a node to another transfer syntax, or to another node: an instance counts once it was seen there afterwards."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.errors import NodeError, UsageError
from cinemill.network import archive
from cinemill.network.outcomes import OF_THE_NODE, OUTCOMES
from cinemill.network.pace import Pace
from cinemill.network.query import Study
from cinemill.operations.exchange.ledger import Entry, Ledger
from cinemill.operations.exchange.pull import Asked, study_of
from cinemill.operations.exchange.push import Sender, check_targets, way_to
from cinemill.operations.exchange.steps import Steps, Work
from cinemill.operations.operation import Control

if TYPE_CHECKING:
    from cinemill.network.listener import Listener
    from cinemill.network.nodes import Node, Push
    from cinemill.operations.transcode.request import Transcode
    from cinemill.syntaxes import TransferSyntax

_IN_A_ROW = 3
"""Studies of which nothing went well for a reason that is the node's, after which a run ends."""
_DECISIVE = ("to", "colour", "if_larger", "lossy_source", "readable_by", "collapse_grey")
"""Options that decide what is made of an instance, besides the policy."""
_SHARED = frozenset(("kept-by-node", "not-as-sent", "syntax-refused", "not-served"))
"""Failures that others will most likely share, as those do that may pass: unless that study has failed before."""


@dataclass
class Migration:
    """What is migrated, and how.

    Parameters
    ----------
    source, target
        The nodes; which may be the same.
    spool
        Folder for the ledger, and for the files on their way.
    wanted
        What is made of instances.
    via
        How they are sent: ``dimse`` or ``web``.
    fallback, force
        See `cinemill.operations.exchange.push.Sender`.
    stopping
        Polled; True stops everything by `Cancelled`.
    """

    source: Node
    target: Node
    spool: Path
    wanted: Transcode
    via: Push
    fallback: Sequence[TransferSyntax] = ()
    force: bool = False
    stopping: Callable[[], bool] = lambda: False
    paces: tuple[Pace, Pace] = field(init=False)

    def __post_init__(self) -> None:
        limits, others = self.source.limits, self.target.limits
        into = Pace(limits.rate, limits.window, self.stopping)
        same = self.source.name == self.target.name
        self.paces = (into, into if same else Pace(others.rate, others.window, self.stopping))

    @property
    def settings(self) -> Mapping[str, str]:
        """What its ledger holds for all time."""
        return settings(self.source, self.target, self.wanted)


@dataclass(frozen=True, slots=True)
class Migrated:
    """What became of one study in this run.

    Attributes
    ----------
    entries
        Its instances, those of earlier runs too.
    detail
        What is wrong with the study as such, empty for nothing.
    """

    uid: str
    entries: tuple[Entry, ...]
    detail: str

    @property
    def well(self) -> bool:
        """Whether nothing is left to be done."""
        return not self.detail


def settings(source: Node, target: Node, wanted: Transcode) -> dict[str, str]:
    """Return what the ledger of a migration holds for all time.

    Parameters
    ----------
    source, target
        The nodes.
    wanted
        What is made of instances.
    """
    options = {f"--{name.replace('_', '-')}": str(getattr(wanted, name) or "") for name in _DECISIVE}
    if wanted.policy:
        options["--policy"] = f"sha256:{hashlib.sha256(wanted.policy.encode()).hexdigest()}"
    return {"node": source.name, "to node": target.name, **options}


def outcome_of(entry: Entry, *, same: bool) -> str:
    """Return the name of what became of an instance: see `cinemill.network.outcomes`.

    Parameters
    ----------
    entry
        Of the ledger.
    same
        Whether it goes back to the node that it came from.
    """
    if entry.failure:
        return entry.failure
    if same and entry.before == entry.after and entry.finished:
        return "unchanged"
    return {"seen": "replaced" if same else "seen", "unchanged": "unchanged"}.get(entry.state, "stopped")


def migrate(
    migration: Migration,
    ledger: Ledger,
    studies: Iterable[Study],
    work: Work,
    told: Callable[[Entry], None] = lambda _: None,
) -> Iterator[Migrated]:
    """Migrate studies, as many at once as the limits of the nodes allow; yield what became of each.

    What the ledger knows and is not finished comes first. Nothing is ever deleted at a node.

    Parameters
    ----------
    migration
        What, and how.
    ledger
        Open, of its spool.
    studies
        See `cinemill.network.archive.studies`; taken lazily.
    work
        Transcodes files.
    told
        Called with each instance that is finished or fails, from several threads.

    Raises
    ------
    Cancelled
        On request; the same goes on from there.
    NodeError
        A node can't be asked, or did not do anything for several studies in a row.
    """
    source, target = migration.source, migration.target
    at_once = min(source.limits.associations, target.limits.associations)
    into, out = migration.paces
    scratch = migration.spool / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    sender = Sender(target, migration.via, migration.fallback, migration.force, out, scratch)
    waiting: deque[tuple[Study, Future[str]]] = deque()
    row = _Row()
    with listening(migration) as (fetching, answering), ThreadPoolExecutor(at_once) as executor:
        control = Control(None, migration.stopping)
        steps = Steps(source, target, ledger, sender, work, into, fetching, answering, told, control)
        try:
            asked = Asked(_queued(ledger, source, studies, into.rest))
            for study in asked:
                into.wait()
                out.wait()
                waiting.append((study, executor.submit(steps.carry_out, study)))
                if len(waiting) > at_once:
                    yield from row.ended(ledger, waiting.popleft())
            while waiting:
                yield from row.ended(ledger, waiting.popleft())
            if asked.error is not None:
                raise asked.error
        finally:
            for _, future in waiting:
                future.cancel()


def _queued(
    ledger: Ledger, source: Node, studies: Iterable[Study], rest: Callable[[float], None]
) -> Iterator[Study]:
    """Yield studies that were begun, then the others, each once."""
    begun = ledger.unsettled()
    for uid in begun:
        yield study_of(source, uid, rest)
    known = set(begun)
    yield from (study for study in studies if study.uid not in known)


class _Row:
    """Studies of which nothing went well, one after the other."""

    def __init__(self) -> None:
        self._length = 0

    def ended(self, ledger: Ledger, ended: tuple[Study, Future[str]]) -> Iterator[Migrated]:
        """Yield what became of a study; raise where it was one too many."""
        study, future = ended
        detail = future.result()
        done = Migrated(study.uid, tuple(ledger.entries(study.uid).values()), detail)
        yield done
        self._length = self._length + 1 if _is_stuck(done) else 0
        if self._length >= _IN_A_ROW:
            entry = next((each for each in done.entries if each.failure), None)
            why = done.detail if entry is None else f"{entry.failure}: {entry.detail}"
            raise NodeError(
                f"stopped, for {_IN_A_ROW} studies in a row failed, the last by {why}; once that is mended, "
                "the same command goes on from here",
                outcome="down",
            )


def _is_stuck(done: Migrated) -> bool:
    """Whether nothing of a study went well, for reasons that others will share."""
    if done.well or any(each.finished for each in done.entries):
        return False
    failures = {each.failure for each in done.entries if each.failure} or {done.detail.partition(":")[0]}
    if failures <= OF_THE_NODE:
        return True
    likely = all(name in _SHARED or (name in OUTCOMES and OUTCOMES[name].again) for name in failures)
    return likely and all(each.attempts <= 1 for each in done.entries)


@contextmanager
def listening(migration: Migration) -> Iterator[tuple[Listener | None, Listener | None]]:
    """Listen for what the source sends by C-MOVE, and for what the target does and answers; at one port where that is the same."""
    from cinemill.network.listener import Listener

    source, target = migration.source, migration.target
    into, out = migration.paces
    with ExitStack() as stack:
        fetching = answering = None
        if source.pull == "move":
            fetching = stack.enter_context(Listener(source.by_dimse, into.passed))
        if target.pull == "move" or target.commitment:
            if fetching is not None and _port(source) == _port(target):
                answering = fetching
            else:
                answering = stack.enter_context(Listener(target.by_dimse, out.passed))
        yield fetching, answering


def _port(node: Node) -> tuple[object, ...]:
    return node.by_dimse.listen, node.by_dimse.calling, node.by_dimse.tls


def forecast(source: Node, studies: Iterable[Study]) -> tuple[int, Counter[str]]:
    """Return how many studies there are, and their instances by transfer syntax as the node lists them, fetching none.

    Parameters
    ----------
    source
        The node.
    studies
        See `cinemill.network.archive.studies`.

    Raises
    ------
    NodeError
        The node can't be asked.
    """
    count, found = 0, Counter[str]()
    for study in studies:
        count += 1
        found.update(each.transfer_syntax for each in archive.instances(source, study.uid))
    return count, found


def check(migration: Migration) -> None:
    """Find what can't go well before anything is fetched.

    Raises
    ------
    UsageError
        A node's entry lacks what is needed.
    """
    for node in (migration.source, migration.target):
        archive.check(node)
        if node.commitment and node.by_dimse.listen is None:
            raise UsageError(
                f"node {node.name} has commitment, and no listen, the port at which it reports; add it to "
                f"[node.{node.name}.dimse] in the nodes file"
            )
    way_to(migration.target, migration.via)


def ask(migration: Migration) -> None:
    """Ask the target's node whether it takes what the options have instances transcoded to.

    Raises
    ------
    UsageError
        It does not.
    """
    check_targets(
        Sender(migration.target, migration.via, migration.fallback, migration.force), migration.wanted
    )
