"""Turns one file into another transfer syntax: source → plan → frames → sink → verify → commit → receipt."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.dicom.compare import compare_bytes
from cinemill.dicom.given import Given, called, on_disk
from cinemill.dicom.rewrite import frame_changes
from cinemill.dicom.source import Source
from cinemill.dicom.writer import InstanceWriter
from cinemill.errors import Cancelled, CinemillError, OutputExists, SourceError, UsageError
from cinemill.frames.carried import carried_over
from cinemill.frames.decode import FrameDecoder
from cinemill.frames.depth import DepthExceeded
from cinemill.frames.icons import native_icons
from cinemill.operations.clock import Clock, record
from cinemill.operations.copies import copy, is_copy, is_older
from cinemill.operations.operation import Control
from cinemill.operations.origin import Origin, finished, look_at
from cinemill.operations.receipt import Receipt, failure
from cinemill.operations.transcode.plan import (
    Action,
    check_recodable,
    choose_action,
    make_plan,
    written_syntax,
)
from cinemill.operations.transcode.recompress import recompress
from cinemill.operations.transcode.request import Colour, Level, Transcode
from cinemill.operations.transcode.stages import transcode_frames
from cinemill.operations.transcode.verify import SECOND_OPINION_EVERY
from cinemill.storage.atomic import sweep
from cinemill.storage.file import Sink
from cinemill.storage.likeness import Likeness
from cinemill.storage.location import is_same_file, located, size

if TYPE_CHECKING:
    from cinemill.syntaxes import TransferSyntax

_DICOMDIR = "1.2.840.10008.1.3.10"
_DIRECTORY_RECORDS = 0x00041220
_NO_DIRECTORY = (
    "a DICOMDIR names the places and transfer syntaxes of its files, which are others in the output tree: it was "
    "left out; make a new one there, for example by dcmmkdir"
)
_DECISIVE = ("to", "colour", "verify", "repair")
"""Options that decide what an output is."""
_DIGITAL_SIGNATURES = 0xFFFAFFFA


def transcode(
    src: Given,
    dst: str | os.PathLike[str],
    *,
    to: str,
    colour: Colour = "auto",
    verify: Level = "full",
    overwrite: bool = False,
    repair: bool = False,
    recheck: bool = False,
    preserve: bool = True,
    copy_rest: bool = False,
    threads: int | None = None,
    cancelled: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Receipt:
    """Transcode one DICOM file losslessly, and verify the result before it gets its name.

    Parameters
    ----------
    src, dst
        Source file, which is never modified (its path, its bytes, an open binary file or a pydicom data set), and output
        file, which appears whole or not at all.
    to
        Target: a short name (``jpeg-ls``, ``jpeg-2000``, ``htj2k``, ``htj2k-rpcl``, ``jpeg-xl``, ``jpeg-xl-jpeg``, ``rle``,
        ``explicit``, ``implicit``, ``deflated``, ``encapsulated``, ``deflated-frame``), a transfer syntax UID or pydicom's keyword.
    colour
        ``auto`` converts YCbCr to RGB where the IOD asks for it, and for RLE, ``keep`` never, ``rgb`` always.
    verify
        ``full`` decodes every written frame, ``independent`` by another implementation, ``sample`` some, ``none`` none.
    overwrite
        Replace an output that is there.
    repair
        Correct Number of Frames from what is there, and leave out what is no element behind the pixel data, instead
        of failing.
    recheck
        Read a finished output that is there, and make it anew if it is damaged.
    preserve
        Give the output the source's mode, as far as the umask allows it, and its time of last modification.
    copy_rest
        Where the source is refused, damaged or not DICOM, copy it unchanged; the error is raised all the same.
    threads, cancelled, progress
        See `cinemill.operations.operation.Control`.

    Returns
    -------
    Receipt
        ``transcoded``, ``copied``, ``kept`` where `dst` is this source's finished output already, or ``skipped``
        where the source is a DICOMDIR.

    Raises
    ------
    CinemillError
        Nothing was written, but for a copy that was asked for; see `cinemill.errors`.
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
    )
    output = located(dst)
    with on_disk(src) as source:
        try:
            receipt = run(request, source, output, Control(threads, cancelled, progress))
        except (Cancelled, UsageError):
            raise
        except CinemillError as error:
            request.settle(failure(source, output, error))
            raise
        return replace(receipt, source=called(src, source))


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
    if is_same_file(dst, src):
        raise UsageError("source and output are the same file; choose another output", path=dst)
    started = time.perf_counter()
    with Source(src, repair=request.repair) as source:
        try:
            receipt = _transcode(source, dst, request, control)
        except RecursionError:
            raise SourceError("sequences are nested too deeply", path=src) from None
        except CinemillError as error:
            raise error.locate(path=src, transfer_syntax=source.transfer_syntax.uid) from None
    return replace(receipt, seconds={**receipt.seconds, "total": time.perf_counter() - started})


