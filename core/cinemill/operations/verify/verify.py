"""Proves one output against its source: pair → bytes, or samples and elements → receipt."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cinemill.dicom.elements import tag_name
from cinemill.dicom.source import Source
from cinemill.errors import (
    CinemillError,
    DamagedFile,
    ExtraOutput,
    MissingOutput,
    NotDicom,
    UsageError,
    VerificationError,
)
from cinemill.operations.clock import Clock, record
from cinemill.operations.instance import is_directory
from cinemill.operations.operation import Control
from cinemill.operations.receipt import Receipt, Status
from cinemill.operations.verify.allowed import carried_over
from cinemill.operations.verify.elements import Difference, differences
from cinemill.operations.verify.pixels import Comparison, compare_pixels
from cinemill.operations.verify.request import Verify
from cinemill.storage.location import located, size

_PIECE = 8 << 20
_SOP_CLASS, _SOP_INSTANCE = (0x00020002, 0x00080016), (0x00020003, 0x00080018)
_NAMED = 8
"""Elements that a message names."""


def verify(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    repair: bool = False,
    threads: int | None = None,
    cancelled: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Receipt:
    """Prove that an output holds what its source holds, whichever program wrote it.

    The frames of both are decoded, by implementations that share no code with the encoders of cinemill, and compared sample
    by sample. All other elements are compared by value, except for those that describe how the pixels are coded.

    Parameters
    ----------
    src, dst
        Source file and output file; neither is modified.
    repair
        Read the source as `cinemill.transcode` does with ``repair``.
    threads, cancelled, progress
        See `cinemill.operations.operation.Control`.

    Returns
    -------
    Receipt
        Its status is ``verified``, or ``ignored`` or ``skipped`` for a file that is no DICOM instance and has no output.

    Raises
    ------
    VerificationError
        The files differ: the message says in what, ``frame`` in which frame.
    CinemillError
        A file is damaged or can't be decoded.
    """
    if located(src) == located(dst):
        raise UsageError("source and output are the same; name two files", path=located(src))
    return run(Verify(repair=repair), located(src), located(dst), Control(threads, cancelled, progress))


def run(request: Verify, src: Path, dst: Path, control: Control) -> Receipt:
    """Verify one pair: see `verify`.

    Parameters
    ----------
    request
        The options.
    src, dst
        Source and output; the same path twice is an output without a source.
    control
        Threads, cancellation and progress.
    """
    started = time.perf_counter()
    if src == dst:
        return _extra(dst)
    if not dst.exists():
        return _missing(src, dst, request)
    clock = Clock()
    with clock("bytes"):
        same = _same_bytes(src, dst, control)
    try:
        receipt = _prove(src, dst, request, control, clock, same=same)
    except RecursionError:
        raise DamagedFile("sequences are nested too deeply", path=src) from None
    seconds = {**clock.seconds, "total": time.perf_counter() - started}
    return replace(receipt, seconds=seconds)


def _extra(path: Path) -> Receipt:
    """Tell of a file that is no source's output: what is no instance does no harm."""
    error: CinemillError = ExtraOutput("no source has this path, or this SOP Instance UID and no output")
    try:
        with Source(path, scan=False) as output:
            if is_directory(output):
                return _skipped("", path, "a DICOMDIR of the outputs; it was not compared")
    except NotDicom:
        error = NotDicom("not DICOM, and no source's output")
    except CinemillError:
        pass
    status: Status = "ignored" if isinstance(error, NotDicom) else "failed"
    return Receipt("", str(path), status, _error(error), bytes_after=size(path))


def _missing(src: Path, dst: Path, request: Verify) -> Receipt:
    """Tell of a source without an output.

    Raises
    ------
    MissingOutput
        It is an instance.
    """
    why = ""
    try:
        with Source(src, repair=request.repair) as source:
            if is_directory(source):
                return _skipped(str(src), dst, "a DICOMDIR without output; make a new one for the outputs")
    except NotDicom:
        error = _error(NotDicom("not DICOM, and it has no output"))
        return Receipt(str(src), str(dst), "ignored", error, bytes_before=size(src))
    except CinemillError as error:
        told = error.message.removeprefix("can't be read: ")
        why = f"; the source itself can't be read: {told}"
    raise MissingOutput(f"there is no output: neither {dst} nor one of this SOP Instance UID{why}", path=src)


