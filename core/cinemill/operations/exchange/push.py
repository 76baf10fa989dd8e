"""Sends files to a node: asks first what it accepts, transcodes on the way where that was allowed, and retries."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cinemill.errors import Cancelled, CinemillError, NodeError, NotDicom, UsageError
from cinemill.network.instances import Instance, read_instance
from cinemill.network.outcomes import Outcome
from cinemill.network.pace import Pace
from cinemill.network.store import accepted, outcome_of, store
from cinemill.operations.policy.readers import readable
from cinemill.storage.scratch import scratch
from cinemill.syntaxes import TARGETS, TRANSFER_SYNTAXES, TransferSyntax, target

if TYPE_CHECKING:
    from cinemill.network.nodes import Node, Push
    from cinemill.operations.transcode.request import Transcode

ATTEMPTS = 3
_PATIENCE = 2.0
_AT_ONCE = 1000
"""Files whose headers are known at the same time."""

_IN_A_ROW = 3
_SLOW_TO_FAIL = frozenset(("down", "busy", "stalled"))
"""Outcomes that the next instances would share, after as long again."""

_NATIVE = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
_ANYWHERE = frozenset(("native", "rle", "jpeg", "jpeg-lossless", "jpeg-ls", "jpeg-2000", "video"))
"""Codings that every server of today can give back by WADO-RS."""


@dataclass
class Sender:
    """Sends files to one node, and remembers what it takes.

    Parameters
    ----------
    node
        Where they go.
    via
        ``dimse`` or ``web``.
    fallback
        Targets for what the node does not take, the best first; none for refusing it by name.
    force
        Send by STOW-RS what the node may not be able to give back.
    pace
        When and how fast; may stop everything by `Cancelled`.
    scratch
        Where files that are transcoded stand for the time; the system's temporary directory by default.
    """

    node: Node
    via: Push
    fallback: Sequence[TransferSyntax] = ()
    force: bool = False
    pace: Pace = field(default_factory=Pace)
    scratch: Path | None = None
    _asked: set[tuple[str, str]] = field(default_factory=set)
    _taken: set[tuple[str, str]] = field(default_factory=set)

    def send(self, files: Iterable[Path]) -> Iterator[Outcome]:
        """Send files, and yield what became of each, those that are tried again behind the others.

        Raises
        ------
        Cancelled
            On request.
        """
        waiting = iter(files)
        while batch := list(islice(waiting, _AT_ONCE)):
            instances: list[Instance] = []
            for file in batch:
                found = surveyed(file)
                if isinstance(found, Outcome):
                    yield found
                else:
                    instances.append(found)
            yield from self._send_again(instances)

    def _send_again(self, instances: list[Instance]) -> Iterator[Outcome]:
        """Send instances, some of them several times."""
        for attempt in range(ATTEMPTS):
            by_path = {each.path: each for each in instances}
            again, delay = [], _PATIENCE * 2**attempt
            for outcome in self.send_once(instances):
                if not outcome.kind.again or attempt == ATTEMPTS - 1 or outcome.source not in by_path:
                    yield outcome
                    continue
                again.append(by_path[outcome.source])
                delay = max(delay, outcome.after or 0.0)
            if not again:
                return
            instances = again[::-1]  # what was not tried comes first
            self.pace.rest(delay)

    def send_once(self, instances: Sequence[Instance]) -> Iterator[Outcome]:
        """Send instances once, and yield what became of each."""
        self.pace.wait()
        try:
            self._ask(instances)
        except NodeError as error:
            yield from (outcome_of(each, error) for each in instances)
            return
        direct: list[Instance] = []
        others: list[Instance] = []
        for each in instances:
            taken = self._takes(each.sop_class, each.transfer_syntax)
            (direct if taken else others).append(each)
        yield from self._sent(direct)
        for each in others:
            yield self._transcoded(each)

    def _sent(self, instances: Sequence[Instance]) -> Iterator[Outcome]:
        """Send instances once; where the node can't take several in a row, the others are not tried on it."""
        if not instances:
            return
        left: dict[Path | None, Instance] = {each.path: each for each in instances}
        row = 0
        with closing(self._over_network(instances)) as outcomes:
            for outcome in outcomes:
                left.pop(outcome.source)
                row = row + 1 if outcome.name in _SLOW_TO_FAIL else 0
                yield outcome
                if row == _IN_A_ROW:
                    break
            else:
                return
        why = f"not sent, for {_IN_A_ROW} before it failed, the last by {outcome.detail}"
        error = NodeError(why, outcome=outcome.name, after=outcome.after)
        yield from (outcome_of(each, error) for each in left.values())

    def _over_network(self, instances: Sequence[Instance]) -> Generator[Outcome, None, None]:
        if self.via == "web":
            from cinemill.network import web

            yield from web.store(self.node, instances, passed=self.pace.passed)
        else:
            yield from store(self.node, instances, passed=self.pace.passed)

    def refused(self, targets: Iterable[TransferSyntax]) -> list[TransferSyntax]:
        """Return those transfer syntaxes in which nothing would be sent, as far as that is known without instances.

        The node is asked for the SOP classes of `cinemill.network.abilities.CLASSES`; one that takes none of them refuses
        nothing.

        Raises
        ------
        NodeError
            It can't be asked.
        """
        from cinemill.network.abilities import CLASSES

        asked = list(targets)
        if self.node.dimse is not None:
            uids = [*_NATIVE, *(each.uid for each in asked)]
            self._learn([(sop_class, uid) for sop_class in CLASSES.values() for uid in uids])
        if self.via == "dimse" and not any(taken in CLASSES.values() for taken, _ in self._taken):
            return []
        return [row for row in asked if not any(self._takes(each, row.uid) for each in CLASSES.values())]

    def _ask(self, instances: Sequence[Instance]) -> None:
        """Ask the node, once for each, which classes it takes in which transfer syntaxes."""
        if self.node.dimse is None or (self.via == "web" and all(map(self._served_anywhere, instances))):
            return
        targets = [*_NATIVE, *(each.uid for each in self.fallback)]
        pairs = {(each.sop_class, each.transfer_syntax): None for each in instances}
        pairs |= {(each.sop_class, uid): None for each in instances for uid in targets}
        self._learn(pairs)

    def _learn(self, pairs: Iterable[tuple[str, str]]) -> None:
        new = [pair for pair in pairs if pair not in self._asked]
        if new:
            self._taken = self._taken | accepted(self.node, new)  # not in place: other threads go through it
            self._asked.update(new)

    @staticmethod
    def _served_anywhere(instance: Instance) -> bool:
        return TRANSFER_SYNTAXES[instance.transfer_syntax].coding in _ANYWHERE

    def _takes(self, sop_class: str, syntax: str) -> bool:
        """Whether the node takes a SOP class in a syntax; by STOW-RS, whether it can be expected to give it back."""
        if self.via == "dimse":
            return (sop_class, syntax) in self._taken
        row = TRANSFER_SYNTAXES[syntax]
        if self.force or row.coding in _ANYWHERE or (sop_class, syntax) in self._taken:
            return True
        return bool(self.node.readable_by) and row in readable(self.node.readable_by)

    def _transcoded(self, instance: Instance) -> Outcome:
        """Transcode an instance to the best that the node takes, verified, and send that."""
        chosen = next((each for each in self.fallback if self._takes(instance.sop_class, each.uid)), None)
        if chosen is None:
            return outcome_of(instance, self._refusal(instance))
        from cinemill.operations.transcode.transcode import transcode

        with scratch(self.scratch) as folder:
            output = folder / "instance.dcm"
            try:
                transcode(instance.path, output, to=chosen.uid, preserve=False)
                made = read_instance(output)
            except Cancelled:
                raise
            except CinemillError as error:
                return replace(outcome_of(instance, error), name="not-transcoded")
            if not self._takes(made.sop_class, made.transfer_syntax):
                return outcome_of(instance, self._refusal(instance))
            (outcome,) = self._sent([made])
        return replace(outcome, source=instance.path, before=instance.transfer_syntax)

    def _refusal(self, instance: Instance) -> NodeError:
        row = TRANSFER_SYNTAXES[instance.transfer_syntax]
        if self.via == "web":
            return NodeError(
                f"{self.node.name} may take {row}, and not be able to give it back; name a --fallback, or --force",
                outcome="not-served",
            )
        if not any(sop_class == instance.sop_class for sop_class, _ in self._taken):
            return NodeError(
                f"{self.node.name} does not take SOP class {instance.sop_class}", outcome="class-refused"
            )
        advice = (
            "none of the fallbacks either"
            if self.fallback
            else "name a --fallback, such as jpeg-2000,explicit"
        )
        return NodeError(f"{self.node.name} does not take {row}; {advice}", outcome="syntax-refused")