def _transcode(source: Source, output: Path, request: Transcode, control: Control) -> Receipt:
    if _is_directory(source):
        source.warnings.append(_NO_DIRECTORY)
        return record(source, output, "skipped", source.transfer_syntax, bytes_after=0)
    action = choose_action(source, request.target, request.colour)
    origin = Origin(source, {name: getattr(request, name) for name in _DECISIVE})
    if output.exists() and not request.overwrite:
        found = _judge(origin, output, action, request)
        if not isinstance(found, str):
            return found
        receipt = _carry_out(action, origin, output, replace(request, overwrite=True), control)
        note = f"the output that stood there {found}; it was made anew"
        return replace(receipt, warnings=(*receipt.warnings, note))
    try:
        return _carry_out(action, origin, output, request, control)
    except OutputExists:
        # Another process finished the same item in the meantime.
        found = _judge(origin, output, action, request)
        if isinstance(found, str):
            raise
        return found


def _is_directory(source: Source) -> bool:
    of_media = source.meta_text(0x00020002) == _DICOMDIR
    return of_media or (source.pixel_data is None and source.element(_DIRECTORY_RECORDS) is not None)


def _carry_out(action: Action, origin: Origin, output: Path, request: Transcode, control: Control) -> Receipt:
    source = origin.source
    if action != "transcode":
        source.warnings.extend(carried_over(source))
    if action == "copy":
        return _copy(origin, output, request)
    if source.element(_DIGITAL_SIGNATURES) is not None:
        source.warnings.append("there are digital signatures; they don't match the bytes of the output")
    if action == "recode":
        return _recode(origin, output, request)
    if request.target.of_jpeg:
        return recompress(origin, output, request, control)
    decoder = FrameDecoder(source, confirm_every=SECOND_OPINION_EVERY.get(request.verify, 0))
    try:
        plan = make_plan(decoder, request.target, request.colour)
        return transcode_frames(decoder, plan, origin, output, request, control)
    except DepthExceeded:
        plan = make_plan(decoder, request.target, request.colour, keep_coded_depth=True)
        decoder.warnings.append(
            f"Bits Stored is {source.pixels.bits_stored}, but samples need the codestream's "
            f"{decoder.pixels.bits_stored}; Bits Stored was raised"
        )
        return transcode_frames(decoder, plan, origin, output, request, control)


def _judge(origin: Origin, output: Path, action: Action, request: Transcode) -> Receipt | str:
    """Return the receipt of this source's finished output, or why what stands there is to be made anew.

    Raises
    ------
    OutputExists
        Something else stands there.
    """
    sweep(output)
    source = origin.source
    expected = written_syntax(source, action, request.target)
    if is_copy(source.path, source.file, output, read=request.recheck or action != "copy"):
        return record(source, output, "kept", expected) if action == "copy" else "was a copy of the source"
    found = finished(origin, output, expected, recheck=request.recheck)
    if found is None and action == "copy":
        found = _outdated_copy(source, output, request)
    if found is None:
        raise OutputExists(
            "exists already and is not this source's finished output; use --overwrite to replace it",
            path=output,
        )
    return found


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


def _copy(origin: Origin, output: Path, request: Transcode) -> Receipt:
    """Copy a file byte for byte and compare what was written."""
    source = origin.source
    if source.pixel_data is not None:
        source.check()
    clock = Clock()
    digest = copy(
        source.file,
        output,
        clock,
        likeness=Likeness.of(source.path, preserve=request.preserve),
        overwrite=request.overwrite,
        verify=request.verify != "none",
        check=origin.check,
    )
    return record(
        source,
        output,
        "copied",
        source.transfer_syntax,
        seconds=dict(clock.seconds),
        verification="none" if request.verify == "none" else "every byte",
        source_digest=digest,
    )


def _recode(origin: Origin, output: Path, request: Transcode) -> Receipt:
    """Re-encode the data set around pixel data whose bytes stay as they are, or around none."""
    source = origin.source
    pixels = source.pixel_data is not None
    target = written_syntax(source, "recode", request.target)
    if pixels:
        source.check()
        check_recodable(source, target)
    changes = frame_changes(source) if pixels else {}
    if source.native:
        changes = {tag: new for tag, new in changes.items() if new is not None}
    clock = Clock()
    likeness = Likeness.of(source.path, preserve=request.preserve)
    with Sink(output, overwrite=request.overwrite, likeness=likeness) as sink:
        with clock("write"):
            instance = InstanceWriter(sink, source, target, changes, native_icons(source), origin.room)
            if pixels:
                _carry_pixels(instance, sink, source, target)
            receipt = record(
                source,
                output,
                "transcoded",
                target,
                frames=len(source) if pixels else None,
                verification="none" if request.verify == "none" else "every frame's bytes, every element",
                source_digest=origin.digest,
            )
            instance.end(private=origin.remembered(receipt))
        with clock("verify"):
            if request.verify != "none":
                with instance.read_back() as written:
                    if pixels:
                        compare_bytes(source, written)
        with clock("commit"):
            sink.commit()
    return replace(receipt, bytes_after=size(output), seconds=dict(clock.seconds))


def _carry_pixels(instance: InstanceWriter, sink: Sink, source: Source, target: TransferSyntax) -> None:
    if not target.encapsulated:
        instance.carry_native()
        return
    sink.reserve(source.encoded_bytes)
    writer = instance.begin_frames(source.pixels, len(source), source.encoded_bytes + 8 * len(source))
    for index in range(len(source)):
        writer.add(bytes(source.frame(index)))
    writer.end()
