"""Chooses the target of an instance: a few frames, spread over the cine, go through the encoders in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from cinemill.codecs import table
from cinemill.errors import Cancelled, CinemillError, Refused
from cinemill.frames.decode import FrameDecoder
from cinemill.frames.depth import DepthExceeded, restrict
from cinemill.frames.selection import evenly
from cinemill.operations.transcode.changes import pixel_changes
from cinemill.operations.transcode.estimate import output_bytes, recoded_bytes
from cinemill.operations.transcode.grey import collapsed, is_grey, may_collapse
from cinemill.operations.transcode.plan import choose_action, make_plan
from cinemill.operations.transcode.transform import transformed

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.operations.operation import Control
    from cinemill.operations.policy.decide import Decision
    from cinemill.operations.policy.words import Options
    from cinemill.operations.receipt import Reason
    from cinemill.operations.transcode.plan import Action, Plan
    from cinemill.pixel_format import Samples
    from cinemill.syntaxes import TransferSyntax

FRAMES = 4
"""Frames that a trial takes; of a cine with no more, it takes all."""

_LARGEST = 256 << 20
"""Bytes of decoded frames that a trial holds at most, if more than one."""

_CLEAR = 1.2
"""How many times the source's size an output must reach, had every frame the size of the least one that was tried."""


class Trial(NamedTuple):
    """What a target would make of an instance.

    Attributes
    ----------
    size
        Bytes of the whole output, estimated.
    least
        The same, had every frame the size of the least one that was tried.
    seconds
        What the frames that were tried took to encode and to be verified; 0 where that was not measured.
    exact
        Whether all frames were tried.
    """

    target: TransferSyntax
    size: int
    least: int
    seconds: float = 0.0
    exact: bool = True


class Choice(NamedTuple):
    """What is done to an instance.

    Attributes
    ----------
    reason
        Why it is copied.
    bytes_otherwise
        What the output would have taken, where it is copied for that.
    tried
        Whether a trial decided.
    """

    action: Action
    target: TransferSyntax
    reason: Reason | None = None
    bytes_otherwise: int = 0
    tried: bool = False


def actions(source: Source, decision: Decision) -> Mapping[TransferSyntax, Action]:
    """Return what each target asks for; without pixel data, or where the source is copied, that of its own syntax."""
    own = source.transfer_syntax
    if decision.reason is not None:
        return {own: "copy"}
    targets = decision.wanted.targets or (own,)
    return {target: choose_action(source, target, decision.options.colour) for target in targets}


def why_copied(source: Source) -> Reason:
    """Return why every target asks for a copy of a source."""
    if source.pixel_data is None:
        return "no-image"
    return "lossy-source" if source.transfer_syntax.coding == "video" else "target-syntax"


def choose(source: Source, decision: Decision, control: Control, *, room: int = 0) -> Choice:
    """Choose a target, by a trial where one is needed.

    Trial frames that fail decide nothing: the instance then goes the way of its first target.

    Parameters
    ----------
    source
        The open file.
    decision
        See `cinemill.operations.policy.decide.decide`.
    control
        Threads and cancellation.
    room
        Bytes that an output takes for what it remembers.
    """
    asked = actions(source, decision)
    target, action = next(iter(asked.items()))
    if decision.reason is not None:
        return Choice("copy", target, decision.reason)
    if len(asked) == 1 and action == "copy":
        return Choice("copy", target, why_copied(source))
    if not _needs_trial(source, decision, asked):
        return Choice(action, target)
    timed = decision.wanted.best == "fastest"
    try:
        trials = try_out(source, list(asked), decision.options, control, room=room, timed=timed)
    except Cancelled:
        raise
    except CinemillError:
        trials = []
    return _chosen(trials, decision, asked, source) if trials else Choice(action, target)


def kept_as_it_is(refused: Refused, choice: Choice, decision: Decision, source: Source) -> Choice:
    """Return the copy that is made of what a target refused; the warnings of the source then say why.

    Parameters
    ----------
    refused
        Why it was.
    choice, decision
        What was to be done, and why.
    source
        The open file.

    Raises
    ------
    Refused
        The target was named, not chosen by a policy, and nothing says that what it can't hold is to be kept.
    """
    if choice.target.of_jpeg and decision.options.lossy_source == "jpeg-xl":
        reason: Reason = "lossy-source"
        source.warnings.append(f"JPEG XL can't hold it as it is: {refused.message}")
    elif decision.policy:
        reason = "no-target"
        source.warnings.append(f"no target of the policy can hold it: {refused.message}")
    else:
        raise refused
    return Choice("copy", source.transfer_syntax, reason, tried=True)


def _chosen(
    trials: Sequence[Trial], decision: Decision, asked: Mapping[TransferSyntax, Action], source: Source
) -> Choice:
    """Return what trials speak for."""
    best = _best(trials, decision, len(source.file))
    if asked[best.target] == "copy":
        return Choice("copy", best.target, "target-syntax", tried=True)
    if decision.guarded and _grows(best, len(source.file)):
        return Choice("copy", source.transfer_syntax, "would-grow", best.size, tried=True)
    return Choice(asked[best.target], best.target, tried=True)


