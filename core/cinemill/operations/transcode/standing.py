"""Judges what stands in an output's place: finished by an earlier run, to be made anew, or somebody else's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinemill.errors import OutputExists
from cinemill.operations.clock import record
from cinemill.operations.copies import is_copy, is_older
from cinemill.operations.origin import Origin, finished, foreign, in_another_syntax, look_at, made_of
from cinemill.operations.receipt import Receipt
from cinemill.operations.transcode.choose import actions, why_copied
from cinemill.operations.transcode.plan import mended_syntax, written_syntax
from cinemill.storage.atomic import sweep
from cinemill.storage.file import label_of, relabel

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.operations.policy.decide import Decision
    from cinemill.operations.transcode.choose import Choice
    from cinemill.operations.transcode.request import Transcode


def judge(origin: Origin, output: Path, decision: Decision, request: Transcode) -> Receipt | str:
    """Return the receipt of this source's finished output, or why what stands there is to be made anew.

    Parameters
    ----------
    origin
        What the output should have been made from.
    output
        What stands there.
    decision
        What is to become of the source.
    request
        The options.

    Raises
    ------
    OutputExists
        Something else stands there.
    """
    sweep(output)
    source = origin.source
    asked = actions(source, decision)
    copied = set(asked.values()) == {"copy"}
    told = _reason(source, decision) if copied else _remembered(origin, output, decision)
    if is_copy(source.path, source.file, output, read=request.recheck or told is None):
        if told is not None:
            return kept_copy(source, output, told)
        return "was a copy of the source"
    mended = mended_syntax(source)
    targets = [written_syntax(source, action, target) for target, action in asked.items()]
    targets += [mended] if mended else []
    found = finished(origin, output, targets, recheck=request.recheck)
    grown = isinstance(found, Receipt) and found.bytes_after > found.bytes_before
    if grown and decision.guarded and not mended:
        return "is larger than its source"
    other = found is None and made_of(origin, output)
    if other and (decision.reason is not None or len(asked) > 1):
        found = "was made with other options"
    if found is None and copied:
        found = _outdated_copy(source, output, request)
    if found is None:
        raise in_another_syntax(output) if other else foreign(output)
    return found if isinstance(found, str) else replace(found, **decision.told)


def kept_copy(source: Source, output: Path, told: Mapping[str, Any]) -> Receipt:
    """Return the receipt of a copy that an earlier run made.

    Parameters
    ----------
    source
        The open file.
    output
        Its copy.
    told
        What the receipt says besides.
    """
    return record(source, output, "kept", source.transfer_syntax, **told)


def still_copied(origin: Origin, output: Path, choice: Choice, told: Mapping[str, Any]) -> Receipt | None:
    """Return the receipt of a copy that stands there and is what a trial chose anew; None where none does.

    Parameters
    ----------
    origin
        What the copy is of.
    output
        Its place.
    choice
        What the trial chose.
    told
        What the receipt says besides.
    """
    source = origin.source
    if choice.action != "copy" or not is_copy(source.path, source.file, output, read=True):
        return None
    relabel(output, origin.label(told))
    return kept_copy(source, output, told)


def _remembered(origin: Origin, output: Path, decision: Decision) -> Mapping[str, Any] | None:
    """Return what a copy remembers of the trial that decided on it; None where that does not hold any more."""
    told = origin.believes(label_of(output))
    if told is None or (told.get("reason") == "would-grow" and not decision.guarded):
        return None
    if told.get("reason") == "no-target" and not decision.policy:
        return None
    return {**told, **decision.told}


def _reason(source: Source, decision: Decision) -> dict[str, Any]:
    return {"reason": decision.reason or why_copied(source), **decision.told}


def _outdated_copy(source: Source, output: Path, request: Transcode) -> str | None:
    """Say why a copy of the same instance is to be made anew; nothing in it says whose it is, so it must be older."""
    there, uid = look_at(output), source.meta_text(0x00020003)
    if there is None or not uid:
        return None
    if (there.sop_instance_uid, there.transfer_syntax) != (uid, source.meta_text(0x00020010)):
        return None
    if is_older(output, source.path) or request.recheck:
        return "differed from the source"
    raise OutputExists(
        "differs from the source, but is no older: it was changed since it was copied; "
        "--recheck copies the source once more",
        path=output,
    )