def surveyed(file: Path) -> Instance | Outcome:
    """Return what a file says of itself, or why it can't be sent."""
    try:
        return read_instance(file)
    except NotDicom as error:
        return Outcome("not-dicom", file, detail=error.message)
    except CinemillError as error:
        return Outcome("damaged", file, detail=error.message)


def way_to(node: Node, via: Push | Literal["auto"] = "auto") -> Push:
    """Return how instances are sent to a node, by default as it has it, once its entry is known to say what is needed.

    Raises
    ------
    UsageError
        It does not.
    """
    way = node.push if via == "auto" else via
    if way == "web":
        node.by_web.authorization()
    else:
        node.by_dimse  # noqa: B018  # says what is missing
    return way


def read_fallback(text: str) -> tuple[TransferSyntax, ...]:
    """Read targets with commas between.

    Raises
    ------
    UsageError
        One of them can't be written.
    """
    try:
        return tuple(target(name.strip()) for name in text.split(",") if name.strip())
    except UsageError as error:
        raise UsageError(f"--fallback: {error.message}") from None


def check_targets(sender: Sender, wanted: Transcode) -> None:
    """Ask a node whether it takes what was named with ``--to``, or any of what else may be chosen, before there is anything to send.

    Parameters
    ----------
    sender
        Of what is made; one with a fallback has a way out, and is not asked.
    wanted
        What is made of instances.

    Raises
    ------
    UsageError
        It does not.
    """
    if sender.fallback:
        return
    allowed = readable(wanted.readable_by)
    chosen = [rule.wanted.within(allowed) for rule in wanted.rules.rules if rule.wanted]
    targets = dict.fromkeys(row for each in chosen for row in each.targets)
    try:
        refused = sender.refused(TARGETS)
    except NodeError:
        return  # whoever sends will say so
    wrong = [row for row in targets if row in refused]
    named = bool(wanted.to) and not any(each.every for each in chosen)
    if not wrong or not (named or len(wrong) == len(targets)):
        return
    takes = ", ".join(str(row) for row in TARGETS if row not in refused)
    how, more = ("take", "") if sender.via == "dimse" else ("give back", ", or --force")
    raise UsageError(
        f"{sender.node.name} does not {how} {', '.join(map(str, wrong))}, but {takes}; choose another --to, "
        f"or name a --fallback, such as jpeg-2000,jpeg-ls,explicit{more}"
    )
