"""Pulls, pushes or migrates one item of a job: a study of a list, or a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.errors import Cancelled, CinemillError, DamagedFile, NodeError, NoRoom, NotDicom, UsageError
from cinemill.network import archive
from cinemill.network.nodes import Node, node_named
from cinemill.network.outcomes import OUTCOMES, Outcome
from cinemill.network.pace import Pace
from cinemill.operations.exchange.ledger import Ledger, SpoolInUse
from cinemill.operations.exchange.migrate import migrate, outcome_of
from cinemill.operations.exchange.pull import pull_study, study_of
from cinemill.operations.exchange.push import Sender
from cinemill.operations.exchange.request import Migrate, Pull, Push, spared
from cinemill.operations.operation import Control
from cinemill.operations.receipt import Receipt, failure
from cinemill.storage.tree import Item

if TYPE_CHECKING:
    from cinemill.network.nodes import Push as Way
    from cinemill.operations.operation import Operation
    from cinemill.syntaxes import TransferSyntax

_REMEMBERED = frozenset(("class-refused", "syntax-refused", "not-served"))
"""What a sender knows of its node, and does not ask for again."""


def run(operation: Operation, src: Path, dst: Path, control: Control) -> Receipt:
    """Do to one item what a job asks for: see `cinemill.operations.exchange.request`.

    Parameters
    ----------
    operation
        What is asked for.
    src, dst
        A study of a list and its folder, or a file and a path of no meaning.
    control
        Threads and cancellation.

    Raises
    ------
    NodeError
        Something is left to be done; its outcome says whether another attempt may help.
    Cancelled
        On request; what is there stays.
    """
    if isinstance(operation, Pull):
        return _pulled(operation, src, dst, control)
    if isinstance(operation, Migrate):
        return _migrated(operation, src, dst, control)
    assert isinstance(operation, Push)
    return _pushed(operation, src, dst, control)


def _open(name: str, at_once: int) -> Node:
    """Return a node at a time of the day at which it may be asked."""
    node = node_named(name)
    window = node.limits.window
    if window is not None and datetime.now().astimezone().time() not in window:
        raise NodeError(
            f"{name} may be used from {window.begin:%H:%M} to {window.end:%H:%M} only, as the nodes file says",
            outcome="closed",
        )
    return spared(node, at_once)


def _pulled(operation: Pull, src: Path, folder: Path, control: Control) -> Receipt:
    node = _open(operation.node, operation.at_once)
    pace = Pace(node.limits.rate, None, control.cancelled or (lambda: False))
    with archive.listening(node, pace.passed) as listener:
        done = pull_study(node, study_of(node, src.name, pace.rest), folder, pace, listener)
    if done.missing:
        told = [(each.name, each.sop_instance, each.detail or each.kind.meaning) for each in done.missing]
        raise _left(told, done.there + len(done.missing), src)
    became = Counter({"fetched": done.there - done.kept, "kept": done.kept})
    return Receipt(
        str(src),
        str(folder),
        "fetched",
        instances=dict(+became),
        bytes_before=pace.bytes,
        bytes_after=pace.bytes,
    )


def _migrated(operation: Migrate, src: Path, spool: Path, control: Control) -> Receipt:
    source = _open(operation.node, operation.at_once)
    target = _open(operation.target or operation.node, operation.at_once)
    migration = operation.between(source, target, spool)
    if control.cancelled is not None:
        migration = replace(migration, stopping=control.cancelled)

    def work(items: Sequence[Item]) -> Iterator[Receipt]:
        for item in items:
            try:
                yield migration.wanted.apply(item.source, item.output, control)
            except (Cancelled, UsageError, NoRoom):
                raise
            except CinemillError as error:
                yield failure(item.source, item.output, error)

    try:
        with Ledger(spool, migration.settings) as ledger:
            (done,) = migrate(migration, ledger, [study_of(source, src.name, migration.paces[0].rest)], work)
    except SpoolInUse as error:
        raise CinemillError(error.message, path=src) from None
    same = source.name == target.name
    if not done.well:
        left = [each for each in done.entries if not each.finished]
        told = [(outcome_of(each, same=same), each.sop_instance, each.detail) for each in left]
        name, _, detail = done.detail.partition(": ")
        raise _left(told or [(name, f"study {done.uid}", detail)], len(done.entries), src)
    proofs = dict.fromkeys(each.proof for each in done.entries if each.proof)
    return Receipt(
        str(src),
        str(spool),
        "migrated",
        instances=Counter(outcome_of(each, same=same) for each in done.entries),
        bytes_before=sum(each.bytes_before for each in done.entries),
        bytes_after=sum(each.bytes_after for each in done.entries),
        verification="; ".join(proofs),
    )


def _left(told: Sequence[tuple[str, str, str]], count: int, src: Path) -> CinemillError:
    """Return the error that says what is left of a study; its outcome is one that may pass, if there is any.

    Parameters
    ----------
    told
        The outcome of each instance that is left, its UID, and what happened.
    count
        Instances of the study.
    src
        The item.
    """
    by_hope = sorted(told, key=lambda each: not (each[0] in OUTCOMES and OUTCOMES[each[0]].again))
    name, uid, detail = by_hope[0]
    counts = ", ".join(f"{number} {each}" for each, number in Counter(each for each, *_ in told).items())
    return NodeError(
        f"{len(told)} of {count} instances are left ({counts}); {uid}: {detail}",
        outcome=name if name in OUTCOMES else "failed",
    ).locate(path=src)


def _pushed(operation: Push, src: Path, dst: Path, control: Control) -> Receipt:
    node = _open(operation.node, operation.at_once)
    way = operation.way(node)
    sender = _sender(node, way, operation.targets, force=operation.force)
    sender.pace = Pace(node.limits.rate, None, control.cancelled or (lambda: False))
    (outcome,) = sender.send([src])
    if outcome.name in _REMEMBERED:
        _sender.cache_clear()
    if outcome.name == "not-dicom":
        raise NotDicom(outcome.detail, path=src)
    if outcome.name == "damaged":
        raise DamagedFile(outcome.detail, path=src)
    if not outcome.kind.well:
        raise NodeError(outcome.detail or outcome.kind.meaning, outcome=outcome.name).locate(path=src)
    return _sent(outcome, src, dst)


@lru_cache(maxsize=4)
def _sender(node: Node, way: Way, fallback: tuple[TransferSyntax, ...], *, force: bool) -> Sender:
    """Return what sends to a node, and remembers from one instance to the next what it takes."""
    return Sender(node, way, fallback, force)


def _sent(outcome: Outcome, src: Path, dst: Path) -> Receipt:
    return Receipt(
        str(src),
        str(dst),
        "sent",
        sop_instance_uid=outcome.sop_instance,
        sop_class_uid=outcome.sop_class,
        transfer_syntax_before=outcome.before or outcome.transfer_syntax,
        transfer_syntax_after=outcome.transfer_syntax,
        instances={outcome.name: 1},
        bytes_before=src.stat().st_size,
        bytes_after=outcome.bytes,
        warnings=(outcome.detail,) if outcome.name == "coerced" else (),
    )
