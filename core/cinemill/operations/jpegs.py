"""Carries JPEG frames into an output, recompressed, restored or masked: written, read back and digested, on threads, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import xxhash

from cinemill.dicom.pixel_writers import EncapsulatedWriter, FrameWriter
from cinemill.errors import CodecError, UnsupportedPixelFormat, VerificationError
from cinemill.pipeline import chunks, pipeline
from cinemill.storage.digests import named

if TYPE_CHECKING:
    from cinemill.codecs.codestream import Codestream
    from cinemill.dicom.source import Source
    from cinemill.operations.clock import Clock
    from cinemill.operations.operation import Control
    from cinemill.operations.policy.words import Level
    from cinemill.pixel_format import Buffer

SAMPLE_EVERY = 16
CHECK_EVERY: Mapping[Level, int] = {"full": 1, "independent": 1, "sample": SAMPLE_EVERY, "none": 0}
"""By level of verification: of how many frames one is read back and compared."""


class Carried(NamedTuple):
    """One frame on its way.

    Attributes
    ----------
    jpeg
        The JPEG, with whatever stands behind its EOI.
    written
        What goes into the output.
    """

    jpeg: Buffer
    written: Buffer


class Carrier(NamedTuple):
    """How frames are carried, and proved.

    Attributes
    ----------
    make
        Makes of a frame of the source, given its index, what is written.
    stage
        Name of what `make` does, in the receipt.
    jpeg_of
        Returns the JPEG that a written frame holds, given its index; by default that is what is written.
    check_every
        Of how many frames one is read back and compared; 0 for none.
    """

    make: Callable[[Buffer, int], Carried]
    stage: str
    jpeg_of: Callable[[Buffer, int], Buffer] = lambda written, _: written
    check_every: int = 1


def carry(source: Source, writer: FrameWriter, carrier: Carrier, clock: Clock, control: Control) -> str:
    """Write all frames, read them back, and return the digest of the JPEGs: the bytes of all, one after the other.

    Parameters
    ----------
    source
        Whose frames they are.
    writer
        Takes them, encapsulated.
    carrier
        What is done to each.
    clock
        Takes the time of each stage.
    control
        Threads, cancellation and progress.

    Raises
    ------
    VerificationError
        The JPEG of a written frame is not that of the source.
    CinemillError
        A frame can't be carried.
    """
    assert isinstance(writer, EncapsulatedWriter)
    digest = xxhash.xxh3_128()

    def make(indices: range) -> tuple[range, list[Carried]]:
        with clock(carrier.stage):
            return indices, [carrier.make(source.frame(index), index) for index in indices]

    def write(made: tuple[range, list[Carried]]) -> tuple[range, list[Carried]]:
        with clock("write"):
            for frame in made[1]:
                digest.update(frame.jpeg)
                writer.add(bytes(frame.written))
        return made

    def compare(made: tuple[range, list[Carried]]) -> range:
        with clock("verify"):
            for index, frame in zip(*made, strict=True):
                if carrier.check_every and index % carrier.check_every == 0:
                    _compare(bytes(writer.read(index)), frame.jpeg, carrier, index)
        return made[0]

    with pipeline(control.cores_for(len(source)), control.cancelled) as pipe:
        cut = chunks(len(source), max(1, source.encoded_bytes // len(source)), 1, control.cores)
        for indices in pipe.written(make, write, compare, cut):
            control.advance(indices.stop, len(source))
    writer.end()
    return named(digest)


def check_kind(stream: Codestream, first: Codestream, advice: str) -> None:
    """Check that the JPEG of a frame is of the first frame's kind.

    Parameters
    ----------
    stream, first
        What both say of themselves.
    advice
        What to use instead.

    Raises
    ------
    UnsupportedPixelFormat
        It is of another one.
    """
    if _kind(stream) != _kind(first):
        raise UnsupportedPixelFormat(
            f"expected a JPEG like the first frame's ({first.process}, {first.colour or 'no colour told'}), "
            f"found {stream.process}, {stream.colour or 'no colour told'}; use {advice}"
        )


def _kind(stream: Codestream) -> tuple[object, ...]:
    return stream.coding, stream.rows, stream.columns, stream.components, stream.precision, stream.colour


def _compare(written: bytes, jpeg: Buffer, carrier: Carrier, index: int) -> None:
    try:
        back = carrier.jpeg_of(written, index)
    except CodecError as error:
        raise VerificationError(
            f"the JPEG does not come back from what was written ({error.message}); nothing was kept",
            frame=index,
        ) from None
    if bytes(back) != bytes(jpeg):
        raise VerificationError(
            f"the JPEG that comes back from what was written is not the source's: {len(jpeg)} bytes expected, "
            f"{len(back)} found; nothing was kept",
            frame=index,
        )
