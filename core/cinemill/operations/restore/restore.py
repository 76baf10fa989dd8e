"""Gives back the JPEGs of one instance: source → JPEG XL → JPEG → digest → commit → receipt."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinemill import syntaxes
from cinemill.codecs.codestream import read_codestream
from cinemill.codecs.jpeg_xl import libjxl
from cinemill.dicom.given import Given
from cinemill.dicom.recode import encode_element
from cinemill.dicom.rewrite import frame_changes
from cinemill.dicom.source import Source
from cinemill.dicom.writer import InstanceWriter
from cinemill.errors import UnsupportedPixelFormat, VerificationError
from cinemill.frames.held import holds_jpeg
from cinemill.frames.icons import native_icons
from cinemill.operations.clock import Clock, record
from cinemill.operations.copies import copy_source, is_copy
from cinemill.operations.instance import of_given, of_source
from cinemill.operations.jpegs import Carried, Carrier, carry
from cinemill.operations.operation import Control
from cinemill.operations.origin import Origin, again, finished, foreign, receipt_in
from cinemill.operations.receipt import Receipt
from cinemill.operations.restore.request import Restore
from cinemill.storage.atomic import sweep
from cinemill.storage.file import Sink
from cinemill.storage.likeness import Likeness
from cinemill.storage.location import located

if TYPE_CHECKING:
    from cinemill.pixel_format import Buffer
    from cinemill.syntaxes import TransferSyntax

_PHOTOMETRIC = 0x00280004
_PROCESSES = {"JPEG SOF0": "50", "JPEG SOF1": "51", "JPEG SOF2": "55"}
"""Last number of the transfer syntax of each process, for JPEGs of which nothing was recorded."""

_UNPROVED = (
    "no digest of the JPEGs was recorded in this file: they are what libjxl rebuilds, "
    "and nothing tells whether they are what was recompressed"
)


def restore(
    src: Given,
    dst: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    recheck: bool = False,
    preserve: bool = True,
    copy_rest: bool = False,
    threads: int | None = None,
    cancelled: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Receipt:
    """Restore the JPEGs of one file in JPEG XL JPEG Recompression byte for byte, and check them by their recorded digest.

    Parameters
    ----------
    src
        The source, which is never modified: a path, the bytes of a file, an open binary file or a pydicom data set. One in
        another transfer syntax is copied unchanged.
    dst
        Path of the output, which appears as a whole or not at all.
    overwrite
        Replace an output that exists.
    recheck
        Read all of a finished output that exists, and make it again if it is damaged.
    preserve
        Give the output the mode of the source, as far as the umask allows it, and its time of last modification.
    copy_rest
        If the source is refused, damaged or not DICOM, copy it unchanged; the error is raised all the same.
    threads, cancelled, progress
        See `cinemill.operations.operation.Control`.

    Returns
    -------
    Receipt
        Its status is ``transcoded``, ``copied``, or ``kept`` if `dst` is already the finished output of this source.

    Raises
    ------
    VerificationError
        The JPEGs are not those whose digest was recorded; nothing was written.
    CinemillError
        Nothing was written, except for a copy by `copy_rest`; see `cinemill.errors`.
    """
    request = Restore(
        overwrite=overwrite,
        recheck=recheck,
        preserve=preserve and isinstance(src, str | os.PathLike),
        copy_rest=copy_rest,
    )
    return of_given(request, src, located(dst), Control(threads, cancelled, progress))


def run(request: Restore, src: Path, dst: Path, control: Control) -> Receipt:
    """Restore one instance: see `restore`.

    Parameters
    ----------
    request
        The options.
    src, dst
        Source file, and the place of its output.
    control
        Threads, cancellation and progress.
    """
    return of_source(src, dst, lambda source: _restore(Origin(source, {}), dst, request, control))


def _restore(origin: Origin, output: Path, request: Restore, control: Control) -> Receipt:
    source = origin.source
    recompressed = source.pixel_data is not None and source.transfer_syntax.of_jpeg
    before = _Recorded(source) if recompressed else None
    if output.exists() and not request.overwrite:
        found = _judge(origin, output, before, request)
        if not isinstance(found, str):
            return found
        source.warnings.append(again(found))
        request = replace(request, overwrite=True)
    if before is None:
        return copy_source(origin, output, overwrite=request.overwrite, preserve=request.preserve)
    return _write(origin, output, before, request, control)


def _judge(origin: Origin, output: Path, before: _Recorded | None, request: Restore) -> Receipt | str:
    """Return the receipt of this source's finished output, or why what stands there is to be made anew.

    Raises
    ------
    OutputExists
        Something else stands there.
    """
    sweep(output)
    source = origin.source
    found: Receipt | str | None = None
    if before is not None:
        found = finished(origin, output, (before.syntax,), recheck=request.recheck)
    elif is_copy(source.path, source.file, output, read=request.recheck):
        found = record(source, output, "kept", source.transfer_syntax)
    if found is None:
        raise foreign(output)
    return found


class _Recorded:
    """What a recompressed file remembers of its JPEGs.

    Attributes
    ----------
    digest
        Of all of them; empty where none was recorded.
    syntax
        The transfer syntax that they had.
    photometric_interpretation
        That they had.

    Raises
    ------
    CinemillError
        There is nothing that a JPEG could be rebuilt from, or what was recorded is damaged.
    """

    def __init__(self, source: Source) -> None:
        source.check()
        if not holds_jpeg(source):
            raise UnsupportedPixelFormat(
                "the JPEG XL codestreams hold nothing that a JPEG could be rebuilt from (jbrd); "
                "transcode decodes them",
                frame=0,
            )
        told: Any = receipt_in(source)
        self.digest = str(told.get("jpeg_digest", ""))
        label = str(told.get("photometric_interpretation_before", ""))
        self.photometric_interpretation = label or source.text(_PHOTOMETRIC)
        self.syntax = self._syntax(source, str(told.get("transfer_syntax_before", "")))

    def _syntax(self, source: Source, told: str) -> TransferSyntax:
        row = syntaxes.TRANSFER_SYNTAXES.get(told) if self.digest else None
        if row is not None and row.coding == "jpeg":
            return row
        stream = read_codestream(libjxl.to_jpeg(source.frame(0), 0))
        number = _PROCESSES.get("" if stream is None else stream.process)
        if number is None:
            raise UnsupportedPixelFormat("what the JPEG XL codestreams hold is no JPEG of DICOM", frame=0)
        return syntaxes.find(f"1.2.840.10008.1.2.4.{number}")


def _write(origin: Origin, output: Path, before: _Recorded, request: Restore, control: Control) -> Receipt:
    """Write one instance with all its JPEGs as they were."""
    source = origin.source
    changes = frame_changes(source)
    if before.photometric_interpretation != source.text(_PHOTOMETRIC):
        label = before.photometric_interpretation.encode()
        changes[_PHOTOMETRIC] = encode_element(_PHOTOMETRIC, b"CS", label)
    clock = Clock()
    likeness = Likeness.of(source.path, preserve=request.preserve)
    with Sink(output, overwrite=request.overwrite, likeness=likeness) as sink:
        instance = InstanceWriter(sink, source, before.syntax, changes, native_icons(source), origin.room)
        writer = instance.begin_frames(source.layout, len(source), 4 * source.encoded_bytes + 1024)
        digest = carry(source, writer, Carrier(_rebuilt, "decode"), clock, control)
        if before.digest and digest != before.digest:
            raise VerificationError(
                f"the JPEGs are not those that were recompressed: digest {before.digest} was recorded, found {digest}; "
                "nothing was kept"
            )
        receipt = record(
            source,
            output,
            "transcoded",
            before.syntax,
            photometric_interpretation_after=before.photometric_interpretation,
            frames=len(source),
            decoder=f"{libjxl.NAME} {libjxl.VERSION}",
            jpeg_digest=digest,
            lossy_source=True,
            pixel_bytes=source.layout.nbytes * len(source),
            verification="the JPEG of every frame, "
            + (
                "byte for byte, by the digest recorded" if before.digest else "as rebuilt; no digest recorded"
            ),
            warnings=(*source.warnings, *(() if before.digest else (_UNPROVED,))),
            source_digest=origin.digest,
        )
        instance.end(private=origin.remembered(receipt))
        with clock("verify"), instance.read_back():
            pass
        return clock.commit(sink, receipt)


def _rebuilt(boxes: Buffer, index: int) -> Carried:
    jpeg = libjxl.to_jpeg(boxes, index)
    return Carried(jpeg, jpeg)