def _needs_trial(source: Source, decision: Decision, asked: Mapping[TransferSyntax, Action]) -> bool:
    if len(asked) > 1:
        return True
    (action,) = asked.values()
    syntax = source.transfer_syntax
    early = action == "transcode" and (syntax.coding != "native" or syntax.deflated)
    return decision.guarded and early and len(source) > 2 * FRAMES


def _best(trials: Sequence[Trial], decision: Decision, source_bytes: int) -> Trial:
    if decision.wanted.best == "smallest":
        return min(trials, key=lambda trial: trial.size)
    fitting = [trial for trial in trials if trial.size <= source_bytes] or trials
    return min(fitting, key=lambda trial: trial.seconds)


def _grows(trial: Trial, source_bytes: int) -> bool:
    if trial.exact:
        return trial.size > source_bytes
    return trial.least > _CLEAR * source_bytes


def try_out(
    source: Source,
    targets: Sequence[TransferSyntax],
    options: Options,
    control: Control,
    *,
    room: int,
    timed: bool,
) -> list[Trial]:
    """Encode `FRAMES` frames, spread over the cine, for each target, in memory; targets that can't hold them are left out.

    Parameters
    ----------
    source
        The open file.
    targets
        What is tried.
    options
        Those that change samples are heeded: colour, and collapsing grey.
    control
        Polled between targets.
    room
        Bytes that an output takes for what it remembers.
    timed
        Measure how long each target takes.

    Raises
    ------
    CinemillError
        The source is damaged.
    """
    bench = _Bench(source, options)
    found = []
    for target in targets:
        control.check()
        trial = bench.trial(target, room, timed=timed)
        if trial is not None:
            found.append(trial)
    return found


class _Bench:
    """Some frames of a source, decoded once for all targets, and not before one needs them."""

    def __init__(self, source: Source, options: Options) -> None:
        self._source, self._colour, self._collapse = source, options.colour, options.collapse_grey
        fitting = max(1, _LARGEST // max(1, source.pixels.nbytes))
        self._indices = evenly(min(FRAMES, fitting, len(source)), len(source))
        self._decoded: dict[str, list[Samples]] = {}

    @cached_property
    def _decoder(self) -> FrameDecoder:
        return FrameDecoder(self._source)

    @cached_property
    def _grey(self) -> bool:
        asked = self._collapse and may_collapse(self._decoder)
        return asked and all(map(is_grey, self._decode("RGB")))

    def trial(self, target: TransferSyntax, room: int, *, timed: bool) -> Trial | None:
        """Try one target; None where it can't hold such frames."""
        source = self._source
        action = choose_action(source, target, self._colour)
        if action != "transcode":
            size = recoded_bytes(source, target, room) if action == "recode" else len(source.file)
            return Trial(target, size, size, exact=action == "copy")
        if target.of_jpeg:
            return self._recompressed(target, room)
        try:
            plan, frames = self._prepared(target)
            started = time.perf_counter()
            codestreams = table.encoder(target.coding).encode(frames, plan.encoded)
            if timed:
                started = time.perf_counter()  # the first call may have compiled what it needs
                codestreams = table.encoder(target.coding).encode(frames, plan.encoded)
                table.verifiers(target.coding)[0].decode(codestreams, plan.encoded)
            seconds = time.perf_counter() - started if timed else 0.0
            changes = pixel_changes(source, self._decoder, plan)
        except (CinemillError, MemoryError):
            return None
        sizes = [len(codestream) for codestream in codestreams]
        exact = len(sizes) == len(source)
        size = output_bytes(source, plan, changes, codestreams, room)
        least = min(codestreams, key=len)
        return Trial(
            target,
            size,
            size if exact else output_bytes(source, plan, changes, [least], room),
            seconds,
            exact,
        )

    def _recompressed(self, target: TransferSyntax, room: int) -> Trial | None:
        from cinemill.operations.transcode.recompress import recompressed_ratios

        source = self._source
        try:
            ratios = recompressed_ratios(source, target, self._indices)
        except (CinemillError, MemoryError):
            return None
        mean = sum(ratios) / len(ratios)
        size, least = (
            len(source.file) - round((1 - ratio) * source.encoded_bytes) + room
            for ratio in (mean, min(ratios))
        )
        return Trial(target, size, least, exact=False)

    def _prepared(self, target: TransferSyntax) -> tuple[Plan, list[Samples]]:
        """Return how a target is written, and what its encoder is given."""
        plan = self._shaped(make_plan(self._decoder, target, self._colour))
        try:
            return plan, self._frames(plan)
        except DepthExceeded:
            plan = self._shaped(make_plan(self._decoder, target, self._colour, keep_coded_depth=True))
            return plan, self._frames(plan)

    def _shaped(self, plan: Plan) -> Plan:
        return collapsed(plan) if self._grey else plan

    def _decode(self, interpretation: str) -> list[Samples]:
        if interpretation not in self._decoded:
            self._decoded[interpretation] = self._decoder.decode(self._indices, interpretation)
        return self._decoded[interpretation]

    def _frames(self, plan: Plan) -> list[Samples]:
        decoded = self._decode(plan.interpretation)
        if plan.grey:
            decoded = [frame[..., 0].copy() for frame in decoded]
        frames = [
            transformed(plan.transform, frame, index)
            for index, frame in zip(self._indices, decoded, strict=True)
        ]
        if plan.limit is None:
            return frames
        return [restrict(frame, plan.limit, masked=plan.masked)[0] for frame in frames]