def _skipped(src: str, dst: Path, text: str) -> Receipt:
    return Receipt(src, str(dst), "skipped", bytes_before=size(src), bytes_after=size(dst), warnings=(text,))


def _error(error: CinemillError) -> dict[str, Any]:
    return {"kind": error.kind, "frame": error.frame, "message": error.message}


def _same_bytes(one: Path, other: Path, control: Control) -> bool:
    """Whether two files are the same, byte for byte."""
    if size(one) != size(other) or not (one.is_file() and other.is_file()):
        return False
    try:
        with one.open("rb") as first, other.open("rb") as second:
            while piece := first.read(_PIECE):
                control.check()
                if piece != second.read(_PIECE):
                    return False
    except OSError:
        return False  # why is told when it is opened
    return True


def _prove(src: Path, dst: Path, request: Verify, control: Control, clock: Clock, *, same: bool) -> Receipt:
    if same:
        return _copied(src, dst)
    try:
        source = Source(src, repair=request.repair)
    except NotDicom:
        raise VerificationError("not DICOM, and the output is not the same bytes", path=src) from None
    with source:
        if is_directory(source):
            return _skipped(str(src), dst, "a DICOMDIR describes its own files; it was not compared")
        try:
            output = Source(dst)
        except NotDicom as error:
            raise VerificationError(f"the output {dst} is no instance: {error.message}", path=src) from None
        with output:
            try:
                return _compare(source, output, control, clock)
            except CinemillError as error:
                raise error.locate(path=src, transfer_syntax=source.transfer_syntax.uid) from None


def _copied(src: Path, dst: Path) -> Receipt:
    """Return the receipt of an output that is the source's bytes, whatever they mean."""
    try:
        with Source(src) as source:
            return record(source, dst, "verified", source.transfer_syntax, verification="every byte")
    except CinemillError as error:
        return Receipt(
            str(src),
            str(dst),
            "verified",
            bytes_before=size(src),
            bytes_after=size(dst),
            verification="every byte",
            warnings=(error.message,),
        )


def _compare(source: Source, output: Source, control: Control, clock: Clock) -> Receipt:
    with clock("pixels"):
        pixels = _compare_pixels(source, output, control)
    with clock("elements"):
        found = [*_other_names(source, output), *differences(source, output, pixels.may_change)]
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        pixels.wrong.append(
            f"{len(found)} element{'s' if len(found) > 1 else ''} differ{'' if len(found) > 1 else 's'}: "
            f"{'; '.join(map(str, found[:_NAMED]))}{more}"
        )
    if not any(map(_distrusts, source.warnings)):
        pixels.wrong += filter(_distrusts, output.warnings)
    if pixels.wrong:
        raise VerificationError("; ".join(pixels.wrong), frame=pixels.frame)
    after = output.pixels.photometric_interpretation if output.pixel_data is not None else ""
    return record(
        source,
        output.path,
        "verified",
        output.transfer_syntax,
        photometric_interpretation_after=after,
        verification=", ".join(filter(None, (pixels.how, "every other element"))),
        seconds=dict(clock.seconds),
        warnings=(*source.warnings, *(f"output: {each}" for each in output.warnings), *pixels.warnings),
        **pixels.more,
    )


def _distrusts(warning: str) -> bool:
    """Whether a warning tells of an offset table that others may believe."""
    return warning.endswith("; not used")


def _compare_pixels(source: Source, output: Source, control: Control) -> Comparison:
    if source.pixel_data is not None and output.pixel_data is not None:
        return compare_pixels(source, output, control)
    found = Comparison(carried_over(source, output) if source.pixel_data is not None else set(), "")
    if (source.pixel_data is None) != (output.pixel_data is None):
        found.wrong.append(f"pixel data is {'new' if source.pixel_data is None else 'lost'}")
    return found


def _other_names(source: Source, output: Source) -> list[Difference]:
    """Return where the File Meta Information names another class or instance than the data set, and than the source's."""
    return [
        Difference(f"{tag_name(meta)} of the File Meta Information", repr(expected), repr(found))
        for meta, tag in (_SOP_CLASS, _SOP_INSTANCE)
        if (found := output.meta_text(meta))
        and (expected := output.text(tag))
        and found not in {expected, source.meta_text(meta)}
    ]
