"""Turns one file into another transfer syntax: source → plan → frames → sink → verify → commit → receipt."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.dicom.compare import compare_bytes
from cinemill.dicom.rewrite import IMPLEMENTATION_CLASS_UID, frame_changes
from cinemill.dicom.source import Source
from cinemill.dicom.writer import InstanceWriter
from cinemill.errors import CinemillError, OutputExists, SourceError, UsageError, VerificationError
from cinemill.frames.carried import carried_over
from cinemill.frames.decode import FrameDecoder
from cinemill.frames.depth import DepthExceeded
from cinemill.frames.icons import native_icons
from cinemill.operations.clock import Clock, record
from cinemill.operations.operation import Control
from cinemill.operations.transcode.plan import (
    Action,
    check_recodable,
    choose_action,
    make_plan,
)
from cinemill.operations.transcode.request import Colour, Level, Transcode
from cinemill.operations.transcode.stages import transcode_frames
from cinemill.operations.transcode.verify import SECOND_OPINION_EVERY
from cinemill.storage.atomic import sweep
from cinemill.storage.file import Sink
from cinemill.storage.location import is_same_file, located
from cinemill.storage.mapped import forget

if TYPE_CHECKING:
    from cinemill.operations.receipt import Receipt
    from cinemill.syntaxes import TransferSyntax

_COPY_CHUNK = 8 << 20
_DICOMDIR = "1.2.840.10008.1.3.10"
_DIGITAL_SIGNATURES = 0xFFFAFFFA


def transcode(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    to: str,
    colour: Colour = "auto",
    verify: Level = "full",
    overwrite: bool = False,
    repair: bool = False,
    threads: int | None = None,
    cancelled: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Receipt:
    """Transcode one DICOM file losslessly, and verify the result before it gets its name.

    Parameters
    ----------
    src, dst
        Source file, which is never modified, and output file, which appears whole or not at all.
    to
        Target: a short name (``jpeg-ls``, ``jpeg-2000``, ``htj2k``, ``htj2k-rpcl``, ``rle``, ``explicit``,
        ``implicit``, ``deflated``), a transfer syntax UID or pydicom's keyword.
    colour
        ``auto`` converts YCbCr to RGB where the IOD asks for it, and for RLE, ``keep`` never, ``rgb`` always.
    verify
        ``full`` decodes every written frame, ``independent`` by another implementation, ``sample`` some, ``none`` none.
    overwrite
        Replace an output that is there.
    repair
        Correct Number of Frames from what is there, and leave out what is no element behind the pixel data, instead
        of failing.
    threads, cancelled, progress
        See `cinemill.operations.operation.Control`.

    Returns
    -------
    Receipt
        ``transcoded``, ``copied``, or ``kept`` where `dst` is this source's finished output already.

    Raises
    ------
    CinemillError
        Nothing was written; see `cinemill.errors`.
    """
    request = Transcode(to=to, colour=colour, verify=verify, overwrite=overwrite, repair=repair)
    return run(request, located(src), located(dst), Control(threads, cancelled, progress))


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
    action = choose_action(source, request.target, request.colour)
    if output.exists() and not request.overwrite:
        return _keep(source, output, action, request.target)
    try:
        return _carry_out(action, source, output, request, control)
    except OutputExists:
        # Another process finished the same item in the meantime.
        return _keep(source, output, action, request.target)


def _carry_out(action: Action, source: Source, output: Path, request: Transcode, control: Control) -> Receipt:
    if action != "transcode":
        source.warnings.extend(carried_over(source))
    if action == "copy":
        return _copy(source, output, request)
    if source.element(_DIGITAL_SIGNATURES) is not None:
        source.warnings.append("there are digital signatures; they don't match the bytes of the output")
    if action == "recode":
        return _recode(source, output, request)
    decoder = FrameDecoder(source, confirm_every=SECOND_OPINION_EVERY.get(request.verify, 0))
    try:
        plan = make_plan(decoder, request.target, request.colour)
        return transcode_frames(decoder, plan, output, request, control)
    except DepthExceeded:
        plan = make_plan(decoder, request.target, request.colour, keep_coded_depth=True)
        decoder.warnings.append(
            f"Bits Stored is {source.pixels.bits_stored}, but samples need the codestream's "
            f"{decoder.pixels.bits_stored}; Bits Stored was raised"
        )
        return transcode_frames(decoder, plan, output, request, control)


def _keep(source: Source, output: Path, action: Action, target: TransferSyntax) -> Receipt:
    """Recognise this source's finished output by its header.

    Raises
    ------
    OutputExists
        Something else stands there.
    """
    sweep(output)
    expected = source.transfer_syntax if action == "copy" else target
    try:
        with Source(output) as there:
            ours = there.meta_text(0x00020012) == IMPLEMENTATION_CLASS_UID
            finished = (
                there.text(0x00080018) == source.text(0x00080018)
                and there.transfer_syntax is expected
                and (ours if action != "copy" else len(there.data) == len(source.data))
            )
    except SourceError:
        finished = False
    if not finished:
        raise OutputExists(
            "exists already and is not this source's finished output; use --overwrite to replace it",
            path=output,
        )
    return record(source, output, "kept", expected)


def _copy(source: Source, output: Path, request: Transcode) -> Receipt:
    """Copy a file byte for byte and compare what was written."""
    if source.pixel_data is not None:
        source.check()
    if source.meta_text(0x00020002) == _DICOMDIR:
        source.warnings.append(
            "a DICOMDIR names the transfer syntaxes of its files: make a new one for the outputs"
        )
    clock = Clock()
    with Sink(output, overwrite=request.overwrite) as sink:
        with clock("write"):
            data = memoryview(source.file)
            sink.reserve(len(data))
            for start in range(0, len(data), _COPY_CHUNK):
                sink.write(data[start : start + _COPY_CHUNK])
                forget(source.file)
        with clock("verify"):
            if request.verify != "none":
                for start in range(0, len(data), _COPY_CHUNK):
                    expected = data[start : start + _COPY_CHUNK]
                    if sink.read(start, len(expected)) != expected:
                        raise VerificationError(f"the copy differs near byte {start}")
                    forget(source.file)
        with clock("commit"):
            sink.finish()
            sink.commit()
    return record(
        source,
        output,
        "copied",
        source.transfer_syntax,
        seconds=dict(clock.seconds),
        verification="none" if request.verify == "none" else "every byte",
    )


def _recode(source: Source, output: Path, request: Transcode) -> Receipt:
    """Re-encode the data set around pixel data whose bytes stay as they are."""
    source.check()
    check_recodable(source, request.target)
    changes = frame_changes(source)
    if source.native:
        changes = {tag: new for tag, new in changes.items() if new is not None}
    clock = Clock()
    with Sink(output, overwrite=request.overwrite) as sink:
        with clock("write"):
            instance = InstanceWriter(sink, source, request.target, changes, native_icons(source))
            _carry_pixels(instance, sink, source, request.target)
            instance.end()
        with clock("verify"):
            if request.verify != "none":
                with instance.read_back() as written:
                    compare_bytes(source, written)
        with clock("commit"):
            sink.commit()
    return record(
        source,
        output,
        "transcoded",
        request.target,
        seconds=dict(clock.seconds),
        frames=len(source),
        verification="none" if request.verify == "none" else "every frame's bytes, every element",
    )


def _carry_pixels(instance: InstanceWriter, sink: Sink, source: Source, target: TransferSyntax) -> None:
    if not target.encapsulated:
        instance.carry_native()
        return
    sink.reserve(source.encoded_bytes)
    writer = instance.begin_frames(source.pixels, len(source), source.encoded_bytes + 8 * len(source))
    for index in range(len(source)):
        writer.add(bytes(source.frame(index)))
    writer.end()
