"""Turns one file into another transfer syntax: source → plan → frames → sink → verify → commit → receipt."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinemill.dicom.given import Given
from cinemill.dicom.source import Source
from cinemill.errors import OutputExists, Refused, WouldGrow
from cinemill.frames.carried import carried_over
from cinemill.operations.clock import record
from cinemill.operations.copies import copy_source
from cinemill.operations.instance import is_directory, of_given, of_source
from cinemill.operations.operation import Control
from cinemill.operations.origin import Origin, again
from cinemill.operations.policy.decide import decide
from cinemill.operations.policy.words import Colour, IfLarger, Level, LossySource
from cinemill.operations.receipt import Receipt
from cinemill.operations.transcode.carry import recode
from cinemill.operations.transcode.choose import Choice, choose, kept_as_it_is
from cinemill.operations.transcode.grey import becomes_grey, collapsed
from cinemill.operations.transcode.plan import make_plan, mended_syntax
from cinemill.operations.transcode.request import Transcode
from cinemill.operations.transcode.stages import as_deep_as_needed, transcode_frames
from cinemill.operations.transcode.standing import judge, still_copied
from cinemill.operations.transcode.verify import decoder_of
from cinemill.storage.location import located

if TYPE_CHECKING:
    from cinemill.operations.policy.decide import Decision

_NO_DIRECTORY = (
    "a DICOMDIR names the places and transfer syntaxes of its files, which are others in the output tree: it was "
    "left out; make a new one there, for example by dcmmkdir"
)
_DIGITAL_SIGNATURES = 0xFFFAFFFA


def transcode(
    src: Given,
    dst: str | os.PathLike[str],
    *,
    to: str = "",
    colour: Colour = "auto",
    verify: Level = "full",
    overwrite: bool = False,
    repair: bool = False,
    recheck: bool = False,
    preserve: bool = True,
    copy_rest: bool = False,
    if_larger: IfLarger = "auto",
    lossy_source: LossySource = "auto",
    readable_by: str = "",
    policy: str = "",
    collapse_grey: bool = False,
    threads: int | None = None,
    cancelled: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Receipt:
    """Transcode one DICOM file losslessly, and verify the output before it gets its name.

    Parameters
    ----------
    src, dst
        The source, never modified (path, bytes, open binary file or pydicom data set); the output, made as a whole or not at all.
    to
        Target: a short name (``jpeg-ls``, ``jpeg-2000``, ``htj2k``, ``rle``, ``explicit``, …), UID or pydicom keyword. Of several
        with commas, ``smallest`` or ``fastest``, a trial chooses one; without it, `policy` decides.
    colour
        ``auto`` converts YCbCr to RGB for RLE and where the IOD requires RGB; ``keep`` never converts, ``rgb`` always.
    verify
        Written frames to decode and compare: ``full`` all, ``independent`` all by another implementation, ``sample`` some, ``none``.
    overwrite, recheck, repair
        Replace an output that exists; read all of a finished one, and make it again if it is damaged; correct Number of
        Frames to the frames that are there, and leave out what is no element behind the pixel data.
    preserve
        Give the output the mode of the source, as far as the umask allows it, and its time of last modification.
    copy_rest
        If the source is refused, damaged or not DICOM, copy it unchanged; the error is raised all the same.
    if_larger
        If the output is larger: ``write`` it, or ``keep``: copy the source; ``auto``: ``write`` if `to` is given, else ``keep``.
    lossy_source
        If the source is lossy: ``transcode``, ``keep``, or ``jpeg-xl``: recompress JPEG; ``auto``: ``transcode`` if `to` is given.
    readable_by
        Programs, separated by commas, that must all be able to read the target: see `cinemill.operations.policy.readers`.
    policy
        A file of rules in TOML, or their text; by default the built-in policy ``archive``.
    collapse_grey
        Write colour images as MONOCHROME2 if every pixel of every frame is grey.
    threads, cancelled, progress
        See `cinemill.operations.operation.Control`.

    Returns
    -------
    Receipt
        ``transcoded``, ``copied``, ``kept`` (`dst` is this source's finished output already) or ``skipped`` (a DICOMDIR).

    Raises
    ------
    CinemillError
        Nothing was written, except for a copy by `copy_rest`; see `cinemill.errors`.
    """
    request = Transcode(
        to=to,
        colour=colour,
        verify=verify,
        overwrite=overwrite,
        repair=repair,
        recheck=recheck,
        preserve=preserve and isinstance(src, str | os.PathLike),
        copy_rest=copy_rest,
        if_larger=if_larger,
        lossy_source=lossy_source,
        readable_by=readable_by,
        policy=policy,
        collapse_grey=collapse_grey,
    )
    return of_given(request, src, located(dst), Control(threads, cancelled, progress))


def run(request: Transcode, src: Path, dst: Path, control: Control) -> Receipt:
    """Transcode one instance: see `transcode`.

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
        src, dst, lambda source: transcode_source(source, dst, request, control), repair=request.repair
    )


