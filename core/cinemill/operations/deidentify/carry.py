"""Carries pixels over as they are coded, byte for byte, into an output whose header is another one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinemill.dicom.compare import compare_bytes, compare_encapsulated
from cinemill.dicom.rewrite import frame_changes
from cinemill.dicom.writer import InstanceWriter
from cinemill.frames.carried import carried_over
from cinemill.frames.icons import native_icons
from cinemill.operations.clock import Clock, record
from cinemill.operations.transcode.plan import written_syntax
from cinemill.storage.file import Sink
from cinemill.storage.likeness import Likeness
from cinemill.syntaxes import target as find_target

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.operations.deidentify.request import Deidentify
    from cinemill.operations.origin import Origin
    from cinemill.operations.receipt import Receipt
    from cinemill.syntaxes import TransferSyntax


def carried_syntax(source: Source) -> TransferSyntax:
    """Return the transfer syntax of an output whose pixels stay as they are: the source's, but for big endian."""
    own = source.transfer_syntax
    if source.pixel_data is None:
        return written_syntax(source, "recode", own)
    return own if own.little_endian else find_target("explicit")


def carry_over(origin: Origin, output: Path, request: Deidentify, told: Mapping[str, Any]) -> Receipt:
    """Write an instance with another header around the same pixel data.

    Parameters
    ----------
    origin
        What the output is made from, and what its header says differently.
    output
        Where it will appear.
    request
        The options.
    told
        What the receipt says besides.

    Raises
    ------
    CinemillError
        Nothing was written.
    """
    source = origin.source
    target = carried_syntax(source)
    pixels = source.pixel_data is not None
    if pixels:
        source.check()
    source.warnings.extend(carried_over(source))
    changes = {**(frame_changes(source) if pixels and source.repaired else {}), **origin.changes}
    clock = Clock()
    likeness = Likeness.of(source.path, preserve=False)
    with Sink(output, overwrite=request.overwrite, likeness=likeness) as sink:
        with clock("write"):
            instance = InstanceWriter(sink, source, target, changes, native_icons(source), origin.room)
            if pixels and source.native:
                instance.carry_native()
            elif pixels:
                instance.carry_encapsulated()
            receipt = record(
                source,
                output,
                "deidentified",
                target,
                frames=len(source) if pixels else None,
                verification="none"
                if request.verify == "none"
                else "every byte of pixel data, every element",
                source_digest=origin.digest,
                **told,
            )
            instance.end(private=origin.remembered(receipt))
        if request.verify != "none":
            with clock("verify"), instance.read_back() as written:
                if pixels:
                    (compare_bytes if source.native else compare_encapsulated)(source, written)
        return clock.commit(sink, receipt)
