"""Carries pixels over as they are coded: into a copy of the file, or into a data set that is encoded anew around them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinemill.dicom.compare import compare_bytes
from cinemill.dicom.rewrite import frame_changes
from cinemill.dicom.writer import InstanceWriter
from cinemill.frames.icons import native_icons
from cinemill.operations.clock import Clock, record
from cinemill.operations.transcode.plan import check_recodable, written_syntax
from cinemill.storage.file import Sink
from cinemill.storage.likeness import Likeness

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.operations.origin import Origin
    from cinemill.operations.receipt import Receipt
    from cinemill.operations.transcode.request import Transcode
    from cinemill.syntaxes import TransferSyntax


def recode(
    origin: Origin, output: Path, request: Transcode, asked_for: TransferSyntax, told: Mapping[str, Any]
) -> Receipt:
    """Re-encode the data set around pixel data whose bytes stay as they are, or around none.

    Parameters
    ----------
    origin
        What the output is made from.
    output
        Where it will appear.
    request
        The options.
    asked_for
        Its transfer syntax, if it has pixel data.
    told
        What the receipt says besides.

    Raises
    ------
    WouldGrow
        It would be larger than its source, which is to be kept.
    """
    source = origin.source
    pixels = source.pixel_data is not None
    target = written_syntax(source, "recode", asked_for)
    if pixels:
        source.check()
        check_recodable(source, target)
    changes = frame_changes(source) if pixels else {}
    if source.native:
        changes = {tag: new for tag, new in changes.items() if new is not None}
    changes |= origin.changes
    clock = Clock()
    likeness = Likeness.of(source.path, preserve=request.preserve)
    most = len(source.file) if request.if_larger == "keep" else None
    with Sink(output, overwrite=request.overwrite, likeness=likeness, most=most) as sink:
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
                **told,
            )
            instance.end(private=origin.remembered(receipt))
        with clock("verify"):
            if request.verify != "none":
                with instance.read_back() as written:
                    if pixels:
                        compare_bytes(source, written)
        return clock.commit(sink, receipt)


def _carry_pixels(instance: InstanceWriter, sink: Sink, source: Source, target: TransferSyntax) -> None:
    if not target.encapsulated:
        instance.carry_native()
        return
    sink.reserve(source.encoded_bytes)
    writer = instance.begin_frames(source.pixels, len(source), source.encoded_bytes + 8 * len(source))
    for index in range(len(source)):
        writer.add(bytes(source.frame(index)))
    writer.end()