def transcode_source(source: Source, output: Path, asked: Transcode, control: Control) -> Receipt:
    """Transcode an open file.

    Parameters
    ----------
    source
        The open file.
    output
        The place of its output.
    asked
        The options.
    control
        Threads, cancellation and progress.
    """
    if is_directory(source):
        source.warnings.append(_NO_DIRECTORY)
        return record(source, output, "skipped", source.transfer_syntax, bytes_after=0)
    decision = decide(source, asked.rules, asked.options)
    request = asked.decided(decision.options)
    origin = Origin(source, decisive(decision, request))
    if output.exists() and not request.overwrite:
        found = judge(origin, output, decision, request)
        if not isinstance(found, str):
            return found
        receipt = _carry_out(
            decision, origin, output, replace(request, overwrite=True), control, standing=True
        )
        if receipt.status == "kept":
            return receipt
        return replace(receipt, warnings=(*receipt.warnings, again(found)))
    try:
        return _carry_out(decision, origin, output, request, control)
    except OutputExists:
        # Another process finished the same item in the meantime.
        found = judge(origin, output, decision, request)
        if isinstance(found, str):
            raise
        return found


def decisive(decision: Decision, request: Transcode) -> dict[str, Any]:
    """Return what decides what an output is."""
    told = {name: getattr(request, name) for name in ("colour", "verify", "repair")}
    more = {"collapse_grey": True} if request.collapse_grey else {}
    return {"to": str(decision.wanted), **told, **more}


def _carry_out(
    decision: Decision,
    origin: Origin,
    output: Path,
    request: Transcode,
    control: Control,
    *,
    standing: bool = False,
) -> Receipt:
    """Do what was decided, by a trial where one is needed.

    Parameters
    ----------
    decision
        What is to become of the source.
    origin
        What the output is made from.
    output
        Where it will appear.
    request
        The options.
    control
        Threads, cancellation and progress.
    standing
        Whether something stands there that may be what is chosen.
    """
    source = origin.source
    before = len(source.warnings)
    choice = choose(source, decision, control, room=origin.room)
    if choice.action != "copy":
        try:
            return write_instance(choice, decision, origin, output, request, control)
        except WouldGrow as grown:
            choice = Choice("copy", source.transfer_syntax, "would-grow", grown.size, tried=True)
            del source.warnings[before:]
        except Refused as refused:
            del source.warnings[before:]
            choice = kept_as_it_is(refused, choice, decision, source)
    if mended := mended_syntax(source):
        choice, request = Choice("recode", mended), replace(request, if_larger="write")
        return write_instance(choice, decision, origin, output, request, control)
    told = {"reason": choice.reason, "bytes_otherwise": choice.bytes_otherwise, **decision.told}
    kept = still_copied(origin, output, choice, told) if standing else None
    if kept is not None:
        return kept
    source.warnings.extend(carried_over(source))
    if source.pixel_data is not None:
        source.check()
    return copy_source(
        origin,
        output,
        overwrite=request.overwrite,
        preserve=request.preserve,
        verify=request.verify != "none",
        label=origin.label(told) if choice.tried else b"",
        **told,
    )


def write_instance(
    choice: Choice, decision: Decision, origin: Origin, output: Path, request: Transcode, control: Control
) -> Receipt:
    """Write an output that is no copy.

    Parameters
    ----------
    choice, decision
        What is done, and why.
    origin
        What the output is made from.
    output
        Where it will appear.
    request
        The options.
    control
        Threads, cancellation and progress.

    Raises
    ------
    WouldGrow
        It would be larger than its source, which is to be kept.
    """
    source, told = origin.source, {**decision.told, **origin.told}
    if source.element(_DIGITAL_SIGNATURES) is not None and _DIGITAL_SIGNATURES not in origin.changes:
        source.warnings.append("there are digital signatures; they don't match the bytes of the output")
    if choice.action == "recode":
        source.warnings.extend(carried_over(source))
        return recode(origin, output, request, choice.target, told)
    if choice.target.of_jpeg:
        from cinemill.operations.transcode.recompress import recompress

        return recompress(origin, output, request, control, choice.target, told)
    decoder = decoder_of(source, request.verify)
    grey = becomes_grey(decoder, request, control)

    def written(*, keep_coded_depth: bool) -> Receipt:
        plan = make_plan(decoder, choice.target, request.colour, keep_coded_depth=keep_coded_depth)
        plan = collapsed(plan) if grey else plan
        return transcode_frames(decoder, plan, origin, output, request, control, told)

    return as_deep_as_needed(decoder, written)
