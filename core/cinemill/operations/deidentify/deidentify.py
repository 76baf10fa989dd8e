"""De-identifies one instance: source → header judged → pixels carried over or transcoded → verify → commit → receipt."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import xxhash

from cinemill.dicom.given import Given
from cinemill.dicom.source import Source
from cinemill.errors import OutputExists, Refused, WouldGrow
from cinemill.operations.clock import record
from cinemill.operations.deidentify.carry import carried_syntax, carry_over
from cinemill.operations.deidentify.header import Deidentified, deidentified
from cinemill.operations.deidentify.identity import shared
from cinemill.operations.deidentify.marks import marks
from cinemill.operations.deidentify.origin import KeyedOrigin
from cinemill.operations.deidentify.pixels import check_comments, check_pixels, check_unused_bits
from cinemill.operations.deidentify.request import Deidentify
from cinemill.operations.deidentify.silence import path_digest, quiet
from cinemill.operations.instance import is_directory, of_given, of_source
from cinemill.operations.mask.write import write_masked
from cinemill.operations.operation import Control
from cinemill.operations.origin import again, finished, foreign, look_at
from cinemill.operations.policy.decide import decide
from cinemill.operations.policy.words import Colour, IfLarger, Level, LossySource
from cinemill.operations.receipt import Receipt
from cinemill.operations.transcode.choose import actions, choose, kept_as_it_is
from cinemill.operations.transcode.plan import written_syntax
from cinemill.operations.transcode.transcode import decisive, write_instance
from cinemill.storage.atomic import sweep
from cinemill.storage.location import located
from cinemill.syntaxes import TARGETS

if TYPE_CHECKING:
    from cinemill.operations.mask.masks import Mask
    from cinemill.operations.policy.decide import Decision

_DIRECTORY = "a DICOMDIR names its files and patients: it was left out; make a new one of the output tree"


def deidentify(
    src: Given,
    dst: str | os.PathLike[str],
    *,
    key: str = "",
    profile: Literal["basic"] = "basic",
    option: str = "",
    map: str = "",  # noqa: A002
    mask: str = "",
    mask_rules: str = "",
    to: str = "",
    colour: Colour = "auto",
    verify: Level = "full",
    overwrite: bool = False,
    repair: bool = False,
    recheck: bool = False,
    if_larger: IfLarger = "auto",
    lossy_source: LossySource = "auto",
    readable_by: str = "",
    policy: str = "",
    collapse_grey: bool = False,
    threads: int | None = None,
    cancelled: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Receipt:
    """De-identify one DICOM file by PS3.15 Annex E, and verify the output before it gets its name.

    Parameters
    ----------
    src, dst
        The source, never modified (path, bytes, open binary file or pydicom data set); the output, made as a whole or not at all.
    key
        File with the key that pseudonyms, UIDs and shifts of dates are derived from: see `operations.deidentify.keys.make_key`.
    profile, option
        ``basic``, and options of it, separated by commas: see `cinemill.operations.deidentify.profile.CODES`.
    map
        File to which originals and their replacements are appended, encrypted by a key derived from `key`.
    mask
        What is blackened in every frame: ``outside-regions``, ``rect:X,Y,WIDTH,HEIGHT``, ``rules`` or ``detected``, several
        joined by ``+``. ``none`` leaves the pixels as they are. Without it, images that may show text are refused.
    mask_rules
        For ``rules``: a file of rules, or their text, which are looked at before the built-in ones.
    to, colour, verify, overwrite, repair, recheck, if_larger, lossy_source, readable_by, policy, collapse_grey
        See `cinemill.transcode`. Without `to` and `policy`, or where these keep the source, pixel data is copied unchanged.
    threads, cancelled, progress
        See `cinemill.operations.operation.Control`.

    Returns
    -------
    Receipt
        ``deidentified``, ``kept`` (`dst` is this source's finished output already) or ``skipped`` (a DICOMDIR). Nothing in
        it identifies the patient.

    Raises
    ------
    CinemillError
        Nothing was written; see `cinemill.errors`.
    """
    request = Deidentify(
        to=to,
        colour=colour,
        verify=verify,
        overwrite=overwrite,
        repair=repair,
        recheck=recheck,
        if_larger=if_larger,
        lossy_source=lossy_source,
        readable_by=readable_by,
        policy=policy,
        collapse_grey=collapse_grey,
        profile=profile,
        option=option,
        key=key,
        map=map,
        mask=mask,
        mask_rules=mask_rules,
    )
    output = located(dst)
    receipt = of_given(request.aimed_at([], output), src, output, Control(threads, cancelled, progress))
    return request.published(receipt)


def run(request: Deidentify, src: Path, dst: Path, control: Control) -> Receipt:
    """De-identify one instance: see `deidentify`.

    Parameters
    ----------
    request
        The options.
    src, dst
        Source file, and the place of its output.
    control
        Threads, cancellation and progress.
    """
    return of_source(
        src, dst, lambda source: _deidentify(source, dst, request, control), repair=request.repair
    )


def _deidentify(source: Source, output: Path, asked: Deidentify, control: Control) -> Receipt:
    key = asked.secret()
    if is_directory(source):
        source.warnings[:] = [_DIRECTORY]
        return record(source, output, "skipped", source.transfer_syntax, bytes_after=0)
    check_pixels(source, asked.chosen, asked.mask)
    header = deidentified(source, asked.chosen, key)
    source.warnings[:] = quiet(source.warnings, {original for _, original in header.entries})
    source.warnings += filter(None, [shared(source)])
    decision = decide(source, asked.rules, asked.options) if asked.recodes else None
    request = asked if decision is None else asked.decided(decision.options)
    origin = KeyedOrigin(source, _decisive(request, decision), key)
    origin.told = {"profile": asked.chosen.text, "elements": dict(header.counts)}
    notes: tuple[str, ...] = ()
    if output.exists() and not request.overwrite:
        found = _judge(origin, output, decision, request, header)
        if isinstance(found, Receipt):
            return _named(found, header)
        notes = (again(found),)
        request = replace(request, overwrite=True)
    mask = asked.find_mask(source)
    origin.changes = header.changes | marks(source, asked.chosen, masked=mask is not None)
    if (table := asked.mapping()) is not None:
        name = os.path.join(*output.parts[-3:])  # noqa: PTH118
        where = {("file", str(source.path.absolute())): f"{path_digest(source.path, key)} {name}"}
        table.add(header.entries | where)
    try:
        receipt = _write(decision, origin, output, request, control, header.words, mask)
    except OutputExists:  # which another process has made meanwhile
        found = _judge(origin, output, decision, request, header)
        if not isinstance(found, Receipt):
            raise
        return _named(found, header)
    return _named(replace(receipt, warnings=(*receipt.warnings, *notes)), header)


def _named(receipt: Receipt, header: Deidentified) -> Receipt:
    return replace(receipt, sop_instance_uid=header.sop_instance_uid)


def _decisive(request: Deidentify, decision: Decision | None) -> dict[str, Any]:
    """Return what decides what an output is."""
    coded = {"verify": request.verify} if decision is None else decisive(decision, request)
    return {
        **coded,
        "profile": request.chosen.text,
        "mask": request.mask,
        "rules": xxhash.xxh3_64_hexdigest(request.mask_rules.encode()) if request.mask_rules else "",
        "key": request.secret().fingerprint,
        "if_larger": request.if_larger,
        "lossy_source": request.lossy_source,
    }


def _judge(
    origin: KeyedOrigin, output: Path, decision: Decision | None, request: Deidentify, header: Deidentified
) -> Receipt | str:
    """Return the receipt of this source's finished output, or why what stands there is to be made anew.

    Parameters
    ----------
    origin
        What the output should have been made from.
    output
        What stands there.
    decision
        What is to become of the pixels.
    request
        The options.
    header
        What the output's header says.

    Raises
    ------
    OutputExists
        Something else stands there.
    """
    sweep(output)
    source = origin.source
    targets = [carried_syntax(source), *(TARGETS if request.mask not in {"", "none"} else ())]
    if decision is not None:
        targets += [
            written_syntax(source, action, target) for target, action in actions(source, decision).items()
        ]
    found = finished(
        origin, output, targets, sop_instance_uid=header.sop_instance_uid, recheck=request.recheck
    )
    there = look_at(output)
    if (
        not isinstance(found, Receipt)
        and there is not None
        and origin.is_another((there.memory or {}).get("source", {}))
    ):
        raise OutputExists(
            "was made from another source of the same SOP Instance UID and other content; keep one of the two apart, "
            "or use --overwrite to replace it",
            path=output,
        )
    if found is None:
        raise foreign(output)
    return found


def _write(
    decision: Decision | None,
    origin: KeyedOrigin,
    output: Path,
    request: Deidentify,
    control: Control,
    words: Collection[str],
    mask: Mask | None,
) -> Receipt:
    """Write the output: pixels blackened where there is a mask, coded anew where that was decided, else as they are.

    Parameters
    ----------
    decision
        What becomes of the pixels; None where they stay as they are.
    origin
        What the output is made from.
    output
        Where it will appear.
    request
        The options.
    control
        Threads, cancellation and progress.
    words
        Of the patient's names and numbers.
    mask
        What is to be black.
    """
    source, told = origin.source, dict(origin.told)
    if mask is not None and mask.boxes:
        return _write_masked(decision, origin, output, request, control, mask)
    told |= {} if mask is None else {"mask": mask.to_dict()}
    if decision is not None:
        before = len(source.warnings)
        choice = choose(source, decision, control, room=origin.room)
        told |= {**decision.told, "reason": choice.reason or "", "bytes_otherwise": choice.bytes_otherwise}
        if choice.action != "copy":
            check_unused_bits(source, choice.target)
            if choice.target.of_jpeg or choice.action == "recode":
                check_comments(source, words)
            try:
                made = write_instance(choice, decision, origin, output, request, control)
            except WouldGrow as grown:
                del source.warnings[before:]
                told |= {"reason": "would-grow", "bytes_otherwise": grown.size}
            except Refused as refused:
                del source.warnings[before:]
                told["reason"] = kept_as_it_is(refused, choice, decision, source).reason
            else:
                return replace(made, status="deidentified")
    check_unused_bits(source, carried_syntax(source))
    check_comments(source, words)
    return carry_over(origin, output, request, told)


def _write_masked(
    decision: Decision | None,
    origin: KeyedOrigin,
    output: Path,
    request: Deidentify,
    control: Control,
    mask: Mask,
) -> Receipt:
    """Write the output with pixels blackened, in the transfer syntax that was decided, else in the source's where that can be.

    Parameters
    ----------
    decision
        What becomes of the pixels; None where they stay as they are.
    origin
        What the output is made from.
    output
        Where it will appear.
    request
        The options.
    control
        Threads, cancellation and progress.
    mask
        What is to be black.
    """
    source, told, target = origin.source, dict(origin.told), None
    if decision is not None:
        choice = choose(source, decision, control, room=origin.room)
        told |= {**decision.told, "reason": choice.reason or "", "bytes_otherwise": choice.bytes_otherwise}
        target = None if choice.action == "copy" else choice.target
    check_unused_bits(source, target or carried_syntax(source))
    request, before = replace(request, if_larger="write"), len(source.warnings)
    try:
        made = write_masked(origin, output, request, control, mask, target=target, told=told)
    except Refused as refused:
        if decision is None or target is None:
            raise
        del source.warnings[before:]
        told["reason"] = kept_as_it_is(refused, choice, decision, source).reason
        check_unused_bits(source, carried_syntax(source))
        made = write_masked(origin, output, request, control, mask, told=told)
    return replace(made, status="deidentified")
